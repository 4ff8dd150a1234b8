"""Occlusion maps: how much less sure a network is where a place of the picture is covered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import evaluation
from . import heat, subject

if TYPE_CHECKING:
    from .subject import Network


def occlusion(
    model: Network,
    images: Any,
    classes: Any = None,
    *,
    size: int = 8,
    stride: int = 4,
    grey: int = 128,
    batch_size: int = 256,
) -> heat.Heat:
    """Occlusion maps (Zeiler and Fergus 2014, "Visualizing and understanding convolutional
    networks").

    A grey square covers one place after the other; how far the probability of the class drops says
    how much the network needs what was there. Needs nothing but probabilities.

    Args:
        model: a rung's name, a bundle's folder, a `.keras`, `.tflite`, `.onnx` or `.npz` file, a
            Classifier, or a keras.Model, pixels 0-255 in, probabilities out.
        images: uint8 (N, height, width, channels), 0-255, or a list of picture files.
        classes: of which class: a whole number, or one a picture; None for what is predicted.
        size: pixels a side of the square.
        stride: pixels from one place to the next, at most `size`, so that every pixel is covered;
            the last place of a row or column lies at the border.
        grey: of the square, 0 to 255.
        batch_size: pictures at a time, which bounds the memory: the squares of all are not made at
            once.

    Returns:
        Heat. Its `raw` is the drop for each place (N, rows, columns), -1 to 1; a pixel of its maps
        is the mean over the squares that cover it.

    Raises:
        InputError: no such network or class, wrong pictures, or a square that does not fit.
    """
    network = subject.opened(model)
    images = subject.pictures(images, network)
    height, width = images.shape[1:3]
    subject.require_whole("size", size, 1, min(height, width))
    subject.require_whole("stride", stride, 1, size)
    subject.require_whole("grey", grey, 0, 255)
    subject.require_whole("batch_size", batch_size, 1)
    whole = evaluation.probabilities(network.model, images, batch_size)
    asked = subject.chosen(classes, len(images), whole.shape[1])
    asked = whole.argmax(1) if asked is None else asked

    rows, columns = (_starts(side, size, stride) for side in (height, width))
    places = [(n, y, x) for n in range(len(images)) for y in rows for x in columns]
    covered_probabilities = []
    for i in range(0, len(places), batch_size):
        batch = places[i : i + batch_size]
        covered = images[[n for n, _, _ in batch]]
        for picture, (_, y, x) in zip(covered, batch, strict=True):
            picture[y : y + size, x : x + size] = grey
        found = evaluation.probabilities(network.model, covered, batch_size)
        covered_probabilities.append(found[np.arange(len(batch)), [asked[n] for n, _, _ in batch]])
    left = np.concatenate(covered_probabilities).reshape(len(images), len(rows), len(columns))
    drops = whole[np.arange(len(images)), asked][:, None, None] - left

    maps, times = np.zeros(images.shape[:3]), np.zeros((height, width))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            maps[:, y : y + size, x : x + size] += drops[:, i, j, None, None]
            times[y : y + size, x : x + size] += 1
    return heat.Heat(heat.scaled(maps / times), drops.astype(np.float32), asked.astype(np.int64))


def _starts(side: int, size: int, stride: int) -> list[int]:
    """Where the square begins along a side; the last place touches the border."""
    last = side - size
    return [*range(0, last, stride), last]
