"""Epochs as compiled programs, on JAX: they are the epochs of Keras' `fit`."""

import json
import subprocess
import sys

import pytest

from cifar_lab import data, ladder, training
from cifar_lab.data import synthetic
from support import (
    COMPILED_QUICKLY,
    ROOT,
    assert_refused,
    command_env,
    run,
    run_here,
    run_json,
    write_fashion,
)

# Python code: two trainers of one recipe, by Keras' `fit` and scanned
BEGINNING = """
from pathlib import Path
import keras
import numpy as np
from cifar_lab import data, ladder, training
from cifar_lab import recipe as recipes
from cifar_lab.data import synthetic

dataset = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(150, 10))

def recipe_of(rung, **fields):
    return recipes.changed(ladder.get(rung).recipe, fields, "test")

def Trainer(recipe, seed=0, settles=False, **options):
    trainer = training.Trainer(training.Plan.of(recipe, dataset, seed, **options))
    trainer.settles = settles
    return trainer

def assert_same_epochs(recipe, settles=False):
    "130 images in batches of 32, two batches a call: two calls and the rest."
    ours = Trainer(recipe, settles=settles, scanned=True, steps_per_execution=2)
    before = ours.values()
    ours.compile_step()
    assert all((a == b).all() for a, b in zip(before, ours.values(), strict=True))
    programs = {}
    fits = Trainer(recipe, settles=settles, scanned=False)
    for epoch in range(recipe.epochs):
        phase = ours.phase_of(epoch)
        ours.compile_step()
        programs.setdefault(phase, set(ours.scanned[phase]._programs))
        row, theirs = ours.run_epoch(), fits.run_epoch()
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            np.testing.assert_allclose(row[name], theirs[name], rtol=1e-5, err_msg=name)
    for variable, a, b in zip(ours._variables(), ours.values(), fits.values()):
        size = max(1e-7, abs(b).max())  # an element may be a difference of large ones
        np.testing.assert_allclose(a / size, b / size, atol=1e-5, err_msg=variable.path)
    for a, b in zip(ours.kept or [], fits.kept or [], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for phase, compiled in programs.items():
        assert set(ours.scanned[phase]._programs) == compiled  # and nothing after it
    return ours, before
"""
PLAIN = """
recipe = recipe_of("cifar10-88", epochs=2, batch_size=32, class_weight="balanced",
    builder_options={"filters": [4], "dropout": [0.3], "convolutions": 1},
    augmentation={"alternating_flip": True, "crop_padding": 2, "mixup_alpha": 0.4,
                  "cutmix_alpha": 1.0})
"""


def run_on_jax(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=command_env(
            KERAS_BACKEND="jax",
            XLA_FLAGS=COMPILED_QUICKLY,
            PYTHONPATH=ROOT,
            JAX_COMPILATION_CACHE_DIR="cache",
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0,
        ),
    )
    assert done.returncode == 0, done.stderr


def test_the_default_follows_the_device():
    recipe = ladder.get("cifar10-90").recipe
    dataset = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(50, 10))
    assert training.Plan.of(recipe, dataset).scanned is False
    with pytest.raises(ValueError, match="scanned: must be False"):
        training.Plan.of(recipe, dataset, scanned=True)


def test_an_epoch_is_that_of_keras_fit(tmp_path):
    """Adam, dropout, batch normalisation, augmentation, class weights, mixed images, a last batch
    of 2. Then:
    what callbacks see, the end that one asks for, resumption, and the memory of a call."""
    pytest.importorskip("jax")
    code = f"""{BEGINNING}{PLAIN}
first, before = assert_same_epochs(recipe, settles=True)

# resumption, bit for bit, and by the programs of another seed in JAX's cache
def compiled():
    return sorted(p.name for p in Path("cache").glob("jit__training*-cache"))
programs = compiled()
assert len(programs) == 2, programs
second = Trainer(recipe, seed=9, settles=True, scanned=True, steps_per_execution=2)
second.plan = first.plan
whole = first.values()
first.assign(before)
first.history = []
first.run_epoch()
first.save_state("state.npz", {{}})
second.load_state("state.npz")
second.run_epoch()
assert compiled() == programs
assert all((a == b).all() for a, b in zip(whole, second.values(), strict=True))

# callbacks
seen = []
class Watching(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        seen.append("epoch")
    def on_train_batch_begin(self, batch, logs=None):
        seen.append(batch)
    def on_train_batch_end(self, batch, logs=None):
        seen.append((batch, sorted(logs)))
        self.model.stop_training = self.stop
    def on_test_batch_end(self, batch, logs=None):
        seen.append("validation")
    def on_epoch_end(self, epoch, logs=None):
        seen.append(sorted(logs))
watching = Watching()
watching.stop = False
watchers = first.watchers(lambda line: None, watching)
watchers.begin()
first.run_epoch(watchers)
names = ["accuracy", "loss"]
both = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
batches = [0, (1, names), 2, (3, names), 4, (4, names)]
assert seen == ["epoch", *batches, "validation", both], seen
seen.clear()
watching.stop = True
first.fit(first.order(0), 0, watchers)
assert seen[:3] == ["epoch", 0, (1, names)] and (3, names) not in seen and first.stopped

# no call copies the images
[scanned] = first.scanned.values()
rows = np.zeros((2, 32), "int32")
program, state, fixed = scanned._train_program(rows)
memory, images = program.memory_analysis(), first.plan.dataset.train_images.nbytes
state = sum(v.nbytes for part in state for v in part)
assert memory.argument_size_in_bytes > images + state
assert state <= memory.alias_size_in_bytes and memory.output_size_in_bytes < state + 1000
"""
    run_on_jax(code, tmp_path)


@pytest.mark.slow
def test_every_kind_of_epoch_is_that_of_keras_fit(tmp_path):
    """Whitening, Muon, small images, sharpness, means of weights; the last layer alone; bfloat16
    and float16 go through."""
    pytest.importorskip("jax")
    code = f"""{BEGINNING}{PLAIN}
assert_same_epochs(recipe_of("cifar10-94", epochs=4, batch_size=32,
    builder_options={{"widths": [4, 8]}}, small_images=[[0.5, 16]],
    sharpness_radius=0.02, sharpness_share=0.5, swa_share=0.45, swa_epochs=1))

base = recipe_of("cifar10-90", epochs=1, batch_size=32, builder_options={{"widths": [4, 8]}},
    small_images=[])
training.train(base, dataset, "base", rung="base")
assert_same_epochs(recipes.changed(base, {{"start": "base", "epochs": 3, "head_share": 0.34,
    "fine_rate": 0.1}}, "test"))

for precision in ("mixed_bfloat16", "mixed_float16"):
    trainer = Trainer(recipe, scanned=True, precision=precision)
    trainer.compile_step()
    assert np.isfinite(trainer.run_epoch()["val_loss"])
"""
    run_on_jax(code, tmp_path)


WATCHED = """
from cifar_lab.training.guarded import Guarded

seen = []

class Watcher(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        seen.append("begin")

    def on_train_batch_end(self, batch, logs=None):
        seen.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        seen.append(sorted(logs))
        for weight in self.model.trainable_weights:
            weight.assign(weight * 0)
        self.model.stop_training = True

    def on_train_end(self, logs=None):
        seen.append("end")

def trained(watches):
    trainer, lines = Trainer(recipe, scanned=True, steps_per_execution=2), []
    trainer.compile_step()
    guards = [Guarded(Watcher(), "it", trainer, lines.append)] if watches else []
    watchers = trainer.watchers(lines.append, *guards)
    watchers.begin()
    while not (trainer.done or trainer.stopped):
        trainer.run_epoch(watchers)
    watchers.end()
    return trainer, lines

(plain, _), (watched, lines) = trained(False), trained(True)
for a, b in zip(plain.values(), watched.values(), strict=True):
    np.testing.assert_array_equal(a, b)
logs = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
epoch = [1, 3, 4, logs]  # two calls of two steps, and the rest
assert seen == ["begin", *epoch, *epoch, "end"], seen
assert sum("not heard" in line for line in lines) == 1, lines
assert sum("undone" in line for line in lines) == 1, lines
"""


@pytest.mark.slow  # half a minute of compilation; the guard itself is in test_callbacks.py
def test_callbacks_of_a_users_own_watch_scanned_epochs_too(tmp_path):
    run_on_jax(BEGINNING + PLAIN + WATCHED, tmp_path)


# --- all epochs as one program ----------------------------------------------------------------

WHOLE = """
from cifar_lab.training.one_program import OneProgram

def assert_same_training(recipe, settles=True):
    ours = Trainer(recipe, settles=settles, scanned=True, steps_per_execution=2)
    before = ours.values()
    whole = OneProgram(ours)
    whole.compile()
    assert all((a == b).all() for a, b in zip(before, ours.values(), strict=True))
    assert whole.run() is ours.history and ours.done
    fits = Trainer(recipe, settles=settles, scanned=False)
    for row in ours.history:
        theirs = fits.run_epoch()
        assert row["epoch"] == theirs["epoch"] and row["seconds"] > 0
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            np.testing.assert_allclose(row[name], theirs[name], rtol=1e-5, err_msg=name)
    ends = zip(ours.bare_network().get_weights(), fits.bare_network().get_weights(), strict=True)
    for a, b in ends:
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1e-3, abs(b).max()))
    assert ours.chosen_epoch()["epoch"] == fits.chosen_epoch()["epoch"]
    return ours
"""


def test_a_training_as_one_program(tmp_path):
    """It is that of `fit`: augmented, of the best epoch, with a rest of a batch, unsettled too."""
    run_on_jax(
        BEGINNING
        + WHOLE
        + """
recipe = recipe_of("cifar10-88", epochs=2, batch_size=32, keep="best",
    builder_options={"filters": [4], "dropout": [0.3], "convolutions": 1})
ours = assert_same_training(recipe, settles=False)
assert ours.kept is not None
""",
        tmp_path,
    )


@pytest.mark.slow
def test_phases_as_one_program(tmp_path):
    """Smaller images first, Muon, a sharpness-aware end."""
    run_on_jax(
        BEGINNING
        + WHOLE
        + """
recipe = recipe_of("cifar10-94", epochs=4, batch_size=16, sharpness_share=0.3,
    builder_options={"widths": [4, 8, 8], "convolutions": 2, "residual": False})
ours = assert_same_training(recipe)
assert [(p.side, p.sharpness_aware) for p in ours.plan.phases] == [
    (20, False), (24, False), (None, False), (None, True)]
""",
        tmp_path,
    )


@pytest.mark.parametrize(
    "rung, fields, words",
    [
        ("cifar10-96", {}, "swa_share asks for work between epochs"),
        ("cifar10-90", {"patience": 2, "keep": "best", "small_images": []}, "patience asks"),
        ("cifar10-88", {"augmentation": {"mixup_alpha": 0.4}}, "augmentation asks"),
        ("cifar10-88", {"augmentation_engine": "ImageDataGenerator"}, "augmentation_engine asks"),
    ],
)
def test_what_cannot_be_one_program(rung, fields, words, monkeypatch):
    from cifar_lab import backend
    from cifar_lab import recipe as recipes
    from cifar_lab.errors import InputError
    from cifar_lab.training import one_program

    recipe = recipes.changed(ladder.get(rung).recipe, fields, "test")
    with pytest.raises(InputError, match="`one_program`: needs KERAS_BACKEND=jax"):
        one_program.refuse(recipe)
    monkeypatch.setattr(backend, "is_jax", lambda: True)
    with pytest.raises(InputError, match=words):
        one_program.refuse(recipe)
    one_program.refuse(ladder.get("cifar10-94").recipe)


def test_the_command_refuses_one_program_without_jax(tmp_path):
    done = run_here(
        *("train.py", "cifar10-90", "--data", "synthetic", "--limit", 50, "--one-program"),
        *("--output", tmp_path / "out"),
    )
    assert_refused(done, "--one-program: needs KERAS_BACKEND=jax", output=tmp_path / "out")


@pytest.mark.slow
def test_the_command_trains_one_program(tmp_path):
    """Its bundle is that of the training epoch by epoch; a finished one is finished."""
    args = (
        "train.py",
        "fashion-mnist-mlp",
        "--data-dir",
        write_fashion(tmp_path / "fashion-mnist").parent,
    )
    args += ("--epochs", 2)
    env = {"KERAS_BACKEND": "jax"}
    one = run_json(*args, "--output", tmp_path / "one", "--one-program", **env)
    two = run_json(*args, "--output", tmp_path / "two", **env)
    cards = [json.loads((tmp_path / name / "card.json").read_text()) for name in ("one", "two")]
    assert [card.get("one_program") for card in cards] == [True, None]
    assert one["test_accuracy"] == two["test_accuracy"]
    assert one["val_accuracy"] == pytest.approx(two["val_accuracy"])
    again = run_json(*args, "--output", tmp_path / "one", "--one-program", "--resume", **env)
    assert again["test_accuracy"] == one["test_accuracy"]
    refused = run(*args, "--output", tmp_path / "x", "--one-program", "--tensorboard", "b", **env)
    assert_refused(refused, "--tensorboard", "--one-program")
