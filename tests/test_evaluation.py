"""Exact metrics: every image once, whatever the batch size divides."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from cifar_lab import evaluation
from cifar_lab.errors import InputError
from support import ROOT

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def brightest_column():
    """A network that names the brightest of three columns: its answers are known without it."""
    inputs = keras.Input((1, 3, 1))
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Rescaling(0.1)(x)
    return keras.Model(inputs, keras.layers.Softmax()(x))


def images_of(columns):
    images = np.zeros((len(columns), 1, 3, 1), np.uint8)
    images[np.arange(len(columns)), 0, columns, 0] = 200
    return images


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 700])
def test_every_image_is_counted_once(brightest_column, n):
    rng = np.random.default_rng(n)
    shown, labels = rng.integers(0, 3, n), rng.integers(0, 3, n)
    result = evaluation.evaluate(brightest_column, images_of(shown), labels, CLASSES)
    confusion = np.zeros((3, 3), int)
    for t, p in zip(labels, shown):
        confusion[t, p] += 1
    assert result["images"] == n
    assert result["confusion"] == confusion.tolist()
    assert result["accuracy"] == pytest.approx((shown == labels).mean(), abs=1e-12)


def test_loss_is_the_mean_cross_entropy(brightest_column):
    shown, labels = np.array([0, 1, 2]), np.array([0, 1, 0])
    # scores are 20 for the bright column and 0 for the others; 1e-7 is the least probability that
    # counts
    expected = np.mean([np.log(1 + 2 * np.exp(-20)), np.log(1 + 2 * np.exp(-20)), -np.log(1e-7)])
    assert evaluation.evaluate(brightest_column, images_of(shown), labels, CLASSES)[
        "loss"
    ] == pytest.approx(expected, abs=1e-5)


def test_a_class_without_images_has_no_accuracy(brightest_column):
    result = evaluation.evaluate(
        brightest_column, images_of(np.array([0, 1])), np.array([0, 0]), CLASSES
    )
    assert result["per_class"] == {"a": 0.5, "b": None, "c": None}
    assert "n/a" in evaluation.as_table(result, CLASSES)


def test_two_views_average_an_image_and_its_mirror(brightest_column):
    shown, labels = np.array([0, 2, 1]), np.array([0, 0, 1])
    result = evaluation.evaluate(brightest_column, images_of(shown), labels, CLASSES, views=2)
    # image 0 and its mirror tie between columns 0 and 2, and the first wins; so does image 1
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["views"] == 2 and result["views_accuracy"] == 1.0
    assert result["views_loss"] == pytest.approx(np.mean([np.log(2), np.log(2), 0]), abs=1e-4)


def test_refusals(brightest_column):
    with pytest.raises(InputError, match="views: must be one of 1, 2, 6, received 3"):
        evaluation.evaluate(
            brightest_column, images_of(np.array([0])), np.array([0]), CLASSES, views=3
        )
    with pytest.raises(InputError, match="no images"):
        evaluation.evaluate(
            brightest_column, images_of(np.array([], int)), np.array([], int), CLASSES
        )


def test_the_command_imports_no_training_code(fashion_bundle):
    code = (
        "import sys; from cifar_lab import cli; assert cli.evaluate(sys.argv[1:]) == 0; "
        "assert 'cifar_lab.evaluation' in sys.modules; "
        "assert not {'cifar_lab.training', 'cifar_lab.augment'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(fashion_bundle[0]), "--data-dir", str(fashion_bundle[1])],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
