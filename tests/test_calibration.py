"""Temperature, calibration error and thresholds: golden values, and few images."""

import json
import shutil

import keras
import numpy as np
import pytest

from cifar_lab import bundle_data, bundles, calibration, data, evaluation, inference
from cifar_lab.errors import InputError
from cifar_lab.exporting.folding import folded
from support import FEW, ROOT, assert_refused, run_here, run_json


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def true_to_itself():
    """(logits, labels) of 20,000 images: each label is drawn with its own probability."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 10))
    labels = (softmax(logits).cumsum(1) > rng.random((20_000, 1))).argmax(1)
    return logits, labels


# --- temperature ---


def test_probabilities_at_another_temperature_are_those_of_divided_logits(true_to_itself):
    logits = true_to_itself[0][:100]
    for temperature in (0.05, 0.5, 1, 3, 20):
        np.testing.assert_allclose(
            calibration.scaled(softmax(logits), temperature),
            softmax(logits / temperature),
            atol=1e-12,
        )
    found = calibration.scaled(np.float32([[1, 0, 0], [0.25, 0.25, 0.5]]), 2)
    assert found.dtype == np.float64 and np.isfinite(found).all()
    assert found[1] == pytest.approx([0.2928932, 0.2928932, 0.4142136])


@pytest.mark.parametrize("times", [0.2, 0.5, 1, 2, 5])
def test_the_temperature_that_logits_were_multiplied_by_is_found(true_to_itself, times):
    logits, labels = true_to_itself
    found = calibration.fit_temperature(softmax(times * logits), labels)
    assert found == pytest.approx(times, rel=0.02)


def nll(probs, labels):
    return -np.log(probs[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_worse_than_none(seed):
    """Few images of networks that are far too sure, or not sure enough."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    probs = softmax(rng.normal(size=(n, 4)) * 10 ** rng.uniform(-1, 1.5))
    labels = rng.integers(0, 4, n)
    temperature = calibration.fit_temperature(probs, labels)
    assert calibration.LOWEST <= temperature <= calibration.HIGHEST
    scaled = calibration.scaled(probs, temperature)
    assert nll(scaled, labels) <= nll(calibration.scaled(probs, 1.0), labels) + 1e-9
    assert (scaled.argmax(1) == probs.argmax(1)).all()


def test_twenty_right_answers_do_not_make_a_network_certain():
    sure, labels = np.tile([0.9, 0.1], (20, 1)), np.zeros(20, int)
    assert calibration.fit_temperature(sure, labels) == pytest.approx(0.6145, abs=1e-3)
    many = calibration.fit_temperature(np.tile(sure, (500, 1)), np.tile(labels, 500))
    assert many < 0.3  # ten thousand do
    certain = np.float32([[1, 0]] * 20)  # nothing to gain
    assert calibration.fit_temperature(certain, labels) == 1.0
    assert calibration.fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


# --- error and thresholds ---


def test_the_calibration_error_is_that_of_the_paper():
    probs = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 5)
    labels = np.array([0] * 7 + [1] * 3 + [1] * 4 + [0])
    # bin of 0.9: |0.7 - 0.9| of 10 images; bin of 0.6: |0.8 - 0.6| of 5
    found = calibration.expected_calibration_error(probs, labels)
    assert found == pytest.approx((10 * 0.2 + 5 * 0.2) / 15)
    # in one bin they partly cancel: 11 of 15 right, mean confidence 0.8
    assert calibration.expected_calibration_error(probs, labels, bins=1) == pytest.approx(
        0.8 - 11 / 15
    )


def confident(shares, right):
    """(probabilities, labels) of two classes with these confidences and these right answers."""
    probs = np.array([[share, 1 - share] for share in shares])
    return probs, np.where(right, 0, 1)


def test_a_threshold_keeps_its_promise_on_other_images(true_to_itself):
    probs, labels = softmax(true_to_itself[0]), true_to_itself[1]
    for precision in (0.8, 0.9):
        found = calibration.threshold_for(probs[:5000], labels[:5000], precision)
        assert found["precision"] >= precision
        kept = probs[:5000].max(1) >= found["threshold"]
        assert found["coverage"] == kept.mean()
        assert calibration.above(probs[5000:], labels[5000:], found["threshold"])[
            "precision"
        ] == pytest.approx(precision, abs=0.03)
    assert calibration.threshold_for(probs[:5000], labels[:5000], 0.9999) is None


@pytest.mark.parametrize("precision, fewest", [(0.8, 11), (0.9, 25), (0.95, 52), (0.99, 268)])
def test_few_images_promise_little(precision, fewest):
    shares = np.linspace(0.6, 0.9, fewest)
    found = calibration.threshold_for(*confident(shares, np.ones(fewest, bool)), precision)
    assert found == {"threshold": pytest.approx(0.6), "precision": 1.0, "coverage": 1.0}
    assert (
        calibration.threshold_for(*confident(shares[1:], np.ones(fewest - 1, bool)), precision)
        is None
    )


def test_equal_confidences_go_together():
    shares = [0.9] * 30 + [0.7] * 30
    right = np.array([True] * 30 + [True] * 15 + [False] * 15)
    assert calibration.threshold_for(*confident(shares, right), 0.9) == {
        "threshold": 0.9,
        "precision": 1.0,
        "coverage": 0.5,
    }


def test_what_a_card_says(true_to_itself):
    probs, labels = softmax(3 * true_to_itself[0][:5000]), true_to_itself[1][:5000]
    found = calibration.describe(probs, labels)
    assert found["temperature"] == pytest.approx(3, rel=0.05) and found["images"] == 5000
    errors = found["expected_calibration_error"]
    assert errors["after"] < 0.03 < 0.2 < errors["before"]
    assert list(found["thresholds"]) == ["0.8", "0.9", "0.95", "0.99"]
    assert set(found["thresholds"]["0.8"]) == {"threshold", "coverage"}
    few = calibration.describe(probs[:19], labels[:19])
    assert few["temperature"] == 1.0 and set(few["thresholds"].values()) == {None}
    assert few["expected_calibration_error"]["after"] == few["expected_calibration_error"]["before"]
    none = calibration.describe(probs[:0], labels[:0])
    assert none["images"] == 0 and set(none["expected_calibration_error"].values()) == {None}
    json.dumps([found, few, none], allow_nan=False)


def test_wilson():
    assert calibration.wilson(90, 100) == pytest.approx((0.8256343, 0.9447708), abs=1e-6)
    assert calibration.wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert calibration.wilson(10, 10)[1] == pytest.approx(1, abs=1e-12)


# --- folded into a network ---


def endings():
    """Networks that end in every way a builder here or a user's does."""
    layers = keras.layers
    inputs = keras.Input((6, 6, 3))
    pixels = layers.Rescaling(1 / 255)(inputs)
    flat = layers.Flatten()(pixels)
    shared = layers.Dense(4)(flat)
    inner = keras.Sequential([keras.Input((108,)), layers.Dense(4, activation="softmax")])
    outputs = {
        "dense": layers.Dense(4, activation="softmax")(flat),
        "dense, softmax": layers.Softmax()(layers.Dense(4)(flat)),
        "dense, activation": layers.Activation("softmax")(layers.Dense(4)(flat)),
        "airbench": layers.Softmax()(
            layers.Rescaling(1 / 9)(layers.Dense(4, use_bias=False)(flat))
        ),
        "pooled": layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(pixels))),
        "normalised": layers.Softmax()(layers.BatchNormalization()(layers.Dense(4)(flat))),
        "logits used twice": layers.Softmax()(layers.Add()([shared, layers.ReLU()(shared)])),
        "a model inside": inner(flat),
        "no layer": keras.ops.softmax(layers.Dense(4)(flat)),
        "a convolution": layers.Flatten()(layers.Conv2D(4, 6, activation="softmax")(inputs)),
    }
    return {name: keras.Model(inputs, output) for name, output in outputs.items()}


def test_a_folded_temperature_is_that_of_the_probabilities():
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3)).astype("float32")
    for name, model in endings().items():
        before = [w.copy() for w in model.get_weights()]
        found = folded(model, 1.7)
        if name in ("no layer", "a convolution"):
            assert found is None, name
            continue
        expected = calibration.scaled(np.asarray(model(images)), 1.7)
        np.testing.assert_allclose(np.asarray(found(images)), expected, atol=1e-6, err_msg=name)
        assert found.count_params() == model.count_params()
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new, err_msg=name)  # ours is as it was
        assert folded(model, 1.0) is model


def test_every_builder_folds_without_another_layer():
    from cifar_lab import models

    for name in models.__all__:
        grey = name == "fashion_mnist_cnn"
        shape = (28, 28, 1) if grey else (32, 32, 3)
        model = getattr(models, name)(shape, 10, **FEW.get(name, {}))
        found = folded(model, 0.5)
        assert found is not None and len(found.layers) == len(model.layers), name


def test_means_of_a_convolutions_maps_are_folded_into_the_convolution():
    """Network in Network ends with a mean and a softmax, and no dense layer."""
    from cifar_lab.models import nin

    keras.utils.set_random_seed(0)
    model = nin((16, 16, 3), 4, widths=((8, 6), (8, 6)))
    x = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype("float32")
    expected = calibration.scaled(model.predict(x, verbose=0), 0.5)
    np.testing.assert_allclose(folded(model, 0.5).predict(x, verbose=0), expected, atol=1e-5)


# --- bundles ---


def calibrate(*args):
    return run_here("main", "calibrate", *args)


def test_a_training_calibrates_and_a_classifier_uses_it(fashion_bundle):
    folder, root = fashion_bundle
    model, card = bundles.load(folder)
    dataset = data.load("fashion-mnist", str(root))
    images, labels = bundle_data.validation_images(card, str(root), (28, 28, 1), print)
    assert len(images) == card["data"]["validation_images"] == card["calibration"]["images"]
    raw = evaluation.probabilities(model, images)
    # the same images: "last" weights, or those of the best epoch
    assert (raw.argmax(1) == labels).mean() == pytest.approx(card["val_accuracy"], abs=1e-6)
    assert calibration.describe(raw, labels) == card["calibration"]
    temperature = card["calibration"]["temperature"]
    classifier = inference.Classifier(folder / "model.keras")
    assert classifier.temperature == temperature != 1
    plain = evaluation.probabilities(model, dataset.test_images)
    np.testing.assert_allclose(
        classifier.probabilities(dataset.test_images),
        calibration.scaled(plain, temperature),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        classifier.probabilities(dataset.test_images, calibrated=False), plain, atol=1e-5
    )
    told = run_json("evaluate.py", folder, "--data-dir", root, here=True)
    assert told["loss"] == pytest.approx(card["test_loss"], rel=1e-6)  # as it is saved
    assert told["calibrated"]["temperature"] == temperature
    expected = calibration.scaled(plain, temperature)
    assert told["calibrated"]["expected_calibration_error"] == pytest.approx(
        calibration.expected_calibration_error(expected, dataset.test_labels), abs=1e-6
    )


def test_calibrate_writes_what_the_training_would(fashion_bundle, fashion, tmp_path):
    folder = shutil.copytree(fashion_bundle[0], tmp_path / "bundle")
    card = json.loads((folder / "card.json").read_text())
    found = card.pop("calibration")
    (folder / "card.json").write_text(json.dumps(card))
    without = run_here("evaluate.py", folder, "--data-dir", fashion, "--precision", 0.9)
    assert_refused(without, "its card has no thresholds")
    done = calibrate(folder, "--data-dir", fashion)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{folder}: temperature {found['temperature']:.3f}, expected")
    again = json.loads((folder / "card.json").read_text())
    assert list(again) == [*card, "calibration"]
    assert again["calibration"]["temperature"] == pytest.approx(found["temperature"], rel=1e-4)
    before = (folder / "card.json").read_text()
    card["data_sha256"] = "0" * 64
    (folder / "card.json").write_text(json.dumps(card))
    assert_refused(calibrate(folder, "--data-dir", fashion), "its train images are not those")
    (folder / "card.json").write_text(before)
    assert_refused(calibrate("nowhere"), "is neither a rung")
    assert_refused(calibrate(), "RUNG_OR_BUNDLE")


def test_the_validation_images_of_a_limited_run_are_drawn_again(fashion):
    from cifar_lab.ladder import LADDER
    from cifar_lab.training.plan import Plan

    recipe, seed = LADDER["fashion-mnist-92"].recipe, 3
    dataset = data.limited(data.load("fashion-mnist", str(fashion)), 120, seed)
    plan = Plan.of(recipe, dataset, seed)
    card = {
        "rung": "mine",
        "recipe": recipe.as_dict(),
        "seed": seed,
        "classes": list(dataset.classes),
        "data": {"name": "fashion-mnist", "limit": 120},
        "data_sha256": dataset.train_sha256(),
    }
    images, labels = bundle_data.validation_images(card, str(fashion), (28, 28, 1), print)
    np.testing.assert_array_equal(images, dataset.train_images[plan.val_indices])
    np.testing.assert_array_equal(labels, dataset.train_labels[plan.val_indices])
    for wrong, words in (
        ({"data": {"name": "fashion-mnist", "limit": 110}}, "its train images are not those"),
        ({"recipe": {}}, "does not say which images validated it"),
    ):
        with pytest.raises(InputError, match=words):
            bundle_data.validation_images({**card, **wrong}, str(fashion), (28, 28, 1), print)


def test_a_committed_card_holds_on_real_data(real_data):
    """Fitted on validation images, it makes the test images' error smaller."""
    folder = ROOT / "saved_models" / "cifar10-tiny-88"
    model, card = bundles.load(folder)
    images, labels = bundle_data.validation_images(card, str(real_data), (32, 32, 3), print)
    probs = evaluation.probabilities(model, images)
    again = calibration.describe(probs, labels)
    assert again["temperature"] == pytest.approx(card["calibration"]["temperature"], rel=1e-3)
    dataset = data.load("cifar10", str(real_data))
    entry = card["calibration"]["thresholds"]["0.95"]
    found = evaluation.evaluate(
        model,
        dataset.test_images,
        dataset.test_labels,
        dataset.classes,
        temperature=card["calibration"]["temperature"],
        threshold=entry["threshold"],
    )
    assert found["calibrated"]["expected_calibration_error"] < 0.02
    assert found["expected_calibration_error"] > 0.03
    assert found["confident"]["precision"] > 0.94
    assert found["confident"]["coverage"] == pytest.approx(entry["coverage"], abs=0.03)
    assert found["loss"] == pytest.approx(card["test_loss"], rel=1e-4)
    assert found["images"] == 10_000
    assert found["accuracy"] == pytest.approx(card["test_accuracy"], abs=2e-4)
