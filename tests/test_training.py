"""Training: what it computes, that it is reproducible, and that a resumed run is the same run."""

import dataclasses
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from cifar_lab import backend, bundles, data, devices, documents, ladder, training
from cifar_lab import recipe as recipes
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError
from cifar_lab.training import averaging, sharpness
from cifar_lab.training import state as state_file
from cifar_lab.training.trainer import DatasetLookup
from support import (
    COMPILED_QUICKLY,
    ROOT,
    WITHOUT_TENSORFLOW,
    command_env,
    run,
    run_here,
)


def Trainer(recipe, dataset, seed):
    return training.Trainer(training.Plan.of(recipe, dataset, seed))


RECIPE = ladder.get("fashion-mnist-92").recipe


@pytest.fixture
def dataset(fashion):
    return data.load("fashion-mnist", str(fashion))


def small(**fields):
    return recipes.changed(
        RECIPE, {"epochs": 3, "batch_size": 32, "schedule": "constant", **fields}, "test"
    )


# Networks that take a fraction of the time to compile, for what hangs on no layer of the rung's
LINEAR = {"builder": "linear", "builder_options": {}}
DROPPING = {"builder": "mlp", "builder_options": {"hidden_units": [8], "dropout": 0.3}}


def test_lookup_returns_the_images_of_the_indices():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3)).astype(np.uint8)
    out = DatasetLookup(images)(np.array([7, 0, 49, 7], np.int32))
    np.testing.assert_array_equal(np.asarray(out), images[[7, 0, 49, 7]].astype("float32"))


def test_order_is_a_function_of_seed_and_epoch(dataset):
    a, b = Trainer(small(), dataset, 3), Trainer(small(), dataset, 3)
    np.testing.assert_array_equal(a.order(5), b.order(5))
    assert (a.order(5) != a.order(6)).any()
    assert sorted(a.order(5)) == a.plan.train_indices.tolist()
    assert not set(a.plan.train_indices) & set(a.plan.val_indices) and len(a.plan.val_indices) == 20


def test_one_step_golden_value():
    """One epoch of one step of Adam from fixed weights: the loss and the step are those of the
    formulae.

    If this fails, what a step computes has changed: every measured result is in doubt.
    """
    images = np.zeros((20, 28, 28, 1), np.uint8)
    images[::2] = 255
    labels = np.arange(20) % 2
    ds = data.Dataset("golden", ("even", "odd"), images, labels, images, labels)
    recipe = small(
        batch_size=32,
        learning_rate=0.01,
        builder_options={"conv_dropout": 0.0, "hidden_dropout": 0.0},
    )
    trainer = Trainer(recipe, ds, 0)
    for w in trainer.network.weights:
        w.assign(np.full(w.shape, 0.01 if len(w.shape) > 1 else 0.0))
    before = [
        w.numpy() if hasattr(w, "numpy") else np.asarray(w)
        for w in trainer.network.trainable_weights
    ]
    row = trainer.run_epoch()
    assert row["loss"] == pytest.approx(
        math.log(2), abs=1e-6
    )  # both outputs are equal before the step
    output = np.asarray(keras.ops.convert_to_numpy(trainer.network.get_layer("output").kernel))
    # white images are class 0: their features push column 0 up and column 1 down by the learning
    # rate
    np.testing.assert_allclose(output[:, 0] - before[-2][:, 0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(output[:, 1] - before[-2][:, 1], -0.01, rtol=1e-3)
    bias = keras.ops.convert_to_numpy(trainer.network.get_layer("output").bias)
    np.testing.assert_allclose(
        bias, 0.0, atol=2e-3
    )  # classes are balanced but for float noise through Adam


def test_cosine_schedule_ends_at_zero(dataset):
    trainer = Trainer(small(schedule="cosine", epochs=2, **LINEAR), dataset, 0)
    assert float(trainer.model.optimizer.learning_rate) == pytest.approx(0.001)
    rows = [trainer.run_epoch() for _ in range(2)]
    assert rows[0]["learning_rate"] == pytest.approx(0.0005, rel=0.02)
    assert rows[1]["learning_rate"] == pytest.approx(0.0, abs=1e-7)


SMALL = {
    "builder": "airbench",
    "builder_options": {"widths": [8], "convolutions": 1},
    "keep": "last",
}


def test_small_images_come_first_and_share_everything(dataset):
    trainer = Trainer(
        small(epochs=4, small_images=[[0.5, 14], [0.25, 20]], learning_rate=0.02, **SMALL),
        dataset,
        0,
    )
    seen = []
    for epoch in range(4):
        model = trainer.model_of(epoch)
        seen.append(
            next((x.height for x in model.layers if isinstance(x, keras.layers.Resizing)), 28)
        )
        assert model.optimizer is trainer.model.optimizer
        assert {id(v) for v in model.trainable_variables} == {
            id(v) for v in trainer.model.trainable_variables
        }
    assert seen == [14, 14, 20, 28]
    rows = [trainer.run_epoch() for _ in range(4)]
    assert (
        rows[-1]["loss"] < rows[0]["loss"]
        and int(trainer.model.optimizer.iterations) == 4 * trainer.plan.steps_per_epoch
    )
    assert trainer.bare_network().input_shape == (None, 28, 28, 1)


def test_figures_of_small_images_are_those_of_their_epoch(dataset, tmp_path):
    """Keras leaves a fit's history with the model that the callbacks know: here it has several."""
    lines = []
    training.train(
        small(epochs=4, small_images=[[0.5, 14]], learning_rate=0.02, **SMALL),
        dataset,
        tmp_path / "out",
        rung="test",
        notice=lines.append,
    )
    told = [(line.split()[3], line.split()[9]) for line in lines if line.startswith("epoch ")]
    rows = [
        row.split(",") for row in (tmp_path / "out" / "history.csv").read_text().splitlines()[1:]
    ]
    assert (
        told == [(f"{float(row[1]):.4f}", f"{float(row[4]):.4f}") for row in rows]
        and len({row[1] for row in rows}) == 4
    )


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_callback_stops_training_at_either_size(dataset, tmp_path, epoch):
    stopper = keras.callbacks.LambdaCallback()
    stopper.on_epoch_end = lambda e, logs=None: setattr(stopper.model, "stop_training", e == epoch)
    training.train(
        small(epochs=6, small_images=[[0.5, 14]], **SMALL),
        dataset,
        tmp_path / "out",
        rung="test",
        callbacks=[stopper],
    )
    assert len((tmp_path / "out" / "history.csv").read_text().splitlines()) == 1 + epoch + 1


@pytest.mark.parametrize("dirac", [True, False])
def test_first_weights_are_computed_in_the_network_that_trains(dirac):
    """Which may have other layers than the builder's."""
    ds = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(200, 20))
    recipe = recipes.changed(
        ladder.get("cifar10-90").recipe,
        {"dirac": dirac, "builder_options": {"widths": [8, 16]}},
        "test",
    )
    network = Trainer(recipe, ds, 0).network
    for name, passed in {"conv1_1": 8, "conv1_2": 8, "conv2_1": 8, "conv2_2": 16}.items():
        kernel = np.array(network.get_layer(name).get_weights()[0])
        identity = np.zeros_like(kernel[..., :passed])
        identity[1, 1, range(passed), range(passed)] = 1
        assert (kernel[..., :passed] == identity).all() == dirac, name
    white = np.array(network.get_layer("whiten").get_weights()[0])
    np.testing.assert_allclose(white[..., 12:], -white[..., :12], atol=1e-6)


def test_small_images_need_a_network_that_takes_them(dataset):
    with pytest.raises(InputError, match="small_images: fashion_mnist_cnn does not take 14 x 14"):
        Trainer(small(small_images=[[0.5, 14]], keep="last"), dataset, 0)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="an optimizer on JAX takes all weights or none"
)
def test_the_first_layers_stop_learning_for_the_last_epochs(dataset):
    recipe = small(
        epochs=4,
        small_images=[[0.3, 20]],
        learning_rate=0.02,
        freezeout_layers=3,
        freezeout_share=0.5,
        **SMALL,
    )
    trainer = Trainer(recipe, dataset, 0)
    learning = [layer for layer in trainer.core.layers if layer.weights]
    values = []
    for _ in range(4):
        trainer.run_epoch()
        values.append([layer.get_weights() for layer in learning])

    def moved(before, after):
        return [
            any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
            for one, other in zip(before, after, strict=True)
        ]

    assert moved(values[0], values[1]) == [True] * len(learning)
    for before, after in zip(values[1:], values[2:]):
        assert moved(before, after) == [False] * 3 + [True] * (len(learning) - 3)
    assert int(trainer.model.optimizer.iterations) == 4 * trainer.plan.steps_per_epoch
    assert all(layer.trainable for layer in trainer.bare_network().layers)
    with pytest.raises(InputError, match="freezeout_layers: must leave one of the"):
        Trainer(small(freezeout_layers=99), dataset, 0)
    with pytest.raises(InputError, match="freezeout_layers: works on"):
        training.Plan.of(small(freezeout_layers=2), dataset, devices=devices.of("cpu:2"))


def test_the_last_share_of_the_epochs_is_sharpness_aware(dataset):
    recipe = small(
        epochs=5,
        small_images=[[0.8, 14]],
        learning_rate=0.02,
        sharpness_radius=0.02,
        sharpness_share=0.35,
        **SMALL,
    )
    trainer = Trainer(recipe, dataset, 0)
    seen = [trainer.model_of(epoch) for epoch in range(5)]
    assert [isinstance(model, sharpness.SharpnessAware) for model in seen] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert [model.get_layer(trainer.network.name).input_shape[1] for model in seen] == [
        14,
        14,
        14,
        14,
        28,
    ]
    assert all(
        model.optimizer is trainer.model.optimizer and model.radius == 0.02 for model in seen
    )
    rows = [trainer.run_epoch() for _ in range(5)]
    assert (
        rows[-1]["loss"] < rows[0]["loss"]
        and int(trainer.model.optimizer.iterations) == 5 * trainer.plan.steps_per_epoch
    )
    assert type(trainer.bare_network()).__name__ == "Functional"
    short = Trainer(
        dataclasses.replace(recipe, epochs=1), dataset, 0
    )  # one epoch at least, for a rehearsal too
    assert isinstance(short.model_of(0), sharpness.SharpnessAware)


AVERAGED = {
    "swa_share": 0.6,
    "swa_epochs": 1,
    "epochs": 5,
    "learning_rate": 0.02,
    **SMALL,
}  # two epochs, then three cycles of one


def test_the_mean_of_the_weights_at_the_ends_of_cycles_is_saved(dataset):
    recipe = small(batch_size=10**4, whitening=True, label_smoothing=0.1, **AVERAGED)
    trainer, plain = (
        Trainer(recipe, dataset, 0),
        Trainer(dataclasses.replace(recipe, epochs=2, swa_share=0.0, swa_epochs=3), dataset, 0),
    )
    trainer.settles = plain.settles = True  # as with many images: else each epoch renews them
    ends, rows = [], []
    for _ in range(5):
        rows.append(trainer.run_epoch())
        ends.append(trainer.network.get_weights())
    for _ in range(2):
        plain.run_epoch()
    for a, b in zip(
        plain.network.get_weights(), ends[1]
    ):  # what comes before the first cycle knows nothing of it
        np.testing.assert_array_equal(a, b)
    assert [trainer.plan.sets_after(n) for n in range(1, 6)] == [0, 1, 2, 3, 4]
    saved = trainer.bare_network()
    wanted = [np.mean(weights, 0) for weights in zip(*ends[1:])]
    for variable, want in zip(saved.weights, wanted):
        if not variable.name.startswith("moving_"):
            np.testing.assert_allclose(variable, want, rtol=1e-5, atol=1e-6)
    # one batch holds all of the train part: the statistics are those of its features at the mean
    # weights
    norm = saved.get_layer("norm1_1")
    features = keras.Model(saved.input, norm.input).predict(
        dataset.train_images[trainer.plan.train_indices], verbose=0
    )
    np.testing.assert_allclose(norm.moving_mean, features.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, features.var((0, 1, 2)), rtol=1e-3, atol=1e-4)
    stale = wanted[[v.path for v in saved.weights].index(norm.moving_mean.path)]
    assert not np.allclose(norm.moving_mean, stale, rtol=1e-3, atol=1e-4)
    # the last row has the validation figures of what is saved
    output = saved.predict(dataset.train_images[trainer.plan.val_indices], verbose=0)
    target = trainer.one_hot[trainer.plan.val_indices]
    assert rows[-1]["val_accuracy"] == pytest.approx(
        (output.argmax(1) == target.argmax(1)).mean(), abs=1e-6
    )
    smooth = 0.9 * target + 0.1 / target.shape[1]
    assert rows[-1]["val_loss"] == pytest.approx(-(smooth * np.log(output)).sum(1).mean(), rel=1e-4)
    assert trainer.chosen_epoch() is rows[-1]


def test_taking_the_mean_changes_nothing_of_the_training(dataset, monkeypatch):
    recipe = small(
        schedule="triangular",
        sharpness_radius=0.02,
        **{
            **AVERAGED,
            "builder": "mlp",
            "builder_options": {"hidden_units": [8], "dropout": 0.3, "batch_normalization": True},
        },
    )

    def weights():
        trainer = Trainer(recipe, dataset, 0)
        for _ in range(5):
            trainer.run_epoch()
        return trainer.values()

    averaged = weights()
    monkeypatch.setattr(averaging, "take_mean", lambda trainer, epoch: {})
    for a, b in zip(averaged, weights()):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_stops_within_a_cycle_saves_the_mean_so_far(dataset, tmp_path):
    stopper, lines = keras.callbacks.LambdaCallback(), []
    stopper.on_epoch_end = lambda e, logs=None: setattr(stopper.model, "stop_training", e == 5)
    card, _ = training.train(
        small(**{**AVERAGED, "epochs": 7, "swa_epochs": 2}),
        dataset,
        tmp_path / "out",
        rung="test",
        callbacks=[stopper],
        notice=lines.append,
    )
    rows = [
        row.split(",") for row in (tmp_path / "out" / "history.csv").read_text().splitlines()[1:]
    ]
    assert len(rows) == 6 and card["epoch"] == 5 and card["val_accuracy"] == float(rows[4][4])
    assert [line for line in lines if line.startswith("mean of")] == [
        f"mean of 2 sets of weights  val_loss {float(rows[4][3]):.4f}  val_accuracy "
        f"{float(rows[4][4]):.4f}"
    ]
    trainer = Trainer(small(**{**AVERAGED, "epochs": 7, "swa_epochs": 2}), dataset, 0)
    val = trainer.plan.val_indices
    found = (
        bundles.load(tmp_path / "out")[0].predict(dataset.train_images[val], verbose=0).argmax(1)
    )
    assert (found == dataset.train_labels[val]).mean() == pytest.approx(
        card["val_accuracy"], abs=1e-6
    )
    trainer.history = [{"epoch": n} for n in (1, 2)]  # before the first set: the last weights
    assert trainer.chosen_epoch() == {"epoch": 2}
    np.testing.assert_array_equal(
        trainer.bare_network().get_weights()[0], trainer.network.get_weights()[0]
    )
    trainer.history = [{"epoch": n} for n in (1, 2, 3, 4)]
    assert trainer.chosen_epoch() == {"epoch": 3}


def test_what_comes_next_is_compiled_and_no_more(dataset):
    trainer = Trainer(small(epochs=4, small_images=[[0.5, 14]], **SMALL), dataset, 0)
    compiled = []
    trainer.fit = lambda *_, phase, validate: compiled.append(phase)
    trainer.compile_step()
    assert trainer.compiled and compiled == [trainer.phase_of(0)]
    trainer.history = [{}] * 2
    assert not trainer.compiled
    trainer.compile_step()
    trainer.compile_step()
    assert compiled == [trainer.phase_of(0), trainer.phase_of(3)]


def test_compiling_between_epochs_changes_nothing(dataset):
    first = Trainer(small(epochs=4, small_images=[[0.5, 14]], **SMALL), dataset, 0)
    rows = [first.run_epoch() for _ in range(3)]
    other = Trainer(first.plan.recipe, dataset, 0)
    other._compiled.update(other.models)  # each is compiled as it trains
    for row in rows:
        assert other.run_epoch()["loss"] == row["loss"]
    for a, b in zip(first.values(), other.values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "fields",
    [
        DROPPING,
        {"small_images": [[0.5, 14]], **SMALL},
        {"sharpness_radius": 0.02, "epochs": 5, **SMALL},
    ],
)
def test_compiling_changes_nothing(dataset, fields):
    trainer = Trainer(small(**fields), dataset, 0)
    before = trainer.values()
    trainer.compile_step()
    assert trainer.compile_seconds > 0 and trainer.history == []
    for a, b in zip(before, trainer.values()):
        np.testing.assert_array_equal(a, b)


def test_same_seed_same_weights_other_seed_others(dataset):
    def weights(seed):
        trainer = Trainer(small(**DROPPING), dataset, seed)
        trainer.run_epoch()
        return trainer.network.get_weights()

    a, b, c = weights(1), weights(1), weights(2)
    assert all((x == y).all() for x, y in zip(a, b))
    assert any((x != y).any() for x, y in zip(a, c))


@pytest.mark.parametrize(
    "rung, fields",
    [
        ("fashion-mnist-92", {"builder_options": {"filters": [4, 4], "hidden_units": 8}}),
        pytest.param("cifar10-88", {}, marks=pytest.mark.slow),
        pytest.param(
            "cifar10-90",
            {
                "small_images": [[0.25, 16], [0.25, 24]],
                "builder_options": {"widths": [8, 16]},
                "sharpness_radius": 0.02,
                "swa_share": 0.4,
                "swa_epochs": 1,
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_state_out_and_in_is_exact(rung, fields, tmp_path):
    """2 epochs, state to a file, a new trainer, 2 more: bit for bit the 4 epochs in one go."""
    recipe = recipes.changed(ladder.get(rung).recipe, {"epochs": 4, **fields}, "test")
    ds = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(200, 20))
    ds = dataclasses.replace(ds, train_images=data.fit_images(ds.train_images, recipe.input_shape))
    whole = Trainer(recipe, ds, 0)
    for _ in range(4):
        whole.run_epoch()
    first = Trainer(recipe, ds, 0)
    for _ in range(2):
        first.run_epoch()
    first.save_state(tmp_path / "s.npz", {})
    second = Trainer(recipe, ds, 99)  # other weights, to be replaced
    second.plan = first.plan
    second.load_state(tmp_path / "s.npz")
    for _ in range(2):
        second.run_epoch()
    assert len(second.values()) == len(whole.values()) > len(whole.network.weights)
    for a, b in zip(whole.values(), second.values()):
        np.testing.assert_array_equal(a, b)
    assert (
        (whole.kept is None)
        == (second.kept is None)
        == (recipe.keep == "last" and not recipe.swa_share)
    )
    for a, b in zip(whole.kept or [], second.kept or []):
        np.testing.assert_array_equal(a, b)
    assert [r["val_loss"] for r in whole.history] == [r["val_loss"] for r in second.history]


def test_the_state_leaves_the_images_out(dataset, tmp_path):
    trainer = Trainer(small(), dataset, 0)
    trainer.save_state(tmp_path / "s.npz", {})
    with np.load(tmp_path / "s.npz") as file:
        assert not any(file[k].dtype == np.uint8 and k != "meta" for k in file.files)


def test_statistics_are_renewed_where_an_epoch_is_short(dataset):
    """One batch holds all of the train part: the statistics are those of its features."""
    trainer = Trainer(small(batch_size=10**4, **SMALL), dataset, 0)
    assert not trainer.settles
    row = trainer.run_epoch()
    saved = trainer.bare_network()
    norm = next(x for x in saved.layers if isinstance(x, keras.layers.BatchNormalization))
    features = keras.Model(saved.input, norm.input).predict(
        dataset.train_images[trainer.plan.train_indices], verbose=0
    )
    np.testing.assert_allclose(norm.moving_mean, features.mean((0, 1, 2)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, features.var((0, 1, 2)), rtol=1e-3, atol=1e-4)
    output = saved.predict(dataset.train_images[trainer.plan.val_indices], verbose=0)
    labels = dataset.train_labels[trainer.plan.val_indices]
    assert row["val_accuracy"] == pytest.approx((output.argmax(1) == labels).mean(), abs=1e-6)


def test_callbacks_are_told_of_a_renewed_epoch_once_with_its_validation(dataset, tmp_path):
    told = []

    class Listener(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            told.append((epoch, set(logs), logs["val_accuracy"]))

    training.train(
        small(epochs=2, **SMALL), dataset, tmp_path / "b", rung="x", callbacks=[Listener()]
    )
    names = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert [(epoch, keys & names) for epoch, keys, _ in told] == [(0, names), (1, names)]
    rows = (tmp_path / "b/history.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[4]) for row in rows] == [value for *_, value in told]


def test_a_network_without_normalisation_has_nothing_to_renew():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert averaging.settling_steps(network) == 0


def test_of_equal_epochs_with_few_images_the_one_of_the_lowest_loss_is_the_best(
    dataset, monkeypatch
):
    trainer = Trainer(small(), dataset, 0)
    rows = [
        {"val_accuracy": 0.5, "val_loss": 2.0},
        {"val_accuracy": 0.9, "val_loss": 1.0},
        {"val_accuracy": 0.9, "val_loss": 0.5},
    ]
    assert trainer.best(rows) is rows[2]
    monkeypatch.setattr("cifar_lab.training.trainer.MANY_TO_VALIDATE", 20)
    assert len(trainer.plan.val_indices) == 20 and trainer.best(rows) is rows[1]


def test_keep_best_saves_the_best_epoch(dataset, tmp_path):
    output = tmp_path / "out"
    card, _ = training.train(
        small(epochs=5, keep="best", learning_rate=0.02, **LINEAR), dataset, output, rung="test"
    )
    rows = (output / "history.csv").read_text().splitlines()[1:]
    val = [(float(r.split(",")[4]), -float(r.split(",")[3])) for r in rows]
    assert card["epoch"] == val.index(max(val)) + 1 and card["val_accuracy"] == max(val)[0]
    model, _ = bundles.load(output)
    _, val_part = data.stratified_split(dataset.train_labels, 0.1, 0)
    found = (
        model.predict(dataset.train_images[val_part], verbose=0).argmax(1)
        == dataset.train_labels[val_part]
    ).mean()
    assert found == pytest.approx(card["val_accuracy"], abs=1e-6)


def test_learns_and_the_bundle_is_whole(dataset, tmp_path):
    card, before = training.train(small(epochs=8), dataset, tmp_path / "out", rung="test", seed=5)
    assert not before and card["test_accuracy"] > 0.9
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "card.json",
        "history.csv",
        "learning_curve.png",
        "model.keras",
    ]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert set(documents.CARD_KEYS) <= set(json.loads((tmp_path / "out" / "card.json").read_text()))


def test_training_finishes_without_matplotlib(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    lines = []
    training.train(
        small(epochs=1, **LINEAR), dataset, tmp_path / "out", rung="test", notice=lines.append
    )
    assert not (tmp_path / "out" / "learning_curve.png").exists()
    assert any("matplotlib is not installed" in line for line in lines)


def test_diverging_training_is_one_line_and_leaves_no_bundle(dataset, tmp_path):
    with pytest.raises(InputError, match="diverged.*learning_rate"):
        training.train(small(learning_rate=1e30), dataset, tmp_path / "out", rung="test")
    assert not (tmp_path / "out").exists()


def test_resume_refuses_other_settings(dataset, tmp_path):
    def stop(epoch, logs=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(
            small(**LINEAR),
            dataset,
            tmp_path / "out",
            rung="test",
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        )
    again = dict(rung="test", resume=True)
    with pytest.raises(InputError, match="unfinished run is there"):
        training.train(small(**LINEAR), dataset, tmp_path / "out", rung="test")
    with pytest.raises(InputError, match="batch_size was 32, is now 64"):
        training.train(small(batch_size=64, **LINEAR), dataset, tmp_path / "out", **again)
    with pytest.raises(InputError, match="seed was 0, is now 1"):
        training.train(small(**LINEAR), dataset, tmp_path / "out", seed=1, **again)
    with pytest.raises(InputError, match="limit was None, is now 100"):
        training.train(small(**LINEAR), dataset, tmp_path / "out", limit=100, **again)
    state = bundles.state_path(tmp_path / "out")
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged state file"):
        training.train(small(**LINEAR), dataset, tmp_path / "out", **again)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    state.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged state file"):
        training.train(small(**LINEAR), dataset, tmp_path / "out", **again)
    state.write_bytes(whole)
    card, before = training.train(small(**LINEAR), dataset, tmp_path / "out", **again)
    assert not before and card["epoch"] >= 1
    assert training.train(small(**LINEAR), dataset, tmp_path / "out", **again)[
        1
    ]  # finished: reported
    with pytest.raises(InputError, match="`resume` with another recipe: epochs was 3, is now 4"):
        training.train(small(epochs=4, **LINEAR), dataset, tmp_path / "out", **again)


def test_a_stopped_overwriting_run_goes_on_and_replaces_the_old_bundle(dataset, tmp_path):
    output = tmp_path / "out"
    old, _ = training.train(small(epochs=1, **LINEAR), dataset, output, rung="test")

    def stop(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(
            small(**LINEAR),
            dataset,
            output,
            rung="test",
            overwrite=True,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        )
    assert bundles.read_card(output) == old  # still whole
    lines = []
    card, before = training.train(
        small(**LINEAR),
        dataset,
        output,
        rung="test",
        overwrite=True,
        resume=True,
        notice=lines.append,
    )
    assert not before and "resuming after epoch 1 of 3" in lines
    assert bundles.read_card(output) == card and card["recipe"]["epochs"] == 3
    # other settings: --resume alone refuses, with --overwrite it starts over
    assert not training.train(
        small(epochs=2, **LINEAR), dataset, output, rung="test", overwrite=True, resume=True
    )[1]


def test_killed_between_the_bundle_and_the_end(dataset, tmp_path):
    output = tmp_path / "out"
    state = bundles.state_path(output)
    kept = []
    training.train(
        small(epochs=1, **LINEAR),
        dataset,
        output,
        rung="test",
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_end=lambda logs=None: kept.append(state.read_bytes())
            )
        ],
    )
    state.write_bytes(kept[0])
    card, before = training.train(
        small(epochs=1, **LINEAR), dataset, output, rung="test", resume=True
    )
    assert before and not state.exists()


def test_builtin_callbacks_see_one_training(dataset, tmp_path):
    begun = []
    stopper = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=10)
    training.train(
        small(epochs=6, **LINEAR),
        dataset,
        tmp_path / "out",
        rung="test",
        callbacks=[
            keras.callbacks.LambdaCallback(on_train_begin=lambda logs=None: begun.append(1)),
            stopper,
        ],
    )
    assert begun == [1]
    assert (
        len((tmp_path / "out" / "history.csv").read_text().splitlines()) == 1 + 2
    )  # patience counted over epochs


def test_one_training_at_a_time(dataset, tmp_path):
    pytest.importorskip("fcntl")
    with bundles.locked(tmp_path / "out"):
        with pytest.raises(InputError, match="another process is writing there"):
            training.train(small(), dataset, tmp_path / "out", rung="test")


def test_cpu_precision_needs_a_processor_that_has_it(dataset, monkeypatch):
    recipe = small(cpu_precision="mixed_bfloat16")
    for has_it, expected in ((True, "mixed_bfloat16"), (False, "float32")):
        monkeypatch.setattr(backend, "has_bfloat16", lambda has_it=has_it: has_it)
        trainer = Trainer(recipe, dataset, 0)
        assert trainer.plan.precision == expected
        assert trainer.network.get_layer("conv1").compute_dtype == (
            "bfloat16" if has_it else "float32"
        )
    assert Trainer(small(), dataset, 0).plan.precision == "float32"


def test_augmented_images_are_trained_on_and_plain_ones_validated(dataset):
    """A cutout larger than the image leaves nothing: the loss cannot fall below chance, and
    validation sees images."""
    fast = {"learning_rate": 0.02, **LINEAR}
    trainer = Trainer(small(augmentation={"cutout_size": 200}, **fast), dataset, 0)
    plain = Trainer(small(**fast), dataset, 0)
    for _ in range(4):
        blind, seeing = trainer.run_epoch(), plain.run_epoch()
    assert blind["loss"] > 2.0 and seeing["loss"] < 1.5
    assert float(trainer.augment.epoch) == 3
    images = dataset.train_images[trainer.plan.val_indices].astype("float32")
    loss = keras.losses.CategoricalCrossentropy()(
        trainer.one_hot[trainer.plan.val_indices], trainer.network(images)
    )
    assert blind["val_loss"] == pytest.approx(float(loss), rel=1e-4)


def test_mixed_precision_is_saved_as_float32(dataset, tmp_path, monkeypatch):
    """What a GPU would do, with its words but on the CPU."""
    monkeypatch.setattr(backend, "device", lambda: ("GPU", "GPU: none really"))
    trainer = Trainer(
        small(
            gpu_precision="mixed_bfloat16",
            builder_options={"filters": [4, 4], "hidden_units": 8},
        ),
        dataset,
        0,
    )
    assert trainer.network.get_layer("conv1").compute_dtype == "bfloat16"
    assert trainer.network.get_layer("output").compute_dtype == "float32"
    trainer.run_epoch()
    bare = trainer.bare_network()
    assert {layer.compute_dtype for layer in bare.layers} == {"float32"}
    kernel = trainer.network.get_layer("conv1").kernel.numpy()
    rounded = np.asarray(keras.ops.cast(keras.ops.cast(kernel, "bfloat16"), "float32"))
    assert np.abs(rounded - kernel).max() > 0
    np.testing.assert_array_equal(bare.get_layer("conv1").kernel, rounded)  # as it computed
    for name, i in (("conv1", 1), ("output", 0)):  # all else as it is
        np.testing.assert_array_equal(
            bare.get_layer(name).get_weights()[i], trainer.network.get_layer(name).get_weights()[i]
        )
    assert keras.config.dtype_policy().name == "float32"


def test_float16_trains_with_a_scaled_loss(dataset, monkeypatch):
    monkeypatch.setattr(backend, "device", lambda: ("GPU", "GPU: none really"))
    trainer = Trainer(small(gpu_precision="mixed_float16", **DROPPING), dataset, 0)
    assert trainer.network.get_layer("hidden1").compute_dtype == "float16"
    assert isinstance(trainer.model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = trainer.values()
    assert math.isfinite(trainer.run_epoch()["loss"])
    assert len(before) == len(trainer.values()) and any(
        (a != b).any() for a, b in zip(before, trainer.values())
    )


# --- kills ---


def training_of(output, data_dir, *more):
    """Arguments of train.py."""
    return [
        "fashion-mnist-92",
        "--data-dir",
        str(data_dir),
        "--epochs",
        "12",
        "--seed",
        "2",
        "--output",
        str(output),
        *more,
    ]


def weights_of(output):
    model, card = bundles.load(output)
    return model.get_weights(), card


def kill_campaign(tmp_path, data_dir, kills, rng):
    """Train in one go; train again with `kills` times kill -9 at random moments; return both
    outcomes.

    Each kill comes after the epochs began, so that most fall inside an epoch or a save; a process
    that was faster does not count.
    """
    whole = run_here("train.py", *training_of(tmp_path / "whole", data_dir))
    assert whole.returncode == 0, whole.stderr
    done, output = 0, tmp_path / "killed"
    state = bundles.state_path(output)
    while done < kills:
        process = subprocess.Popen(
            [sys.executable, ROOT / "train.py", *training_of(output, data_dir, "--resume")],
            env=command_env(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for line in process.stderr:
            if line.startswith("compiled"):
                break
        time.sleep(rng.uniform(0, 0.8))
        process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL), process.stderr.read()
        done += process.returncode == -signal.SIGKILL
        if state.exists():
            state_file.read(state)  # whole, whatever the moment
        if (
            output.exists()
        ):  # finished before the kill came: whole too, and the campaign starts anew
            bundles.load(output)
            shutil.rmtree(output)
            state.unlink(missing_ok=True)
    last = run_here("train.py", *training_of(output, data_dir, "--resume"))
    assert last.returncode == 0, last.stderr
    return weights_of(tmp_path / "whole"), weights_of(output)


def assert_equal_outcomes(a, b):
    for x, y in zip(a[0], b[0]):
        np.testing.assert_array_equal(x, y)
    for key in ("val_accuracy", "test_accuracy", "test_loss", "epoch"):
        assert a[1][key] == b[1][key]


def test_killed_once(tmp_path, fashion):
    assert_equal_outcomes(*kill_campaign(tmp_path, fashion, 1, random.Random(0)))


@pytest.mark.slow
def test_killed_twenty_times(tmp_path, fashion):
    assert_equal_outcomes(*kill_campaign(tmp_path, fashion, 20, random.Random(1)))


@pytest.mark.parametrize("moment", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_ctrl_c_keeps_the_state_and_exits_130(tmp_path, fashion, moment):
    output = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "train.py"),
            "fashion-mnist-92",
            "--data-dir",
            str(fashion),
            "--epochs",
            "500",
            "--output",
            str(output),
        ],
        env=command_env(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch   3"):
            break
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in rest and "--resume goes on" in rest
    assert bundles.state_path(output).exists() and not output.exists()
    assert len(state_file.read(bundles.state_path(output))[0]["history"]) >= 2


# --- other backends ---


@pytest.mark.slow  # test_another_backend_needs_no_tensorflow is the short one
def test_the_same_command_trains_on_jax(tmp_path, fashion):
    pytest.importorskip("jax")
    done = run(
        "train.py",
        "fashion-mnist-92",
        "--data-dir",
        fashion,
        "--epochs",
        6,
        "--output",
        tmp_path / "out",
        KERAS_BACKEND="jax",
    )
    assert done.returncode == 0, done.stderr
    assert "backend jax" in done.stderr
    model, card = bundles.load(tmp_path / "out")  # trained on jax, read on this backend
    assert card["backend"] == "jax" and card["test_accuracy"] > 0.8
    images = data.load("fashion-mnist", str(fashion)).test_images
    labels = data.load("fashion-mnist", str(fashion)).test_labels
    found = (model.predict(images, verbose=0).argmax(1) == labels).mean()
    assert found == pytest.approx(card["test_accuracy"], abs=0.02)


@pytest.mark.slow
def test_resume_is_exact_on_jax(tmp_path):
    """1 epoch, state out and in, 1 more: bit for bit the 2 epochs in one go. Dropout, augmentation,
    two image sizes, SGD."""
    pytest.importorskip("jax")
    code = """if True:
        import numpy as np
        from cifar_lab import data, ladder
        from cifar_lab import recipe as recipes
        from cifar_lab.data import synthetic
        from cifar_lab.training import Plan, Trainer
        ds = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(100, 10))
        cases = {
            "cifar10-88": {
                "builder_options": {"filters": [4], "dropout": [0.3], "convolutions": 1},
                "augmentation": {"rotation_range": 9, "alternating_flip": True,
                                 "crop_padding": 2, "cutout_size": 5}},
            "cifar10-90": {
                "builder_options": {"widths": [4, 8]}, "small_images": [[0.5, 16]],
                "sharpness_radius": 0.02, "sharpness_share": 0.5,
                "swa_share": 0.45, "swa_epochs": 1}}
        for rung, fields in cases.items():
            fields = {"epochs": 2, "batch_size": 32, **fields}
            recipe = recipes.changed(ladder.get(rung).recipe, fields, "test")
            whole, first, second = (Trainer(Plan.of(recipe, ds, seed)) for seed in (0, 0, 9))
            whole.run_epoch(), whole.run_epoch(), first.run_epoch()
            second.plan = first.plan
            first.save_state("state.npz", {})
            second.load_state("state.npz")
            second.run_epoch()
            assert all((a == b).all() for a, b in zip(whole.values(), second.values())), rung
            assert all((a == b).all() for a, b in zip(whole.kept or [], second.kept or [])), rung
            assert any((a != b).any() for a, b in zip(whole.values(), first.values())), rung"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=command_env(KERAS_BACKEND="jax", PYTHONPATH=ROOT),
    )
    assert done.returncode == 0, done.stderr


def test_another_backend_needs_no_tensorflow(tmp_path, fashion):
    pytest.importorskip("jax")
    code = (
        f"{WITHOUT_TENSORFLOW}\nimport cifar_lab.cli; raise "
        "SystemExit(cifar_lab.cli.train(sys.argv[1:]))"
    )
    subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "fashion-mnist-mlp",
            "--data-dir",
            str(fashion),
            "--epochs",
            "1",
            "--output",
            str(tmp_path / "out"),
        ],
        cwd=ROOT,
        env=command_env(KERAS_BACKEND="jax", XLA_FLAGS=COMPILED_QUICKLY),
        check=True,
    )
