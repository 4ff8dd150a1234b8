"""Batch normalisation: by the batch's statistics in training, by moving ones elsewhere."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures


def batch_norm_forward(
    x, gamma, beta, moving_mean, moving_variance, training, momentum=0.99, epsilon=1e-3
):
    """Each channel to mean 0 and variance 1, then scaled by gamma and shifted by beta.

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta. In training the mean and the variance
    are the batch's, over the images; the variance is the biased one, sum / N. The moving ones
    follow them: moving = momentum * moving + (1 - momentum) * batch's. Outside training the moving
    ones are used, and stay as they are.

    Args:
        x: (N, channels).
        gamma, beta: (channels,).
        moving_mean, moving_variance: (channels,), before this batch.
        training: True or False.
        momentum: share of the old moving statistics that stays.
        epsilon: added to the variance.

    Returns:
        A tuple: y (N, channels), the moving mean and the moving variance after this batch
        (channels,), as new arrays.

    Source: Ioffe and Szegedy (2015), algorithms 1 and 2; the moving statistics as in Keras.
    """
    layer = scratch.BatchNormalization(
        len(gamma),
        momentum=momentum,
        epsilon=epsilon,
        gamma=gamma,
        beta=beta,
        moving_mean=moving_mean,
        moving_variance=moving_variance,
    )
    y = layer.forward(x, training)
    return y, layer.moving_mean, layer.moving_variance


def batch_norm_backward(gradient, x, gamma, epsilon=1e-3):
    """The gradients by x, gamma and beta, in training.

    The batch's mean and variance depend on x too. With n = (x - mean) / deviation, the normalised
    values, deviation = sqrt(variance + epsilon), and d = gamma g, the gradient by n, it is
    (d - mean(d) - n mean(d n)) / deviation for x, sum(g n) for gamma and sum(g) for beta, means and
    sums over the images.

    Args:
        gradient: g, of the loss by y, (N, channels).
        x: (N, channels), what went in.
        gamma: (channels,).
        epsilon: added to the variance.

    Returns:
        A tuple: by x (N, channels), by gamma (channels,), by beta (channels,).

    Source: Ioffe and Szegedy (2015), section 3.
    """
    layer = scratch.BatchNormalization(
        len(gamma), epsilon=epsilon, gamma=gamma, beta=np.zeros_like(gamma)
    )
    layer.forward(x, True)
    return layer.backward(gradient), *layer.gradients


def _y(mean=None, variance=None, scale=None):
    """y with other statistics, (x, training-chosen mean, variance) -> where they differ."""

    def of(x, gamma, beta, m, v, training, momentum, epsilon):
        if not training:
            return gamma * (x - m) / np.sqrt(v + epsilon) + beta
        used_m = x.mean(0) if mean is None else mean(x)
        used_v = x.var(0) if variance is None else variance(x)
        return gamma * (x - used_m) / np.sqrt(used_v + epsilon) + beta

    return of


def _with(bend):
    """y where a function of (normalised inputs...) replaces the formula, in both modes."""

    def of(x, gamma, beta, m, v, training, momentum, epsilon):
        used_m, used_v = (x.mean(0), x.var(0)) if training else (m, v)
        return bend(x, gamma, beta, used_m, used_v, epsilon)

    return of


def _always(x, gamma, beta, m, v, training, momentum, epsilon):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + epsilon) + beta


def _never(x, gamma, beta, m, v, training, momentum, epsilon):
    return gamma * (x - m) / np.sqrt(v + epsilon) + beta


def _updated(x, gamma, beta, m, v, training, momentum, epsilon):
    if training:
        m, v = momentum * m + (1 - momentum) * x.mean(0), momentum * v + (1 - momentum) * x.var(0)
    return gamma * (x - m) / np.sqrt(v + epsilon) + beta


def _unbiased(x):
    return x.var(0, ddof=1) if len(x) > 1 else x.var(0)


def _moving(which, batch, training_only=True, exchange=False):
    def of(x, gamma, beta, m, v, training, momentum, epsilon):
        old = (m, v)[which]
        if training_only and not training:
            return old
        keep = 1 - momentum if exchange else momentum
        return keep * old + (1 - keep) * batch(x)

    return of


def _mean(x):
    return x.mean(0)


def _var(x):
    return x.var(0)


UNBIASED = "the variance is the unbiased one, / (N - 1): here it is sum / N, np.var as it is"
FORWARD = (
    Wrong(
        0,
        "batch normalisation uses batch statistics in inference: outside training the moving ones",
        _always,
    ),
    Wrong(0, "the moving statistics are used in training too: there it is the batch's", _never),
    Wrong(
        0,
        "in training the moving statistics, just updated, are used: there it is the batch's",
        _updated,
    ),
    Wrong(0, UNBIASED, _y(variance=lambda x: x.var(0, ddof=1))),
    Wrong(
        0,
        "the deviation stands where the variance belongs: np.var, the root comes after",
        _y(variance=lambda x: x.std(0)),
    ),
    Wrong(
        0,
        "the variance is the mean of x squared: the mean is taken off before",
        _y(variance=lambda x: (x**2).mean(0)),
    ),
    Wrong(
        0,
        "sums over the channels of each image: the mean and the variance are over the images, "
        "axis 0",
        _y(lambda x: x.mean(1, keepdims=True), lambda x: x.var(1, keepdims=True)),
    ),
    Wrong(
        0,
        "one mean and one variance for all channels: each channel has its own, axis=0",
        _y(lambda x: x.mean(), lambda x: x.var()),
    ),
    Wrong(
        0,
        "epsilon is outside the root: sqrt(variance + epsilon)",
        _with(lambda x, g, b, m, v, e: g * (x - m) / (np.sqrt(v) + e) + b),
    ),
    Wrong(
        0,
        "the root is missing: it divides by the deviation, sqrt(variance + epsilon)",
        _with(lambda x, g, b, m, v, e: g * (x - m) / (v + e) + b),
    ),
    Wrong(
        0,
        "epsilon is missing: a channel that is the same everywhere divides by zero",
        _with(lambda x, g, b, m, v, e: g * (x - m) / np.sqrt(v) + b),
    ),
    Wrong(
        0, "the mean is not subtracted", _with(lambda x, g, b, m, v, e: g * x / np.sqrt(v + e) + b)
    ),
    Wrong(
        0, "gamma and beta are missing", _with(lambda x, g, b, m, v, e: (x - m) / np.sqrt(v + e))
    ),
    Wrong(0, "beta is missing", _with(lambda x, g, b, m, v, e: g * (x - m) / np.sqrt(v + e))),
    Wrong(0, "gamma is missing", _with(lambda x, g, b, m, v, e: (x - m) / np.sqrt(v + e) + b)),
    Wrong(
        0,
        "gamma and beta are exchanged: gamma scales, beta shifts",
        _with(lambda x, g, b, m, v, e: b * (x - m) / np.sqrt(v + e) + g),
    ),
    Wrong(
        0,
        "beta is scaled by gamma too: gamma n + beta",
        _with(lambda x, g, b, m, v, e: g * ((x - m) / np.sqrt(v + e) + b)),
    ),
    Wrong(
        1,
        "the moving mean is the wrong way round: momentum is the share of the old one",
        _moving(0, _mean, exchange=True),
    ),
    Wrong(
        1, "the moving mean follows in inference too: only in training", _moving(0, _mean, False)
    ),
    Wrong(
        1,
        "the moving mean does not follow: momentum * moving + (1 - momentum) * batch's",
        lambda x, g, b, m, v, *_: m,
    ),
    Wrong(
        1,
        "the moving mean is the batch's alone: momentum of the old one stays",
        lambda x, g, b, m, v, training, *_: x.mean(0) if training else m,
    ),
    Wrong(
        2,
        "the moving variance is the wrong way round: momentum is the share of the old one",
        _moving(1, _var, exchange=True),
    ),
    Wrong(
        2, "the moving variance follows in inference too: only in training", _moving(1, _var, False)
    ),
    Wrong(
        2,
        "the moving variance does not follow: momentum * moving + (1 - momentum) * batch's",
        lambda x, g, b, m, v, *_: v,
    ),
    Wrong(
        2,
        "the moving variance is the batch's alone: momentum of the old one stays",
        lambda x, g, b, m, v, training, *_: x.var(0) if training else v,
    ),
    Wrong(2, f"of the moving variance, {UNBIASED}", _moving(1, lambda x: x.var(0, ddof=1))),
    Wrong(2, f"of the moving variance, {UNBIASED}", _moving(1, _unbiased)),
    Wrong(
        2,
        "the moving variance follows the deviation: it is the variance, without the root",
        _moving(1, lambda x: x.std(0)),
    ),
    Wrong(
        2,
        "the moving variance holds epsilon: it is added only where it divides",
        lambda x, g, b, m, v, training, momentum, e: (
            momentum * v + (1 - momentum) * (x.var(0) + e) if training else v
        ),
    ),
)


def _n(x, epsilon):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + epsilon)


def _dx(bend):
    def of(g, x, gamma, e):
        return bend(g, gamma * g, _n(x, e), np.sqrt(x.var(0) + e))

    return of


BACKWARD = (
    Wrong(
        0,
        "the gradient of x takes the batch's mean and variance for constants: they depend on x, "
        "two more terms",
        _dx(lambda g, d, n, s: d / s),
    ),
    Wrong(
        0,
        "the gradient of x misses the way through the variance: - n mean(d n)",
        _dx(lambda g, d, n, s: (d - d.mean(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x misses the way through the mean: - mean(d)",
        _dx(lambda g, d, n, s: (d - n * (d * n).mean(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x misses gamma: d = gamma g",
        _dx(lambda g, d, n, s: (g - g.mean(0) - n * (g * n).mean(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x is not divided by the deviation",
        _dx(lambda g, d, n, s: d - d.mean(0) - n * (d * n).mean(0)),
    ),
    Wrong(
        0,
        "the gradient of x is divided by the variance: it is the deviation, its root",
        _dx(lambda g, d, n, s: (d - d.mean(0) - n * (d * n).mean(0)) / s**2),
    ),
    Wrong(
        0,
        "the gradient of x takes sums over the images where means belong",
        _dx(lambda g, d, n, s: (d - d.sum(0) - n * (d * n).sum(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x is not divided by the number of images (N d - sum - n sum needs it)",
        _dx(lambda g, d, n, s: (len(d) * d - d.sum(0) - n * (d * n).sum(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x takes x where the normalised n belongs",
        lambda g, x, gamma, e: (
            ((d := gamma * g) - d.mean(0) - x * (d * x).mean(0)) / np.sqrt(x.var(0) + e)
        ),
    ),
    Wrong(
        0,
        "the gradient of x has a wrong sign: both further terms are taken off",
        _dx(lambda g, d, n, s: (d + d.mean(0) + n * (d * n).mean(0)) / s),
    ),
    Wrong(
        0,
        "the gradient of x has a wrong sign: both further terms are taken off",
        _dx(lambda g, d, n, s: (d - d.mean(0) + n * (d * n).mean(0)) / s),
    ),
    Wrong(
        1,
        "the gradient of gamma takes x: it is sum(g n), with the normalised n",
        lambda g, x, gamma, e: (g * x).sum(0),
    ),
    Wrong(
        1,
        "the gradient of gamma takes x - mean: it is sum(g n), divided by the deviation too",
        lambda g, x, gamma, e: (g * (x - x.mean(0))).sum(0),
    ),
    Wrong(
        1,
        "the gradient of gamma is the mean over the images: it is the sum",
        lambda g, x, gamma, e: (g * _n(x, e)).mean(0),
    ),
    Wrong(
        1,
        "the gradient of gamma misses the sum over the images",
        lambda g, x, gamma, e: g * _n(x, e),
    ),
    Wrong(
        1,
        "the gradient of gamma is summed over the channels: axis 0 is the images",
        lambda g, x, gamma, e: (g * _n(x, e)).sum(1),
    ),
    Wrong(1, "the gradient of gamma misses g", lambda g, x, gamma, e: _n(x, e).sum(0)),
    Wrong(
        1,
        "the gradient of gamma holds gamma: it is sum(g n)",
        lambda g, x, gamma, e: (gamma * g * _n(x, e)).sum(0),
    ),
    Wrong(
        2,
        "the gradient of beta is the mean over the images: it is the sum",
        lambda g, x, gamma, e: g.mean(0),
    ),
    Wrong(2, "the gradient of beta misses the sum over the images", lambda g, x, gamma, e: g),
    Wrong(
        2,
        "the gradient of beta is summed over the channels: axis 0 is the images",
        lambda g, x, gamma, e: g.sum(1),
    ),
    Wrong(
        2,
        "the gradient of beta holds gamma: it is sum(g)",
        lambda g, x, gamma, e: (gamma * g).sum(0),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    forward, backward = [], []
    for n, channels in ((6, 3), (3, 5), (4, 4), (5, 1)):
        x = rng.normal(2, 1.5, (n, channels))
        gamma, beta, mean = rng.normal(1, 0.5, channels), *rng.normal(size=(2, channels))
        variance, sizes = rng.uniform(0.5, 2, channels), {"images": n, "channels": channels}
        for training in (True, False):
            args = x, gamma, beta, mean, variance, training, 0.9, 0.01
            forward.append(Case(args, sizes, "training" if training else "inference"))
        backward.append(Case((rng.normal(size=(n, channels)), x, gamma, 0.01), sizes))
    single = x[:1], gamma, beta, mean, variance, False, 0.9, 0.01
    forward.append(Case(single, {"images": 1, "channels": 1}, "inference"))
    grey = np.full((4, 2), 3.0)
    hint = "a channel that is the same everywhere divides by zero: add epsilon to the variance"
    ones, sizes = np.ones(2), {"images": 4, "channels": 2}
    args = grey, ones, ones, ones, ones, True, 0.9, 0.01
    forward.append(Case(args, sizes, "all the same", hint))
    backward.append(Case((rng.normal(size=(4, 2)), grey, ones, 0.01), sizes, "all the same", hint))
    return {"batch_norm_forward": forward, "batch_norm_backward": backward}


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(2, 4, 2))
    gamma, beta, mean, variance = rng.normal(1, 0.2, (4, 2))
    given = yours["batch_norm_backward"](g.copy(), x.copy(), gamma.copy(), 0.01)
    arrays = {"the gradient of x": x, "the gradient of gamma": gamma, "the gradient of beta": beta}

    def loss():
        args = x, gamma, beta, mean, variance, True, 0.9, 0.01
        return (yours["batch_norm_forward"](*args)[0] * g).sum()

    yield "batch_norm_backward, numerically", against_numerical(loss, arrays, given)


class Swapped(scratch.BatchNormalization):
    """A normalisation made of the functions given."""

    def __init__(self, functions: Functions, channels: int) -> None:
        super().__init__(channels, momentum=0.9, gamma=np.ones(channels), beta=np.zeros(channels))
        self.functions = functions

    def forward(self, x, training=False):
        self._x = x
        y, self.moving_mean, self.moving_variance = self.functions["batch_norm_forward"](
            x,
            *self.weights,
            self.moving_mean,
            self.moving_variance,
            training,
            self.momentum,
            self.epsilon,
        )
        return y

    def backward(self, gradient):
        by_x, *self.gradients = self.functions["batch_norm_backward"](
            gradient, self._x, self.weights[0], self.epsilon
        )
        return by_x


def network(functions: Functions) -> float:
    rng = np.random.default_rng(2)
    first, last, norm = affine(rng, 16 * 16 * 3, 32), affine(rng, 32, 10), Swapped(functions, 32)
    return learn(scratch.Network(scratch.Flatten(), first, norm, scratch.Relu(), last), pictures())


EXERCISE = Exercise(
    name="batch-norm",
    lesson="batch-norm",
    title="batch normalisation, in training and in inference, forward and backward.",
    functions=(
        Function(
            batch_norm_forward, ("y", "the new moving mean", "the new moving variance"), FORWARD
        ),
        Function(
            batch_norm_backward,
            ("the gradient of x", "the gradient of gamma", "the gradient of beta"),
            BACKWARD,
        ),
    ),
    cases=cases,
    numerical=numerical,
    network=network,
    task="a network with your normalisation on embedded pictures",
)
