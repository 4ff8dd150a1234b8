"""Pixels divided by 255 are told of wherever arrays come from outside, in every runtime."""

import dataclasses
import warnings

import ml_dtypes  # noqa: F401  (names bfloat16 to numpy)
import numpy as np
import pytest

import cifar_lab
from cifar_lab import bundles, inference, paths, pixels, scratch
from cifar_lab.data import Dataset
from cifar_lab.exporting import numpy, onnx

SAVED = paths.home() / "saved_models"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
DIVIDED = IMAGES / 255


@pytest.mark.parametrize(
    "images, warned",
    [
        (DIVIDED, True),
        (DIVIDED.astype("float16"), True),
        (DIVIDED.astype("bfloat16"), True),
        ((DIVIDED * 255).astype("bfloat16"), False),
        (DIVIDED * 2 - 1, True),  # x / 127.5 - 1
        (DIVIDED * 255, False),
        (IMAGES, False),
        (IMAGES.astype("float32"), False),
        (np.zeros((6, 32, 32, 3)), False),  # black
        (np.zeros((6, 32, 32, 3), np.uint8), False),
        (np.ones((6, 32, 32, 3), np.uint8), False),  # nearly black
        (np.ones((2, 2, 2, 1)), False),  # too few to tell
        (np.zeros((0, 32, 32, 3)), False),
        (np.full((6, 32, 32, 3), np.nan), False),
    ],
)
def test_what_looks_divided(images, warned):
    assert bool(pixels.divided(images)) == warned


def test_the_line_says_what_was_received_and_what_is_allowed():
    assert pixels.divided(np.linspace(0, 1, 100)) == (
        "floats from 0 to 1, where pixels are 0-255: they must not be divided by 255"
    )


def classifier_of(kind, folder):
    if kind == ".keras":
        return cifar_lab.load("cifar10-tiny-88")
    if kind == ".tflite":
        pytest.importorskip("ai_edge_litert")
        return cifar_lab.load(SAVED / "cifar10-tiny-88" / "model.int8.tflite")
    if kind == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("tf2onnx")
    file = folder / f"model{kind}"
    write = {".npz": numpy.write, ".onnx": onnx.write}[kind]
    write(bundles.load(SAVED / "cifar10-tiny-88")[0], file, None)
    return inference.Classifier(file)


@pytest.mark.parametrize("kind", [".keras", ".tflite", ".npz", ".onnx"])
def test_no_runtime_takes_divided_pixels(kind, tmp_path):
    """A classifier takes uint8 alone: floats are an error, which says what is wrong with them."""
    classifier = classifier_of(kind, tmp_path)
    for call in (classifier.probabilities, classifier.classify):
        with pytest.raises(
            ValueError, match="received float64 .* floats from 0 to 1, where pixels"
        ):
            call(DIVIDED)
        with pytest.raises(ValueError, match=r"received float64 \(32, 32, 3\), floats from 0 to"):
            call(DIVIDED[0])
        with pytest.raises(ValueError, match=r"received float64 \(6, 32, 32, 3\)$"):
            call(DIVIDED * 255)
    black = np.zeros((2, 32, 32, 3), np.uint8)
    assert classifier.probabilities(black).shape == (2, 10)  # and no warning, which is an error


@pytest.fixture(scope="module")
def dataset():
    labels = np.arange(6)
    names = tuple(map(str, range(10)))
    return Dataset("mine", names, IMAGES, labels, IMAGES, labels)


def test_evaluate_warns_once_of_a_data_set_of_divided_pixels(dataset):
    model = cifar_lab.load("cifar10-tiny-88")._network.model
    divided = dataclasses.replace(dataset, test_images=DIVIDED.astype("float32"))
    with pytest.warns(UserWarning, match="^data: floats from 0 to 1, where pixels") as told:
        cifar_lab.evaluate(model, divided)
    assert len(told) == 1 and told[0].filename == __file__
    found = cifar_lab.evaluate(model, dataset)  # no warning, which is an error here
    floats = dataclasses.replace(dataset, test_images=IMAGES.astype("float32"))
    assert cifar_lab.evaluate(model, floats)["loss"] == pytest.approx(found["loss"], rel=1e-6)


def test_a_numpy_network_that_divides_pixels_warns():
    network = scratch.load("cifar10-tiny-88")
    with pytest.warns(UserWarning, match="^x: floats from 0 to 1") as told:
        network.predict(DIVIDED.astype("float32"))
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.predict(IMAGES)
        network.predict(np.zeros((2, 32, 32, 3), "float32"))
        # a network that takes numbers as they are says nothing
        scratch.Network(scratch.Flatten()).predict(DIVIDED)
