"""Training that begins with the weights of a trained network."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend, bundles, image_data_generator, weights
from ..errors import InputError, reason
from ..recipe import Recipe, split_start, weights_file

if TYPE_CHECKING:
    import keras


def begin(network: keras.Model, recipe: Recipe, classes: Sequence[str]) -> str:
    """Give a network the weights that its recipe starts from, and freeze the layers it says.

    The weights of the last layer are taken too where the trained network has the same classes; else
    they are 0, so that all classes are alike. (A weights file names no classes: there the number of
    outputs decides.) A layer "whiten" that was set from train patches stays as it is, as there.

    Args:
        network: keras.Model of the recipe, at any image size that it allows.
        recipe: with `start`.
        classes: class names of what is to be trained.

    Returns:
        A line that says what of a weights file was not taken, "" where all was.

    Raises:
        InputError: there is no such network, or its weights do not fit.
    """
    name, file = split_start(recipe.start)
    line = ""
    if weights_file(recipe.start):
        line = _begin_from_weights(network, recipe, len(classes))
    elif name:
        _begin_from_application(network, recipe, name, file)
    else:
        _begin_from_bundle(network, recipe, classes)
    # what only standardises pixels was never trained, and does not count
    trained = [layer for layer in _with_weights(network) if layer.name != "standardize"]
    count = len(trained) - 1 if recipe.freeze == "features" else int(recipe.freeze)
    if count >= len(trained):
        raise InputError(
            f"recipe field freeze: must leave one of the {len(trained)} layers that have weights, "
            f"received {recipe.freeze}"
        )
    for layer in trained[:count]:
        layer.trainable = False
    return line


def start_sha256(recipe: Recipe) -> str:
    """Hex digest of the weights that a recipe starts from, "" where Keras downloads them."""
    if weights_file(recipe.start):
        return weights.sha256(weights_file(recipe.start))
    name, file = split_start(recipe.start)
    if not name:
        return bundles.read_card(bundles.find(recipe.start))["model_sha256"]
    return bundles.file_sha256(file) if file else ""


def layers_of_fine_tuning(network: keras.Model) -> list:
    """The layers that learn, but for the last: those that wait while the last is trained alone."""
    return [layer for layer in _with_weights(network)[:-1] if layer.trainable]


def layers_that_freeze(network: keras.Model, recipe: Recipe) -> list:
    """Those of the first recipe.freezeout_layers that learn before that."""
    count, layers = recipe.freezeout_layers, _with_weights(network)
    if count and count >= len(layers):
        raise InputError(
            f"recipe field freezeout_layers: must leave one of the {len(layers)} layers that have "
            f"weights, received {count}"
        )
    return [layer for layer in layers[:count] if layer.trainable]


def _with_weights(network: keras.Model) -> list:
    return [layer for layer in network.layers if layer.weights]


def _begin_from_bundle(network: keras.Model, recipe: Recipe, classes: Sequence[str]) -> None:
    folder = bundles.find(recipe.start)
    trained, card = bundles.load(folder)
    if image_data_generator.stored_normalises(card["recipe"]):
        raise InputError(
            f"recipe field start: {recipe.start} was trained on images that ImageDataGenerator "
            "standardised, which its weights need"
        )
    ours, theirs = _with_weights(network), _with_weights(trained)
    if len(ours) != len(theirs):
        raise InputError(
            f"recipe field start: {recipe.start} has {len(theirs)} layers with weights, "
            f"{recipe.builder_name} {len(ours)}"
        )
    same_classes = list(card["classes"]) == list(classes)
    for mine, other in zip(ours, theirs, strict=True):
        if mine is ours[-1] and not same_classes:
            _clear(mine)
        else:
            _take(mine, other, recipe)
    whitened = card["recipe"].get("whitening") if isinstance(card["recipe"], dict) else False
    if whitened and ours[0].name == "whiten":
        ours[0].trainable = False


def _begin_from_weights(network: keras.Model, recipe: Recipe, num_classes: int) -> str:
    file = weights_file(recipe.start)
    trained = weights.network(recipe, num_classes, file, other_outputs=True)
    *ours, last = _with_weights(network)
    *theirs, their_last = _with_weights(trained)
    for mine, other in zip(ours, theirs, strict=True):
        _take(mine, other, recipe)
    if trained.output_shape[-1] == num_classes:
        _take(last, their_last, recipe)
        return ""
    _clear(last)
    shapes = [tuple(layer.get_weights()[0].shape) for layer in (their_last, last)]
    return (
        f"{file}: its layer {last.name!r} has weights of {shapes[0]}, these classes need "
        f"{shapes[1]}: that layer begins anew"
    )


def _begin_from_application(network: keras.Model, recipe: Recipe, name: str, file: str) -> None:
    from ..models import keras_applications

    options = {k: v for k, v in recipe.builder_options.items() if k not in ("network", "dropout")}
    try:
        # Keras tells of its download on stdout
        with (
            contextlib.redirect_stdout(sys.stderr),
            backend.quiet_stderr(),
            backend.downloads("models"),
        ):
            trained = keras_applications.features(
                name, recipe.input_shape, file or "imagenet", options
            )
    except InputError:
        raise
    except (
        Exception
    ) as error:  # a download, a file of another network: Keras raises nearly anything
        what = f"the weights in {file}" if file else "ImageNet weights"
        raise InputError(
            f"recipe field start: {name}: {what} could not be loaded ({reason(error)[:200]})"
            + ("" if file else f"; a file of them is named by keras:{name}:FILE")
        ) from None
    *ours, last = _with_weights(network)
    for mine, other in zip(ours, _with_weights(trained), strict=True):
        _take(mine, other, recipe)
    _clear(last)


def _clear(layer: Any) -> None:
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])


def _take(mine: Any, other: Any, recipe: Recipe) -> None:
    taken = other.get_weights()
    shapes = [w.shape for w in mine.get_weights()], [w.shape for w in taken]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"recipe field start: layer {mine.name!r} has weights of {shapes[0][0]}, of "
            f"{recipe.start} {shapes[1][0]}: this network does not take other classes, sizes or "
            "options"
        )
    mine.set_weights(taken)
