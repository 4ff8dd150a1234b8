"""Exact metrics: every image once, whatever the batch size divides."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

import cifar_lab
from cifar_lab import bundles, data, evaluation, judging
from cifar_lab.errors import InputError
from support import ROOT, assert_refused, run_here, run_json

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


# --- classes ---


def scores_of(labels, taken, classes=CLASSES):
    """Scores of answers that are certain."""
    return evaluation.scores(np.eye(len(classes))[taken], np.array(labels), classes)


def test_figures_of_unequal_classes():
    """By hand: 6 of a (4 right, 2 taken for b), 3 of b (2 right, 1 taken for a), 1 of c (for a)."""
    found = scores_of([0] * 6 + [1] * 3 + [2], [0, 0, 0, 0, 1, 1, 1, 1, 0, 0])
    assert found["classes"] == {
        "a": {"precision": 4 / 6, "recall": 4 / 6, "f1": pytest.approx(2 / 3), "images": 6},
        "b": {"precision": 2 / 4, "recall": 2 / 3, "f1": pytest.approx(4 / 7), "images": 3},
        "c": {"precision": None, "recall": 0.0, "f1": 0.0, "images": 1},
    }
    assert found["accuracy"] == 0.6
    assert found["balanced_accuracy"] == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)
    assert found["accuracy_interval"] == pytest.approx([0.31267, 0.83182], abs=1e-5)
    assert found["expected_calibration_error"] == pytest.approx(0.4)
    assert found["per_class"] == {"a": 4 / 6, "b": 2 / 3, "c": 0.0}
    table = evaluation.as_table(found, CLASSES).splitlines()
    assert table[1].split() == ["a", "66.67%", "66.67%", "66.67%", "6"]
    assert table[3].split() == ["c", "n/a", "0.00%", "0.00%", "1"]
    assert table[-4].split() == ["a", "b", "c"] and table[-3].split() == ["a", "4", "2", "0"]
    json.dumps(found, allow_nan=False)


def names_in(table, classes):
    return [c for c in classes if any(c in line for line in table.splitlines())]


def test_names_stand_whole_whatever_their_length():
    long = ["defective screw", "defective nut", "defective bolt", "defective washer", "in order"]
    labels = np.arange(50) % 5
    table = evaluation.as_table(scores_of(labels, labels, long), long)
    head = table.splitlines()[8]
    assert all(name in head for name in long) and len(head) <= 100
    longer = [f"{name} of the first shift" for name in long]
    table = evaluation.as_table(scores_of(labels, labels, longer), longer)
    assert table.splitlines()[8].split() == ["0", "1", "2", "3", "4"]  # and the legend above
    assert "0 defective screw of the first shift " in table.splitlines()[1]
    assert names_in(table, longer) == longer and max(map(len, table.splitlines())) <= 100


def test_a_hundred_classes_have_no_matrix():
    classes = [f"class number {i}" for i in range(100)]
    labels = np.repeat(np.arange(100), 100)
    taken = labels.copy()
    taken[:14], taken[100:107] = 53, 0
    table = evaluation.as_table(scores_of(labels, taken, classes), classes)
    lines = table.splitlines()
    assert len(lines) == 101 + 1 + 3 and max(map(len, lines)) <= 100
    assert lines[-2] == "class number 0 taken for class number 53    14 of 100"
    assert lines[-1] == "class number 1 taken for class number 0      7 of 100"
    perfect = evaluation.as_table(scores_of(labels, labels, classes), classes)
    assert perfect.splitlines()[-1] == "no image is taken for another class"


@pytest.mark.parametrize(
    "true, taken, warns",
    [
        ([50, 50], [60, 40], False),
        ([50, 50], [75, 25], False),
        ([50, 50], [76, 24], True),
        ([90, 10], [95, 5], False),
        ([90, 10], [100, 0], True),
        ([10] * 10, [56] + [5] * 8 + [4], True),
        ([10] * 10, [55] + [5] * 9, False),
        ([100, 0], [100, 0], False),
        ([4, 4], [8, 0], False),  # too few to say
    ],
)
def test_a_network_that_takes_most_for_one_class_is_told(true, taken, warns):
    classes = [f"c{i}" for i in range(len(true))]
    labels, answers = (np.repeat(np.arange(len(true)), n) for n in (true, taken))
    line = evaluation.one_sided(scores_of(labels, answers, classes))
    assert bool(line) == warns
    if warns:
        assert line.startswith(
            f"warning: the network says c0 for {taken[0]}.0% of the images; {true[0]}"
        )


def test_what_a_threshold_and_a_temperature_do_is_said(brightest_column):
    shown, labels = np.array([0, 1, 2, 0]), np.array([0, 1, 2, 1])
    images = images_of(shown)
    images[3, 0, 1, 0] = 190  # columns 0 and 1 differ by 1 in the logits
    found = evaluation.evaluate(
        brightest_column, images, labels, CLASSES, temperature=2.0, threshold=0.9
    )
    assert found["confident"] == {
        "threshold": 0.9, "images": 3, "precision": 1.0, "coverage": 0.75
    }  # fmt: skip
    half = 1 / (1 + np.exp(-0.5))  # of the doubtful image, at temperature 2
    assert found["calibrated"]["temperature"] == 2.0
    assert found["calibrated"]["expected_calibration_error"] == pytest.approx(half / 4, abs=1e-3)


# --- outputs that are not probabilities ---


def ending(*layers):
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


BAD_ENDS = {
    "logits": ([keras.layers.Rescaling(1.5)], "are not probabilities"),
    "one sigmoid": ([keras.layers.Dense(1, activation="sigmoid")], "has one output"),
    "sigmoids": ([keras.layers.Activation("sigmoid")], "are not probabilities"),
    "nan": ([keras.layers.Rescaling(float("nan"))], "gives NaN or infinity for "),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "sigmoids" else n for n in BAD_ENDS],
)
def test_outputs_that_are_no_probabilities_are_refused(name, tmp_path):
    layers, words = BAD_ENDS[name]
    model = ending(*layers)
    model.save(tmp_path / "bad.keras")
    images = np.full((3, 4, 4, 3), 200, np.uint8)
    with pytest.raises(InputError, match=words):
        evaluation.evaluate(model, images, np.zeros(3, int), ["a", "b", "c"])
    with pytest.raises(InputError, match=words):
        cifar_lab.load(tmp_path / "bad.keras").probabilities(images)
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    assert_refused(run_here("predict.py", "bad.keras", "a.png", cwd=tmp_path), "bad.keras: ", words)


# --- files without a card, several networks ---


def test_a_lone_keras_file_is_tested_on_what_it_is_told(photos, tmp_path):
    """Red, green and blue by their means: b, g, r as the folders are sorted."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    x = keras.layers.Dense(3, use_bias=False, name="swap")(x)
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    model.get_layer("swap").set_weights([np.eye(3)[::-1] / 10])
    model.save(tmp_path / "alone.keras")
    found = run_json("evaluate.py", tmp_path / "alone.keras", "--data", photos, here=True)
    assert found["images"] == 36 and found["accuracy"] == 1.0  # all of them: none was trained on
    done = run_here("evaluate.py", tmp_path / "alone.keras", "--data", photos)
    assert "has no card: its outputs are taken for the classes of" in done.stderr
    assert cifar_lab.evaluate(tmp_path / "alone.keras", photos)["images"] == 36
    assert_refused(
        run_here("evaluate.py", tmp_path / "alone.keras"), "--data", "has no export card"
    )
    other = run_here("evaluate.py", tmp_path / "alone.keras", "--data", "synthetic")
    assert_refused(other, "has 10 classes, the network 3 outputs")


def test_several_networks_and_their_mean(fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    model, card = bundles.load(folder)
    second = shutil.copytree(folder, tmp_path / "second")
    weights = model.get_weights()
    model.set_weights([*weights[:-1], weights[-1] + np.linspace(-2, 2, 10)])
    model.save(second / "model.keras")
    card["model_sha256"] = bundles.file_sha256(second / "model.keras")
    (second / "card.json").write_text(json.dumps(card))
    found = run_json("evaluate.py", folder, second, "--data-dir", root, here=True)
    assert [n["name"] for n in found["networks"]] == [str(folder), str(second)]
    dataset = data.load("fashion-mnist", str(root))
    pair = [bundles.load(f)[0] for f in (folder, second)]
    mean = np.mean([evaluation.probabilities(m, dataset.test_images) for m in pair], axis=0)
    expected = evaluation.scores(mean, dataset.test_labels, dataset.classes)
    assert found["ensemble"]["accuracy"] == expected["accuracy"]
    assert found["ensemble"]["loss"] == pytest.approx(expected["loss"])
    alone = run_json("evaluate.py", folder, "--data-dir", root, here=True)
    assert found["networks"][0]["accuracy"] == alone["accuracy"]
    assert found["networks"][0]["loss"] == pytest.approx(alone["loss"])
    api = cifar_lab.evaluate([folder, pair[1]], dataset)
    assert api["ensemble"]["confusion"] == expected["confusion"]
    done = run_here("evaluate.py", folder, second, "--data-dir", root)
    assert "\nensemble of 2 " in done.stdout and done.returncode == 0
    refused = run_here("evaluate.py", folder, second, "--views", 2)
    assert_refused(refused, "--views: is for one network, received 2")
    with pytest.raises(InputError, match="for one network"):
        cifar_lab.evaluate([folder, second], dataset, precision=0.9)
    with pytest.raises(InputError, match="at least one network"):
        cifar_lab.evaluate([])


def test_networks_of_other_classes_or_images_are_no_ensemble(tmp_path):
    """Two networks of colours: one of other classes, one that was trained on the folder."""
    rng = np.random.default_rng(0)
    for label in "abc":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    folder, dataset = str(tmp_path / "photos"), data.load(str(tmp_path / "photos"), None, (4, 4, 3))
    three = ending(keras.layers.Dense(3, activation="softmax"))

    def subject(name, classes, **own):
        card = {"rung": name, "classes": classes, "data": {"name": folder, **own}}
        return judging.Subject(name, None, card, three)

    trained = subject("trained", list("abc"), test_sha256=dataset.test_sha256())
    again, known = replace(trained, name="again"), {"rows": []}
    found = judging.judge_together([trained, again], None, None, known["rows"].append)
    assert found["ensemble"]["images"] == 3
    assert known["rows"] == [f"{folder}: tested on the fifth of it that was kept from training"]
    for other, words in (
        (subject("other", list("abd")), "'c' is not a class of the model"),
        (subject("fresh", list("abc")), "fresh: has other test images"),
    ):
        with pytest.raises(InputError, match=words):
            judging.judge_together([trained, other], None, None, print)
    with pytest.raises(InputError, match="mine: has other classes than trained"):
        mine = judging.Subject("mine", None, {"classes": list("xyz")}, three)
        judging.judge_together([trained, mine], dataset, None, print)
