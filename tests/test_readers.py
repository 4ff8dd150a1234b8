"""What is small and asks for much: data, archives and recipes are refused before memory is taken;
where it runs out all the same, a command ends with a line."""

import gzip
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from campaigns import readers as campaign
from cifar_lab import arrays, bundles, cli, data, files, memory, networks
from cifar_lab.cli import reporting
from cifar_lab.data import cifar, idx, pickles
from cifar_lab.errors import InputError
from cifar_lab.recipe import Recipe
from support import ROOT, assert_refused, bomb_header, command_env, run_here

# --- files ---


def test_a_file_is_read_by_its_kind_and_size(tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    assert files.read(tmp_path / "f", 5) == b"12345"
    with pytest.raises(files.TooLarge, match="has 5 bytes, may have 4"):
        files.read(tmp_path / "f", 4)
    for name in ("nothing", "."):
        with pytest.raises(OSError):
            files.read(tmp_path / name, 5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of POSIX")
def test_what_is_no_file_is_refused_and_holds_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.2)  # a recipe may come out of a pipe
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # a path of a socket must be short
    places = [tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero")]
    for place in places:
        with pytest.raises(OSError):
            files.read(place, 1 << 40)
        with pytest.raises(OSError):
            arrays.read(place, arrays.Limits(1 << 40))
        with pytest.raises(OSError):  # a bundle's model is one
            bundles.file_sha256(place)
        assert not reporting.is_report(place)
    for place in places:
        assert_refused(run_here("train.py", "cifar10-74", "--recipe", place, "--show"), str(place))
    os.mkfifo(tmp_path / "m.tflite")
    done = run_here("predict.py", tmp_path / "m.tflite", tmp_path)
    assert_refused(done, "m.tflite: cannot be read (is a pipe, must be a file)")


def test_deep_json_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    done = run_here("train.py", "cifar10-74", "--recipe", tmp_path / "deep.json", "--show")
    assert_refused(done, "deep.json: is nested too deeply")


# --- memory ---


def test_pictures_that_no_machine_holds_are_refused(photos, fashion):
    shape = (60_000, 60_000, 3)
    for name, folder in ((str(photos), None), ("fashion-mnist", str(fashion))):
        with pytest.raises(InputError, match="take .* GB of memory, this"):
            data.load(name, folder, input_shape=shape, data_in="memory")
    with pytest.raises(InputError, match="cannot be kept there"):  # nor does a disk
        data.load(str(photos), input_shape=(600_000, 600_000, 3))


def test_memory_of_this_machine():
    assert 1 << 28 < memory.total() < 1 << 50
    memory.require(1 << 20, "a few numbers")


# --- pickles ---

END = b"."
TEXT = b"X" + struct.pack("<I", 1000) + b"x" * 1000 + b"q\0"
BOMBS = {
    "a place far away": (b"\x80\x04}r\0\x84\xd7\x17.", None),  # 9 bytes: 6 GB in Python's own
    "places in text": (b"(dp999999999\n.", None),
    "a long text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + END, "is cut off"),
    "long bytes": (b"\x80\x04\x8e" + struct.pack("<Q", (1 << 64) - 1) + END, "is cut off"),
    "a long bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + END, "is cut off"),
    "a long frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.", None),
    "many lists": (b"\x80\x04" + b"]" * 2_000_000 + END, "has too many operations"),
    "deep tuples": (b"\x80\x04N" + b"\x85" * 50_000 + END, None),
    "a deep key": (b"\x80\x04}N" + b"\x85" * 50_000 + b"Ns.", "has a dict of other than names"),
    "doubled and doubled": (b"\x80\x04]" + b"\x94(h\0h\0l" * 5_000 + END, None),
    "encoded again and again": (
        b"\x80\x02" + TEXT + b"c_codecs\nencode\nq\1" + b"(h\0tR(h\1h\0tR" * 100 + END,
        None,
    ),
    "another's function": (b"cos\nsystem\n(S'true'\ntR.", "the pickle names os.system, which no"),
    "a list is called": (b"\x80\x04](NtR.", "calls what is no function"),
    "a state of nothing": (b"\x80\x04](Ntb.", "sets the state of what has none"),
    "an array of objects": (
        b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRp0\n0.",
        None,
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_pickle_takes_no_more_than_its_size(kind, tmp_path):
    raw, words = BOMBS[kind]
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(raw)
    with pytest.raises(InputError, match=words or "data_batch_1: is not a CIFAR-10 python batch"):
        data.load("cifar10", str(tmp_path))


def test_encoding_is_bounded_by_the_pickle():
    again = b"\x80\x02" + TEXT + b"c_codecs\nencode\nq\1" + b"h\1h\0\x85R" * 100 + END
    with pytest.raises(ValueError, match="encodes more than it holds"):
        pickles.load(again, 10_000)


def test_a_pickle_is_what_python_makes_of_it():
    values = {
        "numbers": [0, 1, -1, 255, 256, 65_536, -(2**31), 2**31, 2**70, -(2**70)],
        "texts": ["", "a", "ä", "\u20ac", "x" * 300, "line\nbreak", b"bytes", b"\xff" * 300],
        "others": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
        b"key": {"a": [1, [2, [3]]], 5: b"five"},
    }
    values["again"] = values["texts"]
    for protocol in range(6):
        raw = pickle.dumps(values, protocol)
        assert pickles.load(raw, 10_000) == values
        for cut in range(0, len(raw) - 1, 7):
            with pytest.raises((ValueError, IndexError, TypeError, KeyError)):
                pickles.load(raw[:cut], 10_000)


# --- IDX ---


def gz_of(array, more=b""):
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes() + more, 1)


def with_images(folder, raw):
    for file in folder.glob("train-images*"):
        file.write_bytes(raw)
    return folder.parent


def test_gzip_is_unpacked_as_far_as_its_header_says(fashion, monkeypatch):
    monkeypatch.setattr(idx, "_MOST_MEMBERS", 5_000)
    folder = fashion / "fashion-mnist"
    images = data.load("fashion-mnist", str(fashion)).train_images[..., 0]
    parts = gz_of(images)
    zeros = gzip.compress(bytes(1 << 24), 1)
    cases = {
        gz_of(images, b"\0"): "file has more than that",
        parts + zeros * 250: "file has more than that",  # 4 GB
        gz_of(images)[:-1]: "damaged gzip file",
        parts + b"rest": "damaged gzip file .*incorrect header",
        parts + gzip.compress(b"") * 9_000: "damaged gzip file .has more than 5,000 parts",
        gzip.compress(struct.pack(">4I", 0x0803, 2**32 - 1, 28, 28)): "may be 250,000 items",
        gzip.compress(struct.pack(">4I", 0x0803, 1, 2**32 - 1, 2**32 - 1)): "may be 250,000 items",
    }
    for raw, words in cases.items():
        with pytest.raises(InputError, match=words):
            data.load("fashion-mnist", str(with_images(folder, raw)))
    half = len(gzip.decompress(parts)) // 2
    content = gzip.decompress(parts)
    split = gzip.compress(content[:half]) + gzip.compress(content[half:]) + bytes(100)
    found = data.load("fashion-mnist", str(with_images(folder, split)))
    np.testing.assert_array_equal(found.train_images[..., 0], images)


def test_zeros_between_parts_of_gzip_take_no_time(fashion):
    raw = (gzip.compress(b"") + b"\0") * 4_000 + bytes([1]) * 2_000_000
    start = time.process_time()
    with pytest.raises(InputError, match="incorrect header"):
        data.load("fashion-mnist", str(with_images(fashion / "fashion-mnist", raw)))
    assert time.process_time() - start < 3  # each part once copied all that follows it


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_a_sparse_file_is_refused_by_its_size(name, tmp_path):
    if name == "cifar10":
        folder, names = tmp_path, [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    else:
        folder, names = tmp_path / name, idx.STEMS
        folder.mkdir()
    for file in names:
        with open(folder / file, "wb") as opened:
            opened.truncate(5 << 30)
    with pytest.raises(InputError, match="has 5,368,709,120 bytes, may have"):
        data.load(name, str(tmp_path))


# --- archives of arrays ---


def archive(members, packing=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as target:
        for name, content in members:
            target.writestr(name, content)
    return file.getvalue()


def npy(text, values=b"", version=b"\1\0"):
    size = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text.encode() + values


def told(descr="<f4", fortran=False, shape="(2, 3)"):
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


SIX = np.arange(6, dtype="<f4").tobytes()
LIES = {
    "no archive": (b"hello", "is no .npz archive, or damaged"),
    "no array": (archive([("a.npy", b"hello" * 9)]), "holds what is no array"),
    "larger": (archive([("a.npy", npy(told(shape="(1000000000000,)"), SIX))]), "has 24 bytes"),
    "smaller": (archive([("a.npy", npy(told(shape="(2,)"), SIX))]), "has 24 bytes"),
    "objects": (archive([("a.npy", npy(told("|O"), SIX))]), "'a' holds object, no plain numbers"),
    "a record": (archive([("a.npy", npy(told("f4,f4"), SIX))]), "of other than plain numbers"),
    "code": (archive([("a.npy", npy("__import__('os')", SIX))]), "of other than plain numbers"),
    "deep": (archive([("a.npy", npy("(" * 9_000, SIX))]), "of other than plain numbers"),
    "nothing wide": (archive([("a.npy", npy(told("<U0", shape="(99999999999,)")))]), "no plain"),
    "long header": (
        archive([("a.npy", npy(" " * (1 << 20), version=b"\2\0"))], zipfile.ZIP_DEFLATED),
        "a header that is too long",
    ),
    "many digits": (archive([("a.npy", npy(told(shape=f"({'1' * 5000},)"), SIX))]), "than any"),
    "packed": (  # made when its test runs: 400 MB
        lambda: archive([("a.npy", npy(told(shape="(100000000,)"), bytes(4 * 10**8)))], 8),
        "unpacks to 400,000,0.. bytes, may to 1,000,000",
    ),
    "two of a name": (archive([("a.npy", npy(told(), SIX)), ("a", b"")]), "two arrays of one name"),
    "otherwise packed": (archive([("a.npy", npy(told(), SIX))], zipfile.ZIP_BZIP2), "otherwise"),
    "many": (archive([(f"{i}.npy", b"") for i in range(200)]), "holds 200 arrays, may hold 100"),
}


@pytest.mark.parametrize("kind", LIES)
def test_an_archive_that_lies_is_refused(kind, tmp_path):
    raw, words = LIES[kind]
    (tmp_path / "a.npz").write_bytes(raw() if callable(raw) else raw)
    with pytest.raises(ValueError, match=words):
        arrays.read(tmp_path / "a.npz", arrays.Limits(1_000_000, 100))


def test_a_directory_that_lies_is_refused(tmp_path):
    raw = bytearray(archive([("a.npy", npy(told(), SIX))], zipfile.ZIP_DEFLATED))
    entry, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    for at, number, words in (
        (entry + 24, 1 << 31, "says that it is larger than it can be"),
        (entry + 20, 1 << 31, "says that it is larger than it is"),
        (end + 12, 1 << 31, "holds more than 100 arrays"),
        (entry + 8, 1, "is encrypted"),
        (entry + 42, 1 << 20, "damaged"),
    ):
        lie = raw.copy()
        size = 2 if number == 1 else 4
        lie[at : at + size] = number.to_bytes(size, "little")
        (tmp_path / "a.npz").write_bytes(lie)
        with pytest.raises(ValueError, match=words):
            arrays.read(tmp_path / "a.npz", arrays.Limits(1_000_000, 100))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_read_as_numpy_reads_it(save, tmp_path):
    rng = np.random.default_rng(0)
    values = {
        "floats": rng.normal(size=(3, 4)).astype("float32"),
        "fortran": np.asfortranarray(rng.normal(size=(5, 7))),
        "number": np.array(3),
        "text": np.array("some words"),
        "none": np.zeros((0, 4), np.uint8),
        "large": rng.integers(0, 9, (1000, 1200)),
        "big/endian": np.arange(5, dtype=">i4"),
        "flags": np.array([True, False]),
    }
    save(tmp_path / "a.npz", **values)
    found = arrays.read(tmp_path / "a.npz", arrays.Limits(1 << 24))
    assert list(found) == list(values)
    for name, value in values.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
    with arrays.Archive(tmp_path / "a.npz", arrays.Limits(1 << 24)) as opened:
        assert opened.headers["floats"][:2] == ((3, 4), np.dtype("float32"))
        with pytest.raises(ValueError, match="holds no 'nothing'"):
            opened["nothing"]
    with pytest.raises(OSError, match="has .* bytes, may have 1,000"):
        arrays.read(tmp_path / "a.npz", arrays.Limits(1_000, 1))


def test_nothing_else_reads_archives():
    """numpy.load() and pickle take what a file asks for."""
    for file in sorted((ROOT / "cifar_lab").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for name in (
            "np.load(path",
            "np.load(file",
            "pickle.load",
            "allow_pickle=True",
            "Unpickler",
        ):
            assert name not in text, (file, name)


# --- networks ---

WIDE = {
    "wide convolutions": {"builder": "edge", "builder_options": {"stem": 40_000, "widths": [40_000]
                          * 2, "blocks": [1, 1]}},
    "wide layers": {"builder": "mlp", "builder_options": {"hidden_units": [10**9]}},
    "beyond numbers": {"builder": "mlp", "builder_options": {"hidden_units": [10**18]}},
    "large pictures": {"builder": "mlp", "input_shape": [9_000, 9_000, 3]},
    "many layers": {"builder": "mlp", "builder_options": {"hidden_units": [1] * 6_000}},
    "large windows": {"builder": "edge", "builder_options": {"kernel_size": 100_000}},
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.slow) if k == "many layers" else k for k in WIDE],
)
def test_a_network_that_is_too_large_is_not_built(kind, tmp_path):
    (tmp_path / "wide.json").write_text(json.dumps(WIDE[kind]))
    done = run_here("train.py", "cifar10-74", "--recipe", tmp_path / "wide.json", "--show")
    words = "arrays of weights" if kind == "many layers" else "may have 268,435,456"
    assert_refused(done, "recipe: ", words)


def test_large_networks_are_built():
    """As far as memory goes: a limit on what is made, not on what Keras has."""
    wide = Recipe(builder="mlp", builder_options={"hidden_units": [2_000]})
    assert networks.build(wide, 10).count_params() == 6_166_010
    assert networks.MOST_PARAMETERS > 143_667_240  # VGG-19, the largest that is offered
    with networks.bounded():
        pass
    import keras

    assert "bounded" not in keras.layers.Layer.add_weight.__qualname__


def test_a_batch_that_no_machine_holds_is_refused(fashion, tmp_path):
    options = {"stem": 400_000, "widths": [8], "blocks": [1]}
    fields = {"builder": "edge", "builder_options": options, "batch_size": 1_000_000, "start": ""}
    (tmp_path / "r.json").write_text(json.dumps(fields))
    done = run_here(
        *("train.py", "fashion-mnist-92", "--data-dir", fashion, "--epochs", 1),
        *("--recipe", tmp_path / "r.json", "--output", tmp_path / "out"),
    )
    assert_refused(done, "for a batch of 1", "images take", "GB of memory, this machine has")


# --- where memory runs out all the same ---


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f8")),
        ResourceExhaustedError("OOM when allocating tensor with shape[9,9]"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes"),
        ValueError("Unable to allocate 9 GiB for an array"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_is_a_line(error, monkeypatch, capsys):
    def command(argv):
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("something went wrong\nsomewhere") from cause

    for run in (command, lambda argv: (_ for _ in ()).throw(error)):
        monkeypatch.setitem(cli.COMMANDS, "train", run)
        assert cli.train([]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1
        assert shown.err.startswith("train.py: error: ")
    monkeypatch.setitem(cli.COMMANDS, "train", lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.train([])


# A small process starts the command: what a process starts with counts its parent's memory.
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_commands_take_no_more_than_two_gigabytes(tmp_path):
    """The real commands, whose memory the system counts."""
    (tmp_path / "wide.json").write_text(json.dumps(WIDE["wide convolutions"]))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(BOMBS["a place far away"][0])
    (tmp_path / "x.png").write_bytes(bomb_header(14_000, 14_000))
    bundle = ROOT / "saved_models" / "cifar10-tiny-88" / "model.int8.tflite"
    for words in (
        ["train.py", "cifar10-74", "--recipe", tmp_path / "wide.json", "--show"],
        ["train.py", "cifar10-74", "--data-dir", tmp_path, "--output", tmp_path / "out"],
        ["predict.py", bundle, tmp_path / "x.png"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, sys.executable, *map(str, words)],
            cwd=ROOT,
            env=command_env(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and done.stderr.count(": error: ") == 1, done.stderr
        assert "Traceback" not in done.stderr
        kilobytes = int(done.stdout.splitlines()[-1])
        assert 10_000 < kilobytes < 1_500_000, (words, kilobytes)


# --- the campaign ---


def campaigned(*flags):
    done = subprocess.run(
        [sys.executable, campaign.__file__, *map(str, flags)], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr)
    return json.loads(done.stdout)


def test_mutated_files_are_answered_in_a_line(tmp_path):
    log = tmp_path / "log.jsonl"
    campaigned("--count", 20, "--log", log)
    found = campaigned("--count", 200, "--log", log)  # goes on
    assert found["inputs"] == found["line"] + found["accepted"] == 200
    assert found["accepted"] > 30 and found["line"] > 90 and found["largest_mb"] < 2_000
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [*range(200)]


def test_what_the_campaign_mutates_is_sound(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_CIFAR10", replace(cifar._CIFAR10, records=(campaign.RECORDS,) * 2))
    monkeypatch.setenv("CIFAR_LAB_CACHE", os.environ["CIFAR_LAB_CACHE"])  # which it changes
    for number, (kind, beside, name, content, read, of_folder) in enumerate(campaign.kinds()):
        place = tmp_path / str(number)
        place.mkdir()
        for other, raw in {**beside, name: content}.items():
            (place / other).write_bytes(raw)
        found = campaign.outcome(read, place if of_folder else place / name)
        assert found == ("accepted", ""), (kind, name, found)


@pytest.mark.slow
def test_20_000_mutated_files_are_answered_in_a_line(tmp_path):
    found = campaigned("--count", 20_000, "--log", tmp_path / "log.jsonl")
    assert found["line"] + found["accepted"] == found["inputs"] == 20_000
    assert found["largest_mb"] < 2_000
