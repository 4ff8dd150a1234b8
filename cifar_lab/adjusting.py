"""A recipe, adjusted to what a user asks for beside it: trained weights, a size, single fields."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from . import ladder, networks, own_pictures, paths, recipe, schema
from .data import Dataset
from .errors import InputError
from .recipe import Augmentation, Recipe

#: Of a recipe that begins with trained weights and does not say itself: the last layer alone for so
#: large a share of the epochs, then all at so much of the rate.
HEAD_SHARE, FINE_RATE = 0.25, 0.25
#: See `for_data` and `for_few`.
FEW_IMAGES, STEPS_AN_EPOCH = 2_000, 12
STEPS_FROM_TRAINED, STEPS_OF_SHIFTED, STEPS_FROM_RANDOM = 720, 1_800, 2_000
STEPS_OF_OWN_PICTURES = 180
MIRRORED_AND_SHIFTED = Augmentation(
    width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True, fill_mode="reflect"
)


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
            "none": random ones.
        freeze: as the recipe's field; None: the recipe's own. Where `start` is given and this is
            not, the last layer is trained alone first, then all at a lower rate; but not of a
            weights file, whose network goes on as the recipe has it.
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
        if freeze is None and not found.head_share and not recipe.weights_file(found.start):
            found = replace(found, head_share=HEAD_SHARE, fine_rate=FINE_RATE)
    if freeze is not None:
        if isinstance(freeze, bool):
            raise InputError(f"`freeze`: must be a number or 'features', received {freeze}")
        if not found.start:
            raise InputError("`freeze`: needs trained weights to begin with (`start`)")
        if freeze == "features":
            found = replace(found, head_share=0.0, fine_rate=1.0)
        found = recipe.changed(found, {"freeze": freeze}, "`freeze`")
    if size is not None:
        found = recipe.resized(found, size)
    if fields:
        found = recipe.changed(found, _whole_fields(found, fields), "`fields`")
    networks.check_start_size(found)
    return found


def _whole_fields(base: Recipe, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with "augmentation.cutout_size" and the like put into the object they are part of."""
    if not isinstance(fields, Mapping) or not all(isinstance(name, str) for name in fields):
        raise InputError(f"`fields`: must be a dict from names to values, received {fields!r}")
    stored, found = base.as_dict(), {}
    for name, value in fields.items():
        outer, dot, inner = name.partition(".")
        if dot and not isinstance(stored.get(outer), dict):
            raise InputError(f"`fields`: {outer} has no parts, received {name}")
        whole = found.get(outer, stored.get(outer))
        found[outer] = {**whole, inner: value} if dot else value
    return found


def for_data(
    base: Recipe,
    label: str,
    dataset: Dataset,
    limit: int | None = None,
    given: Collection[str] = (),
) -> tuple[Recipe, str]:
    """`base` as a data set needs it: of a folder of few pictures see `for_few`, else as it is.

    Args:
        base: a recipe, after what a user asked for.
        label: the rung that it is of, or `own_pictures.LABEL`; a recipe of a user's own stays as it
            is.
        dataset: what is trained on.
        limit: train images to use, or None.
        given: recipe fields that the user set, which stay as they are.

    Returns:
        (recipe, a line that says what was changed, "" where nothing was).
    """
    is_ours = label in ladder.LADDER or label == own_pictures.LABEL
    images = _images_to_train_on(base, dataset, limit)
    if not is_ours or images > FEW_IMAGES or not os.path.isabs(dataset.name):
        return base, ""
    found, said = for_few(base, label, images, given)
    return found, f"few pictures: {', '.join(said)}" if said else ""


def for_few(
    base: Recipe, label: str, images: int, given: Collection[str] = ()
) -> tuple[Recipe, list[str]]:
    """`base` for few pictures: what a rung does with 50,000 it cannot learn from 200 in as many
    passes.

    A rung begins with its own trained weights, and with images mirrored and shifted where its own
    training shifts none; at least a tenth validates, which are too few to choose the best epoch by,
    so that the rate falls and the last epoch is kept; a batch is so small that an epoch has at
    least 12 steps (6 of `own_pictures.RECIPE`), down to 16 images; and there are as many epochs as
    a number of steps takes, where the recipe has fewer. The figures behind it are in
    docs/measurements/transfer.md.

    Args:
        base, label, given: as for `for_data`.
        images: to train on.

    Returns:
        (recipe, what was changed).
    """
    found, said, whole = base, [], {name.partition(".")[0] for name in given}
    is_rung = label in ladder.LADDER
    steps = STEPS_FROM_TRAINED if is_rung else STEPS_OF_OWN_PICTURES
    if not base.start and "start" not in whole and _fits_own_weights(base, label):
        found = adjusted(found, start=label)
        said.append(f"beginning with {label}'s own weights")
        moves = base.augmentation
        shifted = moves.width_shift_range or getattr(moves, "crop_padding", 0)
        if not (shifted or "augmentation" in whole):
            found = replace(found, augmentation=MIRRORED_AND_SHIFTED, head_share=0.1, fine_rate=1.0)
            steps = STEPS_OF_SHIFTED
            said.append("images mirrored and shifted")
    if "validation_fraction" not in whole and base.validation_fraction < 0.1:
        found = replace(found, validation_fraction=0.1)
        said.append("a tenth to validate")
    if found.keep == "best" and not whole & {"keep", "schedule"}:
        falling = "cosine" if found.schedule == "constant" else found.schedule
        found = replace(found, keep="last", schedule=falling)
        said.append("the last epoch kept")
    if "batch_size" not in whole:
        most = images / (STEPS_AN_EPOCH if is_rung else STEPS_AN_EPOCH / 2)
        batch = max(16, 2 ** int(math.log2(max(1, most))))
        if batch < found.batch_size:
            found = replace(found, batch_size=batch)
            said.append(f"batches of {batch}")
    if "epochs" not in whole:
        steps = steps if found.start else STEPS_FROM_RANDOM
        epochs = math.ceil(steps / math.ceil(images / found.batch_size))
        if epochs > found.epochs:
            found = replace(found, epochs=epochs)
            said.append(f"{epochs} epochs")
    return found, said


def _images_to_train_on(recipe: Recipe, dataset: Dataset, limit: int | None) -> int:
    images = limit or len(dataset.train_labels)
    if dataset.val_indices is None:
        return round(images * (1 - recipe.validation_fraction))
    return images if limit else images - len(dataset.val_indices)


def _fits_own_weights(recipe: Recipe, label: str) -> bool:
    """Whether a rung has committed weights and they fit its recipe, which may be changed."""
    if label not in ladder.LADDER or getattr(recipe.augmentation, "normalises", ()):
        return False
    own = ladder.LADDER[label].recipe
    if (recipe.builder, recipe.builder_options) != (own.builder, own.builder_options):
        return False
    if recipe.input_shape != own.input_shape and recipe.builder in networks.OF_ONE_SIZE:
        return False
    return (paths.home() / "saved_models" / label / "model.keras").is_file()


def parsed_field(text: str) -> tuple[str, Any]:
    """(name, value) of "NAME=VALUE", VALUE in JSON, a number as Python writes it too (.4), or a
    word. Raises InputError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"{text!r}: must be FIELD=VALUE")
    try:
        return name.strip(), schema.parse(value)
    except schema.Wrong:
        number = re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", value, re.ASCII | re.I)
        return name.strip(), float(value) if number else value.strip()


def is_pictures(name: str) -> bool:
    """Whether what stands for a rung is a folder of pictures."""
    return name not in ladder.LADDER and not networks.is_own(name) and os.path.isdir(name)


def refuse_no_folder(name: str) -> None:
    """InputError for what looks like a folder of pictures and is none."""
    if name in ladder.LADDER or networks.is_own(name):
        return
    if os.path.isfile(name):
        raise InputError(f"{name}: is a file; name the folder with one subfolder a class")
    if os.sep in name or "/" in name or "." in name:
        raise InputError(f"{name}: there is no such folder")
