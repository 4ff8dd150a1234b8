"""What is particular about a recipe's epochs: small images, the last layer alone, the first ones
frozen, sharpness-aware steps, weights that are averaged. Imports no Keras."""

from __future__ import annotations

import math
from typing import NamedTuple

from .recipe import Recipe


class Phase(NamedTuple):
    """What is particular about an epoch.

    side: of the square images that it is trained and validated on, None for the recipe's own.
    sharpness_aware: whether its steps are; see training.sharpness.SharpnessAware.
    head_alone: whether it trains the last layer alone; see training.transfer.
    frozen: whether the first layers no longer learn; see Recipe.freezeout_layers.
    """

    side: int | None = None
    sharpness_aware: bool = False
    head_alone: bool = False
    frozen: bool = False


def phase_of(recipe: Recipe, epoch: int) -> Phase:
    """The Phase of an epoch, 0 the first."""
    share, side = 0.0, None
    for part, small in recipe.small_images:
        share += part
        if epoch < math.floor(share * recipe.epochs + 1e-9):
            side = small
            break
    aware = max(1, round(recipe.sharpness_share * recipe.epochs))
    return Phase(
        side,
        recipe.sharpness_radius > 0 and epoch >= recipe.epochs - aware,
        epoch < recipe.head_epochs,
        epoch >= recipe.epochs - recipe.freezeout_epochs,
    )


def work_of(recipe: Recipe, epoch: int) -> float:
    """What an epoch costs beside a plain one, by its arithmetic: 1 for whole images and one pass
    forward and back. Small images cost as their pixels, sharpness-aware steps twice as much, the
    last layer alone a third: it needs no gradients of the others. Frozen first layers count as if
    they learned, for what they save depends on the network."""
    phase = phase_of(recipe, epoch)
    height, width, _ = recipe.input_shape
    pixels = phase.side**2 / (height * width) if phase.side else 1.0
    return pixels * (2 if phase.sharpness_aware else 1) / (3 if phase.head_alone else 1)


def names_of(recipe: Recipe, epoch: int) -> list[str]:
    """What is particular about an epoch, 0 the first, in words: [] for nothing."""
    phase, names = phase_of(recipe, epoch), []
    if phase.head_alone:
        names.append("last layer alone")
    if phase.side:
        names.append(f"small images ({phase.side} x {phase.side})")
    if recipe.swa_cycles and epoch >= recipe.main_epochs:
        names.append("averaging")
    if phase.sharpness_aware:
        names.append("sharpness-aware")
    if phase.frozen:
        names.append("first layers frozen")
    return names


def phases(recipe: Recipe) -> list[tuple[int, int, str]]:
    """The stretches of a recipe's epochs that have a name, as a picture or a page marks them.

    Returns:
        (first epoch, last epoch, name), both epochs counted from 1 as a history's are and both
        belonging to it, in the order of their beginnings. Two may overlap: sharpness-aware epochs
        may be averaged too. [] for a recipe whose epochs are all alike. A training that stopped
        early may end before them.
    """
    found: list[tuple[int, int, str]] = []
    open_since: dict[str, int] = {}
    for epoch in range(recipe.epochs + 1):
        names = names_of(recipe, epoch) if epoch < recipe.epochs else []
        for name in [name for name in open_since if name not in names]:
            found.append((open_since.pop(name) + 1, epoch, name))
        for name in names:
            open_since.setdefault(name, epoch)
    return sorted(found)
