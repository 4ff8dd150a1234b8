"""What a layer is, and the layers that neither slide over a picture nor only bend values.

Every layer of this package is a `Layer`: `forward(x, training)` computes, and keeps what the way
back needs; `backward(gradient)` takes the gradient of the loss by what the layer gave, keeps the
gradient by each of its weights, and returns the gradient by its input. That is the whole of
backpropagation (Rumelhart, Hinton and Williams 1986): the chain rule, one layer at a time.

Pictures are arrays (N, height, width, channels). What comes in sets the type:
float32 stays float32, and float64, which the gradient check needs, stays float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]


def one(shapes: Sequence[Shape], *dimensions: int) -> Sequence[Shape]:
    """The shapes, where they are one, with one of these numbers of dimensions (any where none).

    Raises:
        ValueError: they are not.
    """
    if len(shapes) != 1:
        raise ValueError(f"takes one input, received {len(shapes)}")
    if dimensions and len(shapes[0]) not in dimensions:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"takes {wanted} dimensions, received {shapes[0]}")
    return shapes


class Layer:
    """A function with weights that knows its derivative.

    Fields:
        weights: the arrays that are learned; an optimizer changes them in place.
        gradients: of the loss by each of `weights`, same shapes, written by `backward`.
        trainable: False where a network's `step` leaves the weights as they are.
    """

    def __init__(self, weights: Sequence[Array] = ()) -> None:
        self.weights: list[Array] = list(weights)
        self.gradients: list[Array] = [np.zeros_like(w) for w in self.weights]
        self.trainable = True

    def forward(self, x: Any, training: bool = False) -> Array:
        """The layer's output for the input `x`; only Dropout and normalisation heed `training`."""
        raise NotImplementedError

    def backward(self, gradient: Array) -> Any:
        """The gradient by the input of the last `forward`, from the gradient by its output."""
        raise NotImplementedError

    def learn(self, gradient: Array) -> None:
        """`backward` for a layer behind which nobody waits: keeps the gradients by the weights."""
        self.backward(gradient)

    def forget(self) -> None:
        """Drop what the last `forward` kept for `backward`."""
        for name in [name for name in list(vars(self)) if name.startswith("_")]:
            vars(self).pop(name, None)

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of what comes out for one sample, without N, from that of each input.

        Raises:
            ValueError: the layer does not take such inputs.
        """
        (shape,) = one(shapes)
        return shape


class Affine(Layer):
    """y = x W + b, Keras' `Dense` without its activation.

    Args:
        kernel: W, (inputs, units).
        bias: b, (units,), or None.

    With g the gradient by y: W gets xT g, b gets the sum of g over the samples, x gets g WT. The
    shapes allow no other product (CS231n, "Vector, matrix and tensor derivatives").
    """

    def __init__(self, kernel: Array, bias: Array | None = None) -> None:
        super().__init__([kernel] if bias is None else [kernel, bias])

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, inputs) -> (N, units)."""
        self._x = x
        y = x @ self.weights[0]
        if len(self.weights) > 1:
            y += self.weights[1]
        return y

    def learn(self, gradient: Array) -> None:
        """(N, units)."""
        self.gradients[0] = self._x.T @ gradient
        if len(self.weights) > 1:
            self.gradients[1] = gradient.sum(0)

    def backward(self, gradient: Array) -> Array:
        """(N, units) -> (N, inputs)."""
        self.learn(gradient)
        return gradient @ self.weights[0].T

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 1)
        inputs, units = self.weights[0].shape
        if shape != (inputs,):
            raise ValueError(f"takes {inputs} values, received {shape}")
        return (units,)


class Flatten(Layer):
    """(N, height, width, channels) -> (N, height * width * channels)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient: Array) -> Array:
        return gradient.reshape(self._shape)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes)
        return (math.prod(shape),)


class Rescaling(Layer):
    """y = scale * x + offset: pixels 0-255 to 0-1 with a scale of 1 / 255.

    Args:
        scale, offset: a number, one for each channel, (channels,), or one for each value of a
            picture, (height, width, channels).
    """

    def __init__(
        self, scale: float | Sequence[float] | Array, offset: float | Sequence[float] | Array = 0.0
    ) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: Array, training: bool = False) -> Array:
        return x * np.asarray(self.scale, x.dtype) + np.asarray(self.offset, x.dtype)

    def backward(self, gradient: Array) -> Array:
        return gradient * np.asarray(self.scale, gradient.dtype)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes)
        for values in (self.scale, self.offset):
            if np.broadcast_shapes(np.shape(values), shape) != shape:
                raise ValueError(f"has {np.shape(values)} values, received {shape}")
        return shape


class ZeroPadding(Layer):
    """Zeros around a picture, or behind its channels (the shortcut of He et al. 2016, option A).

    Args:
        padding: ((top, bottom), (left, right), (before, behind)): rows, columns, channels.
    """

    def __init__(self, padding: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.padding = tuple(padding)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._inside = inside = (
            slice(None),
            *(
                slice(before, before + size)
                for (before, _), size in zip(self.padding, x.shape[1:], strict=True)
            ),
        )
        y = np.zeros((len(x), *self.output_shape(x.shape[1:])), x.dtype)
        y[inside] = x
        return y

    def backward(self, gradient: Array) -> Array:
        return gradient[self._inside]

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes, 3)
        return tuple(size + sum(added) for size, added in zip(shape, self.padding, strict=True))


class Add(Layer):
    """The sum of several inputs of one shape, where a skip joins (He et al. 2016).

    Its gradient goes to every input unchanged: that is why a skip keeps deep networks trainable.
    """

    def forward(self, x: Sequence[Array], training: bool = False) -> Array:
        """A list of arrays (N, ...) -> (N, ...)."""
        self._count = len(x)
        return sum(x[1:], start=x[0])

    def backward(self, gradient: Array) -> list[Array]:
        """The gradient by each input, in their order."""
        return [gradient] * self._count

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes) < 2 or len(set(shapes)) != 1:
            raise ValueError(f"takes inputs of one shape, received {', '.join(map(str, shapes))}")
        return shapes[0]


class Concatenate(Layer):
    """Several inputs side by side: (N, ..., a) and (N, ..., b) give (N, ..., a + b)."""

    def forward(self, x: Sequence[Array], training: bool = False) -> Array:
        self._ends = np.cumsum([part.shape[-1] for part in x])[:-1]
        return np.concatenate(x, axis=-1)

    def backward(self, gradient: Array) -> list[Array]:
        """Each input has its own columns of the gradient, in their order."""
        return np.split(gradient, self._ends, axis=-1)

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes) < 2 or len({shape[:-1] for shape in shapes}) != 1 or not shapes[0]:
            raise ValueError(
                f"takes inputs that differ in their last axis alone, received "
                f"{', '.join(map(str, shapes))}"
            )
        return *shapes[0][:-1], sum(shape[-1] for shape in shapes)


class GaussianNoise(Layer):
    """In training, noise of mean 0 is added (Bishop 1995: like a penalty on steep outputs).

    Args:
        deviation: standard deviation of the noise, 0 or more.
        generator: where it comes from.
    """

    def __init__(self, deviation: float, generator: np.random.Generator) -> None:
        super().__init__()
        self.deviation, self.generator = deviation, generator

    def forward(self, x: Array, training: bool = False) -> Array:
        if not training:
            return x
        return x + self.generator.normal(0, self.deviation, x.shape).astype(x.dtype)

    def backward(self, gradient: Array) -> Array:
        return gradient


class Dropout(Layer):
    """In training, each value becomes zero with probability `rate`; the others grow to make up.

    Srivastava et al. (2014), "inverted": divided by 1 - rate here, so that nothing changes outside
    training.

    Args:
        rate: 0 <= rate < 1.
        generator: where the chances come from; one with seed 0 where not given.

    Raises:
        ValueError: the rate is outside its range.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate: must be from 0 to below 1, received {rate}")
        self.rate, self.generator = rate, generator or np.random.default_rng(0)

    def forward(self, x: Array, training: bool = False) -> Array:
        self._factor: Array | None = None
        if not training or self.rate == 0:
            return x
        kept = self.generator.random(x.shape) >= self.rate
        self._factor = factor = (kept / (1 - self.rate)).astype(x.dtype)
        return x * factor

    def backward(self, gradient: Array) -> Array:
        return gradient if self._factor is None else gradient * self._factor


class BatchNormalization(Layer):
    """Each channel to mean 0 and variance 1, then scaled by gamma and shifted by beta.

    Ioffe and Szegedy (2015), algorithms 1 and 2. In training the mean and the variance are the
    batch's (over samples, rows and columns), and the moving ones follow them; elsewhere the moving
    ones are used. As in Keras, the moving variance follows the batch's biased variance, sum / n.

    Args:
        channels: size of the last axis.
        momentum: share of the old moving statistics that stays at each update.
        epsilon: added to the variance.
        gamma, beta: (channels,), or None for a layer without.
        moving_mean, moving_variance: (channels,); 0 and 1 where not given.
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        gamma: Array | None = None,
        beta: Array | None = None,
        moving_mean: Array | None = None,
        moving_variance: Array | None = None,
    ) -> None:
        super().__init__([w for w in (gamma, beta) if w is not None])
        self.momentum, self.epsilon = momentum, epsilon
        self.has_gamma, self.has_beta = gamma is not None, beta is not None
        self.moving_mean = np.zeros(channels) if moving_mean is None else moving_mean
        self.moving_variance = np.ones(channels) if moving_variance is None else moving_variance

    def forward(self, x: Array, training: bool = False) -> Array:
        """(N, ..., channels) -> the same shape."""
        axes = tuple(range(x.ndim - 1))
        training = training and self.trainable  # frozen, it keeps its statistics, as in Keras
        if training:
            mean, variance = x.mean(axes), x.var(axes)
            keep = self.momentum
            self.moving_mean = keep * self.moving_mean + (1 - keep) * mean
            self.moving_variance = keep * self.moving_variance + (1 - keep) * variance
        else:
            mean, variance = self.moving_mean, self.moving_variance
        self._training, self._axes = training, axes
        self._over_deviation = over_deviation = 1 / np.sqrt(variance + self.epsilon)
        self._normal = y = (x - mean) * over_deviation
        if self.has_gamma:
            y = y * self.weights[0]
        return y + self.weights[-1] if self.has_beta else y

    def backward(self, gradient: Array) -> Array:
        """In training the batch's mean and variance depend on x too: two more terms.

        With g the gradient by the normalised values n, and means over the batch:
        dx = (g - mean(g) - n mean(g n)) / deviation. It is the paper's five formulas in one.
        """
        if self.has_beta:
            self.gradients[-1] = gradient.sum(self._axes)
        if self.has_gamma:
            self.gradients[0] = (gradient * self._normal).sum(self._axes)
            gradient = gradient * self.weights[0]
        if self._training:
            along = (gradient * self._normal).mean(self._axes)
            gradient = gradient - gradient.mean(self._axes) - self._normal * along
        return gradient * self._over_deviation

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = one(shapes)
        if shape[-1] != len(self.moving_mean):
            raise ValueError(f"takes {len(self.moving_mean)} channels, received {shape}")
        return shape
