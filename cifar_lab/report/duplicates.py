"""Pictures that are in two sets at once: the same, or nearly the same.

A test image that was trained on tests memory. CIFAR-10 has some 3 % of these (Barz and Denzler
2020, "Do We Train on Test Data?").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import picture_digests, pieces

SIDE = 8  # of the thumbnails that are compared first, pixels
ALIKE = 0.9  # correlation of two pictures in grey, from which on they may be one
DETAIL = 0.6  # the same of what a thumbnail does not show
_BLOCK = 1 << 24  # similarities that are held at once


@dataclass(frozen=True)
class Pair:
    """A test image and the train image that is most like it.

    Fields:
        test, train: indices.
        likeness: correlation of the two in grey, 1 for the same picture.
        same: whether every pixel is equal.
    """

    test: int
    train: int
    likeness: float
    same: bool


def pairs(test: np.ndarray, train: np.ndarray) -> list[Pair]:
    """The test images that are, or nearly are, train images, the likest first.

    Of each test image the train image is looked for whose thumbnail, 8 x 8 and grey, is the
    likeliest; the two count where they correlate by 0.9 in grey, and by 0.6 in what the thumbnail
    leaves out. Both measures overlook another brightness and contrast. A shifted, turned or
    mirrored copy is not found.

    Args:
        test: uint8 (N, height, width, channels).
        train: uint8 (M, height, width, channels).
    """
    if not len(test) or not len(train):
        return []
    twins = {digest: i for i, digest in reversed(list(enumerate(picture_digests(train))))}
    equal = [twins.get(digest) for digest in picture_digests(test)]
    result = [Pair(i, twin, 1.0, True) for i, twin in enumerate(equal) if twin is not None]
    found = _nearest(_thumbnails(test), _thumbnails(train))
    for start in range(0, len(test), 500):
        part = np.arange(start, min(start + 500, len(test)))
        a, b = _grey(test[part]), _grey(train[found[part]])
        alike = _correlations(a, b)
        detailed = _correlations(_detail(a), _detail(b))
        for i in np.flatnonzero((alike >= ALIKE) & (detailed >= DETAIL)):
            if equal[part[i]] is None:
                result.append(Pair(int(part[i]), int(found[part[i]]), float(alike[i]), False))
    return sorted(result, key=lambda pair: (not pair.same, -pair.likeness, pair.test))


def _grey(images: np.ndarray) -> np.ndarray:
    """float32 (N, height, width): the mean of the channels."""
    total = images[..., 0].astype(np.float32)
    for channel in range(1, images.shape[-1]):
        total += images[..., channel]
    return total / images.shape[-1]


def _pooled(grey: np.ndarray) -> np.ndarray:
    """float32 (N, rows, columns), at most 8 x 8: means of areas of (N, height, width)."""
    for axis in (1, 2):
        size = grey.shape[axis]
        side = min(SIDE, size)
        edges = np.arange(side) * size // side
        widths = np.diff(np.append(edges, size)).astype(np.float32)
        grey = np.add.reduceat(grey, edges, axis=axis)
        grey = grey / widths.reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
    return grey


def _detail(grey: np.ndarray) -> np.ndarray:
    """What a thumbnail leaves out of each picture."""
    small = _pooled(grey)
    for axis in (1, 2):
        size, side = grey.shape[axis], small.shape[axis]
        edges = np.append(np.arange(side) * size // side, size)
        small = np.repeat(small, np.diff(edges), axis=axis)
    return grey - small


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """float32 (N, values): thumbnails of mean 0 and length 1; 0 where a picture is of one grey."""
    parts = [
        _pooled(_grey(piece[i : i + 5000]))
        for piece in pieces(images)
        for i in range(0, len(piece), 5000)
    ]
    flat = np.concatenate(parts).reshape(len(images), -1)
    flat -= flat.mean(1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(lengths > 1e-3, flat / np.maximum(lengths, 1e-3), 0).astype(np.float32)


def _nearest(test: np.ndarray, train: np.ndarray) -> np.ndarray:
    """int (N,): of each row of `test` the row of `train` with the largest product."""
    size = max(1, _BLOCK // len(train))
    blocks = [(test[i : i + size] @ train.T).argmax(1) for i in range(0, len(test), size)]
    return np.concatenate(blocks)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float32 (N,), -1 to 1; 0 where one of the two is constant."""
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    product = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.where(product > 1e-3, (a * b).sum(1) / np.maximum(product, 1e-3), 0)
