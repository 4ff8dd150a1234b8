"""report.py of one network: through the real command, and what is strange about a network."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_lab import bundles, calibration, cli, corruptions
from cifar_lab.cli import reporting
from cifar_lab.recipe import Augmentation, Recipe
from cifar_lab.report import (
    dataset,
    duplicates,
    mistakes,
    network,
    study,
    thumbnails,
    verdict,
    words,
)
from support import assert_refused, run, run_here, run_json

SECTIONS = ["Verdict", "Learning", "Errors", "What it sees", "Trust", "Robustness", "Data"]


@pytest.fixture(scope="module")
def reported(fashion_bundle, tmp_path_factory):
    """(what --json says, the page's path) of a trained bundle, by the command."""
    folder, data_dir = fashion_bundle
    page = tmp_path_factory.mktemp("report") / "page.html"
    told = run_json("report.py", folder, "--data-dir", data_dir, "--output", page, here=True)
    return told, page


def write_pictures(folder, classes, each, side=8):
    """A folder of pictures, one subfolder a class; a class' pictures are of one grey and noise."""
    rng = np.random.default_rng(len(folder.name))
    for i, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(each):
            pixels = rng.integers(0, 40, (side, side, 3)) + 200 * i // len(classes)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


def write_bundle(folder, classes, data, side=8, **card):
    """A bundle whose network was never trained: two convolutions and a softmax."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(classes), activation="softmax"),
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    known = {
        "rung": folder.name,
        "recipe": None,
        "seed": 0,
        "classes": list(classes),
        "val_accuracy": 0.5,
        "test_accuracy": 0.5,
        "seconds": 1.0,
        "device": "CPU",
        "versions": {},
        "data": {"name": str(data)},
        "data_sha256": "",
        "model_sha256": bundles.file_sha256(folder / "model.keras"),
    }
    (folder / "card.json").write_text(json.dumps({**known, **card}))
    return folder


@pytest.fixture
def few(monkeypatch):
    """Two corruptions instead of eleven: a report in a second."""
    monkeypatch.setattr(corruptions, "NAMES", ("noise", "jpeg"))


def made(name, tmp_path, *flags):
    """The page of a network, by the command in this process."""
    page = tmp_path / "page.html"
    done = run_here("report.py", name, "--output", page, *flags)
    assert done.returncode == 0, done.stderr
    return page.read_text("utf-8"), done


def as_text(page):
    """A page without its markup, spaces as one."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\u00a0", " ").split())


# --- a trained bundle ---


def test_a_report_has_every_section_and_the_figures_of_evaluate(reported, fashion_bundle):
    told, path = reported
    folder, data_dir = fashion_bundle
    result = run_json("evaluate.py", folder, "--data-dir", data_dir, here=True)
    assert told["page"] == str(path) and told["bytes"] == path.stat().st_size < 3_000_000
    assert told["sections"] == SECTIONS
    for key in ("accuracy", "accuracy_interval", "images"):
        assert told[key] == result[key]
    page = path.read_text("utf-8")
    text = as_text(page)
    assert f"{100 * result['accuracy']:.2f} % of 70 test images" in text
    low, high = result["accuracy_interval"]
    assert f"95 % interval {100 * low:.2f} to {100 * high:.2f} %" in text
    assert f"loss {result['loss']:.4f}" in text
    error = 100 * result["expected_calibration_error"]
    after = 100 * result["calibrated"]["expected_calibration_error"]
    assert f"Expected calibration error {error:.2f} %, and {after:.2f} % once" in text
    for name, row in result["classes"].items():
        precision = "-" if row["precision"] is None else f"{100 * row['precision']:.2f} %"
        assert f"{name} {precision} {100 * row['recall']:.2f} %" in text
    for i, row in enumerate(result["confusion"]):
        cells = re.findall(r'<th scope="row">[^<]*</th>(.*?)</tr>', page)[i]
        assert [int(n) for n in re.findall(r"<td[^>]*>(\d+)<", cells)] == row
    assert "was trained by a changed recipe" in text  # four epochs on other images
    assert "--epochs 4" in text and str(data_dir) not in page and str(folder) not in page


def test_what_it_shows_is_in_it_and_described(reported):
    page = reported[1].read_text("utf-8")
    assert "<script" not in page and not re.findall(r'(?:src|href)="(?!data:|#)', page)
    alts = re.findall(r'<img src="data:image/png;base64,[^"]{60,}" alt="([^"]+)"', page)
    assert len(alts) == page.count("<img") > 100
    assert any(re.match(r"test image of class \S.*, taken for", alt) for alt in alts)
    charts = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(charts) == page.count("<svg") >= 7
    assert any(alt.startswith("accuracy, by epoch") or "by epoch" in alt for alt in charts)


def test_the_same_input_gives_the_same_page(tmp_path, few):
    for part in ("train", "test"):
        write_pictures(tmp_path / "data" / part, ["a", "b"], 5)
    bundle = write_bundle(tmp_path / "bundle", ["a", "b"], tmp_path / "data")
    first, again = (made(bundle, tmp_path)[0] for _ in range(2))
    assert first == again


def test_a_browser_shows_it_and_asks_for_nothing(reported, browser, tmp_path):
    for dark, width in ((False, 1600), (True, 400)):
        browser.open(reported[1], width=width, dark=dark)
        assert browser.requests() == [] and browser.errors() == []
        counted = browser.run(
            "return [document.images.length, "
            "[...document.images].filter(i => i.naturalWidth > 0).length]"
        )
        assert counted[0] == counted[1] > 100
        assert browser.run("return document.documentElement.scrollWidth") <= width
        headings = browser.run("return [...document.querySelectorAll('h2')].map(h => h.innerText)")
        assert headings == SECTIONS
        for heading in browser.run(
            "return [...document.querySelectorAll('nav a')].map(a => a.hash)"
        ):
            assert browser.run("return !!document.querySelector(arguments[0])", heading)


# --- strange networks ---


def test_names_that_are_markup_or_endless_are_text(tmp_path, few, browser):
    classes = ["<script>alert(1)<b", 'a"onload="x', "x" * 120, "x" * 121]
    data = tmp_path / "<img src=x>"
    for part, each in (("train", 4), ("test", 3)):
        write_pictures(data / part, classes, each)
    bundle = write_bundle(tmp_path / "<script>boo", sorted(classes), data, command="x <script>y")
    page, _ = made(bundle, tmp_path)
    assert "<script" not in page and 'onload="x' not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;b" in page and "x" * 41 not in as_text(page)
    browser.open(tmp_path / "page.html", width=400)
    assert browser.requests() == [] and browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") <= 400


def test_no_history_no_recipe_and_one_image(tmp_path, few):
    data = tmp_path / "data"
    write_pictures(data / "train", ["a", "b"], 3)
    write_pictures(data / "test", ["a"], 1)
    bundle = write_bundle(tmp_path / "bundle", ["a", "b"], data)
    page, done = made(bundle, tmp_path)
    text = as_text(page)
    assert " of 1 test image of data/test are" in text
    assert "bundle has no history of its training" in text
    assert "No card says how the network was trained" in text
    assert "It is no rung of the ladder" in text
    assert "What the network was trained on cannot be read: data/test: needs" in text
    assert "Traceback" not in done.stderr and "no Errors" not in done.stderr
    assert str(tmp_path) not in page


def test_a_hundred_classes_are_a_picture_and_a_table_of_pairs(tmp_path, few):
    classes = [f"class {i:03d}" for i in range(100)]
    for part in ("train", "test"):
        write_pictures(tmp_path / "data" / part, classes, 2)
    bundle = write_bundle(tmp_path / "bundle", classes, tmp_path / "data")
    page, _ = made(bundle, tmp_path)
    assert "confusion matrix of 100 classes as a picture" in page
    assert "The 20 most frequent confusions" in page
    assert 'class="matrix"' not in page
    assert "What it learnt from cannot be told: the card of bundle does not say" in as_text(page)


def test_other_data_and_no_data_are_one_line(tmp_path, few):
    data = tmp_path / "data"
    for part in ("train", "test"):
        write_pictures(data / part, ["a", "b"], 2)
    bundle = write_bundle(tmp_path / "bundle", ["a", "b"], data)
    page = tmp_path / "page.html"
    for flags, word in (
        (["--data", "synthetic"], "its classes"),
        (["--data", write_pictures(tmp_path / "other", ["a", "z"], 2)], "'z' is not a class"),
        (["--data", tmp_path / "nowhere"], "there is no such folder"),
    ):
        assert_refused(run_here("report.py", bundle, "--output", page, *flags), word, output=page)
    data.rename(tmp_path / "moved")
    assert_refused(run_here("report.py", bundle, "--output", page), "is gone", output=page)
    text = as_text(made(bundle, tmp_path, "--data", tmp_path / "moved")[0])
    assert "of 4 test images" in text
    assert "What the network was trained on cannot be read" in text and "is gone" in text
    assert str(tmp_path) not in text


def test_a_part_that_fails_is_a_note_and_a_line(tmp_path, few, monkeypatch):
    def broken(_):
        raise RuntimeError(f"boom in {tmp_path}/secret/file")

    monkeypatch.setattr(mistakes, "_worst", broken)
    monkeypatch.setattr(network.trust, "blocks", broken)
    for part in ("train", "test"):
        write_pictures(tmp_path / "data" / part, ["a", "b"], 2)
    page, done = made(write_bundle(tmp_path / "b", ["a", "b"], tmp_path / "data"), tmp_path)
    assert page.count("This part is missing: RuntimeError: boom in file.") == 2
    assert "no The worst mistakes: RuntimeError: boom" in done.stderr
    assert "Robustness" in page and str(tmp_path) not in page


def test_without_pictures_there_is_no_picture_of_the_data(tmp_path, few):
    for part in ("train", "test"):
        write_pictures(tmp_path / "data" / part, ["a", "b"], 2)
    bundle = write_bundle(tmp_path / "bundle", ["a", "b"], tmp_path / "data")
    page, _ = made(bundle, tmp_path, "--without-pictures")
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert alts and all("filter" in alt for alt in alts)
    assert thumbnails.LEFT_OUT in page


# --- files of other runtimes ---


@pytest.mark.parametrize(
    "file, title",
    [
        ("tiny/model.int8.tflite", "tiny.int8.tflite"),
        ("tiny/other.onnx", "other.onnx"),
        ("cifar10-74", "cifar10-74"),
    ],
)
def test_a_report_is_called_after_what_its_user_names(file, title):
    assert study.title(file, study.judging.Subject(file, Path("saved_models") / file, {})) == title


def test_an_int8_file_is_reported_as_far_as_it_allows(tmp_path, few, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    from cifar_lab import inference

    source = bundles.find("cifar10-tiny-88")
    file = tmp_path / "model.int8.tflite"
    for ending in ("", ".card.json"):
        Path(f"{file}{ending}").write_bytes(
            Path(f"{source}/model.int8.tflite{ending}").read_bytes()
        )
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(30) % 10

    def given(*_args):
        return images, labels, inference.Classifier(file).classes, "cifar10"

    monkeypatch.setattr(study.judging, "images_for", given)
    monkeypatch.setattr(study, "_learnt", lambda *_: "Not here.")
    found = study.of(str(file), None, None, lambda line: None)
    page = network.page(found, print)
    assert page.headings == SECTIONS
    text = as_text(page.html())
    assert "The layers of an exported file cannot be looked into" in text and "Occlusion" in text
    assert "Saved are the weights of epoch 120 of 120" in text  # of the bundle it was made from
    assert "Keras, float" in text and "litert-int8" in text


# --- where the page goes ---


def test_what_is_no_report_is_not_replaced(tmp_path, few):
    for part in ("train", "test"):
        write_pictures(tmp_path / "data" / part, ["a", "b"], 1)
    bundle = write_bundle(tmp_path / "bundle", ["a", "b"], tmp_path / "data")
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    refused = run_here("report.py", bundle, "--output", mine)
    assert_refused(refused, "is no report", "--overwrite")
    assert mine.read_text() == "mine"
    done = run_here("report.py", bundle, "--output", mine, "--overwrite")
    assert done.returncode == 0 and reporting.is_report(mine), done.stderr
    reporting.check_output(mine, overwrite=False)  # by now it is a report


@pytest.mark.parametrize(
    "args, word",
    [
        (["cifar10-74", "--output", ""], "--output"),
        (["cifar10-74", "--output", "{tmp}"], "is a folder"),
        (["cifar10-74", "--output", "{tmp}/a/b.html"], "there is no folder"),
        (["cifar10-74", "--data-dir", "/nowhere"], "is not a folder"),
        (["nonsense"], "neither a rung"),
        ([], "RUNG_OR_BUNDLE"),
    ],
)
def test_wrong_requests_are_one_line(args, word, tmp_path):
    assert_refused(run_here("report.py", *(a.format(tmp=tmp_path) for a in args)), word)


def test_the_default_page_is_named_after_the_network(tmp_path):
    assert reporting.safe("cifar10-94") == "cifar10-94"
    assert reporting.safe("<a>/b c") == "_a_b_c" and reporting.safe("...") == "report"
    assert len(reporting.safe("é" * 300)) == 100
    assert cli.COMMANDS["report"] is reporting.run


# --- what the words and figures are made of ---


def test_differences_are_newcombes():
    """His table II, method 10: 56/70 and 48/80; 9/10 and 3/10."""
    assert verdict.difference(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert verdict.difference(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)


@pytest.mark.parametrize(
    "train, right, count, word",
    [
        (99, 97, 100, "Neither"),
        (99, 70, 100, "Overfitted"),
        (85, 84, 100, "Underfitted"),
        (85, 60, 100, "Both"),
        (95, 8, 10, "It cannot be told"),
    ],
)
def test_the_rule_of_fitting(train, right, count, word):
    probabilities = np.eye(2)[[1] * train + [0] * (100 - train)]
    sample = study.Sample(np.zeros((100, 1, 1, 1)), np.ones(100, int), probabilities, 100)
    assert f"<b>{word}</b>" in verdict._verdict(sample, right, count)


def test_suspects_are_surer_than_usual_of_another_class():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.95, 0.05], [0.2, 0.8], [0.79, 0.21]])
    labels = np.array([0, 0, 1, 1, 1])
    # class 0 is usually given 80 %: of its own images; only the third is surer of it, and is not
    assert mistakes.suspects(probabilities, labels).tolist() == [2]
    assert mistakes.suspects(probabilities, np.zeros(5, int)).tolist() == []


def test_copies_are_found_whatever_their_brightness():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 200, (300, 16, 16, 3)).astype(np.uint8)
    test = rng.integers(0, 200, (40, 16, 16, 3)).astype(np.uint8)
    test[3] = train[200]
    test[5] = train[7] // 2 + 60
    test[9] = test[11] = train[1] = 255  # of one colour: nothing to correlate, but equal
    found = duplicates.pairs(test, train)
    assert [(p.test, p.train, p.same) for p in found] == [
        (3, 200, True),
        (9, 1, True),
        (11, 1, True),
        (5, 7, False),
    ]
    assert found[-1].likeness > 0.999
    assert duplicates.pairs(test[:0], train) == duplicates.pairs(test, train[:0]) == []


def test_words():
    assert words.percent(0.93970) == "93.97\u00a0%" and words.percent(None) == "-"
    assert words.placeless("a /x/y/z: is bad") == "a z: is bad"
    assert words.placeless("3 / 4, and/or, http://a/b") == "3 / 4, and/or, http://a/b"
    assert words.labels(["a" * 99, "a" * 98 + "b", "c"])[2] == "c"
    assert len(set(words.labels(["a" * 99, "a" * 50 + "b" + "a" * 48]))) == 2
    assert len(words.label("y" * 99)) == words.LONGEST


def test_large_pictures_become_small_and_small_ones_stay():
    image = np.zeros((224, 112, 1), np.uint8)
    assert thumbnails.small(image).shape == (64, 32, 1)
    same = np.zeros((32, 32, 3), np.uint8)
    assert thumbnails.small(same) is same
    sheet = thumbnails.sheet([same] * 3, columns=2, gap=2)
    assert sheet.shape == (66, 66, 4)
    assert sheet[:32, :32, 3].all() and not sheet[34:, 34:].any()


@pytest.mark.parametrize("fields", [{"alternating_flip": True}, {"mixup_alpha": 1.0}])
def test_draws_are_what_training_sees(fields):
    originals = np.zeros((2, 8, 8, 3), np.uint8)
    originals[0, :, :4], originals[1, :, :4] = 100, 200
    recipe = Recipe(augmentation=Augmentation(**fields))
    drawn = dataset._drawn(recipe, originals, originals)
    assert drawn.shape == (2, 8, 8, 8, 3) and drawn.dtype == np.uint8
    if "mixup_alpha" in fields:  # with others of the batch, never brighter than the brightest
        assert drawn.max() <= 200 and len(np.unique(drawn)) > 3
        return
    sides = drawn[:, :, 0, 0, 0] > 0  # every other epoch it is the mirror image
    assert (sides[:, 1:] != sides[:, :-1]).all()
    assert np.array_equal(drawn[0, 0 if sides[0, 0] else 1], originals[0])


# --- real data ---


def test_a_rung_on_real_data(real_data, tmp_path, few):
    """Numbers equal evaluate.py's; the promise, its neighbours, and the phases are named."""
    flags = ["--data-dir", real_data]
    page, done = made("mnist-logistic", tmp_path, *flags, "--json")
    told = json.loads(done.stdout)
    result = run_json("evaluate.py", "mnist-logistic", *flags, here=True)
    assert told["accuracy"] == result["accuracy"] and told["bytes"] < 3_000_000
    text = as_text(page)
    assert "The promise is kept" in text and "Its neighbours in the ladder" in text
    assert "The network is linear" in text
    low, _ = calibration.wilson(round(result["accuracy"] * 2115), 2115)
    assert f"{100 * low:.2f} to" in text


@pytest.mark.slow
@pytest.mark.parametrize("rung", ["cifar10-74", "cifar10-94", "cifar10-tiny-88"])
def test_a_rung_of_cifar10(rung, real_data, tmp_path, browser):
    page = tmp_path / "page.html"
    done = run("report.py", rung, "--data-dir", real_data, "--output", page)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert page.stat().st_size < 3_000_000
    browser.open(page, width=400)
    assert browser.requests() == [] and browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    assert "sharpness-aware" in page.read_text("utf-8") or rung != "cifar10-94"
