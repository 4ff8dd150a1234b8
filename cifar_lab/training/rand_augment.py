"""RandAugment (Cubuk et al. 2020): a few operations on each image, out of 14, of one strength.

The ranges are those of torchvision and of the paper's predecessor (AutoAugment; Cubuk et al. 2019);
`factor` is the paper's M / 30. Why not Keras' own layer is in `colours`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from keras import ops

from . import colours

#: At factor 1. Each is drawn with either sign; the others have none.
ROTATION, SHEAR, TRANSLATION, ENHANCEMENT = 30.0, 0.3, 0.45, 0.9
OPERATIONS = (
    "identity",
    "rotate",  # up to 30 degrees, about the centre like all that follow
    "shear_x",  # up to 0.3 pixels a row
    "shear_y",
    "translate_x",  # up to 0.45 of the width
    "translate_y",
    "brightness",  # 0.1 to 1.9 of the way from black; so the next three
    "color",  # from grey
    "contrast",  # from the mean luminance
    "sharpness",  # from the smoothed image
    "posterize",  # 8 to 4 bits
    "solarize",  # from 255 to 0 on
    "autocontrast",
    "equalize",
)


def apply(images, chosen, sign, factor: float, resampled: Callable):
    """One operation on each image.

    Args:
        images: float32 (N, height, width, channels), 0-255.
        chosen: int32 (N,), an operation's place in OPERATIONS.
        sign: -1 or 1, (N,).
        factor: strength, a number from 0 to 1.
        resampled: of images and matrices, as augment.transform.

    Returns:
        float32 (N, height, width, channels), 0-255.
    """
    height, width = images.shape[1:3]

    def strength(name, most):
        """Of the images that an operation was drawn for; 0 of the others."""
        return ops.where(chosen == OPERATIONS.index(name), factor * most * sign, 0.0)

    matrices = _matrices(
        strength("rotate", ROTATION * math.pi / 180),
        strength("shear_x", SHEAR),
        strength("shear_y", SHEAR),
        strength("translate_x", TRANSLATION * width),
        strength("translate_y", TRANSLATION * height),
        height,
        width,
    )
    images = colours.clipped(resampled(images, matrices))
    grey = colours.grey(images)
    others = {
        "brightness": ops.zeros_like(images),
        "color": grey,
        "contrast": ops.mean(grey, axis=(1, 2, 3), keepdims=True) + ops.zeros_like(images),
        "sharpness": colours.smooth(images),
    }
    enhancement = 1 + factor * ENHANCEMENT * sign
    made = {
        **{name: colours.blend(other, images, enhancement) for name, other in others.items()},
        "posterize": colours.posterized(images, 8 - round(4 * factor)),
        "solarize": colours.solarized(images, 255.0 * (1 - factor)),
        "autocontrast": colours.autocontrasted(images),
        "equalize": colours.equalized(images),
    }
    result = images
    for name, image in made.items():
        here = ops.reshape(chosen == OPERATIONS.index(name), (-1, 1, 1, 1))
        result = ops.where(here, image, result)
    return result


def _matrices(angle, shear_x, shear_y, right, down, height, width):
    """float32 (N, 2, 3) as augment.transform takes them: a turn by angle (radians, clockwise as
    seen), a shear and a shift of the content, of which all but one are 0."""
    cos, sin = ops.cos(angle), ops.sin(angle)
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    by_row = cos, -sin - shear_y
    by_column = sin - shear_x, cos
    rows = [
        ops.stack([a, b, middle + shift - a * middle_row - b * middle_column], -1)
        for (a, b), middle, shift in (
            (by_row, middle_row, -down),
            (by_column, middle_column, -right),
        )
    ]
    return ops.stack(rows, 1)
