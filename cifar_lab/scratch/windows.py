"""The one idea behind convolution and pooling: a window that slides over the picture.

`windows` (im2col before it is written out) shows what every window sees. On the way back a pixel
that k windows saw gets k gradients, added: with `seen_by`, one place of the window at a time.
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
    count, height, width, channels = x.shape
    out = np.full((count, height + sum(rows), width + sum(columns), channels), value, x.dtype)
    out[:, rows[0] : rows[0] + height, columns[0] : columns[0] + width] = x
    return out


def unpad(x: Array, shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> Array:
    """The inside of a padded picture; `shape` is the picture's before `pad`."""
    top, left = (borders(shape[1 + i], window[i], strides[i], padding)[0] for i in (0, 1))
    return x[:, top : top + shape[1], left : left + shape[2]]


def positions(shape: tuple[int, ...], window: Pair, strides: Pair) -> Pair:
    """How many windows fit into a padded picture, down and across: (size - window) / stride + 1."""
    down, across = ((shape[1 + i] - window[i]) // strides[i] + 1 for i in (0, 1))
    return down, across


def slid_over(shape: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> Pair:
    """How many windows fit into one picture, (height, width, C), that is padded first."""
    height, width = (
        shape[i] + sum(borders(shape[i], window[i], strides[i], padding)) for i in (0, 1)
    )
    return positions((1, height, width), window, strides)


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
    """(N, height, width, C), padded -> (N, down, across, window rows, window columns, C).

    A view, which copies nothing: one step down the picture is one step down, or one down the
    window. A reshape of it copies, and that is im2col.
    """
    sample, row, column, channel = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (len(x), *positions(x.shape, window, strides), *window, x.shape[3]),
        (sample, row * strides[0], column * strides[1], row, column, channel),
        writeable=False,
    )
