"""Scores to probabilities, and the cross-entropy with its gradient."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures


def softmax(scores):
    """p_j = exp(s_j) / sum over k of exp(s_k), for each image: positive, and sums to 1.

    Take each image's largest score from its scores first: the quotient is the same, and nothing
    overflows.

    Args:
        scores: (N, classes), of any size, 1000 and -1000 too.

    Returns:
        Probabilities, (N, classes).

    Source: CS231n, "Softmax classifier"; Bridle (1990).
    """
    return scratch.softmax(scores)


def softmax_loss(scores, labels):
    """The cross-entropy -log p_right, the mean over the images, and its gradient by the scores.

    log p_j = s_j - max - log(sum over k of exp(s_k - max)): so written, it is always finite.
    The gradient is (p - t) / N, with t 1 at the right class and 0 elsewhere.

    Args:
        scores: (N, classes), before the softmax.
        labels: (N,), whole numbers, the right classes.

    Returns:
        A tuple: the loss, one number; its gradient, (N, classes).

    Source: CS231n, "Softmax classifier"; Bishop (2006), eq. 4.109.
    """
    t, loss = scratch.one_hot(labels, scores.shape[1]), scratch.SoftmaxCrossEntropy()
    return loss.value(scores, t), loss.gradient(scores, t)


def _unshifted(s):
    return np.exp(s) / np.exp(s).sum(1, keepdims=True)


def _sigmoid(s):
    return 1 / (1 + np.exp(-s))


def _rows(s, labels):
    return scratch.softmax(s)[np.arange(len(s)), labels]


def _one_hot(s, labels):
    return scratch.one_hot(labels, s.shape[1])


def _columns(s, labels):
    """What p[:, labels] -= 1 makes: whole columns."""
    p = scratch.softmax(s)
    p[:, labels] -= 1
    return p / len(s)


SMALL = (
    "adds a small number inside the logarithm, which falsifies the loss where p is tiny: write "
    "log p as the shifted score minus the logarithm of the sum"
)
SOFTMAX = (
    Wrong(
        0,
        "divides by the sum over the whole batch: each image has its own sum, axis=1",
        lambda s: np.exp(s - s.max()) / np.exp(s - s.max()).sum(),
    ),
    Wrong(
        0,
        "divides by the sum over the whole batch: each image has its own sum, axis=1",
        lambda s: np.exp(s - s.max(1, keepdims=True)) / np.exp(s - s.max(1, keepdims=True)).sum(),
    ),
    Wrong(
        0,
        "sums over the images: the sum is over the classes, axis=1",
        lambda s: np.exp(s - s.max(1, keepdims=True)) / np.exp(s - s.max(1, keepdims=True)).sum(0),
    ),
    Wrong(
        0,
        "sums over the images: the sum is over the classes, axis=1",
        lambda s: np.exp(s) / np.exp(s).sum(0),
    ),
    Wrong(
        0,
        "keepdims=True is missing: the sums, (N,), are divided along the wrong axis",
        lambda s: np.exp(s - s.max(1, keepdims=True)) / np.exp(s - s.max(1, keepdims=True)).sum(1),
    ),
    Wrong(
        0,
        "keepdims=True is missing: the sums, (N,), are divided along the wrong axis",
        lambda s: np.exp(s) / np.exp(s).sum(1),
    ),
    Wrong(
        0,
        "keepdims=True is missing: the maxima, (N,), are taken off along the wrong axis",
        lambda s: _unshifted(s - s.max(1)),
    ),
    Wrong(0, "the exponential is missing", lambda s: s / s.sum(1, keepdims=True)),
    Wrong(0, "the division by the sum is missing", np.exp),
    Wrong(0, "the division by the sum is missing", lambda s: np.exp(s - s.max(1, keepdims=True))),
    Wrong(
        0,
        "this is the sigmoid of each score: softmax divides by the sum over the classes",
        _sigmoid,
    ),
    Wrong(
        0,
        "the sign of the exponent is wrong: the largest score must be the most probable",
        lambda s: scratch.softmax(-s),
    ),
    Wrong(0, "this is the logarithm of the softmax", lambda s: np.log(scratch.softmax(s))),
    Wrong(0, "overflow for large scores: subtract the largest of each image first", _unshifted),
    Wrong(
        0,
        "subtracts the largest score of the whole batch: an image far below it has only zeros to "
        "divide; subtract each image's own",
        lambda s: _unshifted(s - s.max()),
    ),
)
LOSS = (
    Wrong(
        0,
        "the loss is the sum over the images: it is their mean",
        lambda s, y: -np.log(_rows(s, y)).sum(),
    ),
    Wrong(0, "the logarithm of the loss is missing", lambda s, y: -_rows(s, y).mean()),
    Wrong(0, "the logarithm of the loss is missing", lambda s, y: 1 - _rows(s, y).mean()),
    Wrong(
        0, "the minus of the loss is missing: it is -log p", lambda s, y: np.log(_rows(s, y)).mean()
    ),
    Wrong(
        0,
        "the loss takes the logarithm to base 10: np.log is the natural one",
        lambda s, y: -np.log10(_rows(s, y)).mean(),
    ),
    Wrong(
        0,
        "the loss takes the logarithm to base 2: np.log is the natural one",
        lambda s, y: -np.log2(_rows(s, y)).mean(),
    ),
    Wrong(
        0,
        "the loss averages over all classes: only the right class of each image counts",
        lambda s, y: -np.log(scratch.softmax(s)).mean(),
    ),
    Wrong(
        0,
        "the loss is divided by the number of classes too: only by the images",
        lambda s, y: -np.log(_rows(s, y)).mean() / s.shape[1],
    ),
    Wrong(
        0,
        "the loss sums over the images in the softmax: over the classes, axis=1",
        lambda s, y: -np.log((np.exp(s) / np.exp(s).sum(0))[np.arange(len(s)), y]).mean(),
    ),
    Wrong(
        0,
        "the loss picks p[:, labels], whole columns: p[np.arange(N), labels] is one of each image",
        lambda s, y: -np.log(scratch.softmax(s)[:, y]).mean(),
    ),
    Wrong(
        0,
        "the loss is that of each image: it is their mean, one number",
        lambda s, y: -np.log(_rows(s, y)),
    ),
    Wrong(
        0,
        "the loss is the mean of p before the logarithm: take the logarithm of each, then the mean",
        lambda s, y: -np.log(_rows(s, y).mean()),
    ),
    *(
        Wrong(0, SMALL, lambda s, y, e=e: -np.log(_rows(s, y) + e).mean())
        for e in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15)
    ),
    *(
        Wrong(0, SMALL, lambda s, y, e=e: -np.log(np.clip(_rows(s, y), e, 1)).mean())
        for e in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15)
    ),
    Wrong(
        1,
        "the gradient is not divided by the number of images",
        lambda s, y: scratch.softmax(s) - _one_hot(s, y),
    ),
    Wrong(
        1,
        "the gradient misses -1 at the right class: it is p - t",
        lambda s, y: scratch.softmax(s) / len(s),
    ),
    Wrong(
        1,
        "the gradient misses -1 at the right class, and is not divided by the number of images",
        lambda s, y: scratch.softmax(s),
    ),
    Wrong(
        1,
        "the gradient has the wrong sign: it is p - t, not t - p",
        lambda s, y: (_one_hot(s, y) - scratch.softmax(s)) / len(s),
    ),
    Wrong(
        1,
        "the gradient has the wrong sign, and is not divided by the number of images",
        lambda s, y: _one_hot(s, y) - scratch.softmax(s),
    ),
    Wrong(
        1,
        "the gradient takes 1 from whole columns: p[np.arange(N), labels], not p[:, labels]",
        _columns,
    ),
    Wrong(
        1,
        "the gradient takes 1 from whole columns: p[np.arange(N), labels], not p[:, labels]",
        lambda s, y: _columns(s, y) * len(s),
    ),
    Wrong(
        1,
        "the gradient adds 1 at the right class: it is p - t",
        lambda s, y: (scratch.softmax(s) + _one_hot(s, y)) / len(s),
    ),
    Wrong(
        1,
        "the gradient takes 1 from every class: only from the right one",
        lambda s, y: (scratch.softmax(s) - 1) / len(s),
    ),
    Wrong(
        1,
        "the gradient is divided by the number of classes too: only by the images",
        lambda s, y: (scratch.softmax(s) - _one_hot(s, y)) / s.size,
    ),
    Wrong(
        1,
        "the gradient is that of the loss by p, -t / p: by the scores it is p - t",
        lambda s, y: -_one_hot(s, y) / scratch.softmax(s) / len(s),
    ),
    Wrong(
        1,
        "the gradient has a factor p (1 - p) too many: it cancels, p - t is all",
        lambda s, y: (p := scratch.softmax(s)) * (1 - p) * (p - _one_hot(s, y)) / len(s),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    alone, loss = [], []
    for n, classes in ((5, 3), (2, 6), (4, 4), (1, 5)):
        s, labels = rng.normal(0, 2, (n, classes)), rng.integers(0, classes, n)
        sizes = {"images": n, "classes": classes}
        alone.append(Case((s,), sizes))
        loss.append(Case((s, labels), sizes))
    large = np.array([[1000.0, 999, 0], [-1000, -1001, -1002]])
    hint = "overflow for large scores: subtract the largest of each image first"
    sizes = {"images": 2, "classes": 3}
    alone.append(Case((large,), sizes, "scores to 1000", hint))
    loss.append(Case((large, np.array([0, 1])), sizes, "scores to 1000", hint))
    tiny = (
        "the loss goes wrong where p rounds to 0: write log p as the shifted score minus the "
        "logarithm of the sum"
    )
    loss.append(Case((large, np.array([2, 1])), sizes, "scores to 1000", tiny))
    return {"softmax": alone, "softmax_loss": loss}


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    s, labels = rng.normal(size=(3, 4)), np.array([2, 0, 2])
    given = yours["softmax_loss"](s.copy(), labels)[1]
    loss = lambda: yours["softmax_loss"](s, labels)[0]  # noqa: E731
    words = against_numerical(loss, {"the gradient": s}, [given])
    yield "softmax_loss, numerically", words


class Loss(scratch.Loss):
    """Any of the exercises' losses as one of scratch's."""

    def __init__(self, function) -> None:
        self.function = function

    def value(self, y, t):
        return float(self.function(y, t.argmax(-1))[0])

    def gradient(self, y, t):
        return self.function(y, t.argmax(-1))[1]


def network(functions: Functions) -> float:
    data, rng = pictures(), np.random.default_rng(2)
    layers = affine(rng, 16 * 16 * 3, 32), scratch.Relu(), affine(rng, 32, 10)
    net = scratch.Network(scratch.Flatten(), *layers)
    return learn(net, data, loss=Loss(functions["softmax_loss"]))


EXERCISE = Exercise(
    name="softmax-loss",
    lesson="softmax",
    title="from scores to probabilities, the cross-entropy and its gradient.",
    functions=(
        Function(softmax, ("p",), SOFTMAX),
        Function(softmax_loss, ("the loss", "the gradient"), LOSS),
    ),
    cases=cases,
    numerical=numerical,
    network=network,
    task="a network that learns embedded pictures by this loss",
)
