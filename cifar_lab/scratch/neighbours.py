"""The k nearest neighbours: a classifier that learns nothing and compares with everything.

    near = nearest_neighbours(train, queries, k=5, norm=1)
    answers = majority(train_labels[near])

Cover and Hart (1967), as CS231n begins with it. Training is keeping the pictures; an answer costs
a pass over all of them. A trained network has it the other way round.
"""

from __future__ import annotations

import numpy as np

from .layers import Array

_QUERIES = 250  # whose distances are held at a time: (250, N)
_BLOCK = 64  # pictures compared at a time with one query: they stay in the processor's cache
_WIDE_BLOCK = 1024  # pictures in one matrix product


def nearest_neighbours(train: Array, queries: Array, k: int = 1, norm: int = 2) -> Array:
    """Which pictures are nearest to each query.

    Whole pixels give exact distances, so that every machine finds the same neighbours.

    Args:
        train: (N, ...), whole numbers or floats, of any shape behind the first axis.
        queries: (Q, ...), the same shape behind.
        k: how many, 1 to N.
        norm: 1, the sum of the absolute differences, or 2, the root of the sum of their squares.

    Returns:
        int64 (Q, k): places in `train`, the nearest first; of equally near ones the lower place.

    Raises:
        ValueError: other shapes, k out of range, or another norm.
    """
    if train.shape[1:] != queries.shape[1:]:
        raise ValueError(
            f"queries: must have shape (Q, {', '.join(map(str, train.shape[1:]))}), received "
            f"{queries.shape}"
        )
    if not 1 <= k <= len(train):
        raise ValueError(f"k: must be 1 to {len(train):,}, received {k}")
    found = [
        _nearest(distances(train, queries[i : i + _QUERIES], norm), k)
        for i in range(0, len(queries), _QUERIES)
    ]
    return np.concatenate(found) if found else np.empty((0, k), np.int64)


def distances(train: Array, queries: Array, norm: int = 2) -> Array:
    """How far every picture is from every query: float64 (Q, N).

    Arguments as of `nearest_neighbours`; the result is held at once, so give some hundred queries
    at a time.
    """
    if norm not in (1, 2):
        raise ValueError(f"norm: must be 1 or 2, received {norm!r}")
    train, queries = train.reshape(len(train), -1), queries.reshape(len(queries), -1)
    return _absolute(train, queries) if norm == 1 else np.sqrt(_squared(train, queries))


def _absolute(train: Array, queries: Array) -> Array:
    """Sums of absolute differences. Bytes are compared as int16, which a difference fits into."""
    bytes_ = train.dtype == queries.dtype == np.uint8
    kind, total = (np.int16, np.int32) if bytes_ else (np.float64, np.float64)
    queries, out = queries.astype(kind), np.empty((len(queries), len(train)))
    for start in range(0, len(train), _BLOCK):
        block = train[start : start + _BLOCK].astype(kind)
        difference = np.empty_like(block)
        for row, query in zip(out, queries, strict=True):
            np.abs(np.subtract(block, query, out=difference), out=difference)
            row[start : start + _BLOCK] = difference.sum(1, dtype=total)
    return out


def _squared(train: Array, queries: Array) -> Array:
    """Squared distances by one matrix product: |a - b|^2 = |a|^2 - 2 ab + |b|^2."""
    queries = queries.astype(np.float64)
    out = np.empty((len(queries), len(train)))
    for start in range(0, len(train), _WIDE_BLOCK):
        block = train[start : start + _WIDE_BLOCK].astype(np.float64)
        out[:, start : start + _WIDE_BLOCK] = (block**2).sum(1) - 2 * (queries @ block.T)
    out += (queries**2).sum(1)[:, None]
    return np.maximum(out, 0)  # rounding of floats may end below 0


def _nearest(far: Array, k: int) -> Array:
    """(Q, N) -> the places of the k smallest of each row, in order, of equal ones the lower."""
    limit = np.partition(far, k - 1, axis=1)[:, k - 1, None]
    row, place = np.nonzero(far <= limit)  # k of each row, and what is as far as the k-th
    order = np.lexsort((place, far[row, place], row))
    first = np.searchsorted(row, np.arange(len(far)))
    return place[order[first[:, None] + np.arange(k)]]


def majority(labels: Array) -> Array:
    """The class that most of the neighbours have.

    Args:
        labels: int (Q, k), of each query's neighbours, the nearest first.

    Returns:
        int (Q,); of classes with equally many votes, the one whose neighbour comes first.
    """
    votes = (labels[:, :, None] == labels[:, None, :]).sum(2)  # for the class of each neighbour
    return np.take_along_axis(labels, votes.argmax(1)[:, None], 1)[:, 0]
