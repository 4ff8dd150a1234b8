"""The famous networks: one recipe for all, their tables and picture, and that they are shipped."""

import dataclasses
import json
import sys

import numpy as np
import pytest

import cifar_lab
from cifar_lab import ladder, style
from cifar_lab.ladder import famous
from cifar_lab.report import figures, tables
from support import ROOT, run_json

sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.mark.parametrize("name", famous.RUNGS)
def test_they_differ_in_the_network_alone(name):
    recipe = ladder.get(name).recipe
    same = {"builder": "", "builder_options": {}, "promise": 0.0, "idea": ""}
    found = {**recipe.as_dict(), **same}
    assert found == {**famous.SHARED.as_dict(), **same}


def row_of(rung, accuracy, seconds, **fields):
    return {
        "seed": 0,
        "test_accuracy": accuracy,
        "seconds": seconds,
        "backend": "tensorflow",
        "device": "a CPU",
        "data_sha256": "d" * 64,
        "recipe_sha256": ladder.get(rung).recipe.sha256(),
        **fields,
    }


@pytest.fixture
def measured(tmp_path):
    """A folder of results of two runs of AlexNet, and a history of it and of a plain network."""
    rows = [row_of("cifar10-alexnet", 0.9, 600.0, alone=True)]
    rows.append({**rows[0], "seed": 1, "test_accuracy": 0.91})
    (tmp_path / "cifar10-alexnet.json").write_text(json.dumps(rows))
    for rung, accuracy in (("cifar10-plain20", 0.9), ("cifar10-resnet20", 0.8)):
        (tmp_path / f"{rung}.json").write_text(json.dumps([row_of(rung, accuracy, 60.0)]))
        lines = [f"{i},{2 / i},{accuracy * i / 2},{accuracy * i / 2.1},30" for i in (1, 2)]
        header = "epoch,loss,accuracy,val_accuracy,seconds"
        (tmp_path / f"{rung}.history.csv").write_text("\n".join([header, *lines]) + "\n")
    return tmp_path


def test_the_table(measured, tmp_path):
    from famous import table

    cost = {
        "rung": "cifar10-alexnet",
        "runtime": "LiteRT int8",
        "threads": 1,
        "multiply_adds": 71_126_784,
        "bytes": 1_000_000,
        "accuracy": 0.9012,
        "latency_ms": 3.456,
    }
    (tmp_path / "latency.jsonl").write_text(json.dumps(cost) + "\n")
    lines = table(measured, tmp_path / "latency.jsonl").splitlines()
    assert len(lines) == 2 + len(famous.RUNGS)
    assert (
        "| `cifar10-alexnet` | 90.50 +- 0.71 (2) | 81.22 (Zhang et al. 2017: a small AlexNet, "
        "1,387,786 parameters) | 1,788,810 | 10.0 | 71 M | 1,000,000 | 90.12 | 3.46 |" in lines
    )
    assert any(line.startswith("| `cifar10-vgg16` | not measured | 91.55 (") for line in lines)
    head = table(measured, tmp_path / "none").splitlines()[0]  # no columns of nothing
    assert head == "| rung | test accuracy, % (n) | in print, % | parameters | minutes |"


def test_what_depth_does(measured, tmp_path):
    from famous import depth_table

    lines = depth_table(tmp_path / "none", measured).splitlines()
    assert lines[2:] == [
        "| `cifar10-plain20` | 1.000 | 90.00 | 85.71 | 90.00 (1) |",
        "| `cifar10-resnet20` | 1.000 | 80.00 | 76.19 | 80.00 (1) |",
    ]
    drawn = figures.draw_depth(tmp_path / "depth.png", tmp_path / "none", measured)
    assert drawn == ["cifar10-plain20", "cifar10-resnet20"]
    from PIL import Image, ImageColor

    with Image.open(tmp_path / "depth.png") as picture:
        assert picture.size == (900, 380)
        pixels = np.asarray(picture.convert("RGB"))
    plain, residual = (
        np.all(pixels == ImageColor.getrgb(style.colour(rung)), -1).any(0) for rung in drawn
    )
    assert plain[:450].any() and not plain[470:].any()  # the plain one is on the left
    assert residual[470:].any() and not residual[:450].any()


def test_the_readme_leaves_them_to_their_page(measured):
    assert "cifar10-alexnet" not in tables.readme_markdown(measured)
    assert "cifar10-alexnet" in tables.ladder_markdown(measured)


@pytest.mark.slow
@pytest.mark.parametrize("name", famous.RUNGS)
def test_an_int8_file_of_each(name, tmp_path):
    """A moment's training, and a file for a phone that says what the network says."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (the edge extra)")
    recipe = dataclasses.replace(ladder.get(name).recipe, data="synthetic", epochs=2)
    cifar_lab.train(recipe, output=tmp_path / "b", limit=600, notice=None)
    done = run_json(
        "export.py", tmp_path / "b", "--format", "litert-int8", "--data", "synthetic",
        "--output", tmp_path / "m.int8.tflite", here=True,
    )  # fmt: skip
    assert done["bytes"] < 1.3 * ladder.get(name).parameters + 60_000
    assert done["accuracy"] == pytest.approx(done["keras_accuracy"], abs=0.02)
