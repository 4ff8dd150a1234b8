"""A network of two layers, forward and backward, by hand."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import accuracy, flat, pictures


def network_forward(x, w1, b1, w2, b2):
    """Two layers with sigmoids: h = sigmoid(x W1 + b1), y = sigmoid(h W2 + b2).

    sigmoid(s) = 1 / (1 + exp(-s)).

    Args:
        x: (N, inputs).
        w1, b1: (inputs, hidden), (hidden,).
        w2, b2: (hidden, outputs), (outputs,).

    Returns:
        A tuple: h (N, hidden), y (N, outputs).

    Source: Rumelhart, Hinton and Williams (1986).
    """
    h = scratch.sigmoid(x @ w1 + b1)
    return h, scratch.sigmoid(h @ w2 + b2)


def network_backward(x, t, h, y, w2):
    """The gradients of the loss E = 1 / (2 N) sum (y - t)^2 by all weights, by the chain rule.

    d2 = (y - t) y (1 - y) / N is the gradient by what enters the second sigmoids, h W2 + b2; from
    it come those of W2 and b2, and, through W2 and the first sigmoids, d1 = (d2 W2T) h (1 - h).

    Args:
        x: (N, inputs), what went in.
        t: (N, outputs), what should have come out.
        h, y: what `network_forward` returned.
        w2: (hidden, outputs).

    Returns:
        A tuple: by w1 (inputs, hidden), by b1 (hidden,), by w2 (hidden, outputs), by b2 (outputs,).

    Source: Rumelhart, Hinton and Williams (1986).
    """
    first, second = scratch.Affine(np.zeros((x.shape[1], len(w2))), np.zeros(len(w2))), None
    second, bends = (
        scratch.Affine(w2, np.zeros(w2.shape[1])),
        (scratch.Sigmoid(), scratch.Sigmoid()),
    )
    first._x, second._x, bends[0]._y, bends[1]._y = x, h, h, y
    first.backward(bends[0].backward(second.backward(bends[1].backward((y - t) / len(x)))))
    return *first.gradients, *second.gradients


def _d2(t, y):
    return (y - t) * y * (1 - y) / len(y)


def _d1(h, d2, w2):
    return d2 @ w2.T * h * (1 - h)


SIGN = "the gradients have the wrong sign: the error is y - t, not t - y"
BEND2 = "the derivative of the second sigmoid is missing: y (1 - y)"
BEND1 = "the derivative of the first sigmoid is missing: h (1 - h)"
MEAN = "the gradients are not divided by the number of images"
TWICE = "the gradients are twice too large: the half in the loss takes the 2 of the square away"
ON_SUM = (
    "the derivative of the sigmoid is computed from the output as if it were the input: y is "
    "sigmoid(s) already, so it is y (1 - y)"
)
OUTSIDE = "the derivative of the sigmoid is y (1 - y), not 1 - y^2: that is the tanh's"


def _by_all(words, d2, d1=_d1):
    """A mistake that goes into all four gradients, as a row for each."""
    return (
        Wrong(0, words, lambda x, t, h, y, w2: x.T @ d1(h, d2(t, y), w2)),
        Wrong(1, words, lambda x, t, h, y, w2: d1(h, d2(t, y), w2).sum(0)),
        Wrong(2, words, lambda x, t, h, y, w2: h.T @ d2(t, y)),
        Wrong(3, words, lambda x, t, h, y, w2: d2(t, y).sum(0)),
    )


def _s(v):
    return scratch.sigmoid(v) * (1 - scratch.sigmoid(v))


FORWARD = (
    Wrong(0, "h misses its sigmoid", lambda x, w1, b1, w2, b2: x @ w1 + b1),
    Wrong(0, "h misses b1", lambda x, w1, b1, w2, b2: scratch.sigmoid(x @ w1)),
    Wrong(
        0,
        "the sign in the sigmoid's exponent is wrong: 1 / (1 + exp(-s))",
        lambda x, w1, b1, w2, b2: scratch.sigmoid(-x @ w1 - b1),
    ),
    Wrong(
        0,
        "h is bent by tanh: here it is the sigmoid",
        lambda x, w1, b1, w2, b2: np.tanh(x @ w1 + b1),
    ),
    Wrong(
        0,
        "h is bent by relu: here it is the sigmoid",
        lambda x, w1, b1, w2, b2: np.maximum(x @ w1 + b1, 0),
    ),
    Wrong(
        1, "y misses its sigmoid", lambda x, w1, b1, w2, b2: scratch.sigmoid(x @ w1 + b1) @ w2 + b2
    ),
    Wrong(
        1,
        "y misses b2",
        lambda x, w1, b1, w2, b2: scratch.sigmoid(scratch.sigmoid(x @ w1 + b1) @ w2),
    ),
    Wrong(
        1,
        "y comes from the sums of the first layer, without their sigmoid",
        lambda x, w1, b1, w2, b2: scratch.sigmoid((x @ w1 + b1) @ w2 + b2),
    ),
    Wrong(
        1,
        "the sign in the sigmoid's exponent is wrong: 1 / (1 + exp(-s))",
        lambda x, w1, b1, w2, b2: scratch.sigmoid(-scratch.sigmoid(-x @ w1 - b1) @ w2 - b2),
    ),
    Wrong(
        1,
        "y is a softmax: here each output has its own sigmoid",
        lambda x, w1, b1, w2, b2: scratch.softmax(scratch.sigmoid(x @ w1 + b1) @ w2 + b2),
    ),
)
BACKWARD = (
    *_by_all(SIGN, lambda t, y: -_d2(t, y)),
    *_by_all(BEND2, lambda t, y: (y - t) / len(y)),
    *_by_all(MEAN, lambda t, y: _d2(t, y) * len(y)),
    *_by_all(TWICE, lambda t, y: 2 * _d2(t, y)),
    *_by_all(f"{SIGN}; and {MEAN[14:]}", lambda t, y: -_d2(t, y) * len(y)),
    *_by_all(f"{BEND2}; and {MEAN}", lambda t, y: y - t),
    *_by_all(ON_SUM, lambda t, y: (y - t) * _s(y) / len(y), lambda h, d, w2: d @ w2.T * _s(h)),
    *_by_all(
        OUTSIDE, lambda t, y: (y - t) * (1 - y**2) / len(y), lambda h, d, w2: d @ w2.T * (1 - h**2)
    ),
    *_by_all(BEND1, _d2, lambda h, d, w2: d @ w2.T)[:2],
    *_by_all(
        "both derivatives of the sigmoids are missing: y (1 - y) and h (1 - h)",
        lambda t, y: (y - t) / len(y),
        lambda h, d, w2: d @ w2.T,
    )[:2],
    *_by_all(
        "the derivative of the first sigmoid takes x's place: it is h (1 - h), of the output h",
        _d2,
        lambda h, d, w2: d @ w2.T * _s(h),
    )[:2],
    *_by_all(
        "the way back through W2 misses the transpose: it is d2 W2T",
        _d2,
        lambda h, d, w2: d @ w2 * h * (1 - h),
    )[:2],
    *_by_all(
        "the derivative of the first sigmoid is h alone: it is h (1 - h)",
        _d2,
        lambda h, d, w2: d @ w2.T * h,
    )[:2],
    *_by_all(
        "the derivative of the first sigmoid is squared: h (1 - h) once",
        _d2,
        lambda h, d, w2: d @ w2.T * (h * (1 - h)) ** 2,
    )[:2],
    Wrong(
        0,
        "the gradient of w1 is taken with h: it is xT d1",
        lambda x, t, h, y, w2: h.T @ _d1(h, _d2(t, y), w2),
    ),
    Wrong(
        0,
        "the gradient of w1 is transposed: it is xT d1",
        lambda x, t, h, y, w2: _d1(h, _d2(t, y), w2).T @ x,
    ),
    Wrong(
        1,
        "the gradient of b1 misses the sum over the batch",
        lambda x, t, h, y, w2: _d1(h, _d2(t, y), w2),
    ),
    Wrong(
        1,
        "the gradient of b1 is the mean over the batch: it is the sum, N is in the loss already",
        lambda x, t, h, y, w2: _d1(h, _d2(t, y), w2).mean(0),
    ),
    Wrong(
        1,
        "the gradient of b1 is summed over the hidden units: axis 0 is the batch",
        lambda x, t, h, y, w2: _d1(h, _d2(t, y), w2).sum(1),
    ),
    Wrong(
        2, "the gradient of w2 is transposed: it is hT d2", lambda x, t, h, y, w2: _d2(t, y).T @ h
    ),
    Wrong(
        2, "the gradient of w2 is taken with x: it is hT d2", lambda x, t, h, y, w2: x.T @ _d2(t, y)
    ),
    Wrong(
        2,
        "the gradient of w2 has h (1 - h) in it: that belongs to w1 alone",
        lambda x, t, h, y, w2: (h * (1 - h)).T @ _d2(t, y),
    ),
    Wrong(3, "the gradient of b2 misses the sum over the batch", lambda x, t, h, y, w2: _d2(t, y)),
    Wrong(
        3,
        "the gradient of b2 is the mean over the batch: it is the sum, N is in the loss already",
        lambda x, t, h, y, w2: _d2(t, y).mean(0),
    ),
    Wrong(
        3,
        "the gradient of b2 is summed over the outputs: axis 0 is the batch",
        lambda x, t, h, y, w2: _d2(t, y).sum(1),
    ),
)

#: Mazur (2015), "A step by step backpropagation example": x, t, W1, b1, W2, b2
WORKED = (
    np.array([[0.05, 0.10]]),
    np.array([[0.01, 0.99]]),
    np.array([[0.15, 0.25], [0.20, 0.30]]),
    np.array([0.35, 0.35]),
    np.array([[0.40, 0.50], [0.45, 0.55]]),
    np.array([0.60, 0.60]),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    forward, backward = [], []

    def add(x, t, w1, b1, w2, b2, note=""):
        sizes = {"images": len(x), "inputs": len(w1), "hidden units": len(w2), "outputs": len(b2)}
        forward.append(Case((x, w1, b1, w2, b2), sizes, note))
        h, y = network_forward(x, w1, b1, w2, b2)
        backward.append(Case((x, t, h, y, w2), sizes, note))

    for n, a, b, c in ((5, 3, 4, 2), (2, 6, 3, 5), (4, 4, 4, 4), (1, 2, 3, 1)):
        sizes = (n, a), (n, c), (a, b), (b,), (b, c), (c,)
        add(*(rng.normal(size=s) for s in sizes))
    add(*WORKED, note="the worked network of Mazur")
    return {"network_forward": forward, "network_backward": backward}


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, t, w1, b1, w2, b2 = (
        rng.normal(size=s) for s in ((3, 2), (3, 2), (2, 3), (3,), (3, 2), (2,))
    )
    h, y = yours["network_forward"](x, w1, b1, w2, b2)
    given = yours["network_backward"](x, t, h, y, w2)
    arrays = {f"the gradient of {n}": w for n, w in zip(("w1", "b1", "w2", "b2"), (w1, b1, w2, b2))}

    def loss():
        return ((yours["network_forward"](x, w1, b1, w2, b2)[1] - t) ** 2).sum() / (2 * len(x))

    yield "network_backward, numerically", against_numerical(loss, arrays, given)


def network(functions: Functions) -> float:
    data, rng = pictures(), np.random.default_rng(2)
    weights = [
        scratch.xavier_uniform((16 * 16 * 3, 32), rng),
        np.zeros(32),
        scratch.xavier_uniform((32, 10), rng),
        np.zeros(10),
    ]
    x, t, optimizer = flat(data.x), scratch.one_hot(data.labels, 10), scratch.Adam(0.02)
    for _ in range(10):
        order = rng.permutation(len(x))
        for rows in (order[i : i + 50] for i in range(0, len(x), 50)):
            h, y = functions["network_forward"](x[rows], *weights)
            gradients = functions["network_backward"](x[rows], t[rows], h, y, weights[2])
            optimizer.step(weights, gradients)
    scores = functions["network_forward"](flat(data.test_x), *weights)[1]
    return accuracy(scores, data.test_labels)


EXERCISE = Exercise(
    name="backprop",
    lesson="backprop",
    title="a network of two layers, forward and backward.",
    functions=(
        Function(network_forward, ("h", "y"), FORWARD),
        Function(
            network_backward,
            tuple(f"the gradient of {w}" for w in ("w1", "b1", "w2", "b2")),
            BACKWARD,
        ),
    ),
    cases=cases,
    numerical=numerical,
    network=network,
    task="your network on embedded pictures",
)
