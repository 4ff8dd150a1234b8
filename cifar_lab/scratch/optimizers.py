"""From gradients to better weights: `step(weights, gradients)` changes the weights in place.

The update rules are Keras', down to the place of each epsilon, so that ten steps give the same
weights. What an optimizer remembers of each weight is a list in the order of the weights: use one
optimizer for one network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .layers import Array


class Optimizer:
    """What all optimizers share: they update one weight at a time, and remember.

    Args:
        learning_rate: how far a step goes.

    Fields:
        steps: how many were taken, the running one included.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self._memories: list[dict[str, Array]] = []

    def step(self, weights: Sequence[Array], gradients: Sequence[Array]) -> None:
        """One step; `gradients` are in the order and the shapes of `weights`.

        Raises:
            ValueError: the lists differ in length, or from the first step's.
        """
        if not self._memories:
            self._memories = [{} for _ in weights]
        if not len(self._memories) == len(weights) == len(gradients):
            raise ValueError(
                f"weights, gradients: must be {len(self._memories)} each, received "
                f"{len(weights)} and {len(gradients)}"
            )
        self.steps += 1
        for weight, gradient, memory in zip(weights, gradients, self._memories, strict=True):
            self.update(weight, gradient, memory)

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        """Change one weight in place; `memory` is this weight's own, empty at first."""
        raise NotImplementedError


class GradientDescent(Optimizer):
    """w = w - rate g. On all samples it is steepest descent (Cauchy 1847), on a few of them SGD."""

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__(learning_rate)

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        w -= self.learning_rate * g


class Momentum(Optimizer):
    """v = momentum v - rate g, w = w + v: a ball that rolls on (Polyak 1964)."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(learning_rate)
        self.momentum = momentum

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        w += self._velocity(w, g, memory)

    def _velocity(self, w: Array, g: Array, memory: dict[str, Array]) -> Array:
        v = memory.setdefault("velocity", np.zeros_like(w))
        v *= self.momentum
        v -= self.learning_rate * g
        return v


class Nesterov(Momentum):
    """Momentum that looks ahead (Nesterov 1983): w = w + momentum v - rate g, with the new v."""

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        w += self.momentum * self._velocity(w, g, memory) - self.learning_rate * g


class AdaGrad(Optimizer):
    """A smaller rate for what has moved much (Duchi et al. 2011).

    a = a + g^2, w = w - rate g / sqrt(a + epsilon). Keras begins with a = 0.1, the paper with 0.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator: float = 0.1,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.initial_accumulator, self.epsilon = initial_accumulator, epsilon

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        a = memory.setdefault("accumulator", np.full_like(w, self.initial_accumulator))
        a += g**2
        w -= self.learning_rate * g / np.sqrt(a + self.epsilon)


class RMSProp(Optimizer):
    """AdaGrad that forgets (Hinton, Coursera 2012, lecture 6e).

    a = rho a + (1 - rho) g^2, w = w - rate g / sqrt(a + epsilon).
    """

    def __init__(
        self, learning_rate: float = 0.001, rho: float = 0.9, epsilon: float = 1e-7
    ) -> None:
        super().__init__(learning_rate)
        self.rho, self.epsilon = rho, epsilon

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        a = memory.setdefault("mean_square", np.zeros_like(w))
        a += (1 - self.rho) * (g**2 - a)
        w -= self.learning_rate * g / np.sqrt(a + self.epsilon)


class Adam(Optimizer):
    """Momentum and RMSProp together (Kingma and Ba 2015).

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, both too small at first because they begin at 0:
    after t steps they hold 1 - b1^t and 1 - b2^t of a mean. The rate makes up for both,
    rate sqrt(1 - b2^t) / (1 - b1^t); without that the first step is 3.16 times as long. Epsilon is
    outside the root, the paper's "epsilon hat".
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def update(self, w: Array, g: Array, memory: dict[str, Array]) -> None:
        m = memory.setdefault("mean", np.zeros_like(w))
        v = memory.setdefault("mean_square", np.zeros_like(w))
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g**2 - v)
        correction = (1 - self.beta_2**self.steps) ** 0.5 / (1 - self.beta_1**self.steps)
        w -= self.learning_rate * correction * m / (np.sqrt(v) + self.epsilon)
