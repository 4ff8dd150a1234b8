"""How training goes: the way down, and normalised layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import scratch
from . import classifier
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

# --- optimizers -----------------------------------------------------------------------------------

START, STEPS = (-7.0, 2.0), 30
CURVATURE = np.array([0.1, 2.0])  # of x^2 / 20 + y^2
#: in the valley, and on digits
OPTIMIZERS: dict[str, tuple[Callable[[float], scratch.Optimizer], float, float]] = {
    "gradient descent": (scratch.GradientDescent, 0.95, 0.01),
    "momentum": (scratch.Momentum, 0.1, 0.01),
    "Nesterov": (scratch.Nesterov, 0.1, 0.01),
    "AdaGrad": (lambda rate: scratch.AdaGrad(rate, 0.0), 1.5, 0.01),
    "RMSProp": (scratch.RMSProp, 0.3, 0.001),
    "Adam": (scratch.Adam, 0.3, 0.001),
}


class UncorrectedAdam(scratch.Adam):
    """Adam without its bias correction, as on the slide."""

    def update(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> None:
        m = memory.setdefault("mean", np.zeros_like(w))
        v = memory.setdefault("mean_square", np.zeros_like(w))
        m += (1 - self.beta_1) * (g - m)
        v += (1 - self.beta_2) * (g**2 - v)
        w -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


def optimizers(sources: Sources) -> Outcome:
    """Six optimizers in one valley, and on digits."""
    paths = {name: valley_path(make(rate)) for name, (make, rate, _) in OPTIMIZERS.items()}
    heights = {name: valley(path) for name, path in paths.items()}
    data = classifier.digits(sources, 2000)
    losses = {name: _on_digits(data, make(rate)) for name, (make, _, rate) in OPTIMIZERS.items()}
    corrected, plain = (
        float(np.abs(valley_path(kind(0.3), 1)[1] - START).max())
        for kind in (scratch.Adam, UncorrectedAdam)
    )
    start = np.array(START)
    down, up = (start + sign * 0.95 * CURVATURE * start for sign in (-1, 1))

    def draw(figure):
        panels = figure.subplot_mosaic([["a", "b", "c"], ["d", "e", "f"], ["g"] * 3])
        x, y = np.meshgrid(np.linspace(-8, 4, 100), np.linspace(-3, 3, 100))
        for place, (name, path) in zip("abcdef", paths.items()):
            axes = panels[place]
            axes.contour(x, y, valley(np.stack([x, y], -1)), 12, colors="lightgray", linewidths=0.8)
            axes.plot(*path.T, "o-", markersize=2.5, linewidth=1)
            axes.plot(0, 0, "k+")
            axes.set(xlim=(-8, 4), ylim=(-3, 3), xlabel="x", ylabel="y")
            axes.set_title(f"{name}, rate {OPTIMIZERS[name][1]:g}", fontsize=10)
        below = panels["g"]
        for name, loss in losses.items():
            smooth = np.convolve(loss, np.ones(10) / 10, "valid")
            below.plot(
                np.arange(10, len(loss) + 1), smooth, label=f"{name}, rate {OPTIMIZERS[name][2]:g}"
            )
        label(below, "step, batches of 100", "cross-entropy, mean of 10", f"on {data.words}")
        below.set_ylim(bottom=0)
        below.legend(fontsize=8, ncols=2)

    return Outcome(
        numbers=[
            *(
                Number(f"height in the valley after {STEPS} steps, {name}", float(height[-1]))
                for name, height in heights.items()
            ),
            Number("height at the start", float(valley(start)), 6.45),
            Number("height after one step, W - rate * gradient", float(valley(down)), 5.2466),
            Number(
                "height after one step, W + rate * gradient",
                float(valley(up)),
                36.5776,
                printed="W + rate * gradient",
                why="The gradient points uphill: the step is its negative.",
            ),
            Number("Adam's first step, in learning rates", corrected / 0.3, 1.0),
            Number(
                "the same without bias correction",
                plain / 0.3,
                3.1623,
                printed="no bias correction",
                why="(1 - .9) / sqrt(1 - .999) = 3.16: both means begin at 0, and the correction "
                "makes up for it.",
            ),
            *(
                Number(
                    f"loss on digits, mean of the last 10 of {len(loss)} steps, {name}",
                    float(np.mean(loss[-10:])),
                )
                for name, loss in losses.items()
            ),
        ],
        seen="Gradient descent zigzags across the valley; momentum rolls through it and past the "
        "end, Nesterov's looks ahead and swings less. AdaGrad and RMSProp, with a rate for each "
        "weight, turn into the valley at once; Adam does that and rolls too. "
        f"On digits {_slowest(losses)} is the slowest at these rates, which says as much about the "
        "rate as about the method.",
        draw=draw,
        height=8.5,
        data=data.words,
    )


def valley(points: np.ndarray) -> np.ndarray:
    """x^2 / 20 + y^2 of points (..., 2)."""
    return (CURVATURE * np.square(points) / 2).sum(-1)


def valley_path(optimizer: scratch.Optimizer, steps: int = STEPS) -> np.ndarray:
    """The points before and after each step from START, (steps + 1, 2)."""
    point = np.array(START)
    path = [point.copy()]
    for _ in range(steps):
        optimizer.step([point], [CURVATURE * point])
        path.append(point.copy())
    return np.array(path)


def _on_digits(data: classifier.Digits, optimizer: scratch.Optimizer) -> list[float]:
    """The loss of each batch."""
    network = classifier.perceptron([784, 100, 100, 10], np.random.default_rng(0))
    return classifier.train(
        network, data.x, data.labels, optimizer, np.random.default_rng(1), count=15
    )


def _slowest(losses: dict[str, list[float]]) -> str:
    return max(losses, key=lambda name: np.mean(losses[name][-10:]))


# --- batch normalisation --------------------------------------------------------------------------

SIZES = [784, 100, 100, 100, 100, 10]
LOW_RATE, HIGH_RATE, EPOCHS = 0.05, 1.0, 10


def batch_norm(sources: Sources) -> Outcome:
    """What batch normalisation does to activations and to training, and its two statistics."""
    data = classifier.digits(sources, 1000, 1000)
    spread = {
        "without": _spread(data, lambda units: ()),
        "with": _spread(data, normalisation),
    }
    x = np.random.default_rng(0).normal(3, 2, (100, 1))
    normal = scratch.BatchNormalization(1).forward(x, training=True)
    alone = scratch.BatchNormalization(1).forward(x[:1], training=True)
    runs = {
        f"without, rate {HIGH_RATE:g}": (HIGH_RATE, False),
        f"without, rate {LOW_RATE:g}": (LOW_RATE, False),
        f"with, rate {HIGH_RATE:g}": (HIGH_RATE, True),
    }
    losses = {}
    for name, (rate, normalised) in runs.items():
        network = classifier.perceptron(
            SIZES,
            np.random.default_rng(0),
            before=normalisation if normalised else lambda units: (),
        )
        losses[name] = _losses(network, data, rate)
    moving = classifier.accuracy(network, data.val_x, data.val_labels)
    take_statistics(network, data.x)
    anew = classifier.accuracy(network, data.val_x, data.val_labels)
    trained = classifier.accuracy(network, data.x, data.labels)
    steps = EPOCHS * len(data.x) // classifier.BATCH

    def draw(figure):
        outputs, learning, asked = figure.subplots(1, 3, width_ratios=[3, 4, 2])
        for name, deviations in spread.items():
            outputs.semilogy(range(1, len(deviations) + 1), deviations, "o-", label=name)
        label(outputs, "hidden layer", "deviation of its sums", "weights of deviation .01")
        outputs.set_xticks(range(1, len(SIZES) - 1))
        outputs.legend(fontsize=8)
        for name, loss in losses.items():
            finite = [value if value < 5 else np.nan for value in loss]
            lost = "" if np.isfinite(finite).any() else ": diverges"
            learning.plot(range(1, EPOCHS + 1), finite, label=name + lost)
        label(learning, "epoch", "cross-entropy, training", "training")
        learning.set_ylim(0, 3.2)
        learning.legend(fontsize=8)
        bars = asked.bar(["moving", "taken\nanew"], [moving, anew], color=["C1", "C2"])
        asked.bar_label(bars, fmt="%.1f", fontsize=8)
        label(asked, "statistics", "validation accuracy (%)", f"after {steps} steps")
        asked.set_ylim(0, 100)

    return Outcome(
        numbers=[
            Number("a batch of mean 3, deviation 2, normalised: mean", normal.mean(), 0.0),
            Number("its deviation (a little below 1: epsilon)", normal.std(), 0.99985, 5e-5),
            Number(
                "a batch of one picture, in training mode",
                float(alone[0, 0]),
                0.0,
                why="It is its own mean, so nothing of it is left: one picture needs the moving "
                "statistics.",
            ),
            *(
                Number(f"deviation of the sums by layer, {name}", list(deviations))
                for name, deviations in spread.items()
            ),
            *(
                Number(f"loss after {EPOCHS} epochs, {name}", loss[-1])
                for name, loss in losses.items()
            ),
            Number("train accuracy (%), with, statistics taken anew", trained),
            Number(f"validation accuracy (%), moving statistics of {steps} steps", moving),
            Number("validation accuracy (%), statistics taken anew", anew),
            Number(f"share of the first statistics that is left after {steps} steps", 0.99**steps),
        ],
        seen="Each layer's sums get mean 0 and a deviation near 1, however small the weights are, "
        "and a rate at which the plain network falls apart trains the normalised one quickly. "
        f"Outside training it uses moving statistics, and these need time: after {steps} steps "
        f"{0.99**steps:.0%} of their first values is still in them. Taken anew from the train "
        f"pictures they give {anew:.1f} % on validation instead of {moving:.1f} %.",
        draw=draw,
        data=data.words,
    )


def normalisation(units: int) -> list[scratch.Layer]:
    """Batch normalisation as it begins; Keras' momentum and epsilon."""
    return [scratch.BatchNormalization(units, gamma=np.ones(units), beta=np.zeros(units))]


def take_statistics(network: scratch.Network, x: np.ndarray) -> None:
    """Replace the moving statistics by those of the pictures x, as one batch."""
    normalised = [
        layer for layer in network.layers.values() if isinstance(layer, scratch.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in normalised]
    for layer in normalised:
        layer.momentum = 0.0
    network.forward(x, training=True)
    for layer, momentum in zip(normalised, momenta):
        layer.momentum = momentum


def _spread(data: classifier.Digits, before: classifier.Layers) -> list[float]:
    """The deviation of what goes into each activation, before training."""
    network = classifier.perceptron(
        SIZES,
        np.random.default_rng(0),
        weights=lambda shape, generator: scratch.normal(shape, generator, 0.01),
        before=before,
    )
    x, deviations = data.x[:200], []
    for layer in network.layers.values():
        if isinstance(layer, scratch.Relu):
            deviations.append(float(x.std()))
        x = layer.forward(x, training=True)
    return deviations


def _losses(network: scratch.Network, data: classifier.Digits, rate: float) -> list[float]:
    """The mean loss of each epoch; NaN where the weights have run away."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            float(np.mean(losses))
            for losses in classifier.epochs(
                network,
                data.x,
                data.labels,
                scratch.GradientDescent(rate),
                np.random.default_rng(1),
                EPOCHS,
            )
        ]


LESSONS = [
    Lesson(
        name="optimizers",
        title="Six ways down: in one valley, and on digits",
        source="the lecture on optimizers; Polyak 1964, Duchi et al. 2011, Kingma and Ba 2015",
        run=optimizers,
        needs=("digits",),
    ),
    Lesson(
        name="batch-norm",
        title="Batch normalisation: activations, a high rate, and its two statistics",
        source="the lecture on training; Ioffe and Szegedy 2015",
        run=batch_norm,
        needs=("digits",),
    ),
]
