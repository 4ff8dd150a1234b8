"""Training on images that are not on the device: the same result as if they were."""

import json
import os
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image

from cifar_lab import data, memory, recipe, training
from cifar_lab.data import cache, on_disk
from cifar_lab.errors import InputError
from cifar_lab.training import initialisation
from cifar_lab.training.plan import Plan
from cifar_lab.training.streamed import Feed, ReadAhead
from cifar_lab.training.trainer import Trainer
from support import COMPILED_QUICKLY, ROOT, SMALL_74, assert_refused, command_env, run_here
from support import run_json as run_json_of

SHAPE = (12, 12, 3)
CLASSES = ("a", "b", "c")


def noise(count=150, shape=SHAPE):
    """Images of three classes, uneven in number, told by their brightness."""
    rng = np.random.default_rng(7)
    labels = np.sort(rng.choice(3, count, p=[0.2, 0.3, 0.5]))
    images = rng.integers(0, 120, (count, *shape)) + 60 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def both():
    """The same set in memory and on disk."""
    (images, labels), (test, expected) = noise(), noise(20)
    resident = data.Dataset("noise", CLASSES, images, labels, test, expected)
    # in two files, and in another order there
    where = np.random.default_rng(0).permutation(len(images))
    stored = np.empty_like(images)
    stored[where] = images
    mapped = on_disk.mapped(stored[:70], stored[70:], rows=where)
    return resident, data.Dataset("noise", CLASSES, mapped, labels, on_disk.mapped(test), expected)


def small(**fields):
    small_network = {"builder": "cifar10_cnn", "input_shape": list(SHAPE), "batch_size": 32,
                     "builder_options": {"filters": [4, 4, 4], "hidden_units": 8},
                     "learning_rate": 0.01, "validation_fraction": 0.2}  # fmt: skip
    return recipe.changed(recipe.Recipe(), {**small_network, **fields}, "test")


EVERYTHING = {
    "augmentation": {
        "horizontal_flip": True,
        "width_shift_range": 0.1,
        "rotation_range": 10,
        "mixup_alpha": 0.3,
        "cutmix_alpha": 1.0,
    },
    "class_weight": "balanced",
}


MIXED = {
    "augmentation": {"horizontal_flip": True, "mixup_alpha": 0.3},
    "class_weight": "balanced",
}


def trained(plan, epochs):
    """(values of all variables, history without times)."""
    trainer = Trainer(plan)
    trainer.compile_step()
    for _ in range(epochs):
        trainer.run_epoch()
    return trainer.values(), [
        {k: v for k, v in row.items() if k != "seconds"} for row in trainer.history
    ]


def assert_same(found, expected):
    assert found[1] == expected[1]
    assert len(found[0]) == len(expected[0])
    assert all(map(np.array_equal, found[0], expected[0]))


def weights_of(bundle):
    return keras.saving.load_model(bundle / "model.keras", compile=False).get_weights()


# --- equality ---


def run_of(output, first, second=None):
    """(weights, history, figures) of a run on one set; begun on the first, if there is another,
    stopped in its second epoch, and gone on with on the second."""
    fields, common = small(epochs=3, **MIXED), dict(rung="test", seed=3)

    def stop(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    if second is not None:
        stopper = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(fields, first, output, callbacks=[stopper], **common)
    last = second or first
    card, _ = training.train(fields, last, output, resume=True, **common)
    assert ("streamed" in card["data"]) == on_disk.is_on_disk(last.train_images)
    rows = (output / "history.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].endswith("learning_rate,seconds")
    keys = "val_accuracy", "test_accuracy", "test_loss", "calibration", "data_sha256"
    figures = [row.rpartition(",")[0] for row in rows], *(card[key] for key in keys)
    return weights_of(output), [*figures, card["data"]["test_sha256"]]


def test_a_run_on_disk_gone_on_with_in_memory_is_that_in_memory(tmp_path):
    """Bit for bit."""
    resident, mapped = both()
    weights, figures = run_of(tmp_path / "memory", resident)
    others, found = run_of(tmp_path / "disk", mapped, resident)
    assert all(map(np.array_equal, others, weights)) and found == figures


@pytest.mark.slow
def test_a_run_in_memory_gone_on_with_on_disk_is_that_on_disk(tmp_path):
    resident, mapped = both()
    weights, figures = run_of(tmp_path / "disk", mapped)
    for name, first, second in (("both", resident, mapped), ("disk twice", mapped, mapped)):
        others, found = run_of(tmp_path / name, first, second)
        assert all(map(np.array_equal, others, weights)) and found == figures


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"augmentation": {"alternating_flip": True, "crop_padding": 1}, "keep": "best"},
        {"builder_options": {"widths": [8, 16]}, "builder": "airbench", "whitening": True,
         "small_images": [[0.5, 8]], "keep": "last"},
        {"swa_share": 0.5, "swa_epochs": 1, "keep": "last", "schedule": "cosine"},
        {"sharpness_radius": 0.02, "sharpness_share": 0.5, "keep": "last"},
        {"builder": "mlp", "builder_options": {"hidden_units": [8], "standardize": True}},
    ],
    ids=str,
)  # fmt: skip
def test_recipes_of_all_kinds_are_the_same_streamed(fields):
    resident, mapped = both()
    plans = [Plan.of(small(epochs=4, **fields), dataset, 1) for dataset in (resident, mapped)]
    assert [plan.streamed for plan in plans] == [False, True]
    assert_same(*(trained(plan, 4) for plan in plans))


SAME = """
import sys
sys.path.insert(0, sys.argv[1])
from cifar_lab import backend
backend.start()
from test_streamed import EVERYTHING, Plan, assert_same, both, small, trained
for fields in {}, EVERYTHING:
    plans = [Plan.of(small(epochs=2, **fields), dataset, 1) for dataset in both()]
    assert [plan.streamed for plan in plans] == [False, True]
    assert_same(*(trained(plan, 2) for plan in plans))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_streamed_is_the_same_on(backend):
    pytest.importorskip(backend)
    env = command_env(KERAS_BACKEND=backend, XLA_FLAGS=COMPILED_QUICKLY if backend == "jax" else "")
    command = [sys.executable, "-c", SAME, str(ROOT / "tests")]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_what_a_gpu_has_no_room_for_is_streamed_from_memory(monkeypatch):
    resident, mapped = both()
    size = resident.train_images.nbytes
    for room, streamed in ((None, False), (4 * size, False), (4 * size - 4, True)):
        monkeypatch.setattr(memory, "of_gpu", lambda room=room: room)
        assert Plan.of(small(), resident, 0).streamed == streamed
        assert Plan.of(small(), mapped, 0).streamed


def test_a_line_says_that_a_gpu_has_no_room(tmp_path, monkeypatch):
    resident, _ = both()
    monkeypatch.setattr(memory, "of_gpu", lambda: 90_000)
    lines = []
    linear = small(builder="linear", builder_options={}, epochs=1)
    training.train(linear, resident, tmp_path / "out", rung="test", notice=lines.append)
    assert [
        line for line in lines if "64.8 KB, over a quarter of the GPU's memory: they are" in line
    ]


def test_what_needs_all_images_on_the_device_says_so():
    _, mapped = both()
    fields = {"augmentation_engine": "ImageDataGenerator", "augmentation": {"rotation_range": 3}}
    with pytest.raises(InputError, match=r"augmentation_engine: .* in memory.*\(259 KB\)"):
        Plan.of(small(**fields), mapped, 0)
    with pytest.raises(InputError, match="`one_program`: needs all images on the device"):
        Plan.of(small(), mapped, 0, scanned=True)


# --- batches ---


def test_batches_are_those_of_the_lookup(monkeypatch):
    (resident, mapped), order = both(), np.random.default_rng(5).permutation(150)[:70]
    plan = Plan.of(small(class_weight="balanced"), resident, 0)
    feeds = [Feed(d.train_images, order, 32, plan.targets_of, True) for d in (resident, mapped)]
    for feed in feeds:
        with feed:
            batches = list(feed.read())
            assert [len(y) for _, y in batches] == [32, 32, 6] and feed.count == 3
            index = np.concatenate([x["index"] for x, _ in batches])
            assert index.dtype == np.int32 and index.tolist() == order.tolist()
            pixels = np.concatenate([x["pixels"] for x, _ in batches])
            assert np.array_equal(pixels, resident.train_images[order])
            targets = np.concatenate([y for _, y in batches])
            assert np.array_equal(targets, plan.targets[order])
            assert [len(y) for _, y in feed.read(2)] == [6]
        assert not any(reader._thread.is_alive() for reader in feed._opened)


def test_it_reads_ahead_so_far_and_no_further():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    reader = ReadAhead(items(), 3)
    assert next(reader) == 0
    for _ in range(200):
        if len(taken) == 5:
            break
        time.sleep(0.01)
    time.sleep(0.02)
    assert len(taken) == 5  # one was taken, three wait, one has no room yet
    assert [next(reader) for _ in range(50)] == list(range(1, 51))
    reader.close()
    assert not reader._thread.is_alive() and len(taken) < 60
    with pytest.raises(StopIteration):
        next(reader)


def test_an_error_of_the_reader_is_the_errors_own():
    """Not TensorFlow's, which wraps it; and the thread ends."""
    resident, _ = both()
    plan = Plan.of(small(), resident, 0, streamed=True)
    trainer = Trainer(plan)

    def fail(indices):
        raise MemoryError("no room for a batch")

    object.__setattr__(plan, "targets_of", lambda i: plan.one_hot_of(i) if len(i) < 2 else fail(i))
    before = threading.active_count()
    with pytest.raises(MemoryError, match="no room for a batch"):
        trainer.fit(plan.train_indices, 0, None)
    assert threading.active_count() <= before + 2  # TensorFlow's own may stay


# --- the commands, with bounded memory ---


@pytest.fixture
def most_read(monkeypatch):
    """A list of how many images were read at a time, from disk."""
    counts, read = [], on_disk.OnDisk._read

    def counted(images, rows):
        counts.append(len(rows))
        return read(images, rows)

    monkeypatch.setattr(on_disk.OnDisk, "_read", counted)
    monkeypatch.setattr(on_disk, "PIECE_BYTES", 16 * 32 * 32 * 3)
    return counts


def photos(folder, count):
    """So many pictures, of three classes."""
    for i, (image, label) in enumerate(zip(*noise(count, (32, 32, 3)), strict=True)):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / CLASSES[label] / f"{i}.png")
    return folder


def test_the_commands_never_hold_all_images(tmp_path, most_read, monkeypatch):
    folder, bundle = photos(tmp_path / "photos", 260), tmp_path / "out"
    fields = [*SMALL_74, "--set", "batch_size=32", "--set", "keep=last"]
    command = ["train.py", "cifar10-74", "--data", folder, "--epochs", 1, *fields]
    resident = run_json_of(*command, "--output", tmp_path / "in-memory", here=True)
    assert not most_read
    streamed = run_json_of(*command, "--output", bundle, "--data-in", "disk", here=True)
    assert most_read and max(most_read) <= 64
    for key in ("val_accuracy", "test_accuracy", "test_loss"):
        assert streamed[key] == resident[key]
    assert all(map(np.array_equal, weights_of(bundle), weights_of(tmp_path / "in-memory")))
    expected = run_json_of("evaluate.py", bundle, "--views", 2, here=True)
    monkeypatch.setenv("CIFAR_LAB_DATA_IN", "disk")
    most_read.clear()
    assert run_json_of("evaluate.py", bundle, "--views", 2, here=True) == expected
    assert most_read and max(most_read) <= 256  # a batch


@pytest.mark.slow
def test_a_page_and_a_calibration_hold_little_of_it(tmp_path, most_read, monkeypatch):
    folder, bundle = photos(tmp_path / "photos", 600), tmp_path / "out"
    monkeypatch.setenv("CIFAR_LAB_DATA_IN", "disk")
    fields = [*SMALL_74, "--set", "batch_size=32"]
    done = run_here(
        "train.py", "cifar10-74", "--data", folder, "--epochs", 2, *fields, "--output", bundle
    )
    assert done.returncode == 0, done.stderr
    card = json.loads((bundle / "card.json").read_text())
    assert card["data"]["streamed"] and card["calibration"]
    most_read.clear()
    monkeypatch.setattr("cifar_lab.report.study.SAMPLE", 100)
    done = run_here("report.py", bundle, "--output", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert most_read and max(most_read) < 200  # of 480 train images; the 120 test images at once
    done = run_here("export.py", bundle, "--format", "numpy", "--output", tmp_path / "m.npz")
    assert done.returncode == 0, done.stderr
    exported = json.loads((tmp_path / "m.npz.card.json").read_text())
    assert exported["accuracy"] == card["test_accuracy"]


def test_a_cache_that_goes_away_while_it_trains_is_not_missed(tmp_path, monkeypatch):
    """The files are open; the next run reads the pictures anew."""
    monkeypatch.setenv("CIFAR_LAB_CACHE", str(tmp_path / "cache"))
    folder = photos(tmp_path / "photos", 90)
    dataset = data.load(str(folder), input_shape=(32, 32, 3), data_in="disk")
    digest = dataset.train_sha256()
    for path in (tmp_path / "cache").iterdir():
        assert path.suffix == cache.ENDING
        path.unlink()
    assert dataset.train_sha256() == digest
    again = data.load(str(folder), input_shape=(32, 32, 3), data_in="disk")
    assert again.train_sha256() == digest


def growth(*args):
    command = [sys.executable, str(ROOT / "benchmarks" / "growth.py"), *args]
    done = subprocess.run(command, env=command_env(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_benchmark_measures_both_places(tmp_path):
    lines = growth(
        "--images", "1000", "--rung", "cifar10-softmax", "--steps", "2", "--windows", "2"
    )
    rows = {row["where"]: row for row in map(json.loads, lines)}
    assert [row["streamed"] for row in rows.values()] == [False, True]
    assert rows["memory"]["data_sha256"] == rows["disk"]["data_sha256"]
    for row in rows.values():
        assert row["images"] == 1000 and len(row["rates"]) == 2 and row["images_a_second"] > 0
        assert 5e7 < row["peak_private_bytes"] < 5e9
        assert row["seconds_to_first_step"] > row["seconds_compiling"] > 0
    (tmp_path / "lines.jsonl").write_text("".join(f"{line}\n" for line in lines))
    table = growth("--table", str(tmp_path / "lines.jsonl"))
    assert len(table) == 4 and table[3].startswith("| `cifar10-softmax` | 1,000 | disk | ")


def test_wrong_words_are_refused(tmp_path):
    done = run_here("train.py", "cifar10-74", "--data-in", "ram", "--output", tmp_path / "out")
    assert_refused(done, "--data-in", "'ram'", "disk", output=tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "CIFAR_LAB_DATA_IN", "ram")
        done = run_here("train.py", "cifar10-74", "--data", "synthetic", "--output", tmp_path / "o")
    assert_refused(done, "CIFAR_LAB_DATA_IN", "auto, memory, disk", "'ram'", output=tmp_path / "o")


def test_statistics_of_large_pictures_take_no_more_memory():
    sizes = {shape: initialisation._at_once(np.zeros((2, *shape)), 1000) for shape in (
        (28, 28, 1), (32, 32, 3), (64, 64, 3), (128, 128, 3), (4000, 4000, 3))}  # fmt: skip
    assert list(sizes.values()) == [1000, 1000, 250, 62, 1]
