"""One picture, of any size, format and mode, as the array that a network takes."""

import functools
import importlib
import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from .. import files, memory
from ..errors import InputError, reason
from . import containers
from .containers import Container
from .names import shown

# What is read, by the endings of names: Pillow's formats that hold pixels and start no program.
# Pillow reads more, EPS through Ghostscript among them.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "ICO": (".ico",),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
}
_PLUGINS = "Avif Bmp Gif Ico Jpeg Jpeg2K Mpo Pcx Png Ppm Qoi Tga Tiff WebP".split()  # theirs
MAX_PIXELS = 200_000_000  # as many as the cameras of phones have
# Less where the decoder takes 12 (GIF) to 36 (JPEG 2000) bytes a pixel, so that 1 GB is enough
MAX_PIXELS_OF = {
    **{"GIF": 80_000_000, "WEBP": 60_000_000, "AVIF": 60_000_000, "JPEG2000": 25_000_000},
    "ICO": 1 << 24,
}
MAX_SIDE = 1 << 20  # pixels: Pillow takes 8 bytes a row, however narrow
MAX_SLOW = 1 << 24  # pixels where the decoder is written in Python: some BMP and PPM, QOI
MAX_DRAWN = 1 << 33  # pixels of a JPEG, times the passes that draw it
MAX_MEMORY = 10**9  # bytes that a decoder takes
MAX_BYTES = 1 << 29  # of a file
MAX_PIPE = 1 << 28  # of a pipe, or of another open file, whose size nothing tells
LARGE = 1 << 24  # pixels from which a picture is shrunk before it is converted, and read alone
_BAND = 1 << 22  # pixels that are converted at a time
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN = Container(b"")
_one_large = threading.RLock()


class Unreadable(InputError):
    """A file is no picture, or a damaged one. The message does not name it."""


def read_image(
    file: str | os.PathLike | BinaryIO, input_shape: Sequence[int], name: str | None = None
) -> np.ndarray:
    """Read a picture of any of `FORMATS`.

    Orientation is honoured (EXIF, in PNG, WebP and TIFF too), other metadata are not looked at.
    Transparency is laid on white, the first frame of an animation is taken. Values of more than
    8 bits are scaled by their type, or by a TIFF's SMinSampleValue and SMaxSampleValue; floats are
    0 to 1 or 0 to 255. A JPEG is decoded at the smallest size that is at least twice what is
    asked for. The shorter side is scaled to fit and the centre cropped.

    Args:
        file: a path, or a binary file object.
        input_shape: (height, width, channels), channels 1 (grey) or 3 (RGB).
        name: what errors call the file; default: its path.

    Returns:
        uint8 (height, width, channels), 0-255.

    Raises:
        InputError: the file is no image, damaged, claims over 200 million pixels (of some formats
            fewer) or takes over 1 GB to decode, or holds values whose range nothing tells.
    """
    path = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
    called = shown(name or path or str(file))
    try:
        return decode(read_file(file), input_shape, Path(path).suffix)
    except Unreadable as error:
        raise InputError(f"{called}: {error}") from None
    except OSError as error:
        raise InputError(f"{called}: cannot be read ({reason(error)})") from None
    except MemoryError:
        raise InputError(f"{called}: does not fit into memory") from None


def read_file(file: str | os.PathLike | BinaryIO) -> bytes:
    """The bytes of a file, which are bounded. Raises OSError, Unreadable."""
    if isinstance(file, (str, bytes, os.PathLike)):
        return files.read(file, MAX_BYTES, MAX_PIPE)
    parts, left = [], MAX_PIPE + 1
    while part := file.read(left):
        parts.append(part)
        left -= len(part)
        if left <= 0:
            raise Unreadable(f"has over {MAX_PIPE >> 20:,} MB")
    return b"".join(parts)


def decode(data: bytes, input_shape: Sequence[int], ending: str = "") -> np.ndarray:
    """As `read_image`, of a file's bytes.

    Args:
        data: the file.
        input_shape: (height, width, channels).
        ending: of its name, or "".

    Raises:
        Unreadable: as `read_image`.
        MemoryError: it does not fit.
    """
    height, width, _ = input_shape
    file = containers.unpack(data)
    del data
    formats = _formats(bool(ending) and ending.lower() not in FORMATS["TGA"])
    try:
        _check_size(file.pixels, file.kind)
        _check_work(file)
        with (
            _quiet,
            _alone(file.pixels, file.kind),
            Image.open(io.BytesIO(file.data), formats=formats) as image,
        ):
            _check_size(image.width * image.height, image.format or "")
            if max(image.size) > MAX_SIDE:
                raise Unreadable(f"has {max(image.size):,} pixels on a side, may have {MAX_SIDE:,}")
            if any(part[0] in Image.DECODERS for part in image.tile):  # written in Python
                _check_size(image.width * image.height, "", MAX_SLOW)
            turn = file.orientation
            if turn == 1 and image.format == "AVIF":
                turn = containers.exif_orientation(image.info.get("exif") or b"")
            if image.format == "JPEG":
                size = (2 * height, 2 * width) if turn >= 5 else (2 * width, 2 * height)
                image.draft(None, size)
            with _alone(image.width * image.height, image.format or ""):
                image.load()
                return _to_array(image, input_shape, file, turn)
    except (Unreadable, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _bomb(MAX_PIXELS) from None
    except Image.UnidentifiedImageError:
        raise Unreadable(
            f"damaged image (or a {file.kind} of a kind that Pillow does not decode)"
            if file.kind
            else "is not an image of a format that is read"
        ) from None
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise Unreadable(f"damaged image ({reason(error)[:150]})") from None


def _check_size(pixels: int, kind: str, most: int = MAX_PIXELS) -> None:
    limit = MAX_PIXELS_OF.get(kind, most)
    if pixels > limit:
        raise _bomb(limit)


def _check_work(file: Container) -> None:
    """Unreadable where the decoder would take too much memory or time."""
    if file.memory > MAX_MEMORY:
        raise Unreadable(
            f"takes {file.memory / 1e9:,.1f} GB to decode, may take {MAX_MEMORY / 1e9:.1f} GB"
        )
    if file.pixels * file.passes > MAX_DRAWN:
        raise Unreadable(f"is drawn in {file.passes:,} passes: refused as a decompression bomb")


def _bomb(limit: int) -> Unreadable:
    return Unreadable(
        f"claims over {round(limit / 1e6)} million pixels: refused as a decompression bomb"
    )


def _alone(pixels: int, kind: str) -> AbstractContextManager:
    """Pictures that take much memory are decoded one at a time."""
    is_large = pixels > LARGE * MAX_PIXELS_OF.get(kind, MAX_PIXELS) / MAX_PIXELS
    return _one_large if is_large else nullcontext()


def endings() -> frozenset[str]:
    """The endings of names, in lower case, of the formats that this Pillow reads."""
    return frozenset(ending for name in _formats(False) for ending in FORMATS[name])


@functools.cache
def _formats(without_tga: bool) -> tuple[str, ...]:
    """The formats to try. Nothing in a file says that it is a TGA, so that comes last, or never."""
    for name in _PLUGINS:  # Image.init() imports all 45, which takes longer than a prediction
        with suppress(ImportError):
            importlib.import_module(f"PIL.{name}ImagePlugin")
    return tuple(f for f in FORMATS if f in Image.OPEN and not (without_tga and f == "TGA"))


class _Quiet:
    """No warnings while any thread is inside: `catch_warnings` alone restores in the wrong order.

    Pillow warns from 89 million pixels on, and of tags that nobody needs.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()


def fit_images(images: np.ndarray, input_shape: Sequence[int]) -> np.ndarray:
    """Bring images to another shape, as `read_image` would.

    Args:
        images: uint8 (N, h, w, c), 0-255.
        input_shape: (height, width, channels).

    Returns:
        uint8 (N, height, width, channels); `images` itself where it has the shape already.
    """
    if images.shape[1:] == tuple(input_shape):
        return images
    memory.require(len(images) * math.prod(input_shape), f"images of {list(input_shape)}")
    fitted = np.empty((len(images), *input_shape), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        fitted[i] = _to_array(picture, input_shape)
    return fitted


def _to_array(
    image: Image.Image,
    input_shape: Sequence[int],
    file: Container = _PLAIN,
    orientation: int = 1,
) -> np.ndarray:
    height, width, channels = input_shape
    stored = (height, width) if orientation >= 5 else (width, height)
    image = _flattened(image, "L" if channels == 1 else "RGB", stored, file)
    if orientation in _TRANSPOSED:
        image = image.transpose(_TRANSPOSED[orientation])
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, channels)


def _flattened(
    image: Image.Image, mode: str, size: tuple[int, int], file: Container
) -> Image.Image:
    """The picture in mode L or RGB; a large one cropped and shrunk, band by band, to at least eight
    times `size`, so that memory holds it once."""
    convert = _conversion(image, mode, file)
    if image.width * image.height <= LARGE:
        return convert(image)
    scale = min(image.width / size[0], image.height / size[1])
    width, height = (min(o, round(scale * s) or 1) for o, s in zip(image.size, size))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    factor = max(1, int(scale / 8))
    rows = max(1, _BAND // width // factor) * factor
    shrunk = Image.new(mode, (-(-width // factor), -(-height // factor)))
    for y in range(0, height, rows):
        band = image.crop((left, top + y, left + width, top + min(y + rows, height)))
        shrunk.paste(convert(band).reduce(factor), (0, y // factor))
    return shrunk


def _conversion(
    image: Image.Image, mode: str, file: Container
) -> Callable[[Image.Image], Image.Image]:
    """How this picture, or a part of it, is brought to mode L or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        low, high = _range(image, file)
        clear = image.info.get("transparency")

        def grey_part(part: Image.Image) -> Image.Image:
            values = _values(part, file)
            if values.dtype == np.uint16:  # looked up, which needs no floats of a large picture
                grey = scaled(np.arange(1 << 16))[values]
            else:
                grey = scaled(values)
            if isinstance(clear, int):
                grey[values == clear] = 255
            return Image.fromarray(grey).convert(mode)

        def scaled(values: np.ndarray) -> np.ndarray:
            grey = (values.astype(np.float64) - low) * (255 / (high - low))
            grey = grey.clip(0, 255).round().astype(np.uint8)
            return 255 - grey if file.inverted else grey

        return grey_part
    if file.kind == "TIFF" and file.bits == 16 and file.high not in (None, 65535):
        raise Unreadable(f"holds 16-bit colours up to {file.high:.0f}: Pillow cuts them to 8 bits")
    if file.kind == "PNG" and file.bits != 8 and "transparency" in image.info:
        image.info["transparency"] = _eight_bits(image, file.bits)

    def colours(part: Image.Image) -> Image.Image:
        if part.mode in ("La", "RGBa"):  # multiplied by its opacity
            part = part.convert(part.mode.upper())
        if "A" in part.getbands() or "transparency" in part.info:
            rgba = part.convert("RGBA")
            part = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        if part.mode == "LAB":
            part = part.convert("RGB")
        return part if part.mode == mode else part.convert(mode)

    return colours


def _eight_bits(image: Image.Image, bits: int) -> Any:
    """A PNG's transparent grey or colour, as Pillow scaled the pixels."""
    clear = image.info["transparency"]
    if image.mode == "L" and bits < 8:
        return clear * 255 // (2**bits - 1)
    if image.mode == "RGB" and bits == 16:
        return tuple(value >> 8 for value in clear)
    return clear


def _values(part: Image.Image, file: Container) -> np.ndarray:
    """(height, width) of a picture of more than 8 bits, or of a part of it."""
    values = np.asarray(part)
    if file.kind == "TIFF" and file.bits == 32 and values.dtype == np.int32 and not file.signed:
        values = values.view(np.uint32)
    return values


def _range(image: Image.Image, file: Container) -> tuple[float, float]:
    """The values of black and white of a picture of more than 8 bits. Raises Unreadable."""
    if file.low is not None and file.high is not None:
        if not (np.isfinite([file.low, file.high]).all() and file.low < file.high):
            raise Unreadable(f"its tags say that it goes from {file.low:g} to {file.high:g}")
        if (file.low, file.high) == (0, 65535):
            _refuse_few_levels(image)
        return file.low, file.high
    if image.mode == "F":
        return _float_range(image)
    if file.kind == "TIFF" and (image.mode == "I" or file.signed):
        kind = "signed" if file.signed else "whole"
        raise Unreadable(
            f"holds {kind} numbers of {file.bits} bits, and no tag (SMinSampleValue, "
            "SMaxSampleValue) says what is black and what is white"
        )
    bits = file.bits or 16
    if bits == 16:
        _refuse_few_levels(image)
    return 0, 2**bits - 1


def _refuse_few_levels(image: Image.Image) -> None:
    """Raises Unreadable where a picture of 16 bits uses 12 or fewer of them: as it stands it is
    nearly black, and nothing says whether it is meant to be."""
    high = max(values.max() for values in _bands(image))
    if 0 < high < 4096:
        raise Unreadable(
            f"holds 16-bit values up to {high} only, of 65,535, and no tag says that this is "
            "white: save it with 8 bits"
        )


def _bands(image: Image.Image) -> Iterator[np.ndarray]:
    """The values of a picture, some rows at a time."""
    rows = max(1, _BAND // image.width)
    for y in range(0, image.height, rows):
        yield np.asarray(image.crop((0, y, image.width, min(y + rows, image.height))))


def _float_range(image: Image.Image) -> tuple[float, float]:
    """0 to 1 or 0 to 255, by what a picture of floats holds. Raises Unreadable."""
    low, high = np.inf, -np.inf
    for values in _bands(image):
        if not np.isfinite(values).all():
            raise Unreadable("holds numbers that are not finite")
        low, high = min(low, values.min()), max(high, values.max())
    if low >= -0.001 and high <= 1.001:
        return 0, 1
    if low >= -0.5 and 16 <= high <= 255.5:
        return 0, 255
    raise Unreadable(
        f"holds numbers from {low:g} to {high:g}: must be 0 to 1, or 0 to 255 (with some above 16)"
    )
