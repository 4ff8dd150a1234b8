"""One neuron: what it says of two classes, why that loss, and how the first ones learned."""

from __future__ import annotations

import math

import numpy as np

from .. import scratch
from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources, ink, named

# --- logistic regression --------------------------------------------------------------------------

RATE, STEPS = 0.1, 100


def logistic(sources: Sources) -> Outcome:
    """One logistic neuron tells the first class from the second, by numpy and steepest descent."""
    digits = sources.digits()
    no, yes = digits.classes[:2]
    x, t, _ = _two(digits.train_images, digits.train_labels)
    test_x, test_t, test_images = _two(digits.test_images, digits.test_labels)
    w, b, losses = np.zeros(x.shape[1]), 0.0, []
    for _ in range(STEPS):
        y = scratch.sigmoid(x @ w + b)
        losses.append(_cross_entropy(y, t))
        error = (y - t) / len(t)
        w, b = w - RATE * x.T @ error, b - RATE * error.sum()
    losses.append(_cross_entropy(scratch.sigmoid(x @ w + b), t))
    y = scratch.sigmoid(test_x @ w + b)
    right = (y > 0.5) == test_t
    surest_mistake = int(np.argmax(abs(y - test_t)))

    def draw(figure):
        curve, weights, *examples = figure.subplots(1, 5, width_ratios=[2, 1.6, 1, 1, 1])
        curve.plot(losses)
        curve.axhline(math.log(2), color="k", linestyle=":", label="ln 2")
        curve.legend(fontsize=8)
        label(curve, "step", "cross-entropy", f"{len(t):,} train pictures")
        bound = abs(w).max()
        scale = dict(cmap="RdBu", vmin=-bound, vmax=bound)
        show_image(weights, w.reshape(28, 28), f"weights\nred: {no}, blue: {yes}", **scale)
        surest = [int(np.argmin(y)), int(np.argmax(y)), surest_mistake]
        for axes, i, name in zip(
            examples, surest, (f"surest {no}", f"surest {yes}", "most wrong"), strict=True
        ):
            says = f"{name}\n{yes}: {y[i]:.3f}\nis {digits.classes[int(test_t[i])]}"
            show_image(axes, test_images[i], says)

    return Outcome(
        numbers=[
            Number("cross-entropy before the first step, ln 2", losses[0], 0.69315, 1e-5),
            Number(f"cross-entropy after {STEPS} steps", losses[-1]),
            Number("share of the test pictures told right", float(right.mean())),
            Number("what the most wrong of them gets", float(y[surest_mistake])),
        ],
        seen="A neuron that knows nothing says 1/2, and its loss is ln 2. The gradient is (y - t) "
        f"x, no more; {STEPS} steps of it bring the loss to {losses[-1]:.3f}. The weights are a "
        f"picture: blue where a pixel that differs from the background speaks for {yes}, red where "
        f"it speaks for {no}.",
        draw=draw,
        height=3.4,
        data=f"the classes {no} and {yes} of {named(digits)}: {len(t):,} train and {len(y):,} "
        "test pictures",
    )


def _two(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ink (N, 784), 0 or 1 (N,), and the images of the first two classes."""
    chosen = labels < 2
    return ink(images[chosen]), labels[chosen].astype(float), images[chosen]


def _cross_entropy(y: np.ndarray, t: np.ndarray) -> float:
    return scratch.BinaryCrossEntropy().value(y[:, None], t[:, None])


# --- likelihood -----------------------------------------------------------------------------------

#: what a neuron says of five samples, and their classes
SAID, TRUE = np.array([0.9, 0.2, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 1, 0.0])
HEADS, TOSSES = 7, 10


def likelihood(sources: Sources) -> Outcome:
    """The cross-entropy is the likelihood, its logarithm taken; and what the slides' slips give."""
    given = np.where(TRUE == 1, SAID, 1 - SAID)
    product = float(given.prod())
    entropy = _cross_entropy(SAID, TRUE)
    chances = np.linspace(0.001, 0.999, 999)
    coin = chances**HEADS * (1 - chances) ** (TOSSES - HEADS)
    loss = -(HEADS * np.log(chances) + (TOSSES - HEADS) * np.log(1 - chances)) / TOSSES
    with np.errstate(divide="ignore", invalid="ignore"):
        of_targets = abs(np.nansum(TRUE * np.log(TRUE)))  # 0 log 0 counts as 0

    def draw(figure):
        left, middle, right = figure.subplots(1, 3)
        left.plot(chances, coin * 1000)
        left.axvline(HEADS / TOSSES, color="k", linestyle=":")
        label(left, "chance of heads H", "likelihood x 1,000", f"{HEADS} heads in {TOSSES} tosses")
        middle.plot(chances, loss, "C1")
        middle.axvline(HEADS / TOSSES, color="k", linestyle=":")
        middle.set(ylim=(0.5, 2))
        label(middle, "chance of heads H", "cross-entropy a toss", "lowest at the same place")
        right.plot(chances, -np.log(chances), label="y = 1: -log H")
        right.plot(chances, -np.log(1 - chances), label="y = 0: -log(1 - H)")
        right.plot(chances, np.log(chances) - 1, "C1:", label="y = 0, slide: -(1 - log H)")
        right.set(ylim=(-4, 5))
        label(right, "output H", "loss of one sample", "one sample")
        right.legend(fontsize=7, loc="upper center")

    return Outcome(
        numbers=[
            Number("likelihood of five samples, a product", product, 0.27216, 1e-8),
            Number("their cross-entropy", entropy, 0.26027, 5e-6),
            Number("exp(-5 times the cross-entropy)", math.exp(-5 * entropy), 0.27216, 1e-8),
            Number("chance at which 7 heads in 10 are likeliest", chances[coin.argmax()], 0.7),
            Number("chance at which their cross-entropy is lowest", chances[loss.argmin()], 0.7),
            Number("that lowest cross-entropy", float(loss.min()), 0.61086, 1e-5),
            Number(
                "-sum t log y of the class-1 samples",
                float(-(TRUE * np.log(SAID)).sum()),
                0.97286,
                1e-5,
                printed="-sum t log t",
                why=f"with log t it is {of_targets:.0f} whatever the network says, as t is 0 "
                "or 1: nothing to learn from",
            ),
            Number(
                "loss at y = 0, H = 0.2: -(1 - y) log(1 - H)",
                -math.log(1 - 0.2),
                0.22314,
                1e-5,
                printed="(1 - y)(1 - log H)",
                why=f"-(1 - log H) would be {math.log(0.2) - 1:.3f}, and without bound below where "
                "H is near 0, the right answer",
            ),
        ],
        seen="A product of many chances is too small to compute with; its logarithm is a sum. The "
        "weights that make the data likeliest are those with the lowest mean of -log: the two "
        "curves turn at the same place, so to minimise the cross-entropy is to maximise the "
        "likelihood.",
        draw=draw,
    )


# --- the perceptron -------------------------------------------------------------------------------

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
OR = np.array([0, 1, 1, 1.0])
#: w1, w2 and bias with which the neuron's second row is the lecture's: sigmoid(0.2 - 0.75) = 0.366
FIRST = np.array([0.3, 0.2, -0.75])
NEURON_RATE, EPOCHS = 1.0, 1000


def perceptron(sources: Sources) -> Outcome:
    """OR by one neuron: its table, Rosenblatt's rule until no mistake is left, and the descent."""
    inputs = np.column_stack([CORNERS, np.ones(4)])
    first = scratch.sigmoid(inputs @ FIRST)
    weights, lines = FIRST.copy(), [FIRST.copy()]
    mistakes: list[int] = []
    while not mistakes or mistakes[-1]:
        wrong = 0
        for x, t in zip(inputs, OR, strict=True):
            error = t - float(x @ weights > 0)
            weights += error * x
            wrong += error != 0
        mistakes.append(int(wrong))
        lines.append(weights.copy())
    trained = FIRST.copy()
    for _ in range(EPOCHS):
        trained -= NEURON_RATE * inputs.T @ (scratch.sigmoid(inputs @ trained) - OR)
    last = scratch.sigmoid(inputs @ trained)

    def draw(figure):
        plane, table = figure.subplots(1, 2)
        across = np.array([-0.5, 1.5])
        for line, name, style in (
            (lines[0], "start", "C0--"),
            (lines[-1], f"after {len(mistakes)} rounds, Rosenblatt", "C2"),
            (trained, f"after {EPOCHS:,} steps of the descent", "C1"),
        ):
            plane.plot(across, -(line[0] * across + line[2]) / line[1], style, label=name)
        for corner, t in zip(CORNERS, OR, strict=True):
            plane.plot(*corner, "ko", markersize=10, fillstyle="full" if t else "none")
        plane.set(xlim=(-0.5, 1.5), ylim=(-0.5, 2.4))
        label(plane, "x1", "x2", "OR: filled is 1; the line is where the sum is 0")
        plane.legend(fontsize=8)
        places = np.arange(4)
        table.bar(places - 0.3, first, 0.3, label="at the start")
        table.bar(places, last, 0.3, label=f"after {EPOCHS:,} steps")
        table.bar(places + 0.3, OR, 0.3, color="0.8", label="target")
        table.set_xticks(places, ["0, 0", "0, 1", "1, 0", "1, 1"])
        table.set(ylim=(0, 1.35))
        label(table, "x1, x2", "output", "what the neuron says")
        table.legend(fontsize=8, loc="upper left", ncols=3)

    return Outcome(
        numbers=[
            Number(
                "(0, 1) at the start: output and error",
                [float(first[1]), float(first[1] - 1)],
                [0.366, -0.634],
                printed=".36 and -.64",
                why="0.366 rounds to .37, the error to -.63; .36 is cut off, and .36 - 1 is -.64",
            ),
            Number("outputs at the start", first.tolist(), [0.32082, 0.36586, 0.38936, 0.43782]),
            Number("their errors", (first - OR).tolist(), [0.32082, -0.63414, -0.61064, -0.56218]),
            Number("Rosenblatt's rule: mistakes in each round", mistakes),
            Number("its weights and bias", weights.tolist()),
            Number(f"outputs after {EPOCHS:,} steps of the descent", last.tolist()),
        ],
        seen="OR is what one neuron can do: a line has (0, 0) on one side and the others on the "
        "other. Rosenblatt's rule moves the line only after a mistake and stops at the first line "
        "that makes none; the descent goes on, and pushes the line to where all four are clear. "
        "The starting weights are ones that give the slide's second row.",
        draw=draw,
    )


LESSONS = [
    Lesson(
        name="logistic",
        title="Two classes of pictures by one logistic neuron",
        source="the lecture on classification (logistic.ipynb, logistic_gradient.py); Cox 1958",
        run=logistic,
        needs=("digits",),
    ),
    Lesson(
        name="likelihood",
        title="The cross-entropy is the likelihood",
        source="the lecture on classification; Fisher 1922, Bishop 2006, section 4.3",
        run=likelihood,
    ),
    Lesson(
        name="perceptron",
        title="One neuron learns OR",
        source="the lecture on the perceptron; Rosenblatt 1958",
        run=perceptron,
    ),
]
