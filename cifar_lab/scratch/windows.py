"""The one idea behind convolution and pooling: a window that slides over the picture.

`windows` (im2col with the axes still apart) copies what every window sees; `add_windows` (col2im)
is its transpose: a pixel that k windows saw gets k gradients, added.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .layers import Array

Padding = Literal["valid", "same"]
Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """3 -> (3, 3): rows and columns."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def borders(size: int, window: int, stride: int, padding: Padding) -> Pair:
    """How many values are added before and behind an axis, as TensorFlow does.

    "valid" adds none. "same" makes the output ceil(size / stride) long; where the sum is odd, the
    larger half goes behind.

    Raises:
        ValueError: another padding, or a window that does not fit.
    """
    if padding not in ("valid", "same"):
        raise ValueError(f"padding: must be 'valid' or 'same', received {padding!r}")
    if padding == "valid":
        if window > size:
            raise ValueError(f"a window of {window} does not fit into {size} pixels")
        return 0, 0
    total = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def pad(x: Array, window: Pair, strides: Pair, padding: Padding, value: float = 0) -> Array:
    """A picture (N, height, width, channels) with its borders, filled with `value`."""
    rows, columns = (borders(x.shape[1 + i], window[i], strides[i], padding) for i in (0, 1))
    if not any(rows + columns):
        return x
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def unpad(x: Array, shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> Array:
    """The inside of a padded picture; `shape` is the picture's before `pad`."""
    top, left = (borders(shape[1 + i], window[i], strides[i], padding)[0] for i in (0, 1))
    return x[:, top : top + shape[1], left : left + shape[2]]


def positions(shape: tuple[int, ...], window: Pair, strides: Pair) -> Pair:
    """How many windows fit into a padded picture, down and across: (size - window) / stride + 1."""
    down, across = ((shape[1 + i] - window[i]) // strides[i] + 1 for i in (0, 1))
    return down, across


def seen_by(x: Array, i: int, j: int, count: Pair, strides: Pair) -> Array:
    """What the place (i, j) of every window sees: a view (N, down, across, channels).

    Looping over the few places of a window, not the many windows, is what makes numpy fast here.
    """
    return x[
        :,
        i : i + strides[0] * (count[0] - 1) + 1 : strides[0],
        j : j + strides[1] * (count[1] - 1) + 1 : strides[1],
    ]


def windows(x: Array, window: Pair, strides: Pair) -> Array:
    """(N, height, width, C), padded -> (N, down, across, window rows, window columns, C)."""
    count = positions(x.shape, window, strides)
    out = np.empty((len(x), *count, *window, x.shape[3]), x.dtype)
    for i, j in np.ndindex(*window):
        out[:, :, :, i, j] = seen_by(x, i, j, count, strides)
    return out


def add_windows(seen: Array, shape: tuple[int, ...], strides: Pair) -> Array:
    """The transpose of `windows`: (N, down, across, rows, columns, C) -> `shape`, sums."""
    out = np.zeros(shape, seen.dtype)
    for i, j in np.ndindex(*seen.shape[3:5]):
        view = seen_by(out, i, j, seen.shape[1:3], strides)
        view += seen[:, :, :, i, j]
    return out
