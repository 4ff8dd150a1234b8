"""Whether an `.onnx` file is one that ONNX Runtime may see: operations from a list, no loops, no
branches, no other files, no tensor that is larger than the file says.

The format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, protocol buffers
(https://protobuf.dev/programming-guides/encoding). Plain Python and the standard library.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

MOST_OPERATIONS = 10_000
MOST_TENSORS = 20_000
MOST_BYTES_OF_TENSOR = 1 << 28  # that an operation is told to make: 256 MB
MOST_DIMENSIONS = 8
MOST_FIELDS = 1 << 22  # of all messages that are read, and whole numbers of their lists

OPERATIONS = frozenset(
    # arithmetic and activations
    "Abs Add Ceil Celu Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual "
    "HardSigmoid HardSwish LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul "
    "Neg Not Or And PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus "
    "Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu Where Xor "
    # layers
    "AveragePool BatchNormalization Conv ConvTranspose Dropout Gemm GlobalAveragePool GlobalLpPool "
    "GlobalMaxPool GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization "
    "LpPool MatMul MaxPool MeanVarianceNormalization RMSNormalization "
    # shapes
    "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Einsum Expand Flatten Gather "
    "GatherElements GatherND Identity Pad Range Reshape Resize Shape Size Slice SpaceToDepth Split "
    "Squeeze Tile Transpose Unsqueeze Upsample "
    # reductions
    "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare TopK "
    # integers
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul "
    "QuantizeLinear".split()
)
# of ONNX Runtime's quantiser and optimiser, in the domain com.microsoft
MICROSOFT = frozenset(
    "DequantizeLinear FusedConv FusedGemm FusedMatMul Gelu QGemm QLinearAdd QLinearAveragePool "
    "QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid "
    "QLinearSoftmax QuantizeLinear".split()
)
_DOMAINS = {"": OPERATIONS, "ai.onnx": OPERATIONS, "com.microsoft": MICROSOFT}

# TensorProto.DataType: bytes of a value
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_INT64, _FLOAT = 7, 1

# {operation: the input, or of Reshape's kin the attribute, that says how large its output is}
_SIZED = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1}


# --- protocol buffers -----------------------------------------------------------------------------


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("it is cut off, or no ONNX")
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & ((1 << 64) - 1), at


class _Message:
    """The fields of a message: {number: [values]}, numbers as they are, the rest as bytes.

    left: [how many fields may still be read], for all messages of the file.
    """

    def __init__(self, content: memoryview, left: list[int]) -> None:
        self.left = left
        self.fields: dict[int, list] = {}
        at = 0
        while at < len(content):
            self._spend()
            key, at = _varint(content, at)
            number, wire = key >> 3, key & 7
            value: int | memoryview
            if wire == 0:
                value, at = _varint(content, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                value, at = content[at : at + size], at + size
            elif wire == 2:
                size, at = _varint(content, at)
                value, at = content[at : at + size], at + size
            else:
                raise ValueError("it is damaged, or no ONNX")
            if at > len(content):
                raise ValueError("it is cut off, or no ONNX")
            self.fields.setdefault(number, []).append(value)

    def _spend(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise ValueError(f"it has more than {MOST_FIELDS:,} fields")

    def one(self, number: int, default=0):
        """The value of a field that is there once or not at all."""
        values = self.fields.get(number, [default])
        if len(values) > 1:
            raise ValueError(f"it says field {number} of a message twice")
        return values[0]

    def number(self, number: int) -> int:
        value = self.one(number)
        if not isinstance(value, int):
            raise ValueError("it is damaged, or no ONNX")
        return value

    def text(self, number: int) -> str:
        return bytes(_is_bytes(self.one(number, b""))).decode("utf-8", "replace")

    def messages(self, number: int) -> list[_Message]:
        return [_Message(_is_bytes(value), self.left) for value in self.fields.get(number, [])]

    def numbers(self, number: int) -> Iterator[int]:
        """Whole numbers with a sign, packed or one by one."""
        for value in self.fields.get(number, []):
            if isinstance(value, int):
                yield _signed(value)
                continue
            at = 0
            while at < len(value):
                self._spend()
                found, at = _varint(value, at)
                yield _signed(found)


def _is_bytes(value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is damaged, or no ONNX")
    return memoryview(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# --- the check ------------------------------------------------------------------------------------


def check(content: bytes) -> None:
    """ValueError, with the reason, where ONNX Runtime is not to see a file.

    content: of the file.
    """
    model = _Message(memoryview(content), [MOST_FIELDS])
    if model.fields.get(25):
        raise ValueError("it has functions of its own, which are not allowed")
    if model.fields.get(20):
        raise ValueError("it has a training, which is not allowed")
    graphs = model.messages(7)
    if len(graphs) != 1:
        raise ValueError("it has no graph: it is damaged, or no ONNX")
    graph = graphs[0]
    if graph.fields.get(15):
        raise ValueError("it has sparse tensors, which are not allowed")
    tensors = graph.fields.get(5, [])
    nodes = graph.fields.get(1, [])
    for found, most, what in (
        (nodes, MOST_OPERATIONS, "operations"),
        (tensors, MOST_TENSORS, "tensors"),
    ):
        if len(found) > most:
            raise ValueError(f"it has {len(found):,} {what}, may have {most:,}")
    known = {}  # what small vectors of whole numbers hold
    for tensor in graph.messages(5):
        name, values = _tensor(tensor)
        known[name] = values
    for node in graph.messages(1):
        _check_node(node, known)


def _tensor(tensor: _Message) -> tuple[str, list[int] | None]:
    """(name, its values where it is a short vector of int64). ValueError where its size is not
    what it says."""
    name = tensor.text(8)
    what = f"its tensor {name[:60]!r}"
    if tensor.fields.get(13) or tensor.number(14):
        raise ValueError(f"{what} lies in another file, which is not allowed")
    if tensor.fields.get(3):
        raise ValueError(f"{what} is a part of one, which is not allowed")
    shape, kind = list(tensor.numbers(1)), tensor.number(2)
    if kind not in _BYTES:
        raise ValueError(f"{what} has values of type {kind}, which are not allowed")
    if len(shape) > MOST_DIMENSIONS or any(n < 0 for n in shape):
        raise ValueError(f"{what} has the shape {shape[:9]}")
    count = math.prod(shape)
    held = {n: sum(len(_is_bytes(v)) for v in tensor.fields.get(n, []) if not isinstance(v, int))
            + sum(isinstance(v, int) for v in tensor.fields.get(n, []))
            for n in (4, 5, 7, 9, 10, 11)}  # fmt: skip
    if held[9]:
        if held[9] != count * _BYTES[kind]:
            raise ValueError(
                f"{what} of shape {shape} takes {count * _BYTES[kind]:,} bytes, has {held[9]:,}"
            )
    elif sum(held.values()) < count:  # at least a byte each
        raise ValueError(f"{what} of shape {shape} has fewer than {count:,} values")
    values = None
    if kind == _INT64 and len(shape) <= 1 and count <= MOST_DIMENSIONS:
        raw = bytes(_is_bytes(tensor.one(9, b"")))
        values = list(struct.unpack(f"<{count}q", raw)) if raw else list(tensor.numbers(7))
    return name, values


def _check_node(node: _Message, known: dict[str, list[int] | None]) -> None:
    name, domain = node.text(4), node.text(7)
    if domain not in _DOMAINS or name not in _DOMAINS[domain]:
        full = f"{domain}.{name}" if domain else name
        raise ValueError(f"it has the operation {full[:60]!r}, which is not allowed")
    inputs = [bytes(_is_bytes(v)).decode("utf-8", "replace") for v in node.fields.get(1, [])]
    outputs = [bytes(_is_bytes(v)).decode("utf-8", "replace") for v in node.fields.get(2, [])]
    for attribute in node.messages(5):
        if any(attribute.fields.get(n) for n in (6, 11)):
            raise ValueError(f"its operation {name} has a graph inside, which is not allowed")
        if any(attribute.fields.get(n) for n in (22, 23)):
            raise ValueError(f"its operation {name} has sparse tensors, which are not allowed")
        for tensor in attribute.messages(5) + attribute.messages(10):
            values = _tensor(tensor)[1]
            if name == "Constant" and outputs:
                known[outputs[0]] = values
    place = _SIZED.get(name)
    size = known.get(inputs[place]) if place is not None and place < len(inputs) else None
    if size and math.prod(abs(n) for n in size if n) * 4 > MOST_BYTES_OF_TENSOR:
        raise ValueError(
            f"its operation {name} makes a tensor of {list(size)}, may make one of "
            f"{MOST_BYTES_OF_TENSOR:,} bytes"
        )
