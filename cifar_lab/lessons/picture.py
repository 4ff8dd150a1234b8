"""The lessons' pictures, in the project's one style."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import style
from .lesson import Outcome


def save(path: str | os.PathLike, outcome: Outcome, title: str) -> None:
    """Draw an outcome's picture into a PNG file. ImportError where matplotlib is not installed."""
    if outcome.draw is None:
        raise ValueError("outcome: has no picture")
    with style.style():
        figure = style.figure(outcome.height)
        outcome.draw(figure)
        figure.suptitle(title)
        style.save(figure, path)


def show_image(axes: Any, image: np.ndarray, title: str = "", **options: Any) -> None:
    """An image without ticks. image: (height, width), (height, width, 1) or (height, width, 3)."""
    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    axes.imshow(pixels, **{"cmap": "gray", "interpolation": "nearest", **options})
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def label(axes: Any, x: str, y: str, title: str = "") -> None:
    """Names of the axes, and a faint grid."""
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
