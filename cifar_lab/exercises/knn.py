"""The k nearest neighbours: nothing is learned, everything is kept."""

from __future__ import annotations

import numpy as np

from .exercise import Case, Exercise, Found, Function, Functions, Wrong
from .pictures import flat, pictures


def distances(train, test):
    """The L2 distance of every test image to every train image: sqrt(sum (a - b)^2).

    Args:
        train: (M, values), float or uint8 pixels.
        test: (N, values), of the same type.

    Returns:
        float (N, M).

    Source: CS231n, "Nearest Neighbor Classifier".
    """
    a, b = test.astype(float), train.astype(float)
    return np.sqrt(((a[:, None] - b) ** 2).sum(2))


def predict(train, labels, test, k):
    """The class that most of the k nearest train images have, by the L2 distance.

    Of equal distances the earlier train image is nearer; of equally many votes the smaller label
    wins.

    Args:
        train: (M, values).
        labels: (M,), whole numbers from 0.
        test: (N, values).
        k: 1 to M.

    Returns:
        Whole numbers, (N,).

    Source: CS231n, "k - Nearest Neighbor Classifier".
    """
    return _vote(np.argsort(distances(train, test), axis=1, kind="stable")[:, :k], labels)


def _vote(nearest, labels):
    """(N, k) indices -> (N,): the most frequent label, the smaller of equal ones."""
    return np.array([np.bincount(labels[row]).argmax() for row in nearest], int)


def _by(measure, descending=False):
    """Predictions by another measure."""

    def of(train, labels, test, k):
        values = measure(train.astype(float), test.astype(float))
        order = np.argsort(-values if descending else values, axis=1, kind="stable")
        return _vote(order[:, :k], labels)

    return of


def _l1(a, b):
    return np.abs(b[:, None].astype(float) - a).sum(2)


def _l1_matrix(train, test):
    return _l1(train.astype(float), test.astype(float))


def _similarity(train, test):
    return test.astype(float) @ train.astype(float).T


def _squares(train, test):
    """a^2 + b^2 of every pair."""
    return (test.astype(float) ** 2).sum(1)[:, None] + (train.astype(float) ** 2).sum(1)


def _cosine(train, test):
    a, b = train.astype(float), test.astype(float)
    return b @ a.T / np.linalg.norm(b, axis=1)[:, None] / np.linalg.norm(a, axis=1)


def _wrapped(train, test):
    gap = test[:, None] - train
    return np.sqrt((gap**2).sum(2).astype(float))


def _wrapped_float(train, test):
    return np.sqrt(((test[:, None] - train).astype(float) ** 2).sum(2))


def _wrapped_norm(train, test):
    return np.linalg.norm(test[:, None] - train, axis=2)


def _order(train, test):
    return np.argsort(distances(train, test), axis=1, kind="stable")


def _largest_tie(train, labels, test, k):
    nearest = labels[_order(train, test)[:, :k]]
    counts = [np.bincount(row, minlength=labels.max() + 1) for row in nearest]
    return np.array([len(c) - 1 - c[::-1].argmax() for c in counts], int)


def _nearest_tie(train, labels, test, k):
    found = []
    for row in labels[_order(train, test)[:, :k]]:
        counts = np.bincount(row)
        found.append(next(label for label in row if counts[label] == counts.max()))
    return np.array(found, int)


def _weighted(train, labels, test, k):
    far, order, found = distances(train, test), _order(train, test)[:, :k], []
    for d, row in zip(far, order):
        found.append(np.bincount(labels[row], 1 / (d[row] + 1e-9)).argmax())
    return np.array(found, int)


WRAPPED = (
    "differences of uint8 wrap around (3 - 5 is 254): make them float before they are subtracted"
)
DISTANCES = (
    Wrong(0, "the root is missing: these are squared distances", lambda a, b: distances(a, b) ** 2),
    Wrong(0, "these are L1 distances, where L2 was asked: sqrt(sum (a - b)^2)", _l1_matrix),
    Wrong(0, "the matrix is transposed: a row for each test image", lambda a, b: distances(a, b).T),
    Wrong(0, "these are similarities, large for what is near: distances", _similarity),
    Wrong(0, "these are similarities, large for what is near: distances", _cosine),
    Wrong(0, "this is the cosine's distance: the L2 distance", lambda a, b: 1 - _cosine(a, b)),
    Wrong(0, WRAPPED, _wrapped),
    Wrong(0, WRAPPED, _wrapped_float),
    Wrong(0, WRAPPED, _wrapped_norm),
    Wrong(0, "the differences are not squared", lambda a, b: np.sqrt(_l1_matrix(a, b))),
    Wrong(
        0,
        "this is the mean over the values: the sum",
        lambda a, b: distances(a, b) / np.sqrt(a.shape[1]),
    ),
    Wrong(
        0,
        "this is the mean of the squares, without the root: sqrt(sum (a - b)^2)",
        lambda a, b: distances(a, b) ** 2 / a.shape[1],
    ),
    Wrong(
        0,
        "the cross term misses its 2: a^2 - 2 a b + b^2",
        lambda a, b: np.sqrt(np.maximum(_squares(a, b) - _similarity(a, b), 0)),
    ),
    Wrong(
        0,
        "the cross term misses its 2: a^2 - 2 a b + b^2",
        lambda a, b: np.sqrt(_squares(a, b) - _similarity(a, b)),
    ),
    Wrong(
        0,
        "the cross term has the wrong sign: a^2 - 2 a b + b^2",
        lambda a, b: np.sqrt(_squares(a, b) + 2 * _similarity(a, b)),
    ),
    Wrong(
        0,
        "this is the largest difference (Chebyshev): the L2 distance",
        lambda a, b: np.abs(b[:, None].astype(float) - a).max(2),
    ),
    Wrong(
        0,
        "all distances are summed to one for each test image: one for each pair",
        lambda a, b: distances(a, b).sum(1),
    ),
)
PREDICT = (
    Wrong(
        0,
        "sorts by similarity: it takes the k farthest; the nearest have the smallest distance",
        _by(distances, True),
    ),
    Wrong(
        0,
        "k is not heeded: the nearest one alone decides",
        lambda a, y, b, k: _vote(_order(a, b)[:, :1], y),
    ),
    Wrong(0, "of equally many votes the larger label wins: the smaller", _largest_tie),
    Wrong(
        0,
        "of equally many votes the nearest one's label wins: here the smaller label",
        _nearest_tie,
    ),
    Wrong(
        0,
        "takes k + 1 neighbours: [:k] are k",
        lambda a, y, b, k: _vote(_order(a, b)[:, : k + 1], y),
    ),
    Wrong(
        0,
        "leaves out the nearest one: [:k], from 0",
        lambda a, y, b, k: _vote(_order(a, b)[:, 1 : k + 1], y),
    ),
    Wrong(0, "the nearest are by L1, where L2 was asked", _by(_l1)),
    Wrong(0, "the nearest are by the dot product: by the L2 distance", _by(_similarity, True)),
    Wrong(
        0,
        "the nearest are by the dot product, the smallest first: by the L2 distance",
        _by(_similarity),
    ),
    Wrong(0, "the nearest are by the cosine: by the L2 distance", _by(_cosine, True)),
    Wrong(
        0, "returns the index of a train image: its label", lambda a, y, b, k: _order(a, b)[:, 0]
    ),
    Wrong(
        0, "returns the labels of all k: they must vote", lambda a, y, b, k: y[_order(a, b)[:, :k]]
    ),
    Wrong(
        0,
        "takes the mean of the labels: they are names, not amounts; count votes",
        lambda a, y, b, k: y[_order(a, b)[:, :k]].mean(1),
    ),
    Wrong(
        0,
        "takes the mean of the labels: they are names, not amounts; count votes",
        lambda a, y, b, k: np.rint(y[_order(a, b)[:, :k]].mean(1)).astype(int),
    ),
    Wrong(
        0,
        "takes the mean of the labels: they are names, not amounts; count votes",
        lambda a, y, b, k: y[_order(a, b)[:, :k]].mean(1).astype(int),
    ),
    Wrong(
        0,
        "takes the median of the labels: they are names, not amounts; count votes",
        lambda a, y, b, k: np.median(y[_order(a, b)[:, :k]], axis=1),
    ),
    Wrong(
        0,
        "takes the largest label of the k: count votes",
        lambda a, y, b, k: y[_order(a, b)[:, :k]].max(1),
    ),
    Wrong(0, "votes are weighted by nearness: each of the k has one", _weighted),
    Wrong(
        0,
        "returns how many votes there are: the label that has them",
        lambda a, y, b, k: np.array([np.bincount(r).max() for r in y[_order(a, b)[:, :k]]]),
    ),
    Wrong(0, "all train images vote: the k nearest", lambda a, y, b, k: _vote(_order(a, b), y)),
    Wrong(
        0,
        "sorts along the wrong axis: for each test image, axis=1",
        lambda a, y, b, k: _vote(np.argsort(distances(a, b), axis=0, kind="stable")[:, :k], y),
    ),
)


def cases(rng: np.random.Generator) -> dict[str, list[Case]]:
    far, answers = [], []
    for m, n, values in ((6, 3, 4), (4, 5, 3), (5, 1, 2)):
        sizes = {"train images": m, "test images": n, "values": values}
        far.append(Case((rng.normal(size=(m, values)), rng.normal(size=(n, values))), sizes))
    pixels = tuple(rng.integers(0, 256, (n, 5)).astype(np.uint8) for n in (4, 3))
    sizes = {"train images": 4, "test images": 3, "values": 5}
    far.append(Case(pixels, sizes, "uint8 pixels", WRAPPED))
    for m, n, k in ((30, 12, 5), (20, 30, 3), (25, 20, 1), (12, 20, 12)):
        sizes = {"train images": m, "test images": n, "neighbours": k}
        args = rng.normal(1, 1, (m, 3)), rng.integers(0, 4, m), rng.normal(1, 1, (n, 3)), k
        answers.append(Case(args, sizes))
    train = np.array([[0.0], [1], [2], [3], [10]])
    args = train, np.array([2, 1, 1, 2, 0]), np.array([[0.1], [2.6], [9.0]]), 4
    sizes = {"train images": 5, "test images": 3, "neighbours": 4}
    answers.append(Case(args, sizes, "equally many votes"))
    return {"distances": far, "predict": answers}


def properties(yours: Functions) -> Found:
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(20, 4)), rng.integers(0, 5, 20)
    words = "with k = 1 each train image must get its own label"
    found = np.array_equal(yours["predict"](x.copy(), labels.copy(), x.copy(), 1), labels)
    yield "predict, of the train images", "" if found else words
    two = np.array([[0.0, 0], [3, 4]])
    found = np.allclose(yours["distances"](two.copy(), two.copy()), [[0, 5], [5, 0]])
    yield "distances, of (0, 0) and (3, 4)", "" if found else "must be 5, and 0 of each to itself"


def network(functions: Functions) -> float:
    data = pictures(8)
    found = functions["predict"](flat(data.x), data.labels, flat(data.test_x[:200]), 5)
    return float((np.asarray(found) == data.test_labels[:200]).mean())


EXERCISE = Exercise(
    name="knn",
    lesson="knn",
    title="the k nearest neighbours.",
    functions=(
        Function(distances, ("the matrix",), DISTANCES),
        Function(predict, ("the array of labels",), PREDICT),
    ),
    cases=cases,
    properties=properties,
    network=network,
    task="your 5 nearest neighbours on embedded pictures",
)
