"""Where the weights begin: small enough not to saturate, large enough that signals get through.

A sum of n values of variance 1 has variance n, so weights of variance 1 / n keep it (Xavier). A
relu throws half of it away, so 2 / n (He). Variances and truncation are `keras.initializers`'.

Each function takes a shape - (inputs, units) for a dense kernel, (rows, columns, inputs, outputs)
for a convolution's - and most a generator, and returns float64.
"""

from __future__ import annotations

import math

import numpy as np

from .layers import Array

Shape = tuple[int, ...]

# The standard deviation that a standard normal has left when cut off at -2 and 2
_CUT_DEVIATION = 0.87962566103423978


def fans(shape: Shape) -> tuple[int, int]:
    """(fan in, fan out): how many values reach an output, and how many outputs a value reaches."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    places = math.prod(shape[:-2])
    return places * shape[-2], places * shape[-1]


def constant(shape: Shape, value: float = 0.0) -> Array:
    """All the same. Right for biases; kernels that begin equal stay equal."""
    return np.full(shape, value)


def normal(shape: Shape, generator: np.random.Generator, deviation: float = 0.05) -> Array:
    """Normal, mean 0."""
    return generator.normal(0, deviation, shape)


def xavier_uniform(shape: Shape, generator: np.random.Generator) -> Array:
    """Variance 2 / (fan in + fan out), uniform: Glorot and Bengio (2010); Keras' default."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return generator.uniform(-limit, limit, shape)


def xavier_normal(shape: Shape, generator: np.random.Generator) -> Array:
    """The same variance, normal cut off at two deviations."""
    return _cut_normal(shape, generator, math.sqrt(2 / sum(fans(shape))))


def he_uniform(shape: Shape, generator: np.random.Generator) -> Array:
    """Variance 2 / fan in, uniform: for relu, He et al. (2015)."""
    limit = math.sqrt(6 / fans(shape)[0])
    return generator.uniform(-limit, limit, shape)


def he_normal(shape: Shape, generator: np.random.Generator) -> Array:
    """The same variance, normal cut off at two deviations: sqrt(2 / n), not 2 / sqrt(n)."""
    return _cut_normal(shape, generator, math.sqrt(2 / fans(shape)[0]))


def _cut_normal(shape: Shape, generator: np.random.Generator, deviation: float) -> Array:
    """Normal without what is beyond two deviations, drawn anew there, and then of `deviation`."""
    drawn = generator.normal(size=shape)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = generator.normal(size=outside.sum())
    return drawn * (deviation / _CUT_DEVIATION)
