"""Where on a picture a class is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Heat:
    """How much each place of N pictures speaks for a class.

    Fields:
        maps: float32 (N, height, width) at the pictures' size, 0 to 1; the greatest of each picture
            is 1, or all is 0 where no place speaks for the class.
        raw: float32 (N, rows, columns), what they are made of, negative where a place speaks
            against the class: of Grad-CAM the sum of the weighted feature maps, of occlusion the
            drop of the probability for each place of the square.
        classes: int64 (N,), the class that each map is of.
        layer: whose feature maps they are of; "" for occlusion.
    """

    maps: np.ndarray
    raw: np.ndarray
    classes: np.ndarray
    layer: str = ""

    def over(self, images: np.ndarray) -> np.ndarray:
        """The pictures in grey under their maps, black to red to yellow to white.

        images: uint8 (N, height, width, 1 or 3), those that the maps are of. Returns uint8
        (N, height, width, 3).
        """
        grey = images.astype(np.float32).mean(3, keepdims=True)
        heat = self.maps[..., None]
        colours = 255 * (3 * heat - np.arange(3)).clip(0, 1)
        shown = 0.7 * heat
        return (grey * (1 - shown) + colours * shown).round().astype(np.uint8)


def of_places(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps of pictures' size from coarse ones.

    Args:
        places: float32 (N, rows, columns); what is below 0 counts as 0.
        shape: (height, width) of the pictures.

    Returns:
        float32 (N, height, width), 0 to 1: interpolated between the middles of the places, and
        divided by the greatest of each picture.
    """
    from PIL import Image

    size = shape[1], shape[0]
    large = [
        np.asarray(Image.fromarray(place).resize(size, Image.Resampling.BILINEAR))
        for place in places.clip(0).astype(np.float32)
    ]
    return scaled(np.stack(large))


def scaled(maps: np.ndarray) -> np.ndarray:
    """float32 (N, height, width), 0 to 1: what is above 0, over the greatest of each picture."""
    maps = maps.clip(0)
    most = maps.max((1, 2), keepdims=True)
    # what rounding leaves of nothing is nothing
    return np.where(most > 1e-12, maps / np.maximum(most, 1e-12), 0).astype(np.float32)
