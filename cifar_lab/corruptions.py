"""Pictures as a poor camera, the weather or an unsteady hand leaves them: eleven corruptions, each
at five severities, in numpy and Pillow alone.

Noise, blur, JPEG, brightness, contrast, fog and pixelate are those of CIFAR-10-C, with its
constants for 32 x 32 pixels (Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness
to Common Corruptions and Perturbations", and make_cifar_c.py of its authors); what is a length
there grows with the picture. CIFAR-10-C cuts the results off to whole numbers, here they are
rounded. It has no rotation, shift, scale or occlusion: those are this package's own.

What is left to chance is drawn from (seed, corruption, index of the image): the same for all
severities, and whichever images are corrupted beside it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from . import schema
from .errors import InputError

SEVERITIES = (1, 2, 3, 4, 5)
_SIDE = 32  # pixels of the pictures that the lengths below are for
_AT_ONCE = 256  # images: what a processor's cache holds
_GREY = 128


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a picture.

    Fields:
        levels: what `apply` gets, one a severity.
        meaning: what a level is, in words.
        apply: (images, level, drawn) -> the images corrupted, of any number type, not yet rounded;
            images: uint8 (N, height, width, channels); drawn: what `draw` gives, stacked, or None.
        draw: (generator, shape of the image) -> an array, or None where nothing is left to chance.
    """

    levels: tuple[Any, ...]
    meaning: str
    apply: Callable[[np.ndarray, Any, Any], np.ndarray]
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None


def corrupt(
    images: np.ndarray,
    name: str,
    severity: int,
    seed: int = 0,
    indices: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Corrupt images.

    Args:
        images: uint8 (N, height, width, channels), 0-255, of 1 or 3 channels.
        name: one of NAMES.
        severity: 1 to 5.
        seed: whole number from 0.
        indices: of the images in the set that they are from, (N,), whole numbers from 0; by default
            0, 1, ... `corrupt(images[k], ..., indices=k)` is `corrupt(images, ...)[k]`.

    Returns:
        uint8, of the same shape. The same arguments give the same pixels.

    Raises:
        InputError: a name, severity, seed or index that is not there, other arrays.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise InputError(
            "images: must be uint8 (N, height, width, 1 or 3), "
            f"received {images.dtype} {images.shape}"
        )
    if not all(images.shape[1:3]):
        raise InputError(f"images: must have pixels, received {images.shape}")
    check_name(name)
    if not isinstance(severity, (int, np.integer)) or severity not in SEVERITIES:
        raise InputError(f"severity: must be one of 1, 2, 3, 4, 5, received {severity!r}")
    check_seed(seed)
    places = np.arange(len(images)) if indices is None else np.asarray(indices)
    is_whole = places.dtype.kind in "iu" or not places.size
    if not is_whole or places.shape != (len(images),) or places.size and places.min() < 0:
        raise InputError(
            f"indices: must be {len(images)} whole numbers from 0, one an image, "
            f"received {places.dtype} {places.shape}"
        )
    found = np.empty_like(images)
    corruption = CORRUPTIONS[name]
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        drawn = None
        if corruption.draw is not None:
            key = zlib.crc32(name.encode())
            generators = (np.random.default_rng([seed, key, int(i)]) for i in places[part])
            drawn = np.stack([corruption.draw(rng, images.shape[1:]) for rng in generators])
        spoilt = corruption.apply(images[part], corruption.levels[severity - 1], drawn)
        found[part] = spoilt if spoilt.dtype == np.uint8 else np.rint(spoilt).clip(0, 255)
    return found


def check_name(name: str) -> None:
    """InputError where there is no such corruption."""
    if name not in NAMES:
        near = schema.meant(name, NAMES)
        raise InputError(f"corruption: must be one of {', '.join(NAMES)}, received {name!r}{near}")


def check_seed(seed: int) -> None:
    """InputError where it is no whole number from 0."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed: must be a whole number from 0, received {seed!r}")


# --- what a sensor does ---


def noise(images: np.ndarray, level: float, drawn: np.ndarray) -> np.ndarray:
    """Gaussian noise; level: its standard deviation, a share of 255; drawn: standard normal."""
    return images + np.float32(255 * level) * drawn


def blur(images: np.ndarray, level: float, drawn: None = None) -> np.ndarray:
    """Gaussian blur that repeats the border's pixels; level: its standard deviation, in pixels of a
    picture of 32. The kernel ends at four of them."""
    sigma = level * min(images.shape[1:3]) / _SIDE
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-np.square(np.arange(-radius, radius + 1) / sigma) / 2)
    weights = (weights / weights.sum()).astype(np.float32)
    found = images.astype(np.float32)
    for axis in (1, 2):
        size = found.shape[axis]
        width = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
        wide = np.moveaxis(np.pad(found, width, mode="edge"), axis, 0)
        # not as a product of matrices, whose last digit depends on how many images there are
        blurred = weights[0] * wide[:size]
        for k in range(1, 2 * radius + 1):
            blurred += weights[k] * wide[k : k + size]
        found = np.moveaxis(blurred, 0, axis)
    return found


def as_jpeg(images: np.ndarray, quality: int, drawn: None = None) -> np.ndarray:
    """Images as Pillow saves them as JPEG and reads them again: uint8; 4:2:0, its default.

    images: uint8 (N, height, width, 1 or 3); quality: 1 to 100. `training.jpeg` does nearly the
    same to batches on any backend.
    """

    def again(picture):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return Image.open(file, formats=["JPEG"])

    return _each(again, images)


def brightness(images: np.ndarray, level: float, drawn: None = None) -> np.ndarray:
    """Value (of hue, saturation, value) raised by a share of 255; hue and saturation stay."""
    value = images.max(axis=-1, keepdims=True).astype(np.float32)
    raised = np.minimum(value + np.float32(255 * level), 255)
    return np.where(value > 0, images * (raised / np.maximum(value, 1)), raised)


def contrast(images: np.ndarray, level: float, drawn: None = None) -> np.ndarray:
    """The distance from each channel's mean times level."""
    total = images.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
    mean = (total / (images.shape[1] * images.shape[2])).astype(np.float32)
    return (images - mean) * np.float32(level) + mean


def fog(images: np.ndarray, level: tuple[float, float], drawn: np.ndarray) -> np.ndarray:
    """A plasma fractal added, then brought back to the brightest pixel of before.

    level: (amount, decay): the fractal, 0 to 1, times amount, a share of 255; how much less each
        finer step of it moves. drawn: uniform, 0 to 1, one a point of the fractal but its corner.
    """
    amount, decay = level
    height, width = images.shape[1:3]
    clouds = _plasma(drawn, decay)[:, :height, :width, None]
    light = images / 255
    brightest = light.max(axis=(1, 2, 3), keepdims=True)
    return 255 * (light + amount * clouds) * brightest / (brightest + amount)


def pixelate(images: np.ndarray, level: float, drawn: None = None) -> np.ndarray:
    """Scaled to a share of the side and back, by areas (Pillow's BOX): uint8."""
    height, width = images.shape[1:3]
    small = max(1, int(width * level)), max(1, int(height * level))

    def coarse(picture):
        few = picture.resize(small, Image.Resampling.BOX)
        return few.resize((width, height), Image.Resampling.BOX)

    return _each(coarse, images)


# --- what the hand does ---


def rotation(images: np.ndarray, level: float, drawn: np.ndarray) -> np.ndarray:
    """Turned about the centre by level degrees, to the left where drawn is 1, to the right at -1;
    bilinear, mirrored at the border."""

    def places(rows, columns, sign):
        angle = np.radians(sign * level)
        return (
            rows * np.cos(angle) + columns * np.sin(angle),
            columns * np.cos(angle) - rows * np.sin(angle),
        )

    return _moved(images, places, drawn)


def scale(images: np.ndarray, level: float, drawn: np.ndarray) -> np.ndarray:
    """The picture level times as large where drawn is 1, as small at -1, about its centre;
    bilinear, mirrored at the border."""

    def places(rows, columns, sign):
        return rows / level**sign, columns / level**sign

    return _moved(images, places, drawn)


def shift(images: np.ndarray, level: float, drawn: np.ndarray) -> np.ndarray:
    """Moved by whole pixels, mirrored at the border: uint8.

    level: pixels of a picture of 32, at least one of any; drawn: (N, 2), -1, 0 or 1: down, right.
    """
    height, width = images.shape[1:3]
    pixels = max(1, round(level * min(height, width) / _SIDE))
    found = np.empty_like(images)
    for down, right in np.unique(drawn, axis=0):
        part = (drawn == (down, right)).all(axis=1)
        rows = _mirrored(np.arange(height) - down * pixels, height)
        columns = _mirrored(np.arange(width) - right * pixels, width)
        found[part] = images[part][:, rows][:, :, columns]
    return found


def occlusion(images: np.ndarray, level: float, drawn: np.ndarray) -> np.ndarray:
    """A grey square somewhere in the picture: uint8. A larger one covers what a smaller one does.

    level: its side, pixels of a picture of 32; drawn: (N, 2), 0 to 1, from the top and the left.
    """
    height, width = images.shape[1:3]
    side = min(height, width, max(1, round(level * min(height, width) / _SIDE)))
    covered = []
    for axis, size in enumerate((height, width)):
        first = np.floor(drawn[:, axis, None] * (size - side + 1))
        places = np.arange(size)
        covered.append((places >= first) & (places < first + side))
    square = covered[0][:, :, None, None] & covered[1][:, None, :, None]
    return np.where(square, np.uint8(_GREY), images)


# --- their parts ---


def _each(change: Callable[[Image.Image], Image.Image], images: np.ndarray) -> np.ndarray:
    """Images, uint8 (N, height, width, channels), each through Pillow."""
    flat = images if images.shape[-1] == 3 else images[..., 0]
    found = [np.asarray(change(Image.fromarray(image))) for image in flat]
    return np.array(found, np.uint8).reshape(images.shape)


def _mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Whole places, of any number, within 0 to size - 1: numpy.pad's "reflect"."""
    period = max(1, 2 * (size - 1))
    places = places % period
    return np.where(places < size, places, period - places)


def _moved(images: np.ndarray, places: Callable, drawn: np.ndarray) -> np.ndarray:
    """Each pixel read, bilinearly, where places(rows, columns, sign) says, all from the centre.

    images: uint8 (N, height, width, channels); drawn: (N,), -1 or 1, the sign. Returns float32.
    """
    height, width = images.shape[1:3]
    centre = (height - 1) / 2, (width - 1) / 2
    grid = np.mgrid[:height, :width].astype(float)
    found = np.empty(images.shape, np.float32)
    for sign in np.unique(drawn):
        rows, columns = places(grid[0] - centre[0], grid[1] - centre[1], sign)
        rows, columns = rows + centre[0], columns + centre[1]
        top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
        lower, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
        part = drawn == sign
        whole, total = images[part], np.float32(0)
        for down, of_rows in ((0, 1 - lower), (1, lower)):
            for across, of_columns in ((0, 1 - right), (1, right)):
                pixels = whole[:, _mirrored(top + down, height), _mirrored(left + across, width)]
                total = total + (of_rows * of_columns)[..., None] * pixels
        found[part] = total
    return found


def _plasma_side(shape: tuple[int, ...]) -> int:
    """The side of a fractal that covers a picture: a power of two."""
    return 1 << max(1, (max(shape[:2]) - 1).bit_length())


def _plasma(drawn: np.ndarray, decay: float) -> np.ndarray:
    """Fractals by the diamond-square algorithm, joined at opposite borders: float (N, side, side),
    0 to 1.

    drawn: uniform, 0 to 1, (N, side * side - 1). decay: each step of half the width moves that many
        times less.
    """
    side = int(np.sqrt(drawn.shape[1] + 1))
    field = np.zeros((len(drawn), side, side))
    used, wobble, step = 0, 100.0, side

    def moved(total):
        """A quarter of the sum of four neighbours, and chance."""
        nonlocal used
        count = total[0].size
        chance = drawn[:, used : used + count].reshape(total.shape)
        used += count
        return total / 4 + wobble * wobble * (2 * chance - 1)

    def with_next(values, axis, by):
        return values + np.roll(values, by, axis=axis)

    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        field[:, half::step, half::step] = moved(with_next(with_next(corners, 1, -1), 2, -1))
        middles = field[:, half::step, half::step]
        around = with_next(middles, 1, 1) + with_next(corners, 2, -1)
        field[:, ::step, half::step] = moved(around)
        around = with_next(middles, 2, 1) + with_next(corners, 1, -1)
        field[:, half::step, ::step] = moved(around)
        step, wobble = half, wobble / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    return field / field.max(axis=(1, 2), keepdims=True)


def _sign(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1, 1])


def _direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One of the eight neighbours."""
    place = rng.integers(8)
    return np.array(divmod(int(place + (place >= 4)), 3)) - 1


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _points(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(_plasma_side(shape) ** 2 - 1)


def _corner(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(2)


CORRUPTIONS = {
    "noise": Corruption(
        (0.04, 0.06, 0.08, 0.09, 0.10), "standard deviation, share of 255", noise, _normal
    ),
    "blur": Corruption((0.4, 0.6, 0.7, 0.8, 1.0), "standard deviation, pixels", blur),
    "jpeg": Corruption((80, 65, 58, 50, 40), "quality (4:2:0)", as_jpeg),
    "brightness": Corruption(
        (0.05, 0.1, 0.15, 0.2, 0.3),
        "added to the value (of hue, saturation, value), share of 255",
        brightness,
    ),
    "contrast": Corruption(
        (0.75, 0.5, 0.4, 0.3, 0.15), "share left of the distance from each channel's mean", contrast
    ),
    "fog": Corruption(
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "(amount of a plasma fractal, decay of its finer steps)",
        fog,
        _points,
    ),
    "pixelate": Corruption(
        (0.95, 0.9, 0.85, 0.75, 0.65), "share of the side, there and back", pixelate
    ),
    "rotation": Corruption((5, 10, 15, 20, 30), "degrees, to the left or right", rotation, _sign),
    "shift": Corruption((1, 2, 3, 4, 6), "pixels, in one of eight directions", shift, _direction),
    "scale": Corruption((1.05, 1.1, 1.2, 1.3, 1.5), "times as large or small", scale, _sign),
    "occlusion": Corruption(
        (6, 8, 10, 12, 16), "side of a grey square within the picture, pixels", occlusion, _corner
    ),
}
NAMES = tuple(CORRUPTIONS)
