"""Dropout: what chance decides is tested by its properties, not by its values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import scratch
from .comparing import array, call, structure
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures


def dropout_forward(x, rate, training, generator):
    """In training, each value becomes 0 with probability `rate`; the others are / (1 - rate).

    So their expected value stays as it was ("inverted dropout"), and nothing is done outside
    training.

    Args:
        x: (N, units).
        rate: 0 <= rate < 1, the share that is dropped.
        training: True or False.
        generator: np.random.Generator, where the chances come from: generator.random(shape).

    Returns:
        A tuple: y (N, units), and the factor that each value was multiplied by, (N, units): 0 or
        1 / (1 - rate) in training, 1 elsewhere.

    Source: Srivastava et al. (2014); CS231n, "Regularization".
    """
    layer = scratch.Dropout(rate, generator)
    y = layer.forward(x, training)
    return y, np.ones_like(x) if layer._factor is None else layer._factor


def dropout_backward(gradient, factor):
    """The gradient by x: what was multiplied by a factor on its way, is so on the way back.

    Args:
        gradient: of the loss by y, (N, units).
        factor: as `dropout_forward` returned it, (N, units).

    Returns:
        (N, units).
    """
    layer = scratch.Dropout(0.5, np.random.default_rng())
    layer._factor = factor
    return layer.backward(gradient)


UNSCALED = "dropout: not scaled by 1 / (1 - rate): what stays must grow to make up for the rest"
INFERENCE = "in inference it drops values: outside training y is x"

BACKWARD = (
    Wrong(0, "the gradient passes what was dropped: multiply it by the factor", lambda g, f: g),
    Wrong(
        0,
        "the gradient is not scaled by 1 / (1 - rate), which is in the factor",
        lambda g, f: g * (f > 0),
    ),
    Wrong(0, "the gradient is divided by the factor: multiply", lambda g, f: g / f),
    Wrong(
        0, "the gradient is scaled twice: 1 / (1 - rate) is in the factor", lambda g, f: g * f**2
    ),
    Wrong(0, "the gradient misses g: it is g times the factor", lambda g, f: f),
    Wrong(
        0, "the gradient passes what was dropped, and drops what stayed", lambda g, f: g * (f == 0)
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    found = []
    for n, units, rate in ((5, 4, 0.25), (3, 6, 0.6), (1, 8, 0.5)):
        factor = (rng.random((n, units)) >= rate) / (1 - rate)
        factor.flat[:2] = 0, 1 / (1 - rate)
        args = rng.normal(size=(n, units)), factor
        found.append(Case(args, {"images": n, "units": units}))
    return {"dropout_backward": found}


def properties(yours: Functions) -> Found:
    forward = yours["dropout_forward"]
    for rate in (0.25, 0.8, 0.5):
        words = _training(forward, rate)
        yield f"dropout_forward, training at rate {rate}", words
        if words:  # the others would say the same
            break
    else:
        yield "dropout_forward, the chances", _chances(forward)
    yield "dropout_forward, inference", _inference(forward)


def _run(forward: Any, x: Any, rate: float, training: bool, seed: int = 0) -> Any:
    """(what is wrong with the call or "", y, factor)."""
    args = (x, rate, training, np.random.default_rng(seed))
    file = getattr(getattr(forward, "__code__", None), "co_filename", "")
    outcome = call(forward, args, EXERCISE.functions[0].arguments, file)
    if outcome.raised:
        if outcome.raised.kind == "NotImplementedError":
            raise NotImplementedError
        return outcome.raised.words, None, None
    words = structure(EXERCISE.functions[0], [outcome])
    if not words and outcome.changed:
        words = f"changes {outcome.changed[0]} in place: work on a copy"
    if words:
        return words, None, None
    y, factor = (np.asarray(part) for part in outcome.value)
    if y.shape != x.shape:
        return f"y must have shape {x.shape}, has {y.shape}", None, None
    for name, found in (("y", y), ("the factor", factor)):
        if not np.isfinite(found.astype(float)).all():
            return f"{name} is not finite: does it divide by zero?", None, None
    if y.dtype != x.dtype:
        return f"y has dtype {y.dtype}: what comes in sets the type, {x.dtype}", None, None
    return "", y, factor


def _x() -> np.ndarray:
    return np.random.default_rng(3).uniform(1, 2, (300, 40))


def _training(forward: Any, rate: float) -> str:
    x, right = _x(), 1 / (1 - rate)
    words, y, factor = _run(forward, x, rate, True)
    if words:
        return words
    ratio, dropped = y / x, y == 0
    if not dropped.any():
        return f"drops nothing in training: each value becomes 0 with probability {rate}"
    if dropped.all():
        return "drops everything"
    if np.array_equal(dropped, np.broadcast_to(dropped[:1], x.shape)):
        return "drops the same units of every image: draw a chance for each value, of x.shape"
    if np.array_equal(dropped, np.broadcast_to(dropped[:, :1], x.shape)):
        return "drops whole images: draw a chance for each value, of x.shape"
    kept, share = ratio[~dropped], dropped.mean()
    if rate != 0.5 and abs(share - (1 - rate)) < 0.03:
        return f"drops {share:.0%}, with a rate of {rate}: the rate is the share dropped, not kept"
    if abs(share - rate) > 0.03:
        return f"drops {share:.0%} of the values, with a rate of {rate}"
    if not np.allclose(kept, kept[0]):
        return f"what stays must be x / (1 - rate), x times {right:.4g}; it has several factors"
    if not np.isclose(kept[0], right):
        return _scale(float(kept[0]), rate)
    if factor.shape != x.shape:
        return f"the factor must have shape {x.shape}, has {factor.shape}"
    if not np.allclose(factor * x, y):
        if np.array_equal(factor.astype(bool), ~dropped):
            return "the factor says what stays, without 1 / (1 - rate): the way back needs it too"
        return "the factor is not what x was multiplied by"
    return ""


def _scale(factor: float, rate: float) -> str:
    """What is wrong with a factor that is not 1 / (1 - rate)."""
    if np.isclose(factor, 1):
        return UNSCALED
    if np.isclose(factor, 1 / rate):
        return "scaled by 1 / rate: what stays is the share 1 - rate, so divide by that"
    if np.isclose(factor, 1 - rate):
        return "multiplied by 1 - rate: divide by it, what stays must grow"
    if np.isclose(factor, 1 / (1 - rate) ** 2):
        return "scaled by 1 / (1 - rate) twice"
    return f"what stays is multiplied by {factor:.4g}: must be 1 / (1 - rate), {1 / (1 - rate):.4g}"


def _chances(forward: Any) -> str:
    x, args = _x(), (0.5, True)
    results = [_run(forward, x, *args, seed) for seed in (0, 0, 1)]
    for words, _, _ in results:
        if words:
            return words
    zeros = [y == 0 for _, y, _ in results]
    if not np.array_equal(zeros[0], zeros[1]):
        return "draws from elsewhere than the generator it is given: a seed must repeat a run"
    if np.array_equal(zeros[0], zeros[2]) and zeros[0].any():
        return "drops the same values whatever the generator: draw from it"
    generator = np.random.default_rng(0)
    first, second = (array(forward(x.copy(), 0.5, True, generator)[0]) for _ in range(2))
    if first is not None and second is not None and np.array_equal(first == 0, second == 0):
        return "drops the same values at every call: draw anew, from the generator"
    words, y, _ = _run(forward, x, 0.0, True)
    if not words and not np.allclose(y, x):
        words = "at rate 0 y must be x"
    if words:
        return words
    negative = np.random.default_rng(4).normal(size=(200, 5))
    words, y, _ = _run(forward, negative, 0.5, True)
    near = np.isclose(y, 0) | np.isclose(y, 2 * negative) if not words else np.ones(1)
    return words or ("" if near.all() else "negative values go wrong: each is 0 or x / (1 - rate)")


def _inference(forward: Any) -> str:
    x, rate = _x(), 0.25
    words, y, factor = _run(forward, x, rate, False)
    if words:
        return words
    if (y == 0).any():
        return INFERENCE
    if np.allclose(y, x * (1 - rate)):
        return "in inference y is multiplied by 1 - rate: training has made up for it, y is x"
    if np.allclose(y, x / (1 - rate)):
        return "in inference y is divided by 1 - rate: outside training y is x"
    if not np.allclose(y, x):
        return "in inference y must be x"
    if factor.shape != x.shape:
        return f"the factor must have shape {x.shape}, has {factor.shape}"
    return "" if np.allclose(factor, 1) else "in inference the factor must be 1 everywhere"


class Swapped(scratch.Dropout):
    """A dropout made of the functions given."""

    def __init__(self, functions: Functions, rate: float) -> None:
        super().__init__(rate, np.random.default_rng(5))
        self.functions = functions

    def forward(self, x, training=False):
        forward = self.functions["dropout_forward"]
        y, self._kept = forward(x, self.rate, training, self.generator)
        return y

    def backward(self, gradient):
        return self.functions["dropout_backward"](gradient, self._kept)


def network(functions: Functions) -> float:
    rng = np.random.default_rng(2)
    first, last = affine(rng, 16 * 16 * 3, 64), affine(rng, 64, 10)
    drop = Swapped(functions, 0.4)
    net = scratch.Network(scratch.Flatten(), first, scratch.Relu(), drop, last)
    return learn(net, pictures(), epochs=6)


EXERCISE = Exercise(
    name="dropout",
    lesson="dropout",
    title="dropout, in training and in inference, forward and backward.",
    functions=(
        Function(dropout_forward, ("y", "the factor")),
        Function(dropout_backward, ("the gradient of x",), BACKWARD),
    ),
    cases=cases,
    properties=properties,
    network=network,
    task="a network with your dropout on embedded pictures",
)
