"""The functions behind a layer's sums: without one, a stack of affine layers is one matrix.

Each takes and gives arrays of any shape. The gradient is the derivative at each value times what
comes from behind; only Softmax mixes the values of a sample.
"""

from __future__ import annotations

import numpy as np

from .layers import Array, Layer


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), 0 to 1; exp sees nothing positive, so it cannot overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softmax(x: Array) -> Array:
    """exp(x) / sum exp(x) over the last axis: positive, sums to 1.

    The largest value is taken from all first. The quotient is the same, and nothing overflows.
    """
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)); its derivative y (1 - y) is never above 1/4."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = y = sigmoid(x)
        return y

    def backward(self, gradient: Array) -> Array:
        return gradient * self._y * (1 - self._y)


class Tanh(Layer):
    """y = tanh(x), -1 to 1; its derivative is 1 - y^2."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = y = np.tanh(x)
        return y

    def backward(self, gradient: Array) -> Array:
        return gradient * (1 - self._y**2)


class Relu(Layer):
    """y = max(x, 0), at most `max_value` where one is given (6 in relu6).

    At the kink the derivative is taken as 0, as Keras takes it.
    """

    def __init__(self, max_value: float | None = None) -> None:
        super().__init__()
        self.max_value = max_value

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = y = np.maximum(x, 0)
        if self.max_value is not None:
            np.minimum(y, self.max_value, out=y)
        return y

    def backward(self, gradient: Array) -> Array:
        passes = self._y > 0
        if self.max_value is not None:
            passes &= self._y < self.max_value
        return gradient * passes


class LeakyRelu(Layer):
    """y = x where positive, else slope * x (Maas et al. 2013)."""

    def __init__(self, slope: float = 0.3) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Array, training: bool = False) -> Array:
        self._factor = factor = np.where(x > 0, 1, self.slope).astype(x.dtype)
        return x * factor

    def backward(self, gradient: Array) -> Array:
        return gradient * self._factor


class Elu(Layer):
    """y = x where positive, else alpha (exp(x) - 1) (Clevert et al. 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Array, training: bool = False) -> Array:
        bent = self.alpha * np.expm1(np.minimum(x, 0))
        # the derivative of alpha (exp(x) - 1) is alpha exp(x): itself and alpha
        self._slope = np.where(x > 0, 1, bent + self.alpha)
        return np.where(x > 0, x, bent)

    def backward(self, gradient: Array) -> Array:
        return gradient * self._slope


class Silu(Layer):
    """y = x sigmoid(x), also called swish (Ramachandran et al. 2017)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        s = sigmoid(x)
        self._x, self._s = x, s
        return x * s

    def backward(self, gradient: Array) -> Array:
        return gradient * self._s * (1 + self._x * (1 - self._s))


class Softmax(Layer):
    """Scores to probabilities over the last axis.

    dy_i/dx_j = y_i (1 if i = j else 0) - y_i y_j: the gradient by x is y (g - sum(g y)). Behind a
    cross-entropy this shrinks to y - t, see `losses.SoftmaxCrossEntropy`.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self._y = y = softmax(x)
        return y

    def backward(self, gradient: Array) -> Array:
        return self._y * (gradient - (gradient * self._y).sum(-1, keepdims=True))
