"""A rung's network for KerasTuner's own tuners: built, compiled, its hyperparameters declared.

The rest of this package searches by the one training path; here a person's own script does, by
Keras' plain `fit`. Imports Keras when a network is built, and KerasTuner never.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import networks, schema
from .. import recipe as recipes
from ..errors import InputError
from ..models.searchable import Widths
from ..recipe import Recipe
from . import space
from .ranges import Range

if TYPE_CHECKING:
    import keras

#: Fields that a plain `fit` on arrays has no part in; at these values nothing is left to do for it.
OF_TRAINING = {
    **{
        name: recipes.NEUTRAL[name]
        for name in (
            *("augmentation", "whitening", "drop_connect", "start", "freeze", "head_share"),
            *("fine_rate", "class_weight", "warmup_fraction", "patience", "small_images"),
            *("freezeout_layers", "freezeout_share"),
            *("sharpness_radius", "sharpness_share", "swa_share", "swa_epochs", "swa_rate"),
        )
    },
    "schedule": "constant",
}
#: Fields that may be searched so, beside what the builder declares.
FIELDS = (
    *("learning_rate", "weight_decay", "momentum", "kernel_rate", "bias_rate_factor"),
    *("label_smoothing", "optimizer"),
)
WIDTH = Range(0.5, 2.0, log=True)  # a factor on all widths


def ranges_of(recipe: Recipe, given: Mapping[str, str] | None) -> dict[str, Range]:
    """{name: Range} that a person asked for, or the usual ones: of the learning rate, of what the
    builder declares with a usual range, and of its widths, as one factor.

    Raises InputError for a name or a range that makes no sense.
    """
    if given is not None:
        return _asked_for(recipe, given)
    declared = space._declared(recipe)
    usual = space.default_ranges(recipe)
    found = {n: r for n, r in usual.items() if n == "learning_rate" or n in declared}
    if "width" not in declared and any(isinstance(kind, Widths) for kind in declared.values()):
        found["width"] = WIDTH
    # an L2 of 0 is none of a logarithmic range's, and a rung's own settings must be in all
    return {n: r for n, r in found.items() if all(_within(r, v) for v in _own(recipe, n))}


def _asked_for(recipe: Recipe, given: Mapping[str, str]) -> dict[str, Range]:
    if not isinstance(given, Mapping) or not all(
        isinstance(word, str) for pair in given.items() for word in pair
    ):
        raise InputError(f"ranges: must be a dict from names to texts, received {given!r}")
    declared = space._declared(recipe)
    used = space.kinds_of(recipe, {name: text.split(",") for name, text in given.items()})
    allowed = [name for name in (*FIELDS, *declared, "width") if name in used]
    for name in given:
        if name not in allowed:
            near = schema.meant(name, allowed)
            raise InputError(f"ranges: {name!r}{near} must be one of {', '.join(allowed)}")
    try:
        return space.parse_ranges([f"{name}={text}" for name, text in given.items()], recipe)
    except InputError as error:
        raise InputError(f"ranges: {error}") from None


def _own(recipe: Recipe, name: str) -> list:
    """The recipe's own values of what is searched under a name."""
    if name in space._declared(recipe):
        now = space._current(recipe, name)
        return list(now) if isinstance(now, (list, tuple)) else [now]
    return [1.0] if name == "width" else [getattr(recipe, name)]


def _within(found: Range, value: Any) -> bool:
    if found.options:
        return value in found.options
    return isinstance(value, (int, float)) and found.low <= value <= found.high


# --- hyperparameters ---


def drawn(hp: Any, recipe: Recipe, ranges: Mapping[str, Range]) -> Recipe:
    """`recipe` with what a tuner gives for each range, which is declared to it.

    hp: keras_tuner.HyperParameters. Its defaults are the recipe's own values, where a range has
    them.
    """
    declared, values, options = space._declared(recipe), {}, dict(recipe.builder_options)
    for name, found in ranges.items():
        own = _own(recipe, name)
        if name not in declared:
            value = _declare(hp, name, found, own[0])
            if name != "width" or value != 1:  # which rounds them
                values[name] = value
        elif isinstance(space._current(recipe, name), (list, tuple)):  # a rate for each stage
            options[name] = [
                _declare(hp, f"{name}_{i}", found, value) for i, value in enumerate(own, 1)
            ]
        else:
            options[name] = _declare(hp, name, found, own[0])
    return space.with_fields(replace(recipe, builder_options=options), space.used(recipe, values))


def _declare(hp: Any, name: str, found: Range, own: Any) -> Any:
    default = own if _within(found, own) else None
    if found.options:
        value = hp.Choice(name, list(found.options), default=default)
        return next(option for option in found.options if option == value)  # True comes back as 1
    sampling = "log" if found.log else "linear"
    if found.whole_numbers:
        low, high = int(found.low), int(found.high)
        return hp.Int(name, low, high, sampling=sampling, default=default)
    return hp.Float(name, found.low, found.high, sampling=sampling, default=default)


# --- the network ---


def compiled(recipe: Recipe, num_classes: int) -> keras.Model:
    """The network of a recipe without fields of OF_TRAINING, compiled for labels that are whole
    numbers (N,) or (N, 1)."""
    from .. import backend

    backend.start()
    import keras
    import numpy as np

    from ..training import initialisation, losses, optimizers

    network = networks.build(recipe, num_classes)
    if recipe.initializer:
        initialisation.draw(network, recipe.initializer, int(np.random.randint(2**31)))
    if recipe.dirac:
        initialisation.dirac(network)
    network.compile(
        optimizers.build(recipe, steps=1),
        losses.of_labels(recipe, num_classes),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False if backend.is_tensorflow_on_cpu() else "auto",
    )
    network.optimizer.build(network.trainable_variables)  # a tuner's checkpoint finds its variables
    return network


def require_hyperparameters(hp: Any) -> None:
    """InputError for what is not keras_tuner.HyperParameters, which need not be installed."""
    if inspect.isclass(hp) or not all(
        callable(getattr(hp, name, None)) for name in ("Float", "Int", "Choice")
    ):
        raise InputError(f"hp: must be a keras_tuner.HyperParameters, received {type(hp).__name__}")
