"""Which network is looked at, which pictures it is shown, and which classes are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import inference, judging, paths, pixels
from ..errors import InputError

if TYPE_CHECKING:
    import keras

    Network = str | os.PathLike | keras.Model | inference.Classifier


def opened(what: Network) -> judging.Subject:
    """The network that a caller names or holds.

    Args:
        what: a rung's name, a bundle's folder, a `.keras`, `.tflite`, `.onnx` or `.npz` file, a
            Classifier, or a keras.Model, pixels 0-255 in, probabilities out.

    Raises:
        InputError: there is no such network, or it is none.
    """
    if isinstance(what, (str, Path)):
        paths.require_installed()
        what = inference.Classifier(inference.network_file(str(what)))
    if isinstance(what, inference.Classifier):
        return judging.Subject(str(what.path), what.path, what.card, what)
    if not hasattr(what, "predict") or not hasattr(what, "input_shape"):
        kind = type(what).__name__
        raise InputError(f"model: must be a name, a path, a keras.Model or a Classifier, is {kind}")
    return judging.Subject(what.name, None, {}, what)


def keras_model(subject: judging.Subject) -> keras.Model:
    """Its network in Keras. Raises InputError for an exported file."""
    model: Any = subject.model
    if isinstance(model, inference.Classifier):
        model = model.model
    if model is None:
        raise InputError(
            f"{subject.name}: is an exported file, whose layers cannot be looked into; name the "
            "bundle that it was made from (occlusion maps need no layers)"
        )
    return model


def pictures(images: Any, subject: judging.Subject) -> np.ndarray:
    """Pictures as a network takes them.

    Args:
        images: uint8 (N, height, width, channels), 0-255, at least one; or files of pictures.
        subject: the network.

    Returns:
        uint8 (N, height, width, channels).

    Raises:
        InputError: another dtype or shape, or a file that is no picture.
    """
    shape = subject.input_shape
    images = inference.pictures(images, shape)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
        wrong = pixels.divided(images) if images.dtype.kind == "f" else ""
        raise InputError(
            f"images: must be uint8 (N, {', '.join(map(str, shape))}), received {images.dtype} "
            f"{images.shape}{', ' if wrong else ''}{wrong}"
        )
    return images


def chosen(classes: Any, count: int, outputs: int) -> np.ndarray | None:
    """The class that is asked for of each picture.

    Args:
        classes: a whole number, or one a picture; None for those that the network predicts.
        count: of pictures.
        outputs: of the network.

    Returns:
        int64 (count,), or None.

    Raises:
        InputError: no whole numbers, not one a picture, or no such class.
    """
    if classes is None:
        return None
    found = np.asarray(classes)
    if found.dtype.kind not in "iu" or found.shape not in ((), (count,)):
        raise InputError(
            f"classes: must be a whole number or one a picture ({count}), received {classes!r}"
        )
    if found.size and not 0 <= found.min() <= found.max() < outputs:
        raise InputError(f"classes: must be from 0 to {outputs - 1}, received {classes!r}")
    return np.broadcast_to(found, (count,)).astype(np.int64)


def require_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """InputError where an argument is no whole number from low to high."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < low or high is not None and value > high:
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{name}: must be a whole number {allowed}, received {value!r}")
