"""On real data (CIFAR_LAB_DATA): the readers' pixels, the cards' figures, and a short training."""

import json

import numpy as np
import pytest

from cifar_lab import cli, data, ladder
from support import ROOT, run_json

RUNGS = [name for name, rung in ladder.LADDER.items() if rung.committed]
QUICK = ("cifar10-74", "fashion-mnist-92")  # cifar10-tiny-88: test_calibration.py


def test_cifar10(real_data):
    dataset = data.load("cifar10", str(real_data))
    assert dataset.train_images.shape == (50_000, 32, 32, 3) and dataset.test_images.shape == (
        10_000,
        32,
        32,
        3,
    )
    assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1_000] * 10
    pixels = dataset.train_images.reshape(-1, 3)
    # the published statistics of the train split
    np.testing.assert_allclose(pixels.mean(0) / 255, [0.49140, 0.48216, 0.44653], atol=2e-4)
    np.testing.assert_allclose(pixels.std(0) / 255, [0.24703, 0.24348, 0.26159], atol=2e-4)


@pytest.mark.parametrize("name, mean", [("fashion-mnist", 0.2860), ("mnist", 0.1307)])
def test_idx_sets(real_data, name, mean):
    dataset = data.load(name, str(real_data))
    assert dataset.train_images.shape == (60_000, 28, 28, 1) and dataset.test_images.shape == (
        10_000,
        28,
        28,
        1,
    )
    assert dataset.train_images.mean() / 255 == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    "rung",
    [rung if rung in QUICK else pytest.param(rung, marks=pytest.mark.slow) for rung in RUNGS],
)
def test_evaluate_gives_the_cards_figures(real_data, rung, capsys, monkeypatch):
    """One in a process of its own, as a user would."""
    card = json.loads((ROOT / "saved_models" / rung / "card.json").read_text())
    if rung == "fashion-mnist-92":
        result = run_json("evaluate.py", rung, CIFAR_LAB_DATA=real_data)
    else:
        monkeypatch.setenv("CIFAR_LAB_DATA", str(real_data))
        assert cli.evaluate([rung, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
    assert result["images"] == 10_000
    # another processor may round a probability or two to the other side
    assert result["accuracy"] == pytest.approx(card["test_accuracy"], abs=2e-4)
    assert result["loss"] == pytest.approx(card["test_loss"], rel=1e-4)


def test_a_short_training_learns(real_data, tmp_path):
    result = run_json(
        "train.py",
        "fashion-mnist-92",
        "--limit",
        3000,
        "--epochs",
        3,
        "--output",
        tmp_path / "out",
        "--data-dir",
        real_data,
        here=True,
    )
    assert 0.70 < result["test_accuracy"] < 0.86


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNGS)
def test_accuracy_bands(real_data, tmp_path, name):
    result = run_json(
        "train.py",
        name,
        "--seed",
        11,
        "--output",
        tmp_path / "out",
        CIFAR_LAB_DATA=real_data,
        timeout=4 * 3600,
    )
    low, high = ladder.LADDER[name].accuracies
    assert low < result["test_accuracy"] < high
