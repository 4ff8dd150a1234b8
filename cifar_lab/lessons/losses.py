"""Losses of scores: how wrong three numbers are."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

CLASSES = ("cat", "car", "frog")
#: of three pictures, a cat, a car and a frog: the scores for cat, car and frog
SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
LARGE = np.array([1000.0, 1001.0, 1002.0])


def hinge(sources: Sources) -> Outcome:
    """The hinge loss of three pictures, and the softmax loss of the same scores."""
    right = np.eye(3)
    losses = {
        "hinge": scratch.MultiClassHinge(),
        "softmax cross-entropy": scratch.SoftmaxCrossEntropy(),
    }
    each = {name: loss.each(SCORES, right) for name, loss in losses.items()}
    nudged = SCORES + [[0, 0, 0], [0, -0.5, 0], [0, 0, 0]]  # the car is still far ahead
    changes = {
        name: float(loss.each(nudged, right)[1] - each[name][1]) for name, loss in losses.items()
    }
    nothing = np.zeros((1, 3))

    def draw(figure):
        bars, curves = figure.subplots(1, 2)
        places = np.arange(3)
        for side, (name, values) in zip((-0.2, 0.2), each.items()):
            drawn = bars.bar(places + side, values, 0.38, label=name)
            bars.bar_label(drawn, [f"{value:.2f}" for value in values], fontsize=8)
        scored = [", ".join(f"{score:g}" for score in row) for row in SCORES]
        bars.set_xticks(places, [f"{n}\n{s}" for n, s in zip(CLASSES, scored)])
        label(bars, "right class; scores for cat, car, frog", "loss", "three pictures")
        bars.set_ylim(0, 14.5)
        bars.legend(fontsize=8)
        ahead = np.linspace(-4, 4, 161)
        rows = np.stack([ahead, np.zeros_like(ahead)], 1)
        first = np.tile([1.0, 0.0], (len(ahead), 1))
        for name, loss in losses.items():
            curves.plot(ahead, loss.each(rows, first), label=name)
        curves.axvline(1, color="gray", linestyle=":", label="the margin, 1")
        label(curves, "right score minus the wrong one", "loss", "two classes")
        curves.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number(
                "hinge loss of the cat, the car, the frog", list(each["hinge"]), [2.9, 0.0, 12.9]
            ),
            Number("mean hinge loss", each["hinge"].mean(), 5.2667),
            Number(
                "softmax loss of the same scores",
                list(each["softmax cross-entropy"]),
                [2.0404, 0.0791, 6.1565],
            ),
            Number("mean softmax loss", each["softmax cross-entropy"].mean(), 2.7587),
            Number("hinge loss of all scores 0", losses["hinge"].value(nothing, right[:1]), 2.0),
            Number(
                "softmax loss of all scores 0 (log 3)",
                losses["softmax cross-entropy"].value(nothing, right[:1]),
                1.0986,
            ),
            Number("the car's score .5 lower: hinge loss changes by", changes["hinge"], 0.0),
            Number(
                "the car's score .5 lower: softmax loss changes by",
                changes["softmax cross-entropy"],
                0.0482,
            ),
        ],
        seen="The hinge loss counts by how much each wrong score comes closer than 1 to the right "
        "one. The car leads by more than that, so its loss is 0 and stays 0 when its score falls a "
        "little; the softmax loss is never quite 0 and always asks for more.",
        draw=draw,
    )


def softmax(sources: Sources) -> Outcome:
    """Scores to probabilities without an overflow, and the gradient y - t."""
    shifted = scratch.softmax(LARGE)
    scores, t = np.array([[0.3, 2.9, 4.0]]), np.array([[0.0, 0.0, 1.0]])
    y = scratch.softmax(scores)
    loss = scratch.SoftmaxCrossEntropy()
    exact = loss.gradient(scores, t)
    numerical = scratch.numerical_gradient(lambda: loss.value(scores, t), scores)
    far = np.array([[0.0, 1000.0]]), np.array([[1.0, 0.0]])

    def draw(figure):
        overflow, gradients = figure.subplots(1, 2)
        _draw_overflow(overflow)
        _draw_gradients(gradients)

    return Outcome(
        numbers=[
            Number("softmax of 1000, 1001, 1002", list(shifted), [0.0900, 0.2447, 0.6652]),
            Number("the same, exp first", list(plain_softmax(LARGE)), [np.nan] * 3, why=OVERFLOW),
            Number(
                "largest score that float64's exp bears", np.log(np.finfo(np.float64).max), 709.7827
            ),
            Number(
                "largest score that float32's exp bears", np.log(np.finfo(np.float32).max), 88.7228
            ),
            Number("softmax of 0.3, 2.9, 4.0", y[0], [0.0182, 0.2452, 0.7366]),
            Number("its loss where the third is right", loss.value(scores, t), 0.3057),
            Number("gradient y - t", exact[0], [0.0182, 0.2452, -0.2634]),
            Number(
                "relative error beside the numerical one",
                scratch.relative_error(exact, numerical),
                0,
                1e-7,
            ),
            Number("loss where the right score is 1,000 behind", loss.value(*far), 1000.0),
        ],
        seen="exp(1000) is beyond what a float holds; with the largest score taken from all scores "
        "first the quotient is the same, and it never overflows. Softmax and cross-entropy "
        "together have the gradient y - t, which stays near 1 as long as the answer is wrong; "
        "squared error behind a sigmoid stops learning just there.",
        draw=draw,
    )


OVERFLOW = "NaN: infinity divided by infinity. Take the largest score from all scores first."


def plain_softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) as it is written, with its overflow: NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(x)
        return powers / powers.sum()


def _draw_overflow(axes) -> None:
    offsets = np.arange(0, 1201, 2.0)
    scores = np.array([0.0, 1.0, 2.0])
    ways = (
        ("largest score taken off first", 9, "lightgray", scratch.softmax, np.float64),
        ("exp first, float64", 5, "C0", plain_softmax, np.float64),
        ("exp first, float32", 2, "C3", plain_softmax, np.float32),
    )
    for name, width, colour, function, dtype in ways:
        found = np.array([function((scores + o).astype(dtype))[2] for o in offsets])
        axes.plot(offsets, found, linewidth=width, color=colour, label=name)
        ends = offsets[np.isfinite(found)].max()
        if ends < offsets.max():
            axes.text(ends, 0.61, f"NaN beyond {ends:.0f}", fontsize=8, color=colour)
    label(axes, "s", "probability of the third", "softmax of s, s + 1, s + 2")
    axes.set_ylim(0.3, 0.8)
    axes.legend(fontsize=8, loc="lower right")


def _draw_gradients(axes) -> None:
    behind = np.linspace(-8, 8, 161)
    y = scratch.sigmoid(behind)
    axes.plot(behind, y - 1, label="cross-entropy: y - t")
    axes.plot(behind, (y - 1) * y * (1 - y), label="half the squared error: (y - t) y (1 - y)")
    label(axes, "right score minus the wrong one", "gradient by the score", "two classes, t = 1")
    axes.set_ylim(-1.4, 0.1)
    axes.legend(fontsize=8, loc="lower right")


LESSONS = [
    Lesson(
        name="hinge",
        title="Hinge loss and softmax loss of the same scores",
        source="the lecture on losses; CS231n, 'Linear classification'; Weston and Watkins 1999",
        run=hinge,
    ),
    Lesson(
        name="softmax",
        title="Softmax: the overflow, the shift, and the gradient y - t",
        source="the lecture on losses; Bishop 2006, equation 4.109",
        run=softmax,
    ),
]
