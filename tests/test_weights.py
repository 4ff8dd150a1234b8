"""Plain Keras weights files: begun with, tested, left behind, looked at before they are read."""

import dataclasses
import json
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import cifar_lab
from cifar_lab import bundles, data, networks, training, weights
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER
from cifar_lab.recipe import Recipe
from support import DEEP, assert_refused, command_env, run_here, run_json

TINY = Recipe(
    data="synthetic",
    builder="airbench",
    builder_options={"widths": [4, 8], "convolutions": 1, "activation": "relu"},
    epochs=1,
    batch_size=64,
    keep="last",
)

NETS = """
from keras import Input, Sequential, layers

def small(input_shape, num_classes, *, width=4):
    return Sequential([
        Input(input_shape), layers.Rescaling(1 / 255),
        layers.Conv2D(width, 3, strides=4, activation="relu"), layers.GlobalAveragePooling2D(),
        layers.Dense(num_classes, activation="softmax")])
"""


def drawn(recipe=TINY, classes=10, seed=1):
    """A network of a recipe with weights of a seed."""
    keras.utils.set_random_seed(seed)
    return networks.build(recipe, classes)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The weights of a tiny network, as a person saves them."""
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    drawn().save_weights(path)
    return path


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    """The weights of the network of cifar10-74, drawn."""
    path = tmp_path_factory.mktemp("cnn") / "cnn.weights.h5"
    drawn(LADDER["cifar10-74"].recipe).save_weights(path)
    return path


def noise(classes=10, images=200):
    """A data set that nobody can learn, quickly made."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(images) % classes
    names = tuple(map(str, range(classes)))
    return data.Dataset("noise", names, pixels, labels, pixels[:100], labels[:100])


# --- a network with a file's weights ---


def test_a_network_has_the_files_weights(file):
    assert same(weights.network(TINY, 10, file), drawn())
    assert not same(weights.network(TINY, 10, file), drawn(seed=2))


def test_a_compiled_and_trained_models_file_is_read_too(tmp_path):
    model = drawn()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 32, 32, 3)), np.zeros(2), verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")  # with the optimizer's variables
    assert same(weights.network(TINY, 10, tmp_path / "m.weights.h5"), model)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_file_of_another_backend(backend, tmp_path):
    pytest.importorskip(backend)
    path = tmp_path / "other.weights.h5"
    code = (
        "import keras, sys; from cifar_lab import models; keras.utils.set_random_seed(3)\n"
        "model = models.airbench(widths=[4, 8], activation='relu')\n"
        "model.save_weights(sys.argv[1])\n"
        "print(float(sum(abs(w).sum() for w in model.get_weights())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=command_env(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = weights.network(TINY, 10, path)
    total = float(sum(abs(w).sum() for w in found.get_weights()))
    assert total == pytest.approx(float(done.stdout), rel=1e-5)


@pytest.mark.parametrize(
    "rung",
    [
        pytest.param(rung, marks=pytest.mark.slow)
        if entry.parameters > 3e6 or rung in DEEP
        else rung
        for rung, entry in LADDER.items()
    ],
)
def test_every_rungs_network_reads_its_own_file(rung, tmp_path):
    recipe = LADDER[rung].recipe
    classes = data.num_classes(recipe.data)
    model = networks.build(recipe, classes)
    model.save_weights(tmp_path / "m.weights.h5")
    assert same(weights.network(recipe, classes, tmp_path / "m.weights.h5"), model)


def test_weights_of_a_bundle_are_read_by_keras_alone(file, tmp_path):
    """train --save-weights: by a person's own model, and the same as the bundle's model."""
    few = noise()
    training.train(TINY, few, tmp_path / "b", rung="t", test=False, save_weights=True)
    own = drawn(seed=9)
    own.load_weights(tmp_path / "b" / "model.weights.h5")
    assert same(own, bundles.load(tmp_path / "b")[0])
    (tmp_path / "b" / "model.weights.h5").unlink()
    # a finished run is not trained again for it
    _, before = training.train(
        TINY, few, tmp_path / "b", rung="t", test=False, resume=True, save_weights=True
    )
    assert before and same(weights.network(TINY, 10, tmp_path / "b" / "model.weights.h5"), own)
    bundles.prepare(tmp_path / "b", 0)  # the file is a bundle's own
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [
        "card.json",
        "history.csv",
        "model.keras",
        "model.weights.h5",
    ]


# --- training from it ---


def trainer_of(recipe, dataset):
    return training.Trainer(training.Plan.of(recipe, dataset))


def test_training_begins_with_the_files_weights(file):
    recipe = networks.begun_from(TINY, f"weights:{file}")
    trainer = trainer_of(recipe, noise())
    assert same(trainer.network, drawn()) and trainer.begun == ""
    assert recipe.start == f"weights:{file}" and recipe.head_epochs == 0


def test_a_whitened_layer_is_the_files_and_stays_frozen(file):
    recipe = networks.begun_from(dataclasses.replace(TINY, whitening=True), f"weights:{file}")
    layer = trainer_of(recipe, noise()).network.get_layer("whiten")
    assert not layer.trainable and same(layer, drawn().get_layer("whiten"))


def test_other_classes_get_a_last_layer_of_their_own(file):
    trainer = trainer_of(networks.begun_from(TINY, f"weights:{file}"), noise(3))
    for layer, other in zip(trainer.network.layers, drawn().layers, strict=True):
        if layer.name == "output":
            assert layer.get_weights()[0].shape == (8, 3) and not layer.get_weights()[0].any()
        elif layer.weights:
            assert same(layer, other)
    assert trainer.begun == (
        f"{file}: its layer 'output' has weights of (8, 10), these classes need (8, 3): that layer "
        "begins anew"
    )


def test_the_files_digest_decides_whether_a_run_is_resumed(file, tmp_path):
    own = tmp_path / "own.weights.h5"
    own.write_bytes(file.read_bytes())
    few = noise()
    recipe = networks.begun_from(TINY, f"weights:{own}")
    card, _ = training.train(recipe, few, tmp_path / "b", rung="t", test=False)
    assert card["start_sha256"] == bundles.file_sha256(own)
    assert training.train(recipe, few, tmp_path / "b", rung="t", test=False, resume=True)[1]
    drawn(seed=5).save_weights(own)
    with pytest.raises(InputError, match="`resume` with other settings: start_sha256 was"):
        training.train(recipe, few, tmp_path / "b", rung="t", test=False, resume=True)


# --- through the commands and the public face ---


def ten_classes(folder):
    """A folder of noise, 8 pictures of each class to train on and 2 to test."""
    for i, image in enumerate(noise(images=100).train_images):
        place = folder / ("test" if i >= 80 else "train") / f"c{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    return folder


def test_train_save_and_test(cnn, tmp_path):
    photos = ten_classes(tmp_path / "photos")
    short = ("--data", photos, "--epochs", 1)
    out = tmp_path / "out"
    args = ("train.py", "cifar10-74", *short, "--weights", cnn, "--save-weights", "--output", out)
    result = run_json(*args, here=True)
    card = json.loads((out / "card.json").read_text())
    assert card["recipe"]["start"] == f"weights:{cnn}" and card["recipe"]["head_share"] == 0
    saved = out / "model.weights.h5"
    found = run_json("evaluate.py", "cifar10-74", "--weights", saved, "--data", photos, here=True)
    assert found["accuracy"] == result["test_accuracy"] and found["rung"] == "cifar10-74"
    assert found["bundle"] == str(saved)
    again = cifar_lab.evaluate("cifar10-74", photos, weights=saved, notice=None)
    assert again["accuracy"] == result["test_accuracy"]
    assert_refused(
        run_here(*args, "--from", "cifar10-74", "--overwrite"), "--from, --weights: give one"
    )


def test_a_network_of_ones_own(tmp_path):
    nets = tmp_path / "nets.py"
    nets.write_text(NETS)
    own = networks.build(Recipe(builder=f"{nets}:small"), 10)
    own.save_weights(tmp_path / "own.weights.h5")
    small = noise()
    wanted = cifar_lab.evaluate(own, small)["loss"]
    for what in (f"{nets}:small", Recipe(builder=f"{nets}:small"), networks.resolve):
        if callable(what):
            what = networks.builder_of(Recipe(builder=f"{nets}:small"))
        found = cifar_lab.evaluate(what, small, weights=tmp_path / "own.weights.h5")
        assert found["loss"] == pytest.approx(wanted, rel=1e-6)
    card = cifar_lab.train(
        f"{nets}:small",
        ten_classes(tmp_path / "photos"),
        weights=tmp_path / "own.weights.h5",
        save_weights=True,
        epochs=1,
        output=tmp_path / "b",
        notice=None,
    )
    assert card["start_sha256"] and (tmp_path / "b" / "model.weights.h5").exists()


def test_what_is_on_a_picture(file, cnn, tmp_path):
    nets = tmp_path / "nets.py"
    nets.write_text(NETS)
    own = networks.build(Recipe(builder=f"{nets}:small"), 3)
    own.save_weights(tmp_path / "own.weights.h5")
    picture = tmp_path / "p.png"
    Image.fromarray(noise().test_images[0]).save(picture)
    args = (picture, "--weights", tmp_path / "own.weights.h5", "--top", 3)
    done = run_here("predict.py", f"{nets}:small", *args, "--json")
    assert "so its classes are numbers" in done.stderr  # three outputs; the recipe's data have ten
    told = {row["class"]: row["probability"] for row in json.loads(done.stdout)["top"]}
    wanted = np.asarray(own(noise().test_images[:1].astype("float32")))[0]
    assert [told[str(i)] for i in range(3)] == pytest.approx(wanted, rel=1e-5)
    done = run_here("predict.py", "cifar10-74", picture, "--weights", cnn)
    assert "a weights file names no classes: they are those of cifar10-74's data" in done.stderr
    classifier = cifar_lab.load(TINY, weights=file)
    assert classifier.classes == data.classes_of("synthetic")
    found = classifier.probabilities(noise().test_images[:4])
    wanted = np.asarray(drawn()(noise().test_images[:4].astype("float32")))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    path = tmp_path / "own.weights.h5"
    assert_refused(
        run_here("predict.py", "cifar10-74", picture, "--weights", path), "is not of this network"
    )


def test_the_api_refuses_what_makes_no_sense(file, tmp_path):
    with pytest.raises(InputError, match="`weights`: are for a network that is built"):
        cifar_lab.evaluate(drawn(), "synthetic", weights=file)
    with pytest.raises(InputError, match="`weights`: must be a file's path, received 3"):
        cifar_lab.evaluate("cifar10-74", weights=3)
    with pytest.raises(InputError, match="`start`, `weights`: give one of the two"):
        cifar_lab.train(
            "cifar10-74", "synthetic", start="cifar10-74", weights=file, output=tmp_path / "o"
        )
    with pytest.raises(InputError, match="`weights`: must be a .weights.h5 file, received ''"):
        cifar_lab.evaluate("cifar10-74", weights="")
    with pytest.raises(InputError, match="`weights`: must be given with a rung or FILE.py:NAME"):
        cifar_lab.load(tmp_path, weights=file)
    with pytest.raises(InputError, match="give it as `weights`, with a rung"):
        cifar_lab.load(file)
    with pytest.raises(InputError, match="model_or_path: must be a rung's name"):
        cifar_lab.evaluate(["cifar10-74"], weights=file)


# --- what is refused ---


def broken(folder, kind, cnn):
    """A file of a kind that must not be read; its path."""
    path = folder / f"{kind}.weights.h5"
    if kind == "nowhere":
        return path
    if kind == "folder":
        path.mkdir()
        return path
    if kind == "pipe":
        os.mkfifo(path)
        return path
    if kind == "whole":
        path = folder / "whole.keras"
        drawn().save(path)
        return path
    if kind == "text":
        path.write_text("no weights")
        return path
    content = cnn.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
        return path
    if kind == "header":  # the signature is there, what follows is noise
        path.write_bytes(content[:8] + bytes(range(256)) * 20)
        return path
    if kind == "another":
        drawn(LADDER["cifar10-79"].recipe).save_weights(path)
        return path
    if kind == "other classes":
        path = folder / "other.weights.h5"
        drawn(LADDER["cifar10-74"].recipe, 7).save_weights(path)
        return path
    if kind == "legacy":
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = ["conv1"]
        return path
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        place = file["layers/conv2d/vars"]
        shape = place["0"].shape
        if kind == "nan":
            place["0"][0, 0, 0, 0] = np.nan
            return path
        if kind == "more":
            file["layers/conv2d_9/vars/0"] = np.zeros(shape, "float32")
            return path
        if kind == "loop":
            file["layers/conv2d/again"] = file["layers"]
            return path
        del place["0"]
        if kind == "external link":
            place["0"] = h5py.ExternalLink("/etc/passwd", "/layers")
        elif kind == "soft link":
            place["0"] = h5py.SoftLink("/layers/conv2d_1/vars/0")
        elif kind == "external data":
            outside = folder / "outside.bin"
            outside.write_bytes(bytes(4 * int(np.prod(shape))))
            place.create_dataset(
                "0", shape, "float32", external=[(str(outside), 0, h5py.h5f.UNLIMITED)]
            )
        elif kind == "virtual":
            place.create_virtual_dataset("0", h5py.VirtualLayout(shape, "float32"))
        elif kind == "huge":
            place.create_dataset("0", (1 << 20, 1 << 20, 64), "float32", chunks=(64, 64, 1))
        elif kind == "text inside":
            place["0"] = "weights"
        elif kind == "empty inside":
            place["0"] = h5py.Empty("float32")
        elif kind == "missing":
            pass
        else:
            raise AssertionError(kind)
    return path


REFUSED = {
    "nowhere": "there is no such file",
    "folder": "is a folder, must be a .weights.h5 file",
    "pipe": "is no file, must be a .weights.h5 file",
    "whole": "must end in .weights.h5, as model.save_weights writes it; a .keras file",
    "text": "is not an HDF5 file, or damaged",
    "cut": "is damaged",
    "header": "is damaged",
    "legacy": "holds no layers as Keras 3 saves them",
    "another": "is not of this network, cifar10_cnn: the file has one more layer",
    "other classes": "layer 'output' has weights of (512, 10), in the file (512, 7)",
    "nan": "layer 'conv1' has NaN or infinity",
    "more": "the file has one more layer, 'layers/conv2d_9' with weights of (3, 3, 3, 32)",
    "loop": "has too many entries, or too deep ones",
    "external link": "'layers/conv2d/vars/0' is a link to elsewhere",
    "soft link": "'layers/conv2d/vars/0' is a link to elsewhere",
    "external data": "'layers/conv2d/vars/0' has its data elsewhere",
    "virtual": "'layers/conv2d/vars/0' has its data elsewhere",
    "huge": "declares (1048576, 1048576, 64), 281,474,976,710,656 bytes, in a file of",
    "text inside": "must hold floats, holds object",
    "empty inside": "must hold floats, holds nothing",
    "missing": "layer 'conv1' has weights of (3, 3, 3, 32), the file has none",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_evaluate_refuses(kind, cnn, tmp_path):
    path = broken(tmp_path, kind, cnn)
    done = run_here("evaluate.py", "cifar10-74", "--data", "synthetic", "--weights", path)
    assert_refused(done, f"--weights {path}: ", REFUSED[kind])


@pytest.mark.parametrize("kind", ["nowhere", "whole", "huge"])
def test_train_refuses(kind, cnn, tmp_path):
    path, out = broken(tmp_path, kind, cnn), tmp_path / "out"
    args = ("--data", "synthetic", "--limit", 100, "--epochs", 1, "--output", out)
    done = run_here("train.py", "cifar10-74", *args, "--weights", path)
    assert_refused(done, f"--weights {path}: ", REFUSED[kind], output=out)


def test_a_weights_file_is_no_network_and_a_bundle_has_its_own(cnn, tmp_path):
    told = "is a weights file, which names no network: give it as --weights, with a rung or FILE.py"
    out = tmp_path / "out"
    assert_refused(run_here("evaluate.py", cnn), f"{cnn}: {told}")
    assert_refused(run_here("predict.py", cnn, "picture.png"), f"{cnn}: {told}")
    args = ("--data", "synthetic", "--from", cnn, "--output", out)
    assert_refused(run_here("train.py", "cifar10-74", *args), f"{cnn}: {told}", output=out)
    done = run_here("evaluate.py", tmp_path, "--weights", cnn)
    assert_refused(done, "--weights: must be given with a rung", "which has weights of its own")


def test_evaluate_takes_one_network_with_weights(cnn):
    done = run_here("evaluate.py", "cifar10-74", "cifar10-79", "--weights", cnn)
    assert_refused(done, "--weights: is for one network, received 2")
    done = run_here("evaluate.py", "nowhere", "--weights", cnn)
    assert_refused(done, "unknown rung")
