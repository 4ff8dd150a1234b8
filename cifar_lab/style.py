"""One style for all pictures: size, colours, per cent, phases, sheets of labelled images.

A picture is drawn within `style()`, on a `figure`, and written by `save`. Accuracy and error are
in per cent. A rung has one colour, whatever the picture. matplotlib is imported by what draws.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

WIDTH, DPI = 9.0, 100  # inches, pixels an inch
SMALL, SMALLEST = 8, 7  # points, of what stands beside curves, and above images

#: Of each rung, and of two networks that are drawn beside them.
COLOURS = {
    **{"cifar10-74": "#1f77b4", "cifar10-79": "#ff7f0e", "cifar10-84": "#2ca02c"},
    **{"cifar10-88": "#d62728", "cifar10-90": "#9467bd", "cifar10-94": "#8c564b"},
    **{"cifar10-96": "#e377c2", "cifar100-70": "#7f7f7f", "cifar10-tiny-88": "#a8a800"},
    **{"cifar10-tiny-91": "#17becf", "fashion-mnist-92": "#393b79"},
    **{"fashion-mnist-93": "#e7970c", "fashion-mnist-95": "#637939"},
    **{"fashion-mnist-mlp": "#6b6ecf", "mnist-logistic": "#b5cf6b", "mnist-softmax": "#8ca252"},
    **{"mnist-mlp": "#bd9e39", "mnist-lenet5": "#8c6d31", "cifar10-softmax": "#ad494a"},
    **{"cifar10-hinge": "#e7969c", "cifar10-mlp": "#7b4173", "cifar10-lenet5": "#ce6dbd"},
    **{"cifar10-alexnet": "#3182bd", "cifar10-vgg16": "#31a354", "cifar10-plain20": "#6baed6"},
    **{"cifar10-resnet20": "#756bb1", "cifar10-plain56": "#e6550d", "cifar10-resnet56": "#a63603"},
    **{"cifar10-nin": "#74c476", "cifar10-googlenet": "#006d2c", "cifar10-resnet32": "#9e9ac8"},
}
NEUTRAL = "#5b6b7b"  # of what is no rung
TRAIN, VALIDATION = "#1f77b4", "#ff7f0e"  # where one network is drawn: its two curves

#: {beginning of a phase's name: (its colour, what it does to a learning curve)}
PHASES = {
    "small images": ("#9ecae1", "trained and validated on smaller images"),
    "last layer alone": ("#c5b0d5", "the other layers rest"),
    "averaging": ("#2ca02c", "at a cycle's end validation is that of the mean of the weights"),
    "sharpness-aware": (
        "#fdd0a2",
        "train figures are those of the worst weights nearby, so they jump",
    ),
}


def import_matplotlib() -> Any:
    """The module, imported whatever MPLBACKEND says: a name that this matplotlib does not know,
    such as a notebook's, is an error there. It stays the choice of who opens windows.

    Raises ImportError where matplotlib is not installed.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = named
    return matplotlib


@contextlib.contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings of all pictures within a `with`, whatever a user's own are.

    Raises ImportError where matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    ours = {"figure.dpi": DPI, "savefig.dpi": DPI, "grid.alpha": 0.3}
    with matplotlib.rc_context():
        known = {k: v for k, v in matplotlib.rcParamsDefault.items() if "backend" not in k}
        matplotlib.rcParams.update({**known, **ours})
        yield


def figure(height: float, width: float = WIDTH) -> Any:
    """An empty matplotlib Figure of so many inches, whose parts find their places by themselves."""
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(found)
    return found


def save(drawn: Any, path: str | os.PathLike, colours: int = 0) -> None:
    """Write a Figure into a PNG file, whole or not at all, equal ones into equal bytes.

    colours: that the file has at most: lines and letters need few, which takes a quarter of the
        bytes; 0 for all.
    """
    from . import bundles

    content = io.BytesIO()
    drawn.savefig(content, format="png", metadata={"Software": None})
    if colours:
        from PIL import Image

        with Image.open(content, formats=["PNG"]) as image:
            few = image.convert("RGB").quantize(colours)
        content = io.BytesIO()
        few.save(content, "png", optimize=True)
    bundles.write_file(path, lambda file: file.write(content.getvalue()))


def colour(rung: str) -> str:
    """The colour of a rung in every picture; a neutral one for what is none."""
    return COLOURS.get(rung, NEUTRAL)


def per_cent(values: Sequence[float]) -> list[float]:
    """Fractions as per cent."""
    return [100 * value for value in values]


def mark_phases(axes: Any, phases: Sequence[tuple[int, int, str]], last: int) -> list[Any]:
    """Shade the stretches of epochs that have a name.

    Args:
        axes: whose x axis has epochs, 1 the first.
        phases: (first, last, name), see `cifar_lab.phases.phases`.
        last: epoch that was trained; what lies behind it is not shown.

    Returns:
        The shaded parts, whose labels say what they are, for a legend; of two sizes of images the
        smaller is the darker.
    """
    drawn = []
    for first, end, name in phases:
        if first > last:
            continue
        kind = next((kind for kind in PHASES if name.startswith(kind)), "")
        shade, told = PHASES.get(kind, ("0.8", ""))
        again = any(part.get_label().startswith(kind) for part in drawn)
        faint = 0.25 if again else 0.5
        # what may come at the same time as another is hatched over it
        looks = (
            {"hatch": "///", "fc": "none", "ec": shade} if kind == "averaging" else {"fc": shade}
        )
        part = axes.axvspan(
            first - 0.5,
            min(end, last) + 0.5,
            **{"alpha": faint, "lw": 0, "zorder": 0, **looks},
            label=f"{name}: {told}" if told else name,
        )
        drawn.append(part)
    return drawn


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names of curves in the margin right of them, none over another.

    ends: (x, y, name, colour) of the end of each curve. Call it when the axes have their limits.
    """
    low, high = axes.get_ylim()
    height = axes.get_figure().get_size_inches()[1] * 72 * 0.8  # points of the axes, about
    gap = (high - low) * 1.25 * SMALL / height
    order = sorted(ends, key=lambda end: end[1])
    places = [y for _, y, _, _ in order]
    for _ in range(200):  # neighbours push each other apart
        for i in range(len(places) - 1):
            lacking = gap - (places[i + 1] - places[i])
            if lacking > 0:
                places[i] -= lacking / 2
                places[i + 1] += lacking / 2
        over = max(0.0, places[-1] - high) if places else 0.0
        places = [place - over for place in places]
    for (x, y, name, ink), place in zip(order, places, strict=True):
        axes.annotate(
            name,
            (x, y),
            (1.06, (place - low) / (high - low)),
            textcoords="axes fraction",
            color=ink,
            fontsize=SMALL,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": ink, "alpha": 0.5, "lw": 0.7, "shrinkA": 1},
        )


def sheet(
    path: str | os.PathLike,
    images: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    rows: Sequence[str],
    scale: int = 2,
) -> None:
    """Write a PNG of images in rows and columns, each of which has its name in the picture.

    Args:
        path: of the file.
        images: a list a row, uint8 (height, width, 3), all of one size.
        columns, rows: their names; lines of a column's name are told apart by "\\n".
        scale: pixels of the picture that a pixel of an image becomes, whole.
    """
    tiles = np.concatenate(
        [
            np.concatenate(
                [np.pad(i, ((1, 1), (1, 1), (0, 0)), constant_values=255) for i in row], 1
            )
            for row in images
        ]
    )
    tiles = tiles.repeat(scale, 0).repeat(scale, 1)
    high, wide = tiles.shape[:2]
    left = 12 + round(max(map(len, rows)) * SMALL * 0.82)
    above = 8 + 13 * max(name.count("\n") + 1 for name in columns)
    with style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        size = (left + wide + 6, above + high + 6)
        drawn = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
        FigureCanvasAgg(drawn)
        drawn.figimage(tiles, left, 6)  # pixel by pixel
        for i, name in enumerate(columns):
            x = (left + (i + 0.5) * wide / len(columns)) / size[0]
            words = {"ha": "center", "va": "bottom", "fontsize": SMALLEST, "linespacing": 1.2}
            drawn.text(x, (high + 9) / size[1], name, **words)
        for i, name in enumerate(rows):
            y = (6 + high * (1 - (i + 0.5) / len(rows))) / size[1]
            drawn.text((left - 6) / size[0], y, name, ha="right", va="center", fontsize=SMALL)
        save(drawn, path)
