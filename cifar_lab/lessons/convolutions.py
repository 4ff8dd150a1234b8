"""Convolution and pooling: their sizes, and what they do to a picture."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from .. import bundles, scratch
from ..explaining.filters import cosines, scharr, sobel, stretched
from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources

RUNG = "cifar10-88"  # whose first filters are shown
POOLED = 500  # digits whose shifts are measured

VERTICAL = np.outer([1, 1, 1], [1, 0, -1])
SOBEL = sobel()
SCHARR = scharr()
EDGES = {"vertical": VERTICAL, "Sobel": SOBEL, "Scharr": SCHARR}


# --- convolution ----------------------------------------------------------------------------------


def convolution(sources: Sources) -> Outcome:
    """Sizes, stride and padding; and the flip between convolution and cross-correlation."""
    ten = scratch.Convolution(np.zeros((3, 3, 3, 10), np.float32))
    one = np.ones((1, 7, 7, 1))
    sides = {s: (7 - 3) / s + 1 for s in (1, 2, 3)}  # (picture - filter) / stride + 1
    fitted = {
        s: scratch.Convolution(np.ones((3, 3, 1, 1)), strides=s).forward(one).shape[1]
        for s in sides
    }
    padded = scratch.Convolution(np.ones((3, 3, 1, 1)), padding="same").forward(one)

    dot = np.zeros((7, 7))
    dot[3, 3] = 1
    kernel = np.arange(1.0, 10).reshape(3, 3)
    correlated = _correlate(dot, kernel)
    convolved = _correlate(dot, kernel[::-1, ::-1])

    def draw(figure):
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.25))
        for axes, (title, values) in zip(
            above.subplots(1, 4),
            {
                "a picture with one bright pixel": dot,
                "the filter": kernel,
                "cross-correlation: turned around": correlated,
                "convolution: as it is": convolved,
            }.items(),
            strict=True,
        ):
            show_image(axes, values, title)
            for (row, column), value in np.ndenumerate(values):
                if value:
                    colour = "black" if value > values.max() / 2 else "white"
                    axes.text(column, row, f"{value:g}", ha="center", va="center", color=colour)
        for axes, stride in zip(below.subplots(1, 3), sides, strict=True):
            _draw_strides(axes, stride, fitted[stride])

    return Outcome(
        numbers=[
            Number(
                "39 x 39 x 3 through ten 3 x 3 filters",
                ten.forward(np.zeros((1, 39, 39, 3), np.float32)).shape[1:],
                [37, 37, 10],
                why="each filter is 3 x 3 x 3, as deep as the picture, and gives one channel",
            ),
            Number("7 x 7, a 3 x 3 filter, stride 1: side", sides[1], 5),
            Number("the same, stride 2", sides[2], 3),
            Number(
                "the same, stride 3",
                sides[3],
                7 / 3,
                why=f"not whole: it does not fit; libraries stop at {fitted[3]} and leave a row "
                "and a column unseen",
            ),
            Number("the same, stride 1, a border of 1", padded.shape[1], 7),
            *_lenet_shapes(),
            Number(
                "a dot through cross-correlation",
                correlated[2:5, 2:5].tolist(),
                [[9, 8, 7], [6, 5, 4], [3, 2, 1]],
            ),
            Number(
                "a dot through convolution",
                convolved[2:5, 2:5].tolist(),
                [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
            ),
        ],
        seen="A side of n pixels, a filter of f and a stride of s give (n - f) / s + 1 places, and "
        "only whole numbers fit. Signal processing turns the filter around before it slides, "
        "networks do not: what they call convolution is cross-correlation. Since the filter is "
        "learned, nothing is lost.",
        draw=draw,
        height=5.6,
    )


def _correlate(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(height, width) seen through a filter (rows, columns), the borders filled with 0."""
    layer = scratch.Convolution(kernel[:, :, None, None].astype(picture.dtype), padding="same")
    return layer.forward(picture[None, :, :, None])[0, :, :, 0]


def _lenet_shapes() -> list[Number]:
    """LeNet-5's shapes, from its layers: height, width, channels."""
    x = np.zeros((1, 32, 32, 1), np.float32)
    numbers = []
    for name, layer, expected in (
        ("LeNet, 6 filters of 5 x 5 on 32 x 32", _filters(5, 1, 6), [28, 28, 6]),
        ("LeNet, pooled 2 x 2", scratch.AveragePooling(2), [14, 14, 6]),
        ("LeNet, 16 filters of 5 x 5", _filters(5, 6, 16), [10, 10, 16]),
        ("LeNet, pooled 2 x 2 again", scratch.AveragePooling(2), [5, 5, 16]),
        ("LeNet, as one row", scratch.Flatten(), [400]),
    ):
        x = layer.forward(x)
        numbers.append(Number(name, x.shape[1:], expected))
    return numbers


def _filters(side: int, channels: int, count: int) -> scratch.Convolution:
    return scratch.Convolution(np.zeros((side, side, channels, count), np.float32))


def _draw_strides(axes, stride, fits):
    """Where a 3 x 3 filter lands in 7 x 7 pixels; what no place covers is hatched."""
    from matplotlib.patches import Rectangle

    end = stride * (fits - 1) + 3
    for i in range(8):
        axes.plot([0, 7], [i, i], color="0.8", linewidth=1)
        axes.plot([i, i], [0, 7], color="0.8", linewidth=1)
    for row in range(fits):
        for column in range(fits):
            at = (stride * column + 0.12, stride * row + 0.12)
            axes.add_patch(Rectangle(at, 2.76, 2.76, fill=True, color="tab:blue", alpha=0.12))
    for column in range(fits):
        axes.add_patch(
            Rectangle(
                (stride * column + 0.12, 0.12),
                2.76,
                2.76,
                fill=False,
                color=f"C{column}",
                linewidth=2,
            )
        )
    if end < 7:
        for corner, width, height in (((end, 0), 7 - end, 7), ((0, end), end, 7 - end)):
            axes.add_patch(
                Rectangle(
                    corner, width, height, fill=False, hatch="///", edgecolor="tab:red", linewidth=0
                )
            )
    fit = f"{fits} x {fits} places" if end == 7 else f"{fits} x {fits}, and a rest: does not fit"
    axes.set(xlim=(-0.1, 7.1), ylim=(7.1, -0.1), xticks=[], yticks=[], aspect="equal")
    axes.set_title(f"stride {stride}: {fit}", fontsize=9)


# --- edges ----------------------------------------------------------------------------------------


def edges(sources: Sources) -> Outcome:
    """Filters made by hand on a photo, beside those that a network learned."""
    photo = sources.one_photo()
    grey = photo @ np.array([0.299, 0.587, 0.114])
    across = {name: _within(grey, kernel) for name, kernel in EDGES.items()}
    strength = np.hypot(across["Sobel"], _within(grey, SOBEL.T))
    step = np.repeat([[0.0, 0, 0, 1, 1, 1]], 6, 0)
    wrong = {name: _direction_error(kernel) for name, kernel in EDGES.items()}

    learned = _first_filters()
    alike = _likeness_to_sobel(learned)
    best = int(alike.argmax())
    kernel = learned[..., best]
    seen = scratch.Convolution(kernel[..., None]).forward(photo[None].astype(kernel.dtype))
    through = seen[0, :, :, 0]

    def draw(figure):
        axes = figure.subplots(2, 4)
        show_image(axes[0, 0], photo, "the photo")
        for place, (name, values) in zip(axes[0, 1:], across.items(), strict=True):
            _show_signed(
                place, values, f"{name} edges" if name == "vertical" else f"{name}, across"
            )
        show_image(axes[1, 0], strength, "Sobel, both directions:\nhow strong")
        show_image(axes[1, 1], _sheet(learned), f"{learned.shape[3]} filters that\n{RUNG} learned")
        show_image(
            axes[1, 2], stretched(kernel), f"the one most like a\nSobel filter ({alike[best]:.2f})"
        )
        _show_signed(
            axes[1, 3], through - through.mean(), "the photo through it,\nwithout the mean"
        )

    return Outcome(
        numbers=[
            *(
                Number(f"{name}, at a step of 1 across", abs(_within(step, kernel)).max(), top)
                for (name, kernel), top in zip(EDGES.items(), (3, 4, 16), strict=True)
            ),
            Number("all three, at a step down", abs(_within(step.T, VERTICAL)).max(), 0),
            *(
                Number(f"{name}: error of an edge's direction, degrees at most", degrees)
                for name, degrees in wrong.items()
            ),
            Number(f"filters that {RUNG} has in its first layer", learned.shape[3], 32),
            Number(
                "of these, alike a turned Sobel filter by 0.8 or more", int((alike > 0.8).sum())
            ),
            Number("the likest of them", float(alike[best])),
            Number(
                "filters whose weights died, all zero",
                int((abs(learned).max((0, 1, 2)) < 1e-6).sum()),
            ),
        ],
        seen="Each filter answers where brightness changes across it and is silent where nothing "
        "changes: red and blue are the two directions of a step. Scharr's weights tell the "
        "direction of an edge most exactly. No one drew the filters that the network has: some "
        "look for edges like these, others for spots and colours.",
        draw=draw,
        height=5.4,
        data="your photo" if sources.photo else "a drawn scene",
    )


def _within(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """As `_correlate`, where the filter lies wholly inside."""
    layer = scratch.Convolution(kernel[:, :, None, None].astype(float))
    return layer.forward(picture[None, :, :, None])[0, :, :, 0]


def _direction_error(kernel: np.ndarray, wavelength: float = 6) -> float:
    """The greatest error, in degrees, of the direction that a filter and its transpose tell of
    waves of this length in pixels."""
    y, x = np.mgrid[-1:2, -1:2]
    worst = 0.0
    for angle in np.radians(np.arange(0, 45.1, 0.5)):
        wave = np.sin(2 * np.pi / wavelength * (np.cos(angle) * x + np.sin(angle) * y))
        told = np.arctan2(abs((kernel.T * wave).sum()), abs((kernel * wave).sum()))
        worst = max(worst, abs(np.degrees(told - angle)))
    return float(worst)


def _first_filters() -> np.ndarray:
    """The kernel of the trained rung's first convolution, float32 (rows, columns, 3, F), read from
    its file without starting Keras."""
    import h5py  # Keras needs it

    with (
        zipfile.ZipFile(bundles.find(RUNG) / "model.keras") as model,
        h5py.File(io.BytesIO(model.read("model.weights.h5"))) as weights,
    ):
        return np.array(weights["layers/conv2d/vars/0"])


def _likeness_to_sobel(kernels: np.ndarray) -> np.ndarray:
    """How alike each filter, its colours added, is to a Sobel filter turned as fits best: (F,),
    0 to 1, the cosine between the two; 0 for a filter of zeros."""
    grey = kernels.sum(2)
    return np.hypot(cosines(grey, SOBEL), cosines(grey, SOBEL.T))  # the two are perpendicular


def _sheet(kernels: np.ndarray, columns: int = 6) -> np.ndarray:
    """Filters side by side, a white line between them."""
    tiles = [
        np.pad(stretched(kernels[..., i]), ((0, 1), (0, 1), (0, 0)), constant_values=1)
        for i in range(kernels.shape[3])
    ]
    tiles += [np.ones_like(tiles[0])] * (-len(tiles) % columns)
    return np.concatenate(
        [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    )


def _show_signed(axes, values, title):
    """Values around 0: blue below, white at 0, red above."""
    most = np.percentile(abs(values), 99) or 1
    show_image(axes, values, title, cmap="RdBu_r", vmin=-most, vmax=most)


# --- pooling --------------------------------------------------------------------------------------


def pooling(sources: Sources) -> Outcome:
    """The largest and the mean of each window, forward and backward; and what a shift changes."""
    example = np.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    one = example[None, :, :, None]
    largest, mean = scratch.MaxPooling(2), scratch.AveragePooling(2)
    tops, means = (layer.forward(one)[0, :, :, 0] for layer in (largest, mean))
    ones = np.ones((1, 2, 2, 1))
    back = largest.backward(ones)[0, :, :, 0]

    digits = sources.digits()
    pictures = digits.train_images[:POOLED].astype(np.float64)
    changes = {
        name: [_change(pictures, layer, pixels) for pixels in range(5)]
        for name, layer in {
            "the picture itself": None,
            "every second pixel": scratch.Convolution(np.ones((1, 1, 1, 1)), strides=2),
            "max, 2 x 2": scratch.MaxPooling(2),
            "average, 2 x 2": scratch.AveragePooling(2),
            "max, 4 x 4": scratch.MaxPooling(4),
            "average, 4 x 4": scratch.AveragePooling(4),
            "average of all": scratch.AveragePooling(28),
        }.items()
    }
    moved = np.roll(pictures, 2, 2)
    equal = abs(largest.forward(moved) - np.roll(largest.forward(pictures), 1, 2)).max()

    def draw(figure):
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
        shown = pictures[:1], np.roll(pictures[:1], 1, 2)
        for row, layer, name in zip(
            left.subplots(3, 2),
            (None, largest, mean),
            ("picture", "max 2 x 2", "average 2 x 2"),
            strict=True,
        ):
            for axes, picture, how in zip(row, shown, ("", ", a pixel to the right"), strict=True):
                show_image(axes, (layer.forward(picture) if layer else picture)[0], name + how)
        axes = right.subplots()
        for name, values in changes.items():
            axes.plot(100 * np.array(values), "o-", markersize=4, label=name)
        label(axes, "shift to the right, pixels", "change, % of what was there")
        axes.set_xticks(range(5))
        axes.set_ylim(0, None)
        axes.legend(fontsize=8)

    after = {name: 100 * values[1] for name, values in changes.items()}
    return Outcome(
        numbers=[
            Number("max of 2 x 2", tops.tolist(), [[6, 8], [3, 4]]),
            Number("average of 2 x 2", means.tolist(), [[3.25, 5.25], [2, 2]]),
            Number(
                "gradient of 1 from each maximum, back",
                back.tolist(),
                [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]],
            ),
            Number(
                "weights of a pooling",
                sum(w.size for w in largest.weights),
                0,
            ),
            *(
                Number(f"change by a shift of one pixel, {name}, %", value)
                for name, value in after.items()
            ),
            Number("max, 2 x 2, of a shift by 2, less its own shifted by 1", equal, 0),
        ],
        seen="Of each window one number remains: a quarter of the values, no weights, the channels "
        "as they were. A shift by the window's width moves the pooled picture by exactly one; by "
        "a single pixel the pooled picture changes, though less than the picture: "
        f"{after['the picture itself']:.0f} % become {after['max, 2 x 2']:.0f} % with max 2 x 2 "
        f"and {after['average, 4 x 4']:.0f} % with average 4 x 4. Only the average of all pixels "
        "does not move at all.",
        draw=draw,
        height=5.6,
        data=f"{POOLED} pictures of {_named(digits)}",
    )


def _named(dataset) -> str:
    return {"mnist": "MNIST", "cifar10": "CIFAR-10"}.get(dataset.name, dataset.name)


def _change(pictures: np.ndarray, layer: scratch.Layer | None, pixels: int) -> float:
    """How much a shift changes what a layer gives: the size of the difference by the size of what
    it was, root mean squares over all pictures. What leaves on one side comes in on the other."""
    before, after = (
        layer.forward(x) if layer else x for x in (pictures, np.roll(pictures, pixels, 2))
    )
    change = np.sqrt(((after - before) ** 2).sum() / (before**2).sum())
    return round(float(change), 9)  # the mean of all pixels moves by rounding alone


LESSONS = [
    Lesson(
        name="convolution",
        title="Convolution: sizes, stride, padding, and the filter that is not turned around",
        source="the lecture on convolutional networks; LeCun, Bottou, Bengio and Haffner 1998",
        run=convolution,
    ),
    Lesson(
        name="edges",
        title="Edges: filters made by hand, beside filters that a network learned",
        source="the lecture on convolutional networks; Sobel 1968, Scharr 2000",
        run=edges,
        needs=("photo",),
    ),
    Lesson(
        name="pooling",
        title="Pooling: the largest, the mean, and what a shift changes",
        source="the lecture on convolutional networks; CS231n; Zhang 2019 on shifts",
        run=pooling,
        needs=("digits",),
    ),
]
