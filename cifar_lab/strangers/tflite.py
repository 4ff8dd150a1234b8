"""Whether a `.tflite` file is what it says, told before LiteRT sees it.

LiteRT checks that a file is a well-formed FlatBuffer. That its numbers make sense it leaves to its
kernels, some of which read and write where a number points. Here each table, index, shape and size
that a kernel believes is compared with the file, and the operations with a list: those of our own
exports and of convolutional networks as Keras and TensorFlow convert them.

The format: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
and https://flatbuffers.dev/internals. Plain Python and the standard library.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

MOST_OPERATIONS = 5_000
MOST_TENSORS = 20_000
MOST_BYTES_OF_TENSOR = 1 << 28  # 256 MB at a batch of one
MOST_BYTES = 1 << 30  # of all tensors that are computed, at the batch that the file was saved with
MOST_DIMENSIONS = 6
MOST_VALUES = 1 << 22  # of all tables and vectors that are read, as often as they are named

# --- what may be in a file ------------------------------------------------------------------------

# TensorType: bits of a value
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 10: 64, 15: 32, 17: 4}
_SCALED = (3, 7, 9)  # uint8, int16, int8

# name: (BuiltinOperator, BuiltinOptions or 0, fewest inputs, most inputs)
_ANY = MOST_TENSORS
OPERATIONS = {
    "ADD": (0, 11, 2, 2),
    "AVERAGE_POOL_2D": (1, 5, 1, 1),
    "CONCATENATION": (2, 10, 1, _ANY),
    "CONV_2D": (3, 1, 2, 3),
    "DEPTHWISE_CONV_2D": (4, 2, 2, 3),
    "DEPTH_TO_SPACE": (5, 94, 1, 1),
    "DEQUANTIZE": (6, 38, 1, 1),
    "FLOOR": (8, 0, 1, 1),
    "FULLY_CONNECTED": (9, 8, 2, 3),
    "L2_NORMALIZATION": (11, 12, 1, 1),
    "LOGISTIC": (14, 0, 1, 1),
    "MAX_POOL_2D": (17, 5, 1, 1),
    "MUL": (18, 21, 2, 2),
    "RELU": (19, 0, 1, 1),
    "RELU_N1_TO_1": (20, 0, 1, 1),
    "RELU6": (21, 0, 1, 1),
    "RESHAPE": (22, 17, 1, 2),
    "RESIZE_BILINEAR": (23, 15, 2, 2),
    "SOFTMAX": (25, 9, 1, 1),
    "SPACE_TO_DEPTH": (26, 19, 1, 1),
    "TANH": (28, 0, 1, 1),
    "PAD": (34, 22, 2, 2),
    "GATHER": (36, 23, 2, 2),
    "TRANSPOSE": (39, 26, 2, 2),
    "MEAN": (40, 27, 2, 2),
    "SUB": (41, 28, 2, 2),
    "DIV": (42, 29, 2, 2),
    "SQUEEZE": (43, 30, 1, 1),
    "STRIDED_SLICE": (45, 32, 4, 4),
    "EXP": (47, 33, 1, 1),
    "SPLIT": (49, 35, 2, 2),
    "LOG_SOFTMAX": (50, 36, 1, 1),
    "CAST": (53, 37, 1, 1),
    "PRELU": (54, 0, 2, 2),
    "MAXIMUM": (55, 39, 2, 2),
    "MINIMUM": (57, 39, 2, 2),
    "NEG": (59, 42, 1, 1),
    "PADV2": (60, 43, 3, 3),
    "SLICE": (65, 48, 3, 3),
    "TRANSPOSE_CONV": (67, 49, 3, 4),
    "EXPAND_DIMS": (70, 52, 2, 2),
    "LOG": (73, 0, 1, 1),
    "SUM": (74, 27, 2, 2),
    "SQRT": (75, 0, 1, 1),
    "RSQRT": (76, 0, 1, 1),
    "SHAPE": (77, 55, 1, 1),
    "POW": (78, 56, 2, 2),
    "REDUCE_PROD": (81, 27, 2, 2),
    "REDUCE_MAX": (82, 27, 2, 2),
    "PACK": (83, 59, 1, _ANY),
    "REDUCE_MIN": (89, 27, 2, 2),
    "SQUARE": (92, 66, 1, 1),
    "FILL": (94, 68, 2, 2),
    "RESIZE_NEAREST_NEIGHBOR": (97, 74, 2, 2),
    "LEAKY_RELU": (98, 75, 1, 1),
    "SQUARED_DIFFERENCE": (99, 76, 2, 2),
    "MIRROR_PAD": (100, 77, 2, 2),
    "ABS": (101, 78, 1, 1),
    "ELU": (111, 0, 1, 1),
    "QUANTIZE": (114, 89, 1, 1),
    "HARD_SWISH": (117, 91, 1, 1),
    "BATCH_MATMUL": (126, 101, 2, 2),
    "BROADCAST_TO": (130, 104, 2, 2),
    "GELU": (150, 116, 1, 1),
    "RELU_0_TO_1": (152, 0, 1, 1),
}
_NAMES = {row[0]: name for name, row in OPERATIONS.items()}

# {operation: {input: its number of dimensions}}
_DIMENSIONS = {
    "CONV_2D": {0: 4, 1: 4, 2: 1},
    "DEPTHWISE_CONV_2D": {0: 4, 1: 4, 2: 1},
    "TRANSPOSE_CONV": {1: 4, 2: 4, 3: 1},
    "FULLY_CONNECTED": {1: 2, 2: 1},
    "AVERAGE_POOL_2D": {0: 4},
    "MAX_POOL_2D": {0: 4},
    "DEPTH_TO_SPACE": {0: 4},
    "SPACE_TO_DEPTH": {0: 4},
    "RESIZE_BILINEAR": {0: 4, 1: 1},
    "RESIZE_NEAREST_NEIGHBOR": {0: 4, 1: 1},
}

# {BuiltinOptions: {field: (its name, its default)}} of whole numbers that something is divided by
_DIVISORS = {
    1: {1: ("stride", 0), 2: ("stride", 0), 4: ("dilation", 1), 5: ("dilation", 1)},
    2: {1: ("stride", 0), 2: ("stride", 0), 5: ("dilation", 1), 6: ("dilation", 1)},
    5: {1: ("stride", 0), 2: ("stride", 0), 3: ("window", 0), 4: ("window", 0)},
    19: {0: ("block", 0)},
    49: {1: ("stride", 0), 2: ("stride", 0)},
    94: {0: ("block", 0)},
}
MOST_STEP = 4_096  # pixels of a stride, a dilation, a window, a block
_VECTORS = {17: 0, 30: 0}  # {BuiltinOptions: the field that is a vector of int32}


# operations that move 8 and 16 bits as they are; all others compute with them, by their scales
_MOVING = ("CAST", "RESHAPE", "SHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "GATHER", "SLICE",
           "STRIDED_SLICE", "PACK")  # fmt: skip


# --- FlatBuffers, each offset compared with the file ----------------------------------------------


class _Table:
    """A table of a file, by the numbers of its fields. ValueError where it leads out of it.

    left: [how many values may still be read], for all tables of the file.
    """

    def __init__(self, content: memoryview, at: int, left: list[int]) -> None:
        self.content, self.at, self.left = content, at, left
        (back,) = _unpack(content, "<i", at)
        self.vtable = at - back
        size, self.size = _unpack(content, "<HH", self.vtable)
        if size < 4 or size % 2 or self.size < 4:
            raise ValueError("it has a table that is none")
        self._spend(size)
        self.fields = _unpack(content, f"<{size // 2 - 2}H", self.vtable + 4)
        for field in self.fields:
            if field and not 4 <= field < self.size:
                raise ValueError("it has a table whose fields lie outside it")
        _unpack(content, f"{self.size}x", at)

    def _spend(self, count: int) -> None:
        self.left[0] -= count
        if self.left[0] < 0:
            raise ValueError(f"its tables have more than {MOST_VALUES:,} values")

    def _place(self, field: int, size: int) -> int | None:
        offset = self.fields[field] if field < len(self.fields) else 0
        if not offset:
            return None
        if offset + size > self.size:
            raise ValueError("it has a table whose fields lie outside it")
        return self.at + offset

    def has(self, field: int) -> bool:
        return field < len(self.fields) and self.fields[field] != 0

    def number(self, field: int, kind: str, default: int = 0) -> int:
        place = self._place(field, struct.calcsize(kind))
        return default if place is None else _unpack(self.content, f"<{kind}", place)[0]

    def _target(self, field: int) -> int | None:
        place = self._place(field, 4)
        if place is None:
            return None
        return place + _unpack(self.content, "<I", place)[0]

    def table(self, field: int) -> _Table | None:
        target = self._target(field)
        return None if target is None else _Table(self.content, target, self.left)

    def vector(self, field: int, kind: str) -> tuple:
        """Numbers: () where there is no vector."""
        target = self._target(field)
        if target is None:
            return ()
        count = self._count(target, struct.calcsize(f"<{kind}"))
        self._spend(count)
        return _unpack(self.content, f"<{count}{kind}", target + 4)

    def bytes(self, field: int) -> memoryview:
        """b"" where there is no vector."""
        target = self._target(field)
        if target is None:
            return self.content[:0]
        count = self._count(target, 1)
        return self.content[target + 4 : target + 4 + count]

    def text(self, field: int) -> None:
        """ValueError where a string does not end."""
        target = self._target(field)
        if target is not None:
            _unpack(self.content, f"{self._count(target, 1) + 1}x", target + 4)

    def tables(self, field: int, most: int, what: str) -> list[_Table]:
        target = self._target(field)
        if target is None:
            return []
        count = self._count(target, 4)
        if count > most:
            raise ValueError(f"it has {count:,} {what}, may have {most:,}")
        places = range(target + 4, target + 4 + 4 * count, 4)
        found = (p + _unpack(self.content, "<I", p)[0] for p in places)
        return [_Table(self.content, at, self.left) for at in found]

    def _count(self, target: int, each: int) -> int:
        (count,) = _unpack(self.content, "<I", target)
        if count * each > len(self.content):
            raise ValueError("it has a vector that is longer than the file")
        return count


def _unpack(content: memoryview, kind: str, at: int) -> tuple:
    if at < 0:
        raise ValueError("it has an offset that leads out of it")
    try:
        return struct.unpack_from(kind, content, at)
    except struct.error:
        raise ValueError("it has an offset that leads out of it") from None


# --- the check ------------------------------------------------------------------------------------


class _Tensor:
    """shape, type, whether it is constant, whether an operation may read it yet."""

    def __init__(self, table: _Table, number: int, buffers: list[memoryview]) -> None:
        self.name = f"tensor {number}"
        self.shape = table.vector(0, "i")
        self.type = table.number(1, "b")
        buffer = table.number(2, "I")
        table.text(3)
        if self.type not in _BITS:
            raise ValueError(f"{self.name}: has values of type {self.type}, which are not allowed")
        if buffer >= len(buffers):
            raise ValueError(f"{self.name}: lies in buffer {buffer} of {len(buffers)}")
        for field, what in ((5, "is a variable"), (6, "is sparse"), (9, "has variants")):
            if table.has(field) and (field != 5 or table.number(5, "B")):
                raise ValueError(f"{self.name}: {what}, which is not allowed")
        if table.number(10, "I"):
            raise ValueError(f"{self.name}: lies in another file, which is not allowed")
        self.constant = len(buffers[buffer]) > 0
        self.known = self.constant
        self.scales = 0
        self._check_shape(table.vector(7, "i"))
        self.bytes = (math.prod(self.shape) * _BITS[self.type] + 7) // 8
        if self.bytes > MOST_BYTES_OF_TENSOR:
            raise ValueError(
                f"{self.name}: of shape {list(self.shape)} takes {self.bytes:,} bytes, may "
                f"{MOST_BYTES_OF_TENSOR:,}"
            )
        if self.constant and len(buffers[buffer]) != self.bytes:
            raise ValueError(
                f"{self.name}: of shape {list(self.shape)} takes {self.bytes:,} bytes, its buffer "
                f"has {len(buffers[buffer]):,}"
            )
        quantization = table.table(4)
        if quantization is not None:
            self._check_quantization(quantization)

    def _check_shape(self, signature: tuple) -> None:
        low = 0 if self.constant else 1
        if len(self.shape) > MOST_DIMENSIONS or not all(n >= low for n in self.shape):
            raise ValueError(f"{self.name}: has the shape {list(self.shape)[:9]}")
        if signature and (
            len(signature) != len(self.shape)
            or not all(s == n or s == -1 for s, n in zip(signature, self.shape, strict=True))
        ):
            raise ValueError(
                f"{self.name}: has the shape {list(self.shape)} and says that it is "
                f"{list(signature)[:9]}"
            )

    def _check_quantization(self, table: _Table) -> None:
        scales, zeros = table.vector(2, "f"), table.vector(3, "q")
        for field in (0, 1):
            table.vector(field, "f")
        if table.number(4, "B") or table.has(5):
            raise ValueError(f"{self.name}: is quantised in a way that is not allowed")
        axis = table.number(6, "i")
        if len(scales) > 1 and not 0 <= axis < len(self.shape):
            raise ValueError(f"{self.name}: is quantised along axis {axis} of {len(self.shape)}")
        lengths = {0, 1, self.shape[axis]} if len(scales) > 1 else {0, 1}
        if len(scales) not in lengths or len(zeros) not in {0, len(scales)}:
            raise ValueError(
                f"{self.name}: of shape {list(self.shape)} has {len(scales):,} scales and "
                f"{len(zeros):,} zero points"
            )
        if not all(0 < s < math.inf for s in scales):
            raise ValueError(f"{self.name}: has a scale that is no number above 0")
        if len(scales) > 1 and not self.constant:
            raise ValueError(f"{self.name}: is computed, and has {len(scales):,} scales")
        if not all(-(1 << 31) <= z < 1 << 31 for z in zeros):
            raise ValueError(f"{self.name}: has a zero point that no integer of 32 bits holds")
        self.scales = len(scales)


def check(content: bytes) -> None:
    """ValueError, with the reason, where LiteRT is not to see a file.

    content: of the file.
    """
    view = memoryview(content)
    if len(view) < 8 or bytes(view[4:8]) != b"TFL3":
        raise ValueError("it is not a .tflite file: it has no TFL3 at its beginning")
    model = _Table(view, _unpack(view, "<I", 0)[0], [MOST_VALUES])
    if model.number(0, "I") != 3:
        raise ValueError(f"it is of version {model.number(0, 'I')} of the format, must be of 3")
    model.text(3)
    codes = [_operation(code) for code in model.tables(1, MOST_OPERATIONS, "kinds of operations")]
    graphs = model.tables(2, MOST_TENSORS, "graphs")
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs, must have one")
    buffers = [_buffer(table) for table in model.tables(4, MOST_TENSORS, "buffers")]
    if model.tables(8, _ANY, "files of buffers") or model.tables(9, _ANY, "buffers elsewhere"):
        raise ValueError("it has buffers in other files, which is not allowed")
    graph = graphs[0]
    graph.text(4)
    tensors = [
        _Tensor(table, i, buffers)
        for i, table in enumerate(graph.tables(0, MOST_TENSORS, "tensors"))
    ]
    _check_metadata(model, len(tensors), len(buffers))
    inputs, outputs = graph.vector(1, "i"), graph.vector(2, "i")
    for i in (*inputs, *outputs):
        if not 0 <= i < len(tensors):
            raise ValueError(f"its inputs or outputs name tensor {i} of {len(tensors)}")
    for i in inputs:
        if tensors[i].constant:
            raise ValueError(f"its input, tensor {i}, is a constant")
        tensors[i].known = True
    for i, table in enumerate(graph.tables(3, MOST_OPERATIONS, "operations")):
        _check_operation(table, i, codes, tensors)
    for i in outputs:
        if not tensors[i].known:
            raise ValueError(f"its output, tensor {i}, is computed by no operation")
    computed = sum(tensor.bytes for tensor in tensors if not tensor.constant)
    if computed > MOST_BYTES:
        raise ValueError(f"its tensors take {computed:,} bytes, may {MOST_BYTES:,}")


def _operation(table: _Table) -> str:
    """The name of an operation, from the wide field or, in old files, from the narrow one."""
    code = max(table.number(3, "i"), table.number(0, "b"))
    table.text(1)
    if code not in _NAMES:
        kind = "an operation of its own" if code == 32 else f"operation {code} of the format"
        raise ValueError(f"it has {kind}, which is not allowed")
    return _NAMES[code]


def _buffer(table: _Table) -> memoryview:
    if table.number(1, "Q") > 1 or table.number(2, "Q") > 1:
        raise ValueError("it has a buffer behind the model's end, which is not allowed")
    return table.bytes(0)


def _check_metadata(model: _Table, tensors: int, buffers: int) -> None:
    for i in model.vector(5, "i"):
        if not 0 <= i < buffers:
            raise ValueError(f"its metadata lie in buffer {i} of {buffers}")
    for entry in model.tables(6, _ANY, "metadata"):
        entry.text(0)
        if entry.number(1, "I") >= buffers:
            raise ValueError(f"its metadata lie in buffer {entry.number(1, 'I')} of {buffers}")
    for signature in model.tables(7, _ANY, "signatures"):
        signature.text(2)
        if signature.number(4, "I"):
            raise ValueError("it has a signature of a graph that it has not")
        for end in signature.tables(0, _ANY, "ends") + signature.tables(1, _ANY, "ends"):
            end.text(0)
            if end.number(1, "I") >= tensors:
                raise ValueError(f"a signature names tensor {end.number(1, 'I')} of {tensors}")


def _check_operation(table: _Table, number: int, codes: list[str], tensors: list[_Tensor]) -> None:
    index = table.number(0, "I")
    if index >= len(codes):
        raise ValueError(f"operation {number} is of kind {index} of {len(codes)}")
    name = codes[index]
    what = f"operation {number} ({name})"
    _, options, fewest, most = OPERATIONS[name]
    inputs, outputs = table.vector(1, "i"), table.vector(2, "i")
    if not fewest <= len(inputs) <= most or not outputs or name != "SPLIT" and len(outputs) != 1:
        raise ValueError(f"{what}: has {len(inputs)} inputs and {len(outputs)} outputs")
    for place, i in enumerate(inputs):
        if i == -1 and place >= fewest:  # left out
            continue
        if not 0 <= i < len(tensors):
            raise ValueError(f"{what}: reads tensor {i} of {len(tensors)}")
        if not tensors[i].known:
            raise ValueError(f"{what}: reads tensor {i}, which nothing has computed before")
        wanted = _DIMENSIONS.get(name, {}).get(place)
        if wanted is not None and len(tensors[i].shape) != wanted:
            found = list(tensors[i].shape)
            raise ValueError(f"{what}: reads tensor {i} of shape {found}, must have {wanted} axes")
    for i in outputs:
        if not 0 <= i < len(tensors):
            raise ValueError(f"{what}: writes tensor {i} of {len(tensors)}")
        if tensors[i].known:
            raise ValueError(f"{what}: writes tensor {i}, which has a value already")
        tensors[i].known = True
    for i in (*inputs, *outputs):
        if i >= 0 and name not in _MOVING and tensors[i].type in _SCALED and not tensors[i].scales:
            raise ValueError(f"{what}: computes with tensor {i}, integers without a scale")
    if table.number(12, "i") or len(table.bytes(5)) or len(table.vector(8, "i")):
        raise ValueError(f"{what}: has more than such an operation has")
    if any(table.has(field) for field in (7, 9, 10, 11)):
        raise ValueError(f"{what}: has more than such an operation has")
    for reason in _wrong_options(table, options):
        raise ValueError(f"{what}: {reason}")


def _wrong_options(table: _Table, wanted: int) -> Iterator[str]:
    found, options = table.number(3, "B"), table.table(4)
    if options is None:
        if found or wanted in _DIVISORS:
            yield "lacks its options"
        return
    if not found or wanted and found != wanted:
        yield f"has options of kind {found}, must have {wanted}"
        return
    if found in _VECTORS:
        options.vector(_VECTORS[found], "i")
    for field, (name, default) in _DIVISORS.get(found, {}).items():
        value = options.number(field, "i", default)
        if not 1 <= value <= MOST_STEP:
            yield f"has a {name} of {value}, must be from 1 to {MOST_STEP:,}"
