"""From a bundle to the file that a phone or a board runs: LiteRT (float32, float16, full-integer int8) and ONNX.

Every file is tested on the whole test set before it is kept, and has an export card beside it, FILE.card.json.
"""
import datetime
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from . import backend, bundles, data, evaluation, inference
from .errors import InputError, reason

FORMATS = {"litert": "model.tflite", "litert-int8": "model.int8.tflite", "litert-fp16": "model.fp16.tflite", "onnx": "model.onnx"}
_LITERT, _ONNX = ("ai_edge_litert", "flatbuffers"), ("onnxruntime", "tf2onnx")
PACKAGES = {"litert": _LITERT, "litert-int8": _LITERT, "litert-fp16": _LITERT, "onnx": _ONNX}  # to write and test a format
CALIBRATION_IMAGES = 500
# the least share of test images that must get the class that Keras gives them; int8's is reported, not required
LEAST_AGREEMENT = {"litert": 1.0, "onnx": 1.0, "litert-fp16": 0.999}
TOLERANCE = 1e-4  # the largest difference of a probability from Keras', float32 formats
PREPROCESSING = ("pixels 0-255, rows from the top, {colours}; a photo: turned upright, its shorter side scaled to fit, the centre "
                 "cropped to {height} x {width}")


def export(model, card, format, output, dataset, seed=0, command=""):
    """Write a bundle's network in another format, test it beside Keras, and keep it only if it holds.

    Args:
        model, card: of a bundle, as bundles.load gives them.   format: a key of FORMATS.
        output: path of the file; its card is written beside it.
        dataset: data.Dataset of the bundle's classes and input shape. Its test images test the file, and its train images
            alone calibrate int8.
        seed: of the choice of calibration images.   command: the user's, for the card.

    Returns:
        The export card, a dict: format, bytes, sha256, accuracy, keras_accuracy, agreement (the share of test images with
        Keras' class), largest_difference of a probability, images, input and output (dtype, shape, scale, zero_point),
        preprocessing, classes, parameters, multiply_adds, peak_activation_bytes (LiteRT), calibration (int8), source_sha256 ...

    Raises:
        InputError: the data are not the bundle's, what converts or runs the format is not installed, the converter
            refuses the network, or the file fails its test (it is not left behind).
    """
    data.check_classes(dataset.name, dataset.classes, card["classes"])
    output = Path(os.path.abspath(output))
    calibration = None
    if format == "litert-int8":
        chosen = np.sort(np.random.default_rng([seed, 0xCA1]).permutation(len(dataset.train_images))[:CALIBRATION_IMAGES])
        calibration = dataset.train_images[chosen].copy()
        calibration[0, 0, 0], calibration[0, -1, -1] = 0, 255  # the input takes all pixels, whatever these images have
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}.", suffix=".partial")
    except OSError as error:
        raise InputError(f"{output.parent}: cannot be written ({reason(error)})") from None
    try:
        path = Path(scratch) / output.name
        _convert(model, format, path, calibration)
        classifier = inference.Classifier(path)
        measured = compare(model, classifier, dataset.test_images, dataset.test_labels)
        _require(format, measured)
        height, width, channels = classifier.input_shape
        card = {
            "format": format, "rung": card["rung"], "bytes": path.stat().st_size, "sha256": bundles.file_sha256(path), **measured,
            "data": {"name": dataset.name, "test_sha256": dataset.test_sha256()},
            **tensors(classifier),
            "preprocessing": PREPROCESSING.format(colours="grey" if channels == 1 else "RGB", height=height, width=width),
            "classes": card["classes"], "parameters": model.count_params(), "multiply_adds": multiply_adds(model),
            "calibration": None if calibration is None else {
                "images": len(calibration), "seed": seed, "train_sha256": dataset.train_sha256()},
            "source_sha256": card["model_sha256"], "source_test_accuracy": card["test_accuracy"],
            "versions": {**backend.versions(), **_runtime_versions(format)}, "command": command,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
        bundles.write_json(inference.card_path(path), card)
        for name in (inference.card_path(path).name, path.name):  # a kill between the two is seen: the card has a checksum
            bundles.sync(path.with_name(name))
            os.replace(path.with_name(name), output.with_name(name))
        bundles.sync(output.parent)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({reason(error)})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return card


def is_export_of(file, card, format):
    """Whether a file is there and is the export, in this format, of the bundle with this card."""
    try:
        own = json.loads(inference.card_path(file).read_text(encoding="utf-8"))
        return Path(file).is_file() and (own["format"], own["source_sha256"]) == (format, card["model_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def refuse_other(output, card, format):
    """Whether `output` is there, as the same export of the same bundle; InputError where it is anything else."""
    output = Path(output)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; --output must name a file")
    if not output.exists():
        return False
    if not is_export_of(output, card, format):
        raise InputError(f"{output}: is there already and no {format} export of this bundle; --overwrite replaces it, --output "
                         "names another file")
    return True


def _convert(model, format, path, calibration):
    import keras
    name = keras.backend.backend()
    if name != "tensorflow":
        raise InputError(f"KERAS_BACKEND {name}: exports are written under tensorflow")
    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name="pixels")]
    options = {}
    if format != "onnx":
        import tensorflow as tf
        options = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if format == "litert-fp16":
        options["target_spec"]["supported_types"] = [tf.float16]
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if format == "litert-int8":
        signature[0].shape = (1, *model.input_shape[1:])
        options = {
            "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}, "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([image[None].astype(np.float32)] for image in calibration),
            "inference_input_type": tf.int8, "inference_output_type": tf.int8}
    try:
        with backend.quiet_stderr():
            model.export(str(path), format="onnx" if format == "onnx" else "litert", input_signature=signature, verbose=False,
                         **options)
        if format != "onnx":
            path.write_bytes(compacted(path.read_bytes()))
    except ImportError as error:
        raise InputError(f"{format}: {reason(error)[:150]} (pip install \"cifar_lab[edge]\")") from None
    except Exception as error:  # the converters raise nearly anything
        raise InputError(f"{format}: the converter refuses this network ({reason(error)[:300]})") from None


def compacted(content):
    """A `.tflite` file without what no runtime reads: bytes -> bytes, the same operations, weights and quantisation.

    The converter writes for each channel of an int8 convolution a zero point of 8 bytes, always 0, for the weights and again
    for the bias, and names each tensor after all layers that went into it: a third of a network of 60,000 parameters. Here equal vectors
    are written once (FlatBuffers' offsets may share them), and inputs and outputs alone keep a name. Contents of buffers
    stay aligned to 16 bytes, as the format asks.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Builder(flatbuffers.Builder):
        def __init__(self, size):
            super().__init__(size)
            self.written = {}

        def CreateNumpyVector(self, x):
            key = x.dtype.str, x.tobytes()
            if key not in self.written:
                if x.dtype == np.uint8:  # a buffer's contents
                    self.Prep(16, x.nbytes)
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for subgraph in model.subgraphs:
        ends = {*subgraph.inputs, *subgraph.outputs}
        for i, tensor in enumerate(subgraph.tensors):
            if i not in ends:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                tensor.quantization.min = tensor.quantization.max = None
    builder = Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def compare(model, classifier, images, labels):
    """How an exported network does on test images beside Keras' own in float32: dict.

    images: uint8 (N, height, width, channels); labels: int (N,).
    """
    expected = evaluation.probabilities(model, images)
    found = evaluation.probabilities(classifier, images)
    return {"accuracy": float((found.argmax(1) == labels).mean()), "keras_accuracy": float((expected.argmax(1) == labels).mean()),
            "agreement": float((found.argmax(1) == expected.argmax(1)).mean()),
            "largest_difference": float(abs(found - expected).max()), "images": len(images)}


def _require(format, measured):
    least = LEAST_AGREEMENT.get(format, 0)
    if measured["agreement"] < least:
        raise InputError(f"{format}: {measured['agreement']:.2%} of {measured['images']:,} test images have Keras' class, must be "
                         f"{least:.2%}: not kept")
    if format in ("litert", "onnx") and not measured["largest_difference"] <= TOLERANCE:
        raise InputError(f"{format}: probabilities differ from Keras' by up to {measured['largest_difference']:.1e}, may by "
                         f"{TOLERANCE:.0e}: not kept")


def tensors(classifier):
    """What goes in and comes out of a file, and the memory between: {"input": ..., "output": ..., "peak_activation_bytes": ...}.

    The peak is the largest sum of the tensors that are alive at once in the order of the file's operations, at a batch of one:
    what a board's arena needs beside a few hundred bytes an operation. LiteRT files alone have it.
    """
    if classifier.kind != ".tflite":
        return {"input": {"dtype": "float32", "shape": [None, *classifier.input_shape]},
                "output": {"dtype": "float32", "shape": [None, len(classifier.classes)]}}

    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    with backend.quiet_stderr():  # the file's own operations: no delegate that fuses them
        interpreter = Interpreter(str(classifier.path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        interpreter.allocate_tensors()
    described = {}
    for key, details in (("input", interpreter.get_input_details()[0]), ("output", interpreter.get_output_details()[0])):
        described[key] = {"dtype": np.dtype(details["dtype"]).name, "shape": [int(n) if n > 0 else None for n in details["shape_signature"]]}
        if np.dtype(details["dtype"]).kind != "f":
            scale, zero_point = details["quantization"]
            described[key].update(scale=float(scale), zero_point=int(zero_point))
    operations = interpreter._get_ops_details()
    size = {d["index"]: int(np.prod(d["shape"])) * np.dtype(d["dtype"]).itemsize for d in interpreter.get_tensor_details()}
    first, last = {interpreter.get_input_details()[0]["index"]: 0}, {}
    for i, operation in enumerate(operations):
        for tensor in operation["outputs"]:
            first.setdefault(int(tensor), i)
            last[int(tensor)] = i
        for tensor in operation["inputs"]:
            last[int(tensor)] = i
    live = [sum(size.get(t, 0) for t in first if first[t] <= i <= last.get(t, -1)) for i in range(len(operations))]
    return {**described, "operations": sorted({operation["op_name"] for operation in operations}), "peak_activation_bytes": max(live)}


def multiply_adds(model):
    """Multiplications (each with its addition) of convolutions and dense layers for one image: int.

    model: a keras.Model of one input size. Normalisation, pooling and activations are not counted, as is usual.
    """
    total = 0
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        positions = np.prod(layer.output.shape[1:-1], dtype=int)  # (); 1 for a dense layer
        total += int(positions) * int(np.prod(layer.kernel.shape))  # a depthwise kernel has no sum over the channels
    return total


def _runtime_versions(format):
    from importlib import metadata
    names = ("onnxruntime", "tf2onnx") if format == "onnx" else ("ai-edge-litert",)
    return {name: metadata.version(name) for name in names}
