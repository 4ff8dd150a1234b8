"""Exact metrics over every test image, forward only: no optimizer, no training code."""

import numpy as np

from . import backend, inference
from .errors import InputError

VIEWS = (1, 2, 6)
_EPSILON = 1e-7  # probabilities are clipped to it before the logarithm, as Keras does


def probabilities(model, images, batch_size=256):
    """float64 (N, classes) of uint8 images (N, height, width, channels), 0-255, in order.

    model: keras.Model, pixels 0-255 -> probabilities, or inference.Classifier. Every image is
        passed once; the last batch is as small as it must be.
    """
    if isinstance(model, inference.Classifier):
        return model.probabilities(images, batch_size).astype(np.float64)
    return np.asarray(
        model.predict(**backend.batched(images, None, batch_size), verbose=0), np.float64
    )


def evaluate(model, images, labels, classes, views=1):
    """Score a network on labelled images.

    Args:
        model: keras.Model, pixels 0-255 -> probabilities, or inference.Classifier.
        images: uint8 (N, height, width, channels).
        labels: int (N,), indices into classes.
        classes: class names.
        views: 2 also averages the probabilities of each image and its mirror image; 6 those of
            both, each also moved by one pixel up-left and down-right (the multi-crop evaluation
            of Jordan 2024). Reported apart, as views_accuracy and views_loss.

    Returns:
        dict of accuracy (0..1), loss (mean categorical cross-entropy, nats), images (N), per_class
        {class: accuracy, or None where it has no image}, confusion (a list of rows, true class by
        predicted class).

    Raises:
        InputError: no images, or views not in (1, 2, 6).
    """
    if views not in VIEWS:
        raise InputError(f"views: must be one of {', '.join(map(str, VIEWS))}, received {views}")
    if not len(images):
        raise InputError("there are no images to test")
    plain = probabilities(model, images)
    result = _score(plain, labels)
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (labels, plain.argmax(1)), 1)
    totals = confusion.sum(1)
    result.update(
        images=len(images),
        per_class={
            c: (confusion[i, i] / totals[i] if totals[i] else None) for i, c in enumerate(classes)
        },
        confusion=confusion.tolist(),
    )
    if views > 1:
        total = plain + probabilities(model, images[:, :, ::-1])
        if views == 6:
            padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
            for moved in (padded[:, :-2, :-2], padded[:, 2:, 2:]):
                total = (
                    total + probabilities(model, moved) + probabilities(model, moved[:, :, ::-1])
                )
        averaged = _score(total / views, labels)
        result.update(views=views, views_accuracy=averaged["accuracy"], views_loss=averaged["loss"])
    return result


def _score(probs, labels):
    true = probs[np.arange(len(labels)), labels]
    return {
        "accuracy": float((probs.argmax(1) == labels).mean()),
        "loss": float(-np.log(true.clip(_EPSILON, 1 - _EPSILON)).mean()),
    }


def as_table(result, classes):
    """The confusion matrix (rows: true class) with each class' accuracy, as text."""
    width = max(len(c) for c in classes)
    cell = max(5, len(str(max(map(max, result["confusion"])))) + 1)
    lines = [" " * width + "".join(c[: cell - 1].rjust(cell) for c in classes) + "  accuracy"]
    for name, row in zip(classes, result["confusion"]):
        accuracy = result["per_class"][name]
        lines.append(
            name.ljust(width)
            + "".join(str(n).rjust(cell) for n in row)
            + ("       n/a" if accuracy is None else f"{accuracy:>9.2%} ")
        )
    return "\n".join(line.rstrip() for line in lines)
