"""The public face: what `import cifar_lab` gives, and networks of one's own."""

import dataclasses
import json
import pkgutil
import shutil
import subprocess
import sys

import numpy as np
import pytest

import cifar_lab
from cifar_lab import bundles, data, networks, paths
from cifar_lab.errors import InputError
from support import ROOT, assert_refused, command_env, copy_checkout, run_here, run_json


def python(code, cwd, **env):
    """Run code in a fresh process: its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=command_env(**env),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_is_cheap_and_lazy(tmp_path):
    code = (
        "import time, sys; t = time.process_time(); import cifar_lab\n"
        "from cifar_lab import train, evaluate, load, load_data, export, search, build_model\n"
        "from cifar_lab import Recipe, LADDER, Classifier, InputError, Dataset\n"
        "print(time.process_time() - t)\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "assert callable(train) and callable(export) and callable(search)"
    )
    seconds = min(float(python(code, tmp_path)) for _ in range(3))
    assert seconds < 1.0  # numpy and Pillow; the package itself is tested below
    code = "import time; t = time.process_time(); import cifar_lab; print(time.process_time() - t)"
    assert min(float(python(code, tmp_path)) for _ in range(3)) < 0.2


@pytest.mark.parametrize("folder", ["the checkout", "elsewhere"])
def test_train_is_the_function_and_stays_it(folder, tmp_path):
    code = (
        "from cifar_lab import train\n"
        "import cifar_lab, cifar_lab.searching.space, cifar_lab.exporting, cifar_lab.ladder\n"
        "import cifar_lab.cli, cifar_lab.data\n"
        "for name in cifar_lab.__all__: getattr(cifar_lab, name)\n"
        "names = 'train evaluate export search load load_data'.split()\n"
        "print(*(type(getattr(cifar_lab, n)).__name__ for n in names), train is cifar_lab.train)"
    )
    told = python(code, ROOT if folder == "the checkout" else tmp_path)
    assert told.split() == ["function"] * 6 + ["True"]


def test_importing_what_is_called_like_a_command_runs_nothing(tmp_path):
    code = (
        "try: import cifar_lab.train\n"
        "except ModuleNotFoundError: print('no such module')\n"
        "import cifar_lab.__main__; print('done')"
    )
    assert python(code, ROOT).split("\n")[-2:] == ["done", ""]


def test_help_reads_as_an_introduction_and_walking_ends(tmp_path):
    text = python("import cifar_lab; help(cifar_lab)", tmp_path)
    for word in (
        "cifar_lab.load(",
        "train(recipe_or_rung",
        "LADDER",
        "one line",
        "class Classifier",
    ):
        assert word in text
    names = [m.name for m in pkgutil.walk_packages(cifar_lab.__path__, "cifar_lab.")]
    assert "cifar_lab.training.plan" in names and len(names) == len(set(names)) < 300
    assert (ROOT / "cifar_lab" / "py.typed").exists()
    assert all(str(p).endswith("cifar_lab") for p in cifar_lab.__path__)


def test_a_checkout_that_is_not_installed_says_how_to(tmp_path):
    """Its dependencies are there, the package is not, or is another copy's."""
    copy = copy_checkout(tmp_path / "checkout", "train.py", "evaluate.py", "tune.py")
    for script in ("train.py", "evaluate.py", "tune.py"):
        done = subprocess.run(
            [sys.executable, script, "cifar10-74"],
            cwd=copy,
            env=command_env(),
            capture_output=True,
            text=True,
        )
        assert_refused(done, "pip install -e .", str(copy))
    with pytest.raises(AssertionError, match="pip install -e ."):
        python("import cifar_lab; cifar_lab.load('cifar10-74')", copy)


def test_one_hint_for_a_checkout_and_another_for_an_installed_copy(monkeypatch):
    assert paths.install_hint("tune") == "pip install -e '.[tune]'"
    assert paths.command("train") == "python train.py"
    monkeypatch.setattr(paths, "CHECKOUT", None)
    assert paths.install_hint("tune") == "pip install 'cifar_lab[tune]'"
    assert paths.command("train") == "cifar-lab train"


# --- the functions ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(card, folder) of a rung trained through the API on a little of the embedded data."""
    folder = tmp_path_factory.mktemp("api") / "first"
    lines = []
    card = cifar_lab.train(
        "cifar10-lenet5",
        "synthetic",
        limit=300,
        epochs=2,
        output=folder,
        seed=3,
        notice=lines.append,
    )
    assert lines[-1].startswith("epoch   2/2")
    return card, folder


@pytest.fixture(scope="module")
def embedded():
    """The embedded data set, which takes seconds to draw."""
    return cifar_lab.load_data("synthetic")


def test_train_evaluate_and_load(trained, embedded):
    card, folder = trained
    assert card["bundle"] == str(folder) and card["recipe"]["epochs"] == 2 and card["seed"] == 3
    assert {"commit", "clean", "alone"} <= set(card) and card["alone"] is False
    found = cifar_lab.evaluate(folder)
    assert found["accuracy"] == card["test_accuracy"] and found["images"] == 2000
    dataset, network = embedded, cifar_lab.load(folder)
    again = cifar_lab.evaluate(network, dataset)
    assert again["accuracy"] == pytest.approx(card["test_accuracy"], abs=2e-3)
    model, _ = bundles.load(folder)
    assert cifar_lab.evaluate(model, dataset)["accuracy"] == card["test_accuracy"]
    best = network.classify(dataset.test_images[:5], top=2)
    assert len(best) == 5 and all(len(b) == 2 and b[0][1] >= b[1][1] for b in best)
    with pytest.raises(InputError, match="holds a trained bundle already; `overwrite` replaces it"):
        cifar_lab.train("cifar10-lenet5", "synthetic", limit=300, epochs=2, output=folder)


def test_a_committed_rungs_name_is_enough(photos):
    network = cifar_lab.load("cifar10-90")
    files = sorted((photos / "r").iterdir())[:3]
    by_file = network.classify(files)
    pixels = np.stack([data.read_image(f, network.input_shape) for f in files])
    assert by_file == network.classify(pixels) and by_file[0][0][0] in network.classes
    assert network.classify(str(files[0])) == by_file[:1]
    with pytest.raises(ValueError, match="top: must be 1 to 10"):
        network.classify(pixels, top=11)
    with pytest.raises(InputError, match="cannot be read"):
        network.classify(["nowhere.jpg"])


def test_export_and_search(trained, tmp_path):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("keras_tuner")
    card = cifar_lab.export(trained[1], "litert", tmp_path / "m.tflite")
    assert card["agreement"] == 1.0 and (tmp_path / "m.tflite").stat().st_size == card["bytes"]
    with pytest.raises(InputError, match="format: must be one of litert"):
        cifar_lab.export(trained[1], "pickle")
    with pytest.raises(InputError, match="must end in .tflite"):
        cifar_lab.export(trained[1], "litert", tmp_path / "m.onnx")
    found = cifar_lab.search(
        "cifar10-90",
        {"width": "0.1:0.2", "activation": "relu,silu"},
        "synthetic",
        output=tmp_path / "search",
        max_trials=1,
        trial_epochs=1,
        trial_images=100,
        notice=None,
    )
    assert found["completed"] == 1 and set(found["best"]) > {"width", "activation"}
    with pytest.raises(InputError, match="strategy: must be one of narrowing"):
        cifar_lab.search("cifar10-90", strategy="guess", output=tmp_path / "s")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda out: cifar_lab.train("cifar10-99", output=out), "unknown rung"),
        (
            lambda out: cifar_lab.train(3, output=out),
            "a rung's name, a Recipe or a builder",
        ),
        (lambda out: cifar_lab.train("cifar10-74", "synthetic", epochs=0, output=out), "epochs"),
        (lambda out: cifar_lab.train("cifar10-74", "synthetic", limit=3, output=out), "limit"),
        (lambda out: cifar_lab.load("nowhere"), "neither a rung"),
        (lambda out: cifar_lab.load_data("imagenet"), "must be one of cifar10"),
        (lambda out: cifar_lab.evaluate("nowhere"), "neither a rung"),
    ],
)
def test_wrong_calls_are_input_errors(call, words, tmp_path):
    with pytest.raises(InputError, match=words):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: cifar_lab.train("cifar10-74", "synthetic", seed=-1), "seed: must be"),
        (lambda: cifar_lab.train("cifar10-74", "synthetic", limit="5"), "limit: must be"),
        (lambda: cifar_lab.search("cifar10-74", max_trials=0), "max_trials: must be"),
        (lambda: cifar_lab.search("cifar10-74", max_trials=None), "must bound the search"),
        (lambda: cifar_lab.search("cifar10-74", max_minutes=-1), "max_minutes: must be"),
        (lambda: cifar_lab.search("cifar10-74", trial_epochs=-1), "trial_epochs: must be"),
        (lambda: cifar_lab.evaluate(3), "model_or_path: must be"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_starts(call, words, tmp_path):
    with pytest.raises(InputError, match=words):
        call()


def test_a_network_without_a_card_is_tested_on_what_it_is_told(trained, embedded, tmp_path):
    model, card = bundles.load(trained[1])
    found = cifar_lab.evaluate(model, "synthetic")
    assert found["accuracy"] == card["test_accuracy"] and "disc" in found["per_class"]
    shutil.copy(trained[1] / "model.keras", tmp_path / "alone.keras")
    alone = cifar_lab.load(tmp_path / "alone.keras")
    again = cifar_lab.evaluate(alone, "synthetic")
    assert again["accuracy"] == pytest.approx(card["test_accuracy"], abs=2e-3)
    assert "disc" in cifar_lab.evaluate(alone, embedded)["per_class"]
    with pytest.raises(InputError, match="the network takes"):
        grey = dataclasses.replace(embedded, test_images=embedded.test_images[..., :1])
        cifar_lab.evaluate(model, grey)


def test_the_bundle_of_one_file_is_not_anothers(tmp_path, monkeypatch):
    """Two files with a network of one name, a rung's own run, and a second bundle of the first."""
    monkeypatch.setattr(paths, "CHECKOUT", None)
    monkeypatch.chdir(tmp_path)
    for file in ("a.py", "b.py", "c.py"):
        (tmp_path / file).write_text("")

    def leave(folder, builder, rung="net"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        card = {
            **dict.fromkeys(("device", "data_sha256", "model_sha256"), "x"),
            **dict.fromkeys(("seed", "val_accuracy", "test_accuracy", "seconds"), 0),
            "versions": {},
            "rung": rung,
            "recipe": {"builder": builder},
            "classes": ["a", "b"],
        }
        (tmp_path / "runs" / folder / "card.json").write_text(json.dumps(card))

    leave("net", "a.py:net")
    leave("cifar10-74-photos", "cifar10_cnn", "cifar10-74")
    assert bundles.find("a.py:net").name == bundles.find("a.py").name == "net"
    for name in ("b.py:net", "b.py", "a.py:other", "c.py:cifar10-74"):
        with pytest.raises(InputError):
            bundles.find(name)
    leave("net-photos", "b.py:net")
    assert bundles.find("b.py:net").name == "net-photos"
    leave("net-again", "a.py:net")
    with pytest.raises(InputError, match="several bundles"):
        bundles.find("a.py:net")
    with pytest.raises(InputError, match="d.py: there is no such file"):
        bundles.find("d.py:net")


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'teach'"):
        cifar_lab.teach  # noqa: B018
    assert set(cifar_lab.__all__) <= set(dir(cifar_lab))


# --- a network and a recipe of one's own ---

NETS = """
import keras
from keras import Input, Sequential, layers
from cifar_lab import Recipe

def small(input_shape, num_classes, *, width=8):
    return Sequential([
        Input(input_shape), layers.Rescaling(1 / 255), layers.Conv2D(width, 3, activation="relu"),
        layers.Conv2D(2 * width, 3, strides=2, activation="relu"), layers.GlobalAveragePooling2D(),
        layers.Dense(num_classes, activation="softmax")])

small_recipe = Recipe(builder=small, epochs=4, learning_rate=0.01, batch_size=8, schedule="cosine",
                      cpu_precision="mixed_bfloat16", builder_options={"width": 6})
number = 3
def nothing(input_shape, num_classes): return 3
def sizes(input_shape, num_classes): return small(input_shape, num_classes + 1)
def shapes(input_shape, num_classes): return small((16, 16, 3), num_classes)
def raises(input_shape, num_classes): raise KeyError("oops")
def leaves(input_shape, num_classes): raise SystemExit(0)
def logits(input_shape, n):
    return Sequential([Input(input_shape), layers.Flatten(), layers.Dense(n)])
class Mine(layers.Layer):
    def call(self, x): return x
def layer(input_shape, n):
    return Sequential([Input(input_shape), Mine(), layers.Flatten(), layers.Dense(n, "softmax")])
def function(input_shape, n):
    return Sequential([Input(input_shape), layers.Lambda(lambda x: x), layers.Flatten(),
                       layers.Dense(n, "softmax")])
"""


@pytest.fixture
def nets(tmp_path):
    file = tmp_path / "my_nets.py"
    file.write_text(NETS)
    return file


def test_a_recipe_of_ones_own_from_folder_to_int8_without_its_file(
    nets, photos, tmp_path, monkeypatch
):
    """Layers without names, in bfloat16 where the processor has it; then the file is deleted."""
    pytest.importorskip("ai_edge_litert")
    out = tmp_path / "out"
    request = ("train.py", f"{nets}:small_recipe", "--data", photos, "--output", out)
    result = run_json(*request, here=True)
    card = json.loads((out / "card.json").read_text())
    assert card["rung"] == result["rung"] == "small_recipe"
    assert card["recipe"]["builder"] == "my_nets.py:small" and card["recipe"]["epochs"] == 4
    assert run_json(*request, "--resume", here=True)["finished_before"]
    nets.write_text(NETS.replace("2 * width", "3 * width"))
    monkeypatch.setattr(networks, "_loaded", {})  # as a new process has it
    assert_refused(run_here(*request, "--resume"), "--resume with other settings: network was")
    nets.unlink()
    networks._loaded.clear()
    assert run_json("evaluate.py", out, here=True)["accuracy"] == card["test_accuracy"]
    exported = run_json("export.py", out, "--format", "litert-int8", here=True)
    assert exported["images"] == 6
    picture = next((photos / "r").iterdir())
    told = run_json("predict.py", out / "model.int8.tflite", picture, here=True)
    assert told["class"] in ("b", "g", "r")


def test_a_builder_alone_and_a_recipe_file_that_names_one(nets, tmp_path):
    few = ("--data", "synthetic", "--limit", 100, "--epochs", 1)
    run_json("train.py", f"{nets}:small", *few, "--output", tmp_path / "a", here=True)
    recipe = json.loads((tmp_path / "a" / "card.json").read_text())["recipe"]
    assert (recipe["optimizer"], recipe["batch_size"], recipe["builder_options"]) == (
        "adam",
        32,
        {},
    )
    (tmp_path / "r.json").write_text(
        json.dumps({"builder": "my_nets.py:small", "builder_options": {"width": 4}})
    )
    args = ("--recipe", tmp_path / "r.json", *few, "--output", tmp_path / "b")
    run_json("train.py", "cifar10-74", *args, here=True)  # the file is found beside the JSON
    model, card = bundles.load(tmp_path / "b")
    assert card["recipe"]["builder"] == "my_nets.py:small" and card["rung"] == "cifar10-74"
    assert model.count_params() == 4 * 28 + 8 * 37 + 90
    shown = run_json("train.py", f"{nets}:small", "--show", here=True)
    assert shown["parameters"] == 8 * 28 + 16 * 73 + 170


@pytest.mark.slow
def test_a_network_of_ones_own_is_searched(nets, tmp_path):
    pytest.importorskip("keras_tuner")
    out = tmp_path / "search"
    few = ("--data", "synthetic", "--trial-images", 100, "--trial-epochs", 1, "--max-trials", 1)
    ranges = ("--range", "learning_rate=1e-4:1e-2:log", "--range", "optimizer=adam,sgd")
    found = run_json("tune.py", f"{nets}:small_recipe", *ranges, *few, "--output", out)
    assert found["completed"] == 1 and found["best"]["optimizer"] in ("adam", "sgd")


@pytest.mark.parametrize(
    "name, words",
    [
        ("nowhere.py:small", ["nowhere.py", "no such file"]),
        ("my_nets.py:tiny", ["has no 'tiny'", "small"]),
        ("my_nets.py:number", ["must be a Recipe or a builder function, is a int"]),
        ("my_nets.py:nothing", ["must return a keras.Model, returned int"]),
        ("my_nets.py:sizes", ["must give (None, 10)", "gives (None, 11)"]),
        ("my_nets.py:shapes", ["must take images of (None, 32, 32, 3)"]),
        ("my_nets.py:raises", ["KeyError", "oops"]),
        ("my_nets.py:leaves", ["SystemExit"]),
        ("my_nets.py:logits", ["probabilities that sum to 1", "softmax"]),
        ("my_nets.py:layer", ["Keras' own layers", "Mine"]),
        ("my_nets.py:function", ["Keras' own layers", "lambda"]),
        ("broken.py:small", ["broken.py, line 3", "SyntaxError"]),
        ("raising.py:small", ["raising.py, line 2", "ZeroDivisionError"]),
        ("two.py", ["defines 2 recipes"]),
    ],
)
def test_what_a_file_does_wrong_is_one_line(name, words, nets, tmp_path):
    (nets.parent / "broken.py").write_text("x = 1\ny = 2\ndef small(:\n")
    (nets.parent / "raising.py").write_text("x = 1\nx / 0\n")
    two = "from cifar_lab import Recipe\na = Recipe()\nb = Recipe()\n"
    (nets.parent / "two.py").write_text(two)
    with pytest.raises(InputError) as error:
        networks.build(networks.resolve(str(nets.parent / name))[1], 10)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["raises", "sizes"])
def test_it_is_refused_before_any_training_by_every_command(name, nets, tmp_path):
    out, own = tmp_path / "out", f"my_nets.py:{name}"
    done = run_here("train.py", own, "--data", "synthetic", "--output", out, cwd=nets.parent)
    assert_refused(done, f"my_nets.py:{name}", output=out)
    if name == "sizes":  # every command takes the name, and finds no bundle of it
        for command, *more in (
            ["evaluate.py"],
            ["predict.py", "x.png"],
            ["export.py", "--format", "onnx"],
        ):
            assert_refused(run_here(command, own, *more, cwd=nets.parent), "train it first")


def test_a_file_named_like_a_standard_module_beside_ones_own_does_no_harm(nets, tmp_path):
    (nets.parent / "random.py").write_text("raise SystemExit('mine')\n")
    (nets.parent / "helper.py").write_text("WIDTH = 4\n")
    nets.write_text(NETS + "\nimport random, helper\nrandom.random(); small(( 32, 32, 3), 3)\n")
    shown = run_json("train.py", f"{nets}:small", "--show", cwd=ROOT)
    assert shown["rung"] == "small"
