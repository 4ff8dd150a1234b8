"""How far a step of a descent goes, on how many pictures, and on what surface."""

from __future__ import annotations

import math

import numpy as np

from .. import scratch
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources, ink, named

#: train pictures that the networks here learn from, and how many at a time where not all
TAKEN, BATCH = 6000, 100

# --- learning rate --------------------------------------------------------------------------------

START, SURFACE_STEPS = (-7.0, 2.0), 20
CURVATURES = np.array([0.1, 2.0])  # of x^2 / 20 + y^2, along x and y
SURFACE_RATES = {"too small": 0.05, "good": 0.9, "diverging": 1.1}
NETWORK_RATES: dict[str, float] = {"too small": 0.003, "good": 0.3, "diverging": 10}
NETWORK_STEPS, HIDDEN = 200, 50


def learning_rate(sources: Sources) -> Outcome:
    """Three rates on the surface x^2 / 20 + y^2, and three on a network of 784, 50 and 10 nodes."""
    paths = {kind: _path(rate) for kind, rate in SURFACE_RATES.items()}
    heights = {kind: float(_height(*path[-1])) for kind, path in paths.items()}
    digits = sources.digits()
    trained = {kind: _train(digits, rate) for kind, rate in NETWORK_RATES.items()}
    losses = {kind: loss for kind, (loss, _) in trained.items()}
    alive = {kind: answering for kind, (_, answering) in trained.items()}
    lasts = {kind: float(np.mean(loss[-20:])) for kind, loss in losses.items()}

    def draw(figure):
        above, below = figure.subfigures(2, 1, height_ratios=[1.2, 1])
        axes = above.subplots(1, 3, sharey=True)
        x, y = np.meshgrid(np.linspace(-8, 8, 81), np.linspace(-5, 5, 51))
        for panel, (kind, path) in zip(axes, paths.items(), strict=True):
            panel.contour(x, y, _height(x, y), [0.25, 1, 2.5, 5, 10, 20], cmap="Greys_r")
            panel.plot(*path.T, "o-", color="C3", markersize=3, linewidth=1)
            panel.plot(0, 0, "k+")
            panel.set(xlim=(-8, 8), ylim=(-5, 5))
            label(panel, "x", "", f"{kind}: {SURFACE_RATES[kind]}, {SURFACE_STEPS} steps")
        axes[0].set_ylabel("y")
        panel = below.subplots()
        for kind, loss in losses.items():
            name = f"{kind}: {NETWORK_RATES[kind]}, at most {max(loss):,.1f}"
            panel.plot(loss, linewidth=1, label=name)
        panel.axhline(math.log(10), color="k", linestyle=":", label="guessing: ln 10 = 2.303")
        panel.set(ylim=(0.9 * min(losses["good"]), 4))
        label(panel, "step", "cross-entropy of the batch", "the network")
        panel.legend(fontsize=8, loc="upper right", ncols=2)

    return Outcome(
        numbers=[
            Number("height at the start", float(_height(*START)), 6.45),
            Number("highest rate that converges there, 2 / 2", 2 / CURVATURES.max(), 1.0),
            Number("height after 20 steps, too small (0.05)", heights["too small"], 2.06405),
            Number("height after 20 steps, good (0.9)", heights["good"], 0.05687),
            Number("height after 20 steps, diverging (1.1)", heights["diverging"], 5879.10, 0.01),
            Number("loss of a guess, ln 10", math.log(10), 2.3026),
            *(
                Number(f"network: last 20 losses, {kind} ({NETWORK_RATES[kind]})", lasts[kind])
                for kind in NETWORK_RATES
            ),
            *(
                Number(f"hidden nodes of {HIDDEN} that still answer, {kind}", alive[kind])
                for kind in NETWORK_RATES
            ),
        ],
        seen="Too small a rate creeps, a good one zigzags across the valley and still arrives, and "
        "above 2 / the greatest curvature every step is higher than the last. The network's loss "
        f"went to {lasts['too small']:.2f}, {lasts['good']:.2f} and {lasts['diverging']:.2f}: with "
        f"the highest rate it leaps up at first, to {max(losses['diverging']):.0f}, and ends no "
        f"better than a guess: the relus that still answer to any picture are "
        f"{alive['diverging']} of {HIDDEN}.",
        draw=draw,
        height=6.2,
        data=f"{TAKEN:,} train pictures of {named(digits)}",
    )


def _height(x, y):
    return CURVATURES[0] * x**2 / 2 + CURVATURES[1] * y**2 / 2


def _path(rate: float) -> np.ndarray:
    """(SURFACE_STEPS + 1, 2): each step takes rate times gradient from the place."""
    places = [np.array(START)]
    for _ in range(SURFACE_STEPS):
        places.append(places[-1] - rate * CURVATURES * places[-1])
    return np.array(places)


def _train(digits, rate: float) -> tuple[list[float], int]:
    """The loss before each of NETWORK_STEPS steps of a network with one hidden layer, and how many
    of its nodes are above 0 for any picture afterwards."""
    x, t = _taken(digits)
    generator = np.random.default_rng(0)
    first, second = (
        scratch.Affine(scratch.he_normal(shape, generator).astype(np.float32), _zeros(shape[1]))
        for shape in ((x.shape[1], HIDDEN), (HIDDEN, t.shape[1]))
    )
    network = scratch.Network(first, scratch.Relu(), second)
    optimizer = scratch.GradientDescent(rate)
    losses = []
    for _ in range(NETWORK_STEPS):
        batch = generator.integers(0, len(x), BATCH)
        loss = network.train_on(x[batch], t[batch], scratch.SoftmaxCrossEntropy(), optimizer)
        losses.append(float(loss))
    return losses, int((first.forward(x) > 0).any(0).sum())


def _taken(digits) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures' ink (TAKEN, 784) and classes (TAKEN, 10), float32."""
    classes = scratch.one_hot(digits.train_labels[:TAKEN], len(digits.classes), np.float32)
    return ink(digits.train_images[:TAKEN]).astype(np.float32), classes


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# --- batch size -----------------------------------------------------------------------------------

PASSES, WHOLE = 3, 60_000
SIZES = {TAKEN: 0.5, BATCH: 0.1, 1: 0.01}  # pictures a step: rate
NAMES = {TAKEN: "batch", BATCH: "mini-batch", 1: "stochastic"}


def batch_size(sources: Sources) -> Outcome:
    """All pictures a step, 100 or one: a layer of ten nodes, three times through the same data."""
    digits = sources.digits()
    x, t = _taken(digits)
    runs = {size: _passes(x, t, size, rate) for size, rate in SIZES.items()}
    gentle = _passes(x, t, 1, SIZES[BATCH] / BATCH)

    def draw(figure):
        whole, own = figure.subplots(1, 2)
        for size, (after, steps) in runs.items():
            name = f"{NAMES[size]}: {size:,} a step, rate {SIZES[size]}"
            whole.plot(np.linspace(0, PASSES, len(after)), after, ".-", label=name)
            share = steps[-max(len(steps) // PASSES, 1) :][:60]
            own.plot(share, ".-", linewidth=0.8, label=NAMES[size])
        label(whole, "times through the data", "cross-entropy of all", "loss by what was read")
        whole.legend(fontsize=8)
        label(
            own,
            "step of the last pass",
            "cross-entropy of the step's pictures",
            "how a step's own loss jumps",
        )
        own.legend(fontsize=8)

    deviations = {size: float(np.std(runs[size][1][-TAKEN // size :])) for size in (BATCH, 1)}
    return Outcome(
        numbers=[
            Number("updates an epoch, 60,000 pictures, 100 a step", WHOLE // BATCH, 600, 0),
            Number("updates an epoch, all 60,000 a step", WHOLE // WHOLE, 1, 0),
            Number("updates an epoch, one a step", WHOLE // 1, WHOLE, 0),
            Number("loss before, ln 10", runs[1][0][0], math.log(10)),
            *(
                Number(f"loss after {PASSES} passes, {NAMES[size]} ({size:,})", after[-1])
                for size, (after, _) in runs.items()
            ),
            Number(
                f"the same, one at a time at {SIZES[BATCH] / BATCH}",
                gentle[0][-1],
                why=f"a hundredth of the rate, a hundred times as often: as {BATCH} at a time at "
                f"{SIZES[BATCH]}",
            ),
            *(
                Number(f"deviation of a step's loss, {NAMES[size]}", value)
                for size, value in deviations.items()
            ),
        ],
        seen=f"Each at a rate that suits it, in {PASSES} passes the whole batch makes {PASSES} "
        f"steps, the mini-batch {PASSES * TAKEN // BATCH:,} and the single picture "
        f"{PASSES * TAKEN:,}: the more steps, the lower the loss. A step of a single picture sees "
        f"only that picture's loss, {deviations[1] / deviations[BATCH]:.0f} times as uneven as a "
        "mini-batch's, and numpy spends far longer on many small products than on few large ones: "
        "mini-batches are the middle.",
        draw=draw,
        data=f"{TAKEN:,} train pictures of {named(digits)}",
    )


def _passes(
    x: np.ndarray, t: np.ndarray, size: int, rate: float
) -> tuple[list[float], list[float]]:
    """The loss of all pictures, ten times a pass where there are so many steps, and every step's
    own."""
    generator = np.random.default_rng(0)
    network = scratch.Network(scratch.Affine(_zeros(x.shape[1], t.shape[1]), _zeros(t.shape[1])))
    loss, optimizer = scratch.SoftmaxCrossEntropy(), scratch.GradientDescent(rate)
    after, steps = [loss.value(network.forward(x), t)], []
    every = max(len(x) // size // 10, 1)
    for _ in range(PASSES):
        order = generator.permutation(len(x))
        for first in range(0, len(x), size):
            batch = order[first : first + size]
            steps.append(float(network.train_on(x[batch], t[batch], loss, optimizer)))
            if len(steps) % every == 0:
                after.append(float(loss.value(network.forward(x), t)))
    return after, steps


# --- convexity ------------------------------------------------------------------------------------

#: one input and its class; the third and the fourth lie on the wrong sides
INPUTS, CLASSES = np.array([-3, -2, -1, 0.5, 2, 3]), np.array([0, 0, 1, 0, 1, 1.0])
WRONG, DESCENT_RATE, DESCENT_STEPS = (-4.0, 4.0), 1.0, 100
KINDS = ("squared error", "cross-entropy")


def convexity(sources: Sources) -> Outcome:
    """The squared error and the cross-entropy of one logistic neuron: of one sample by its sum, and
    of six samples by weight and bias."""
    sums = np.linspace(-10, 6, 1601)
    curves = {"squared error": (scratch.sigmoid(sums) - 1) ** 2 / 2}
    curves["cross-entropy"] = np.logaddexp(0, -sums)
    bends = {kind: _bend(kind, sums, 1.0) for kind in KINDS}
    inflection = sums[1:][np.diff(np.sign(bends["squared error"])) > 0][0]
    w, b = np.meshgrid(np.linspace(-8, 8, 81), np.linspace(-8, 8, 81))
    least = {kind: _least_curvature(kind, w, b) for kind in KINDS}
    paths = {kind: _neuron_path(kind) for kind in KINDS}

    def draw(figure):
        left, *surfaces = figure.subplots(1, 3)
        for kind in KINDS:
            left.plot(sums, curves[kind], label=kind)
        left.axvline(-math.log(2), color="k", linestyle=":", label="-ln 2")
        left.set(ylim=(0, 4))
        label(left, "sum w x + b", "loss", "one sample of class 1")
        left.legend(fontsize=8)
        for axes, kind in zip(surfaces, KINDS, strict=True):
            axes.contour(w, b, _neuron_loss(kind, w, b), 15, cmap="viridis")
            axes.contourf(w, b, least[kind], [-1, 0], colors="C3", alpha=0.15)
            axes.plot(*paths[kind].T, "o-", color="C3", markersize=3, linewidth=1)
            axes.plot(*WRONG, "ks")
            label(axes, "w", "b", f"{kind}, {DESCENT_STEPS} steps")

    def gradients(kind: str) -> float:
        return float(_slope(kind, np.array(-10.0), 1.0))

    end, right = paths["squared error"][-1], paths["cross-entropy"][-1]
    return Outcome(
        numbers=[
            Number(
                "sum below which the squared error bends down, -ln 2", inflection, -0.69315, 0.01
            ),
            Number("least curvature of one sample's squared error", min(bends[KINDS[0]]), -0.0601),
            Number("least curvature of its cross-entropy", min(bends[KINDS[1]]), 0.0),
            Number("greatest curvature of its cross-entropy", max(bends[KINDS[1]]), 0.25),
            Number("slope of the squared error at -10", gradients(KINDS[0]), -4.5394e-5, 1e-8),
            Number("slope of the cross-entropy at -10", gradients(KINDS[1]), -0.99995, 1e-5),
            Number(
                "share of the (w, b) square where the squared error bends down",
                float((least[KINDS[0]] < 0).mean()),
                0.86,
                0.01,
            ),
            Number("the same, cross-entropy", float((least[KINDS[1]] < 0).mean()), 0.0),
            Number(
                "where the cross-entropy's descent ends, (w, b)", right.tolist(), [0.87666, 0.11912]
            ),
            Number("where the squared error's ends", end.tolist()),
        ],
        seen="The cross-entropy of a logistic neuron bends upward everywhere: one valley, and a "
        "slope near 1 where the neuron is surely wrong. There the squared error is flat, and in "
        "the red area it bends down. From the same wrong start the one descent arrives; the other "
        f"takes w the wrong way, from {WRONG[0]:.0f} to {end[0]:.1f} in {DESCENT_STEPS} steps.",
        draw=draw,
    )


def _slope(kind: str, sums: np.ndarray, t) -> np.ndarray:
    """The derivative of the loss by the neuron's sum; t is what the output should be."""
    y = scratch.sigmoid(sums)
    return (y - t) * (y * (1 - y) if kind == "squared error" else 1)


def _bend(kind: str, sums: np.ndarray, t) -> np.ndarray:
    """The second derivative by the sum."""
    y = scratch.sigmoid(sums)
    steep = y * (1 - y)
    return steep * (steep + (y - t) * (1 - 2 * y)) if kind == "squared error" else steep


def _sums(w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., samples) from weights and biases of one shape."""
    return w[..., None] * INPUTS + b[..., None]


def _neuron_loss(kind: str, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    sums = _sums(w, b)
    if kind == "squared error":
        return ((scratch.sigmoid(sums) - CLASSES) ** 2 / 2).mean(-1)
    return (np.logaddexp(0, sums) - CLASSES * sums).mean(-1)


def _least_curvature(kind: str, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller eigenvalue of the second derivatives by w and b: below 0 is not convex."""
    bend = _bend(kind, _sums(w, b), CLASSES)
    ww, wb, bb = ((bend * factor).mean(-1) for factor in (INPUTS**2, INPUTS, 1))
    return (ww + bb) / 2 - np.hypot((ww - bb) / 2, wb)


def _neuron_path(kind: str) -> np.ndarray:
    """(DESCENT_STEPS + 1, 2): w and b by steepest descent from WRONG."""
    places = [np.array(WRONG)]
    for _ in range(DESCENT_STEPS):
        slope = _slope(kind, _sums(*places[-1]), CLASSES)
        gradient = np.array([(slope * INPUTS).mean(), slope.mean()])
        places.append(places[-1] - DESCENT_RATE * gradient)
    return np.array(places)


LESSONS = [
    Lesson(
        name="learning-rate",
        title="The learning rate: too small, good, diverging",
        source="the lecture on training; Cauchy 1847, Robbins and Monro 1951",
        run=learning_rate,
        needs=("digits",),
    ),
    Lesson(
        name="batch-size",
        title="Batch, mini-batch, stochastic: how many pictures make a step",
        source="the lecture on training; Bottou and Bousquet 2008, Goyal et al. 2017",
        run=batch_size,
        needs=("digits",),
    ),
    Lesson(
        name="convexity",
        title="Why a logistic neuron is not trained by the squared error",
        source="the lecture on losses (convexity.py); Bishop 2006, section 4.3",
        run=convexity,
    ),
]
