"""The filters that a network's first convolution learned, and those that people made for edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from . import subject
from .graph import Graph

if TYPE_CHECKING:
    from .subject import Network

_DEAD = 1e-6  # weights whose norm is less are none


@dataclass(frozen=True)
class Filters:
    """The filters of a network's first convolution.

    Fields:
        layer: its name.
        kernels: float32 (filters, rows, columns, channels), the weights. Of a depthwise convolution
            each filter has the one channel that it looks at.
        tiles: float32, the same shape, each filter brought to 0-1 by itself, to be shown as a
            picture: in colour where there are three channels.
    """

    layer: str
    kernels: np.ndarray
    tiles: np.ndarray


@dataclass(frozen=True)
class Edge:
    """A filter made by hand for edges, and the learned one that is most like it.

    Fields:
        name: "Sobel" or "Scharr".
        direction: "horizontal" or "vertical", in which brightness changes.
        kernel: float (rows, columns), the one made by hand.
        filter: index of the learned one.
        cosine: between the two, -1 to 1, the learned filter's colours added and without its mean;
            -1 is the same edge from bright to dark.
    """

    name: str
    direction: str
    kernel: np.ndarray
    filter: int
    cosine: float


def first_filters(model: Network) -> Filters:
    """The filters of the first convolution, whatever scales or pads the pixels before it.

    Args:
        model: a rung's name, a bundle's folder or a `.keras` file, a Classifier of one, or a
            keras.Model.

    Raises:
        InputError: no such network, an exported file, or there is no convolution.
    """
    layer = Graph(subject.keras_model(subject.opened(model))).convolutions()[0].layer
    depthwise = getattr(layer, "depthwise_kernel", None)
    kernel = np.asarray(layer.get_weights()[0], np.float32)
    if depthwise is not None or "Depthwise" in type(layer).__name__:
        kernels = kernel.reshape(*kernel.shape[:2], 1, -1).transpose(3, 0, 1, 2)
    elif "Transpose" in type(layer).__name__:
        kernels = kernel.transpose(2, 0, 1, 3)
    else:
        kernels = kernel.transpose(3, 0, 1, 2)
    return Filters(layer.name, kernels, np.stack([stretched(k) for k in kernels]))


def likest_edges(filters: Filters) -> list[Edge]:
    """Which learned filter is most like Sobel's and Scharr's, in both directions.

    Args:
        filters: square, of at least 2 x 2 pixels. Sobel's are made for any size, Scharr's are 3 x 3
            alone.

    Returns:
        An Edge for each: Sobel horizontal and vertical, and Scharr where the filters are 3 x 3.

    Raises:
        InputError: filters of one pixel, or not square.
    """
    rows, columns = filters.kernels.shape[1:3]
    if rows != columns or rows < 2:
        raise InputError(
            f"filters: must be square and at least 2 x 2 to see edges, {filters.layer}'s are "
            f"{rows} x {columns}"
        )
    made = {"Sobel": sobel(rows)} | ({"Scharr": scharr()} if rows == 3 else {})
    grey = filters.kernels.sum(3)
    grey = (grey - grey.mean((1, 2), keepdims=True)).transpose(1, 2, 0)
    found = []
    for name, across in made.items():
        for direction, kernel in (("horizontal", across), ("vertical", across.T)):
            alike = cosines(grey, kernel)
            best = int(abs(alike).argmax())
            found.append(Edge(name, direction, kernel, best, float(alike[best])))
    return found


def sobel(side: int = 3) -> np.ndarray:
    """Sobel's filter for a change from right to left, int (side, side), side at least 2.

    Binomial weights along the edge, their differences across it; `sobel(3)` is Sobel's own.
    """
    along, across = np.ones(1, int), np.array([1, -1])
    for _ in range(side - 1):
        along = np.convolve(along, [1, 1])
    for _ in range(side - 2):
        across = np.convolve(across, [1, 1])
    return np.outer(along, across)


def scharr() -> np.ndarray:
    """Scharr's filter for a change from right to left, int (3, 3)."""
    return np.outer([3, 10, 3], [1, 0, -1])


def cosines(kernels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The cosine between each filter and another, -1 to 1; 0 for a filter of zeros.

    kernels: float (rows, columns, F). kernel: (rows, columns). Returns float (F,).
    """
    flat = kernels.reshape(-1, kernels.shape[-1])
    size = np.linalg.norm(flat, axis=0)
    direction = kernel.ravel() / np.linalg.norm(kernel)
    return direction @ flat / np.where(size > _DEAD, size, np.inf)


def stretched(weights: np.ndarray) -> np.ndarray:
    """Weights as a picture: the least is 0, the greatest 1."""
    low, high = weights.min(), weights.max()
    return (weights - low) / max(high - low, 1e-12)
