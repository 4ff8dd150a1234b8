"""What training makes small: `value(y, t)`, and `gradient(y, t)`, its derivative by y.

y is what the network gives, t what it should give, one shape, (N, outputs); classes as rows with a
single 1 (`one_hot`). `each(y, t)` is the loss of every sample, (N,); the value is their mean, so
that the gradient has a factor 1 / N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from .activations import sigmoid, softmax
from .layers import Array

# Keras' epsilon: probabilities are kept this far from 0 and 1, where the logarithm has no end
EPSILON = 1e-7


def one_hot(labels: Array, classes: int, dtype: DTypeLike = np.float64) -> Array:
    """Class numbers (N,) -> (N, classes), 1 at the class and 0 elsewhere."""
    return np.eye(classes, dtype=dtype)[labels]


class Loss:
    """A function of outputs and targets that knows its derivative."""

    def each(self, y: Array, t: Array) -> Array:
        """The loss of every sample, (N,)."""
        raise NotImplementedError

    def value(self, y: Array, t: Array) -> float:
        """The mean over the samples."""
        return float(self.each(y, t).mean())

    def gradient(self, y: Array, t: Array) -> Array:
        """The derivative of `value` by y, (N, outputs)."""
        raise NotImplementedError


class SquaredError(Loss):
    """mean (y - t)^2 over the outputs, Keras' `MeanSquaredError`; lectures often halve it."""

    def each(self, y: Array, t: Array) -> Array:
        return ((y - t) ** 2).mean(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        return 2 * (y - t) / y.size


class BinaryCrossEntropy(Loss):
    """-(t log y + (1 - t) log(1 - y)), the mean over the outputs; y are probabilities."""

    def each(self, y: Array, t: Array) -> Array:
        y = np.clip(y, EPSILON, 1 - EPSILON)
        return -(t * np.log(y) + (1 - t) * np.log(1 - y)).mean(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        inside = (y >= EPSILON) & (y <= 1 - EPSILON)
        y = np.clip(y, EPSILON, 1 - EPSILON)
        return inside * (y - t) / (y * (1 - y)) / y.size


class SigmoidCrossEntropy(Loss):
    """The same from scores, before the sigmoid: the two together have the gradient sigmoid(y) - t.

    Written max(y, 0) - y t + log(1 + exp(-|y|)), nothing overflows.
    """

    def each(self, y: Array, t: Array) -> Array:
        return (np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))).mean(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        return (sigmoid(y) - t) / y.size


class CategoricalCrossEntropy(Loss):
    """-log of the probability given to the right class; the rows of y sum to 1."""

    def each(self, y: Array, t: Array) -> Array:
        return -(t * np.log(np.clip(y, EPSILON, 1 - EPSILON))).sum(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        inside = (y >= EPSILON) & (y <= 1 - EPSILON)
        return -(inside * t) / np.clip(y, EPSILON, 1 - EPSILON) / len(y)


class SoftmaxCrossEntropy(Loss):
    """The same from scores, before the softmax: the two together have the gradient softmax(y) - t.

    -t_i / p_i from the cross-entropy times the softmax's p_i (1 - p_i) and -p_i p_j: all divisions
    cancel (Bishop 2006, eq. 4.109). It never vanishes while the answer is wrong.
    """

    def each(self, y: Array, t: Array) -> Array:
        shifted = y - y.max(-1, keepdims=True)
        return t.sum(-1) * np.log(np.exp(shifted).sum(-1)) - (t * shifted).sum(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        return (softmax(y) * t.sum(-1, keepdims=True) - t) / len(y)


class MultiClassHinge(Loss):
    """How far each wrong score intrudes on a margin of 1 below the right one.

    sum over j != right of max(0, y_j - y_right + 1), Weston and Watkins (1999), as in CS231n.
    """

    def each(self, y: Array, t: Array) -> Array:
        return self._above(y, t).sum(-1)

    def gradient(self, y: Array, t: Array) -> Array:
        over = (self._above(y, t) > 0).astype(y.dtype)
        return (over - t * over.sum(-1, keepdims=True)) / len(y)

    @staticmethod
    def _above(y: Array, t: Array) -> Array:
        right = (y * t).sum(-1, keepdims=True)
        return np.maximum(y - right + 1, 0) * (1 - t)


class WorstHinge(Loss):
    """The same for the worst wrong class alone, max(0, max y_j - y_right + 1).

    Crammer and Singer (2001); Keras' `CategoricalHinge`, which takes a wrong score below 0 for 0.
    """

    def each(self, y: Array, t: Array) -> Array:
        return np.maximum(((1 - t) * y).max(-1) - (t * y).sum(-1) + 1, 0)

    def gradient(self, y: Array, t: Array) -> Array:
        worst = one_hot(((1 - t) * y).argmax(-1), y.shape[-1], y.dtype) * (1 - t)
        return (self.each(y, t) > 0)[:, None] * (worst - t) / len(y)
