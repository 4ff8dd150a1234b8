"""What watches a training: rows in a file, Keras callbacks by name; they change nothing."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import cifar_lab
from cifar_lab import callbacks, history
from cifar_lab.errors import InputError
from cifar_lab.training import Plan, Trainer, run
from cifar_lab.training.guarded import Guarded
from support import assert_refused, run_here, run_json

OWN = """
import keras

seen = []


class Watcher(keras.callbacks.Callback):
    def __init__(self, word="x"):
        super().__init__()
        seen.append(["made", word])

    def on_train_begin(self, logs=None):
        seen.append(["begin", self.params["epochs"]])

    def on_epoch_end(self, epoch, logs=None):
        print("a line of its own")
        seen.append([epoch, sorted(logs), type(self.model).__name__])

    def on_train_end(self, logs=None):
        seen.append(["end"])


class Batches(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        seen.append(["batch", batch, sorted(logs)])


class Failing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append(["failing", epoch])
        raise OSError(28, "no space")


class Meddler(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs.clear()
        self.model.stop_training = True
        for weight in self.model.trainable_weights:
            weight.assign(weight * 0)
        self.model.optimizer.learning_rate = 5.0


def factory():
    return Watcher("made by a function")


def broken():
    raise RuntimeError("call init() first")


def stopping():
    return keras.callbacks.EarlyStopping()


def strange():
    return 3


number = 3
"""


@pytest.fixture
def own(tmp_path):
    """A file with callbacks."""
    path = tmp_path / "watch.py"
    path.write_text(OWN)
    return path


def small(output, *more):
    words = ("mnist-logistic", "--data", "synthetic:disc,ring", "--epochs", 3, "--limit", 200)
    return *words, "--set", "input_shape=[32,32,3]", "--output", output, *more


def seen_by(own):
    return cifar_lab.networks.load_file(own).seen


def weights_of(bundle):
    return cifar_lab.load(bundle).probabilities(np.zeros((1, 32, 32, 3), np.uint8)).tolist()


def rows(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


# --- a row an epoch ---


def test_the_log_grows_with_the_training_and_a_resumed_run_doubles_no_epoch(
    tmp_path, own, monkeypatch
):
    log, out = tmp_path / "new" / "log.csv", tmp_path / "out"
    grown = []
    add = history.Log.add

    def adding(self, row):
        add(self, row)
        grown.append(len(rows(log)))
        if len(grown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(history.Log, "add", adding)
    done = run_here("train.py", *small(out, "--csv-log", log))
    assert done.returncode == 130 and grown == [1, 2]
    begun = log.read_text()
    words = (*small(out, "--csv-log", log, "--resume"), "--callback", f"{own}:Watcher")
    done = run_here("train.py", *words)
    assert done.returncode == 0, done.stderr
    assert log.read_text().startswith(begun) and [r["epoch"] for r in rows(log)] == ["1", "2", "3"]
    assert log.read_text() == (out / "history.csv").read_text()
    assert [row[0] for row in seen_by(own)] == ["made", "begin", 2, "end"]  # the last epoch alone
    assert json.loads((out / "card.json").read_text())["callbacks"] == ["watch.py:Watcher"]
    # of a run that was finished before the log holds all of it too
    log.unlink()
    assert run_here("train.py", *small(out, "--csv-log", log, "--resume")).returncode == 0
    assert log.read_text() == (out / "history.csv").read_text()


def test_a_log_that_is_in_step_is_gone_on_with_another_is_replaced(tmp_path):
    row = dict.fromkeys(history.FIELDS, 1)
    log = history.Log(tmp_path / "log.csv")
    log.begin(history.as_csv([row]))
    number = log.path.stat().st_ino
    log.add({**row, "epoch": 2})
    log.begin(history.as_csv([row, {**row, "epoch": 2}, {**row, "epoch": 3}]))
    assert [r["epoch"] for r in rows(log.path)] == ["1", "2", "3"]
    log.begin(history.as_csv([{**row, "loss": 9}]))
    assert [r["loss"] for r in rows(log.path)] == ["9"] and log.path.stat().st_ino == number


def test_a_log_of_each_seed(tmp_path):
    log, out = tmp_path / "log.csv", tmp_path / "out"
    words = small(out, "--csv-log", log, "--seeds", "3:5", "--set", "epochs=1")
    words = [word for word in words if word not in ("--epochs", 3)]
    more = ("--callback", f'keras.callbacks:CSVLogger:{{"filename": "{tmp_path}/k{{seed}}.csv"}}')
    found = run_json("train.py", *words, *more, here=True)
    assert [run["seed"] for run in found["runs"]] == [3, 4]
    for seed in (3, 4):
        assert len(rows(tmp_path / f"log-seed{seed}.csv")) == 1
        (row,) = rows(tmp_path / f"k{seed}.csv")
        assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} <= set(row)


def test_a_log_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("a poem\n")
    (tmp_path / "old.csv").write_text(history.as_csv([]))
    for log, words in (
        (tmp_path, ["--csv-log", "is a folder"]),
        (tmp_path / "file" / "log.csv", ["--csv-log", "cannot be written"]),
        (tmp_path / "file", ["--csv-log", "another file", "'a poem'"]),
        (tmp_path / "old.csv", ["--csv-log", "exists", "--overwrite", "--resume"]),
        ("", ["--csv-log", "file"]),
    ):
        assert_refused(run_here("train.py", *small(tmp_path / "out", "--csv-log", log)), *words)
    assert (tmp_path / "file").read_text() == "a poem\n"
    history.check_log(tmp_path / "old.csv", overwrite=True)


def test_a_disk_that_is_full_ends_the_log_not_the_training(tmp_path):
    def full():
        raise OSError(28, "No space left on device")

    lines, log = [], history.Log(tmp_path / "log.csv")
    working = run._Run(None, tmp_path, "", lines.append, True, False, {}, log)
    working.log_epochs(full)
    assert lines == [f"no more rows in {log.path}: No space left on device"]
    assert working.log is None  # nor is it tried again


# --- callbacks by name ---


def test_names():
    named = callbacks.parse("keras.callbacks:CSVLogger")
    assert (named.place, named.name, named.arguments) == ("keras.callbacks", "CSVLogger", "{}")
    named = callbacks.parse('C:/own/my.py:Logger:{"a": "x:y", "n": [1]}')
    assert (named.place, named.name) == ("C:/own/my.py", "Logger")
    assert named.label == "my.py:Logger" and json.loads(named.arguments)["a"] == "x:y"


@pytest.mark.parametrize(
    "text, words",
    [
        ("keras.callbacks", ["--callback", "must be MODULE:NAME"]),
        ("a:b:c", ["--callback", "must be MODULE:NAME"]),
        ("a:b:{broken", ["--callback a:b", "JSON object"]),
        ("no.such.module:X", ["--callback no.such.module:X", "cannot be imported", "No module"]),
        ("keras.callbacks:Nothing", ["--callback", "has no 'Nothing'"]),
        ("keras.callbacks:CSVLogger", ["--callback", "cannot be made", "filename"]),
        ('keras.callbacks:CSVLogger:{"x": 1}', ["--callback", "cannot be made"]),
        ("keras.layers:Flatten", ["must be a keras.callbacks.Callback, is a Flatten"]),
        ("keras.callbacks:EarlyStopping", ["refused", "patience"]),
        ('keras.callbacks:ModelCheckpoint:{"filepath": "m.keras"}', ["--save-weights"]),
        ("keras.callbacks:ReduceLROnPlateau", ["refused", "schedule"]),
        ("FILE:broken", ["--callback watch.py:broken", "RuntimeError: call init() first"]),
        ("FILE:stopping", ["watch.py:stopping", "EarlyStopping is refused"]),
        ("FILE:strange", ["watch.py:strange", "is a int"]),
        ("FILE:number", ["watch.py:number", "must be a class or a function"]),
        ("no/such.py:X", ["--callback such.py:X", "there is no such file"]),
    ],
)
def test_wrong_ones_are_refused_before_training(text, words, own, tmp_path):
    text = text.replace("FILE", str(own))
    done = run_here("train.py", *small(tmp_path / "out", "--callback", text))
    assert_refused(done, *words, output=tmp_path / "out")


def test_what_they_see_and_that_nothing_changes(own, tmp_path):
    plain = run_json("train.py", *small(tmp_path / "plain"), here=True)
    names = ("Watcher", "factory", "Failing", "Meddler", "Batches")
    words = [word for name in names for word in ("--callback", f"{own}:{name}")]
    words[1] += ':{"word": "told"}'
    done = run_here("train.py", *small(tmp_path / "watched", *words, "--json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # what they print goes elsewhere
    assert done.stderr.count("a line of its own") == 6
    assert found["val_accuracy"] == plain["val_accuracy"]
    assert weights_of(tmp_path / "watched") == weights_of(tmp_path / "plain")
    rows = [
        {k: v for k, v in row.items() if k != "seconds"}
        for bundle in ("plain", "watched")
        for row in csv.DictReader((tmp_path / bundle / "history.csv").read_text().splitlines())
    ]
    assert rows[:3] == rows[3:]

    seen = seen_by(own)
    assert seen[:2] == [["made", "told"], ["made", "made by a function"]]
    logs = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
    assert [row for row in seen if row[0] in ("begin", "end")] == [["begin", 3]] * 2 + [["end"]] * 2
    assert [row[1:] for row in seen if row[0] in (0, 1, 2)] == [[logs, "Functional"]] * 6
    assert [row for row in seen if row[0] == "failing"] == [["failing", 0]]  # then it was dropped
    batches = [row for row in seen if row[0] == "batch"]
    assert len(batches) == 3 and batches[0][2] == ["accuracy", "loss"]

    for said in (
        "callback watch.py:Failing: on_epoch_end failed (OSError: no space); it is dropped",
        "callback watch.py:Meddler: asked for the end of training: not heard",
        "callback watch.py:Meddler: changed the network or its optimizer: undone",
    ):
        assert done.stderr.count(said) == 1, done.stderr
    card = json.loads((tmp_path / "watched" / "card.json").read_text())
    assert card["callbacks"] == sorted(f"watch.py:{name}" for name in names)
    assert "callbacks" not in json.loads((tmp_path / "plain" / "card.json").read_text())


# --- the guard, on each way to train ---


class Zeroing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        for weight in self.model.trainable_weights:
            weight.assign(weight * 0)
        keras.utils.set_random_seed(7)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend is enough in this process"
)
def test_weights_that_a_callback_wrote_are_undone():
    dataset = cifar_lab.load_data("synthetic:disc,ring")
    recipe = cifar_lab.Recipe(epochs=2, builder="linear", keep="last", data="synthetic:disc,ring")
    found = []
    for meddles in (False, True):
        lines = []
        trainer = Trainer(Plan.of(recipe, cifar_lab.data.limited(dataset, 200, 0)))
        guards = [Guarded(Zeroing(), "it", trainer, lines.append)] if meddles else []
        watchers = trainer.watchers(lambda line: None, *guards)
        watchers.begin()
        for _ in range(2):
            trainer.run_epoch(watchers)
        watchers.end()
        found.append(trainer.values())
    undone = "callback it: changed the network or its optimizer: undone; the recipe decides the "
    assert lines == [f"{undone}result"]  # once
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_only_hooks_that_it_has_are_hooks():
    """Keras waits for each step's figures where a callback wants to see batches."""
    guard = Guarded(Zeroing(), "it", None, print)
    assert guard.on_train_batch_end._is_default and guard.on_test_batch_begin._is_default
    assert not hasattr(guard.on_epoch_end, "_is_default")


# --- from Python ---


def test_from_python(own, tmp_path):
    told = []

    class Mine(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            told.append((epoch, logs["learning_rate"]))

    card = cifar_lab.train(
        cifar_lab.Recipe(builder="linear", epochs=2, data="synthetic:disc,ring"),
        limit=100,
        output=tmp_path / "out",
        csv_log=tmp_path / "log.csv",
        callbacks=[Mine(), f"{own}:Watcher"],
        notice=None,
    )
    assert [epoch for epoch, _ in told] == [0, 1] and told[0][1] == pytest.approx(0.001)
    assert len(rows(tmp_path / "log.csv")) == 2
    assert card["callbacks"][0].endswith("Mine") and card["callbacks"][1] == "watch.py:Watcher"
    for wrong in ("a:b", [3], [keras.callbacks.EarlyStopping()], ["x"]):
        with pytest.raises(InputError, match="callback"):
            cifar_lab.train("cifar10-74", output=tmp_path / "other", callbacks=wrong)
