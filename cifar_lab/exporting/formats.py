"""The formats that a network can be exported to, one entry each."""

from collections.abc import Callable
from dataclasses import dataclass

from . import litert, numpy, onnx, web

TOLERANCE = 1e-4  # the largest difference of a probability from Keras', of float32 formats
WHOLE_TOLERANCE = 5e-3  # the same, of weights of 16 bits with a scale a filter


@dataclass(frozen=True)
class Format:
    """How a format is written, and what a file of it must hold to be kept.

    Fields:
        file: default name of the file; its ending is the format's.
        write: (model, path, calibration images) -> None; with the bundle's card behind them where
            `named`.
        packages: modules that must be there to write and to test it.
        versions: distributions whose versions the card names.
        agreement: the least share of test images that must get the class Keras gives them, 0 to 1;
            0 where it is reported, not required.
        tolerance: the largest difference of a probability from Keras', or None: any.
        calibrated: whether it is written with the help of train images.
        named: whether the file itself says what the bundle's card says.
    """

    file: str
    write: Callable[..., None]
    packages: tuple[str, ...]
    versions: tuple[str, ...]
    agreement: float = 0.0
    tolerance: float | None = None
    calibrated: bool = False
    named: bool = False


FORMATS = {
    "litert": Format(
        "model.tflite",
        litert.write_float32,
        litert.PACKAGES,
        litert.VERSIONS,
        agreement=1.0,
        tolerance=TOLERANCE,
    ),
    "litert-int8": Format(
        "model.int8.tflite",
        litert.write_int8,
        litert.PACKAGES,
        litert.VERSIONS,
        calibrated=True,
    ),
    "litert-fp16": Format(
        "model.fp16.tflite",
        litert.write_float16,
        litert.PACKAGES,
        litert.VERSIONS,
        agreement=0.999,
    ),
    "onnx": Format(
        "model.onnx",
        onnx.write,
        onnx.PACKAGES,
        onnx.VERSIONS,
        agreement=1.0,
        tolerance=TOLERANCE,
    ),
    "numpy": Format(
        "model.npz",
        numpy.write,
        numpy.PACKAGES,
        numpy.VERSIONS,
        agreement=1.0,
        tolerance=TOLERANCE,
    ),
    "web": Format(
        "model.html",
        web.write,
        web.PACKAGES,
        web.VERSIONS,
        agreement=0.999,
        tolerance=WHOLE_TOLERANCE,
        named=True,
    ),
}
