"""Mutated model files, each opened and run by `cifar_lab.Classifier` as a stranger's.

    python tests/campaigns/models.py --count 20000 --log runs/models.jsonl

Mutant i is made from i alone: of a small `.tflite` in float32, one in int8, an `.onnx` and, with
--keras, a `.keras`. Half have bytes changed, half are well-formed and lie: a number of the file's
own structure was replaced. The log has a line a mutant; a campaign goes on behind its last one. At
the end one line of JSON says how many were answered in a line, accepted, or ended in a traceback,
a crash or a hang of the process that asked; how often its contained process had to end; and the
largest memory of one.

A process with a runtime imported takes a second to start: here it forks instead, which leaves out
nothing else of it. With --exec each is started as a command starts it; `.keras` always are.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cifar_lab import inference  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.strangers import child, process  # noqa: E402

SECONDS = 10  # of processor time for a mutant, opened and run
INT8 = Path("saved_models/cifar10-tiny-88/model.int8.tflite")
NUMBERS = (-(2**31), -2, -1, 0, 1, 2, 3, 7, 8, 100, 255, 256, 65_536, 2**31 - 1)


# --- what is mutated --------------------------------------------------------------------------


def tflite():
    """A `.tflite` of 8 x 8 pixels in grey, three classes: a convolution, a mean, a dense layer."""
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(0)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []

    def tensor(shape, value=None, kind=schema.TensorType.FLOAT32):
        found = schema.TensorT()
        found.shape, found.type, found.buffer = np.array(shape, np.int32), kind, 0
        if value is not None:
            found.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(value.tobytes(), np.uint8)
        graph.tensors.append(found)
        return len(graph.tensors) - 1

    def weights(*shape):
        return tensor(shape, rng.normal(size=shape).astype(np.float32) / 10)

    def operation(name, inputs, output, options=None, **values):
        code, found = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version, found.opcodeIndex = 1, len(model.operatorCodes)
        model.operatorCodes.append(code)
        found.inputs, found.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options:
            found.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            found.builtinOptions = getattr(schema, f"{options}T")()
            vars(found.builtinOptions).update(values)
        graph.operators.append(found)

    pixels, window = tensor([1, 8, 8, 1]), weights(4, 3, 3, 1)
    found, mean, sums, answer = (tensor(s) for s in ([1, 8, 8, 4], [1, 4], [1, 3], [1, 3]))
    axes = tensor([2], np.array([1, 2], np.int32), schema.TensorType.INT32)
    ends = [pixels, window, weights(4)]
    operation("CONV_2D", ends, found, "Conv2DOptions", strideW=1, strideH=1)
    operation("MEAN", [found, axes], mean, "ReducerOptions", keepDims=False)
    ends = [mean, weights(3, 4), weights(3)]
    operation("FULLY_CONNECTED", ends, sums, "FullyConnectedOptions")
    operation("SOFTMAX", [sums], answer, "SoftmaxOptions", beta=1.0)
    graph.inputs, graph.outputs = np.array([pixels], np.int32), np.array([answer], np.int32)
    graph.tensors[pixels].shapeSignature = np.array([-1, 8, 8, 1], np.int32)
    return packed(model)


def packed(model):
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def onnx():
    """An `.onnx` of 8 x 8 pixels in colour, channels first, three classes."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "dense": (4, 3)}
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype("float32") / 10, name)
        for name, shape in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.array([-1, 4]), "flat"))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Reshape", ["g", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "mutated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def keras():
    """A `.keras` of 8 x 8 pixels in grey, three classes."""
    from cifar_lab import backend

    backend.start()
    import keras as k

    model = k.Sequential(
        [k.Input((8, 8, 1)), k.layers.Conv2D(4, 3), k.layers.UpSampling2D(2),
         k.layers.GlobalAveragePooling2D(), k.layers.Dense(3, activation="softmax")]
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.keras")
        return (Path(folder) / "m.keras").read_bytes()


# --- mutants ----------------------------------------------------------------------------------


def mutant(kind, base, draw):
    """The bytes of a mutant. draw: random.Random."""
    if draw.random() < 0.5:
        return with_bytes_changed(base, draw)
    return {".tflite": lying_tflite, ".onnx": lying_onnx, ".keras": lying_keras}[kind](base, draw)


def with_bytes_changed(base, draw):
    content = bytearray(base)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at = draw.randrange(len(content))
        how = draw.randrange(4)
        if how == 0:
            content[at] = draw.randrange(256)
        elif how == 1:
            content[at] ^= 1 << draw.randrange(8)
        elif how == 2:
            at = at // 4 * 4
            content[at : at + 4] = (draw.choice(NUMBERS) & 0xFFFFFFFF).to_bytes(4, "little")
        else:
            del content[at : at + draw.randrange(1, 9)]
    return bytes(content)


def lying_tflite(base, draw):
    from ai_edge_litert import schema_py_generated as schema

    while True:
        model = schema.ModelT.InitFromPackedBuf(base, 0)
        for _ in range(draw.choice((1, 1, 2, 3))):
            places = list(_places(model))
            holder, key = places[draw.randrange(len(places))]
            _set(holder, key, draw)
        with contextlib.suppress(Exception):  # what the format cannot hold
            return packed(model)


def _places(value, depth=0):
    """(holder, key) of each number that an object tree holds; weights count as one."""
    if isinstance(value, np.ndarray):
        yield from ((value, i) for i in range(min(len(value), 8)))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, (int, float)):
                yield value, i
            else:
                yield from _places(item, depth + 1)
    elif hasattr(value, "__dict__"):
        for key, item in list(vars(value).items()):
            if isinstance(item, (int, float)):
                yield value, key
            elif isinstance(item, np.ndarray) and depth < 9:
                setattr(value, key, item.copy())  # the file's own cannot be written
                yield from _places(getattr(value, key))
                yield value, key
            elif item is not None and not isinstance(item, (bytes, str)):
                yield from _places(item, depth + 1)


def _set(holder, key, draw):
    value = getattr(holder, key) if isinstance(key, str) else holder[key]
    if isinstance(value, np.ndarray):  # a vector that is too long, too short, or none
        change = draw.choice((value[:-1], np.concatenate([value, value[:1]]), value[:0]))
        setattr(holder, key, change)
        return
    new = draw.choice((*NUMBERS, int(value) + 1, int(value) - 1, int(value) * 2))
    with contextlib.suppress(OverflowError):
        if isinstance(key, str):
            setattr(holder, key, new)
        else:
            holder[key] = new


def lying_onnx(base, draw):
    from onnx import ModelProto

    while True:
        model = ModelProto.FromString(base)
        for _ in range(draw.choice((1, 1, 2, 3))):
            fields = list(_fields(model))
            message, field = fields[draw.randrange(len(fields))]
            with contextlib.suppress(ValueError, TypeError):
                _set_field(message, field, draw)
        with contextlib.suppress(Exception):
            return model.SerializeToString()


def _fields(message):
    for field, value in message.ListFields():
        repeated = not isinstance(value, (int, float, str, bytes)) and hasattr(value, "__len__")
        inside = value if repeated else [value]
        if field.message_type is None:
            yield message, field.name
            continue
        yield message, field.name
        for one in inside:
            yield from _fields(one)


def _set_field(message, name, draw):
    value = getattr(message, name)
    if isinstance(value, bool) or isinstance(value, (int, float)):
        setattr(message, name, draw.choice((*NUMBERS, int(value) + 1, -int(value))))
    elif isinstance(value, str):
        words = ("", "x", "w", "y", "Conv", "Gemm", "Resize", "Expand", "ConstantOfShape", "Pad",
                 "Tile", "TopK", "Loop", "axis", "group", "auto_pad")  # fmt: skip
        setattr(message, name, draw.choice(words))
    elif isinstance(value, bytes):
        setattr(message, name, value[: draw.randrange(len(value) + 1)])
    elif hasattr(value, "append") or hasattr(value, "add"):
        how = draw.randrange(3)
        if how == 0 or not len(value):
            del value[:]
        elif how == 1:
            del value[draw.randrange(len(value))]
        elif isinstance(value[0], (int, float)):
            value[draw.randrange(len(value))] = draw.choice(NUMBERS)
        elif isinstance(value[0], str):
            value[draw.randrange(len(value))] = draw.choice(("", "x", "c", "y", "nobody"))
        else:
            value.append(value[0])
    else:
        message.ClearField(name)


def lying_keras(base, draw):
    source, sink = zipfile.ZipFile(io.BytesIO(base)), io.BytesIO()
    with zipfile.ZipFile(sink, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                for _ in range(draw.choice((1, 1, 2, 3))):
                    holders = list(_holders(config))
                    holder, key = holders[draw.randrange(len(holders))]
                    holder[key] = draw.choice(
                        (*NUMBERS, None, True, "", "relu", "Lambda", "Adam", [], {}, [1, 2], 1e308)
                    )
                content = json.dumps(config).encode()
            target.writestr(name, content)
    return sink.getvalue()


def _holders(value):
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _holders(value[key])


# --- one mutant -------------------------------------------------------------------------------


class Forked:
    """A process as subprocess.Popen's, that is a fork of this one: the runtimes are imported."""

    largest = 0  # bytes of memory that one took

    def __init__(self):
        (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
        self.returncode, self.pid = None, os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.dup2(read_in, 0)
                os.dup2(write_out, 1)
                os.closerange(3, 64)
                sys.stdin = open(0)  # noqa: SIM115
                child.main()
                code = 0
            finally:
                os._exit(code)
        os.close(read_in)
        os.close(write_out)
        self.stdin, self.stdout = os.fdopen(write_in, "wb"), os.fdopen(read_out, "rb")

    def poll(self):
        return self._wait(os.WNOHANG)

    def wait(self, timeout=None):
        until = time.monotonic() + timeout if timeout else None
        while self._wait(os.WNOHANG if until else 0) is None:
            if until and time.monotonic() > until:
                raise process.subprocess.TimeoutExpired("", timeout)
            time.sleep(0.002)
        return self.returncode

    def kill(self):
        if self.returncode is None:
            os.kill(self.pid, 9)

    def _wait(self, options):
        if self.returncode is None:
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                Forked.largest = max(Forked.largest, usage.ru_maxrss * 1024)
        return self.returncode


def outcome(path, images):
    """("line" or "accepted" or "traceback", words)."""
    try:
        classifier = inference.Classifier(path)
        pixels = images[:, : classifier.input_shape[0], : classifier.input_shape[1]]
        if pixels.shape[1:3] != classifier.input_shape[:2]:
            pixels = np.zeros((3, *classifier.input_shape), np.uint8)
        classifier.probabilities(pixels[..., : classifier.input_shape[2]])
        return "accepted", ""
    except InputError as error:
        words = str(error).replace(str(path), "")
        return ("traceback" if "\n" in words else "line"), words[:200]
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"[:200]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--log", type=Path, help="a line a mutant; goes on behind its last")
    parser.add_argument("--kept", type=Path, help="folder for mutants that were not contained well")
    parser.add_argument("--keras", action="store_true", help=".keras too (seconds each)")
    parser.add_argument("--exec", action="store_true", dest="execute", help="do not fork")
    arguments = parser.parse_args(argv)
    bases = [(".tflite", tflite()), (".onnx", onnx())]
    root = Path(__file__).resolve().parents[2]
    if (root / INT8).is_file():
        bases.append((".tflite", (root / INT8).read_bytes()))
    if arguments.keras:
        bases.append((".keras", keras()))
    started = process.start
    process.OPEN_SECONDS = process.RUN_SECONDS = SECONDS
    child._start(".tflite")
    child._start(".onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    rows = []
    if arguments.log and arguments.log.is_file():
        rows = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        while len(rows) < arguments.count and time.monotonic() < until:
            number = len(rows)
            kind, base = bases[number % len(bases)]
            path = Path(folder) / f"m{kind}"
            path.write_bytes(mutant(kind, base, random.Random(number)))
            forks = not arguments.execute and kind != ".keras"
            process.start = Forked if forks else started
            start = time.process_time(), time.monotonic()
            found, words = outcome(path, images)
            if time.monotonic() - start[1] > 6 * SECONDS + process.START_SECONDS:
                found = "hang"
            rows.append({"number": number, "kind": kind, "outcome": found, "words": words})
            if arguments.kept and (found not in ("line", "accepted") or "process" in words):
                arguments.kept.mkdir(parents=True, exist_ok=True)
                (arguments.kept / f"{number}{kind}").write_bytes(path.read_bytes())
            if arguments.log:
                with open(arguments.log, "a") as log:
                    log.write(json.dumps(rows[-1]) + "\n")
    counts = Counter(row["outcome"] for row in rows)
    kinds = Counter(row["kind"] for row in rows)
    ended = [row["words"] for row in rows if re.search(r"could not (start|open|run)", row["words"])]
    largest = max(Forked.largest, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    table = {
        "inputs": len(rows),
        **kinds,
        **{name: counts[name] for name in ("line", "accepted", "traceback", "hang")},
        "crash": 0,  # this line would not have been written
        "contained": len(ended),
        "of_them_late": sum(" it took " in words for words in ended),
        "largest_mb": round(largest / 1e6),
    }
    print(json.dumps(table))
    return 0 if not counts["traceback"] + counts["hang"] else 1


if __name__ == "__main__":
    sys.exit(main())
