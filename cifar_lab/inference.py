"""Saved networks without TensorFlow: `.tflite`, `.onnx` and `.keras` files behind one interface.

A `.tflite` file needs ai-edge-litert, an `.onnx` file onnxruntime, a `.keras` file Keras; each is
imported when a file of its kind is opened, and nothing else is: what a device that never trains has
to hold is this package, numpy and one runtime.
"""

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .backend import quiet_stderr
from .errors import InputError, reason

NEEDS = {
    ".tflite": "ai-edge-litert",
    ".onnx": "onnxruntime",
    ".keras": "keras",
}  # of each kind of file


EXPORTS = (".tflite", ".onnx")


def is_file(name):
    """Whether a name is that of a network's file: an export's, or an existing .keras file that is
    no bundle's. (A missing export is one too: its error then speaks of a file.)"""
    lower = name.lower()
    is_keras = lower.endswith(".keras") and os.path.isfile(name)
    return is_keras or lower.endswith(EXPORTS) and not os.path.isdir(name)


def network_file(name):
    """The file of a network from what a user calls it: a rung, a bundle's folder, or the file
    itself. Raises InputError."""
    if is_file(name):
        return Path(name)
    from . import bundles

    folder = bundles.find(name)
    bundles.read_card(folder)
    return folder / "model.keras"


class Classifier:
    """A saved network that says what is on an image.

    Args:
        path: a `.tflite`, `.onnx` or `.keras` file. Class names come from its export card
            (`FILE.card.json`), or from the card.json beside a bundle's model.keras; without a card
            they are "0", "1", ...
        threads: of the runtime, at least 1; None: 1 for LiteRT, what the others choose for
            themselves.

    Attributes: path; kind (".tflite", ...); input_shape, (height, width, channels); classes, tuple
    of str; card, dict, {} where there is none; dtype of the file's own input, "float32" or "int8".

    Raises:
        InputError: no such file, another kind, damaged or not its card's, no image classifier, or
            its runtime is missing.
    """

    def __init__(self, path, threads=None):
        self.path = Path(path)
        self.kind = self.path.suffix.lower()
        if self.kind not in NEEDS:
            raise InputError(f"{path}: must end in {', '.join(NEEDS)}")
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({reason(error)})") from None
        self.card = _card_of(self.path, content)
        opened: Any = {".tflite": _LiteRT, ".onnx": _Onnx, ".keras": _Keras}[self.kind]
        try:
            with quiet_stderr():
                self._network = opened(self.path, content, threads)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{path}: needs {NEEDS[self.kind]}, and {error.name} is not installed (pip install "
                f"{NEEDS[self.kind]})"
            ) from None
        except InputError:
            raise
        except Exception as error:  # each runtime has its own for a file that is none of its own
            raise InputError(
                f"{path}: cannot be opened by {NEEDS[self.kind]} ({reason(error)[:200]})"
            ) from None
        self.input_shape, outputs, self.dtype = (
            self._network.input_shape,
            self._network.outputs,
            self._network.dtype,
        )
        if not (
            len(self.input_shape) == 3
            and self.input_shape[2] in (1, 3)
            and all(isinstance(n, int) and n > 0 for n in (*self.input_shape, outputs))
        ):
            raise InputError(
                f"{path}: is no image classifier: takes {self.input_shape}, gives {outputs}"
            )
        self.classes = tuple(self.card.get("classes") or map(str, range(outputs)))
        if len(self.classes) != outputs:
            raise InputError(f"{path}: has {outputs} outputs, its card {len(self.classes)} classes")

    def probabilities(self, images, batch_size=64):
        """Probabilities of each class, float32 (N, classes), in the order of the images.

        images: uint8 (N, height, width, channels), 0-255; or one image without the first axis,
            which gives (classes,).
        ValueError for another dtype or shape.
        """
        images = np.asarray(images)
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or images.shape[-3:] != self.input_shape
        ):
            raise ValueError(
                f"images: must be uint8 (N, {', '.join(map(str, self.input_shape))}), "
                f"received {images.dtype} "
                f"{images.shape}"
            )
        if images.ndim == 3:
            return self._network(images[None])[0]
        parts = [
            self._network(images[i : i + batch_size]) for i in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def classify(self, images, top=1):
        """The likeliest classes of each image, a list of N lists of `top` (class, probability),
        best first.

        images: uint8 (N, height, width, channels), 0-255, or a list of N picture files.
        top: 1 to the number of classes.
        Raises InputError for a file that is no picture, ValueError for other arrays or another top.
        """
        if not 1 <= top <= len(self.classes):
            raise ValueError(f"top: must be 1 to {len(self.classes)}, received {top}")
        if isinstance(images, (str, os.PathLike)):
            images = [images]
        if (
            isinstance(images, (list, tuple))
            and images
            and all(isinstance(i, (str, os.PathLike)) for i in images)
        ):
            from .data import read_image

            images = np.stack([read_image(file, self.input_shape) for file in images])
        probabilities = np.atleast_2d(self.probabilities(images))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            [(self.classes[i], float(row[i])) for i in best]
            for row, best in zip(probabilities, order)
        ]


def card_path(path):
    """Where the export card of a file lies."""
    return Path(f"{path}.card.json")


def _card_of(path, content):
    """The card that belongs to a file, {} where there is none. InputError where it is another
    file's, or damaged."""
    file, key = (
        (path.with_name("card.json"), "model_sha256")
        if path.name == "model.keras"
        else (card_path(path), "sha256")
    )
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        classes, digest = card["classes"], card[key]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: cannot be read as the card of {path.name} ({type(error).__name__}: "
            f"{reason(error)})"
        ) from None
    if not (
        isinstance(classes, list) and len(classes) >= 2 and all(isinstance(c, str) for c in classes)
    ):
        raise InputError(f"{file}: classes must be a list of two or more names")
    if digest != hashlib.sha256(content).hexdigest():
        raise InputError(
            f"{path}: is not the file that {file.name} was written for: changed or damaged since"
        )
    return card


class _LiteRT:
    def __init__(self, path, content, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_content=content, num_threads=threads or 1)
        (self.source,) = self.interpreter.get_input_details()
        (self.sink,) = self.interpreter.get_output_details()
        batch, *shape = (int(n) for n in self.source["shape_signature"])
        self.input_shape, self.outputs = tuple(shape), int(self.sink["shape"][-1])
        self.dtype = np.dtype(self.source["dtype"]).name
        self.batch = self.fixed = batch if batch > 0 else None
        if self.fixed:
            self.interpreter.allocate_tensors()

    def __call__(self, images):
        if self.fixed is None:
            return self._run(images)
        parts = []
        for i in range(0, len(images), self.fixed):
            part = images[i : i + self.fixed]
            missing = self.fixed - len(part)
            filled = (
                np.concatenate([part, np.zeros((missing, *self.input_shape), np.uint8)])
                if missing
                else part
            )
            parts.append(self._run(filled)[: len(part)])
        return np.concatenate(parts)

    def _run(self, images):
        if self.batch != len(images):
            self.interpreter.resize_tensor_input(
                self.source["index"], (len(images), *self.input_shape)
            )
            with quiet_stderr():
                self.interpreter.allocate_tensors()
            self.batch = len(images)
        self.interpreter.set_tensor(self.source["index"], _quantized(images, self.source))
        self.interpreter.invoke()
        return _dequantized(self.interpreter.get_tensor(self.sink["index"]), self.sink)


def _quantized(images, details):
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return images.astype(dtype)
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    pixels = np.arange(256)
    values = np.clip(np.round(pixels / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return values[images]  # the usual scale 1 and zero point -128 only move the pixels


def _dequantized(values, details):
    if np.dtype(details["dtype"]).kind == "f":
        return values.astype(np.float32)
    scale, zero_point = details["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


class _Onnx:
    dtype = "float32"

    def __init__(self, path, content, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        (source,) = self.session.get_inputs()
        (sink,) = self.session.get_outputs()
        self.name, self.input_shape, self.outputs = (
            source.name,
            tuple(source.shape[1:]),
            sink.shape[-1],
        )

    def __call__(self, images):
        return self.session.run(None, {self.name: images.astype(np.float32)})[0]


class _Keras:
    dtype = "float32"

    def __init__(self, path, content, threads):
        from . import backend

        if importlib.util.find_spec("keras") is None:
            raise ModuleNotFoundError(name="keras")
        backend.start()
        import keras

        self.model = keras.saving.load_model(path, compile=False, safe_mode=True)
        self.input_shape, self.outputs = (
            tuple(self.model.input_shape[1:]),
            self.model.output_shape[-1],
        )

    def __call__(self, images):
        import keras

        return keras.ops.convert_to_numpy(
            self.model(images.astype(np.float32), training=False)
        ).astype(np.float32)
