"""LiteRT (`.tflite`) in float32, float16 and int8; what such a file takes in memory."""

from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from .converter import require_tensorflow, write_with_keras

PACKAGES = ("ai_edge_litert", "flatbuffers")
VERSIONS = ("ai-edge-litert",)


def write_float32(model, path: Path, calibration: np.ndarray | None) -> None:
    """Write keras.Model `model` to `path`; calibration images are not used."""
    require_tensorflow()
    import tensorflow as tf

    _write(model, path, target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]})


def write_float16(model, path: Path, calibration: np.ndarray | None) -> None:
    """As `write_float32`, with weights of 16 bits."""
    require_tensorflow()
    import tensorflow as tf

    _write(
        model,
        path,
        target_spec={
            "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
            "supported_types": [tf.float16],
        },
        optimizations=[tf.lite.Optimize.DEFAULT],
    )


def write_int8(model, path: Path, calibration: np.ndarray | None) -> None:
    """Write a model with int8 weights, activations, input and output, for one image at a time.

    Args:
        model: keras.Model.
        path: of the file.
        calibration: uint8 (N, height, width, channels), 0-255, that set the scales.
    """
    require_tensorflow()
    import tensorflow as tf

    if calibration is None:
        raise ValueError("calibration: int8 needs images, received None")
    _write(
        model,
        path,
        batch=1,
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([i[None].astype(np.float32)] for i in calibration),
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )


def _write(model, path: Path, batch: int | None = None, **options) -> None:
    write_with_keras(model, "litert", path, batch, **options)
    path.write_bytes(compacted(path.read_bytes()))


def compacted(content: bytes) -> bytes:
    """Drop from a `.tflite` file what no runtime reads: the same operations, weights, quantisation.

    The converter writes for each channel of an int8 convolution a zero point of 8 bytes, always 0,
    for the weights and again for the bias, and names each tensor after all layers that went into
    it: a third of a network of 60,000 parameters. Here equal vectors are written once (FlatBuffers'
    offsets may share them), and inputs and outputs alone keep a name. Contents of buffers stay
    aligned to 16 bytes, as the format asks.
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


def tensors(path: Path) -> dict[str, Any]:
    """Look into a file: what goes in and out, its operations, and the memory between.

    The peak is the largest sum of the tensors that are alive at once in the order of the file's
    operations, at a batch of one: what a board's arena needs beside a few hundred bytes an
    operation.

    Returns:
        {"input": {dtype, shape, scale, zero_point}, "output": the same, "operations": sorted names,
        "peak_activation_bytes": int}; scale and zero_point for integers alone.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with backend.quiet_stderr():  # the file's own operations: no delegate that fuses them
        interpreter = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()
    return {
        "input": _described(interpreter.get_input_details()[0]),
        "output": _described(interpreter.get_output_details()[0]),
        "operations": sorted({operation["op_name"] for operation in operations}),
        "peak_activation_bytes": _peak_activation_bytes(interpreter, operations),
    }


def _described(details: dict) -> dict[str, Any]:
    dtype = np.dtype(details["dtype"])
    shape = [int(n) if n > 0 else None for n in details["shape_signature"]]
    described: dict[str, Any] = {"dtype": dtype.name, "shape": shape}
    if dtype.kind != "f":
        scale, zero_point = details["quantization"]
        described.update(scale=float(scale), zero_point=int(zero_point))
    return described


def _peak_activation_bytes(interpreter, operations: list[dict]) -> int:
    size = {
        d["index"]: int(np.prod(d["shape"])) * np.dtype(d["dtype"]).itemsize
        for d in interpreter.get_tensor_details()
    }
    # operations that write a tensor first and use it last; weights are never written
    first, last = {interpreter.get_input_details()[0]["index"]: 0}, {}
    for i, operation in enumerate(operations):
        for tensor in operation["outputs"]:
            first.setdefault(int(tensor), i)
            last[int(tensor)] = i
        for tensor in operation["inputs"]:
            last[int(tensor)] = i
    return max(
        sum(size.get(t, 0) for t in first if first[t] <= i <= last.get(t, -1))
        for i in range(len(operations))
    )
