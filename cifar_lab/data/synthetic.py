"""The embedded data set: ten classes of 32 x 32 RGB pictures, drawn here, never downloaded.

Each picture shows one shape. Six dials, each 0 to 1, set how hard it is to name: the six obstacles
that lectures on recognition list for finding a cat in a picture (CS231n, "Image Classification").
With all dials at 0 every picture of a class is the same picture.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFilter

from .. import schema
from ..errors import InputError
from . import cache
from .shapes import CLASSES, outlines

SIZE = 32
LEAST, MOST = 20, 100_000_000  # train pictures that can be asked for
_Y, _X = np.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2  # pixels from the centre
_SCALE = 4  # drawn at four times the size and scaled down, which smooths the edges


@dataclass(frozen=True)
class Dials:
    """The difficulty, six numbers from 0 (absent) to 1.

    Fields:
        viewpoint: rotation to +-60 degrees, size 0.6 to 1.15, position to +-7 pixels.
        illumination: brightness, contrast, and a light that falls off across the picture.
        deformation: the outline is bent by smooth waves.
        occlusion: a bar of up to a third of the picture's width lies over the shape.
        clutter: gradients, noise and pieces of other shapes in the background.
        variation: colours, proportions and fill differ from one example to the next.
    """

    viewpoint: float = 0.5
    illumination: float = 0.5
    deformation: float = 0.5
    occlusion: float = 0.5
    clutter: float = 0.5
    variation: float = 0.5

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not (isinstance(value, (int, float)) and 0 <= value <= 1):
                raise InputError(f"dial {name}: must be a number from 0 to 1, received {value!r}")


DEFAULT = Dials()
DIAL_NAMES = tuple(f.name for f in dataclasses.fields(Dials))


def parse(name: str) -> tuple[int | None, Dials]:
    """Read what is asked for from a data name.

    Args:
        name: "synthetic", or "synthetic:occlusion=1,clutter=0", or "synthetic:images=100000".

    Returns:
        Number of train pictures, None for the usual ones (see `load`; others are drawn by
        `many.load`); Dials, of which those that are not named stand at 0.5.

    Raises:
        InputError: no such dial, or its value is no number from 0 to 1; no number of pictures.
    """
    _, _, settings = name.partition(":")
    dials, images = {}, None
    for setting in filter(None, settings.split(",")):
        dial, _, value = setting.partition("=")
        if dial == "images":
            images = int(value) if value.isdecimal() and len(value) < 12 else 0
            if not LEAST <= images <= MOST:
                raise InputError(
                    f"data {name!r}: images must be a whole number from {LEAST} to {MOST:,}, "
                    f"received {value!r}"
                )
            continue
        if dial not in DIAL_NAMES:
            near = schema.meant(dial, (*DIAL_NAMES, "images"))
            raise InputError(
                f"data {name!r}: unknown dial {dial!r}{near}, must be one of "
                f"{', '.join(DIAL_NAMES)}, or images"
            )
        try:
            dials[dial] = float(value)
        except ValueError:
            raise InputError(
                f"data {name!r}: dial {dial} must be a number from 0 to 1, received {value!r}"
            ) from None
    return images, Dials(**dials)


def load(
    train_size: int = 10_000, test_size: int = 2_000, seed: int = 0, dials: Dials = DEFAULT
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw two splits, classes in equal shares (about 8 s for all 12,000 the first time, then from
    the user's cache).

    Args:
        train_size: number of train pictures.
        test_size: number of test pictures.
        seed: whole number from 0.
        dials: the difficulty.

    Returns:
        (train images, train labels, test images, test labels): uint8 (N, 32, 32, 3), 0-255, and
        int64 (N,). The same arguments give the same arrays; the splits share no random numbers.
    """
    sizes, versions = (train_size, test_size, seed), (np.__version__, PIL.__version__)
    return cache.drawn(
        f"embedded {program_sha256()} {versions} {sizes} {dials}",
        lambda: (*generate(train_size, [seed, 0], dials), *generate(test_size, [seed, 1], dials)),
        most_bytes=(train_size + test_size) * (SIZE * SIZE * 3 + 8) + 10_000,
    )


def program_sha256() -> str:
    """Hex digest of what decides the pixels: this file and that of the shapes."""
    files = [Path(__file__), Path(__file__).with_name("shapes.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def generate(
    size: int, seed: int | Sequence[int], dials: Dials = DEFAULT
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures in random order of class.

    Args:
        size: how many.
        seed: as numpy.random.default_rng takes it.
        dials: the difficulty.

    Returns:
        (images, labels): uint8 (size, 32, 32, 3), 0-255, and int64 (size,), 0-9.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(size) % len(CLASSES)).astype(np.int64)
    images = [draw(int(label), rng, dials) for label in labels]
    return np.array(images, np.uint8).reshape(size, SIZE, SIZE, 3), labels


def draw(label: int, rng: np.random.Generator, dials: Dials = DEFAULT) -> np.ndarray:
    """Draw one picture.

    Args:
        label: its class, 0-9.
        rng: what all that is left to chance is drawn from.
        dials: the difficulty.

    Returns:
        uint8 (32, 32, 3), 0-255.
    """
    side = SIZE * _SCALE
    background = _background(rng, dials)
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)

    angle = np.radians(rng.uniform(-60, 60)) * dials.viewpoint
    zoom = 1 + dials.viewpoint * rng.uniform(-0.4, 0.15)
    shift = rng.uniform(-7, 7, 2) * dials.viewpoint * _SCALE
    stretch = 1 + dials.variation * rng.uniform(-0.25, 0.25, 2)
    waves = rng.normal(0, 0.09 * dials.deformation, (2, 2, 2))
    phases = rng.uniform(0, 2 * np.pi, (2, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def place(points):
        """Shape coordinates in -1..1 -> pixels of the large canvas, through the dials."""
        points = np.asarray(points, float) * stretch
        bent = points.copy()
        for axis in (0, 1):
            for k in (0, 1):
                wave = np.sin(2 * (k + 1) * points[:, 1 - axis] + phases[axis, k])
                bent[:, axis] += (
                    waves[axis, k, 0] * wave + waves[axis, k, 1] * points[:, axis] * wave
                )
        pixels = bent @ turn.T * (0.36 * side * zoom) + side / 2 + shift
        return [tuple(p) for p in pixels]

    filled, holes = outlines(CLASSES[label], rng, dials.variation)
    for outline in filled:
        pen.polygon(place(outline), fill=255)
    for outline in holes:
        pen.polygon(place(outline), fill=0)
    lined, width = rng.random() < 0.4 * dials.variation, int(rng.integers(4, 7))
    if lined and CLASSES[label] != "disc":  # the outline alone; a disc's would be a ring
        inside = mask.filter(ImageFilter.BoxBlur(width)).point(lambda v: 255 * (v == 255))
        mask = Image.fromarray(np.asarray(mask) - np.asarray(inside))

    ink = _color(rng, dials.variation, base=(215, 120, 40))
    paper = np.asarray(background, np.float32).mean((0, 1))
    gap = ink - paper
    if np.abs(gap).max() < 70:  # the shape must be told from what it stands on
        ink = np.where(paper > 127, ink - 90, ink + 90).clip(0, 255)
    coverage = (
        np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32)[..., None] / 255
    )
    picture = np.asarray(background, np.float32) * (1 - coverage) + ink * coverage
    return _light(_occlude(picture, rng, dials), rng, dials)


def _color(rng, amount, base):
    """float (3,) in 0-255: `base` at amount 0, any colour at 1."""
    return np.asarray(base) * (1 - amount) + rng.uniform(0, 255, 3) * amount


def _background(rng, dials):
    """Image (32, 32): plain at clutter 0, then gradient, noise and pieces."""
    clutter = dials.clutter
    start, end = (_color(rng, a, (70, 90, 110)) for a in (clutter, clutter))
    t = rng.uniform(0, 2 * np.pi)
    ramp = ((_X * np.cos(t) + _Y * np.sin(t)) / SIZE + 0.5).clip(0, 1)[..., None]
    canvas = start * (1 - ramp) + end * ramp + rng.normal(0, 18 * clutter, (SIZE, SIZE, 1))
    image = Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.binomial(10, 0.6 * clutter)):
        color = tuple(int(c) for c in _color(rng, clutter, (70, 90, 110)))
        a, b = rng.uniform(-4, SIZE + 4, (2, 2))
        if rng.random() < 0.5:
            pen.line([*a, *b], fill=color, width=int(rng.integers(1, 3)))
        else:
            size = rng.uniform(1, 5, 2)
            pen.ellipse([*(a - size), *(a + size)], fill=color)
    return image


def _occlude(picture, rng, dials):
    """A bar across the picture, and in front of the shape."""
    share, t = rng.uniform(0, 0.33) * dials.occlusion, rng.uniform(0, np.pi)
    across = _X * np.cos(t) + _Y * np.sin(t) - rng.uniform(-10, 10)
    color = _color(rng, 1, (0, 0, 0))
    return np.where((np.abs(across) < share * SIZE / 2)[..., None], color, picture)


def _light(picture, rng, dials):
    """Contrast, brightness and a fall-off across the picture -> uint8."""
    contrast = 1 + dials.illumination * rng.uniform(-0.6, 0.3)
    brightness = dials.illumination * rng.uniform(-70, 70)
    t = rng.uniform(0, 2 * np.pi)
    falloff = (
        1
        + dials.illumination
        * rng.uniform(0, 0.9)
        / SIZE
        * (_X * np.cos(t) + _Y * np.sin(t))[..., None]
    )
    return (
        (((picture - 127.5) * contrast + 127.5 + brightness) * falloff)
        .round()
        .clip(0, 255)
        .astype(np.uint8)
    )
