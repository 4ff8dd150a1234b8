"""Mutated data, pictures and recipes, each read as a command reads it.

    python tests/campaigns/readers.py --count 20000 --log runs/readers.jsonl

Mutant i is made from i alone: of a small file of each kind that the package reads. Half have bytes
changed, half are well-formed and lie: a number of the file's own structure was replaced, or more is
packed into it than it says. Each is read in a fork of this process with limits of time and memory.
The log has a line a mutant; a campaign goes on behind its last one. At the end one line of JSON
says how many were refused in a line, accepted, or ended in a traceback, a crash or a hang, and the
largest memory of one. With --networks a tenth are recipes that `train.py --show` builds.
"""

import argparse
import gzip
import io
import json
import os
import pickle
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, features

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cifar_lab import arrays, data, inference, recipe, scratch  # noqa: E402
from cifar_lab.cli import common  # noqa: E402
from cifar_lab.data import cache, cifar  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.scratch import saving  # noqa: E402

SECONDS = 60  # of processor time for a mutant
WAITING = 900  # seconds after which nothing is awaited; a busy machine may stand still for minutes
MOST_BYTES = 6 << 30  # of address space
RECORDS = 20  # of a CIFAR file
SHAPE = (32, 32, 3)
NUMBERS = (0, 1, 2, 7, 8, 100, 127, 128, 255, 256, 4095, 13_000, 32_767, 65_535, 65_536,
           1 << 24, (1 << 27) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1,
           (1 << 64) - 1)  # fmt: skip


# --- what is mutated ------------------------------------------------------------------------------


def pixels(mode="RGB", size=(40, 30)):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    image = small.resize(size)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    return image.convert(mode)


def saved(format, mode="RGB", **options):
    file = io.BytesIO()
    frames = [pixels(mode)] * options.pop("frames", 1)
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(file, format, **options, **more)
    return file.getvalue()


def bmp_rle():
    rows = b"".join(bytes([40, i]) + b"\0\0" for i in range(30)) + b"\0\1"
    palette = bytes(range(256)) * 4
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, 40, 30, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return head + info + palette + rows


def tiled_tiff():
    values = np.asarray(pixels("L", (32, 32))).tobytes()
    entries = [(256, 4, 32), (257, 4, 32), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1),
               (322, 4, 32), (323, 4, 32), (324, 4, 150), (325, 4, len(values))]  # fmt: skip
    body = struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (b"II*\0\x08\0\0\0" + body).ljust(150, b"\0") + values


def pictures():
    """{ending: [bytes, ...]}"""
    found = {
        ".png": [saved("PNG"), saved("PNG", "P"), saved("PNG", "I;16"), saved("PNG", "1"),
                 saved("PNG", "LA"), saved("PNG", frames=3)],
        ".jpg": [saved("JPEG"), saved("JPEG", progressive=True), saved("JPEG", "CMYK"),
                 saved("MPO", frames=2)],
        ".gif": [saved("GIF", "P"), saved("GIF", "P", frames=3)],
        ".bmp": [saved("BMP"), saved("BMP", "1"), bmp_rle()],
        ".dib": [saved("DIB")],
        ".tif": [saved("TIFF"), saved("TIFF", compression="tiff_lzw"), saved("TIFF", "F"),
                 saved("TIFF", compression="tiff_adobe_deflate"), saved("TIFF", "I;16"),
                 saved("TIFF", compression="jpeg"), tiled_tiff()],
        ".ppm": [saved("PPM"), b"P3 4 3 255 " + b"1 2 3 " * 12, b"P5 40 30 200\n" + bytes(1200),
                 b"P1 8 8 " + b"01 " * 32],
        ".pfm": [saved("PPM", "F")],
        ".ico": [saved("ICO"), saved("ICO", bitmap_format="bmp")],
        ".pcx": [saved("PCX"), saved("PCX", "P")],
        ".tga": [saved("TGA"), saved("TGA", compression="tga_rle")],
        ".qoi": [b"qoif" + struct.pack(">II", 40, 30) + b"\3\0" + b"\xfd" * 20 + bytes(7) + b"\1"],
    }  # fmt: skip
    if features.check("webp"):
        found[".webp"] = [saved("WEBP"), saved("WEBP", lossless=True), saved("WEBP", frames=2)]
    if features.check("avif"):
        found[".avif"] = [saved("AVIF")]
    if features.check("jpg_2000"):
        found[".jp2"] = [saved("JPEG2000"), saved("JPEG2000", no_jp2=True)]
    return found


def cifar_records():
    records = np.random.default_rng(1).integers(0, 256, (RECORDS, 3073)).astype(np.uint8)
    records[:, 0] = np.arange(RECORDS) % 10
    return records


def pickles():
    records = cifar_records()
    batch = {
        "data": np.ascontiguousarray(records[:, 1:]),
        "labels": records[:, 0].tolist(),
        "batch_label": "training batch 1 of 5",
        "filenames": [f"picture_{i}.png" for i in range(RECORDS)],
    }
    return [pickle.dumps(batch, protocol) for protocol in (0, 2, 3, 4, 5)]


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def fashion():
    """The four files, by their names."""
    labels = np.arange(30, dtype=np.uint8) % 10
    images = np.random.default_rng(2).integers(0, 256, (30, 28, 28)).astype(np.uint8)
    return {
        f"{split}-{kind}-ubyte": idx(array)
        for split in ("train", "t10k")
        for kind, array in (("images-idx3", images), ("labels-idx1", labels))
    }


def mnist_npz():
    rng, labels = np.random.default_rng(3), np.arange(30, dtype=np.uint8) % 10
    images = rng.integers(0, 256, (30, 28, 28)).astype(np.uint8)
    return npz(np.savez_compressed, x_train=images, y_train=labels, x_test=images, y_test=labels)


def npz(save, **named):
    file = io.BytesIO()
    save(file, **named)
    return file.getvalue()


def state_npz():
    rng = np.random.default_rng(4)
    named = {f"v{i:04d}": rng.normal(size=(3, i + 1)).astype("float32") for i in range(4)}
    return npz(np.savez, meta=np.frombuffer(b'{"arrays": [4, 0]}', np.uint8), **named)


def numpy_model():
    network = scratch.Network()
    rng, file = np.random.default_rng(5), io.BytesIO()
    network.add(scratch.Convolution(rng.normal(size=(3, 3, 3, 4)).astype("float32")), "conv")
    network.add(scratch.GlobalAveragePooling(), "mean")
    network.add(scratch.Affine(rng.normal(size=(4, 3)).astype("float32")), "dense")
    network.add(scratch.Softmax(), "softmax")
    saving.save(network, (8, 8, 3), file)
    return file.getvalue()


RECIPES = (
    {"builder": "edge", "builder_options": {"stem": 8, "widths": [8, 8], "blocks": [1, 1]}},
    {"builder": "vgg", "builder_options": {"filters": [8, 16]}, "batch_size": 32, "epochs": 3},
    {"builder": "mlp", "builder_options": {"hidden_units": [16, 16]}, "learning_rate": 0.1},
    {"builder": "resnet", "builder_options": {"blocks": 1, "widths": [8, 16, 32]},
     "augmentation": {"horizontal_flip": True, "crop_padding": 4}, "input_shape": [32, 32, 3]},
)  # fmt: skip


# --- how each kind is read ------------------------------------------------------------------------


def read_picture(path):
    data.read_image(path, SHAPE)


def read_cifar(path):
    data.load("cifar10", str(path))


def read_idx(path):
    data.load("fashion-mnist", str(path))


def read_mnist(path):
    data.load("mnist", str(path))


def read_arrays(path):
    try:
        arrays.read(path, arrays.Limits(1 << 28))
    except (OSError, ValueError) as error:  # whoever asks for arrays names the file
        raise InputError(" ".join(str(error).split())) from None


def read_cache(path):
    os.environ["CIFAR_LAB_CACHE"] = str(path)
    cache.read("photos", (8, 8, 3)).pixels.sum()
    cache.drawn("drawn", lambda: (np.zeros(3),), 1 << 20)


def read_model(path):
    inference.Classifier(path).classify(np.zeros((1, 8, 8, 3), np.uint8))


def read_recipe(path):
    recipe.changed(recipe.Recipe(), common.read_json(path), f"--recipe {path}")


def show_recipe(path):
    words = [sys.executable, str(ROOT / "train.py"), "cifar10-74", "--recipe", str(path), "--show"]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    if done.returncode == 2 and lines and ": error: " in lines[-1]:
        raise InputError(lines[-1])
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])


def kept_in_cache():
    """{name: bytes} of the two files that the cache would write."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CIFAR_LAB_CACHE"] = folder
        stamp = ("a.png", 1, 2, 3)
        with cache.Pictures("photos", (8, 8, 3), 1, needed=True) as making:
            making.add(stamp, np.zeros((8, 8, 3), np.uint8))
            making.finish()
        cache.drawn("drawn", lambda: (np.zeros(3), np.ones(2)), 1 << 20)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def kinds(networks=False):
    """[(name, the files beside it {name: bytes}, the name of the mutated one, its bytes, reader,
    whether the reader is given its folder)]"""
    found = []
    for ending, contents in pictures().items():
        found += [(f"picture{ending}", {}, f"m{ending}", c, read_picture, False) for c in contents]
    batch, names = cifar_records().tobytes(), [f"data_batch_{i}" for i in range(1, 6)]
    whole = {f"{name}.bin": batch for name in (*names, "test_batch")}
    found += [("cifar.bin", whole, "data_batch_2.bin", batch, read_cifar, True)] * 4
    for content in pickles():
        whole = dict.fromkeys((*names, "test_batch"), content)
        found += [("cifar.pickle", whole, "data_batch_1", content, read_cifar, True)] * 2
    whole = fashion()
    for name, content in whole.items():
        found.append(("idx", whole, name, content, read_idx, True))
        others = {k: v for k, v in whole.items() if k != name}
        packed = gzip.compress(content)
        found.append(("idx.gz", others, f"{name}.gz", packed, read_idx, True))
    found += [("mnist.npz", {}, "mnist.npz", mnist_npz(), read_mnist, True)] * 4
    found += [("state.npz", {}, "s.npz", state_npz(), read_arrays, False)] * 4
    found += [("model.npz", {}, "m.npz", numpy_model(), read_model, False)] * 4
    kept = kept_in_cache()
    found += [("cache", kept, name, content, read_cache, True) for name, content in kept.items()]
    texts = [json.dumps(fields).encode() for fields in RECIPES]
    found += [("recipe", {}, "r.json", text, read_recipe, False) for text in texts]
    if networks:
        each = [("network", {}, "r.json", text, show_recipe, False) for text in texts]
        found += each * (len(found) // (9 * len(each)) + 1)
    return found


# --- mutants --------------------------------------------------------------------------------------


def mutant(kind, base, draw):
    """The bytes of a mutant. draw: random.Random."""
    lies = {
        "picture.png": lying_png,
        "cifar.pickle": lying_pickle,
        "idx.gz": lying_gzip,
        "mnist.npz": lying_npz,
        "state.npz": lying_npz,
        "model.npz": lying_npz,
        "recipe": lying_json,
        "network": lying_json,
    }
    if draw.random() < 0.5 and kind != "network":
        return with_bytes_changed(base, draw)
    return lies.get(kind, with_numbers_changed)(base, draw)


def with_bytes_changed(base, draw):
    content = bytearray(base)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        if not content:
            break
        at = draw.randrange(len(content))
        how = draw.randrange(7)
        if how == 0:
            content[at] = draw.randrange(256)
        elif how == 1:
            content[at] ^= 1 << draw.randrange(8)
        elif how == 2:
            put_number(content, at, draw)
        elif how == 3:
            del content[at : at + draw.randrange(1, 9)]
        elif how == 4:
            content[at:at] = content[at : at + draw.randrange(1, 64)]
        elif how == 5:
            content[at:at] = bytes(draw.randrange(1, 64))
        else:
            del content[at:]
    return bytes(content)


def put_number(content, at, draw):
    size = draw.choice((1, 2, 2, 4, 4, 8))
    number = draw.choice(NUMBERS) % (1 << 8 * size)
    content[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))


def with_numbers_changed(base, draw):
    """What says how large a thing is mostly stands at the beginning, or in a directory."""
    content = bytearray(base)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(min(len(content), draw.choice((32, 64, 256))))
        if content[:2] in (b"II", b"MM") and draw.random() < 0.7:  # a value of a TIFF's directory
            start = struct.unpack_from("<I", content, 4)[0]
            at = start + 2 + 12 * draw.randrange(12) + draw.choice((0, 2, 4, 8))
        if content[:2] == b"\xff\xd8" and draw.random() < 0.5:
            found = re.search(rb"\xff[\xc0\xc2]", content)
            at = found.start() + draw.choice((4, 5, 7, 9, 10)) if found else at
        put_number(content, at, draw)
    if content[:2] == b"\xff\xd8" and draw.random() < 0.1:  # drawn over and over
        scan = content.find(b"\xff\xda")
        content[-2:] = content[scan:-2] * draw.choice((10, 100, 1000)) + b"\xff\xd9"
    return bytes(content)


def lying_png(base, draw):
    """Checksums are right, and what is packed may be as large as it says, or larger."""
    chunks, at = [], 8
    while at + 8 <= len(base):
        (length,) = struct.unpack_from(">I", base, at)
        chunks.append([base[at + 4 : at + 8], bytearray(base[at + 8 : at + 8 + length])])
        at += 12 + length
    for _ in range(draw.choice((1, 1, 2))):
        chunk = chunks[draw.randrange(len(chunks))] if draw.random() < 0.5 else chunks[0]
        if chunk[1]:
            put_number(chunk[1], draw.randrange(len(chunk[1])), draw)
    if draw.random() < 0.1:
        width, height = draw.choice(((12_000, 12_000), (1, 1 << 27), (1 << 27, 1), (60_000, 900)))
        struct.pack_into(">II", chunks[0][1], 0, width, height)
        packer = zlib.compressobj(1)
        part = bytes(1 << 20)
        body = b"".join(packer.compress(part) for _ in range(200)) + packer.flush()
        for chunk in chunks:
            if chunk[0] == b"IDAT":
                chunk[1] = body
                body = b""
    if draw.random() < 0.1:
        chunks[1:1] = [[b"zTXt", bytearray(b"a\0\0" + zlib.compress(bytes(1 << 24)))]]
    if draw.random() < 0.1:
        chunks[1:1] = [chunks[draw.randrange(len(chunks))]] * draw.choice((2, 1000, 100_000))
    return base[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


OPCODES = bytes(ord(code) for code in "NIJKLMFG(.01230]}a)tuedlsbRoicpqrghjSTUVXBCQP") + bytes(
    [*range(0x80, 0x99)]
)


def lying_pickle(base, draw):
    """Operations that grow, nest, repeat and name."""
    how = draw.randrange(8)
    many = draw.choice((10, 1000, 100_000, 1_000_000))
    end = base[-1:]
    if how == 0:
        return b"\x80\x04]" + b"r" + struct.pack("<I", draw.choice(NUMBERS) % (1 << 32)) + end
    if how == 1:
        size = draw.choice(NUMBERS)
        return (
            b"\x80\x04" + draw.choice((b"\x8d", b"\x8e", b"\x96")) + struct.pack("<Q", size) + end
        )
    if how == 2:
        return b"\x80\x04" + draw.choice((b"]", b"(", b")\x85", b"}")) * many + end
    if how == 3:  # a list of two of the one before, and again
        return b"\x80\x04]" + b"\x94(h\0h\0l" * min(many, 1000) + end
    if how == 4:
        text = b"\x80\x02X" + struct.pack("<I", 1000) + b"x" * 1000 + b"q\0"
        return text + b"c_codecs\nencode\nq\1(h\0tRh\1" * min(many, 10_000) + end
    if how == 5:
        name = draw.choice((b"os\nsystem", b"builtins\neval", b"numpy\nload", b"_codecs\nlookup"))
        return b"\x80\x02c" + name + b"\n(U\x04truetR" + end
    content = bytearray(base)
    for _ in range(draw.choice((1, 2, 5))):
        at = draw.randrange(len(content)) if how == 6 else draw.randrange(200)
        content[at : at + draw.randrange(2)] = bytes([draw.choice(OPCODES)])
        if draw.random() < 0.3:
            put_number(content, at + 1, draw)
    return bytes(content)


def lying_gzip(base, draw):
    content = gzip.decompress(base)
    how = draw.randrange(4)
    if how == 0:
        return gzip.compress(with_bytes_changed(content, draw), 1)
    if how == 1:
        return gzip.compress(with_numbers_changed(content[:16], draw) + content[16:], 1)
    zeros = gzip.compress(bytes(1 << 24), 1)
    if how == 2:  # more than it says, in one part after another
        return base + zeros * draw.choice((1, 100))
    return base + gzip.compress(b"") * draw.choice((2, 10_000, 300_000)) + draw.choice((b"", b"x"))


def lying_npz(base, draw):
    source, sink = zipfile.ZipFile(io.BytesIO(base)), io.BytesIO()
    members = [(name, source.read(name)) for name in source.namelist()]
    victim = draw.randrange(len(members))
    packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(sink, "w", packing) as target:
        for number, (name, content) in enumerate(members):
            if number == victim:
                content = lying_npy(content, draw)
            target.writestr(name, content)
        if draw.random() < 0.1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.writestr(members[victim][0], members[victim][1])
        if draw.random() < 0.05:
            for i in range(draw.choice((100, 30_000))):
                target.writestr(f"more{i}.npy", b"")
    content = bytearray(sink.getvalue())
    if draw.random() < 0.4:  # what the directory says of sizes
        places = [
            found.start() for found in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06", content)
        ]
        at = draw.choice(places) + draw.choice((8, 10, 12, 16, 18, 20, 22, 24, 28, 42))
        put_number(content, min(at, len(content) - 1), draw)
    return bytes(content)


def lying_npy(content, draw):
    how = draw.randrange(6)
    if how == 0:
        return with_bytes_changed(content[:128], draw) + content[128:]
    if how == 1:
        return content + bytes(draw.choice((1, 1 << 16, 1 << 27)))
    if how == 2:
        return content[: draw.randrange(len(content) + 1)]
    numbers = [str(n) for n in NUMBERS] + ["-1", "1" * 5000, "True", "(1,)", "[" * 200]
    if how == 3:
        number = draw.choice(numbers).encode()
        return re.sub(rb"\d+(?=[,)])", number, content[:128], count=1) + content[128:]
    kinds = (
        "|O",
        "<U1000000000",
        "<f8",
        "|V0",
        "|S0",
        "f4,f4",
        "(9,9)f4",
        "<M8[ns]",
        "|b1",
        ">c16",
    )
    if how == 4:
        kind = draw.choice(kinds).encode()
        return re.sub(rb"'[<>|]\w+'", b"'" + kind + b"'", content[:128], count=1) + content[128:]
    start = b"\x93NUMPY\2\0" + struct.pack("<I", draw.choice(NUMBERS) % (1 << 32))
    return start + b" " * draw.choice((10, 1 << 26))


def lying_json(base, draw):
    if draw.random() < 0.1:
        depth = draw.choice((100, 100_000))
        return b'{"a":' * depth + b"1" + b"}" * depth
    value = json.loads(base)
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = list(_places(value))
        holder, key = places[draw.randrange(len(places))]
        holder[key] = draw.choice(
            (*NUMBERS, -1, None, True, "", "relu", "edge", [], {}, [1, 2], [10_000], 1e308, 0.5,
             [40_000] * 2, [3] * 20_000, [[1]], "x" * 100_000)
        )  # fmt: skip
    return json.dumps(value).encode()


def _places(value):
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


# --- one mutant -----------------------------------------------------------------------------------


def outcome(reader, path):
    """("line" or "accepted" or "traceback", words)."""
    try:
        reader(path)
        return "accepted", ""
    except InputError as error:
        words = str(error).replace(str(path.parent), "")
        return ("traceback" if "\n" in words else "line"), words[:300]
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"[:500]


def contained(reader, path):
    """(outcome, words, bytes of memory, seconds of the processor) of a fork that reads a mutant."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(source)
            signal.alarm(WAITING)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.write(sink, json.dumps(outcome(reader, path)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(sink)
    with os.fdopen(source, "rb") as answer:
        told = answer.read()
    _, status, usage = os.wait4(pid, 0)
    ended = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    memory = usage.ru_maxrss * 1024
    if ended in (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL):
        return "hang", f"signal {-ended}", memory, seconds
    if ended or not told:
        return "crash", f"ended with {ended}", memory, seconds
    return *json.loads(told), memory, seconds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--log", type=Path, help="a line a mutant; goes on behind its last")
    parser.add_argument("--kept", type=Path, help="folder for mutants that were not read well")
    parser.add_argument("--networks", action="store_true", help="build recipes too (seconds each)")
    arguments = parser.parse_args(argv)
    cifar._CIFAR10 = replace(cifar._CIFAR10, records=(RECORDS, RECORDS))
    chosen = kinds(arguments.networks)
    rows = []
    if arguments.log and arguments.log.is_file():
        rows = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    until = time.monotonic() + arguments.seconds
    data.read_image(io.BytesIO(saved("PNG")), SHAPE)  # imports what a fork would import again
    while len(rows) < arguments.count and time.monotonic() < until:
        number = len(rows)
        kind, beside, name, base, reader, of_folder = chosen[number * 7919 % len(chosen)]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for other, content in beside.items():
                (place / other).write_bytes(content)
            content = mutant(kind, base, random.Random(number))
            (place / name).write_bytes(content)
            path = place if of_folder else place / name
            found, words, memory, seconds = contained(reader, path)
        row = {"number": number, "kind": kind, "outcome": found, "words": words}
        rows.append(row | {"mb": round(memory / 1e6), "seconds": round(seconds, 2)})
        bad = found not in ("line", "accepted") or memory > 2e9
        if arguments.kept and bad:
            arguments.kept.mkdir(parents=True, exist_ok=True)
            (arguments.kept / f"{number}-{name}").write_bytes(content)
        if arguments.log:
            with open(arguments.log, "a") as log:
                log.write(json.dumps(rows[-1]) + "\n")
    table = told(rows)
    table["kinds"] = {
        kind: told([row for row in rows if row["kind"] == kind])
        for kind in sorted({row["kind"] for row in rows})
    }
    print(json.dumps(table))
    return 1 if table["traceback"] + table["crash"] + table["hang"] else 0


def told(rows):
    counts = Counter(row["outcome"] for row in rows)
    return {
        "inputs": len(rows),
        **{name: counts[name] for name in ("line", "accepted", "traceback", "crash", "hang")},
        "largest_mb": max((row["mb"] for row in rows), default=0),
        "longest_seconds": max((row["seconds"] for row in rows), default=0),
    }


if __name__ == "__main__":
    sys.exit(main())
