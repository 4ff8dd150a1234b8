"""Convolution: one small set of weights, used at every place of the picture.

What networks call convolution is cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

import math

import numpy as np

from .layers import Array, Layer, Shape, one
from .windows import (
    Padding,
    Pair,
    pad,
    pair,
    positions,
    seen_by,
    slid_over,
    unpad,
    windows,
)


def convolve_by_loops(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    strides: int | Pair = 1,
    padding: Padding = "valid",
) -> Array:
    """The definition, one output at a time: right, easy to read, and hundreds of times slower.

    Args:
        x: (N, height, width, C).
        kernel: (rows, columns, C, F).
        bias: (F,), or None.
        strides: pixels from one window to the next.
        padding: "valid" or "same".

    Returns:
        (N, down, across, F), equal to `Convolution.forward`.
    """
    strides, size = pair(strides), (kernel.shape[0], kernel.shape[1])
    x = pad(x, size, strides, padding)
    down, across = positions(x.shape, size, strides)
    y = np.zeros((len(x), down, across, kernel.shape[3]), x.dtype)
    for n in range(len(x)):
        for row in range(down):
            for column in range(across):
                top, left = row * strides[0], column * strides[1]
                seen = x[n, top : top + size[0], left : left + size[1]]
                for f in range(kernel.shape[3]):
                    y[n, row, column, f] = (seen * kernel[..., f]).sum()
    return y if bias is None else y + bias


class Convolution(Layer):
    """Keras' `Conv2D` without its activation, as one matrix product (im2col).

    Each window becomes a row of a matrix, each filter a column: (N * down * across, rows * columns
    * C) times (rows * columns * C, F). From there it is an affine layer, forward and backward.

    Args:
        kernel: (rows, columns, C, F).
        bias: (F,), or None.
        strides: pixels from one window to the next, one number or (down, across).
        padding: "valid" or "same".

    The product has shape (N * down * across, F): a row for each place, its filters side by side.
    Unfolded it is (N, down, across, F), which is this package's order of axes, and nothing is left
    to do. Books that keep pictures as (N, C, height, width) must still bring the filters forward:
    `y.reshape(N, down, across, F).transpose(0, 3, 1, 2)` - axis 0 stays, axis 3 comes next, then
    1 and 2. `reshape` alone to (N, F, down, across) has the right shape with the wrong values.
    """

    def __init__(
        self,
        kernel: Array,
        bias: Array | None = None,
        strides: int | Pair = 1,
        padding: Padding = "valid",
    ) -> None:
        super().__init__([kernel] if bias is None else [kernel, bias])
        self.window: Pair = (kernel.shape[0], kernel.shape[1])
        self.strides, self.padding = pair(strides), padding

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, F)."""
        kernel = self.weights[0]
        self._shape = x.shape
        x = pad(x, self.window, self.strides, self.padding)
        self._padded_shape = x.shape
        seen = windows(x, self.window, self.strides)
        # each window as a row: (N * down * across, rows * columns * C)
        self._rows = rows = seen.reshape(math.prod(seen.shape[:3]), -1)
        y = rows @ kernel.reshape(-1, kernel.shape[3])
        if len(self.weights) > 1:
            y += self.weights[1]
        return y.reshape(*seen.shape[:3], kernel.shape[3])

    def learn(self, gradient: Array) -> None:
        """(N, down, across, F)."""
        flat = gradient.reshape(-1, gradient.shape[3])
        self.gradients[0] = (self._rows.T @ flat).reshape(self.weights[0].shape)
        if len(self.weights) > 1:
            self.gradients[1] = np.ones(len(flat), flat.dtype) @ flat  # flat.sum(0), but faster

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, F) -> (N, height, width, C).

        What the place (i, j) of a window saw went to the filters through kernel[i, j], and its
        gradient comes back through the transpose. Windows overlap, so the pixels' shares are added.
        """
        self.learn(gradient)
        kernel, count = self.weights[0], gradient.shape[1:3]
        flat = gradient.reshape(-1, gradient.shape[3])
        x = np.zeros(self._padded_shape, gradient.dtype)
        for i, j in np.ndindex(*self.window):
            view = seen_by(x, i, j, count, self.strides)
            view += (flat @ kernel[i, j].T).reshape(view.shape)
        return unpad(x, self._shape, self.window, self.strides, self.padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        channels, filters = self.weights[0].shape[2:]
        if shape[2] != channels:
            raise ValueError(f"takes {channels} channels, received {shape}")
        return (*slid_over(shape, self.window, self.strides, self.padding), filters)


class DepthwiseConvolution(Layer):
    """Each channel convolved alone with kernels of its own (Howard et al. 2017, MobileNets).

    Args:
        kernel: (rows, columns, C, M): M outputs for each channel.
        bias: (C * M,), or None.
        strides, padding: as of `Convolution`.

    Nothing is summed over channels, so there is no matrix product to gain from: the sum is over the
    places (i, j) of the window alone. Where M > 1, each channel is first written M times, so that
    it meets each of its kernels.
    """

    def __init__(
        self,
        kernel: Array,
        bias: Array | None = None,
        strides: int | Pair = 1,
        padding: Padding = "valid",
    ) -> None:
        super().__init__([kernel] if bias is None else [kernel, bias])
        self.window: Pair = (kernel.shape[0], kernel.shape[1])
        self.strides, self.padding = pair(strides), padding

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, height, width, C) -> (N, down, across, C * M)."""
        kernel = self.weights[0].reshape(*self.window, -1)
        self._shape, each = x.shape, self.weights[0].shape[3]
        x = pad(x, self.window, self.strides, self.padding)
        self._x = x = x if each == 1 else x.repeat(each, 3)
        y = np.einsum("nabijc,ijc->nabc", windows(x, self.window, self.strides), kernel)
        if len(self.weights) > 1:
            y += self.weights[1]
        return y

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C * M) -> (N, height, width, C)."""
        kernel = self.weights[0].reshape(*self.window, -1)
        if len(self.weights) > 1:
            self.gradients[1] = gradient.sum((0, 1, 2))
        seen = windows(self._x, self.window, self.strides)
        by_kernel = np.einsum("nabijc,nabc->ijc", seen, gradient)
        self.gradients[0] = by_kernel.reshape(self.weights[0].shape)
        by_x = np.zeros_like(self._x)
        for i, j in np.ndindex(*self.window):
            view = seen_by(by_x, i, j, gradient.shape[1:3], self.strides)
            view += gradient * kernel[i, j]
        by_x = by_x.reshape(*by_x.shape[:3], self._shape[3], -1).sum(-1)  # of the M copies
        return unpad(by_x, self._shape, self.window, self.strides, self.padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        channels, each = self.weights[0].shape[2:]
        if shape[2] != channels:
            raise ValueError(f"takes {channels} channels, received {shape}")
        return (*slid_over(shape, self.window, self.strides, self.padding), channels * each)
