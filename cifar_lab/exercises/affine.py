"""y = x W + b, and its three gradients."""

from __future__ import annotations

import numpy as np

from .. import scratch
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures


def affine_forward(x, w, b):
    """y = x W + b: every output is a weighted sum of all inputs, and a bias.

    Args:
        x: (N, inputs), N images.
        w: (inputs, units).
        b: (units,).

    Returns:
        (N, units).

    Source: CS231n, "Linear classification".
    """
    return scratch.Affine(w, b).forward(x)


def affine_backward(gradient, x, w):
    """The gradients of the loss by x, by W and by b.

    With g the gradient of the loss by y: x gets g WT, W gets xT g, b gets the sum of g over the
    images. The loss has divided by N already.

    Args:
        gradient: g, (N, units).
        x: (N, inputs), what went in.
        w: (inputs, units).

    Returns:
        A tuple: by x (N, inputs), by w (inputs, units), by b (units,).

    Source: CS231n, "Vector, matrix and tensor derivatives".
    """
    layer = scratch.Affine(w, np.zeros(w.shape[1]))
    layer.forward(x)
    return layer.backward(gradient), *layer.gradients


FORWARD = (
    Wrong(0, "b is missing", lambda x, w, b: x @ w),
    Wrong(0, "b is subtracted", lambda x, w, b: x @ w - b),
    Wrong(
        0,
        "W is transposed: its shape is (inputs, units), so it is x W",
        lambda x, w, b: x @ w.T + b,
    ),
    Wrong(0, "`*` multiplies entry by entry: the matrix product is `@`", lambda x, w, b: x * w + b),
    Wrong(
        0, "b is multiplied by W too: it is added after the product", lambda x, w, b: (x + b) @ w
    ),
    Wrong(0, "y is transposed: the images are its rows", lambda x, w, b: (x @ w + b).T),
)
BACKWARD = (
    Wrong(0, "the gradient of x misses the transpose: it is g WT", lambda g, x, w: g @ w),
    Wrong(0, "the gradient of x is transposed: the images are its rows", lambda g, x, w: w @ g.T),
    Wrong(0, "the gradient of x misses W: it is g WT", lambda g, x, w: g),
    Wrong(
        0, "the gradient of x misses g: it is g WT", lambda g, x, w: np.tile(w.sum(1), (len(x), 1))
    ),
    Wrong(
        0,
        "the gradient of x is divided by the number of images: the loss has done that",
        lambda g, x, w: g @ w.T / len(x),
    ),
    Wrong(
        1, "the gradient of w is transposed: it is xT g, (inputs, units)", lambda g, x, w: g.T @ x
    ),
    Wrong(
        1,
        "the gradient of w is divided by the number of images: the loss has done that",
        lambda g, x, w: x.T @ g / len(x),
    ),
    Wrong(1, "the gradient of w misses the transpose: it is xT g", lambda g, x, w: x @ g),
    Wrong(
        1,
        "`*` multiplies entry by entry: the gradient of w is the matrix product xT g",
        lambda g, x, w: x * g,
    ),
    Wrong(
        1,
        "the gradient of w comes from the first image alone: it is the sum over all",
        lambda g, x, w: np.outer(x[0], g[0]),
    ),
    Wrong(2, "the gradient of b misses the sum over the batch", lambda g, x, w: g),
    Wrong(
        2,
        "the gradient of b is summed over the units: axis 0 is the batch",
        lambda g, x, w: g.sum(1),
    ),
    Wrong(
        2,
        "the gradient of b is the mean over the batch: it is the sum, the loss has divided by N",
        lambda g, x, w: g.mean(0),
    ),
    Wrong(
        2,
        "the gradient of b is summed over everything: each unit has its own, axis=0",
        lambda g, x, w: g.sum(),
    ),
    Wrong(
        2,
        "the gradient of b keeps the axis of the batch: it must be (units,), without keepdims",
        lambda g, x, w: g.sum(0, keepdims=True),
    ),
    Wrong(
        2,
        "the gradient of b comes from one image alone: it is the sum over all",
        lambda g, x, w: g[0],
    ),
    Wrong(
        2,
        "the gradient of b comes from one image alone: it is the sum over all",
        lambda g, x, w: g[-1],
    ),
    Wrong(
        2,
        "the gradient of b misses g: it is the sum of g over the batch",
        lambda g, x, w: np.ones(g.shape[1]),
    ),
    Wrong(
        2,
        "the gradient of b misses g: it is the sum of g over the batch",
        lambda g, x, w: np.full(g.shape[1], float(len(g))),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    forward, backward = [], []
    for n, inputs, units in ((5, 4, 3), (2, 7, 4), (4, 4, 4), (1, 3, 6)):
        sizes = {"images": n, "inputs": inputs, "units": units}
        x, w, b = (
            rng.normal(size=(n, inputs)),
            rng.normal(size=(inputs, units)),
            rng.normal(size=units),
        )
        forward.append(Case((x, w, b), sizes))
        backward.append(Case((rng.normal(size=(n, units)), x, w), sizes))
    return {"affine_forward": forward, "affine_backward": backward}


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, w, b, g = (rng.normal(size=s) for s in ((3, 4), (4, 2), (2,), (3, 2)))
    given = yours["affine_backward"](g.copy(), x.copy(), w.copy())
    arrays = {"the gradient of x": x, "the gradient of w": w, "the gradient of b": b}
    loss = lambda: (yours["affine_forward"](x, w, b) * g).sum()  # noqa: E731
    yield "affine_backward, numerically", against_numerical(loss, arrays, given)


class Swapped(scratch.Affine):
    """An affine layer made of the functions given."""

    def __init__(self, functions: Functions, layer: scratch.Affine) -> None:
        super().__init__(*layer.weights)
        self.functions = functions

    def forward(self, x, training=False):
        self._x = x
        return self.functions["affine_forward"](x, *self.weights)

    def backward(self, gradient):
        by_x, *self.gradients = self.functions["affine_backward"](
            gradient, self._x, self.weights[0]
        )
        return by_x


def network(functions: Functions) -> float:
    data, rng = pictures(), np.random.default_rng(2)
    layers = [Swapped(functions, affine(rng, *s)) for s in ((16 * 16 * 3, 32), (32, 10))]
    return learn(scratch.Network(scratch.Flatten(), layers[0], scratch.Relu(), layers[1]), data)


EXERCISE = Exercise(
    name="affine",
    lesson="matrices",
    title="the layer y = x W + b, forward and backward.",
    functions=(
        Function(affine_forward, ("y",), FORWARD),
        Function(
            affine_backward,
            ("the gradient of x", "the gradient of w", "the gradient of b"),
            BACKWARD,
        ),
    ),
    cases=cases,
    numerical=numerical,
    network=network,
    task="a network of two affine layers on embedded pictures",
)
