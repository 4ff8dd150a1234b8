"""One picture, of any size, format and mode, as the array that a network takes."""

import os
import warnings
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError, reason


def read_image(
    file: str | os.PathLike | BinaryIO, input_shape: Sequence[int], name: str | None = None
) -> np.ndarray:
    """Read any image that Pillow reads.

    EXIF orientation is honoured, transparency is laid on white, 16-bit grey is scaled to 8 bits,
    the first frame of an animation is taken; the shorter side is scaled to fit and the centre
    cropped.

    Args:
        file: a path, or a binary file object.
        input_shape: (height, width, channels), channels 1 (grey) or 3 (RGB).
        name: what errors call the file; default: its path.

    Returns:
        uint8 (height, width, channels), 0-255.

    Raises:
        InputError: the file is no image, damaged, or claims over 179 million pixels.
    """
    called = name or file
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 million pixels on, and refuses at twice that
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                image.load()
                return _to_array(ImageOps.exif_transpose(image), input_shape)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(
            f"{called}: claims over 179 million pixels: refused as a decompression bomb"
        ) from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{called}: cannot be read ({reason(error)})") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        if "cannot identify" in str(error):
            raise InputError(f"{called}: is not an image that Pillow reads") from None
        raise InputError(f"{called}: damaged image ({reason(error)[:150]})") from None


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
    fitted = [
        _to_array(Image.fromarray(i.squeeze(-1) if i.shape[-1] == 1 else i), input_shape)
        for i in images
    ]
    return np.array(fitted, np.uint8).reshape(len(images), *input_shape)


def _to_array(image: Image.Image, input_shape: Sequence[int]) -> np.ndarray:
    height, width, channels = input_shape
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if values.max(initial=0) > 255:
            values = values / 257
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, channels)
