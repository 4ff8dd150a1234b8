"""report.py of several networks, through the real command."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from cifar_lab import significance
from cifar_lab.report import contenders, costs, settings
from support import ROOT, assert_refused, run_here, run_json, write_fashion

HOSTILE = "<script>alert(1)<"  # a class' folder, so without a slash


def train(rung, output, *flags):
    done = run_here("train.py", rung, "--epochs", 2, "--output", output, *flags)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A folder with data/, and two recipes' seeds below usual/ and fast/: softmax networks on a
    small Fashion-MNIST."""
    root = tmp_path_factory.mktemp("seeds")
    write_fashion(root / "data" / "fashion-mnist")
    for name, flags in (("usual", ()), ("fast", ("--set", "learning_rate=0.03"))):
        train(
            "mnist-softmax",
            root / name,
            *("--data", "fashion-mnist", "--data-dir", root / "data", "--seeds", "0:3", *flags),
        )
    return root


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A bundle of photos, called <b>, one of whose classes is markup."""
    root, rng = tmp_path_factory.mktemp("hostile"), np.random.default_rng(0)
    for label, grey in ((HOSTILE, 30), ("b", 200)):
        (root / "photos" / label).mkdir(parents=True)
        for i in range(15):
            pixels = (rng.integers(0, 50, (120, 90, 3)) + grey).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{i}.png")
    train("mnist-softmax", root / "<b>", "--data", root / "photos", "--set", "start=")
    return root / "<b>"


def compared(tmp_path, *names, **options):
    """What --json says of a comparison, and the page."""
    page = tmp_path / "page.html"
    found = run_json("report.py", *names, "--output", page, here=True, **options)
    content = page.read_text("utf-8")
    assert found["page"] == str(page) and found["bytes"] == page.stat().st_size
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', content) and "<script" not in content
    return found, content


def test_seeds_of_two_recipes(seeds, tmp_path):
    data = "--data-dir", seeds / "data"
    found, content = compared(tmp_path, seeds / "usual", seeds / "fast", *data)
    assert [n["name"] for n in found["networks"]] == ["usual", "fast"]
    for network in found["networks"]:
        alone = run_json("evaluate.py", seeds / network["name"] / "seed0", *data, here=True)
        keys = "accuracy", "accuracy_interval", "loss", "expected_calibration_error", "images"
        assert {k: network[k] for k in keys} == {k: alone[k] for k in keys}
        cards = [
            json.loads((seeds / network["name"] / f"seed{i}" / "card.json").read_text())
            for i in range(3)
        ]
        assert network["seeds"] == [card["test_accuracy"] for card in cards]
        assert network["parameters"] == network["multiply_adds"] + 10 == 7850
        file = seeds / network["name"] / "seed0" / "model.keras"
        assert network["bytes"] == file.stat().st_size
    first, second = found["networks"]
    (pair,), (over_seeds,) = found["pairs"], found["seeds"]
    assert pair["both"] + pair["first"] + pair["second"] + pair["neither"] == 70
    assert pair["both"] + pair["first"] == round(70 * first["accuracy"])
    assert pair["both"] + pair["second"] == round(70 * second["accuracy"])
    assert pair["p"] == significance.mcnemar(pair["first"], pair["second"])
    assert over_seeds["low"] < over_seeds["difference"] < over_seeds["high"]
    # one field differs, and the page says so
    (row,) = re.findall(r"<tr><td>learning_rate</td>(.*?)</tr>", content)
    assert re.findall(r">([^<]+)</td>", row) == ["0.003", "0.03"]
    assert "other fields of the recipes are equal" in content and "mean of 3" in content
    assert found["sections"][:3] == ["Accuracy", "Seeds", "Learning"]
    assert content.count("<img") >= min(12, pair["first"]) + min(12, pair["second"])
    assert (
        run_here("report.py", seeds / "usual", *data, "--output", tmp_path / "one.html").returncode
        == 0
    )


def test_pictures_can_be_left_out(seeds, tmp_path):
    names = seeds / "usual" / "seed0", seeds / "fast" / "seed0", "--data-dir", seeds / "data"
    _, content = compared(tmp_path, *names, "--without-pictures")
    assert "<img" not in content and "right, " in content


def test_a_network_beside_itself(seeds, tmp_path):
    bundle = seeds / "usual" / "seed1"
    found, content = compared(tmp_path, bundle, bundle, "--data-dir", seeds / "data")
    names = [n["name"] for n in found["networks"]]
    assert len(set(names)) == 2 and names[1].endswith("(2)")
    assert found["pairs"][0]["p"] == 1 and found["pairs"][0]["difference"] == 0
    assert "are right and wrong on the same pictures" in content
    assert "Their recipes are equal in every field" in content


def test_six_networks(seeds, tmp_path):
    names = [seeds / kind / f"seed{i}" for kind in ("usual", "fast") for i in range(3)]
    found, content = compared(tmp_path, *names, "--data-dir", seeds / "data")
    assert len({n["name"] for n in found["networks"]}) == 6 and len(found["pairs"]) == 15
    assert content.count("<details") == 15 and "p, all pairs" in content
    assert found["seeds"] == [] and "--seeds 0:5" in content


def test_a_network_without_a_history(seeds, tmp_path):
    shutil.copytree(seeds / "usual" / "seed0", tmp_path / "bare")
    (tmp_path / "bare" / "history.csv").unlink()
    names = tmp_path / "bare", seeds / "fast" / "seed0", "--data-dir", seeds / "data"
    _, content = compared(tmp_path, *names)
    assert "No curve, since no history is kept: bare." in content
    shutil.copy(ROOT / "setup.cfg", tmp_path / "bare" / "history.csv")
    _, content = compared(tmp_path, *names)
    assert "No curve, since no history is kept: bare." in content


def test_a_file_beside_its_bundle(seeds, tmp_path):
    shutil.copytree(seeds / "usual" / "seed0", tmp_path / "mine")
    data = "--data-dir", seeds / "data"
    assert run_here("export.py", tmp_path / "mine", "--format", "numpy", *data).returncode == 0
    file = tmp_path / "mine" / "model.npz"
    found, content = compared(tmp_path, tmp_path / "mine", file, *data, "--latency")
    bundle, export = found["networks"]
    assert (bundle["name"], export["name"]) == ("mine", "mine/model.npz")
    assert export["multiply_adds"] == bundle["multiply_adds"] == 7840
    assert export["bytes"] == file.stat().st_size and export["seeds"] == []
    assert "Their recipes are equal" in content and "<td>format</td>" in content
    assert "measured while this page was made" in content
    assert "A bundle&#x27;s file in another format has its curve: mine/model.npz." in content
    elsewhere = tmp_path / "elsewhere.npz"
    shutil.copy(file, elsewhere)
    shutil.copy(f"{file}.card.json", f"{elsewhere}.card.json")
    _, content = compared(tmp_path, elsewhere, tmp_path / "mine", *data)
    assert "Their recipes are equal" in content  # told by its card's digest of the bundle


def test_files_of_measured_runs(tmp_path):
    rows = [ROOT / "results" / f"{rung}.json" for rung in ("cifar10-softmax", "cifar10-hinge")]
    found, content = compared(tmp_path, *rows)
    assert found["data"] is None and found["pairs"] == []
    assert [len(n["seeds"]) for n in found["networks"]] == [5, 5]
    assert found["networks"][0]["parameters"] == 30736
    means = [np.mean([r["test_accuracy"] for r in json.loads(f.read_text())]) for f in rows]
    assert found["seeds"][0]["difference"] == pytest.approx(means[0] - means[1])
    assert "none: figures only" in content


def test_a_page_in_a_browser(hostile, tmp_path, browser):
    """Two networks whose names and classes are markup."""
    shutil.copytree(hostile, tmp_path / "<i>")
    page = tmp_path / "page.html"
    done = run_here("report.py", hostile, tmp_path / "<i>", "--output", page)
    assert done.returncode == 0, done.stderr
    browser.open(page, width=400)
    assert browser.requests() == [] and browser.errors() == []
    assert browser.driver.find_element("tag name", "h1").text == "<b> and <i>"
    assert browser.run("return document.querySelectorAll('script').length") == 0
    assert HOSTILE in browser.run("return document.body.innerText")
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    pictures = "Array.from(document.images).every(i => i.naturalWidth > 0)"
    assert browser.run(f"return {pictures}")
    charts = browser.run("return document.querySelectorAll('svg[role=img][aria-label]').length")
    assert charts >= 3


def test_networks_that_do_not_compare_are_one_line(seeds, hostile, tmp_path):
    data = "--data-dir", seeds / "data"
    refused = run_here("report.py", seeds / "usual" / "seed0", hostile, *data)
    assert_refused(refused, "<b>: has other classes than seed0")
    mixed = tmp_path / "mixed"
    for i, kind in enumerate(("usual", "fast")):
        shutil.copytree(seeds / kind / "seed0", mixed / f"seed{i}")
    assert_refused(run_here("report.py", mixed), "seed0 and seed1 are of two recipes")
    shutil.rmtree(mixed / "seed1")
    shutil.copytree(mixed / "seed0", mixed / "again")
    assert_refused(run_here("report.py", mixed), "again and seed0 are the same network")
    assert_refused(run_here("report.py", *["cifar10-74"] * 13), "12 networks", "received 13")
    assert_refused(run_here("report.py", "cifar10-74", "nothing"), "nothing", "neither a rung")


@pytest.mark.parametrize(
    "text, words",
    [
        ("[]", "must be a list of 1 to 100,000"),
        ("{", "is not JSON"),
        ('[{"test_accuracy": 2}]', "[0].test_accuracy must be a number from 0 to 1, is 2"),
        ('[{"seed": 1}]', "[0] lacks test_accuracy"),
        (
            '[{"test_accuracy": 0.5, "recipe_sha256": "a"}, {"test_accuracy": 0.5}]',
            "runs of 2 recipes",
        ),
    ],
)
def test_a_file_that_holds_no_rows_is_one_line(tmp_path, text, words):
    (tmp_path / "rows.json").write_text(text)
    assert_refused(run_here("report.py", tmp_path / "rows.json"), "rows.json", words)


# --- parts ---


def test_a_rung_stands_for_all_its_measured_runs():
    (rung,) = contenders.look_up(["cifar10-90"], notice=pytest.fail)
    rows = json.loads((ROOT / "results" / "cifar10-90.json").read_text())
    assert sorted(rung.accuracies) == sorted(row["test_accuracy"] for row in rows)
    assert len(rung.histories) == 1 and rung.runs[0].seed == 0


def test_recipes_differ_where_what_they_leave_out_differs():
    plain = {"builder": "vgg", "builder_options": {}, "learning_rate": 1, "augmentation": {}}
    filled = {
        "builder": "vgg",
        "builder_options": {"l2": 0.0001},
        "learning_rate": 1.0,
        "augmentation": {"rotation_range": 0.0, "cutout_size": 8},
        "optimizer": "adam",
        "idea": "another",
    }
    rows, equal = settings.differing([plain, filled])
    assert rows == [["augmentation.cutout_size", "0", "8"]] and equal > 40


def test_a_front_is_what_nothing_beats():
    assert costs.front([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7]) == [1, 3, 0]
    assert costs.front([1, 1, 2], [0.5, 0.5, 0.5]) == [0, 1]
    rng = np.random.default_rng(0)
    cost, score = rng.random(50), rng.random(50)

    def beaten(i):
        others = (j for j in range(50) if j != i)
        return any(cost[j] <= cost[i] and score[j] >= score[i] for j in others)

    assert set(costs.front(list(cost), list(score))) == {i for i in range(50) if not beaten(i)}
