"""Pooling: a window, or the whole picture, summed up in one number a channel."""

from __future__ import annotations

import numpy as np

from .layers import Array, Layer
from .windows import Padding, Pair, add_windows, pad, pair, unpad, windows


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

    def _windows(self, x: Array, border: float) -> Array:
        """(N, height, width, C) -> (N, down, across, rows * columns, C)."""
        self._shape = x.shape
        x = pad(x, self.window, self.strides, self.padding, border)
        self._padded_shape = x.shape
        seen = windows(x, self.window, self.strides)
        return seen.reshape(*seen.shape[:3], -1, seen.shape[5])

    def _back(self, seen: Array) -> Array:
        """The transpose of `_windows`."""
        seen = seen.reshape(*seen.shape[:3], *self.window, seen.shape[4])
        x = add_windows(seen, self._padded_shape, self.strides)
        return unpad(x, self._shape, self.window, self.strides, self.padding)


class MaxPooling(_Pooling):
    """The largest value of each window. Only it gets the gradient; of equal ones, the first."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, C)."""
        seen = self._windows(x, -np.inf)
        self._places = seen.shape[3]
        self._winner = seen.argmax(3)[:, :, :, None]
        return np.take_along_axis(seen, self._winner, 3)[:, :, :, 0]

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C) -> (N, height, width, C)."""
        won = np.arange(self._places)[:, None] == self._winner
        return self._back(won * gradient[:, :, :, None])


class AveragePooling(_Pooling):
    """The mean of each window's pixels; the borders that padding adds are not counted."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, C)."""
        inside = self._windows(np.ones((1, *x.shape[1:3], 1), x.dtype), 0)
        self._share = inside / inside.sum(3, keepdims=True)
        return (self._windows(x, 0) * self._share).sum(3)

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C) -> (N, height, width, C)."""
        return self._back(gradient[:, :, :, None] * self._share)


class GlobalAveragePooling(Layer):
    """(N, height, width, C) -> (N, C): the mean of each channel (Lin et al. 2014)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._shape = x.shape
        return x.mean((1, 2))

    def backward(self, gradient: Array) -> Array:
        pixels = self._shape[1] * self._shape[2]
        return np.broadcast_to(gradient[:, None, None] / pixels, self._shape)


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
