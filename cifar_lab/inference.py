"""Saved networks without TensorFlow: `.tflite`, `.onnx`, `.npz`, `.html` and `.keras` files behind
one interface.

A `.tflite` file needs ai-edge-litert, an `.onnx` file onnxruntime, a `.keras` file Keras, an `.npz`
file or a page (`.html`) nothing but numpy; each is imported when a file of its kind is opened, and
nothing else is: what a device that never trains has to hold is this package, numpy and at most one
runtime.

A `.tflite`, `.onnx` or `.keras` file without a card of ours is a stranger's: it is opened and run
in a process of its own (`strangers`, docs/security.md).
"""

import hashlib
import importlib.util
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import blas, calibration, documents, pixels, schema, strangers
from .backend import quiet_stderr
from .errors import InputError, reason

NEEDS = {
    ".tflite": "ai-edge-litert",
    ".onnx": "onnxruntime",
    ".npz": "numpy",
    ".html": "numpy",
    ".keras": "keras",
}  # of each kind of file

EXPORTS = (".tflite", ".onnx", ".npz", ".html")
MOST_PIXELS = 1_024  # of a picture's side, as a network takes it
MOST_OUTPUTS = 100_000
MOST_BYTES_OF_BATCH = 1 << 28  # of a fixed batch of pictures
CONTAINED = (".tflite", ".onnx", ".keras")  # a stranger's; the others have readers of our own
PROBABILITY_TOLERANCE = 1e-2  # of a probability's bounds and a row's sum: what 16 bits allow


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


def with_weights(recipe, file):
    """The Classifier of a recipe's network with the weights of a plain Keras file (*.weights.h5).

    Its classes are those of the recipe's data where it has as many outputs, else "0", "1", ...
    Raises InputError where there is no such file, or it is of another network.
    """
    from . import data, weights

    path = weights.check(file)
    names = data.folder_classes if data.is_folder(recipe.data) else data.classes_of
    classes = list(names(recipe.data))
    model = weights.network(recipe, len(classes), path, other_outputs=True)
    known = {"classes": classes} if model.output_shape[-1] == len(classes) else {}
    return Classifier(path, model=model, card=known)


class Classifier:
    """A saved network that says what is on an image.

    Args:
        path: a `.tflite`, `.onnx`, `.npz`, `.html` or `.keras` file. Class names come from its
            export card (`FILE.card.json`), or from the card.json beside a bundle's model.keras, or
            from a page itself; else they are "0", "1", ...
        threads: of the runtime, at least 1; None: 1 for LiteRT and numpy, what the others choose
            for themselves.
        model, card: a keras.Model that has the file's weights, and what a card would say of it
            (see `with_weights`); the file is then not read.
        contained: whether the file is opened and run in a process of its own, with limits of time
            and memory; None: where it is of a kind that another's runtime opens and has no card.
            False is for files that you trust: it spares the process.

    Attributes: path; kind (".tflite", ...); input_shape, (height, width, channels); classes, tuple
    of str; card, dict, {} where there is none; dtype of the file's own input, "float32", "int8",
    ...; temperature that probabilities are brought to: that of a bundle's card, 1.0 for other files
    (exports are calibrated already, as their cards say).

    Raises:
        InputError: no such file, another kind, damaged or not its card's, no image classifier, or
            its runtime is missing; a stranger's that asks for too much, or ends its process.
    """

    def __init__(self, path, threads=None, *, model=None, card=None, contained=None):
        self.path = Path(path)
        self.kind = self.path.suffix.lower() if model is None else ".keras"
        if self.kind not in NEEDS:
            raise InputError(f"{path}: must end in {', '.join(NEEDS)}")
        try:
            content = strangers.read(self.path) if model is None else b""
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({reason(error)})") from None
        self.card = _card_of(self.path, content) if model is None else card or {}
        if contained is None:
            contained = model is None and not self.card
        self.contained = contained and self.kind in CONTAINED
        self._model = None
        try:
            if model is None:
                strangers.check(self.kind, content)
            with quiet_stderr():
                self._network: Any = self._opened(content if model is None else model, threads)
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
        if self.kind == ".html":
            self.card = self.card or self._network.card
        self._check_ends()
        outputs = self._network.outputs
        self.classes = tuple(self.card.get("classes") or map(str, range(outputs)))
        if len(self.classes) != outputs:
            raise InputError(f"{path}: has {outputs} outputs, its card {len(self.classes)} classes")
        is_bundle = self.path.name == "model.keras"
        self.temperature = temperature_of(self.card) if is_bundle else 1.0

    def _opened(self, content, threads):
        """The network in its runtime, here or in a process of its own."""
        if not self.contained:
            return RUNTIMES[self.kind](self.path, content, threads)
        from .strangers.process import Contained

        _require_runtime(self.kind)
        return Contained(self.path, self.kind, content, threads, NEEDS[self.kind])

    def _check_ends(self):
        """InputError where the network takes or gives what no image classifier does."""
        network, path = self._network, self.path
        self.input_shape, self.dtype = network.input_shape, network.dtype
        shape, outputs = self.input_shape, network.outputs
        if not (
            len(shape) == 3
            and shape[2] in (1, 3)
            and all(isinstance(n, int) and n > 0 for n in (*shape, outputs))
        ):
            raise InputError(f"{path}: is not an image classifier: takes {shape}, gives {outputs}")
        if outputs < 2:
            raise InputError(
                f"{path}: has one output, where a probability for each class is needed (two "
                "classes: two outputs and a softmax)"
            )
        if max(shape) > MOST_PIXELS or outputs > MOST_OUTPUTS:
            raise InputError(
                f"{path}: takes {shape}, gives {outputs:,}: may take {MOST_PIXELS:,} pixels a side "
                f"and give {MOST_OUTPUTS:,} probabilities"
            )
        fixed = network.fixed
        if fixed is not None and not 1 <= fixed <= MOST_BYTES_OF_BATCH // math.prod(shape):
            raise InputError(
                f"{path}: takes {fixed:,} pictures at once, may take "
                f"{MOST_BYTES_OF_BATCH // math.prod(shape):,}"
            )

    @property
    def keras_model(self):
        """The keras.Model of a `.keras` file, None of others.

        Of a stranger's file it is made here, in this process, after another has opened it. Raises
        InputError where it is not what it was then.
        """
        if self.kind != ".keras" or not self.contained:
            return getattr(self._network, "model", None)
        if self._model is None:
            inside = Classifier(self.path, contained=False)
            if (inside.input_shape, inside.classes) != (self.input_shape, self.classes):
                raise InputError(f"{self.path}: was changed while it was looked at")
            self._model = inside.keras_model
        return self._model

    def probabilities(self, images, batch_size=64, calibrated=True):
        """Probabilities of each class, float32 (N, classes), in the order of the images.

        images: uint8 (N, height, width, channels), 0-255; or one image without the first axis,
            which gives (classes,).
        calibrated: whether they are brought to `temperature`; otherwise as the file gives them.
        ValueError for another dtype or shape, which says so where pixels were divided by 255;
        InputError where the runtime cannot run the file, or
        what it gives are not probabilities.
        """
        images = np.asarray(images)
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or images.shape[-3:] != self.input_shape
        ):
            wrong = pixels.divided(images)
            raise ValueError(
                f"images: must be uint8 (N, {', '.join(map(str, self.input_shape))}), "
                f"received {images.dtype} {images.shape}{', ' if wrong else ''}{wrong}"
            )
        if images.ndim == 3:
            return self.probabilities(images[None], 1, calibrated)[0]
        size = self._network.fixed or batch_size
        if self.contained:  # a question holds several of its batches
            size *= max(1, batch_size // size)
        parts = [self._run(images[i : i + size]) for i in range(0, len(images), size)]
        found = np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)
        if calibrated and self.temperature != 1:
            return calibration.scaled(found, self.temperature).astype(np.float32)
        return found

    def _run(self, images):
        """float32 (N, classes) of as many images as are run at once; a fixed batch is filled up."""
        count = len(images)
        missing = -count % (self._network.fixed or 1)
        if missing:
            images = np.concatenate([images, np.zeros((missing, *self.input_shape), "uint8")])
        try:
            with quiet_stderr():
                found = np.asarray(self._network(images), np.float32)
        except InputError:
            raise
        except Exception as error:  # each runtime has its own
            raise InputError(
                f"{self.path}: cannot be run by {NEEDS[self.kind]} ({reason(error)[:200]})"
            ) from None
        shape = len(images), len(self.classes)
        require_probabilities(found, shape, self.path, self._network.step)
        return found[:count]

    @property
    def model(self):
        """As `keras_model`."""
        return self.keras_model

    def threshold(self, precision):
        """The confidence from which on answers are right as often as `precision`, from the card.

        InputError where the card has none for it.
        """
        return threshold_of(self.card, precision, self.path)

    def classify(self, images, top=1):
        """The likeliest classes of each image, a list of N lists of `top` (class, probability),
        best first.

        images: uint8 (N, height, width, channels), 0-255, or a list of N picture files.
        top: 1 to the number of classes.
        Raises InputError for a file that is no picture, ValueError for other arrays or another top.
        """
        if not 1 <= top <= len(self.classes):
            raise ValueError(f"top: must be 1 to {len(self.classes)}, received {top}")
        images = pictures(images, self.input_shape)
        probabilities = np.atleast_2d(self.probabilities(images))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            [(self.classes[i], float(row[i])) for i in best]
            for row, best in zip(probabilities, order)
        ]


def pictures(images, input_shape):
    """An array as it is, picture files as uint8 (N, *input_shape).

    images: an array, a file, or a list of files. input_shape: (height, width, channels).
    Raises InputError for a file that is no picture.
    """
    if isinstance(images, (str, os.PathLike)):
        images = [images]
    if (
        isinstance(images, (list, tuple))
        and images
        and all(isinstance(i, (str, os.PathLike)) for i in images)
    ):
        from .data import read_image

        images = [read_image(file, input_shape) for file in images]
    return np.asarray(images)


def require_probabilities(values, shape, name, step=0.0):
    """InputError where outputs are not probabilities of each class.

    Args:
        values: float array, each value to be 0 to 1, each row to sum to 1, as exactly as 16 bits
            or the step allow.
        shape: that it must have, (images, classes).
        name: what the error calls the network.
        step: of an integer output, between a value and the next.
    """
    if values.shape != shape:
        raise InputError(
            f"{name}: gives an array of {values.shape}, where a probability for each image and "
            f"class is needed, {shape}"
        )
    if not len(values):
        return
    wrong = int((~np.isfinite(values)).any(1).sum())
    if wrong:
        raise InputError(f"{name}: gives NaN or infinity for {wrong} of {len(values)} images")
    sums = values.sum(1)
    off = float(abs(sums - 1).max())
    low, high = float(values.min()), float(values.max())
    edge = PROBABILITY_TOLERANCE + step
    if low < -edge or high > 1 + edge or off > PROBABILITY_TOLERANCE + step * values.shape[1]:
        raise InputError(
            f"{name}: its outputs are not probabilities: from {low:.4g} to {high:.4g}, the first "
            f"image's sum to {float(sums[0]):.4g}; it needs a softmax at its end"
        )


def temperature_of(card):
    """The temperature of a bundle's card, as documents.CARD lets it be; 1.0 where it has none."""
    return float((card.get("calibration") or {}).get("temperature", 1.0))


def threshold_of(card, precision, name):
    """The confidence from which on answers are right as often as `precision`: of a bundle's card or
    an export's. InputError, which calls the network `name`, where it has none."""
    found = card.get("calibration")
    thresholds = card.get("thresholds") or (
        found.get("thresholds") if isinstance(found, dict) else None
    )
    if not isinstance(thresholds, dict):
        raise InputError(
            f"{name}: its card has no thresholds (`python -m cifar_lab calibrate` adds them to a "
            "bundle's)"
        )
    if not isinstance(precision, (int, float)):
        raise InputError(f"`precision`: must be a number, received {precision!r}")
    entry = thresholds.get(str(float(precision)), False)
    if entry is False:
        known = ", ".join(thresholds)
        raise InputError(f"`precision`: must be one of {known} (those of {name}), is {precision:g}")
    if not (isinstance(entry, dict) and isinstance(entry.get("threshold"), (int, float))):
        raise InputError(
            f"{name}: no threshold gives a precision of {precision:g} on its validation images: "
            "too few of them, or too many of its surest answers are wrong"
        )
    return float(entry["threshold"])


def card_path(path):
    """Where the export card of a file lies."""
    return Path(f"{path}.card.json")


def _card_of(path, content):
    """The card that belongs to a file, {} where there is none. InputError where it is another
    file's, or damaged."""
    own = path.name == "model.keras"
    file = path.with_name("card.json") if own else card_path(path)
    kind = documents.CARD_OF_MODEL if own else documents.EXPORT_CARD
    try:
        card = schema.read_json(file, kind)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read as the card of {path.name} ({reason(error)})"
        ) from None
    digest = card["model_sha256" if own else "sha256"]
    if digest != hashlib.sha256(content).hexdigest():
        raise InputError(
            f"{path}: is not the file that {file.name} was written for: changed or damaged since"
        )
    return card


# --- the runtimes ---
#
# Each is made with the path, the content of the file and the number of threads, and raises what it
# likes. Each has input_shape, outputs, dtype (of its input), fixed (its batch, or None) and step
# (of an integer output, or 0). Called with uint8 images, as many as a fixed batch holds, it gives
# floats.


class _LiteRT:
    def __init__(self, path, content, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_content=content, num_threads=threads or 1)
        self.source = _only(self.interpreter.get_input_details(), "inputs", path)
        self.sink = _only(self.interpreter.get_output_details(), "outputs", path)
        batch, *shape = (int(n) for n in self.source["shape_signature"])
        self.input_shape, self.outputs = tuple(shape), _row(self.sink["shape"].tolist(), path)
        self.dtype = np.dtype(self.source["dtype"]).name
        self.pixels = _pixel_values(self.source)
        self.step = (
            0.0 if np.dtype(self.sink["dtype"]).kind == "f" else self.sink["quantization"][0]
        )
        self.batch = self.fixed = batch if batch > 0 else None
        if self.fixed:
            self.interpreter.allocate_tensors()

    def __call__(self, images):
        return self._run(images)

    def _run(self, images):
        if self.batch != len(images):
            self.interpreter.resize_tensor_input(
                self.source["index"], (len(images), *self.input_shape)
            )
            self.interpreter.allocate_tensors()
            self.batch = len(images)
        # the usual scale 1 and zero point -128 only move the pixels
        self.interpreter.set_tensor(self.source["index"], self.pixels[images])
        self.interpreter.invoke()
        return _dequantized(self.interpreter.get_tensor(self.sink["index"]), self.sink)


def _pixel_values(details):
    """What the pixels 0 to 255 are in a file's own input: an array of 256."""
    dtype, pixels = np.dtype(details["dtype"]), np.arange(256)
    scale, zero_point = details["quantization"]
    if dtype.kind == "f" or not scale and np.can_cast(np.uint8, dtype):
        return pixels.astype(dtype)
    if not scale:
        raise ValueError(f"its input is {dtype.name} without a scale")
    limits = np.iinfo(dtype)
    return np.clip(np.round(pixels / scale) + zero_point, limits.min, limits.max).astype(dtype)


def _dequantized(values, details):
    if np.dtype(details["dtype"]).kind == "f":
        return values.astype(np.float32)
    scale, zero_point = details["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def _only(ends, kind, path):
    """The one input or output of a file, or an InputError."""
    if len(ends) != 1:
        raise InputError(f"{path}: is not an image classifier: has {len(ends)} {kind}, needs one")
    return ends[0]


def _row(shape, path):
    """How many values an output of (pictures, values) has for each, or an InputError."""
    if isinstance(shape, dict) or len(shape) != 2:
        found = "several arrays" if isinstance(shape, dict) else f"an array of {tuple(shape)}"
        raise InputError(
            f"{path}: gives {found}, where a probability for each image and class is needed, "
            "(images, classes)"
        )
    return shape[-1]


def _require_runtime(kind):
    """ModuleNotFoundError where the runtime of a kind of file is not installed."""
    name = NEEDS[kind].replace("-", "_")
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name=name)


class _Onnx:
    """Takes (N, height, width, channels), or (N, channels, height, width) as PyTorch writes it, in
    every type that holds 0-255."""

    DTYPES = {
        "tensor(float)": "float32",
        "tensor(float16)": "float16",
        "tensor(double)": "float64",
        **{f"tensor({name})": name for name in ("uint8", "int16", "uint16", "int32", "uint32")},
        **{f"tensor({name})": name for name in ("int64", "uint64")},
    }
    step = 0.0

    def __init__(self, path, content, threads):
        import onnxruntime  # its telemetry is off: see the package's __init__

        onnxruntime.disable_telemetry_events()  # of one that was imported before this package
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is an exception as well
        if threads:
            options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        source = _only(self.session.get_inputs(), "inputs", path)
        sink = _only(self.session.get_outputs(), "outputs", path)
        if source.type not in self.DTYPES:
            raise InputError(
                f"{path}: takes {source.type}, must take one of {', '.join(self.DTYPES)}"
            )
        if not source.shape or not sink.shape:
            raise InputError(
                f"{path}: is not an image classifier: says no shape of its input or output"
            )
        self.name, self.dtype = source.name, self.DTYPES[source.type]
        batch, *shape = source.shape
        self.channels_first = len(shape) == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3)
        self.input_shape = tuple(shape[1:] + shape[:1] if self.channels_first else shape)
        self.outputs = _row(sink.shape, path)
        self.fixed = batch if isinstance(batch, int) else None

    def __call__(self, images):
        if self.channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return self.session.run(None, {self.name: images.astype(self.dtype)})[0]


class _Numpy:
    dtype, step, fixed = "float32", 0.0, None

    def __init__(self, path, content, threads):
        from .scratch import saving

        self.threads = threads or 1
        self.network, self.input_shape = self._restored(content)
        *_, made = self.network.shapes(self.input_shape).values()
        self.outputs = made[0] if len(made) == 1 else made
        # what a processor's cache holds is passed on the fastest, and takes the least memory
        self.batch = max(1, min(16, (1 << 22) // saving.widest(self.network, self.input_shape)))

    def _restored(self, content):
        from .scratch import saving

        return saving.restore(content)

    def __call__(self, images):
        with blas.threads(self.threads):
            return self.network.predict(images, self.batch)


class _Page(_Numpy):
    """The network of a page, with the weights that the page holds."""

    def _restored(self, content):
        from .scratch import packing

        told, weights = packing.from_page(content)
        classes = told.get("classes")
        if not (isinstance(classes, list) and all(isinstance(c, str) for c in classes)):
            raise ValueError("its classes must be names")
        self.card = {"classes": classes, "rung": told.get("rung")}
        return packing.unpack(told, weights)


class _Keras:
    dtype, step = "float32", 0.0

    def __init__(self, path, content, threads):
        from . import backend, networks

        _require_runtime(".keras")
        backend.start()
        import keras

        if isinstance(content, keras.Model):
            self.model = content
        else:
            with networks.bounded():
                self.model = keras.saving.load_model(path, compile=False, safe_mode=True)
        if not isinstance(self.model, keras.Model) or not self.model.built:
            raise InputError(f"{path}: is not a model that is built: {type(self.model).__name__}")
        _only(self.model.inputs, "inputs", path)
        _only(self.model.outputs, "outputs", path)
        self.fixed, *shape = self.model.input_shape
        self.input_shape, self.outputs = tuple(shape), _row(self.model.output_shape, path)

    def __call__(self, images):
        import keras

        return keras.ops.convert_to_numpy(self.model(images.astype(np.float32), training=False))


RUNTIMES = {".tflite": _LiteRT, ".onnx": _Onnx, ".npz": _Numpy, ".html": _Page, ".keras": _Keras}
