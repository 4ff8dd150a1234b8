"""Pooling: a window, or the whole picture, summed up in one number a channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layers import Array, Layer, Shape, one
from .windows import Padding, Pair, pad, pair, positions, seen_by, slid_over, unpad


class _Pooling(Layer):
    """What both poolings share.

    Args:
        window: one number or (rows, columns).
        strides: from one window to the next; the window's size where not given.
        padding: "valid" or "same".
    """

    def __init__(
        self,
        window: int | Pair = 2,
        strides: int | Pair | None = None,
        padding: Padding = "valid",
    ) -> None:
        super().__init__()
        self.window = pair(window)
        self.strides = self.window if strides is None else pair(strides)
        self.padding = padding

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        return (*slid_over(shape, self.window, self.strides, self.padding), shape[2])

    def _padded(self, x: Array, border: float = 0) -> Array:
        """(N, height, width, C) with its borders; remembers how to get back."""
        self._shape = x.shape
        x = pad(x, self.window, self.strides, self.padding, border)
        self._padded_shape = x.shape
        return x

    def _places(self, x: Array) -> Iterator[Array]:
        """What each place of the window sees, (N, down, across, C): views of a padded picture."""
        count = positions(x.shape, self.window, self.strides)
        for i, j in np.ndindex(*self.window):
            yield seen_by(x, i, j, count, self.strides)

    def _unpadded(self, x: Array) -> Array:
        return unpad(x, self._shape, self.window, self.strides, self.padding)


class MaxPooling(_Pooling):
    """The largest value of each window. Only it gets the gradient; of equal ones, the first."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, C)."""
        x = self._padded(x, -np.inf)
        places = self._places(x)
        y = next(places).copy()
        for seen in places:
            np.maximum(y, seen, out=y)
        self._x, self._y = x, y
        return y

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C) -> (N, height, width, C)."""
        x = np.zeros_like(self._x)
        free = np.ones(gradient.shape, bool)  # windows whose largest value is still to come
        for seen, view in zip(self._places(self._x), self._places(x), strict=True):
            won = free & (seen == self._y)
            free &= ~won
            view += won * gradient
        return self._unpadded(x)


class AveragePooling(_Pooling):
    """The mean of each window's pixels; the borders that padding adds are not counted."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, C)."""
        inside = self._padded(np.ones((1, *x.shape[1:3], 1), x.dtype))
        self._share = share = 1 / self._sum(inside)  # (1, down, across, 1)
        y = self._sum(self._padded(x))
        y *= share
        return y

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C) -> (N, height, width, C)."""
        x = np.zeros(self._padded_shape, gradient.dtype)
        share = gradient * self._share
        for view in self._places(x):
            view += share
        return self._unpadded(x)

    def _sum(self, x: Array) -> Array:
        places = self._places(x)
        total = next(places).copy()
        for seen in places:
            total += seen
        return total


class GlobalAveragePooling(Layer):
    """(N, height, width, C) -> (N, C): the mean of each channel (Lin et al. 2014)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._shape = x.shape
        return x.mean((1, 2))

    def backward(self, gradient: Array) -> Array:
        pixels = self._shape[1] * self._shape[2]
        return np.broadcast_to(gradient[:, None, None] / pixels, self._shape)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        return shape[2:]


class GlobalMaxPooling(Layer):
    """(N, height, width, C) -> (N, C): the largest of each channel.

    Equal largest values share the gradient, as in TensorFlow.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        y = x.max((1, 2))
        won = (x == y[:, None, None]).astype(x.dtype)
        self._share = won / won.sum((1, 2), keepdims=True)
        return y

    def backward(self, gradient: Array) -> Array:
        return gradient[:, None, None] * self._share

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        return shape[2:]
