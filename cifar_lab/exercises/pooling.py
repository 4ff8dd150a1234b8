"""Max pooling, and its gradient, which goes to the winners alone."""

from __future__ import annotations

import numpy as np

from .. import scratch
from ..scratch import windows as sliding
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures
from .windows import add_windows


def max_pool_forward(x, window, stride):
    """The largest value of each window, of each channel alone.

    Along an axis there are (size - window) // stride + 1 windows.

    Args:
        x: (N, height, width, C).
        window: rows, and columns, of a window.
        stride: pixels from one window to the next, down and across.

    Returns:
        (N, down, across, C).

    Source: CS231n, "Pooling Layer".
    """
    return scratch.MaxPooling(window, stride).forward(x)


def max_pool_backward(gradient, x, window, stride):
    """The gradient by x: each window's goes to its largest value, of equal ones to the first.

    The first is the uppermost, then leftmost. A pixel that won in several windows gets the sum.

    Args:
        gradient: of the loss by what `max_pool_forward` gave, (N, down, across, C).
        x: (N, height, width, C).
        window, stride: as of `max_pool_forward`.

    Returns:
        (N, height, width, C).

    Source: CS231n, "Pooling Layer".
    """
    layer = scratch.MaxPooling(window, stride)
    layer.forward(x)
    return layer.backward(gradient)


def _seen(x, window, stride):
    """(N, down, across, rows * columns, C)."""
    seen = sliding.windows(x, (window, window), (stride, stride))
    return seen.reshape(*seen.shape[:3], -1, x.shape[3])


def _dense(x, window, stride):
    """The right number of windows, one pixel apart."""
    down, across = _seen(x, window, stride).shape[1:3]
    return _seen(x, window, 1)[:, :down, :across]


def _dense_back(g, x, window, stride):
    return _back(_won(_dense(x, window, stride)) * g[:, :, :, None], x, window, 1)


def _back(seen, x, window, stride):
    seen = seen.reshape(*seen.shape[:3], window, window, x.shape[3])
    return add_windows(seen, x.shape, (stride, stride))


def _won(seen, last=False):
    """1 at the first largest value of each window, or at the last."""
    n = seen.shape[3]
    winner = n - 1 - seen[:, :, :, ::-1].argmax(3) if last else seen.argmax(3)
    return (np.arange(n)[:, None] == winner[:, :, :, None]).astype(float)


def _spread(share):
    """The gradient by x, with each window's shared out in another way."""

    def of(g, x, window, stride):
        seen = _seen(x, window, stride)
        return _back(share(seen) * g[:, :, :, None], x, window, stride)

    return of


def _all_equal(seen):
    return (seen == seen.max(3, keepdims=True)).astype(float)


def _assigned(g, x, window, stride):
    out = np.zeros_like(x)
    won = _won(_seen(x, window, stride))
    for i, j in np.ndindex(*g.shape[1:3]):
        part = (won[:, i, j] * g[:, i, j, None]).reshape(len(x), window, window, -1)
        rows, columns = (slice(k * stride, k * stride + window) for k in (i, j))
        out[:, rows, columns] = part
    return out


def _assigned_winners(g, x, window, stride):
    out, winner = np.zeros_like(x), _seen(x, window, stride).argmax(3)
    for n, i, j, c in np.ndindex(*g.shape):
        row, column = divmod(int(winner[n, i, j, c]), window)
        out[n, i * stride + row, j * stride + column, c] = g[n, i, j, c]
    return out


def _over_channels(x, window, stride):
    return np.repeat(_seen(x, window, stride).max((3, 4))[..., None], x.shape[3], 3)


FORWARD = (
    Wrong(
        0,
        "this is average pooling: the largest value of each window",
        lambda x, w, s: _seen(x, w, s).mean(3),
    ),
    Wrong(
        0,
        "this is the smallest value of each window: the largest",
        lambda x, w, s: _seen(x, w, s).min(3),
    ),
    Wrong(
        0,
        "this is the sum of each window: its largest value",
        lambda x, w, s: _seen(x, w, s).sum(3),
    ),
    Wrong(
        0, "the largest is taken over the channels too: each channel has its own", _over_channels
    ),
    Wrong(
        0,
        "the largest is taken over the channels too: each channel has its own",
        lambda x, w, s: _seen(x, w, s).max((3, 4)),
    ),
    Wrong(
        0,
        "negative values are lost: the largest of a window may be below 0",
        lambda x, w, s: np.maximum(_seen(x, w, s).max(3), 0),
    ),
    Wrong(
        0,
        "the largest absolute value is taken: the largest value",
        lambda x, w, s: np.abs(_seen(x, w, s)).max(3),
    ),
    Wrong(
        0,
        "the stride is not heeded: windows are `stride` apart, not `window`",
        lambda x, w, s: _seen(x, w, w).max(3),
    ),
    Wrong(
        0,
        "the stride is not heeded: windows are `stride` apart, not 1",
        lambda x, w, s: _seen(x, w, 1).max(3),
    ),
    Wrong(
        0,
        "the windows are one pixel apart: `stride`, so from i * stride to i * stride + window",
        lambda x, w, s: _dense(x, w, s).max(3),
    ),
    Wrong(
        0,
        "the window is not heeded: it is `window` wide, not `stride`",
        lambda x, w, s: _seen(x, s, s).max(3),
    ),
    Wrong(
        0,
        "the last window down and across is missing: (size - window) // stride + 1",
        lambda x, w, s: _seen(x, w, s).max(3)[:, :-1, :-1],
    ),
    Wrong(
        0,
        "down and across are exchanged",
        lambda x, w, s: _seen(x, w, s).max(3).transpose(0, 2, 1, 3),
    ),
    Wrong(
        0,
        "the window is one pixel short: rows i * stride to i * stride + window, that one excluded",
        lambda x, w, s: sliding.windows(x, (w, w), (s, s))[:, :, :, :-1, :-1].max((3, 4)),
    ),
    Wrong(
        0,
        "the channels stand before the places: (N, down, across, C)",
        lambda x, w, s: _seen(x, w, s).max(3).transpose(0, 3, 1, 2),
    ),
    Wrong(
        0,
        "the upper left pixel of each window is taken: the largest",
        lambda x, w, s: _seen(x, w, s)[:, :, :, 0],
    ),
    Wrong(
        0,
        "this is the largest value of the whole picture: of each window",
        lambda x, w, s: x.max((1, 2)),
    ),
)
TIES = "equal largest values all get the whole gradient: of equal ones only the first gets it"
BACKWARD = (
    Wrong(0, TIES, _spread(_all_equal)),
    Wrong(
        0,
        "equal largest values share the gradient: here the first gets all of it",
        _spread(lambda seen: (a := _all_equal(seen)) / a.sum(3, keepdims=True)),
    ),
    Wrong(
        0,
        "of equal largest values the last gets the gradient: the first",
        _spread(lambda seen: _won(seen, last=True)),
    ),
    Wrong(
        0,
        "a pixel that won in several windows gets one gradient alone: add them, += in place of =",
        _assigned,
    ),
    Wrong(
        0,
        "a pixel that won in several windows gets one gradient alone: add them, += in place of =",
        _assigned_winners,
    ),
    Wrong(
        0,
        "the gradient is spread over the window: it goes to the largest value alone",
        _spread(lambda seen: np.full_like(seen, 1 / seen.shape[3])),
    ),
    Wrong(
        0,
        "the gradient goes to every pixel of the window: to the largest value alone",
        _spread(np.ones_like),
    ),
    Wrong(
        0,
        "the gradient always goes to the upper left pixel of the window: to the largest value",
        _spread(lambda seen: (np.arange(seen.shape[3])[:, None] == 0) * np.ones_like(seen)),
    ),
    Wrong(
        0,
        "the gradient is multiplied by the largest value: its derivative is 1",
        _spread(lambda seen: _won(seen) * seen),
    ),
    Wrong(
        0,
        "the gradient is divided by the size of the window: the winner gets all of it",
        _spread(lambda seen: _won(seen) / seen.shape[3]),
    ),
    Wrong(
        0,
        "the gradient that comes from behind is missing: 1 at the winners, times it",
        lambda g, x, w, s: _back(_won(_seen(x, w, s)), x, w, s),
    ),
    Wrong(
        0,
        "the gradient goes to the smallest value: to the largest",
        _spread(lambda seen: _won(-seen)),
    ),
    Wrong(
        0,
        "the largest is looked for over all channels: each channel has its own winner",
        _spread(lambda seen: (seen == seen.max((3, 4), keepdims=True)).astype(float)),
    ),
    Wrong(
        0,
        "the windows are one pixel apart: `stride`, so from i * stride to i * stride + window",
        _dense_back,
    ),
    Wrong(
        0,
        "the stride is not heeded: windows are `stride` apart, not `window`",
        lambda g, x, w, s: max_pool_backward(g, x, w, w),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    forward, backward = [], []

    def add(x, window, stride, note=""):
        n, height, width, c = x.shape
        sizes = {"images": n, "channels": c}
        note = f"{height} x {width}, window {window}, stride {stride}{note}"
        forward.append(Case((x, window, stride), sizes, note))
        shape = max_pool_forward(x, window, stride).shape
        backward.append(Case((rng.normal(size=shape), x, window, stride), sizes, note))

    add(rng.normal(size=(2, 4, 6, 3)), 2, 2)
    add(rng.normal(size=(3, 7, 5, 2)), 3, 2)
    add(rng.normal(size=(1, 5, 4, 1)), 2, 1)
    add(rng.normal(-2, 0.5, (2, 6, 7, 2)), 2, 3, ", negative")
    add(rng.integers(0, 2, (2, 4, 6, 2)).astype(float), 2, 2, ", with equal values")
    return {"max_pool_forward": forward, "max_pool_backward": backward}


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, g = rng.permutation(2 * 5 * 4 * 2).reshape(2, 5, 4, 2) / 10.0, rng.normal(size=(2, 2, 1, 2))
    given = yours["max_pool_backward"](g.copy(), x.copy(), 3, 2)
    loss = lambda: (yours["max_pool_forward"](x, 3, 2) * g).sum()  # noqa: E731
    words = against_numerical(loss, {"the gradient of x": x}, [given])
    yield "max_pool_backward, numerically", words


class Swapped(scratch.Layer):
    """A pooling made of the functions given, of 2 x 2."""

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x, training=False):
        self._x = x
        return self.functions["max_pool_forward"](x, 2, 2)

    def backward(self, gradient):
        return self.functions["max_pool_backward"](gradient, self._x, 2, 2)


def network(functions: Functions) -> float:
    rng = np.random.default_rng(2)
    kernel = scratch.he_normal((3, 3, 3, 8), rng)
    net = scratch.Network(
        scratch.Convolution(kernel, np.zeros(8), padding="same"),
        scratch.Relu(),
        Swapped(functions),
        scratch.Flatten(),
        affine(rng, 4 * 4 * 8, 10),
    )
    return learn(net, pictures(8, 300, 200), scratch.Adam(0.01), epochs=3)


EXERCISE = Exercise(
    name="pooling",
    lesson="pooling",
    title="max pooling, forward and backward.",
    functions=(
        Function(max_pool_forward, ("y",), FORWARD),
        Function(max_pool_backward, ("the gradient of x",), BACKWARD),
    ),
    cases=cases,
    numerical=numerical,
    network=network,
    task="a network with your pooling on embedded pictures of 8 x 8",
)
