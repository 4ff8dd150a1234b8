"""ONNX in float32, written by tf2onnx."""

from pathlib import Path

import numpy as np

from .converter import require_tensorflow, write_with_keras

PACKAGES = ("onnxruntime", "tf2onnx")
VERSIONS = ("onnxruntime", "tf2onnx")


def write(model, path: Path, calibration: np.ndarray | None) -> None:
    """Write keras.Model `model` to `path`; calibration images are not used."""
    require_tensorflow()
    write_with_keras(model, "onnx", path)
