"""Which settings of several recipes differ, field by field."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from ..data.names import counted
from ..recipe import WORDS, Augmentation, Recipe, completed
from . import page as html
from .contenders import Contender

_ABSENT = object()


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """{field: value} of a recipe as a card stores it, all that decides a training.

    Fields of the augmentation are "augmentation.NAME", options of the builder
    "builder_options.NAME". What the recipe leaves out is there with the value that it then has, so
    that two recipes differ exactly where their values do.
    """
    found = {**vars(Recipe()), **completed(recipe)}
    augmentation = found.pop("augmentation")
    if not isinstance(augmentation, dict):
        augmentation = augmentation.as_dict()
    augmentation = {**vars(Augmentation()), **augmentation}
    options = {**_builder_defaults(found["builder"]), **(found.pop("builder_options") or {})}
    parts = {f"augmentation.{k}": v for k, v in augmentation.items()}
    parts |= {f"builder_options.{k}": v for k, v in options.items()}
    return {k: v for k, v in {**found, **parts}.items() if k not in WORDS}


def _builder_defaults(builder: Any) -> dict[str, Any]:
    """What the arguments of one of the package's builders are by default; {} of another's."""
    from .. import models

    if builder not in models.__all__:
        return {}
    parameters = inspect.signature(getattr(models, builder)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _told(value: Any) -> str:
    if value is _ABSENT:
        return "-"
    return value if isinstance(value, str) and value else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """Tuples as lists, whole floats as whole numbers: how a recipe writes it does not count."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def differing(recipes: Sequence[dict[str, Any]]) -> tuple[list[list[str]], int]:
    """([field, value of each recipe], ...) of the fields that differ, and how many are equal."""
    found = [flat(recipe) for recipe in recipes]
    rows, equal = [], 0
    for name in dict.fromkeys(name for fields in found for name in fields):
        values = [_told(fields.get(name, _ABSENT)) for fields in found]
        if len(set(values)) > 1:
            rows.append([name, *values])
        else:
            equal += 1
    return rows, equal


def section(contenders: Sequence[Contender]) -> list[html.Html]:
    """Blocks: the fields of the recipes that differ, and what else differs in the trainings."""
    known = [c for c in contenders if c.recipe]
    blocks: list[html.Html] = []
    if len(known) > 1:
        rows, equal = differing([c.recipe or {} for c in known])
        if rows:
            blocks.append(html.table(["field", *(c.name for c in known)], rows))
            blocks.append(html.note(f"{counted(equal, 'other field')} of the recipes are equal."))
        else:
            blocks.append(html.paragraph("Their recipes are equal in every field."))
    without = [c.name for c in contenders if not c.recipe]
    if without and len(contenders) > 1:
        blocks.append(html.note(f"No recipe is known of {', '.join(without)}."))
    trainings = [c for c in contenders if c.runs or c.card]
    rows = [row for row in _beside(trainings) if len(set(row[1:])) > 1]
    if rows:
        head = ["beside the recipe", *(c.name for c in trainings)]
        blocks.append(html.table(head, rows))
    return blocks


def _beside(contenders: Sequence[Contender]) -> list[list[str]]:
    """What can differ beside the recipe: a row each."""
    rows = []
    for name, of in (
        ("format", lambda c: c.card.get("format") or ("keras" if c.subject else "-")),
        ("seeds", lambda c: _seeds([run.seed for run in c.runs] or [c.training.get("seed")])),
        ("train images", lambda c: _data(c.training).get("train_images", "-")),
        ("train images' digest", lambda c: str(c.training.get("data_sha256", "-"))[:12]),
        ("backend", lambda c: c.training.get("backend", "-")),
        ("device", _devices),
        ("precision", lambda c: c.training.get("precision", "-")),
        ("Keras", lambda c: _versions(c.training).get("keras", "-")),
    ):
        rows.append([name, *(str(of(c)) for c in contenders)])
    return rows


def _devices(contender: Contender) -> str:
    found = {run.device for run in contender.runs} or {contender.training.get("device")}
    return ", ".join(sorted(filter(None, found))) or "-"


def _seeds(seeds: Sequence[int | None]) -> str:
    known = sorted(seed for seed in seeds if seed is not None)
    return ", ".join(str(s) for s in dict.fromkeys(known)) or "-"


def _data(card: dict[str, Any]) -> dict[str, Any]:
    found = card.get("data")
    return found if isinstance(found, dict) else {}


def _versions(card: dict[str, Any]) -> dict[str, Any]:
    found = card.get("versions")
    return found if isinstance(found, dict) else {}
