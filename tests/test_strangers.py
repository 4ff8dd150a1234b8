"""Model files of strangers: what is refused before a runtime sees it, and what happens to the
process that opens the rest."""

import importlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from campaigns import models as campaign
from cifar_lab import inference, strangers
from cifar_lab.errors import InputError
from cifar_lab.strangers import process, tflite
from support import ROOT, assert_refused, command_env, run

pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

CAMPAIGN = Path(campaign.__file__)
OWN = ROOT / "saved_models" / "cifar10-tiny-88" / "model.int8.tflite"


def picture(folder):
    Image.new("RGB", (8, 8), "white").save(folder / "a.png")
    return folder / "a.png"


# --- .tflite ---


def lying(change):
    """The small file with its graph changed, as LiteRT would be given it."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(campaign.tflite(), 0)
    change(model, model.subgraphs[0])
    return campaign.packed(model)


def whole(*values):
    return np.array(values, np.int32)


def tensor(number, **values):
    return lambda model, graph: vars(graph.tensors[number]).update(values)


def operation(number, **values):
    return lambda model, graph: vars(graph.operators[number]).update(values)


def scales(number, scale, zero=(0,), axis=0, **values):
    def change(model, graph):
        from ai_edge_litert import schema_py_generated as schema

        found = schema.QuantizationParametersT()
        found.scale, found.zeroPoint = np.array(scale, "f4"), np.array(zero, "i8")
        found.quantizedDimension = axis
        vars(graph.tensors[number]).update(quantization=found, **values)

    return change


LIES = {
    "input left out": (operation(0, inputs=whole(-1, 1, 2)), "reads tensor -1 of 10"),
    "input of nobody": (operation(0, inputs=whole(0, 99, 2)), "reads tensor 99 of 10"),
    "output of nobody": (operation(0, outputs=whole(99)), "writes tensor 99 of 10"),
    "writes weights": (operation(0, outputs=whole(1)), "writes tensor 1, which has a value"),
    "reads ahead": (operation(0, inputs=whole(5, 1, 2)), "reads tensor 5, which nothing has"),
    "no inputs": (operation(0, inputs=whole()), "operation 0 (CONV_2D): has 0 inputs"),
    "kind of nobody": (operation(1, opcodeIndex=9), "operation 1 is of kind 9 of 4"),
    "custom options": (operation(1, customOptions=whole(1)), "has more than such an operation"),
    "no options": (operation(0, builtinOptionsType=0, builtinOptions=None), "lacks its options"),
    "huge": (tensor(3, shape=whole(1, 2**15, 2**15, 4)), "takes 17,179,869,184 bytes, may 268,435"),
    "negative": (tensor(3, shape=whole(1, -8, 8, 4)), "has the shape [1, -8, 8, 4]"),
    "empty": (tensor(3, shape=whole(1, 0, 8, 4)), "has the shape [1, 0, 8, 4]"),
    "long": (tensor(1, shape=whole(4, 3, 3, 9)), "takes 1,296 bytes, its buffer has 144"),
    "flat": (tensor(1, shape=whole(36)), "reads tensor 1 of shape [36], must have 4 axes"),
    "buffer": (tensor(1, buffer=77), "tensor 1: lies in buffer 77 of 6"),
    "text": (tensor(3, type=5), "values of type 5, which are not allowed"),
    "variable": (tensor(3, isVariable=True), "tensor 3: is a variable"),
    "signature": (tensor(0, shapeSignature=whole(-1, 9, 8, 1)), "says that it is [-1, 9, 8, 1]"),
    "no scale": (tensor(3, type=9), "computes with tensor 3, integers without a scale"),
    "scales": (scales(1, [1, 2], [0, 0]), "tensor 1: of shape [4, 3, 3, 1] has 2 scales and 2"),
    "zeros": (scales(1, [1, 1, 1, 1], [0, 0]), "has 4 scales and 2 zero points"),
    "axis": (scales(1, [1, 1, 1, 1], [0] * 4, 7), "is quantised along axis 7 of 4"),
    "scale of nothing": (scales(3, [0.0]), "has a scale that is no number above 0"),
    "scale of NaN": (scales(3, [float("nan")]), "has a scale that is no number above 0"),
    "two graphs": (lambda m, g: m.subgraphs.append(g), "it has 2 graphs, must have one"),
    "custom": (lambda m, g: vars(m.operatorCodes[0]).update(builtinCode=32), "of its own"),
    "while": (lambda m, g: vars(m.operatorCodes[0]).update(builtinCode=119), "operation 119"),
    "ends": (lambda m, g: vars(g).update(outputs=whole(12)), "name tensor 12 of 10"),
    "constant input": (lambda m, g: vars(g).update(inputs=whole(1)), "tensor 1, is a constant"),
    "version": (lambda m, g: vars(m).update(version=9), "it is of version 9 of the format"),
    "elsewhere": (lambda m, g: vars(m.buffers[1]).update(offset=64, size=64), "behind the model"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_tflite_file_that_lies_is_refused_before_litert_sees_it(name):
    change, words = LIES[name]
    with pytest.raises(ValueError, match=re.escape(words)):
        strangers.check(".tflite", lying(change))


@pytest.mark.parametrize("field", ["strideW", "strideH", "dilationWFactor"])
@pytest.mark.parametrize("value", [0, -1, 2**30])
def test_what_a_kernel_divides_by_is_bounded(field, value):
    def change(model, graph):
        setattr(graph.operators[0].builtinOptions, field, value)

    with pytest.raises(ValueError, match=f"of {value}, must be from 1 to 4,096"):
        strangers.check(".tflite", lying(change))


def often(count):
    """A .tflite file that names one table, of 32,765 fields, so often in the list of its graphs."""
    table = (
        (204 + 4 * count) + (4 + 2 * 32_765) + 2
    )  # where it lies: behind the list and its fields
    head = struct.pack("<I4sHHHHH", 100, b"TFL3", 10, 16, 4, 0, 8).ljust(100, b"\0")
    head += struct.pack("<iII", 92, 3, 92).ljust(100, b"\0")
    graphs = b"".join(struct.pack("<I", table - 204 - 4 * i) for i in range(count))
    fields = struct.pack("<32767H", 65_534, 65_534, *[4] * 32_765).ljust(65_536, b"\0")
    return (
        head + struct.pack("<I", count) + graphs + fields + struct.pack("<i", 65_536).ljust(65_534)
    )


def test_a_small_file_that_names_much_often_takes_no_memory(monkeypatch):
    with pytest.raises(ValueError, match="its tables have more than 4,194,304 values"):
        strangers.check(".tflite", often(20_000))  # 200 KB; they took 2 MB each time
    monkeypatch.setattr(importlib.import_module("cifar_lab.strangers.onnx"), "MOST_FIELDS", 100)
    for content in (b"\x08\0" * 101, b"\x3a\x6a\x2a\x68\x0a\x66" + bytes(102)):  # sides of a tensor
        with pytest.raises(ValueError, match="it has more than 100 fields"):
            strangers.check(".onnx", content)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for i in range(300):
            made.writestr(f"{i:04000}", "")
    with pytest.raises(ValueError, match="it has too many members"):
        strangers.check(".keras", archive.getvalue())


def test_what_is_right_is_let_through(tmp_path):
    for kind, content in ((".tflite", lying(lambda m, g: None)), (".onnx", campaign.onnx())):
        strangers.check(kind, content)
        (tmp_path / f"m{kind}").write_bytes(content)
        for contained in (True, False):
            network = inference.Classifier(tmp_path / f"m{kind}", contained=contained)
            images = np.zeros((3, *network.input_shape), np.uint8)
            assert network.probabilities(images).shape == (3, 3)


def test_operations_have_the_numbers_of_the_format():
    from ai_edge_litert import schema_py_generated as schema

    shared = {
        **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), "Reducer"),
        **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), "Pool2D"),
        **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimum"),
        "L2_NORMALIZATION": "L2Norm",
        "BATCH_MATMUL": "BatchMatMul",
        "PADV2": "PadV2",
    }
    for name, (code, options, *_) in tflite.OPERATIONS.items():
        assert getattr(schema.BuiltinOperator, name) == code
        words = "".join(word.capitalize() for word in name.split("_")).replace("2d", "2D")
        wanted = f"{shared.get(name, words)}Options"
        assert options == getattr(schema.BuiltinOptions, wanted, 0), name


# --- .onnx ---


def graph_of(nodes, tensors=()):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "stranger",
        [helper.make_tensor_value_info("x", kind, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("y", kind, ["N", 3])],
        list(tensors),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def elsewhere():
    tensor = onnx.numpy_helper.from_array(np.zeros(3, "f4"), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    return graph_of([onnx.helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def with_node(name, inputs=("x",), tensors=(), **attributes):
    return graph_of([onnx.helper.make_node(name, list(inputs), ["y"], **attributes)], tensors)


def inner():
    return graph_of([onnx.helper.make_node("Identity", ["x"], ["y"])]).graph


def int64(*values):
    return [onnx.numpy_helper.from_array(np.array(values), "s")]


def with_function():
    model = with_node("Mine", domain="mine")
    nodes = [onnx.helper.make_node("Mine", ["a"], ["b"], domain="mine")]
    sets = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("mine", "Mine", ["a"], ["b"], nodes, sets))
    return model


ONNX_LIES = {
    "loop": (lambda: with_node("Loop", ["", "", "x"], body=inner()), "the operation 'Loop'"),
    "scan": (lambda: with_node("Scan", body=inner(), num_scan_inputs=1), "the operation 'Scan'"),
    "if": (lambda: with_node("If", then_branch=inner(), else_branch=inner()), "operation 'If'"),
    "graph": (lambda: with_node("Relu", mine=inner()), "Relu has a graph inside"),
    "function": (with_function, "it has functions of its own"),
    "other file": (elsewhere, "its tensor 'w' lies in another file"),
    "other domain": (lambda: with_node("Mine", domain="mine"), "the operation 'mine.Mine'"),
    "random": (lambda: with_node("RandomNormalLike"), "the operation 'RandomNormalLike'"),
    "made": (
        lambda: with_node("ConstantOfShape", ["s"], int64(46_000, 46_000)),
        "ConstantOfShape makes a tensor of [46000, 46000], may make one of 268,435,456 bytes",
    ),
    "expanded": (lambda: with_node("Expand", ["x", "s"], int64(2**40)), "Expand makes a tensor"),
}


@pytest.mark.parametrize("name", ONNX_LIES)
def test_an_onnx_file_of_what_is_not_allowed_is_refused(name):
    make, words = ONNX_LIES[name]
    with pytest.raises(ValueError, match=re.escape(words)):
        strangers.check(".onnx", make().SerializeToString())


def test_a_tensor_that_says_more_than_it_holds_is_refused():
    tensor = onnx.numpy_helper.from_array(np.zeros(3, "f4"), "w")
    tensor.dims[0] = 2**40
    model = graph_of([onnx.helper.make_node("Add", ["x", "w"], ["y"])], [tensor])
    with pytest.raises(ValueError, match="takes 4,398,046,511,104 bytes, has 12"):
        strangers.check(".onnx", model.SerializeToString())


def test_bytes_of_the_working_folder_are_no_weights(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(120))
    (tmp_path / "m.onnx").write_bytes(elsewhere().SerializeToString())
    picture(tmp_path)
    done = run("predict.py", "m.onnx", "a.png", cwd=tmp_path)
    assert_refused(done, "m.onnx: ", "lies in another file, which is not allowed")


# --- .keras ---


def keras_file(config):
    """An archive as Keras writes it, of a configuration alone: nothing is built to make it."""
    content, weights = io.BytesIO(), io.BytesIO()
    np.savez(weights)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        text = config if isinstance(config, str) else json.dumps(config)
        archive.writestr("config.json", text)
        archive.writestr("model.weights.npz", weights.getvalue())
    return content.getvalue()


def layer(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config}


def sequential(*layers, size=(8, 8, 3)):
    first = layer("InputLayer", batch_shape=[None, *size])
    config = {"name": "stranger", "layers": [first, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config}


FLAT = layer("Flatten")
KERAS_LIES = {
    "layers": (lambda: sequential(*[FLAT] * 20_000), "it has more than 2,000 layers"),
    "upsampling": (lambda: sequential(layer("UpSampling2D", size=[9_000, 2])), "has size 9,000"),
    "units": (lambda: sequential(FLAT, layer("Dense", units=10**9)), "units 1,000,000,000, may"),
    "input": (lambda: sequential(size=(2_000, 2_000, 3)), "[2000, 2000, 3], may take 1,024 pixels"),
    "optimizer": (
        lambda: {"module": "keras.optimizers", "class_name": "Adam", "config": {}},
        "it holds a Adam, must hold one of Functional, Sequential, Model",
    ),
    "outputs": (
        lambda: {"module": "keras.src.models.functional", "class_name": "Functional",
                 "config": {"layers": [], "output_layers": {"a": ["d", 0, 0]}}},
        "its model gives several outputs by name, must give one",
    ),
    "lambda": (lambda: sequential(layer("Lambda", function="x")), "it has a Lambda"),
    "saved model": (lambda: sequential(layer("TFSMLayer", filepath="/x")), "it has a TFSMLayer"),
    "reads a file": (
        lambda: sequential(layer("StringLookup", vocabulary="/etc/passwd")), "has a StringLookup",
    ),
    "other module": (
        lambda: sequential({"module": "os", "class_name": "system", "config": {}}),
        "it has a system of os, which is not Keras'",
    ),
    "list": (lambda: [1, 2], "it holds a list, must hold"),
    "no object": (lambda: '"text', "Unterminated string"),
    "deep": (lambda: "[" * 100_000 + "]" * 100_000, "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS_LIES)
def test_a_keras_file_of_what_is_not_allowed_is_refused_before_it_is_built(name, tmp_path):
    make, words = KERAS_LIES[name]
    (tmp_path / "m.keras").write_bytes(keras_file(make()))
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        inference.Classifier(tmp_path / "m.keras")
    assert str(caught.value).startswith(f"{tmp_path / 'm.keras'}: cannot be opened by keras (")


def test_an_archive_that_unpacks_to_more_than_may_be_is_refused():
    content = io.BytesIO(keras_file(sequential()))
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"")
    told = content.getvalue().replace(  # its directory says: 4 GB
        zipfile.ZipFile(content).getinfo("model.weights.h5").FileHeader(False)[22:26], b"\0" * 4
    )
    at = told.rindex(b"PK\x01\x02")
    told = told[: at + 24] + (2**32 - 2).to_bytes(4, "little") + told[at + 28 :]
    with pytest.raises(ValueError, match="it unpacks to 4,294,967,"):
        strangers.check(".keras", told)


def test_a_keras_file_that_takes_too_much_is_refused_when_it_is_built(tmp_path):
    """Each number of it is allowed, what they give together is not."""
    grown = [layer("UpSampling2D", name=f"up{i}", size=[100, 100]) for i in range(2)]
    mean = layer("GlobalAveragePooling2D", name="mean")
    network = sequential(*grown, mean, layer("Softmax", name="end", axis=-1))
    (tmp_path / "m.keras").write_bytes(keras_file(network))
    picture(tmp_path)
    done = run("predict.py", "m.keras", "a.png", cwd=tmp_path)
    assert_refused(
        done,
        "m.keras: cannot be opened by keras (its layer 'up1' gives [80000, 80000, 3], may give "
        "67,108,864 values a picture)",
    )


# --- the process ---


@pytest.fixture
def unchecked(monkeypatch):
    """Files go to their process without a look at them."""
    monkeypatch.setattr(strangers, "check", lambda kind, content: None)


# what an onnxruntime does that a file has in its hand: (in its session's constructor, the line)
WICKED = {
    "segv": ("os.kill(os.getpid(), 11)", "could not open it: its process was ended by SIGSEGV"),
    "abort": ("os.abort()", "could not open it: its process was ended by SIGABRT"),
    "exit": ("os._exit(3)", "could not open it: its process ended with exit code 3"),
    "leaves": ("sys.exit(0)", "could not open it: its process ended with exit code 0"),
    "sleeps": ("time.sleep(60)", "could not open it: it took longer than 1 s"),
    "speaks": ("os.write(1, b'x' * 9_000_000); 1 / 0", "cannot be opened by onnxruntime (division"),
    "lies": ("os.write(3, b'x' * 9_000_000)", "could not open it: "),
    "writes": (
        "os.write(os.open('file', os.O_CREAT | os.O_WRONLY), b'x')",
        "cannot be opened by onnxruntime (File too large)",
    ),
    "takes": ("bytearray(3 << 30)", "it takes more memory than 1,024 MB and 4 times its own size"),
    "deep": ("f = lambda: f(); f()", "maximum recursion depth exceeded"),
    "shouts": ("raise ValueError('x' * 10**6)", "x" * 200 + ")"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux'")
@pytest.mark.parametrize("name", WICKED)
def test_whatever_happens_in_the_process_is_a_line(name, tmp_path, monkeypatch):
    code, words = WICKED[name]
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "onnxruntime.py").write_text(f"""
import os, sys, time
disable_telemetry_events = lambda: None
class SessionOptions: pass
class InferenceSession:
    def __init__(self, *arguments, **options):
        os.chdir({str(tmp_path)!r})
        {code}
""")
    monkeypatch.setenv("PYTHONPATH", str(fake))
    monkeypatch.setattr(process, "OPEN_SECONDS", 1 if name == "sleeps" else 60)
    (tmp_path / "m.onnx").write_bytes(campaign.onnx())
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        inference.Classifier(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size


def endless(body_op="Identity"):
    """A loop that goes on as long as its condition, which nothing changes."""
    helper, proto = onnx.helper, onnx.TensorProto
    ends = [("i", proto.INT64, []), ("c", proto.BOOL, []), ("v", proto.FLOAT, None)]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [helper.make_tensor_value_info(*end) for end in ends],
        [helper.make_tensor_value_info("c2", proto.BOOL, []),
         helper.make_tensor_value_info("v2", proto.FLOAT, None)],
    )  # fmt: skip
    on = onnx.numpy_helper.from_array(np.array(True), "on")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["m"], ["s"]),
        helper.make_node("Loop", ["", "on", "s"], ["y"], body=body),
    ]
    return graph_of(nodes, [on]).SerializeToString()


def test_a_file_that_never_ends_is_ended(unchecked, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "RUN_SECONDS", 1)
    (tmp_path / "m.onnx").write_bytes(endless())
    network = inference.Classifier(tmp_path / "m.onnx")
    words = "m.onnx: onnxruntime could not run it: it took "
    for _ in range(2):  # it stays ended
        with pytest.raises(InputError, match=words):
            network.probabilities(np.zeros((1, 8, 8, 3), np.uint8))
    assert network._network.child.returncode is not None


def test_a_file_that_asks_for_memory_gets_none(tmp_path):
    """Its size is computed, so that nothing tells it before it is run."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Mul", ["s", "s"], ["big"]),
        helper.make_node("ConstantOfShape", ["big"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["none"], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["m", "none"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"]),
    ]
    content = graph_of(nodes, int64(50_000)).SerializeToString()  # 10 GB of floats
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(
        InputError, match="m.onnx: cannot be (opened|run) by onnxruntime .it takes more memory"
    ):
        network = inference.Classifier(tmp_path / "m.onnx")
        network.probabilities(np.zeros((1, 8, 8, 3), np.uint8))


def test_the_process_ends_with_the_one_that_asked(tmp_path):
    """Whether that ends, drops the network or is killed."""
    (tmp_path / "m.onnx").write_bytes(campaign.onnx())
    network = inference.Classifier(tmp_path / "m.onnx")
    child = network._network.child
    assert child.poll() is None
    del network
    assert child.poll() is not None
    code = f"""
import time
from cifar_lab import Classifier
network = Classifier({str(tmp_path / "m.onnx")!r})
print(network._network.child.pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    asker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(asker.stdout.readline())
    asker.kill()
    asker.wait()
    asker.stdout.close()
    for _ in range(100):
        if not is_running(pid):
            break
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_in_the_middle_ends_the_process(unchecked, tmp_path):
    (tmp_path / "m.onnx").write_bytes(endless())
    network = inference.Classifier(tmp_path / "m.onnx")
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            network.probabilities(np.zeros((1, 8, 8, 3), np.uint8))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert network._network.child.returncode is not None


def test_a_file_with_our_card_stays_in_this_process(tmp_path):
    ours = inference.Classifier(OWN)
    shutil.copy(OWN, tmp_path / "m.tflite")
    theirs = inference.Classifier(tmp_path / "m.tflite")
    assert (ours.contained, theirs.contained) == (False, True)
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3)).astype(np.uint8)
    expected = ours.probabilities(images, calibrated=False)
    np.testing.assert_array_equal(theirs.probabilities(images, calibrated=False), expected)
    shutil.copy(inference.card_path(OWN), inference.card_path(tmp_path / "m.tflite"))
    content = bytearray(OWN.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(InputError, match="is not the file that m.tflite.card.json was written for"):
        inference.Classifier(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    "axes, words",
    [(4, "m.tflite: gives an array of .1, 8, 8, 1., where"), (2, "m.tflite: has one output")],
)
def test_outputs_that_are_no_classes_are_a_line(axes, words, tmp_path):
    from ai_edge_litert import schema_py_generated as schema

    def change(model, graph):
        code = schema.BuiltinOperator.LOGISTIC
        vars(model.operatorCodes[3]).update(builtinCode=code, deprecatedBuiltinCode=code)
        vars(graph.operators[3]).update(inputs=whole(0), builtinOptionsType=0, builtinOptions=None)
        graph.tensors[5].shape = whole(1, 8, 8, 1)

    def shorter(model, graph):
        graph.tensors[4].shape = graph.tensors[5].shape = whole(1, 1)
        graph.tensors[8].shape, graph.tensors[9].shape = whole(1, 4), whole(1)
        for number in (8, 9):
            buffer = model.buffers[graph.tensors[number].buffer]
            buffer.data = buffer.data[: len(buffer.data) // 3]

    (tmp_path / "m.tflite").write_bytes(lying(change if axes == 4 else shorter))
    with pytest.raises(InputError, match=words):
        inference.Classifier(tmp_path / "m.tflite")


# --- telemetry ---


def test_onnx_runtime_tells_nobody(tmp_path):
    """A run through ONNX, in both processes, leaves no file in a new HOME and opens no connection:
    by default it keeps a device's id and a database of events in the user's cache."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "m.onnx").write_bytes(campaign.onnx())
    code = (
        "import cifar_lab, numpy, time\n"
        f"for contained in (True, False):\n"
        f"    network = cifar_lab.Classifier({str(tmp_path / 'm.onnx')!r}, contained=contained)\n"
        "    network.probabilities(numpy.zeros((2, 8, 8, 3), 'uint8'))\n"
        "time.sleep(0.5)\n"
    )
    traced = shutil.which("strace")
    log = tmp_path / "calls.txt"
    before = [traced, "-f", "-qq", "-e", "trace=connect,sendto", "-o", log] if traced else []
    env = {k: v for k, v in command_env(HOME=home).items() if not k.startswith(("XDG_", "ORT_"))}
    done = subprocess.run(
        [*before, sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [p for p in home.rglob("*") if p.is_file()] == []
    if traced:
        assert "AF_INET" not in log.read_text()


def test_the_package_leaves_telemetry_to_who_asks_for_it():
    code = "import os, cifar_lab; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in ((None, "1"), ("0", "0")):
        env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        env |= {"ORT_DISABLE_TELEMETRY": given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.stdout == f"{expected}\n", done.stderr


# --- the campaign ---


def campaigned(*flags):
    done = subprocess.run(
        [sys.executable, CAMPAIGN, *map(str, flags)], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_mutated_files_are_answered_in_a_line(tmp_path):
    log = tmp_path / "log.jsonl"
    campaigned("--count", 50, "--log", log)
    found = campaigned("--count", 150, "--log", log)  # goes on
    assert (found["inputs"], found["line"] + found["accepted"]) == (150, 150)
    assert found["accepted"] > 15 and found["line"] > 75
    assert found["largest_mb"] < 1_500
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [*range(150)]


@pytest.mark.slow
def test_20_000_mutated_files_are_answered_in_a_line(tmp_path):
    found = campaigned("--count", 20_000, "--log", tmp_path / "log.jsonl")
    assert found["line"] + found["accepted"] == found["inputs"] == 20_000
    assert found["largest_mb"] < 2_000
