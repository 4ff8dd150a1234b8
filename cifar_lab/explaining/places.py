"""Where on the picture the pixels of a feature map look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Graph, Step

Line = tuple[float, float]  # along one side: the middle of the first pixel's view, and the step


def centres(graph: Graph, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """The middles of what the pixels of a feature map look at.

    A map without padding looks at the inside of a picture, and what no window of a pooling fits
    into is not seen: stretching the map over the picture would move it by several pixels.

    Returns:
        (rows, columns): float (h,) and (w,), in pixels of the picture, whose first one's middle is
        at 0.
    """
    lines: dict[int, tuple[Line, Line]] = {id(graph.model.inputs[0]): ((0.0, 1.0), (0.0, 1.0))}
    for passed in graph.steps:
        known = [t for t in passed.inputs if id(t) in lines and len(t.shape) == 4]
        if known and len(passed.output.shape) == 4:
            before, axes = known[0], (0, 1)
            rows, columns = (_through(passed, before, lines[id(before)][a], a) for a in axes)
            lines[id(passed.output)] = rows, columns
        if passed is step:
            break
    height, width = step.output.shape[1:3]
    (y, down), (x, right) = lines[id(step.output)]
    return y + down * np.arange(height), x + right * np.arange(width)


def spread(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: Any) -> np.ndarray:
    """Maps at the size of the picture, interpolated between the middles of their pixels, and
    beyond the outermost as they are there.

    Args:
        maps: float (N, h, w).
        rows, columns: float (h,) and (w,), see `centres`.
        shape: (height, width) of the picture.

    Returns:
        float (N, height, width).
    """
    height, width = shape
    down, right = _weights(height, rows), _weights(width, columns)
    return np.einsum("yi,nij,xj->nyx", down, maps, right)


def _weights(size: int, middles: np.ndarray) -> np.ndarray:
    """(size, len(middles)): how much of each value a pixel has."""
    return np.stack([np.interp(np.arange(size), middles, one) for one in np.eye(len(middles))], 1)


def _through(step: Step, before: Any, line: Line, axis: int) -> Line:
    """The line of what a layer gives, from that of what it takes."""
    import keras

    layer, (start, jump) = step.layer, line
    size, given = before.shape[1 + axis], step.output.shape[1 + axis]
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is not None and not isinstance(layer, keras.layers.Conv2DTranspose):
        stride = layer.strides[axis]
        dilation = getattr(layer, "dilation_rate", (1, 1))
        dilation = dilation[axis] if isinstance(dilation, (tuple, list)) else dilation
        side = dilation * (window[axis] - 1) + 1
        padding = max((given - 1) * stride + side - size, 0) if layer.padding == "same" else 0
        return start + jump * ((side - 1) / 2 - padding // 2), jump * stride
    if isinstance(layer, keras.layers.ZeroPadding2D) and layer.data_format == "channels_last":
        return start - jump * layer.padding[axis][0], jump
    share = size / given  # 1 where each pixel is worked on by itself
    return start + jump * (share - 1) / 2, jump * share
