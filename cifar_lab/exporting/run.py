"""Write a bundle's network in another format, test it, keep it only if it holds."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import bundles, data, inference
from ..errors import InputError, reason
from ..terminal import doing
from .card import export_card
from .check import compare, require
from .folding import folded
from .formats import FORMATS

CALIBRATION_IMAGES = 500


def export(
    model,
    card: dict[str, Any],
    format: str,
    output: str | os.PathLike,
    dataset: data.Dataset,
    seed: int = 0,
    command: str = "",
    notice: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Write a bundle's network in another format, test it beside Keras, and keep it if it holds.

    The temperature of the bundle's card is folded into the network, so that the file's
    probabilities are calibrated.

    Args:
        model: keras.Model of a bundle, as bundles.load gives it.
        card: the bundle's card, likewise.
        format: a key of FORMATS.
        output: path of the file; its card is written beside it.
        dataset: of the bundle's classes and input shape. Its test images test the file, and its
            train images alone calibrate int8.
        seed: of the choice of calibration images, whole number from 0.
        command: the user's, for the card.
        notice: called with a line where the temperature cannot be folded in.

    Returns:
        The export card: format, bytes, sha256, temperature (folded in; 1 where the bundle is not
        calibrated), thresholds (the bundle's, for those probabilities), accuracy, keras_accuracy,
        agreement (the share of test images with Keras' class), largest_difference of a
        probability, images, data (the bundle's), input and output (dtype, shape, scale,
        zero_point), preprocessing, classes, parameters, multiply_adds, peak_activation_bytes
        (LiteRT), calibration (int8), source_sha256 ...

    Raises:
        InputError: the data are not the bundle's, what converts or runs the format is not
            installed, the converter refuses the network, or the file fails its test (it is not
            left behind).
    """
    data.check_classes(dataset.name, dataset.classes, card["classes"])
    output = Path(os.path.abspath(output))
    if not card.get("calibration"):
        notice(
            f"{format}: the bundle's probabilities are not calibrated, so the file's are not "
            "(`python -m cifar_lab calibrate` does it)"
        )
    temperature = inference.temperature_of(card)
    network = folded(model, temperature)
    if network is None:
        notice(
            f"{format}: the network does not end with a softmax that its temperature "
            f"({temperature:.2f}) could be folded into: the file is not calibrated"
        )
        network, temperature = model, 1.0
    calibration = _calibration(dataset, seed) if FORMATS[format].calibrated else None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with bundles.locked(output), bundles.scratch(output) as scratch:
            path = scratch / output.name
            with doing(notice, f"writing {output.name}"), _temporary_in(scratch):
                _write(format, network, path, calibration, card)
            classifier = inference.Classifier(path, contained=False)  # written here
            images, labels = dataset.test_images, dataset.test_labels
            with doing(notice, f"testing {output.name} on {len(images):,} images"):
                measured = compare(model, classifier, images, labels, temperature)
            require(format, measured)
            written = export_card(
                format,
                classifier,
                measured,
                model,
                card,
                dataset,
                calibration,
                seed,
                command,
                temperature,
            )
            bundles.write_json(inference.card_path(path), written)
            _put(path, output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({reason(error)})") from None
    return written


@contextlib.contextmanager
def _temporary_in(folder: Path) -> Iterator[None]:
    """Converters' temporary files go into a folder, whose next user removes what a kill left."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _put(path: Path, output: Path) -> None:
    """Move a file and its card to their place. A kill between the two is seen, for the card has a
    checksum; where the second cannot be moved, the first is moved back."""
    card, place = inference.card_path(path), inference.card_path(output)
    before = card.with_name("before")
    for file in (card, path):
        bundles.sync(file)
    with contextlib.suppress(FileNotFoundError):
        os.link(place, before)
    os.replace(card, place)
    try:
        os.replace(path, output)
    except OSError:
        if before.exists():
            os.replace(before, place)
        else:
            place.unlink()
        raise
    bundles.sync(output.parent)


def _calibration(dataset: data.Dataset, seed: int) -> np.ndarray:
    """Train images that set int8's scales: uint8 (N, height, width, channels)."""
    order = np.random.default_rng([seed, 0xCA1]).permutation(len(dataset.train_images))
    images = dataset.train_images[np.sort(order[:CALIBRATION_IMAGES])].copy()
    # the input takes all pixels, whatever these images have
    images[0, 0, 0], images[0, -1, -1] = 0, 255
    return images


def _write(
    name: str, model, path: Path, calibration: np.ndarray | None, card: dict[str, Any]
) -> None:
    named = (card,) if FORMATS[name].named else ()
    try:
        FORMATS[name].write(model, path, calibration, *named)
    except (InputError, OSError, MemoryError):  # not the network's fault
        raise
    except ImportError as error:
        raise InputError(f'{name}: {reason(error)[:150]} (pip install "cifar_lab[edge]")') from None
    except Exception as error:  # the converters raise nearly anything
        raise InputError(
            f"{name}: the converter refuses this network ({reason(error)[:300]})"
        ) from None
