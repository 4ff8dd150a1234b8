"""Pixels that were divided by 255, where a network takes 0-255: nothing fails, and its answers are
those of chance."""

import warnings

import numpy as np

FEWEST = 16  # values: fewer may be small by chance


def divided(images: np.ndarray) -> str:
    """What is wrong with floats that look like pixels divided by 255, "" where nothing is.

    images: an array. Whole numbers are taken as they are, and so is what is 0 throughout.
    """
    if getattr(images, "dtype", None) == np.uint8:  # which may be on disk
        return ""
    images = np.asarray(images)
    if images.dtype.name == "bfloat16":  # no kind of numpy's own
        images = images.astype("float32")
    if images.dtype.kind != "f" or images.size <= FEWEST:
        return ""
    low, high = float(images.min()), float(images.max())
    if not high <= 1 or low == high == 0:
        return ""
    return (
        f"floats from {low:.4g} to {high:.4g}, where pixels are 0-255: they must not be divided by "
        "255"
    )


def warn(images: np.ndarray, name: str, stacklevel: int = 3) -> None:
    """A UserWarning of `divided`, once. stacklevel: as warnings.warn, of its caller's caller."""
    wrong = divided(images)
    if wrong:
        warnings.warn(f"{name}: {wrong}", stacklevel=stacklevel)
