"""Convolution: one small set of weights, used at every place of the picture.

What networks call convolution is cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

import numpy as np

from .layers import Array, Layer
from .windows import (
    Padding,
    Pair,
    add_windows,
    pad,
    pair,
    positions,
    seen_by,
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
        self._seen = windows(x, self.window, self.strides)
        y = self._rows() @ kernel.reshape(-1, kernel.shape[3])
        if len(self.weights) > 1:
            y += self.weights[1]
        return y.reshape(*self._seen.shape[:3], kernel.shape[3])

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, F) -> (N, height, width, C)."""
        kernel = self.weights[0]
        flat = gradient.reshape(-1, kernel.shape[3])
        self.gradients[0] = (self._rows().T @ flat).reshape(kernel.shape)
        if len(self.weights) > 1:
            self.gradients[1] = flat.sum(0)
        seen = (flat @ kernel.reshape(-1, kernel.shape[3]).T).reshape(self._seen.shape)
        x = add_windows(seen, self._padded_shape, self.strides)
        return unpad(x, self._shape, self.window, self.strides, self.padding)

    def _rows(self) -> Array:
        """Each window as a row: (N * down * across, rows * columns * C)."""
        return self._seen.reshape(np.prod(self._seen.shape[:3]), -1)


class DepthwiseConvolution(Layer):
    """Each channel convolved alone with kernels of its own (Howard et al. 2017, MobileNets).

    Args:
        kernel: (rows, columns, C, M): M outputs for each channel.
        bias: (C * M,), or None.
        strides, padding: as of `Convolution`.

    Nothing is summed over channels, so there is no matrix product to gain from: the sum is over the
    places of the window, one picture-sized product each.
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
        kernel = self.weights[0]
        self._shape = x.shape
        self._x = x = pad(x, self.window, self.strides, self.padding)
        self._count = positions(x.shape, self.window, self.strides)
        y = np.zeros((len(x), *self._count, *kernel.shape[2:]), x.dtype)
        for i, j in np.ndindex(*self.window):
            y += seen_by(x, i, j, self._count, self.strides)[..., None] * kernel[i, j]
        y = y.reshape(*y.shape[:3], -1)
        return y + self.weights[1] if len(self.weights) > 1 else y

    def backward(self, gradient: Array) -> Array:
        """(N, down, across, C * M) -> (N, height, width, C)."""
        kernel = self.weights[0]
        if len(self.weights) > 1:
            self.gradients[1] = gradient.sum((0, 1, 2))
        gradient = gradient.reshape(*gradient.shape[:3], *kernel.shape[2:])
        by_kernel, by_x = np.zeros_like(kernel), np.zeros_like(self._x)
        for i, j in np.ndindex(*self.window):
            seen = seen_by(self._x, i, j, self._count, self.strides)
            by_kernel[i, j] = (seen[..., None] * gradient).sum((0, 1, 2))
            view = seen_by(by_x, i, j, self._count, self.strides)
            view += (gradient * kernel[i, j]).sum(-1)
        self.gradients[0] = by_kernel
        return unpad(by_x, self._shape, self.window, self.strides, self.padding)
