"""The data's pictures on a page: small ones, in rows and sheets; or a line, where none are wanted.

What `pictures` of what is reported forbids, no section shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from . import page as html
from .page import Html

LARGEST = 64  # pixels of a side that are shown; larger pictures are made smaller
LEFT_OUT = "Pictures of the data are left out of this page."


class Reported(Protocol):
    """What is reported: it says whether its page shows pictures of the data."""

    @property
    def pictures(self) -> bool: ...


def small(image: np.ndarray) -> np.ndarray:
    """An image of at most 64 pixels a side: uint8 (height, width, channels) as it is, or fewer
    pixels of it."""
    if max(image.shape[:2]) <= LARGEST:
        return image
    from PIL import Image

    scale = LARGEST / max(image.shape[:2])
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    flat = image[..., 0] if image.shape[2] == 1 else image
    found = np.asarray(Image.fromarray(flat).resize(size, Image.Resampling.BOX))
    return found[..., None] if found.ndim == 2 else found


def gallery(reported: Reported, items: Iterable[tuple[np.ndarray, str, Any]]) -> Html:
    """Pictures in rows, each (image, alt, caption); captions alone where pictures are left out."""
    items = list(items)
    if reported.pictures:
        return html.gallery((small(image), alt, caption) for image, alt, caption in items)
    return html.element("ul", *(html.element("li", caption) for _, _, caption in items))


def sheet(images: Sequence[np.ndarray], columns: int, gap: int = 2) -> np.ndarray:
    """Images of one shape side by side, uint8 (height, width, 4), nothing between them.

    images: uint8 (height, width, 1 or 3).
    """
    tiles = [_opaque(small(image)) for image in images]
    height, width, channels = tiles[0].shape
    rows = -(-len(tiles) // columns)
    shape = rows * (height + gap) - gap, min(columns, len(tiles)) * (width + gap) - gap, channels
    found = np.zeros(shape, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        found[top : top + height, left : left + width] = tile
    return found


def _opaque(image: np.ndarray) -> np.ndarray:
    """uint8 (height, width, 4): red, green, blue, and 255."""
    colours = image.repeat(3, 2) if image.shape[2] == 1 else image
    return np.concatenate([colours, np.full_like(colours[..., :1], 255)], 2)
