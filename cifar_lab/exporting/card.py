"""The export card, FILE.card.json: what a file is, what it was made from and how well it does."""

import datetime
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, bundle_data, bundles, cost, documents, inference, schema
from ..errors import InputError
from . import litert
from .formats import FORMATS

PREPROCESSING = (
    "pixels 0-255, rows from the top, {colours}; a photo: turned upright, its shorter side scaled "
    "to fit, the centre cropped to {height} x {width}"
)


def export_card(
    name: str,
    classifier,
    measured: dict[str, Any],
    model,
    source: dict[str, Any],
    dataset,
    calibration: np.ndarray | None,
    seed: int,
    command: str,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """The card of a file that passed its check.

    Args:
        name: a key of FORMATS.
        classifier: inference.Classifier of the file.
        measured: as check.compare returns it.
        model: keras.Model that was exported.
        source: card of the bundle.
        dataset: data.Dataset that tested and calibrated the file.
        calibration: images that set the scales, or None.
        seed: of their choice.
        command: the user's.
        temperature: that was folded into the network.

    Returns:
        dict, ready for JSON. `data` is the bundle's own: which images are its test images is told
        by what it was trained on. Where others tested the file, `tested_on` names them.
    """
    tested_on = {"name": dataset.name, "test_sha256": dataset.test_sha256()}
    own = bundle_data.own(source) or tested_on
    is_own = own.get("test_sha256") in (None, tested_on["test_sha256"])
    doubt = source.get("calibration") or {}
    is_calibrated = temperature == doubt.get("temperature")
    height, width, channels = classifier.input_shape
    path = Path(classifier.path)
    return {
        "format": name,
        "rung": source["rung"],
        "bytes": path.stat().st_size,
        "sha256": bundles.file_sha256(path),
        **measured,
        "temperature": temperature,
        "thresholds": doubt.get("thresholds") if is_calibrated else None,
        "data": own,
        **({} if is_own else {"tested_on": tested_on}),
        **tensors(classifier),
        "preprocessing": PREPROCESSING.format(
            colours="grey" if channels == 1 else "RGB", height=height, width=width
        ),
        "classes": source["classes"],
        "parameters": model.count_params(),
        "multiply_adds": sum(cost.multiply_adds(model).values()),
        "calibration": None
        if calibration is None
        else {
            "images": len(calibration),
            "seed": seed,
            "train_sha256": dataset.train_sha256(),
        },
        "source_sha256": source["model_sha256"],
        "source_test_accuracy": source["test_accuracy"],
        "versions": {
            **backend.versions(),
            **{package: metadata.version(package) for package in FORMATS[name].versions},
        },
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def tensors(classifier) -> dict[str, Any]:
    """What goes in and comes out of a file; of LiteRT also its operations and its peak memory.

    Returns:
        {"input": {"dtype", "shape", ...}, "output": ..., and for LiteRT "operations",
        "peak_activation_bytes"}, as `litert.tensors` has them.
    """
    if classifier.kind == ".tflite":
        return litert.tensors(classifier.path)
    return {
        "input": {"dtype": "float32", "shape": [None, *classifier.input_shape]},
        "output": {"dtype": "float32", "shape": [None, len(classifier.classes)]},
    }


def is_export_of(file: str | os.PathLike, card: dict[str, Any], name: str) -> bool:
    """Whether a file is there, the export in the format `name` of the bundle with `card`."""
    try:
        own = schema.read_json(inference.card_path(file), documents.EXPORT_CARD)
        same = (own.get("format"), own.get("source_sha256")) == (name, card["model_sha256"])
        return Path(file).is_file() and same
    except (OSError, InputError):
        return False


def refuse_other(output: str | os.PathLike, card: dict[str, Any], name: str) -> bool:
    """Whether `output` is there, as the same export of the same bundle.

    Raises:
        InputError: it is there and anything else.
    """
    output = Path(output)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; `output` must name a file")
    if not output.exists():
        return False
    if not is_export_of(output, card, name):
        raise InputError(
            f"{output}: is there already and no {name} export of this bundle; "
            "`overwrite` replaces it, `output` names another file"
        )
    return True
