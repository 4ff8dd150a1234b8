"""The embedded pictures that a checked function is tried on, and training on them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .. import scratch

DIAL = 0.25  # of difficulty, all six: what a small network learns in a second


class Pictures(NamedTuple):
    """float64 (N, side, side, 3), about -0.5 to 0.5, the mean picture taken off; labels (N,)."""

    x: np.ndarray
    labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray


@functools.lru_cache(4)
def pictures(side: int = 16, size: int = 600, test_size: int = 400) -> Pictures:
    """Embedded pictures, scaled down to `side` (a divisor of 32)."""
    from ..data import synthetic

    dials = synthetic.Dials(*[DIAL] * len(synthetic.DIAL_NAMES))
    x, labels, test_x, test_labels = synthetic.load(600, 400, dials=dials)

    def small(images: np.ndarray) -> np.ndarray:
        k = synthetic.SIZE // side
        return images.reshape(-1, side, k, side, k, 3).mean((2, 4)) / 255

    x, test_x = small(x[:size]), small(test_x[:test_size])
    mean = x.mean(0)
    return Pictures(x - mean, labels[:size], test_x - mean, test_labels[:test_size])


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def affine(rng: np.random.Generator, inputs: int, units: int) -> scratch.Affine:
    return scratch.Affine(scratch.he_normal((inputs, units), rng), np.zeros(units))


def learn(
    network: scratch.Network,
    data: Pictures,
    optimizer: scratch.Optimizer | None = None,
    loss: scratch.Loss | None = None,
    epochs: int = 4,
    batch: int = 50,
) -> float:
    """Train a network of pictures; its accuracy on the test pictures, 0-1."""
    optimizer = optimizer or scratch.Adam(0.003)
    loss = loss or scratch.SoftmaxCrossEntropy()
    targets, rng = scratch.one_hot(data.labels, 10), np.random.default_rng(1)
    for _ in range(epochs):
        order = rng.permutation(len(data.x))
        for i in range(0, len(order), batch):
            rows = order[i : i + batch]
            network.train_on(data.x[rows], targets[rows], loss, optimizer)
    return accuracy(network.predict(data.test_x, 100), data.test_labels)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((scores.argmax(-1) == labels).mean())
