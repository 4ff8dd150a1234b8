"""What networks are built of, and what it costs: fields, multiply-adds, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import scratch
from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources

# --- receptive field ------------------------------------------------------------------------------


def receptive_field(sources: Sources) -> Outcome:
    """What a neuron sees of the picture through several layers, and what that costs in weights."""
    fields = {n: _seen_through(n) for n in (1, 2, 3, 6)}
    sides = {n: int((field > 0).any(0).sum()) for n, field in fields.items()}

    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(3, 3, 1, 1)) for _ in range(2))
    picture = rng.normal(size=(1, 9, 9, 1))
    twice = _through(_through(picture, first), second)
    once = _through(picture, _one_filter(first, second))

    def draw(figure):
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.2))
        for axes, (count, field) in zip(above.subplots(1, 4), fields.items(), strict=True):
            show_image(
                axes,
                field,
                f"{count} layer{'s' * (count > 1)} of 3 x 3: {sides[count]} x {sides[count]}",
            )
        weights, widths = below.subplots(1, 2)
        layers = np.arange(1, 8)
        weights.plot(2 * layers + 1, (2 * layers + 1) ** 2, "o-", label="one layer")
        weights.plot(2 * layers + 1, 9 * layers, "o-", label="layers of 3 x 3")
        label(
            weights,
            "side of the field, pixels",
            "weights a channel to a channel",
            "the same field costs less in layers",
        )
        weights.set_xticks(2 * layers + 1)
        weights.legend(fontsize=8)
        names, seen = zip(*_vgg_fields(), strict=True)
        widths.plot(range(1, len(seen) + 1), seen, ".-", color="tab:green")
        pools = [i + 1 for i, name in enumerate(names) if name == "pool"]
        widths.set_xticks([1, *pools])
        widths.plot(
            pools, [seen[i - 1] for i in pools], "s", color="tab:green", label="after a pooling"
        )
        label(
            widths,
            "layer of VGG-16",
            "side of the field, pixels",
            "poolings widen the field faster",
        )
        widths.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("side seen through two layers of 3 x 3", sides[2], 5),
            Number("side seen through three", sides[3], 7),
            Number("weights of one 5 x 5", 5 * 5, 25),
            Number(
                "weights of two 3 x 3",
                2 * 3 * 3,
                18,
                printed="16",
                why="twice 9; 25 > 18 still saves 28 %",
            ),
            Number("weights of one 7 x 7", 7 * 7, 49),
            Number("weights of three 3 x 3", 3 * 3 * 3, 27),
            Number(
                "two 3 x 3 without relu, and the 5 x 5 that they amount to: greatest difference",
                round(float(abs(twice - once).max()), 12),
                0,
                0,
            ),
            Number("side that VGG-16's last pooling sees, of 224", _vgg_fields()[-1][1], 212),
        ],
        seen="Two layers of 3 x 3 see as far as one of 5 x 5, with fewer weights and a relu "
        "between them. Without the relu they would be one 5 x 5 filter. What lies in the middle is "
        "seen along more ways and counts more.",
        draw=draw,
        height=5.4,
    )


def _seen_through(count: int) -> np.ndarray:
    """How much each of 15 x 15 pixels counts in the one in the middle behind `count` layers of
    3 x 3 with equal weights: its gradient."""
    network = scratch.Network(
        *(scratch.Convolution(np.full((3, 3, 1, 1), 1 / 9), padding="same") for _ in range(count))
    )
    network.forward(np.zeros((1, 15, 15, 1)))
    gradient = np.zeros((1, 15, 15, 1))
    gradient[0, 7, 7] = 1
    return network.backward(gradient)[0, :, :, 0]


def _through(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return scratch.Convolution(kernel).forward(picture)


def _one_filter(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The 5 x 5 filter that two 3 x 3 amount to: each weight of the second lays the first down."""
    one = np.zeros((5, 5, 1, 1))
    for row, column in np.ndindex(3, 3):
        one[row : row + 3, column : column + 3] += second[row, column] * first
    return one


def _vgg_fields() -> list[tuple[str, int]]:
    """(kind, side of what it sees) of VGG-16's convolutions and poolings. A window of f adds
    f - 1 of its steps, and the step is the product of the strides so far."""
    side, step, fields = 1, 1, []
    for layer in VGG16:
        kind, window, _, stride, _ = layer
        side, step = side + (window - 1) * step, stride * step
        fields.append((kind, side))
    return fields


# --- 1 x 1 ----------------------------------------------------------------------------------------

SIDE, IN, OUT, NARROW = 28, 192, 32, 16


def one_by_one(sources: Sources) -> Outcome:
    """What a convolution of 1 x 1 does, and what it saves in front of one of 5 x 5."""
    direct = SIDE**2 * OUT * 5 * 5 * IN
    squeeze, expand = SIDE**2 * NARROW * IN, SIDE**2 * OUT * 5 * 5 * NARROW
    widths = np.arange(4, 193, 4)
    costs = SIDE**2 * widths * (IN + OUT * 5 * 5)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 5, IN))
    kernel, bias = rng.normal(size=(1, 1, IN, OUT)), rng.normal(size=OUT)
    slid = scratch.Convolution(kernel, bias).forward(x)
    each = scratch.Affine(kernel[0, 0], bias).forward(x.reshape(-1, IN)).reshape(slid.shape)

    def draw(figure):
        bars, curve = figure.subplots(1, 2)
        million = 1e-6
        bars.bar("5 x 5 alone", direct * million, color="tab:red")
        both = f"1 x 1 to {NARROW},\nthen 5 x 5"
        bars.bar(both, squeeze * million, color="tab:blue", label="1 x 1")
        bars.bar(both, expand * million, bottom=squeeze * million, color="tab:red", label="5 x 5")
        for at, total in enumerate((direct, squeeze + expand)):
            bars.annotate(
                f"{total * million:.1f}",
                (at, total * million),
                (0, 4),
                textcoords="offset points",
                ha="center",
            )
        label(bars, "", "multiply-adds, millions", f"{SIDE} x {SIDE}, {IN} to {OUT} channels")
        bars.set_ylim(0, 1.1 * direct * million)
        bars.legend(fontsize=8)
        curve.plot(widths, costs * million, label="1 x 1, then 5 x 5")
        curve.axhline(direct * million, color="tab:red", linestyle="--", label="5 x 5 alone")
        curve.plot(NARROW, (squeeze + expand) * million, "ko", label=f"{NARROW} channels")
        label(curve, "channels between the two", "multiply-adds, millions", "where it pays")
        curve.set_ylim(0, None)
        curve.legend(fontsize=8)

    return Outcome(
        numbers=[
            Number("5 x 5 alone, multiply-adds", direct, 120_422_400),
            Number(f"1 x 1 to {NARROW} channels, multiply-adds", squeeze, 2_408_448),
            Number("5 x 5 behind it, multiply-adds", expand, 10_035_200),
            Number("both, multiply-adds", squeeze + expand, 12_443_648),
            Number("ratio", direct / (squeeze + expand), 9.6774),
            Number("weights, 5 x 5 alone", 5 * 5 * IN * OUT, 153_600),
            Number("weights, both", IN * NARROW + 5 * 5 * NARROW * OUT, 15_872),
            Number(
                "channels between the two up to which it pays",
                int(IN * OUT * 25 / (IN + OUT * 25)),
                154,
            ),
            Number(
                "1 x 1, and one affine layer for every pixel: greatest difference",
                round(float(abs(slid - each).max()), 9),
                0,
                0,
            ),
        ],
        seen="A convolution of 1 x 1 looks at one pixel and mixes its channels: the same affine "
        "layer everywhere. In front of an expensive layer it makes the channels fewer, and a tenth "
        "of the arithmetic remains. Biases are not counted.",
        draw=draw,
        height=3.8,
    )


# --- parameters -----------------------------------------------------------------------------------


def _conv(side: int, filters: int, stride: int = 1, padding: Any = "same") -> tuple:
    return ("conv", side, filters, stride, padding)


def _pool(side: int = 2, stride: int = 2) -> tuple:
    return ("pool", side, 0, stride, "valid")


def _dense(outputs: int) -> tuple:
    return ("dense", 0, outputs, 0, "")


STAGES = (64, 128, 256, 512, 512)  # VGG-16's filters
VGG16 = tuple(
    layer
    for filters, count in zip(STAGES, (2, 2, 3, 3, 3), strict=True)
    for layer in (*[_conv(3, filters)] * count, _pool())
)
NETWORKS: dict[str, tuple[tuple[int, int, int], Sequence[tuple]]] = {
    "LeNet-5": (
        (32, 32, 1),
        (_conv(5, 6, padding="valid"), _pool(), _conv(5, 16, padding="valid"), _pool())
        + (_dense(120), _dense(84), _dense(10)),
    ),
    "fashion-mnist-92": (
        (28, 28, 1),
        (_conv(2, 64), _pool(), _conv(2, 32), _pool(), _dense(256), _dense(10)),
    ),
    "cifar10-74": (
        (32, 32, 3),
        (_conv(3, 32, padding="valid"), _conv(3, 32), _pool(), _conv(3, 64), _pool())
        + (_dense(512), _dense(10)),
    ),
    "AlexNet": (
        (227, 227, 3),
        (_conv(11, 96, 4, "valid"), _pool(3), _conv(5, 256), _pool(3), _conv(3, 384))
        + (_conv(3, 384), _conv(3, 256), _pool(3), _dense(4096), _dense(4096), _dense(1000)),
    ),
    "VGG-16": ((224, 224, 3), (*VGG16, _dense(4096), _dense(4096), _dense(1000))),
}
COUNTS = {
    "LeNet-5": 61_706,
    "fashion-mnist-92": 412_778,
    "cifar10-74": 1_639_914,
    "AlexNet": 62_378_344,
    "VGG-16": 138_357_544,
}


def parameters(sources: Sources) -> Outcome:
    """How many weights networks have, layer by layer, from their shapes."""
    tables = {name: _counted(*network) for name, network in NETWORKS.items()}
    sums = {name: sum(row[2] for row in table) for name, table in tables.items()}
    small = _counted((32, 32, 3), [_conv(3, 10)])[0][2]
    largest = {name: max(row[2] for row in table) / sums[name] for name, table in tables.items()}

    def draw(figure):
        columns = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
        for axes, names in zip(
            columns,
            (("LeNet-5", "fashion-mnist-92", "cifar10-74"), ("AlexNet",), ("VGG-16",)),
            strict=True,
        ):
            axes.axis("off")
            text = "\n\n".join(_as_text(name, NETWORKS[name][0], tables[name]) for name in names)
            axes.text(
                0, 1, text, family="monospace", fontsize=8.5, va="top", transform=axes.transAxes
            )

    return Outcome(
        numbers=[
            Number("ten filters of 3 x 3 on 3 channels", small, 280, why="10 (3 x 3 x 3 + 1)"),
            Number(
                "one neuron on a whole 64 x 64 x 3 picture, without its bias", 64 * 64 * 3, 12_288
            ),
            *(
                Number(
                    name,
                    total,
                    COUNTS[name],
                    0,
                    why="with whole convolutions; in two halves, as published, 60,965,224"
                    if name == "AlexNet"
                    else "",
                )
                for name, total in sums.items()
            ),
            Number(
                "VGG-16, filters of its five stages",
                STAGES,
                [64, 128, 256, 512, 512],
                printed="doubles each stage",
                why="the last stage stops at 512",
            ),
            Number("VGG-16, share of its first dense layer, %", 100 * largest["VGG-16"], 74.275),
        ],
        seen="A convolution costs the same on a picture of any size; a dense layer pays for every "
        "pixel. So most weights stand where the picture becomes a row: "
        + ", ".join(f"{100 * share:.0f} % in {name}" for name, share in largest.items())
        + " stand in one dense layer.",
        draw=draw,
        height=5.6,
    )


def _counted(
    shape: tuple[int, ...], layers: Sequence[tuple]
) -> list[tuple[str, tuple[int, ...], int]]:
    """(what it is, shape of what it gives, weights with biases) of each layer."""
    rows: list[tuple[str, tuple[int, ...], int]] = []
    for kind, side, filters, stride, padding in layers:
        if kind == "dense":
            weights, shape = (math.prod(shape) + 1) * filters, (filters,)
            what = "dense"
        else:
            ends = [
                -(-n // stride) if padding == "same" else (n - side) // stride + 1
                for n in shape[:2]
            ]
            weights = (side * side * shape[2] + 1) * filters
            shape = (ends[0], ends[1], filters or shape[2])
            what = f"{kind} {side}x{side}" + (f"/{stride}" if 1 < stride != side else "")
        rows.append((what, shape, weights))
    return rows


def _as_text(name: str, shape: tuple, rows: list[tuple]) -> str:
    """A network as a table in letters of one width."""
    lines = [name, f"{'picture':11}{'x'.join(map(str, shape)):>11}{'weights':>13}"]
    lines += [
        f"{what:11}{'x'.join(map(str, given)):>11}" + (f"{weights:>13,}" if weights else "")
        for what, given, weights in rows
    ]
    lines.append(f"{'together':22}{sum(row[2] for row in rows):>13,}")
    return "\n".join(lines)


LESSONS = [
    Lesson(
        name="receptive-field",
        title="The receptive field: two 3 x 3 see as far as one 5 x 5",
        source="the lecture on famous networks; Simonyan and Zisserman 2015, section 2.3",
        run=receptive_field,
    ),
    Lesson(
        name="one-by-one",
        title="A convolution of 1 x 1 in front of an expensive one",
        source="the lecture on famous networks; Lin et al. 2014, Szegedy et al. 2015",
        run=one_by_one,
    ),
    Lesson(
        name="parameters",
        title="How many weights, layer by layer",
        source="the lecture on famous networks; LeCun et al. 1998, Krizhevsky et al. 2012, "
        "Simonyan and Zisserman 2015",
        run=parameters,
    ),
]
