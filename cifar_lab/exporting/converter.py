"""What LiteRT and ONNX have in common: Keras' own export, under TensorFlow."""

from pathlib import Path

from .. import backend
from ..errors import InputError


def require_tensorflow() -> None:
    """InputError where Keras runs on another backend: its exporters need this one."""
    import keras

    name = keras.backend.backend()
    if name != "tensorflow":
        raise InputError(f"KERAS_BACKEND {name}: exports are written under tensorflow")


def write_with_keras(model, kind: str, path: Path, batch: int | None = None, **options) -> None:
    """Write a model by `keras.Model.export`, without what converters print.

    Args:
        model: keras.Model, float32 pixels (N, height, width, channels) in.
        kind: "litert" or "onnx".
        path: of the file.
        batch: images at a time that the file takes; None: any number.
        options: for the converter.
    """
    import keras

    shape = (batch, *model.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="pixels")]
    with backend.quiet_stderr():
        model.export(str(path), format=kind, input_signature=signature, verbose=False, **options)
