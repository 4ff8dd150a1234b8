"""What was read before: taken from the cache, and from nowhere else once it changed."""

import importlib.util
import itertools
import os
import pickle
import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

from cifar_lab import data
from cifar_lab.data import cache, reading, synthetic
from cifar_lab.errors import InputError
from support import ROOT

SHAPE = (8, 8, 3)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(5):
            draw(tmp_path / "photos" / name / f"{i}.png", ord(name) + 20 * i)
    return tmp_path / "photos"


def draw(path, value):
    Image.new("RGB", (9, 8), (value % 256, 0, 0)).save(path)


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded since it was last cleared."""
    names = []
    read_file = reading.read_file

    def noted(file):
        names.append(file.name)
        return read_file(file)

    monkeypatch.setattr(reading, "read_file", noted)
    return names


def load(root, shape=SHAPE, **options):
    return data.load(str(root), input_shape=shape, **options)


def assert_same(first, second):
    assert first.train_sha256() == second.train_sha256()
    assert first.test_sha256() == second.test_sha256()


def test_the_second_time_nothing_is_decoded(root, place, decoded):
    first = load(root)
    assert len(decoded) == 10 and len(list(place.iterdir())) == 1
    assert not [p for p in place.iterdir() if p.suffix != cache.ENDING]
    decoded.clear()
    assert_same(first, load(root))
    assert_same(first, load(os.path.relpath(root)))
    assert not decoded
    load(root, (8, 8, 1))  # another shape is another file
    assert len(decoded) == 10 and len(list(place.iterdir())) == 2


def test_only_what_changed_is_decoded(root, place, decoded, monkeypatch):
    load(root)
    decoded.clear()
    draw(root / "a" / "3.png", 5)
    draw(root / "a" / "new.png", 6)
    (root / "b" / "2.png").unlink()
    now = load(root)
    assert sorted(decoded) == ["3.png", "new.png"]
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    assert_same(now, load(root))


def test_a_file_of_the_same_size_and_time_is_another_one(root, place, decoded):
    """As `cp -p` and archives leave it: the time of the status tells."""
    load(root)
    decoded.clear()
    path = root / "a" / "3.png"
    before = path.stat()
    raw = bytearray(path.read_bytes())
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load(root)
    assert decoded == ["3.png"]


def test_damage_is_kept_and_repaired(root, place, decoded):
    whole = (root / "a" / "3.png").read_bytes()
    (root / "a" / "3.png").write_bytes(b"words")
    for count in (10, 0):
        decoded.clear()
        with pytest.raises(InputError, match="a/3.png: is not an image"):
            load(root)
        assert len(decoded) == count
    (root / "a" / "3.png").write_bytes(whole)
    load(root)
    assert decoded == ["3.png"]


def test_what_may_be_otherwise_the_next_time_is_not_kept(root, place, monkeypatch):
    count = itertools.count()

    def fail(file):
        if file.name == "3.png":
            raise OSError(5, "Input/output error")
        return b""

    with monkeypatch.context() as patched:
        patched.setattr(reading, "read_file", fail)
        patched.setattr(reading, "decode", lambda *_: np.full(SHAPE, next(count), np.uint8))
        with pytest.raises(InputError, match="3.png: cannot be read .Input/output error"):
            load(root)
    assert len(load(root).train_labels)


BROKEN = {
    "empty": lambda raw: b"",
    "no header": lambda raw: b"\xff\xfe nonsense\n" + raw,
    "a number": lambda raw: b"7\n" + raw,
    "deep": lambda raw: b"[" * 100_000 + b"\n",
    "cut off": lambda raw: raw[:-7],
    "longer": lambda raw: raw + b"x",
    "a pixel": lambda raw: raw[:-7] + b"\0\1" + raw[-5:],
    "of another folder": lambda raw: raw.replace(b"photos", b"others"),
    "of another reader": lambda raw: re.sub(rb"\[8, 8, 3\], (\d+)", rb"[8, 8, 3], 99\1", raw),
    "stamps that are none": lambda raw: re.sub(rb'"stamps": .*', b'"stamps": [1]}', raw),
    "fewer stamps": lambda raw: re.sub(rb'"stamps": \[\[.*?\], ', b'"stamps": [', raw),
    "an infinite size": lambda raw: re.sub(rb'(\["[^"]*"), \d+', rb"\1, Infinity", raw, count=1),
    "no damage": lambda raw: raw.replace(b'"damage": {}', b'"damage": 3'),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_or_foreign_cache_is_read_anew(kind, root, place, decoded):
    first = load(root)
    (file,) = place.iterdir()
    whole = file.read_bytes()
    file.write_bytes(BROKEN[kind](whole))
    assert file.read_bytes() != whole
    decoded.clear()
    assert_same(first, load(root))
    assert len(decoded) == 10
    decoded.clear()
    load(root)
    assert not decoded  # it was written anew


@pytest.mark.parametrize("kind", ["off", "OFF", "a file", "below a file", "no home"])
def test_without_a_place_there_is_no_cache(kind, root, tmp_path, monkeypatch, decoded):
    (tmp_path / "file").write_text("")
    values = {"a file": str(tmp_path / "file"), "below a file": str(tmp_path / "file" / "x")}
    if kind == "no home":
        monkeypatch.delenv("CIFAR_LAB_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    else:
        monkeypatch.setenv("CIFAR_LAB_CACHE", values.get(kind, kind))
    before = sorted(tmp_path.rglob("*"))
    first, lines = load(root), []
    assert_same(first, load(root, notice=lines.append))
    assert len(decoded) == 20 and len(lines) == 1  # of the fifth
    assert sorted(tmp_path.rglob("*")) == before


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "x"))
    assert cache.place() == tmp_path / "x"
    monkeypatch.setenv("CIFAR_LAB_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.place() == tmp_path / "cifar_lab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache.place() == tmp_path / ".cache" / "cifar_lab"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache.place() == tmp_path / "Library" / "Caches" / "cifar_lab"


def test_it_stays_small(root, place, monkeypatch):
    for size in range(4, 10):
        load(root, (size, size, 3))
        time.sleep(0.02)
    files = {p.stat().st_size: p for p in place.iterdir()}
    assert len(files) == 6
    load(root, (4, 4, 3))  # used last
    monkeypatch.setattr(cache, "MAX_BYTES", sum(sorted(files)[-2:]))
    (place / "of somebody else").write_bytes(bytes(100_000))
    time.sleep(0.02)
    load(root, (3, 3, 3))
    left = {p.name for p in place.glob("*" + cache.ENDING)}
    assert files[sorted(files)[0]].name in left and files[sorted(files)[1]].name not in left
    assert sum(p.stat().st_size for p in place.glob("*" + cache.ENDING)) <= cache.MAX_BYTES
    assert (place / "of somebody else").is_file()
    monkeypatch.setattr(cache, "MAX_BYTES", 100)
    load(root, (30, 30, 3))  # too large to be kept


def test_two_at_once(root, place):
    """Processes and threads may read one folder at a time; each file is written whole."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(load(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(list(place.iterdir())) == 1
    assert_same(results[0], load(root))


# --- progress and order ---


def test_the_order_is_that_of_the_names_whatever_is_ready_first(root, place, monkeypatch):
    monkeypatch.setattr(reading, "cores", lambda: 8)
    decode = reading.decode

    def slow(data, shape, ending):
        image = decode(data, shape, ending)
        time.sleep(float(image[0, 0, 0]) % 7 / 500)
        return image

    monkeypatch.setattr(reading, "decode", slow)
    (images, _), _ = data.read_labelled_folder(root, SHAPE)
    expected = [ord(name) + 20 * i for name in "ab" for i in range(5)]
    assert images[:, 0, 0, 0].tolist() == expected


class Terminal:
    def __init__(self):
        self.lines, self.lively = [], []
        self.live = self.lively.append

    def __call__(self, line):
        self.lines.append(line)


def test_a_terminal_sees_how_far_it_is(root, place, monkeypatch):
    terminal, lines = Terminal(), []
    monkeypatch.setattr(reading, "LIVE_SECONDS", 0)
    load(root, notice=terminal)
    assert len(terminal.lines) == 1 and len(terminal.lively) == 12
    assert terminal.lively[0] == "reading photos ..."
    assert terminal.lively[10:] == ["", ""]  # nothing stays
    assert re.fullmatch(
        re.escape(str(root)) + r": read 1 of 10 pictures, \d+ s left", terminal.lively[1]
    )
    load(root, notice=lines.append)
    assert len(lines) == 1
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    monkeypatch.setattr(reading, "RARE_SECONDS", 0)
    load(root, notice=lines.append)
    assert "read 9 of 10 pictures" in lines[9]


def test_an_interruption_does_not_wait_for_the_rest(root, place, monkeypatch):
    monkeypatch.setattr(reading, "cores", lambda: 1)
    read = []

    def interrupted(data, shape, ending):
        read.append(1)
        if len(read) == 2:
            raise KeyboardInterrupt
        time.sleep(0.02)
        return np.zeros(shape, np.uint8)

    monkeypatch.setattr(reading, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert len(read) < 6


def test_the_benchmark_runs(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("reading", ROOT / "benchmarks" / "reading.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "SIZE", (400, 300))
    assert benchmark.main(["--pictures", "100", "--times", "1"]) == 0
    assert "| again | 1 |" in capsys.readouterr().out


# --- what is drawn ---


def test_what_was_drawn_is_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    calls = []

    def draw():
        calls.append(1)
        return np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(3)

    for key in ("a", "a", "b", "b"):
        pixels, labels = cache.drawn(key, draw, 10_000)
        assert pixels.tolist() == draw()[0].tolist() and labels.dtype == np.int64
        calls.pop()
    assert len(calls) == 2 and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    cache.drawn("a", draw, 10_000)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw.replace(bytes(range(12)), bytes(range(1, 13))),
        lambda raw: pickle.dumps([1, 2]),
        lambda raw: raw + b"x" * 20_000,
    ],
)
def test_a_damaged_file_is_drawn_anew(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    expected = np.arange(12, dtype=np.uint8)
    cache.drawn("a", lambda: (expected,), 10_000)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    (found,) = cache.drawn("a", lambda: (expected,), 10_000)
    assert found.tolist() == expected.tolist()
    (again,) = cache.drawn("a", lambda: (expected + 1,), 10_000)
    assert again.tolist() == expected.tolist()  # and kept anew


def test_the_embedded_data_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path))
    first = synthetic.load(30, 20)
    monkeypatch.setattr(synthetic, "draw", None)
    for a, b in zip(first, synthetic.load(30, 20), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    with pytest.raises(TypeError):
        synthetic.load(30, 20, dials=synthetic.Dials(clutter=0))
