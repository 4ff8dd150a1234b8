"""What depth does, and what a shortcut does about it."""

from __future__ import annotations

import numpy as np

from .. import scratch
from ..scratch import Network
from .lesson import Lesson, Number, Outcome
from .picture import label
from .sources import Sources

DEPTHS = (4, 16, 40)  # hidden layers
WIDTH, IMAGES, BATCH, EPOCHS, RATE = 32, 1500, 50, 8, 0.001


def shortcut(sources: Sources) -> Outcome:
    """A residual block that does nothing yet, and networks of growing depth with and without."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 8, 4))
    block = _block(rng, 4)
    same = abs(block.forward(x, training=True) - x).max()
    gradient = rng.normal(size=x.shape)
    passed = abs(block.backward(gradient) - gradient).max()

    digits = sources.digits()
    images, labels = _small(digits.train_images[:IMAGES]), digits.train_labels[:IMAGES]
    curves, right = {}, {}
    for residual in (False, True):
        for depth in DEPTHS:
            network = _network(depth, residual)
            curves[residual, depth] = _trained(network, images, labels)
            told = network.forward(images).argmax(1)
            right[residual, depth] = float((told == labels).mean())

    def draw(figure):
        plain, with_shortcuts = figure.subplots(1, 2, sharey=True)
        for (residual, depth), losses in curves.items():
            axes = with_shortcuts if residual else plain
            axes.plot(range(1, EPOCHS + 1), losses, "o-", markersize=4, label=f"{depth} layers")
        label(plain, "epoch", "loss on the train pictures", "plain: deeper is worse")
        label(with_shortcuts, "epoch", "", "with shortcuts: deeper is no worse")
        for axes in (plain, with_shortcuts):
            axes.legend(fontsize=8)
            axes.set_ylim(0, None)

    shallow, deep = DEPTHS[0], DEPTHS[-1]
    named = {"mnist": "MNIST"}.get(digits.name, digits.name)
    return Outcome(
        numbers=[
            Number(
                "a block whose last weights are 0: what it gives, less what came in",
                float(same),
                0,
                0,
            ),
            Number("the gradient in front of it, less the one behind it", float(passed), 0, 0),
            *(
                Number(
                    f"{depth} layers, {_kind(residual)}: right of the train pictures, %",
                    100 * share,
                    printed="against overfitting" if (residual, depth) == (True, deep) else None,
                    why="against degradation: the plain network of this depth is worse on the very "
                    "pictures that it trained on"
                    if (residual, depth) == (True, deep)
                    else "",
                )
                for (residual, depth), share in right.items()
            ),
        ],
        seen="A residual block begins as the identity, forward and backward, so that depth does no "
        f"harm: with {deep} layers the plain network has {100 * right[False, deep]:.0f} % of its "
        f"own train pictures right, after {100 * right[False, shallow]:.0f} % with {shallow}; with "
        f"shortcuts {100 * right[True, deep]:.0f} % and {100 * right[True, shallow]:.0f} %. What "
        "fails on train pictures does not overfit. He et al. call it degradation.",
        draw=draw,
        height=3.8,
        data=f"{IMAGES:,} train pictures of {named}, 14 x 14 pixels",
    )


def _kind(residual: bool) -> str:
    return "with shortcuts" if residual else "plain"


def _block(rng: np.random.Generator, channels: int) -> Network:
    """x + convolution(relu(convolution(x))), the last convolution with weights of 0."""
    shape = (3, 3, channels, channels)
    network = Network()
    network.add(scratch.Convolution(scratch.he_normal(shape, rng), padding="same"))
    network.add(scratch.Relu())
    last = scratch.Convolution(np.zeros(shape), np.zeros(channels), padding="same")
    network.add(last, "change")
    network.add(scratch.Add(), "sum", ["change", "input"])
    return network


def _small(images: np.ndarray) -> np.ndarray:
    """Digits as rows of 196 numbers of mean 0 and deviation 1."""
    halved = scratch.AveragePooling(2).forward(images.astype(np.float64))
    rows = halved.reshape(len(images), -1)
    return (rows - rows.mean()) / rows.std()


def _network(depth: int, residual: bool) -> Network:
    """`depth` hidden layers of WIDTH neurons between an input layer and ten scores; two make a
    block where there are shortcuts."""
    rng = np.random.default_rng(1)

    def affine(inputs: int, outputs: int, zero: bool = False) -> scratch.Affine:
        shape = (inputs, outputs)
        weights = np.zeros(shape) if zero else scratch.he_normal(shape, rng)
        return scratch.Affine(weights, np.zeros(outputs))

    network = Network()
    before = network.add(affine(14 * 14, WIDTH))
    for i in range(depth // 2):
        if not residual:
            network.add(scratch.Relu())
            network.add(affine(WIDTH, WIDTH))
            network.add(scratch.Relu())
            network.add(affine(WIDTH, WIDTH))
            continue
        network.add(scratch.Relu(), inputs=[before])
        network.add(affine(WIDTH, WIDTH))
        network.add(scratch.Relu())
        change = network.add(affine(WIDTH, WIDTH, zero=True))
        before = network.add(scratch.Add(), f"sum{i + 1}", [change, before])
    network.add(scratch.Relu())
    network.add(affine(WIDTH, 10))
    return network


def _trained(network: Network, images: np.ndarray, labels: np.ndarray) -> list[float]:
    """The loss on all train pictures after each epoch."""
    rng, loss = np.random.default_rng(2), scratch.SoftmaxCrossEntropy()
    targets, optimizer = scratch.one_hot(labels, 10), scratch.Adam(RATE)
    losses = []
    for _ in range(EPOCHS):
        for batch in rng.permutation(len(images)).reshape(-1, BATCH):
            network.train_on(images[batch], targets[batch], loss, optimizer)
        losses.append(loss.value(network.forward(images), targets))
    return losses


LESSONS = [
    Lesson(
        name="shortcut",
        title="The shortcut: a block that begins as the identity, against degradation",
        source="the lecture on famous networks; He, Zhang, Ren and Sun 2016",
        run=shortcut,
        needs=("digits",),
    ),
]
