"""Lines through points: least squares, and the descent that finds them."""

from __future__ import annotations

import numpy as np

from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

X = Y = np.array([1.0, 2.0, 3.0])
GOOD, DIVERGING = 0.1, 0.5  # learning rates
STEPS = 30


def least_squares(sources: Sources) -> Outcome:
    """The line through (1, 1), (2, 2), (3, 3) in closed form, and by steepest descent from 0."""
    design = np.stack([X, np.ones_like(X)], axis=1)
    (slope, intercept), *_ = np.linalg.lstsq(design, Y, rcond=None)
    paths = {rate: _descend(rate) for rate in (GOOD, DIVERGING)}
    fastest = 2 / np.linalg.eigvalsh(design.T @ design / len(X)).max()

    def draw(figure):
        lines, losses = figure.subplots(1, 2)
        lines.plot(X, Y, "ko", label="the points")
        for steps in (1, 3, STEPS):
            w, b = paths[GOOD][0][steps]
            lines.plot(X, w * X + b, label=f"after {steps} steps: {w:.2f} x + {b:.2f}")
        label(lines, "x", "y", f"steepest descent, rate {GOOD}")
        lines.legend(fontsize=8)
        for rate, (_, loss) in paths.items():
            losses.semilogy(loss, "o-", markersize=3, label=f"rate {rate}")
        label(losses, "step", "half the mean squared error", f"a rate above {fastest:.3f} diverges")
        losses.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("slope, least squares", slope, 1.0),
            Number("intercept, least squares", intercept, 0.0),
            Number(f"slope after {STEPS} steps at rate {GOOD}", paths[GOOD][0][-1][0]),
            Number("highest rate that converges", fastest),
            Number(f"loss after {STEPS} steps at rate {DIVERGING}", paths[DIVERGING][1][-1]),
        ],
        seen="Least squares finds the line at once. Steepest descent reaches the same line step by "
        "step where the rate is small enough; above twice the inverse of the greatest curvature "
        "each step overshoots by more than the last.",
        draw=draw,
    )


def _descend(rate: float) -> tuple[list[tuple[float, float]], list[float]]:
    """(w, b) and the loss before and after each of STEPS steps from w = b = 0."""
    w = b = 0.0
    path, losses = [], []
    for _ in range(STEPS + 1):
        error = w * X + b - Y
        path.append((w, b))
        losses.append(float((error**2).mean() / 2))
        w, b = w - rate * (error * X).mean(), b - rate * error.mean()
    return path, losses


LESSONS = [
    Lesson(
        name="least-squares",
        title="A line through three points: in closed form, and by steepest descent",
        source="the lecture on regression; Legendre 1805, Cauchy 1847",
        run=least_squares,
    ),
]
