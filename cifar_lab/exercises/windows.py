"""The way back of a window that slides over a picture, written out: what the exercises on
convolution and pooling are compared with."""

from __future__ import annotations

import numpy as np

from ..scratch import windows as sliding


def add_windows(seen: np.ndarray, shape: tuple[int, ...], strides: tuple[int, int]) -> np.ndarray:
    """The transpose of `scratch.windows.windows`: a pixel that k windows saw gets k values, added.

    Args:
        seen: (N, down, across, rows, columns, C).
        shape: of the padded picture, (N, height, width, C).
        strides: pixels from one window to the next, down and across.

    Returns:
        An array of that shape.
    """
    out = np.zeros(shape, seen.dtype)
    for i, j in np.ndindex(*seen.shape[3:5]):
        view = sliding.seen_by(out, i, j, seen.shape[1:3], strides)
        view += seen[:, :, :, i, j]
    return out
