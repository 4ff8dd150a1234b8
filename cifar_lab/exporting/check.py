"""The one check that every exported file passes before it is kept."""

import numpy as np

from .. import calibration, evaluation
from ..errors import InputError
from .formats import FORMATS


def compare(
    model, classifier, images: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> dict[str, float | int]:
    """Measure an exported network beside Keras' own in float32.

    Args:
        model: keras.Model that was exported.
        classifier: inference.Classifier of the file.
        images: uint8 (N, height, width, channels), 0-255.
        labels: int (N,).
        temperature: that was folded into the file; Keras' probabilities are brought to it.

    Returns:
        accuracy and keras_accuracy, 0 to 1; agreement, the share of images with Keras' class;
        largest_difference of a probability; expected_calibration_error of the file; images, their
        number.
    """
    expected = calibration.scaled(evaluation.probabilities(model, images), temperature)
    found = evaluation.probabilities(classifier, images)
    return {
        "accuracy": float((found.argmax(1) == labels).mean()),
        "keras_accuracy": float((expected.argmax(1) == labels).mean()),
        "agreement": float((found.argmax(1) == expected.argmax(1)).mean()),
        "largest_difference": float(abs(found - expected).max()),
        "expected_calibration_error": calibration.expected_calibration_error(found, labels),
        "images": len(images),
    }


def require(name: str, measured: dict[str, float | int]) -> None:
    """InputError where a file does not do what its format must.

    Args:
        name: a key of FORMATS.
        measured: as `compare` returns it.
    """
    least, tolerance = FORMATS[name].agreement, FORMATS[name].tolerance
    if measured["agreement"] < least:
        raise InputError(
            f"{name}: {measured['agreement']:.2%} of {measured['images']:,} test images have "
            f"Keras' class, must be {least:.2%}: not kept"
        )
    # not <=: a NaN fails too
    if tolerance is not None and not measured["largest_difference"] <= tolerance:
        raise InputError(
            f"{name}: probabilities differ from Keras' by up to "
            f"{measured['largest_difference']:.1e}, may by {tolerance:.0e}: not kept"
        )
