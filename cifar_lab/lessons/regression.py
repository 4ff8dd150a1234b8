"""Sums of products, lines through points, and the first step of a descent."""

from __future__ import annotations

import numpy as np

from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources, named

# --- matrices -------------------------------------------------------------------------------------

A, B = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
BATCH = 100


def matrices(sources: Sources) -> Outcome:
    """Products of matrices, and the shapes by which a layer of ten nodes reads pictures."""
    digits = sources.digits()
    pictures = digits.train_images[:BATCH]
    rows = pictures.reshape(len(pictures), -1) / 255
    kernel = np.random.default_rng(0).normal(0, 0.1, (rows.shape[1], len(digits.classes)))
    scores = rows @ kernel
    by_hand = [[sum(A[i, k] * B[k, j] for k in (0, 1)) for j in (0, 1)] for i in (0, 1)]

    def draw(figure):
        above, below = figure.subfigures(2, 1, height_ratios=[1, 1.25])
        cells = above.subplots(1, 3)
        _cells(cells[0], A, "A: its first row", [(0, 0), (0, 1)])
        _cells(cells[1], B, "B: its second column", [(0, 1), (1, 1)])
        _cells(cells[2], A @ B, "their product: 1 x 6 + 2 x 8 = 22", [(0, 1)])
        picture, row, weights, out = below.subplots(1, 4)
        show_image(picture, pictures[0], "a picture, 28 x 28")
        strips = dict(aspect="auto")
        show_image(row, rows[:20], f"20 of {BATCH} rows of 784 pixels", **strips)
        show_image(weights, kernel, "784 x 10 weights", cmap="RdBu", **strips)
        show_image(out, scores[:20], "20 rows of 10 sums", cmap="RdBu", **strips)

    return Outcome(
        numbers=[
            Number("[[1, 2], [3, 4]] [[5, 6], [7, 8]]", by_hand, [[19, 22], [43, 50]], 0),
            Number("the factors exchanged", (B @ A).tolist(), [[23, 34], [31, 46]], 0),
            Number(
                "nodes, pixels to classes",
                list(kernel.shape),
                [784, 10],
                0,
                printed="784 to 9",
                why="ten classes, 0 to 9, take ten nodes",
            ),
            Number("shape of a batch's pixels", list(rows.shape), [BATCH, 784], 0),
            Number("shape of its sums", list(scores.shape), [BATCH, 10], 0),
            Number("weights and biases of the layer", kernel.size + kernel.shape[1], 7850, 0),
            Number("inputs of a picture 64 x 64 x 3", 64 * 64 * 3, 12288, 0),
        ],
        seen="Each value of a product is a row times a column, summed; so the columns of the first "
        "factor must be as many as the rows of the second, and the order counts. A layer is one "
        "such product: every row is a picture, every column of the weights a node.",
        draw=draw,
        height=5.2,
        data=f"the first {BATCH} train pictures of {named(digits)}",
    )


def _cells(axes, matrix: np.ndarray, title: str, marked: list[tuple[int, int]]) -> None:
    """A small matrix as a table, some of its values marked."""
    marks = np.zeros(matrix.shape)
    for place in marked:
        marks[place] = 0.35
    show_image(axes, marks, title, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        axes.text(j, i, str(value), ha="center", va="center", fontsize=16)


# --- least squares --------------------------------------------------------------------------------

X = Y = np.array([1.0, 2.0, 3.0])
GOOD, DIVERGING = 0.1, 0.5  # learning rates
STEPS = 30
#: three grades of each of four students, and the fourth that is to be told from them
GRADES = np.array([[100, 80, 60, 55], [95, 80, 100, 75], [95, 75, 100, 100.0]]).T
LAST = np.array([96, 78, 86, 76.0])


def least_squares(sources: Sources) -> Outcome:
    """The line through (1, 1), (2, 2), (3, 3) in closed form, and by steepest descent from 0; then
    the grades of four students, with and without a bias."""
    design = np.stack([X, np.ones_like(X)], axis=1)
    (slope, intercept), *_ = np.linalg.lstsq(design, Y, rcond=None)
    paths = {rate: _descend(rate) for rate in (GOOD, DIVERGING)}
    fastest = 2 / np.linalg.eigvalsh(design.T @ design / len(X)).max()
    without, *_ = np.linalg.lstsq(GRADES, LAST, rcond=None)
    with_ones = np.column_stack([GRADES, np.ones(len(GRADES))])
    with_bias, *_ = np.linalg.lstsq(with_ones, LAST, rcond=None)
    missed = GRADES @ without - LAST

    def draw(figure):
        lines, losses, students = figure.subplots(1, 3)
        lines.plot(X, Y, "ko", label="the points")
        for steps in (1, 3, STEPS):
            w, b = paths[GOOD][0][steps]
            lines.plot(X, w * X + b, label=f"step {steps}: {w:.2f} x + {b:.2f}")
        label(lines, "x", "y", f"steepest descent, rate {GOOD}")
        lines.legend(fontsize=7)
        for rate, (_, loss) in paths.items():
            losses.semilogy(loss, "o-", markersize=3, label=f"rate {rate}")
        label(losses, "step", "half the mean squared error", f"a rate above {fastest:.3f} diverges")
        losses.legend(fontsize=8)
        places = np.arange(len(LAST))
        students.bar(places - 0.2, missed, 0.4, label="without bias")
        students.bar(places + 0.2, with_ones @ with_bias - LAST, 0.4, label="with bias: 0")
        students.set_xticks(places, [f"{grade:.0f}" for grade in LAST])
        label(students, "the student's fourth grade", "predicted - true", "grades of four students")
        students.legend(fontsize=7)

    return Outcome(
        numbers=[
            Number("slope, least squares", slope, 1.0),
            Number("intercept, least squares", round(float(intercept), 12), 0.0),
            Number(f"slope after {STEPS} steps at rate {GOOD}", paths[GOOD][0][-1][0]),
            Number("highest rate that converges", fastest),
            Number(f"loss after {STEPS} steps at rate {DIVERGING}", paths[DIVERGING][1][-1]),
            Number(
                "grades: weights and bias",
                with_bias.tolist(),
                [0.33149, 0.33370, 0.31823, 0.91713],
                5e-6,
            ),
            Number("grades predicted with a bias", (with_ones @ with_bias).tolist(), LAST.tolist()),
            Number(
                "grades: weights without a bias",
                without.tolist(),
                [0.33414, 0.33498, 0.32476],
                5e-6,
            ),
            Number("greatest error without a bias", abs(missed).max()),
        ],
        seen="Least squares finds the line at once. Steepest descent reaches the same line step by "
        "step where the rate is small enough; above twice the inverse of the greatest curvature "
        "each step overshoots by more than the last. With a bias the grades come out exactly, but "
        "four numbers meet four equations: that says nothing of a fifth student.",
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


# --- one step -------------------------------------------------------------------------------------

#: the whole numbers from which all of the lecture's follow: one point, a first line, a rate
POINT, LINE, RATE = (2.0, 46.0), (15.0, 2.0), 0.2


def gradient_step(sources: Sources) -> Outcome:
    """One step of steepest descent for w x + b at one point, every number of it."""
    (x, target), (w, b) = POINT, LINE
    error = w * x + b - target
    by_w, by_b = error * x, error
    new_w, new_b = w - RATE * by_w, b - RATE * by_b

    def draw(figure):
        lines, surface = figure.subplots(1, 2)
        ends = np.array([0.0, 3.5])
        lines.plot(ends, w * ends + b, "C0", label=f"before: {w:.0f} x + {b:.0f}")
        lines.plot(ends, new_w * ends + new_b, "C1", label=f"after: {new_w:.1f} x + {new_b:.1f}")
        lines.plot(*POINT, "ko", label="the point (2, 46)")
        lines.plot(3, new_w * 3 + new_b, "C1s", label=f"at x = 3: {new_w * 3 + new_b:.1f}")
        lines.plot([x, x], [w * x + b, target], "k:")
        lines.text(x + 0.05, target - 4.5, f"error {error:.0f}", fontsize=8)
        label(lines, "x", "w x + b", "the line before and after one step")
        lines.legend(fontsize=8)
        ws, bs = np.meshgrid(np.linspace(12, 24, 121), np.linspace(-2, 10, 121))
        loss = (ws * x + bs - target) ** 2 / 2
        drawn = surface.contour(ws, bs, loss, [2, 8, 18, 32, 50, 72, 98, 128], cmap="viridis")
        surface.clabel(drawn, fmt="%d", fontsize=7)
        surface.plot(ws[0], target - x * ws[0], "k--", linewidth=1, label="no loss: 2 w + b = 46")
        surface.annotate("", (new_w, new_b), (w, b), arrowprops=dict(arrowstyle="->", color="r"))
        surface.plot(w, b, "C0o", label=f"before: loss {error**2 / 2:.0f}")
        surface.plot(new_w, new_b, "C1o", label="after: loss 0")
        surface.set(ylim=(-2, 10))
        label(surface, "w", "b", "half the squared error")
        surface.legend(fontsize=8, loc="lower left")

    return Outcome(
        numbers=[
            Number("output at x = 2", w * x + b, 32),
            Number("error, output - target", error, -14),
            Number(
                "loss, half the squared error",
                error**2 / 2,
                98,
                printed="196",
                why="196 is the square; the loss that is differentiated here halves it",
            ),
            Number("gradient by w, error x", by_w, -28),
            Number("gradient by b, error", by_b, -14),
            Number("new w", new_w, 20.6),
            Number("new b", new_b, 4.8),
            Number("output at x = 2 after the step", new_w * x + new_b, 46),
            Number("output at x = 3 after the step", new_w * 3 + new_b, 66.6),
        ],
        seen="Both weights rise because the output is too low, w by twice as much as b because x "
        "is 2. One step reaches the target exactly, and only because rate (x^2 + 1) happens to be "
        "1: the step goes straight across the valley and ends on its floor.",
        draw=draw,
    )


LESSONS = [
    Lesson(
        name="matrices",
        title="A layer is a product of matrices: what is multiplied, and the shapes",
        source="the lecture on matrices; Goodfellow, Bengio and Courville 2016, chapter 2",
        run=matrices,
        needs=("digits",),
    ),
    Lesson(
        name="least-squares",
        title="A line through three points: in closed form, and by steepest descent",
        source="the lecture on regression; Legendre 1805, Cauchy 1847",
        run=least_squares,
    ),
    Lesson(
        name="gradient-step",
        title="One step of steepest descent, number by number",
        source="the lecture on regression; Cauchy 1847",
        run=gradient_step,
    ),
]
