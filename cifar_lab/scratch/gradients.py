"""The numerical gradient: slow, with no formula to get wrong, and so the check of all others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layers import Array


def numerical_gradient(function: Callable[[], float], x: Array, step: float = 1e-5) -> Array:
    """The gradient of `function()` by `x` from central differences, two calls for each value.

    (f(x + h) - f(x - h)) / 2h: its error falls with h^2, that of the one-sided one with h.

    Args:
        function: reads `x`, which is changed in place between calls and put back.
        x: float64, any shape.
        step: h.

    Raises:
        ValueError: x is not float64, whose 16 digits the difference needs.
    """
    if x.dtype != np.float64:
        raise ValueError(f"x: must be float64, received {x.dtype}")
    gradient = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        before = x[place]
        x[place] = before + step
        above = function()
        x[place] = before - step
        below = function()
        x[place] = before
        gradient[place] = (above - below) / (2 * step)
    return gradient


def relative_error(a: Array, b: Array) -> float:
    """The largest difference over the largest value of both: about 1e-7 is right, 1e-2 is a bug."""
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max(initial=0) / scale) if scale else 0.0
