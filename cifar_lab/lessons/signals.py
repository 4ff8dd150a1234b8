"""What flows through a deep network, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import scratch
from . import classifier
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

# --- activations ----------------------------------------------------------------------------------

CURVES: dict[str, Callable[[], scratch.Layer]] = {
    "sigmoid": scratch.Sigmoid,
    "tanh": scratch.Tanh,
    "relu": scratch.Relu,
    "leaky relu, .1": lambda: scratch.LeakyRelu(0.1),
    "elu": scratch.Elu,
    "silu (swish)": scratch.Silu,
}
SCORES = np.array([2.0, 1.0, 0.1])


def activations(sources: Sources) -> Outcome:
    """The activations and their slopes, and what each is for."""
    x = np.linspace(-5, 5, 1001)
    curves = {name: _curve(make(), x) for name, make in CURVES.items()}
    stacked, single = _linear_stack()
    sigmoids, probabilities = scratch.sigmoid(SCORES), scratch.softmax(SCORES)

    def draw(figure):
        (functions, slopes), (hyperbolic, last) = figure.subplots(2, 2)
        for name, (y, slope) in curves.items():
            functions.plot(x, y, label=name)
            slopes.plot(x, slope)
        label(functions, "x", "f(x)", "activations")
        functions.set_ylim(-1.5, 4)
        functions.legend(fontsize=8)
        label(slopes, "x", "f'(x)", "their slopes")
        far = np.arange(0, 1001, 5.0)
        hyperbolic.plot(far, np.tanh(far), linewidth=7, color="lightgray", label="numpy's tanh")
        hyperbolic.plot(far, [tanh_by_exponentials(v) for v in far], label="by exponentials")
        label(hyperbolic, "x", "tanh(x)", "by exponentials: NaN beyond 709")
        hyperbolic.set_ylim(0, 1.2)
        hyperbolic.legend(fontsize=8, loc="lower right")
        places = np.arange(3)
        for side, name, values in (
            (-0.2, f"sigmoid of each, sum {sigmoids.sum():.2f}", sigmoids),
            (0.2, "softmax of all, sum 1", probabilities),
        ):
            bars = last.bar(places + side, values, 0.38, label=name)
            last.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=8)
        last.set_xticks(places, [f"score {score:g}" for score in SCORES])
        label(last, "three classes", "output", "the last activation")
        last.set_ylim(0, 1.3)
        last.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("greatest slope of the sigmoid", curves["sigmoid"][1].max(), 0.25),
            Number("greatest slope of tanh", curves["tanh"][1].max(), 1.0),
            Number(
                "sigmoid(1), tanh(1)",
                [scratch.sigmoid(np.ones(1))[0], np.tanh(1)],
                [0.7311, 0.7616],
            ),
            Number("tanh(1000)", np.tanh(1000.0), 1.0),
            Number(
                "the same as (e^x - e^-x) / (e^x + e^-x)",
                tanh_by_exponentials(1000.0),
                np.nan,
                printed="this formula",
                why="NaN: infinity over infinity. It is right on paper; a computer needs "
                "2 sigmoid(2x) - 1, or its library's tanh.",
            ),
            Number(
                "2 sigmoid(2x) - 1 at 1000", 2 * scratch.sigmoid(np.full(1, 2000.0))[0] - 1, 1.0
            ),
            Number(
                "three affine layers without activation, beside one: relative error",
                scratch.relative_error(stacked, single),
                0,
                1e-12,
                why="W1 W2 W3 is one matrix: without activations depth adds nothing.",
            ),
            Number("sum of the sigmoids of the scores 2, 1, .1", sigmoids.sum(), 2.1368),
            Number(
                "sum of their softmax",
                probabilities.sum(),
                1.0,
                printed="'the last activation must be a sigmoid'",
                why="It depends on the question: softmax for one of several classes, a sigmoid for "
                "yes or no and where several answers hold at once, none for a number such as a "
                "mark of 96, which no sigmoid reaches.",
            ),
        ],
        seen="A sigmoid passes at most a quarter of a gradient on, and next to nothing where it "
        "is flat; tanh passes up to all of it, relu all where it is open. The sigmoids of three "
        "scores do not sum to 1, the softmax does: which one comes last depends on the question.",
        draw=draw,
        height=7.0,
    )


def tanh_by_exponentials(x: float) -> float:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) as it is written; NaN from 710 on."""
    with np.errstate(over="ignore", invalid="ignore"):
        up, down = np.exp(np.float64(x)), np.exp(-np.float64(x))
        return float((up - down) / (up + down))


def _curve(layer: scratch.Layer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(x) and f'(x)."""
    return layer.forward(x), layer.backward(np.ones_like(x))


def _linear_stack() -> tuple[np.ndarray, np.ndarray]:
    """What three affine layers make of 20 inputs, and what one of their product does."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, 8))
    kernels = [generator.normal(size=shape) for shape in ((8, 16), (16, 12), (12, 3))]
    biases = [generator.normal(size=size) for size in (16, 12, 3)]
    network = scratch.Network(*map(scratch.Affine, kernels, biases))
    first, second, third = kernels
    bias = biases[0] @ second @ third + biases[1] @ third + biases[2]
    return network.forward(x), scratch.Affine(first @ second @ third, bias).forward(x)


# --- vanishing ------------------------------------------------------------------------------------

DEPTH, WIDTH = 10, 100  # of the network that gradients travel through
KINDS = {
    "sigmoid": (scratch.Sigmoid, scratch.xavier_uniform),
    "tanh": (scratch.Tanh, scratch.xavier_uniform),
    "relu": (scratch.Relu, scratch.he_uniform),
}


def vanishing(sources: Sources) -> Outcome:
    """How large the gradient is at each layer of a deep network, and how such networks learn."""
    data = classifier.digits(sources, 1000)
    norms = {name: _gradients(data, *kind) for name, kind in KINDS.items()}
    losses = {name: _learning(data, *kind) for name, kind in KINDS.items()}
    steps = DEPTH - 1
    shrinks = {name: float((norm[0] / norm[-1]) ** (1 / steps)) for name, norm in norms.items()}

    def draw(figure):
        by_layer, learning = figure.subplots(1, 2)
        for name, norm in norms.items():
            by_layer.semilogy(np.arange(1, DEPTH + 1), norm, "o-", label=name)
        label(by_layer, "hidden layer", "norm of the gradient by its outputs", "before training")
        by_layer.legend(fontsize=8)
        for name, loss in losses.items():
            learning.plot(np.arange(1, len(loss) + 1), loss, label=name)
        learning.axhline(np.log(10), color="gray", linestyle=":", label="guessing: log 10")
        label(learning, "epoch", "cross-entropy, training", "the same networks in training, Adam")
        learning.set(ylim=(0, None), xticks=range(0, 21, 5))
        learning.legend(fontsize=8, loc="center right")

    return Outcome(
        numbers=[
            *(
                Number(
                    f"gradient at the first of {DEPTH} layers over that at the last, {name}",
                    float(norm[0] / norm[-1]),
                )
                for name, norm in norms.items()
            ),
            Number(
                "from layer to layer, sigmoid",
                shrinks["sigmoid"],
                0.24,
                0.02,
                why="The slope is at most .25, and Xavier's weights keep the rest as it is.",
            ),
            Number("from layer to layer, tanh", shrinks["tanh"]),
            Number("from layer to layer, relu", shrinks["relu"]),
            *(
                Number(f"loss after {len(loss)} epochs, {name}", loss[-1])
                for name, loss in losses.items()
            ),
        ],
        seen=f"Through sigmoids less than a quarter of the gradient is left at each layer, so that "
        f"the first of {DEPTH} gets about two millionths of what the last gets; the network stays "
        "at guessing. Through tanh and relu, with weights to match, about half of it or more "
        "arrives, and the same depth learns.",
        draw=draw,
        data=data.words,
    )


def _deep(kind: type, weights: Callable) -> scratch.Network:
    return classifier.perceptron(
        [784, *[WIDTH] * DEPTH, 10], np.random.default_rng(0), kind, weights
    )


def _gradients(data: classifier.Digits, kind: type, weights: Callable) -> np.ndarray:
    """The norm of the gradient by the output of each hidden layer, (DEPTH,)."""
    network = _deep(kind, weights)
    y = network.forward(data.x[:200], training=True)
    gradient = classifier.LOSS.gradient(y, classifier.targets(data.labels[:200]))
    norms = []
    for layer in reversed(network.layers.values()):
        if isinstance(layer, kind):
            norms.append(np.linalg.norm(gradient))
        gradient = layer.backward(gradient)
    return np.array(norms[::-1])


def _learning(data: classifier.Digits, kind: type, weights: Callable) -> list[float]:
    """The mean loss of each epoch."""
    network = _deep(kind, weights)
    generator = np.random.default_rng(1)
    return [
        float(np.mean(losses))
        for losses in classifier.epochs(network, data.x, data.labels, scratch.Adam(), generator, 20)
    ]


# --- initialisation -------------------------------------------------------------------------------

SAMPLES, NODES, LAYERS = 1000, 100, 5


def initialisation(sources: Sources) -> Outcome:
    """What five layers make of the same values, for six ways to begin."""
    ways: dict[str, tuple[type, float]] = {
        "tanh, deviation .01": (scratch.Tanh, 0.01),
        "tanh, deviation 1": (scratch.Tanh, 1.0),
        "tanh, Xavier: sqrt(1 / n)": (scratch.Tanh, NODES**-0.5),
        "relu, Xavier: sqrt(1 / n)": (scratch.Relu, NODES**-0.5),
        "relu, He: sqrt(2 / n)": (scratch.Relu, (2 / NODES) ** 0.5),
        "relu, the slide's 2 / sqrt(n)": (scratch.Relu, 2 / NODES**0.5),
    }
    values = {name: layer_values(*way) for name, way in ways.items()}
    sizes = {name: [float(np.sqrt((v**2).mean())) for v in each] for name, each in values.items()}
    grown = {name: (size[-1] / size[0]) ** (1 / (LAYERS - 1)) for name, size in sizes.items()}
    tiny, huge, xavier, weak, he, slide = ways
    saturated = float((np.abs(values[huge][-1]) > 0.99).mean())

    def draw(figure):
        all_axes = figure.subplots(len(ways), LAYERS)
        for row, (name, each) in zip(all_axes, values.items()):
            relu = ways[name][0] is scratch.Relu
            for place, (axes, value) in enumerate(zip(row, each), 1):
                reach = 6 if relu else 1
                axes.hist(
                    value.ravel(), 40, (0 if relu else -1, reach), color="C1" if relu else "C0"
                )
                axes.set(yticks=[], xlim=(-0.1 if relu else -1.1, reach * 1.05))
                axes.tick_params(labelsize=7)
                axes.text(
                    0.97,
                    0.93,
                    f"{value.std():.3g}",
                    fontsize=8,
                    ha="right",
                    va="top",
                    transform=axes.transAxes,
                )
                axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # room for the figure
                if relu:  # half of the values are 0: cut that bar, to see the others
                    axes.set_ylim(0, 0.12 * value.size)
                if axes in all_axes[0]:
                    axes.set_title(f"layer {place}", fontsize=10)
            row[0].set_ylabel(
                name.replace(", ", ",\n").replace("slide's ", "slide's\n"), fontsize=8
            )
        figure.supxlabel("output of a node; in each corner the standard deviation", fontsize=10)

    return Outcome(
        numbers=[
            Number(f"size of the values, layer 1 to {LAYERS}: {name}", size)
            for name, size in sizes.items()
        ]
        + [
            Number("growth from layer to layer, He sqrt(2 / n)", grown[he], 1.0, 0.1),
            Number(
                f"deviation of He's weights, n = {NODES}",
                (2 / NODES) ** 0.5,
                0.1414,
                printed="2 / sqrt(n) = .2",
                why="sqrt(2 / n): relu throws half of the variance away, so that of the weights "
                "doubles, from 1 / n to 2 / n.",
            ),
            Number("growth from layer to layer, 2 / sqrt(n)", grown[slide], 1.4142, 0.14),
            Number("growth from layer to layer, relu with sqrt(1 / n)", grown[weak], 0.7071, 0.07),
            Number("share of tanh above .99 or below -.99, deviation 1", saturated),
        ],
        seen="With small weights everything is near 0 after a few layers, with large ones tanh is "
        "stuck at -1 and 1, where its slope is 0. Xavier's deviation keeps tanh alive and He's "
        "keeps relu; the slide's 2 / sqrt(n) lets relu's values grow by about 1.41 at each layer, "
        "a thousandfold in 20.",
        draw=draw,
        height=9.5,
    )


def layer_values(kind: type, deviation: float) -> list[np.ndarray]:
    """The outputs of LAYERS layers of NODES nodes, each (SAMPLES, NODES), for normal inputs."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, NODES))
    values = []
    for _ in range(LAYERS):
        kernel = scratch.normal((NODES, NODES), generator, deviation)
        x = kind().forward(x @ kernel)
        values.append(x)
    return values


LESSONS = [
    Lesson(
        name="activations",
        title="Activations, their slopes, and which one comes last",
        source="the lecture on neural networks; Goodfellow et al. 2016, chapter 6",
        run=activations,
    ),
    Lesson(
        name="vanishing",
        title="The gradient on its way back through ten layers",
        source="the lecture on deep networks; Hochreiter 1991, Glorot and Bengio 2010",
        run=vanishing,
        needs=("digits",),
    ),
    Lesson(
        name="initialisation",
        title="Where the weights begin: too small, too large, Xavier, He",
        source="the lecture on deep networks; Glorot and Bengio 2010, He et al. 2015",
        run=initialisation,
    ),
]
