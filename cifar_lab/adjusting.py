"""A recipe, adjusted to what a user asks for beside it: trained weights, a size, single fields."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import networks, recipe
from .errors import InputError
from .recipe import Recipe

#: Of a recipe that begins with trained weights and does not say itself: the last layer alone for so
#: large a share of the epochs, then all at so much of the rate.
HEAD_SHARE, FINE_RATE = 0.25, 0.25


def adjusted(
    base: Recipe,
    *,
    start: str | None = None,
    freeze: int | str | None = None,
    size: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Recipe:
    """`base` with what a user asks for.

    Args:
        base: a recipe.
        start: whose weights to begin with, see `networks.begun_from`; None: the recipe's own way,
            "none": drawn ones.
        freeze: as the recipe's field; None: the recipe's own. Where `start` is given and this is
            not, the last layer is trained alone first, then all at a lower rate.
        size: pixels a side that images are brought to; what the recipe counts in pixels grows or
            shrinks with them.
        fields: recipe fields, which win over all else.

    Raises:
        InputError: it cannot be done, or makes no sense.
    """
    found = base
    if start == "none":
        found = replace(found, start="", freeze=0, head_share=0.0, fine_rate=1.0)
    elif start is not None:
        found = networks.begun_from(found, start)
        if freeze is None and not found.head_share:
            found = replace(found, head_share=HEAD_SHARE, fine_rate=FINE_RATE)
    if freeze is not None:
        if not found.start:
            raise InputError("`freeze`: needs trained weights to begin with (`start`)")
        if freeze == "features":
            found = replace(found, head_share=0.0, fine_rate=1.0)
        found = recipe.changed(found, {"freeze": freeze}, "`freeze`")
    if size is not None:
        found = recipe.resized(found, size)
    return recipe.changed(found, _whole_fields(found, fields), "`fields`") if fields else found


def _whole_fields(base: Recipe, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with "augmentation.cutout_size" and the like put into the object they are part of."""
    stored, found = base.as_dict(), {}
    for name, value in fields.items():
        outer, dot, inner = name.partition(".")
        if dot and not isinstance(stored.get(outer), dict):
            raise InputError(f"`fields`: {outer} has no parts, received {name}")
        whole = found.get(outer, stored.get(outer))
        found[outer] = {**whole, inner: value} if dot else value
    return found


def parsed_field(text: str) -> tuple[str, Any]:
    """(name, value) of "NAME=VALUE", VALUE in JSON or a word. Raises InputError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"{text!r}: must be FIELD=VALUE")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()


def is_pictures(name: str) -> bool:
    """Whether what stands for a rung is a folder of pictures."""
    from .ladder import LADDER

    return name not in LADDER and not networks.is_own(name) and os.path.isdir(name)
