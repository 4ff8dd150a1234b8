"""What a network learns by heart, what it learns, and which pictures can tell."""

from __future__ import annotations

import numpy as np

from .. import scratch
from . import classifier
from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources

# --- dropout --------------------------------------------------------------------------------------

FEW, SEEDS, DROPPED = 300, 2, 0.5


def dropout(sources: Sources) -> Outcome:
    """The scale of dropout in training, and what it does to few pictures."""
    ones = np.ones((1000, 100))
    layer = scratch.Dropout(DROPPED, np.random.default_rng(0))
    seen = layer.forward(ones, training=True)
    data = classifier.digits(sources, FEW, 1000)
    curves = {
        name: np.mean([_followed(data, rate, seed) for seed in range(SEEDS)], axis=0)
        for name, rate in (("without", 0.0), (f"with, rate {DROPPED:g}", DROPPED))
    }
    ends = {name: curve[-5:].mean(0) for name, curve in curves.items()}
    gaps = {name: float(end[1] - end[0]) for name, end in ends.items()}
    without, with_it = curves

    def draw(figure):
        sums, learning = figure.subplots(1, 2)
        bins = np.arange(20, 145, 2)
        sums.hist((seen * (1 - DROPPED)).sum(1), bins, label="training, dropped only")
        sums.hist(seen.sum(1), bins, label="training, dropped and scaled")
        sums.axvline(100, color="k", linestyle="--", label="outside training: 100")
        label(sums, "sum of 100 outputs of 1", "times in 1,000", f"rate {DROPPED:g}")
        sums.set_ylim(0, 250)
        sums.legend(fontsize=8)
        for colour, (name, curve) in zip(("C0", "C1"), curves.items()):
            for column, style, split in ((0, "--", "train"), (1, "-", "validation")):
                learning.plot(
                    range(1, len(curve) + 1),
                    curve[:, column],
                    style,
                    color=colour,
                    label=f"{name}, {split}",
                )
        label(learning, "epoch", "cross-entropy", f"{FEW} pictures, mean of {SEEDS} seeds")
        learning.set_ylim(0, 2.2)
        learning.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("outputs of 1 become, in training", sorted(set(seen.ravel())), [0.0, 2.0]),
            Number("their mean in training", seen.mean(), 1.0, 0.02),
            Number(
                "their mean outside training",
                layer.forward(ones).mean(),
                1.0,
                why="The scale 1 / (1 - rate) in training keeps the mean, so that nothing is left "
                "to do afterwards. Without it all outputs must be multiplied by 1 - rate then.",
            ),
            *(
                Number(f"train and validation loss, {name}", list(end[:2]))
                for name, end in ends.items()
            ),
            *(Number(f"gap between them, {name}", gap) for name, gap in gaps.items()),
            *(
                Number(f"train and validation accuracy (%), {name}", list(end[2:]))
                for name, end in ends.items()
            ),
        ],
        seen=f"Without dropout the network knows its {FEW} pictures by heart, and its validation "
        f"loss is {ends[without][1]:.2f}, with dropout {ends[with_it][1]:.2f}; the gap to the "
        f"train loss is {gaps[without]:.2f} and {gaps[with_it]:.2f}, the validation accuracy "
        f"{ends[without][3]:.1f} and {ends[with_it][3]:.1f} %. Dropout learns more slowly: each "
        "step trains another part of the network.",
        draw=draw,
        data=data.words,
    )


def _followed(data: classifier.Digits, rate: float, seed: int) -> list[list[float]]:
    """[train loss, validation loss, train accuracy, validation accuracy] after each epoch,
    (epochs, 4)."""
    chances = np.random.default_rng([seed, 2])
    network = classifier.perceptron(
        [784, 200, 200, 10],
        np.random.default_rng([seed, 0]),
        behind=lambda units: [scratch.Dropout(rate, chances)],
    )
    order = np.random.default_rng([seed, 1])
    curve = []
    for _ in classifier.epochs(network, data.x, data.labels, scratch.Adam(), order, 50):
        train = classifier.judge(network, data.x, data.labels)
        validation = classifier.judge(network, data.val_x, data.val_labels)
        curve.append([train[0], validation[0], train[1], validation[1]])
    return curve


# --- weight decay ---------------------------------------------------------------------------------

LAMBDAS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)


def weight_decay(sources: Sources) -> Outcome:
    """The weights and the accuracy over lambda."""
    data = classifier.digits(sources, FEW, 1000)
    found = np.array([_decayed(data, decay) for decay in LAMBDAS])
    norms, train, validation = found.T
    best = int(validation.argmax())
    w = np.array([2.0])
    for _ in range(3):
        w -= 0.1 * 0.5 * w

    def draw(figure):
        sizes, accuracies = figure.subplots(1, 2)
        places = range(len(LAMBDAS))
        names = [f"{decay:g}" for decay in LAMBDAS]
        sizes.plot(places, norms, "o-")
        label(sizes, "lambda", "root of the sum of all squared weights", "the weights")
        accuracies.plot(places, train, "o--", label="train")
        accuracies.plot(places, validation, "o-", label="validation")
        label(accuracies, "lambda", "accuracy (%)", f"{FEW} pictures")
        accuracies.set_ylim(50, 102)
        accuracies.legend(fontsize=8)
        for axes in (sizes, accuracies):
            axes.set_xticks(places, names, fontsize=8)
        sizes.set_ylim(bottom=0)

    return Outcome(
        numbers=[
            Number("2 after three steps without gradient, rate .1, lambda .5", float(w[0]), 1.7147),
            Number("lambda", list(LAMBDAS)),
            Number("norm of the weights", list(norms)),
            Number("train accuracy (%)", list(train)),
            Number("validation accuracy (%)", list(validation)),
            Number("lambda with the best validation accuracy", LAMBDAS[best]),
        ],
        seen="The loss lambda / 2 |W|^2 adds lambda W to the gradient, so each step shrinks the "
        "weights a little. Over most of the range validation moves by a few points at most "
        f"(best at {LAMBDAS[best]:g}, {validation[best]:.1f} %, beside {validation[0]:.1f} % "
        f"without); too large a lambda leaves too little of them and {validation[-1]:.1f} %. "
        "Differences below 2 points are within the chance of 1,000 pictures.",
        draw=draw,
        data=data.words,
    )


def _decayed(data: classifier.Digits, decay: float) -> tuple[float, float, float]:
    """(norm of the weights, train and validation accuracy)."""
    network = classifier.perceptron([784, 100, 10], np.random.default_rng(0))
    optimizer = scratch.Momentum(0.05)
    order = np.random.default_rng(1)
    classifier.train(network, data.x, data.labels, optimizer, order, count=60, decay=decay)
    squares = sum(float((a.weights[0] ** 2).sum()) for a in classifier.affine_layers(network))
    return (
        squares**0.5,
        classifier.accuracy(network, data.x, data.labels),
        classifier.accuracy(network, data.val_x, data.val_labels),
    )


# --- overfitting ----------------------------------------------------------------------------------

PATIENCE = 10


def overfitting(sources: Sources) -> Outcome:
    """Too small a network, one that stops in time, and one that goes on."""
    data = classifier.digits(sources, FEW, 1000)
    small, large = _losses(data, 2), _losses(data, 200)
    stop, best = early_stop(large[:, 1], PATIENCE)
    end = len(large)

    def draw(figure):
        under, over = figure.subplots(1, 2, sharey=True)
        top = 1.15 * small[0].max()
        for axes, losses, name in (
            (under, small, "2 hidden nodes: underfitting"),
            (over, large, "200 hidden nodes"),
        ):
            axes.plot(range(1, end + 1), losses[:, 0], "--", label="train")
            axes.plot(range(1, end + 1), losses[:, 1], label="validation")
            label(axes, "epoch", "cross-entropy", name)
            axes.set_ylim(0, top)
        over.axvline(best, color="C2", label=f"the best: epoch {best}")
        over.axvline(stop, color="C3", linestyle=":", label=f"patience {PATIENCE}: stop at {stop}")
        over.axvspan(best, end, color="C3", alpha=0.07)
        over.text((best + end) / 2, 0.5 * top, "overfitting", ha="center", color="C3")
        under.legend(fontsize=8)
        over.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number(f"2 nodes, epoch {end}: train and validation loss", list(small[-1])),
            Number(f"200 nodes, epoch {best}: train and validation loss", list(large[best - 1])),
            Number(f"200 nodes, epoch {end}: train and validation loss", list(large[-1])),
            Number("epoch with the lowest validation loss so far, at the stop", best),
            Number(f"epoch at which a patience of {PATIENCE} stops", stop),
            Number(
                "stop for losses 3, 2, 1, 2, 2, 2 with patience 3: stop, best",
                list(early_stop(np.array([3.0, 2, 1, 2, 2, 2]), 3)),
                [6, 3],
            ),
        ],
        seen="Two hidden nodes cannot even learn the train pictures: both losses stay high. Two "
        "hundred learn them by heart: the train loss goes on to fall while the validation loss "
        f"turns, here after epoch {best}. Early stopping waits {PATIENCE} epochs for a better one "
        "and then takes the weights of the best.",
        draw=draw,
        data=data.words,
    )


def early_stop(losses: np.ndarray, patience: int) -> tuple[int, int]:
    """(epoch of the stop, epoch of the best loss until then), from 1: it stops after `patience`
    epochs without a new lowest validation loss, or at the end."""
    best = 1
    for epoch, loss in enumerate(losses, 1):
        if loss < losses[best - 1]:
            best = epoch
        elif epoch - best >= patience:
            return epoch, best
    return len(losses), best


def _losses(data: classifier.Digits, nodes: int) -> np.ndarray:
    """[train, validation] loss after each epoch, (epochs, 2)."""
    network = classifier.perceptron([784, nodes, 10], np.random.default_rng(0))
    order = np.random.default_rng(1)
    return np.array(
        [
            [
                classifier.judge(network, data.x, data.labels)[0],
                classifier.judge(network, data.val_x, data.val_labels)[0],
            ]
            for _ in classifier.epochs(
                network, data.x, data.labels, scratch.Adam(0.003), order, 100
            )
        ]
    )


# --- the three splits -----------------------------------------------------------------------------

GUESSERS, JUDGES = 1000, 100


def split(sources: Sources) -> Outcome:
    """What train, validation and test pictures are for, and two ways to be wrong about them."""
    data = classifier.digits(sources, 1000, 1000)
    whole = sources.easy_digits()
    every = len(whole.test_images) // 1000
    test_x = classifier.rows(whole.test_images[::every][:1000])
    test_labels = whole.test_labels[::every][:1000]
    asked = {"clean": data.val_x, "blurred": blurred(data.val_x)}
    half = data.x.copy()
    half[::2] = blurred(half[::2])
    networks = {
        "clean pictures": _trained(data, data.x),
        "half of them blurred": _trained(data, half),
    }
    found = {
        name: {kind: classifier.accuracy(network, x, data.val_labels) for kind, x in asked.items()}
        for name, network in networks.items()
    }
    clean, both = networks
    train = classifier.accuracy(networks[clean], data.x, data.labels)
    tested = classifier.accuracy(networks[clean], test_x, test_labels)
    chosen, others = luckiest(data.val_labels)

    def draw(figure):
        examples, bars, luck = figure.subplots(1, 3, width_ratios=[2, 3, 3])
        side = np.concatenate(
            [np.concatenate([x[i].reshape(28, 28) for x in asked.values()], 1) for i in range(4)]
        )
        show_image(examples, side, "clean, and blurred")
        for offset, (name, each) in zip((-0.2, 0.2), found.items()):
            drawn = bars.bar(np.arange(2) + offset, list(each.values()), 0.38, label=name)
            bars.bar_label(drawn, fmt="%.0f", fontsize=8)
        bars.set_xticks(range(2), list(asked))
        label(bars, "asked on", "validation accuracy (%)", "trained on")
        bars.set_ylim(0, 130)
        bars.legend(fontsize=8)
        counts = np.arange(1, GUESSERS + 1)
        luck.semilogx(
            counts, chosen, drawstyle="steps-post", label=f"on the {JUDGES} that chose it"
        )
        luck.semilogx(counts, others, drawstyle="steps-post", label="on all other pictures")
        luck.axhline(10, color="gray", linestyle=":", label="guessing: 10 %")
        label(luck, "guessers to choose from", "accuracy of the best (%)", "the best of many")
        luck.set_ylim(0, 30)
        luck.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("train accuracy (%)", train),
            Number("validation accuracy (%)", found[clean]["clean"]),
            Number("test accuracy (%), read once", tested),
            Number(
                "standard error of a figure of 90 % from 1,000 pictures (points)",
                100 * (0.9 * 0.1 / 1000) ** 0.5,
                0.9487,
            ),
            *(
                Number(f"trained on {name}, asked on {kind} (%)", value)
                for name, each in found.items()
                for kind, value in each.items()
            ),
            Number(f"best of {GUESSERS:,} guessers, on the {JUDGES} that chose it (%)", chosen[-1]),
            Number("the same guesser on other pictures (%)", others[-1], 10.0, 4.0),
        ],
        seen="Train pictures are learnt by heart, so only others can tell; and they must be like "
        f"those that come later: the network with {found[clean]['clean']:.0f} % on clean pictures "
        f"has {found[clean]['blurred']:.0f} % on blurred ones, and {found[both]['blurred']:.0f} % "
        f"where it saw such. The best of {GUESSERS:,} pure guessers has {chosen[-1]:.0f} % on the "
        f"{JUDGES} pictures that chose it and {others[-1]:.0f} % on others: what chooses cannot "
        "judge. That is why validation chooses and the test pictures are read once, at the end.",
        draw=draw,
        data=f"{data.words}, and 1,000 of its test pictures",
    )


def blurred(x: np.ndarray) -> np.ndarray:
    """Pictures (N, 784), each pixel the mean of the 9 x 9 around it; black beyond the border."""
    pictures = np.pad(x.reshape(-1, 28, 28), ((0, 0), (4, 4), (4, 4)))
    total = np.zeros((len(x), 28, 28), x.dtype)
    for i, j in np.ndindex(9, 9):
        total += pictures[:, i : i + 28, j : j + 28]
    return total.reshape(x.shape) / 81


def luckiest(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best of the first 1, 2, ... GUESSERS guessers, chosen on the first JUDGES labels: its
    accuracy (%) on those, and on the others, (GUESSERS,) each."""
    guesses = np.random.default_rng(0).integers(0, 10, (GUESSERS, len(labels)))
    right = guesses == labels
    on_judges = 100 * right[:, :JUDGES].mean(1)
    on_others = 100 * right[:, JUDGES:].mean(1)
    best = [int(on_judges[: count + 1].argmax()) for count in range(GUESSERS)]
    return on_judges[best], on_others[best]


def _trained(data: classifier.Digits, x: np.ndarray) -> scratch.Network:
    network = classifier.perceptron([784, 100, 10], np.random.default_rng(0))
    order = np.random.default_rng(1)
    classifier.train(network, x, data.labels, scratch.Adam(), order, count=30)
    return network


LESSONS = [
    Lesson(
        name="dropout",
        title="Dropout: its scale, and the gap between train and validation",
        source="the lecture on training; Srivastava et al. 2014",
        run=dropout,
        needs=("digits",),
    ),
    Lesson(
        name="weight-decay",
        title="Weight decay: the weights and the accuracy over lambda",
        source="the lecture on training; Krogh and Hertz 1991",
        run=weight_decay,
        needs=("digits",),
    ),
    Lesson(
        name="overfitting",
        title="Underfitting, overfitting, and stopping in time",
        source="the lecture on training; Prechelt 1998, 'Early stopping - but when?'",
        run=overfitting,
        needs=("digits",),
    ),
    Lesson(
        name="split",
        title="Train, validation, test: what each is for",
        source="the lecture on training; Hastie, Tibshirani and Friedman 2009, chapter 7",
        run=split,
        needs=("digits",),
    ),
]
