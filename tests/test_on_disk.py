"""Sets larger than memory: images in a file of the cache, read as they are needed."""

import os

import faults
import numpy as np
import pytest
from PIL import Image

from cifar_lab import data, memory
from cifar_lab.data import cache, many, reading, synthetic
from cifar_lab.data.on_disk import OnDisk, is_on_disk, only, pieces, together
from cifar_lab.errors import InputError
from support import assert_refused, run_here

SHAPE = (8, 8, 3)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder, count, seed=0):
    """Pictures of noise in folders a and b."""
    rng = np.random.default_rng(seed)
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(0, 256, (9, 10, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.png")
    return folder


def load(root, data_in, **options):
    return data.load(str(root), input_shape=SHAPE, data_in=data_in, **options)


def assert_same(found, expected):
    """The same set, of which one is on disk."""
    assert is_on_disk(found.train_images) and is_on_disk(found.test_images)
    assert not is_on_disk(expected.train_images)
    for split in ("train", "test"):
        assert getattr(found, f"{split}_sha256")() == getattr(expected, f"{split}_sha256")()
        images = getattr(found, f"{split}_images")
        assert np.array_equal(images, getattr(expected, f"{split}_images"))
        assert getattr(found, f"{split}_labels").tolist() == (
            getattr(expected, f"{split}_labels").tolist()
        )
    assert (found.classes, found.skipped, found.note) == (
        expected.classes,
        expected.skipped,
        expected.note,
    )
    assert (found.val_indices is None) == (expected.val_indices is None)


# --- an array that is not in memory ---


KEYS = {
    "one": 3,
    "the last": -1,
    "numpy's": np.int64(4),
    "a slice": slice(2, 9),
    "backwards": slice(None, None, -2),
    "none": slice(4, 4),
    "indices": np.array([7, 0, 7, 11, 3]),
    "a list": [5, 1],
    "a table": np.array([[1, 2], [9, 0]]),
    "a mask": np.arange(12) % 3 == 1,
    "a row of one": (2, slice(None), 0),
    "a colour of some": (slice(1, 5), slice(None), slice(None), 0),
    "mirrored": (slice(None), slice(None), slice(None, None, -1)),
    "the last colour": (..., -1),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("files", [1, 3])
def test_it_reads_as_an_array(key, files):
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 256, (20, 4, 5, 3)).astype(np.uint8)
    rows = rng.permutation(20)[:12]
    expected, images = whole[rows], OnDisk(np.array_split(whole, files), rows)
    found = images[KEYS[key]]
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8
    assert np.array_equal(found, expected[KEYS[key]])
    assert images.shape == expected.shape and images.nbytes == expected.nbytes
    assert np.array_equal(np.asarray(images), expected)
    with pytest.raises(IndexError):
        images[12]


def test_some_of_it_and_two_of_it_are_on_disk_too(monkeypatch):
    whole = np.arange(10 * 12, dtype=np.uint8).reshape(10, 2, 2, 3)
    images = OnDisk([whole])
    some = only(only(images, np.arange(10) != 3), [8, 0, 2])
    assert is_on_disk(some) and np.array_equal(some, whole[[9, 0, 2]])
    both = together(some, images)
    assert is_on_disk(both) and np.array_equal(both, np.concatenate([whole[[9, 0, 2]], whole]))
    monkeypatch.setattr("cifar_lab.data.on_disk.PIECE_BYTES", 30)
    assert [len(piece) for piece in pieces(images, 4)] == [4, 4, 2]
    assert [len(piece) for piece in pieces(whole, 4)] == [10]
    assert np.array_equal(list(images), whole)
    assert data.picture_digests(images) == data.picture_digests(whole)


# --- a folder of pictures ---


def divided(tmp_path):
    """train/, val/ and test/, with pictures that are in two of them, twins, and a damaged one."""
    root = tmp_path / "photos"
    for seed, name in enumerate(("train", "val", "test")):
        fill(root / name, 6, seed)
    copies = {"train/a/x.png": "test/a/1.png", "val/b/x.png": "test/b/0.png",
              "train/b/x.png": "val/b/2.png", "train/a/y.png": "train/a/0.png"}  # fmt: skip
    for copy, original in copies.items():
        (root / copy).write_bytes((root / original).read_bytes())
    (root / "train" / "a" / "z.png").write_bytes(b"words")
    return root


def whole(tmp_path):
    root = fill(tmp_path / "photos", 10)
    (root / "b" / "x.png").write_bytes((root / "b" / "0.png").read_bytes())
    return root


@pytest.mark.parametrize("made", [whole, divided])
def test_a_folder_on_disk_is_the_same_set(made, tmp_path, place, monkeypatch):
    root, said = made(tmp_path), {"memory": [], "disk": []}
    monkeypatch.setattr("cifar_lab.data.on_disk.PIECE_BYTES", 500)
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    options = {"skip_damaged": made is divided}
    expected = load(root, "memory", notice=said["memory"].append, **options)
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(place))
    monkeypatch.setattr(reading, "AHEAD", 1)
    decoded = []
    read_file = reading.read_file
    monkeypatch.setattr(reading, "read_file", lambda file: decoded.append(file) or read_file(file))
    for known in (False, True):
        said["disk"].clear()
        found = load(root, "disk", notice=said["disk"].append, **options)
        assert_same(found, expected)
        assert said["disk"] == said["memory"]
        assert bool(decoded) != known
        decoded.clear()
    assert load(root, "memory", **options).train_sha256() == expected.train_sha256()
    assert not decoded  # from the same file
    Image.new("RGB", (9, 9)).save(next(root.rglob("a/1.png")))
    again = load(root, "disk", **options)
    assert len(decoded) == 1
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    assert_same(again, load(root, "memory", **options))


def test_limited_and_labelled_ones_too(tmp_path, place):
    root = fill(tmp_path / "photos", 10)
    found, expected = (data.limited(load(root, where), 8, 1) for where in ("disk", "memory"))
    assert_same(found, expected)
    found, expected = (
        data.read_labelled_folder(root, SHAPE, data_in=where) for where in ("disk", "memory")
    )
    assert is_on_disk(found[0][0]) and np.array_equal(found[0][0], expected[0][0])
    assert found[0][1].tolist() == expected[0][1].tolist() and found[1] == expected[1]


def test_what_takes_over_a_quarter_of_the_free_memory_stays_on_disk(tmp_path, place, monkeypatch):
    root, lines = fill(tmp_path / "photos", 10), []
    size = 20 * 8 * 8 * 3
    for free, on_disk in ((4 * size, False), (None, False), (4 * size - 1, True)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        lines.clear()
        dataset = load(root, "auto", notice=lines.append)
        assert is_on_disk(dataset.train_images) == on_disk
        told = [line for line in lines if "over a quarter of the 15.4 KB of memory" in line]
        assert len(told) == on_disk and len(lines) == 1 + on_disk
    assert f"{root}: 20 images take 3.8 KB" in told[0]
    assert not is_on_disk(load(root, "memory").train_images)
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    assert not is_on_disk(load(root, "auto", notice=lines.append).train_images)
    assert "held in memory, for there is no cache" in lines[-2]
    monkeypatch.setattr(memory, "available", lambda: size - 1)
    with pytest.raises(InputError, match="3.8 KB, over .*CIFAR_LAB_CACHE is off"):
        load(root, "auto")
    monkeypatch.setenv("CIFAR_LAB_DATA_IN", "disk")
    with pytest.raises(InputError, match="are to be on disk: CIFAR_LAB_CACHE is off"):
        load(root, None)
    monkeypatch.setenv("CIFAR_LAB_DATA_IN", "memory")
    assert not is_on_disk(load(root, None).train_images)
    monkeypatch.setenv("CIFAR_LAB_DATA_IN", "there")
    with pytest.raises(InputError, match="CIFAR_LAB_DATA_IN: must be .*, received 'there'"):
        load(root, None)
    with pytest.raises(InputError, match="must be one of auto, memory, disk, received 'ram'"):
        load(root, "ram")


def test_free_memory_is_told():
    free = memory.available()
    assert free is not None and 1 << 24 < free < 1 << 50
    words = [memory.in_words(n) for n in (0, 999, 1000, 123_400, 3_100_000_000, 5e12)]
    assert words == ["0 bytes", "999 bytes", "1.0 KB", "123 KB", "3.1 GB", "5000 GB"]


# --- what goes wrong ---


def listed(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "kill"])
def test_a_disk_that_fails_at_any_write_leaves_what_was_there(kind, tmp_path, place):
    """One line; what was kept before is there still; the next time all is well."""
    root = fill(tmp_path / "photos", 50)
    expected = load(root, "memory")
    Image.new("RGB", (9, 9)).save(root / "a" / "1.png")  # so that the file is made anew
    before, at, done = listed(place), 0, False
    assert len(before) == 1
    while not done:
        error = None
        with faults.failing(faults.Disk(place, at, kind)) as disk:
            try:
                load(root, "disk")
            except (InputError, faults.Killed) as raised:
                error = raised
        done = at >= len(disk.seen)
        if isinstance(error, InputError):
            assert str(error).startswith(f"{place}: images on disk cannot be kept there (")
            assert "they take 19.2 KB; CIFAR_LAB_CACHE names another folder" in str(error)
            assert listed(place) == before
        elif not done and error is not None:
            assert {k: v for k, v in listed(place).items() if k in before} == before or (
                len(listed(place)) == 1  # it was renamed already
            )
        at += 1
        now = load(root, "disk")
        assert [p.suffix for p in place.iterdir()] == [cache.ENDING]
        assert now.train_sha256() != expected.train_sha256()
        for path in place.iterdir():
            path.unlink()
        for name, content in before.items():
            (place / name).write_bytes(content)
    assert at > 7


def test_a_full_cache_is_one_line_of_the_command(tmp_path, place, monkeypatch):
    root = fill(tmp_path / "photos", 10)
    place.mkdir()
    (place / "x.pictures").write_bytes(b"kept")
    command = ["train.py", "cifar10-74", "--data", root, "--output", tmp_path / "out"]
    with faults.failing(faults.Disk(place, 1)):
        done = run_here(*command, "--data-in", "disk")
    assert_refused(done, f"{place}: images on disk cannot be kept there (No space left on device)",
                   "CIFAR_LAB_DATA_IN=memory", output=tmp_path / "out")  # fmt: skip
    free = os.statvfs(place)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("", (), {"free": 999}))
    done = run_here(*command, "--data-in", "disk")
    assert_refused(done, "(999 bytes free): they take 61.4 KB", output=tmp_path / "out")
    assert free.f_bavail and listed(place) == {"x.pictures": b"kept"}
    done = run_here(*command, "--data-in", "ram")
    assert_refused(done, "--data-in", "'ram'", output=tmp_path / "out")


def test_an_interruption_keeps_what_was_read(tmp_path, place, monkeypatch):
    root, decoded = fill(tmp_path / "photos", 10), []
    decode = reading.decode

    def interrupted(*args):
        decoded.append(1)
        if len(decoded) == 12:
            raise KeyboardInterrupt
        return decode(*args)

    with monkeypatch.context() as patched:
        patched.setattr(reading, "decode", interrupted)
        patched.setattr(reading, "cores", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            load(root, "disk")
        assert [p.suffix for p in place.iterdir()] == [cache.ENDING]
        decoded[:] = [1] * 20
        found = load(root, "disk")
        assert len(decoded) == 20 + 9
    monkeypatch.setenv("CIFAR_LAB_CACHE", "off")
    assert_same(found, load(root, "memory"))


def test_large_files_do_not_crowd_out_the_others(tmp_path, place, monkeypatch):
    root = fill(tmp_path / "photos", 10)
    monkeypatch.setattr(cache, "MAX_BYTES", 50_000)
    monkeypatch.setattr(cache, "LARGE_BYTES", 30_000)
    small = data.load(str(root), input_shape=(4, 4, 3), data_in="memory")
    data.load(str(root), input_shape=(32, 32, 3), data_in="disk")  # 61 KB
    assert len(list(place.iterdir())) == 2 and len(small.train_labels)
    (large,) = [p for p in place.iterdir() if p.stat().st_size > 30_000]
    (place / "killed.part").write_bytes(b"x")
    for path, days in ((large, 31), (place / "killed.part", 2)):
        past = path.stat().st_mtime - days * 86400
        os.utime(path, (past, past))
    data.load(str(root), input_shape=(24, 24, 3), data_in="disk")
    sizes = sorted(p.stat().st_size for p in place.iterdir())
    assert len(sizes) == 2 and sizes[0] < 10_000 and 30_000 < sizes[1] < 50_000


# --- the embedded set, of any size ---


def test_as_many_embedded_pictures_as_one_likes(place, monkeypatch):
    monkeypatch.setattr(many, "BLOCK", 20)
    monkeypatch.setattr(many, "ALONE", 60)
    usual = synthetic.load
    monkeypatch.setattr(synthetic, "load", lambda train, dials: usual(train, 30, dials=dials))
    fewer, more = (data.load(f"synthetic:images={n}", test_only=False) for n in (50, 90))
    assert fewer.train_images.shape == (50, 32, 32, 3) and len(more.train_labels) == 90
    assert np.array_equal(fewer.train_images[:40], more.train_images[:40])
    assert np.bincount(fewer.train_labels[:40]).tolist() == [4] * 10
    assert len(data.picture_digests(more.train_images)) == len(
        set(data.picture_digests(more.train_images))
    )
    monkeypatch.setattr(synthetic, "draw", None)  # from here on nothing is drawn
    assert_same(data.load("synthetic:images=50", data_in="disk"), fewer)
    some = data.load("synthetic:star,disc,images=50", data_in="disk")
    assert is_on_disk(some.train_images) and len(some.train_labels) == 11


# --- a set that is published ---


def test_a_published_set_that_is_large_at_its_size_is_left_on_disk(fashion, place, monkeypatch):
    """28 x 28 in the file, 64 x 64 x 3 in training: what counts is what training needs."""
    lines, shape = [], (64, 64, 3)
    expected = data.load("fashion-mnist", str(fashion), shape, data_in="memory")
    monkeypatch.setattr("cifar_lab.data.sets._PIECE", 30)
    monkeypatch.setattr(memory, "available", lambda: 6_000_000)
    assert not is_on_disk(data.load("fashion-mnist", str(fashion), notice=lines.append).test_images)
    assert not lines
    found = data.load("fashion-mnist", str(fashion), shape, lines.append)
    assert_same(found, expected)
    (line,) = lines
    assert line.startswith("fashion-mnist: 270 images take 3.3 MB, over a quarter of the 6.0 MB of")
    assert len(list(place.iterdir())) == 2
    some = data.load("fashion-mnist:Bag,Coat", str(fashion), shape, data_in="disk")
    assert_same(some, data.load("fashion-mnist:Bag,Coat", str(fashion), shape, data_in="memory"))
