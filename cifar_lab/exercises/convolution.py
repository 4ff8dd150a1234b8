"""Convolution by im2col: every window a row, one matrix product."""

from __future__ import annotations

import numpy as np

from .. import scratch
from ..scratch import windows as sliding
from .comparing import against_numerical
from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import affine, learn, pictures
from .windows import add_windows


def im2col(x, rows, columns, stride, padding):
    """What each window of a picture sees, as a row.

    Zeros are laid around the picture first, `padding` on each side. Along an axis there are
    (size + 2 padding - window) // stride + 1 windows.

    Args:
        x: (N, height, width, C).
        rows, columns: size of the window.
        stride: pixels from one window to the next, down and across.
        padding: pixels added on each of the four sides.

    Returns:
        (N * down * across, rows * columns * C): the windows of the first picture first, row by
        row; in each, the window's rows, then columns, then channels, as reshape lays them.

    Source: CS231n, "Implementation as Matrix Multiplication".
    """
    seen = sliding.windows(_pad(x, padding), (rows, columns), (stride, stride))
    return seen.reshape(-1, rows * columns * x.shape[3])


def convolution_forward(x, kernel, bias, stride, padding):
    """Each output is the sum over a window of pixels times kernel, plus the bias.

    The kernel is not flipped: what networks call convolution is cross-correlation. With im2col it
    is one product, by kernel.reshape(-1, F), and a reshape.

    Args:
        x: (N, height, width, C).
        kernel: (rows, columns, C, F), F filters.
        bias: (F,).
        stride, padding: as of `im2col`.

    Returns:
        (N, down, across, F).

    Source: CS231n, "Convolutional Networks".
    """
    return scratch.Convolution(kernel, bias, stride).forward(_pad(x, padding))


def convolution_backward(gradient, x, kernel, stride, padding):
    """The gradients by x, the kernel and the bias.

    With the rows of im2col it is an affine layer. What comes back for each window is added to the
    pixels it saw: a pixel that k windows saw gets k gradients. What falls on the added borders is
    cut off.

    Args:
        gradient: of the loss by what `convolution_forward` gave, (N, down, across, F).
        x: (N, height, width, C).
        kernel: (rows, columns, C, F).
        stride, padding: as of `im2col`.

    Returns:
        A tuple: by x (N, height, width, C), by kernel (rows, columns, C, F), by bias (F,).

    Source: CS231n, "Convolutional Networks".
    """
    layer = scratch.Convolution(kernel, np.zeros(kernel.shape[3]), stride)
    layer.forward(_pad(x, padding))
    return _cut(layer.backward(gradient), x, padding), *layer.gradients


def _pad(x, padding):
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _cut(by_x, x, padding):
    return by_x[:, padding : padding + x.shape[1], padding : padding + x.shape[2]]


def _seen(x, rows, columns, stride, padding):
    """(N, down, across, rows, columns, C)."""
    return sliding.windows(_pad(x, padding), (rows, columns), (stride, stride))


def _ordered(*axes):
    """im2col with the axes of the windows in another order, the last three in each row."""

    def of(x, rows, columns, stride, padding):
        seen = _seen(x, rows, columns, stride, padding).transpose(axes)
        return seen.reshape(np.prod(seen.shape[:3]), -1)

    return of


def _short(x, rows, columns, stride, padding):
    """Without the + 1: the last window down and across is missing."""
    return _seen(x, rows, columns, stride, padding)[:, :-1, :-1]


def _counted(x, rows, columns, stride, padding, added):
    """As many windows as if `added` pixels had been added to each axis."""
    seen = _seen(x, rows, columns, stride, padding)
    down = (x.shape[1] + added - rows) // stride + 1
    across = (x.shape[2] + added - columns) // stride + 1
    return seen[:, :down, :across].reshape(-1, rows * columns * x.shape[3])


def _dense(x, rows, columns, stride, padding):
    """The right number of windows, one pixel apart."""
    down, across = _seen(x, rows, columns, stride, padding).shape[1:3]
    return _seen(x, rows, columns, 1, padding)[:, :down, :across]


def _convolve(seen, kernel, bias=0.0):
    """(N, down, across, rows, columns, C) by (rows, columns, C, F)."""
    return np.tensordot(seen, kernel, 3) + bias


def _y(x, kernel, bias, stride, padding):
    return convolution_forward(x, kernel, bias, stride, padding)


def _product(x, k, b, s, p):
    return im2col(x, k.shape[0], k.shape[1], s, p) @ k.reshape(-1, k.shape[3]) + b


def _mixed(x, k, b, s, p):
    """The filters made to stand before the places by reshape alone, (N, F, down, across)."""
    y = _y(x, k, b, s, p)
    return y.reshape(len(y), y.shape[3], *y.shape[1:3])


def _mixed_back(x, k, b, s, p):
    return _mixed(x, k, b, s, p).transpose(0, 2, 3, 1)


MIXED = (
    "the reshape to (N, F, down, across) mixes filters and places: reshape to (N, down, across, F)"
)
IM2COL = (
    Wrong(
        0,
        "each row has the channels first: the order is rows, columns, channels, as of the kernel",
        _ordered(0, 1, 2, 5, 3, 4),
    ),
    Wrong(0, "each row has the window's columns before its rows", _ordered(0, 1, 2, 4, 3, 5)),
    Wrong(
        0,
        "each row has the channels first, and the columns before the rows",
        _ordered(0, 1, 2, 5, 4, 3),
    ),
    Wrong(0, "the windows go column by column: they go row by row", _ordered(0, 2, 1, 3, 4, 5)),
    Wrong(
        0,
        "the pictures vary fastest: all windows of the first picture come first",
        _ordered(1, 2, 0, 3, 4, 5),
    ),
    Wrong(
        0,
        "the axes are out of order: places of the windows first, then what they see",
        _ordered(0, 3, 4, 1, 2, 5),
    ),
    Wrong(0, "the matrix is transposed: every window is a row", lambda x, *a: im2col(x, *a).T),
    Wrong(0, "the axes are still apart: reshape to (N * down * across, rows * columns * C)", _seen),
    Wrong(
        0,
        "the axes are still apart: reshape to (N * down * across, rows * columns * C)",
        lambda x, *a: (s := _seen(x, *a)).reshape(*s.shape[:3], -1),
    ),
    Wrong(0, "the stride is not heeded", lambda x, r, c, s, p: im2col(x, r, c, 1, p)),
    Wrong(0, "the padding is not heeded", lambda x, r, c, s, p: im2col(x, r, c, s, 0)),
    Wrong(
        0,
        "the last window down and across is missing: (size + 2 padding - window) // stride + 1",
        lambda x, r, c, *a: _short(x, r, c, *a).reshape(-1, r * c * x.shape[3]),
    ),
    Wrong(
        0,
        "the windows are one pixel apart: `stride`, so from i * stride to i * stride + rows",
        lambda x, r, c, s, p: _dense(x, r, c, s, p).reshape(-1, r * c * x.shape[3]),
    ),
    Wrong(
        0,
        "the number of windows counts the padding once: (size + 2 padding - window) // stride + 1",
        lambda x, r, c, s, p: _counted(x, r, c, s, p, p),
    ),
    Wrong(
        0,
        "the number of windows leaves out the padding: (size + 2 padding - window) // stride + 1",
        lambda x, r, c, s, p: _counted(x, r, c, s, p, 0),
    ),
    Wrong(
        0,
        "the borders repeat the edge: they are zeros",
        lambda x, r, c, s, p: im2col(
            np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode="edge"), r, c, s, 0
        ),
    ),
    Wrong(
        0,
        "np.pad(x, padding) adds images and channels too: only rows and columns",
        lambda x, r, c, s, p: im2col(np.pad(x, p), r, c, s, 0),
    ),
    Wrong(
        0,
        "np.pad(x, padding) adds images and channels too: only rows and columns",
        lambda x, r, c, s, p: im2col(np.pad(x, p)[: len(x)], r, c, s, 0),
    ),
    Wrong(
        0,
        "zeros are added behind only: on each of the four sides",
        lambda x, r, c, s, p: im2col(
            np.pad(x, ((0, 0), (0, 2 * p), (0, 2 * p), (0, 0))), r, c, s, 0
        ),
    ),
    Wrong(
        0,
        "rows and columns of the window are exchanged",
        lambda x, r, c, s, p: im2col(x, c, r, s, p),
    ),
)
FORWARD = (
    Wrong(
        0,
        "the kernel was flipped: this is convolution, not cross-correlation",
        lambda x, k, b, s, p: _y(x, k[::-1, ::-1], b, s, p),
    ),
    Wrong(
        0,
        "the kernel was flipped up and down: it is used as it is",
        lambda x, k, b, s, p: _y(x, k[::-1], b, s, p),
    ),
    Wrong(0, "the bias is missing", lambda x, k, b, s, p: _y(x, k, 0 * b, s, p)),
    Wrong(0, "the bias is subtracted", lambda x, k, b, s, p: _y(x, k, -b, s, p)),
    Wrong(0, "the stride is not heeded", lambda x, k, b, s, p: _y(x, k, b, 1, p)),
    Wrong(0, "the padding is not heeded", lambda x, k, b, s, p: _y(x, k, b, s, 0)),
    Wrong(
        0,
        "the last window down and across is missing: (size + 2 padding - window) // stride + 1",
        lambda x, k, b, s, p: _convolve(_short(x, k.shape[0], k.shape[1], s, p), k, b),
    ),
    Wrong(
        0,
        "the windows are one pixel apart: `stride`, so from i * stride to i * stride + rows",
        lambda x, k, b, s, p: _convolve(_dense(x, k.shape[0], k.shape[1], s, p), k, b),
    ),
    Wrong(
        0,
        "the product is still (N * down * across, F): reshape it to (N, down, across, F)",
        _product,
    ),
    Wrong(
        0,
        "the filters stand before the places, (N, F, down, across): here they are last",
        lambda *a: _y(*a).transpose(0, 3, 1, 2),
    ),
    Wrong(
        0,
        MIXED,
        _mixed,
    ),
    Wrong(
        0,
        MIXED,
        _mixed_back,
    ),
    Wrong(
        0,
        "down and across are exchanged: (N, down, across, F)",
        lambda *a: _y(*a).transpose(0, 2, 1, 3),
    ),
    Wrong(
        0,
        "the reshape exchanges down and across",
        lambda *a: (y := _y(*a)).reshape(len(y), y.shape[2], y.shape[1], y.shape[3]),
    ),
    Wrong(
        0,
        "the kernel is reshaped as if its filters came first: kernel.reshape(-1, F), no transpose",
        lambda x, k, b, s, p: _y(x, k.reshape(k.shape[3], -1).T.reshape(k.shape), b, s, p),
    ),
    Wrong(
        0,
        "the kernel's rows and columns are exchanged",
        lambda x, k, b, s, p: _y(x, k.transpose(1, 0, 2, 3), b, s, p),
    ),
    Wrong(
        0,
        "the channels are not summed over: each filter sees all of them",
        lambda x, k, b, s, p: np.einsum(
            "ndaijc,ijcf->ndacf", _seen(x, k.shape[0], k.shape[1], s, p), k
        ),
    ),
    Wrong(
        0,
        "only the first channel is seen: each filter sums over all channels",
        lambda x, k, b, s, p: _y(x[..., :1], k[:, :, :1], b, s, p),
    ),
    Wrong(
        0,
        "the bias is added for each pixel of the window: once for each output",
        lambda x, k, b, s, p: _y(x, k, b * k[..., 0].size, s, p),
    ),
    Wrong(
        0,
        "the mean over the window is taken: it is the sum",
        lambda x, k, b, s, p: _y(x, k / k[..., 0].size, b, s, p),
    ),
)


def _by_windows(g, k):
    """The gradient by what every window saw, (N, down, across, rows, columns, C)."""
    return np.tensordot(g, k, (3, 3))


def _assigned(g, x, k, s, p):
    """What "=" in place of "+=" makes: the last window that saw a pixel wins."""
    seen, out = _by_windows(g, k), np.zeros_like(_pad(x, p))
    for i, j in np.ndindex(*g.shape[1:3]):
        out[:, i * s : i * s + k.shape[0], j * s : j * s + k.shape[1]] = seen[:, i, j]
    return _cut(out, x, p)


def _assigned_by_places(g, x, k, s, p):
    seen, out = _by_windows(g, k), np.zeros_like(_pad(x, p))
    for i, j in np.ndindex(*k.shape[:2]):
        sliding.seen_by(out, i, j, g.shape[1:3], (s, s))[...] = seen[:, :, :, i, j]
    return _cut(out, x, p)


def _added(g, x, k, s, p):
    seen = _by_windows(g, k)
    return add_windows(seen, _pad(x, p).shape, (s, s))


def _by_kernel(g, x, k, s, p):
    return np.tensordot(_seen(x, k.shape[0], k.shape[1], s, p), g, ((0, 1, 2), (0, 1, 2)))


def _ragged(g, x, k, s, p):
    """By rows that were reshaped to filters first."""
    flat = g.transpose(0, 3, 1, 2).reshape(-1, k.shape[3])
    return (im2col(x, k.shape[0], k.shape[1], s, p).T @ flat).reshape(k.shape)


MANY = "a pixel that several windows saw gets one gradient alone: add them, += in place of ="
BACKWARD = (
    Wrong(0, MANY, _assigned),
    Wrong(0, MANY, _assigned_by_places),
    Wrong(
        0,
        "the windows are one pixel apart on the way back: `stride`, from i * stride on",
        lambda g, x, k, s, p: _cut(add_windows(_by_windows(g, k), _pad(x, p).shape, (1, 1)), x, p),
    ),
    Wrong(0, "the gradient of x still has the added borders: cut them off", _added),
    Wrong(
        0,
        "the gradient of x has its borders cut off, though padding is on both sides: "
        "[padding : padding + height]",
        lambda g, x, k, s, p: _added(g, x, k, s, p)[:, : x.shape[1], : x.shape[2]],
    ),
    Wrong(
        0,
        "the gradient of x has the kernel flipped on the way back: what a window saw by k[i, j] "
        "gets its gradient by k[i, j]",
        lambda g, x, k, s, p: convolution_backward(g, x, k[::-1, ::-1], s, p)[0],
    ),
    Wrong(
        0,
        "the gradient of x is divided by the number of images: the loss has done that",
        lambda g, x, k, s, p: convolution_backward(g, x, k, s, p)[0] / len(x),
    ),
    Wrong(
        1,
        "the gradient of the kernel is divided by the number of images: the loss has done that",
        lambda *a: _by_kernel(*a) / len(a[1]),
    ),
    Wrong(
        1,
        "the gradient of the kernel is flipped: the kernel is used as it is",
        lambda *a: _by_kernel(*a)[::-1, ::-1],
    ),
    Wrong(
        1,
        "the gradient of the kernel is still a matrix: reshape it to (rows, columns, C, F)",
        lambda *a: _by_kernel(*a).reshape(-1, a[2].shape[3]),
    ),
    Wrong(
        1,
        "the gradient of the kernel is transposed: it is rowsT g, (rows * columns * C, F)",
        lambda *a: _by_kernel(*a).reshape(-1, a[2].shape[3]).T,
    ),
    Wrong(
        1,
        "the gradient of the kernel is reshaped with the filters first: they are its last axis",
        lambda *a: _by_kernel(*a).reshape(-1, a[2].shape[3]).T.reshape(a[2].shape),
    ),
    Wrong(
        1,
        "the gradient is transposed before its reshape to (places, F), which mixes both",
        _ragged,
    ),
    Wrong(
        1,
        "the gradient of the kernel comes from pictures without their padding",
        lambda g, x, k, s, p: np.tensordot(
            _seen(x, k.shape[0], k.shape[1], s, 0), g, ((0, 1, 2), (0, 1, 2))
        ),
    ),
    Wrong(
        1,
        "the gradient of the kernel comes from the first picture alone",
        lambda g, x, *a: _by_kernel(g[:1], x[:1], *a),
    ),
    Wrong(
        2,
        "the gradient of the bias is summed over the images alone: over the places too",
        lambda g, *a: g.sum(0),
    ),
    Wrong(
        2,
        "the gradient of the bias is summed over the places alone: over the images too",
        lambda g, *a: g.sum((1, 2)),
    ),
    Wrong(
        2,
        "the gradient of the bias is a mean: it is the sum over images and places",
        lambda g, *a: g.mean((0, 1, 2)),
    ),
    Wrong(
        2,
        "the gradient of the bias is divided by the number of images: the loss has done that",
        lambda g, *a: g.sum((0, 1, 2)) / len(g),
    ),
    Wrong(
        2,
        "the gradient of the bias is summed over everything: each filter has its own",
        lambda g, *a: g.sum(),
    ),
    Wrong(2, "the gradient of the bias misses its sum", lambda g, *a: g),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    columns, forward, backward = [], [], []
    for n, height, width, c, rows, across, f, stride, padding in (
        (2, 6, 5, 3, 3, 3, 4, 1, 0),
        (2, 5, 7, 2, 3, 3, 3, 2, 1),
        (3, 7, 6, 2, 2, 3, 5, 1, 2),
        (1, 4, 4, 1, 2, 2, 1, 2, 0),
        (1, 8, 5, 3, 3, 2, 2, 3, 1),
    ):
        x, kernel = rng.normal(size=(n, height, width, c)), rng.normal(size=(rows, across, c, f))
        bias = rng.normal(size=f)
        sizes = {"images": n}
        note = f"{height} x {width} x {c} by {rows} x {across}, stride {stride}, padding {padding}"
        columns.append(Case((x, rows, across, stride, padding), sizes, note))
        forward.append(Case((x, kernel, bias, stride, padding), {**sizes, "filters": f}, note))
        shape = convolution_forward(x, kernel, bias, stride, padding).shape
        args = rng.normal(size=shape), x, kernel, stride, padding
        backward.append(Case(args, {**sizes, "filters": f}, note))
    return {"im2col": columns, "convolution_forward": forward, "convolution_backward": backward}


def properties(yours: Functions) -> Found:
    """By the definition, four loops: another way than scratch's own."""
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(1, 4, 5, 2)), rng.normal(size=(3, 2, 2, 2))
    y = np.asarray(yours["convolution_forward"](x.copy(), kernel.copy(), np.zeros(2), 1, 0))
    right = scratch.convolve_by_loops(x, kernel)
    ok = y.shape == right.shape and np.allclose(y, right)
    yield "convolution_forward, by loops", "" if ok else "is not the sum over each window"


def numerical(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, kernel, bias = rng.normal(size=(2, 4, 3, 2)), rng.normal(size=(2, 2, 2, 2)), np.zeros(2)
    g = rng.normal(size=(2, 3, 2, 2))
    given = yours["convolution_backward"](g.copy(), x.copy(), kernel.copy(), 2, 1)
    names = "the gradient of x", "the gradient of the kernel", "the gradient of the bias"
    loss = lambda: (yours["convolution_forward"](x, kernel, bias, 2, 1) * g).sum()  # noqa: E731
    arrays = dict(zip(names, (x, kernel, bias)))
    yield "convolution_backward, numerically", against_numerical(loss, arrays, given, 1e-4)


class Swapped(scratch.Layer):
    """A convolution made of the functions given, with a border of 1."""

    def __init__(self, functions: Functions, kernel: np.ndarray) -> None:
        super().__init__([kernel, np.zeros(kernel.shape[3])])
        self.functions = functions

    def forward(self, x, training=False):
        self._x = x
        return self.functions["convolution_forward"](x, *self.weights, 1, 1)

    def backward(self, gradient):
        backward = self.functions["convolution_backward"]
        by_x, *self.gradients = backward(gradient, self._x, self.weights[0], 1, 1)
        return by_x


def network(functions: Functions) -> float:
    rng = np.random.default_rng(2)
    net = scratch.Network(
        Swapped(functions, scratch.he_normal((3, 3, 3, 8), rng)),
        scratch.Relu(),
        scratch.MaxPooling(2),
        scratch.Flatten(),
        affine(rng, 4 * 4 * 8, 10),
    )
    return learn(net, pictures(8, 300, 200), scratch.Adam(0.01), epochs=3)


EXERCISE = Exercise(
    name="convolution",
    lesson="convolution",
    title="convolution as one matrix product (im2col), forward and backward.",
    functions=(
        Function(im2col, ("the matrix",), IM2COL),
        Function(convolution_forward, ("y",), FORWARD),
        Function(
            convolution_backward,
            ("the gradient of x", "the gradient of the kernel", "the gradient of the bias"),
            BACKWARD,
        ),
    ),
    cases=cases,
    properties=properties,
    numerical=numerical,
    network=network,
    task="a network with your convolution on embedded pictures of 8 x 8",
)
