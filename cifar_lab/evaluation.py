"""Exact metrics over every test image, forward only: no optimizer, no training code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import backend, calibration, inference
from .data.names import shown
from .data.on_disk import pieces
from .errors import InputError

VIEWS = (1, 2, 6)
_EPSILON = 1e-7  # probabilities are clipped to it before the logarithm, as Keras does
MATRIX_CLASSES, MATRIX_COLUMNS = 20, 100  # the largest confusion matrix that is printed
CONFUSIONS = 10  # printed in place of a larger one
FEWEST_ONE_SIDED = 10  # images from which on a network may be called one-sided


def probabilities(model, images, batch_size=256):
    """float64 (N, classes) of uint8 images (N, height, width, channels), 0-255, in order.

    model: keras.Model, pixels 0-255 -> probabilities, or inference.Classifier, whose file's own
        probabilities are given, not brought to its card's temperature. Every image is passed once;
        the last batch is as small as it must be. Images on disk are read a piece after the other.
    InputError where what comes out are not probabilities.
    """
    parts = [_probabilities(model, part, batch_size) for part in pieces(images, batch_size)]
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def _probabilities(model, images, batch_size):
    if isinstance(model, inference.Classifier):
        found = model.probabilities(images, batch_size, calibrated=False)
        return found.astype(np.float64)
    found = np.asarray(
        model.predict(**backend.batched(images, None, batch_size), verbose=0), np.float64
    )
    shape = len(images), model.output_shape[-1]
    if shape[1] < 2:
        raise InputError("the network has one output, where a probability for each class is needed")
    inference.require_probabilities(found, shape, "the network")
    return found


def evaluate(model, images, labels, classes, views=1, temperature=None, threshold=None):
    """Score a network on labelled images.

    Args:
        model: keras.Model, pixels 0-255 -> probabilities, or inference.Classifier.
        images: uint8 (N, height, width, channels).
        labels: int (N,), indices into classes.
        classes: class names.
        views: 2 also averages the probabilities of each image and its mirror image; 6 those of
            both, each also moved by one pixel up-left and down-right (the multi-crop evaluation
            of Jordan 2024). Reported apart, as views_accuracy and views_loss.
        temperature: of the card, to say also what the calibrated probabilities are worth; None
            where the probabilities are not brought to another temperature.
        threshold: a confidence, to say also what answers of at least that confidence (of calibrated
            probabilities) are worth.

    Returns:
        dict, as `scores`, with `calibrated` {temperature, loss, expected_calibration_error} where a
        temperature, `confident` {threshold, images, precision, coverage} where a threshold, and
        views, views_accuracy and views_loss where several views are asked for.

    Raises:
        InputError: no images, views not in (1, 2, 6), or what comes out are not probabilities.
    """
    if views not in VIEWS:
        raise InputError(f"views: must be one of {', '.join(map(str, VIEWS))}, received {views}")
    if not len(images):
        raise InputError("there are no images to test")
    if views == 1:
        return judged(probabilities(model, images), labels, classes, temperature, threshold)
    found = [_of_views(model, part, views) for part in pieces(images, 256)]
    plain, averaged = (np.concatenate(parts) for parts in zip(*found))
    result = judged(plain, labels, classes, temperature, threshold)
    result.update(
        views=views,
        views_accuracy=_accuracy(averaged, labels),
        views_loss=_loss(averaged, labels),
    )
    return result


def _of_views(model, images, views):
    """(probabilities of the images, their means over the views): float64 (N, classes)."""
    plain = probabilities(model, images)
    total = plain + probabilities(model, images[:, :, ::-1])
    if views == 6:
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        for moved in (padded[:, :-2, :-2], padded[:, 2:, 2:]):
            total = total + probabilities(model, moved) + probabilities(model, moved[:, :, ::-1])
    return plain, total / views


def judged(
    plain: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    temperature: float | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """As `evaluate` of one view, of probabilities that are there already.

    Args:
        plain: float64 (N, classes), as the network gives them, at least one row.
        labels, classes, temperature, threshold: as for `evaluate`.
    """
    result = scores(plain, labels, classes)
    calibrated = calibration.scaled(plain, temperature or 1)
    if temperature is not None:
        error = calibration.expected_calibration_error(calibrated, labels)
        result["calibrated"] = {
            "temperature": temperature,
            "loss": _loss(calibrated, labels),
            "expected_calibration_error": error,
        }
    if threshold is not None:
        result["confident"] = calibration.above(calibrated, labels, threshold)
    return result


def scores(probs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """What probabilities are worth on labelled images.

    Args:
        probs: float64 (N, classes), at least one row.
        labels: int (N,).
        classes: class names.

    Returns:
        dict of accuracy (0..1), accuracy_interval ([low, high], Wilson's, 95 %), balanced_accuracy
        (mean recall of the classes that have images), loss (mean categorical cross-entropy, nats),
        expected_calibration_error, images (N), classes {class: {precision, recall, f1, images}},
        per_class {class: recall}, confusion (a list of rows, true class by predicted class). A
        figure that has no value is None: the precision of a class that is never predicted, the
        recall of one without images.
    """
    predicted = probs.argmax(1)
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (labels, predicted), 1)
    right, true, taken = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    by_class = {
        name: {
            "precision": _share(right[i], taken[i]),
            "recall": _share(right[i], true[i]),
            "f1": _share(2 * right[i], true[i] + taken[i]),
            "images": int(true[i]),
        }
        for i, name in enumerate(classes)
    }
    recalls = [row["recall"] for row in by_class.values() if row["recall"] is not None]
    low, high = calibration.wilson(int(right.sum()), len(labels))
    return {
        "accuracy": _accuracy(probs, labels),
        "accuracy_interval": [float(low), float(high)],
        "balanced_accuracy": float(np.mean(recalls)),
        "loss": _loss(probs, labels),
        "expected_calibration_error": calibration.expected_calibration_error(probs, labels),
        "images": len(labels),
        "classes": by_class,
        "per_class": {name: row["recall"] for name, row in by_class.items()},
        "confusion": confusion.tolist(),
    }


def ensemble(networks, labels, classes):
    """Score networks alone, and the mean of their probabilities.

    Args:
        networks: a list of (model, images), each model as for `evaluate` with the images, uint8
            (N, height, width, channels), in its own shape; the same ones in the same order.
        labels: int (N,).
        classes: class names.

    Returns:
        {"networks": [scores of each], "ensemble": scores of all}.
    """
    found = [probabilities(model, images) for model, images in networks]
    return {
        "networks": [scores(probs, labels, classes) for probs in found],
        "ensemble": scores(np.mean(found, axis=0), labels, classes),
    }


def _accuracy(probs, labels):
    return float((probs.argmax(1) == labels).mean())


def _loss(probs, labels):
    true = probs[np.arange(len(labels)), labels]
    return float(-np.log(true.clip(_EPSILON, 1 - _EPSILON)).mean())


def _share(part, whole):
    return float(part / whole) if whole else None


# --- as text ---


def one_sided(result: dict[str, Any]) -> str | None:
    """A line that warns of a network that takes most images for one class, or None.

    The rule: of at least 10 images, the share taken for the class is nearer to all of them than to
    the share that it has (above 75 % where half the images are its own, 55 % of a tenth, 95 % of
    nine tenths).
    """
    confusion = np.array(result["confusion"])
    total = confusion.sum()
    taken, true = confusion.sum(0) / total, confusion.sum(1) / total
    i = int(taken.argmax())
    if total < FEWEST_ONE_SIDED or taken[i] <= (1 + true[i]) / 2:
        return None
    name = list(result["per_class"])[i]
    return (
        f"warning: the network says {shown(name)} for {taken[i]:.1%} of the images; "
        f"{true[i]:.1%} are of that class"
    )


def as_table(result: dict[str, Any], classes: Sequence[str]) -> str:
    """Each class' figures, and which class is taken for which, as text.

    The confusion matrix has the names of the classes over its columns, or their numbers where the
    names need more than 100 columns. For more than 20 classes, or a matrix that is too wide with
    numbers too, the most frequent confusions are named instead.
    """
    names, numbers = [shown(c) for c in classes], [str(i) for i in range(len(classes))]
    heads = names if _width(result, names) <= MATRIX_COLUMNS else numbers
    show = len(names) <= MATRIX_CLASSES and _width(result, heads) <= MATRIX_COLUMNS
    if show and heads is numbers:  # the rows of the first table are their legend
        names = [f"{i.rjust(len(numbers[-1]))} {name}" for i, name in zip(numbers, names)]
    lines = _class_rows(result, names)
    lines += ["", *(_matrix(result, heads) if show else _confusions(result, names))]
    return "\n".join(line.rstrip() for line in lines)


def _cells(result, heads):
    """Widths of the columns of a confusion matrix with these heads."""
    largest = map(max, zip(*result["confusion"]))
    return [max(len(head), len(str(n)), 3) + 2 for head, n in zip(heads, largest)]


def _width(result, heads):
    return max(map(len, heads)) + sum(_cells(result, heads))


def _class_rows(result, names):
    width = max(map(len, names))
    lines = [" " * width + "precision".rjust(11) + "recall".rjust(9) + "F1".rjust(9) + "  images"]
    for name, row in zip(names, result["classes"].values()):
        shares = [row["precision"], row["recall"], row["f1"]]
        texts = ["n/a" if share is None else f"{share:.2%}" for share in shares]
        cells = "".join(text.rjust(n) for text, n in zip(texts, (11, 9, 9)))
        lines.append(f"{name.ljust(width)}{cells}{row['images']:>8,}")
    return lines


def _matrix(result, heads):
    width, cells = max(map(len, heads)), _cells(result, heads)
    lines = ["rows: the true class, columns: what it is taken for"]
    lines.append(" " * width + "".join(head.rjust(n) for head, n in zip(heads, cells)))
    for head, row in zip(heads, result["confusion"]):
        name = head.rjust(width) if head.isdecimal() else head.ljust(width)
        lines.append(name + "".join(str(k).rjust(n) for k, n in zip(row, cells)))
    return lines


def _confusions(result, names):
    confusion = np.array(result["confusion"])
    true = confusion.sum(1)
    np.fill_diagonal(confusion, 0)
    order = np.argsort(-confusion, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [(int(i) // len(names), int(i) % len(names)) for i in order]
    pairs = [(i, j) for i, j in pairs if confusion[i, j]]
    if not pairs:
        return ["no image is taken for another class"]
    width = max(len(names[i]) for i, _ in pairs)
    other = max(len(names[j]) for _, j in pairs)
    return ["most often taken for another class:"] + [
        f"{names[i].ljust(width)} taken for {names[j].ljust(other)} "
        f"{confusion[i, j]:>5,} of {true[i]:,}"
        for i, j in pairs
    ]
