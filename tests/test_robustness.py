"""What networks keep under corruptions and as dials are turned."""

import numpy as np
import pytest

import cifar_lab
from cifar_lab import corruptions, evaluation, robustness
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError
from support import ROOT, assert_refused, run_here, run_json

TINY = ROOT / "saved_models/cifar10-tiny-88/model.int8.tflite"


@pytest.fixture(scope="module")
def plain():
    """(network, images, labels): a linear one that knows the embedded set with all dials at 0."""
    import keras

    zero = synthetic.Dials(**dict.fromkeys(synthetic.DIAL_NAMES, 0))
    images = np.stack([synthetic.draw(k, np.random.default_rng(0), zero) for k in range(10)])
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(images, np.arange(10), epochs=40, verbose=0)
    return model, images, np.arange(10)


@pytest.fixture(scope="module")
def fashion_table(fashion_bundle):
    """(table, Classifier, images, labels) of a small network that the real command trained."""
    folder, data_dir = fashion_bundle
    data = cifar_lab.load_data("fashion-mnist", data_dir)
    network = cifar_lab.load(folder)
    images, labels = data.test_images, data.test_labels
    return robustness.corruption_table(network, images, labels, 40), network, images, labels


# --- corruptions ---


def test_the_table_is_of_the_images_that_evaluate_would_see(fashion_table):
    table, network, images, labels = fashion_table
    assert table["images"] == 40 and table["seed"] == 0
    assert list(table["corruptions"]) == list(corruptions.NAMES)
    places = np.random.default_rng(0).permutation(len(images))[:40]

    def accuracy(pictures):
        classes = network.classes
        return evaluation.evaluate(network, pictures, labels[places], classes)["accuracy"]

    assert table["clean"] == accuracy(images[places])
    for name, severity in (("noise", 5), ("rotation", 1), ("occlusion", 3)):
        spoilt = corruptions.corrupt(images, name, severity)[places]
        assert table["corruptions"][name]["accuracy"][severity - 1] == accuracy(spoilt)
    rows = [row["accuracy"] for row in table["corruptions"].values()]
    assert np.shape(rows) == (11, 5)
    assert table["mean"] == pytest.approx(np.mean(rows))
    assert table["corruptions"]["blur"]["mean"] == pytest.approx(np.mean(rows[1]))
    for key in ("clean", "mean"):
        low, high = table[f"{key}_interval"]
        assert 0 <= low < table[key] < high <= 1


def test_a_network_in_memory_and_its_file_have_one_table(fashion_table, fashion_bundle):
    import keras

    table, _, images, labels = fashion_table
    model = keras.saving.load_model(fashion_bundle[0] / "model.keras", compile=False)
    names = ("contrast", "shift")
    lines = []
    found = robustness.corruption_table(model, images, labels, 40, 0, names, lines.append)
    assert found["corruptions"] == {name: table["corruptions"][name] for name in names}
    assert lines == ["testing 40 of 70 images under 2 corruptions at 5 severities each"]


def test_an_int8_file_with_all_images_and_with_none_of_the_corruptions():
    network, images = cifar_lab.load(TINY), synthetic.load(40, 10)[0]
    labels = network.probabilities(images).argmax(1)
    found = robustness.corruption_table(network, images, labels, None, names=["brightness"])
    assert found["images"] == 40 and found["clean"] == 1
    accuracies = found["corruptions"]["brightness"]["accuracy"]
    assert accuracies[0] > 0.5 and accuracies[-1] < 1
    nothing = robustness.corruption_table(network, images, labels, names=[])
    assert nothing["corruptions"] == {} and "mean" not in nothing
    assert "as they are 100.00%" in robustness.as_text(nothing)


def test_the_table_as_text(fashion_table):
    lines = robustness.as_text(fashion_table[0]).splitlines()
    assert lines[0] == "accuracy in % on 40 of the images (seed 0), corrupted"
    assert lines[1].split() == ["severity", "1", "2", "3", "4", "5", "mean"]
    assert [line.split()[0] for line in lines[2:13]] == list(corruptions.NAMES)
    assert len({len(line) for line in lines[1:13]}) == 1
    assert lines[13].startswith("as they are ") and lines[14].startswith("mean corrupted ")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"images": np.zeros((0, 28, 28, 1), np.uint8)}, "must be as many, at least one"),
        ({"labels": [0]}, "received 70 and 1"),
        ({"limit": 0}, "limit: must be a whole number of at least 1, received 0"),
        ({"limit": 0.5}, "received 0.5"),
        ({"seed": "a"}, "seed: must be a whole number from 0, received 'a'"),
        ({"names": ["noise", "snow"]}, "must be one of noise, .*, received 'snow'"),
    ],
)
def test_wrong_requests(fashion_table, change, words):
    _, network, images, labels = fashion_table
    with pytest.raises(InputError, match=words):
        robustness.corruption_table(
            **{"model": network, "images": images, "labels": labels, **change}
        )


def test_a_trained_network_loses_on_real_images(real_data):
    data = cifar_lab.load_data("cifar10", real_data)
    network = cifar_lab.load(TINY)
    found = robustness.corruption_table(network, data.test_images, data.test_labels, 100)
    assert 0.75 < found["clean"] and 0.5 < found["mean"] < found["clean"]
    noise = found["corruptions"]["noise"]["accuracy"]
    assert noise[0] - noise[-1] > 0.1 and noise[-1] < 0.4


# --- dials ---


def test_a_network_of_the_plain_pictures_knows_those_and_loses_with_each_dial(plain):
    lines = []
    found = robustness.dial_table(plain[0], 40, values=(0, 1), notice=lines.append)
    assert list(found["dials"]) == list(synthetic.DIAL_NAMES) and found["images"] == 40
    assert all(row["accuracy"][0] == 1.0 for row in found["dials"].values())
    last = {dial: row["accuracy"][1] for dial, row in found["dials"].items()}
    assert last["viewpoint"] < 0.6 and max(last.values()) <= 1 and min(last.values()) < 0.6
    assert lines == ["drawing 40 pictures of the embedded set for each setting of its dials"]
    text = robustness.as_text(found).splitlines()
    assert text[1].split() == ["dial", "0", "1", "mean"] and len(text) == 8
    assert text[2].split()[:2] == ["viewpoint", "100.00"]
    assert "the other dials at 0" in text[0]
    harder = robustness.dial_table(plain[0], 40, others=0.5, values=(0.5,))
    assert {row["mean"] for row in harder["dials"].values()} == {
        harder["dials"]["viewpoint"]["mean"]  # one setting, whichever dial is at its 0.5
    }
    assert harder["dials"]["viewpoint"]["mean"] < 0.9


def test_dials_are_for_networks_of_the_embedded_set(plain):
    with pytest.raises(InputError, match="of the embedded set, whose classes .* does not have"):
        robustness.dial_table(cifar_lab.load(TINY))
    with pytest.raises(InputError, match="count: must be a whole number of at least 1"):
        robustness.dial_table(plain[0], 0)
    with pytest.raises(InputError, match="must be a number from 0 to 1, received 2"):
        robustness.dial_table(plain[0], 1, others=2)
    with pytest.raises(InputError, match="must be a number from 0 to 1, received 2"):
        robustness.dial_table(plain[0], 1, values=[2])


# --- the command ---


def test_the_command_prints_both_tables(tmp_path, plain, monkeypatch):
    """Of a network of the embedded set; few images, so that it is quick."""
    plain[0].save(tmp_path / "plain.keras")
    monkeypatch.setattr(robustness, "LIMIT", 20)
    monkeypatch.setattr(robustness, "DIAL_COUNT", 10)
    args = (tmp_path / "plain.keras", "--data", "synthetic", "--corruptions")
    done = run_here("evaluate.py", *args)
    assert done.returncode == 0, done.stderr
    assert "testing 20 of 2,000 images under 11 corruptions at 5 severities each" in done.stderr
    assert "accuracy in % on 20 of the images" in done.stdout and "\nviewpoint " in done.stdout
    found = run_json("evaluate.py", *args, here=True)
    assert len(found["corruptions"]["corruptions"]) == 11 and len(found["dials"]["dials"]) == 6
    again = cifar_lab.evaluate(args[0], "synthetic", corruptions=True, notice=None)
    assert again["corruptions"] == found["corruptions"] and again["dials"] == found["dials"]


def test_several_networks_have_no_table():
    done = run_here("evaluate.py", "cifar10-74", "cifar10-79", "--corruptions")
    assert_refused(done, "--corruptions: is for one network, received 2")
    with pytest.raises(InputError, match="corruptions: are for one network"):
        cifar_lab.evaluate(["cifar10-74", "cifar10-79"], corruptions=True)
