"""What is asked of pictures: neighbours, templates, augmentation."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from .. import scratch
from ..data import Dataset
from .lesson import Lesson, Number, Outcome
from .picture import label, show_image
from .sources import Sources

TRAIN, VALIDATION, TEST = 5000, 1000, 1000
KS = (1, 2, 3, 5, 7, 10, 15, 20, 30)
TEMPLATES = 20_000  # pictures that the templates are learned from, at most
SIDE = 96  # of the picture that is shifted, boxed and tinted

# of the linear classifier: chosen on validation pictures of the embedded set and of CIFAR-10
BATCH, EPOCHS, RATE = 100, 15, 0.0003


# --- neighbours -----------------------------------------------------------------------------------


def knn(sources: Sources) -> Outcome:
    """The k nearest neighbours on pictures, beside a linear classifier; and what a distance of
    pixels does not see."""
    pictures = sources.pictures()
    images, labels = pictures.train_images, pictures.train_labels
    train, train_labels = images[:TRAIN], labels[:TRAIN]
    checked = slice(TRAIN, TRAIN + VALIDATION)
    tested, expected = pictures.test_images[:TEST], pictures.test_labels[:TEST]

    curves = {}
    for norm in (1, 2):
        near = scratch.nearest_neighbours(train, images[checked], max(KS), norm)
        curves[norm] = [_right(train_labels[near[:, :k]], labels[checked]) for k in KS]
    best, k, norm = max((curves[n][i], -k, -n) for n in curves for i, k in enumerate(KS))
    k, norm = -k, -norm

    compare = Watch(lambda: scratch.nearest_neighbours(train, tested, k, norm))
    near = compare.result
    learn = Watch(lambda: linear_classifier(train, train_labels))
    network, mean = learn.result
    answer = Watch(lambda: network.forward(_rows(tested, mean)).argmax(1))

    photo = sources.one_photo(SIDE)
    changed = _equally_far(photo.astype(np.float64))
    far = {name: float(np.linalg.norm(picture - photo)) for name, picture in changed.items()}

    def draw(figure):
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
        for axes, (name, picture) in zip(
            above.subplots(1, 4), {"the picture": photo, **changed}.items(), strict=True
        ):
            told = f"{name}: distance {far[name]:,.4g}" if name in far else name
            show_image(axes, np.clip(np.round(picture), 0, 255).astype(np.uint8), told)
        left, right = below.subfigures(1, 2, width_ratios=(1, 1.1))
        axes = left.subplots()
        for n, values in curves.items():
            axes.plot(KS, 100 * np.array(values), "o-", markersize=4, label=f"L{n}")
        label(axes, "k", "right of validation, %", "k and norm are chosen here")
        axes.set_xticks([1, 5, 10, 20, 30])
        axes.legend(fontsize=8)
        _draw_neighbours(right, pictures.classes, tested, expected, train, train_labels, near)

    return Outcome(
        numbers=[
            Number("k, chosen on validation", k),
            Number("norm, chosen on validation: L1 or L2", norm),
            Number("right of validation, %", 100 * best),
            Number("right of the test pictures, %", 100 * _right(train_labels[near], expected)),
            Number(
                "a linear classifier on the same pictures, %",
                100 * float((answer.result == expected).mean()),
            ),
            Number(
                "multiply-adds of an answer: neighbours to linear, ratio",
                train[0].size * len(train) / (train[0].size * len(pictures.classes)),
                500,
            ),
            Number(
                "processor time of the answers, measured now: ratio",
                float(f"{compare.seconds / max(answer.seconds, 1e-4):.2g}"),
            ),
            Number(
                "seconds to train, neighbours",
                0,
                why="they keep the pictures",
            ),
            Number("seconds to train, linear, measured now", float(f"{learn.seconds:.2g}")),
            *(Number(f"distance of the picture when {name}, L2", d) for name, d in far.items()),
            Number(
                "greatest difference between these distances",
                round(max(far.values()) - min(far.values()), 6),
                0,
                0,
            ),
        ],
        seen="A nearest neighbour learns nothing and pays when asked: every answer compares with "
        "every picture, where a linear classifier compares with ten. And pixels are a poor "
        "measure: the picture shifted, boxed and tinted is equally far from itself each time, "
        "though an eye sees three different things happen to it.",
        draw=draw,
        height=6.2,
        data=f"{TRAIN:,} train, {VALIDATION:,} validation and {TEST:,} test pictures of "
        f"{_named(pictures)}",
    )


class Watch:
    """What a function gives, and the processor seconds that it takes."""

    def __init__(self, function: Callable) -> None:
        start = time.process_time()
        self.result = function()
        self.seconds = time.process_time() - start


def _named(pictures: Dataset) -> str:
    return {"cifar10": "CIFAR-10", "mnist": "MNIST"}.get(pictures.name, pictures.name)


def _right(neighbours: np.ndarray, expected: np.ndarray) -> float:
    return float((scratch.majority(neighbours) == expected).mean())


def _equally_far(picture: np.ndarray) -> dict[str, np.ndarray]:
    """The picture shifted, boxed and tinted so that all three are equally far from it in L2.

    The two that would be farther are mixed with the picture until they are not: a mix by a part
    a is farther by the part a.
    """
    high, wide = picture.shape[:2]
    dark = picture.mean() < 128
    boxed, eye, mouth = (
        picture.copy(),
        slice(high // 4, high // 2),
        slice(high * 5 // 8, high * 7 // 8),
    )
    for where in (
        (eye, slice(wide // 8, wide * 3 // 8)),
        (eye, slice(wide * 5 // 8, wide * 7 // 8)),
        (mouth, slice(wide // 4, wide * 3 // 4)),
    ):
        boxed[where] = 255.0 * dark
    tint = np.array([255.0, 160, 0]) if dark else np.array([0.0, 60, 200])
    changed = {
        "shifted": np.roll(picture, 2, 1),
        "boxed": boxed,
        "tinted": np.broadcast_to(tint, picture.shape),
    }
    sizes = {name: np.linalg.norm(other - picture) for name, other in changed.items()}
    least = min(sizes.values())
    return {
        name: picture + (least / sizes[name] if sizes[name] else 0) * (other - picture)
        for name, other in changed.items()
    }


def _draw_neighbours(figure, classes, tested, expected, train, train_labels, near):
    """The first test picture of each of three classes, and the nearest ones to it."""
    rows = [int(np.flatnonzero(expected == c)[0]) for c in (0, 4, 7)]
    places = figure.subplots(len(rows), 6)
    for row, i in zip(places, rows, strict=True):
        show_image(row[0], tested[i], classes[expected[i]])
        for axes, j in zip(row[1:], near[i], strict=False):
            show_image(axes, train[j], classes[train_labels[j]])
            right = train_labels[j] == expected[i]
            axes.title.set_color("tab:green" if right else "tab:red")
        for axes in row[1 + len(near[i]) :]:
            axes.axis("off")


# --- templates ------------------------------------------------------------------------------------


def templates(sources: Sources) -> Outcome:
    """What a linear classifier has learned: one picture a class."""
    pictures = sources.pictures()
    train, labels = pictures.train_images[:TEMPLATES], pictures.train_labels[:TEMPLATES]
    network, mean = linear_classifier(train, labels)
    weights = network.weights[0]
    shape = pictures.train_images.shape[1:]
    tested, expected = pictures.test_images, pictures.test_labels
    told = network.forward(_rows(tested, mean)).argmax(1)
    means = np.stack([train[labels == c].mean(0) for c in range(len(pictures.classes))])

    alike = [
        float(np.corrcoef(weights[:, c], (means[c] / 255).ravel() - mean)[0, 1])
        for c in range(len(pictures.classes))
    ]
    of_class = [float((told[expected == c] == c).mean()) for c in range(len(pictures.classes))]
    best, worst = int(np.argmax(of_class)), int(np.argmin(of_class))

    def draw(figure):
        rows = figure.subplots(4, 5)
        for c, name in enumerate(pictures.classes):
            row, column = divmod(c, 5)
            picture = weights[:, c].reshape(shape)
            most = 2 * np.percentile(abs(picture), 99)
            show_image(
                rows[2 * row, column], np.clip(0.5 + picture / most, 0, 1), f"{name}: template"
            )
            show_image(
                rows[2 * row + 1, column], np.round(means[c]).astype(np.uint8), "mean picture"
            )

    return Outcome(
        numbers=[
            Number(
                "weights and biases",
                sum(w.size for w in network.weights),
                30_730,
                why="10 x (32 x 32 x 3 + 1)",
            ),
            Number("right of the test pictures, %", 100 * float((told == expected).mean())),
            Number(f"best class, {pictures.classes[best]}: right, %", 100 * of_class[best]),
            Number(f"worst class, {pictures.classes[worst]}: right, %", 100 * of_class[worst]),
            Number(
                "template and mean picture of its class: correlation, mean of ten",
                float(np.mean(alike)),
            ),
        ],
        seen="A score is a picture times a template, added up, so that each column of the weights "
        "is a picture: what speaks for its class is bright, what speaks against it dark. One "
        "template must serve all examples of a class, wherever they stand and whichever way they "
        f"look, and that is too little: {100 * float((told == expected).mean()):.0f} % are right.",
        draw=draw,
        height=7.4,
        data=f"{len(train):,} train and {len(tested):,} test pictures of {_named(pictures)}",
    )


def linear_classifier(images: np.ndarray, labels: np.ndarray) -> tuple[scratch.Network, np.ndarray]:
    """A softmax classifier without a hidden layer, trained from weights of 0 (the loss is convex,
    so that any start will do).

    Returns:
        (network, mean): the network takes rows of pixels from 0 to 1, float32, less the mean.
    """
    mean = (images.mean(0) / 255).ravel().astype(np.float32)
    rows, targets = _rows(images, mean), scratch.one_hot(labels, 10, np.float32)
    network = scratch.Network(
        scratch.Affine(np.zeros((rows.shape[1], 10), np.float32), np.zeros(10, np.float32))
    )
    loss, optimizer = scratch.SoftmaxCrossEntropy(), scratch.Adam(RATE)
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        for start in range(0, len(order := rng.permutation(len(rows))), BATCH):
            batch = order[start : start + BATCH]
            network.train_on(rows[batch], targets[batch], loss, optimizer)
    return network, mean


def _rows(images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """uint8 (N, height, width, channels) -> float32 (N, pixels), 0 to 1, less the mean."""
    return images.reshape(len(images), -1) / np.float32(255) - mean


# --- augmentation ---------------------------------------------------------------------------------


def augmentation(sources: Sources) -> Outcome:
    """A photo as augmentation shows it to a network: another picture, the same class."""
    photo = sources.one_photo().astype(np.float64)
    side = len(photo)
    cut = photo.copy()
    cut[side // 3 : side * 3 // 5, side // 2 : side * 4 // 5] = photo.mean((0, 1))
    grey = photo @ np.array([0.299, 0.587, 0.114])
    shown = {
        "turned by 15 degrees": moved(photo, degrees=15),
        "shifted by a tenth": moved(photo, right=0.1 * side, down=0.1 * side),
        "zoomed in by 1.3": moved(photo, zoom=1.3),
        "zoomed out by 1.3": moved(photo, zoom=1 / 1.3),
        "mirrored": photo[:, ::-1],
        "cut out": cut,
        "brighter": photo + 40,
        "more contrast": photo.mean() + 1.5 * (photo - photo.mean()),
        "less colour": 0.3 * photo + 0.7 * grey[..., None],
        "warmer": photo * np.array([1.15, 1.0, 0.8]),
        "all together": moved(photo[:, ::-1], 10, 0.05 * side, -0.05 * side, 1.15) * 0.85,
    }
    shown = {name: np.clip(picture, 0, 255) for name, picture in shown.items()}

    def draw(figure):
        for axes, (name, picture) in zip(
            figure.subplots(3, 4).flat, {"the photo": photo, **shown}.items(), strict=True
        ):
            show_image(axes, np.round(picture).astype(np.uint8), name)

    back = moved(moved(photo, right=5), right=-5)[:, 10:-10]
    return Outcome(
        numbers=[
            Number(
                "mirrored twice, less the photo",
                float(abs(photo[:, ::-1][:, ::-1] - photo).max()),
                0,
            ),
            Number(
                "turned by 90 degrees four times, less the photo",
                round(float(abs(_turned_around(photo) - photo).max()), 6),
                0,
                1e-6,
            ),
            Number(
                "shifted and back, away from the border, less the photo",
                float(abs(back - photo[:, 10:-10]).max()),
                0,
            ),
            *(
                Number(f"{name}: mean change, of 255", float(abs(picture - photo).mean()))
                for name, picture in shown.items()
            ),
        ],
        seen="Each picture shows the same thing with other pixels, and a network that trains on "
        "all of them learns that the difference does not matter. So only what leaves the class "
        "alone may be drawn: a mirrored cat is a cat, a mirrored 3 is no digit. Between pixels "
        "the picture is interpolated; beyond its border its last pixels go on.",
        draw=draw,
        height=7.2,
        data="your photo" if sources.photo else "a drawn scene",
    )


def moved(
    picture: np.ndarray,
    degrees: float = 0.0,
    right: float = 0.0,
    down: float = 0.0,
    zoom: float = 1.0,
) -> np.ndarray:
    """A picture turned about its centre, zoomed, then shifted: looked up, for every pixel of the
    result, where it was before.

    Args:
        picture: float (height, width, channels).
        degrees: clockwise.
        right, down: pixels.
        zoom: above 1 shows less, larger.

    Returns:
        The same shape, interpolated linearly; what lies beyond the border is the border's pixel.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y - (height - 1) / 2 - down, x - (width - 1) / 2 - right
    cos, sin = np.cos(np.radians(degrees)) / zoom, np.sin(np.radians(degrees)) / zoom
    row = np.clip(cos * y - sin * x + (height - 1) / 2, 0, height - 1)
    column = np.clip(sin * y + cos * x + (width - 1) / 2, 0, width - 1)
    above = np.minimum(row.astype(int), height - 2)
    before = np.minimum(column.astype(int), width - 2)
    lower, later = (row - above)[..., None], (column - before)[..., None]
    top = (1 - later) * picture[above, before] + later * picture[above, before + 1]
    bottom = (1 - later) * picture[above + 1, before] + later * picture[above + 1, before + 1]
    return (1 - lower) * top + lower * bottom


def _turned_around(picture: np.ndarray) -> np.ndarray:
    for _ in range(4):
        picture = moved(picture, degrees=90)
    return picture


LESSONS = [
    Lesson(
        name="knn",
        title="Nearest neighbours: nothing to train, everything to compare",
        source="the lecture on classification; Cover and Hart 1967, CS231n",
        run=knn,
        needs=("pictures", "photo"),
    ),
    Lesson(
        name="templates",
        title="What a linear classifier sees: ten templates",
        source="the lecture on classification; CS231n",
        run=templates,
        needs=("pictures",),
    ),
    Lesson(
        name="augmentation",
        title="Augmentation: your photo, turned, shifted, cut, coloured",
        source="the lecture on regularisation; Krizhevsky et al. 2012, DeVries and Taylor 2017",
        run=augmentation,
        needs=("photo",),
    ),
]
