"""`cifar_lab.build_model`: our networks for a person's own KerasTuner script."""

import functools

import keras
import numpy as np
import pytest

import cifar_lab
from cifar_lab import networks
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER
from cifar_lab.models.searchable import Choice, Number, Widths, searchable
from cifar_lab.recipe import Recipe
from cifar_lab.training import losses
from support import one_of_each_builder

keras_tuner = pytest.importorskip("keras_tuner")

RNG = np.random.default_rng(0)
MUON = Recipe(
    data="synthetic",
    builder="airbench",
    builder_options={"widths": [4, 8], "convolutions": 1, "activation": "relu"},
    optimizer="muon",
    learning_rate=0.02,
    weight_decay=1e-3,
    label_smoothing=0.2,
)


def built(rung, **options):
    """(network, hyperparameters) at their defaults."""
    hp = keras_tuner.HyperParameters()
    return cifar_lab.build_model(hp, rung, **options), hp


# --- the rung's own settings ---


@pytest.mark.parametrize("rung", one_of_each_builder(LADDER))
def test_the_defaults_are_the_rungs_own(rung):
    recipe = LADDER[rung].recipe
    model, hp = built(rung, num_classes=LADDER[rung].num_classes)
    assert model.count_params() == LADDER[rung].parameters
    assert float(model.optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    assert float(model.optimizer.weight_decay or 0) == pytest.approx(recipe.weight_decay)
    assert hp.values["learning_rate"] == recipe.learning_rate
    plain = networks.build(recipe, LADDER[rung].num_classes)
    for mine, other in zip(model.layers, plain.layers, strict=True):
        assert mine.get_config() == {**other.get_config(), "name": mine.name}


def pictures(shape, classes, count=48):
    """(uint8 images, labels): noise, brighter from class to class."""
    rng = np.random.default_rng(1)
    labels = np.arange(count) % classes
    noise = rng.integers(0, 56, (count, *shape))
    return (noise + 199 * labels[:, None, None, None] // classes).astype("uint8"), labels


@pytest.mark.parametrize("rung", ["cifar10-74", MUON, "cifar10-hinge", "mnist-logistic"])
def test_a_plain_fit_on_whole_numbers_lowers_the_loss(rung):
    """Adam; Muon and label smoothing; a hinge; the cross-entropy of each class."""
    recipe = rung if isinstance(rung, Recipe) else LADDER[rung].recipe
    keras.utils.set_random_seed(0)
    model, _ = built(rung)
    x, labels = pictures(recipe.input_shape, model.output_shape[-1])
    before = model.evaluate(x, labels, verbose=0)[0]
    history = model.fit(x, labels[:, None], batch_size=8, epochs=3, verbose=0)
    assert set(history.history) == {"loss", "accuracy"}
    assert history.history["loss"][-1] < before


def test_the_hyperparameters_of_a_rung():
    hp = built("cifar10-88")[1]
    assert hp.values == {
        "learning_rate": 0.002,
        "dropout_1": 0.0,
        "dropout_2": 0.1,
        "dropout_3": 0.2,
        "l2": 1e-4,
        "width": 1.0,
    }
    rate, l2 = (next(p for p in hp.space if p.name == name) for name in ("learning_rate", "l2"))
    assert (rate.min_value, rate.max_value) == pytest.approx((2e-5, 0.06))
    assert rate.sampling == "log"
    assert (l2.min_value, l2.max_value, l2.sampling) == (1e-6, 1e-2, "log")


def test_what_a_tuner_gives_is_what_is_built():
    hp = keras_tuner.HyperParameters()
    hp.values.update(learning_rate=0.01, width=0.5, dropout_2=0.4)
    model = cifar_lab.build_model(hp, "cifar10-88")
    widths = [x.filters for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert widths == [16, 16, 32, 32, 64, 64]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert 0.4 in rates


def test_ranges_of_ones_own():
    ranges = {
        "optimizer": "adam,sgd",
        "learning_rate": "1e-4:1e-2:log",
        "momentum": "0.5:0.95",
        "batch_normalization": "true,false",
        "hidden_layers": "0:2",
        "activation": "relu,silu",
    }
    model, hp = built("cifar10-74", ranges=ranges)
    assert set(hp.values) == set(ranges) and model.count_params() == 1_639_914
    assert hp.values["hidden_layers"] == 1 and hp.values["activation"] == "relu"
    hp.values.update(optimizer="sgd", batch_normalization=True, hidden_layers=0, momentum=0.6)
    model = cifar_lab.build_model(hp, "cifar10-74", ranges=ranges)
    assert model.optimizer.momentum == 0.6 and model.optimizer.nesterov
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Dense") == 1 and kinds.count("BatchNormalization") == 3


@searchable(
    width=Widths(),
    rate=Number(0.0, 0.9, usual=(0.0, 0.5)),
    last=Choice(("average", "max"), usual=("average", "max")),
)
def small(input_shape, num_classes, *, width=6, rate=0.1, last="max"):
    from keras import layers

    pool = {"average": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[last]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(width, 3, strides=2),
            pool(),
            layers.Dropout(rate),
            layers.Dense(num_classes, "softmax"),
        ]
    )


def test_a_network_of_ones_own():
    recipe = Recipe(builder=small, data="synthetic")
    model, hp = built(recipe, num_classes=3, input_shape=(16, 20, 3))
    assert hp.values == {"learning_rate": 0.001, "rate": 0.1, "last": "max"}
    assert model.input_shape == (None, 16, 20, 3) and model.output_shape == (None, 3)
    assert built(small, ranges={"width": "4:8"})[1].values == {"width": 6}


# --- the loss of labels ---


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"label_smoothing": 0.2},
        {"loss": "binary_crossentropy"},
        {"loss": "multiclass_hinge"},
        {"loss": "categorical_hinge"},
    ],
)
def test_a_loss_of_labels_is_that_of_one_hot_targets(fields):
    recipe = Recipe(**fields)
    outputs = RNG.dirichlet(np.ones(4), 8).astype("float32")
    labels = RNG.integers(0, 4, 8)
    wanted = float(losses.build(recipe)(np.eye(4, dtype="float32")[labels], outputs))
    for given in (labels, labels[:, None], labels.astype("uint8")):
        found = float(losses.of_labels(recipe, 4)(given, outputs))
        assert found == pytest.approx(wanted, rel=1e-5)


# --- KerasTuner at work ---


def test_a_tuner_searches_and_gives_the_best_back(tmp_path):
    """Muon, whose checkpoints hold our optimizer's variables."""
    x, labels = pictures((32, 32, 3), 10)
    ranges = {"learning_rate": "0.001:0.1:log", "width": "0.5:2", "kernel_rate": "0.01:0.1"}
    tuner = keras_tuner.RandomSearch(
        functools.partial(cifar_lab.build_model, rung=MUON, ranges=ranges),
        "val_accuracy",
        max_trials=2,
        directory=tmp_path,
        project_name="t",
    )
    x = x.astype("float32")
    tuner.search(x, labels, epochs=1, verbose=0, validation_data=(x[:16], labels[:16]))
    trials = tuner.oracle.get_best_trials(2)
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
    best = tuner.get_best_models()[0]
    score = best.evaluate(x[:16], labels[:16], verbose=0)[1]
    assert score == pytest.approx(trials[0].score)


# --- what is refused ---


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda hp: cifar_lab.build_model({}), "hp: must be a keras_tuner.HyperParameters"),
        (lambda hp: cifar_lab.build_model(type(hp)), "hp: must be a keras_tuner.HyperParameters"),
        (lambda hp: cifar_lab.build_model(hp, "cifar10-99"), "unknown rung"),
        (lambda hp: cifar_lab.build_model(hp, 3), "rung: must be a rung's name, a Recipe"),
        (lambda hp: cifar_lab.build_model(hp, num_classes=1), "num_classes: must be a whole"),
        (lambda hp: cifar_lab.build_model(hp, input_shape=(32, 32)), "input_shape: must be"),
        (lambda hp: cifar_lab.build_model(hp, input_shape=(4, 4, 3)), "must be at least 10"),
        (
            lambda hp: cifar_lab.build_model(hp, ranges={"batch_size": "8,16"}),
            "ranges: 'batch_size' must be one of learning_rate",
        ),
        (
            lambda hp: cifar_lab.build_model(hp, ranges={"dropout": "0:2"}),
            "ranges: dropout=0:2: dropout must be from 0 to 0.95",
        ),
        (lambda hp: cifar_lab.build_model(hp, ranges={"dropout": 3}), "ranges: must be a dict"),
        (
            lambda hp: cifar_lab.build_model(hp, "cifar10-74", ranges={"momentum": "0:1"}),
            "ranges: 'momentum' must be one of learning_rate, weight_decay, label_smoothing, opt",
        ),
    ],
)
def test_wrong_calls_name_the_argument(call, words):
    with pytest.raises(InputError, match=words):
        call(keras_tuner.HyperParameters())
