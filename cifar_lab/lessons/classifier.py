"""The small network that lessons train on digits: affine layers, one activation, numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import scratch
from .sources import Sources

Array = np.ndarray
Layers = Callable[[int], Sequence[scratch.Layer]]

BATCH = 100
# in float32 the rounding of one more thread is seen in the figures after a hundred steps
DTYPE = np.float64
LOSS = scratch.SoftmaxCrossEntropy()


@dataclass(frozen=True)
class Digits:
    """Pictures to learn from, and others of the same train split to ask.

    Fields:
        x, labels: float64 (N, 784), 0 to 1; int (N,).
        val_x, val_labels: (V, 784), (V,).
        words: what they are, for `Outcome.data`.
    """

    x: Array
    labels: Array
    val_x: Array
    val_labels: Array
    words: str


def digits(sources: Sources, train: int, validation: int = 0) -> Digits:
    """Pictures of the train split, drawn from all of it: MNIST lies in order of its writers."""
    whole = sources.easy_digits()
    images, labels = whole.train_images, whole.train_labels
    drawn = np.random.default_rng(0).permutation(len(images))
    learn, ask = drawn[:train], drawn[len(drawn) - validation :]
    asked = f" and {validation:,} validation" if validation else ""
    return Digits(
        rows(images[learn]),
        labels[learn],
        rows(images[ask]),
        labels[ask],
        f"{train:,} train{asked} pictures of {called(whole.name)}",
    )


def called(name: str) -> str:
    """A data set's name as people write it."""
    return {"mnist": "MNIST", "cifar10": "CIFAR-10"}.get(name, name)


def rows(images: Array) -> Array:
    """uint8 (N, height, width, channels) -> float64 (N, values), 0 to 1."""
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(DTYPE) / 255


def targets(labels: Array) -> Array:
    """int (N,) -> float64 (N, 10)."""
    return scratch.one_hot(labels, 10, DTYPE)


def perceptron(
    sizes: Sequence[int],
    generator: np.random.Generator,
    activation: Callable[[], scratch.Layer] = scratch.Relu,
    weights: Callable[..., Array] = scratch.he_normal,
    before: Layers = lambda units: (),
    behind: Layers = lambda units: (),
) -> scratch.Network:
    """Affine layers of these sizes, an activation behind each but the last; scores come out.

    Args:
        sizes: inputs, units of each layer, outputs.
        generator: draws the weights; biases begin at 0.
        activation: makes one.
        weights: (shape, generator) -> array, a function of `scratch.initialisation`.
        before, behind: what stands before and behind each activation, from its number of units.
    """
    network = scratch.Network()
    for place, (inputs, units) in enumerate(zip(sizes, sizes[1:])):
        kernel = weights((inputs, units), generator).astype(DTYPE)
        network.add(scratch.Affine(kernel, np.zeros(units, DTYPE)))
        if place < len(sizes) - 2:
            for layer in (*before(units), activation(), *behind(units)):
                network.add(layer)
    return network


def affine_layers(network: scratch.Network) -> list[scratch.Layer]:
    """Those with weight matrices, in their order."""
    return [layer for layer in network.layers.values() if isinstance(layer, scratch.Affine)]


def epochs(
    network: scratch.Network,
    x: Array,
    labels: Array,
    optimizer: scratch.Optimizer,
    generator: np.random.Generator,
    count: int,
    decay: float = 0.0,
) -> Iterator[list[float]]:
    """Train for `count` epochs; after each, yields the losses of its batches.

    Args:
        generator: the order of the pictures.
        decay: lambda of weight decay: each weight matrix W adds lambda W to its gradient.
    """
    t = targets(labels)
    for _ in range(count):
        order = generator.permutation(len(x))
        losses = []
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            y = network.forward(x[batch], training=True)
            losses.append(LOSS.value(y, t[batch]))
            network.backward(LOSS.gradient(y, t[batch]))
            if decay:
                for layer in affine_layers(network):
                    layer.gradients[0] = layer.gradients[0] + decay * layer.weights[0]
            network.step(optimizer)
        yield losses


def train(*arguments, **options) -> list[float]:
    """`epochs` to the end; the loss of every batch."""
    return [loss for losses in epochs(*arguments, **options) for loss in losses]


def judge(network: scratch.Network, x: Array, labels: Array) -> tuple[float, float]:
    """(mean cross-entropy, share of pictures whose highest score is the right class's, in percent),
    outside training."""
    scores = network.forward(x)
    right = float((scores.argmax(1) == labels).mean())
    return LOSS.value(scores, targets(labels)), 100 * right


def accuracy(network: scratch.Network, x: Array, labels: Array) -> float:
    """The share of pictures that are named right, in percent."""
    return judge(network, x, labels)[1]
