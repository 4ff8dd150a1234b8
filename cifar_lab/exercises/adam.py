"""One step of Adam."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures


def adam_step(w, gradient, m, v, t, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """One step: m and v are moving means of the gradient and its square; w follows m / sqrt(v).

    m = beta_1 m + (1 - beta_1) g, v = beta_2 v + (1 - beta_2) g^2. Both begin at 0, and so are too
    small at first: mh = m / (1 - beta_1^t), vh = v / (1 - beta_2^t) make up for it. Then
    w = w - learning_rate mh / (sqrt(vh) + epsilon).

    Args:
        w: the weight, any shape.
        gradient: g, of the loss by w, the same shape.
        m, v: what the last step returned, 0 before the first; the same shape.
        t: number of this step, 1 for the first.
        learning_rate, beta_1, beta_2, epsilon: numbers.

    Returns:
        A tuple: the new w, m and v, as new arrays; m and v without the correction.

    Source: Kingma and Ba (2015), algorithm 1.
    """
    memory = {"mean": m.copy(), "mean_square": v.copy()}
    # scratch's epsilon is the paper's "epsilon hat", beside the root of the uncorrected v
    hat = epsilon * np.sqrt(1 - beta_2**t)
    optimizer, w = scratch.Adam(learning_rate, beta_1, beta_2, hat), w.copy()
    optimizer.steps = t
    optimizer.update(w, gradient, memory)
    return w, memory["mean"], memory["mean_square"]


def _step(bend, first=None, second=None):
    """w after a step of another rule: `bend` of the new m and v, their corrections, and g."""

    def of(w, g, m, v, t, rate, b1, b2, e):
        m = b1 * m + (1 - b1) * g if first is None else first(m, g, b1, b2)
        v = b2 * v + (1 - b2) * g**2 if second is None else second(v, g, b1, b2, m)
        return w - rate * bend(m, v, 1 - b1**t, 1 - b2**t, g, e, t, b1, b2)

    return of


def _rule(m, v, c1, c2, g, e, *_):
    return (m / c1) / (np.sqrt(v / c2) + e)


def _m(w, g, m, v, t, rate, b1, b2, e):
    return b1 * m + (1 - b1) * g


def _v(w, g, m, v, t, rate, b1, b2, e):
    return b2 * v + (1 - b2) * g**2


def _memory(words, output, first=None, second=None):
    """A mistake in m or v: a row for it, and one for the w that follows from it."""

    def of(w, g, m, v, t, rate, b1, b2, e):
        return first(m, g, b1, b2) if first else second(v, g, b1, b2, b1 * m + (1 - b1) * g)

    return (Wrong(output, words, of), Wrong(0, words, _step(_rule, first, second)))


LONG = (
    "Adam without bias correction: the first step is 3.16 times as long; divide m by 1 - beta_1^t "
    "and v by 1 - beta_2^t"
)
WRONG = (
    Wrong(0, LONG, _step(lambda m, v, c1, c2, g, e, *_: m / (np.sqrt(v) + e))),
    Wrong(
        0,
        "v is not corrected: divide it by 1 - beta_2^t before the root",
        _step(lambda m, v, c1, c2, g, e, *_: m / c1 / (np.sqrt(v) + e)),
    ),
    Wrong(
        0,
        "m is not corrected: divide it by 1 - beta_1^t",
        _step(lambda m, v, c1, c2, g, e, *_: m / (np.sqrt(v / c2) + e)),
    ),
    Wrong(
        0,
        "epsilon is inside the root: sqrt(vh) + epsilon",
        _step(lambda m, v, c1, c2, g, e, *_: m / c1 / np.sqrt(v / c2 + e)),
    ),
    Wrong(
        0,
        "epsilon is missing: where the gradient was always 0 it divides by zero",
        _step(lambda m, v, c1, c2, *_: m / c1 / np.sqrt(v / c2)),
    ),
    Wrong(
        0, "the step goes uphill: w minus the learning rate times ...", _step(lambda *a: -_rule(*a))
    ),
    Wrong(
        0, "the root of v is missing", _step(lambda m, v, c1, c2, g, e, *_: m / c1 / (v / c2 + e))
    ),
    Wrong(
        0,
        "the gradient moves w, not its moving mean m: this is RMSProp",
        _step(lambda m, v, c1, c2, g, e, *_: g / (np.sqrt(v / c2) + e)),
    ),
    Wrong(0, "v is not used: this is momentum", _step(lambda m, v, c1, *_: m / c1)),
    Wrong(
        0,
        "the corrections take t + 1: t is 1 at the first step already",
        _step(
            lambda m, v, c1, c2, g, e, t, b1, b2: _rule(
                m, v, 1 - b1 ** (t + 1), 1 - b2 ** (t + 1), g, e
            )
        ),
    ),
    Wrong(
        0,
        "the corrections take t - 1: t is 1 at the first step already",
        _step(
            lambda m, v, c1, c2, g, e, t, b1, b2: _rule(
                m, v, 1 - b1 ** (t - 1), 1 - b2 ** (t - 1), g, e
            )
        ),
    ),
    Wrong(
        0,
        "the corrections miss t: 1 - beta_1^t, not 1 - beta_1",
        _step(lambda m, v, c1, c2, g, e, t, b1, b2: _rule(m, v, 1 - b1, 1 - b2, g, e)),
    ),
    Wrong(
        0,
        "the corrections take beta * t: it is beta to the power of t",
        _step(lambda m, v, c1, c2, g, e, t, b1, b2: _rule(m, v, 1 - b1 * t, 1 - b2 * t, g, e)),
    ),
    Wrong(
        0,
        "the corrections are exchanged: m by beta_1, v by beta_2",
        _step(lambda m, v, c1, c2, g, e, *_: _rule(m, v, c2, c1, g, e)),
    ),
    Wrong(
        0,
        "m and v are multiplied by the corrections: divide by them",
        _step(lambda m, v, c1, c2, g, e, *_: m * c1 / (np.sqrt(v * c2) + e)),
    ),
    Wrong(0, "w is the step alone: take it from w", lambda w, *a: _step(_rule)(0 * w, *a)),
    Wrong(
        0,
        "w moves by the m and v of the last step: update them first",
        lambda w, g, m, v, t, rate, b1, b2, e: (
            w - rate * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + e)
        ),
    ),
    *_memory(
        "m has its shares exchanged: beta_1 of the old m, 1 - beta_1 of the gradient",
        1,
        lambda m, g, b1, b2: (1 - b1) * m + b1 * g,
    ),
    *_memory("m misses the factor 1 - beta_1 at the gradient", 1, lambda m, g, b1, b2: b1 * m + g),
    *_memory(
        "m forgets nothing: beta_1 times the old m is missing",
        1,
        lambda m, g, b1, b2: m + (1 - b1) * g,
    ),
    *_memory("m takes beta_2: it is beta_1's", 1, lambda m, g, b1, b2: b2 * m + (1 - b2) * g),
    *_memory(
        "v has its shares exchanged: beta_2 of the old v, 1 - beta_2 of the square",
        2,
        None,
        lambda v, g, b1, b2, m: (1 - b2) * v + b2 * g**2,
    ),
    *_memory(
        "v misses the factor 1 - beta_2 at the square",
        2,
        None,
        lambda v, g, b1, b2, m: b2 * v + g**2,
    ),
    *_memory(
        "v takes the gradient without its square",
        2,
        None,
        lambda v, g, b1, b2, m: b2 * v + (1 - b2) * g,
    ),
    *_memory(
        "v takes the absolute gradient: its square",
        2,
        None,
        lambda v, g, b1, b2, m: b2 * v + (1 - b2) * np.abs(g),
    ),
    *_memory(
        "v takes beta_1: it is beta_2's", 2, None, lambda v, g, b1, b2, m: b1 * v + (1 - b1) * g**2
    ),
    *_memory(
        "v takes the square of m: of the gradient",
        2,
        None,
        lambda v, g, b1, b2, m: b2 * v + (1 - b2) * m**2,
    ),
    *_memory(
        "v squares its factor too: (1 - beta_2) g^2",
        2,
        None,
        lambda v, g, b1, b2, m: b2 * v + ((1 - b2) * g) ** 2,
    ),
    Wrong(
        1,
        "m is returned corrected: return it as it was before, or it is corrected again and again",
        lambda w, g, m, v, t, rate, b1, b2, e: _m(w, g, m, v, t, rate, b1, b2, e) / (1 - b1**t),
    ),
    Wrong(
        2,
        "v is returned corrected: return it as it was before, or it is corrected again and again",
        lambda w, g, m, v, t, rate, b1, b2, e: _v(w, g, m, v, t, rate, b1, b2, e) / (1 - b2**t),
    ),
    Wrong(1, "m does not follow the gradient: return the new one", lambda w, g, m, *_: m),
    Wrong(2, "v does not follow the gradient: return the new one", lambda w, g, m, v, *_: v),
    Wrong(
        1,
        "the weight decays into m",
        lambda w, g, m, v, t, rate, b1, b2, e: b1 * m + (1 - b1) * (g + w),
    ),
    Wrong(
        0,
        "the learning rate is missing",
        lambda w, g, m, v, t, rate, *a: _step(_rule)(w, g, m, v, t, 1.0, *a),
    ),
    Wrong(0, "w does not move", lambda w, *_: w),
)
# the paper's "epsilon hat", as Keras computes it
ACCEPTED = (
    Wrong(0, "", _step(lambda m, v, c1, c2, g, e, *_: np.sqrt(c2) / c1 * m / (np.sqrt(v) + e))),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    found = []
    for shape, t, rate, b1, b2 in (
        ((3, 4), 1, 0.1, 0.9, 0.999),
        ((5,), 2, 0.05, 0.8, 0.95),
        ((2, 3, 2), 7, 0.2, 0.9, 0.99),
    ):
        w, g = rng.normal(size=(2, *shape))
        m, v = (np.zeros(shape), np.zeros(shape)) if t == 1 else (rng.normal(size=shape), g**2 + 1)
        args = w, g, m, v, t, rate, b1, b2, 0.01
        found.append(Case(args, {}, f"a weight of shape {shape}, step {t}"))
    nothing = np.zeros(3)
    args = np.ones(3), nothing, nothing, nothing, 1, 0.1, 0.9, 0.999, 1e-8
    hint = "where the gradient was always 0 it divides by zero: add epsilon to the root"
    found.append(Case(args, {}, "a gradient of 0", hint))
    return {"adam_step": found}


def properties(yours: Functions) -> Found:
    """The first step is as long as the learning rate, whatever the gradient; w comes to rest."""
    step = yours["adam_step"]
    zero, rate = np.zeros(3), 0.1
    for_all = np.array([1e-2, 3.0, -200.0])
    w = np.asarray(
        step(zero.copy(), for_all, zero.copy(), zero.copy(), 1, rate, 0.9, 0.999, 1e-8)[0]
    )
    wrong = w.shape != (3,) or not np.allclose(np.abs(w), rate, rtol=1e-3)
    words = "must be as long as the learning rate, for every gradient"
    if wrong and w.shape == (3,):
        words += f": is {abs(float(w[1])) / rate:.3g} times as long"
    yield "adam_step, the first step", words if wrong else ""
    w, m, v = np.array([2.0, -1.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 301):
        w, m, v = step(w, 2 * w, m, v, t, 0.05, 0.9, 0.999, 1e-8)
    end = float(np.abs(w).max())
    words = f"300 steps down w^2 must end near 0, end at {end:.3g}"
    yield "adam_step, down a valley", "" if end < 0.05 else words


class Swapped(scratch.Optimizer):
    """Adam by the step given."""

    def __init__(self, functions: Functions, learning_rate: float) -> None:
        super().__init__(learning_rate)
        self.functions = functions

    def update(self, w, g, memory):
        m, v = memory.get("m", np.zeros_like(w)), memory.get("v", np.zeros_like(w))
        new, memory["m"], memory["v"] = self.functions["adam_step"](
            w, g, m, v, self.steps, self.learning_rate, 0.9, 0.999, 1e-8
        )
        w[...] = new


def network(functions: Functions) -> float:
    rng = np.random.default_rng(2)
    layers = affine(rng, 16 * 16 * 3, 32), scratch.Relu(), affine(rng, 32, 10)
    net = scratch.Network(scratch.Flatten(), *layers)
    return learn(net, pictures(), Swapped(functions, 0.003))


EXERCISE = Exercise(
    name="adam",
    lesson="optimizers",
    title="one step of the optimizer Adam.",
    functions=(Function(adam_step, ("w", "m", "v"), WRONG, ACCEPTED),),
    cases=cases,
    properties=properties,
    network=network,
    task="a network that learns embedded pictures by your Adam",
)
