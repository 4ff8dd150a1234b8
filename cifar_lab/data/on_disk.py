"""Images that stay in files, for sets larger than memory: what is asked for is read, as from an
array."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

PIECE_BYTES = 16 << 20  # of what is read at a time where all is gone through


class OnDisk:
    """Images in memory-mapped files: uint8 (N, height, width, channels), 0-255.

    `len`, `shape`, an index, a slice, a mask and an array of indices mean what they mean for an
    array, and what they give is a copy in memory. `np.asarray` reads all. `only` chooses images and
    reads none.

    Args:
        files: uint8 arrays (M, height, width, channels), images of one shape.
        rows: int64 (N,), the images in their order, as indices into those of all files, one after
            the other; None for all.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, files: Sequence[np.ndarray], rows: np.ndarray | None = None) -> None:
        self._files = [np.asarray(file) for file in files]
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])
        self._rows = np.arange(self._starts[-1]) if rows is None else np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self._rows), *map(int, self._files[0].shape[1:])

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Of the images, which are not in memory."""
        return self.size

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            return np.asarray(self)[key]
        rows = np.asarray(self._rows[first])
        images = self._read(rows.reshape(-1)).reshape(*rows.shape, *self.shape[1:])
        return images[(*[slice(None)] * rows.ndim, *rest)] if rest else images

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in pieces(cast(np.ndarray, self)):
            yield from piece

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("images on disk: cannot be an array without a copy")
        images = self._read(self._rows)
        return images if dtype is None else images.astype(dtype)

    def only(self, chosen: Any) -> OnDisk:
        """These images alone, in this order: a mask, indices or a slice. Nothing is read."""
        return OnDisk(self._files, self._rows[chosen])

    def then(self, other: OnDisk) -> OnDisk:
        """These images, then those of another set. Nothing is read."""
        rows = np.concatenate([self._rows, other._rows + self._starts[-1]])
        return OnDisk([*self._files, *other._files], rows)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels). rows: int64 (n,). In the order in which they lie in
        the files: a disk reads ahead."""
        if (rows[1:] >= rows[:-1]).all():
            return self._read_sorted(rows)
        order = np.argsort(rows, kind="stable")
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        images[order] = self._read_sorted(rows[order])
        return images

    def _read_sorted(self, rows: np.ndarray) -> np.ndarray:
        if len(self._files) == 1:
            return np.take(self._files[0], rows, axis=0)  # other threads run meanwhile
        ends = np.searchsorted(rows, self._starts)
        parts = [
            np.take(file, rows[low:high] - start, axis=0)
            for file, start, low, high in zip(self._files, self._starts, ends[:-1], ends[1:])
        ]
        return np.concatenate(parts)


# --- arrays of images, wherever they are ---


def is_on_disk(images: Any) -> bool:
    return isinstance(images, OnDisk)


def mapped(*files: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """OnDisk, which is used as an array."""
    return cast(np.ndarray, OnDisk(files, rows))


def only(images: np.ndarray, chosen: Any) -> np.ndarray:
    """images[chosen], of which nothing is read where they are on disk."""
    return cast(np.ndarray, images.only(chosen)) if isinstance(images, OnDisk) else images[chosen]


def together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One after the other; both in memory, or both on disk."""
    if isinstance(first, OnDisk) and isinstance(second, OnDisk):
        return cast(np.ndarray, first.then(second))
    return np.concatenate([first, second])


def pieces(images: np.ndarray, multiple: int = 1) -> Iterator[np.ndarray]:
    """The images, some at a time: in memory all at once, from disk a piece after the other, each
    but the last a multiple of so many images."""
    if not is_on_disk(images):
        yield images
        return
    size = max(1, PIECE_BYTES // max(1, math.prod(images.shape[1:])))
    size = -(-size // multiple) * multiple
    for start in range(0, max(1, len(images)), size):
        yield images[start : start + size]
