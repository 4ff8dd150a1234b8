"""Training that begins with trained weights, and images that count unequally."""

import csv
import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import cifar_lab
from cifar_lab import adjusting, bundles, data, models, networks, own_pictures, training
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER
from cifar_lab.recipe import Augmentation, Recipe
from cifar_lab.training import losses
from support import assert_refused, run_here, run_json

TINY = Recipe(
    data="x",
    input_shape=(16, 16, 3),
    builder="airbench",
    builder_options={"widths": [4, 8], "convolutions": 1, "activation": "relu"},
    epochs=2,
    batch_size=16,
    validation_fraction=0.2,
    keep="last",
)


def pictures(side=16, classes=("cup", "fork", "plate"), each=20, seed=0):
    """Noise around a colour that tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), each)
    colours = np.array([[220, 60, 60], [60, 220, 60], [60, 60, 220]])[labels]
    images = colours[:, None, None] + rng.normal(0, 30, (len(labels), side, side, 3))
    images = images.clip(0, 255).astype(np.uint8)
    return data.Dataset("x", classes, images, labels, images[::4], labels[::4])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A bundle of the tiny network, whitened, of three classes."""
    folder = tmp_path_factory.mktemp("base") / "base"
    training.train(dataclasses.replace(TINY, whitening=True), pictures(), folder, rung="base")
    return folder


def trainer_of(recipe, dataset, seed=0):
    return training.Trainer(training.Plan.of(recipe, dataset, seed))


def weights_by_layer(network):
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_all_weights_but_the_last_layers_are_taken_at_another_size(base):
    recipe = recipes.resized(networks.begun_from(TINY, str(base)), 24)
    trainer = trainer_of(recipe, pictures(24, ("a", "b")))
    trained = weights_by_layer(bundles.load(base)[0])
    begun = weights_by_layer(trainer.network)
    assert recipe.input_shape == (24, 24, 3) and set(begun) == set(trained)
    assert all(same(begun[name], trained[name]) for name in trained if name != "output")
    assert begun["output"][0].shape == (8, 2) and not begun["output"][0].any()
    assert not trainer.network.get_layer("whiten").trainable


def test_the_last_layer_too_where_the_classes_are_the_same(base):
    trainer = trainer_of(networks.begun_from(TINY, str(base)), pictures())
    trained = weights_by_layer(bundles.load(base)[0])
    assert same(weights_by_layer(trainer.network)["output"], trained["output"])


@pytest.mark.parametrize("freeze, changes", [(2, 4), ("features", 1)])
def test_frozen_layers_stay_as_they_are(base, freeze, changes):
    recipe = adjusting.adjusted(TINY, start=str(base), freeze=freeze)
    trainer = trainer_of(recipe, pictures(classes=("a", "b", "c")))
    before = weights_by_layer(trainer.network)
    for _ in range(2):
        trainer.run_epoch()
    after = weights_by_layer(trainer.network)
    changed = [name for name in before if not same(before[name], after[name])]
    assert changed[-1] == "output"
    if freeze == "features":
        assert changed == ["output"]  # the statistics of normalisation too
    else:
        assert not set(changed) & set(list(before)[:2]) and len(changed) >= changes


def test_the_last_layer_is_trained_alone_first_then_all_at_a_lower_rate(base):
    recipe = dataclasses.replace(
        adjusting.adjusted(TINY, start=str(base)),
        epochs=4,
        head_share=0.5,
        fine_rate=0.1,
        learning_rate=0.02,
    )
    trainer = trainer_of(recipe, pictures(classes=("a", "b", "c")))
    states, rows = [weights_by_layer(trainer.network)], []
    trainer.compile_step()
    assert all(same(states[0][k], v) for k, v in weights_by_layer(trainer.network).items())
    for _ in range(4):
        rows.append(trainer.run_epoch())
        states.append(weights_by_layer(trainer.network))
    changed = [
        {name for name in a if not same(a[name], b[name])}
        for a, b in zip(states, states[1:], strict=False)
    ]
    assert changed[0] == changed[1] == {"output"}
    assert {"conv1_1", "norm2_1", "output"} <= changed[2] & changed[3]
    assert "whiten" not in changed[3]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.02, 0.02, 0.002, 0.002])
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]


@pytest.mark.slow  # shorter ones of its kind: test_training.py, test_image_data_generator.py
def test_a_resumed_run_is_the_same_run_across_the_stages(base, tmp_path):
    recipe = dataclasses.replace(
        adjusting.adjusted(TINY, start=str(base)), epochs=4, head_share=0.5, fine_rate=0.1
    )
    dataset = pictures(classes=("a", "b", "c"))
    whole = trainer_of(recipe, dataset)
    rows = [whole.run_epoch() for _ in range(4)]
    for stop in (1, 2, 3):
        first, second = trainer_of(recipe, dataset), trainer_of(recipe, dataset)
        for _ in range(stop):
            first.run_epoch()
        first.save_state(tmp_path / "s.npz", {})
        second.load_state(tmp_path / "s.npz")
        for row in rows[stop:]:
            again = second.run_epoch()
            assert {k: v for k, v in again.items() if k != "seconds"} == {
                k: v for k, v in row.items() if k != "seconds"
            }
        for a, b in zip(whole.network.get_weights(), second.network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_resume_refuses_another_network_to_begin_with(base, tmp_path):
    recipe, dataset = adjusting.adjusted(TINY, start=str(base)), pictures(classes=("a", "b", "c"))

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    other = tmp_path / "other"
    training.train(dataclasses.replace(TINY, epochs=1), pictures(seed=3), other, rung="base")
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, dataset, tmp_path / "b", rung="t", callbacks=[Stop()])
    card = json.loads((base / "card.json").read_text())
    text, model = json.dumps(card), (base / "model.keras").read_bytes()
    try:
        for name in ("card.json", "model.keras"):
            (base / name).write_bytes((other / name).read_bytes())
        with pytest.raises(InputError, match="`resume` with other settings: start_sha256"):
            training.train(recipe, dataset, tmp_path / "b", rung="t", resume=True)
    finally:
        (base / "card.json").write_text(text)
        (base / "model.keras").write_bytes(model)
    done, _ = training.train(recipe, dataset, tmp_path / "b", rung="t", resume=True)
    assert done["start_sha256"] == card["model_sha256"]


def test_a_network_whose_weights_depend_on_the_size_is_refused_at_another(tmp_path):
    recipe = dataclasses.replace(
        TINY, builder="cifar10_cnn", builder_options={"filters": [4, 4, 4], "hidden_units": 8}
    )
    training.train(recipe, pictures(), tmp_path / "cnn", rung="cnn")
    for side, fits in ((16, True), (24, False)):
        other = recipes.resized(networks.begun_from(TINY, str(tmp_path / "cnn")), side)
        if fits:
            trainer_of(other, pictures(side))
        else:
            with pytest.raises(InputError, match="layer 'poolhidden' has weights of"):
                trainer_of(other, pictures(side))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"freeze": 99}, "must leave one of the 6 layers"),
        ({"start": "nowhere"}, "neither a rung"),
        ({"start": "keras:NoSuchNet"}, "NAME one of MobileNet"),
        ({"start": "keras:MobileNetV2:nowhere.h5"}, "there is no file nowhere.h5"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(base, fields, words):
    with pytest.raises(InputError, match=words):
        recipe = adjusting.adjusted(TINY, **{"start": str(base), **fields})
        trainer_of(recipe, pictures())


def test_freeze_needs_weights_to_begin_with():
    with pytest.raises(InputError, match="`freeze`: needs trained weights"):
        adjusting.adjusted(TINY, freeze=2)


def test_what_is_counted_in_pixels_grows_with_the_images():
    recipe = dataclasses.replace(
        TINY,
        small_images=((0.5, 8),),
        augmentation=Augmentation(crop_padding=2, cutout_size=5, width_shift_range=0.1),
    )
    grown = recipes.resized(recipe, 48)
    assert grown.input_shape == (48, 48, 3) and grown.small_images == ((0.5, 24),)
    assert (grown.augmentation.crop_padding, grown.augmentation.cutout_size) == (6, 15)
    assert grown.augmentation.width_shift_range == 0.1
    assert recipes.resized(recipe, 12).small_images == ()  # 6 pixels a side are too few
    with pytest.raises(InputError, match="`size`: must be a whole number"):
        recipes.resized(recipe, 4)


# --- keras.applications ---


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Weights of a MobileNetV2 without its top, drawn: as Keras' own files have them."""
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    file = tmp_path_factory.mktemp("weights") / "drawn.weights.h5"
    model.save_weights(file)
    return file, model


def test_a_network_of_keras_applications_begins_with_a_files_weights(weights_file):
    file, model = weights_file
    recipe = dataclasses.replace(
        adjusting.adjusted(
            dataclasses.replace(TINY, builder="application", builder_options={"alpha": 0.35}),
            start=f"keras:MobileNetV2:{file}",
            size=32,
        ),
        epochs=1,
        head_share=0.0,
        fine_rate=1.0,
        freeze="features",
    )
    assert recipe.builder_options == {"alpha": 0.35, "network": "MobileNetV2"}
    dataset = pictures(32)
    network = trainer_of(recipe, dataset).bare_network()
    pixels = dataset.train_images[:4].astype("float32")
    wanted = model(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()))
    found = keras.Model(network.input, network.get_layer("pool").input)(pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, module",
    [
        pytest.param("ResNet50", "resnet50", marks=pytest.mark.slow),  # VGG16's are the same
        ("DenseNet121", "densenet"),
        ("VGG16", "vgg16"),
    ],
)
def test_preprocessing_is_keras_own(name, module, tmp_path):
    """What the network is given first, with the kernel of its first layer: channels and scale."""
    from cifar_lab.models import keras_applications

    keras.utils.set_random_seed(2)
    model = getattr(keras.applications, name)(
        input_shape=(32, 32, 3), include_top=False, weights=None
    )
    model.save_weights(tmp_path / "drawn.weights.h5")
    ours = keras_applications.features(name, (32, 32, 3), tmp_path / "drawn.weights.h5", {})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    preprocess = getattr(keras.applications, module).preprocess_input

    def first(network):
        layer = next(x for x in network.layers if x.weights)
        return keras.Model(network.input, layer.output)

    wanted = first(model)(preprocess(pixels.copy()))
    np.testing.assert_allclose(first(ours)(pixels), wanted, rtol=1e-3, atol=1e-3)


def test_weights_that_cannot_be_had_are_one_line(tmp_path, monkeypatch):
    recipe = adjusting.adjusted(TINY, start="keras:MobileNetV2", size=32)

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", fail)
    with pytest.raises(
        InputError, match="ImageNet weights could not be loaded .*keras:MobileNetV2:FILE"
    ):
        trainer_of(recipe, pictures(32))
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    recipe = adjusting.adjusted(TINY, start=f"keras:MobileNetV2:{tmp_path / 'bad.h5'}", size=32)
    with pytest.raises(InputError, match="the weights in .*bad.h5 could not be loaded"):
        trainer_of(recipe, pictures(32))


# --- images that count unequally ---


def test_balanced_images_count_by_the_rarity_of_their_class():
    labels = np.repeat([0, 1], [30, 10])
    images = np.zeros((40, 16, 16, 3), np.uint8)
    dataset = data.Dataset("x", ("often", "seldom"), images, labels, images, labels)
    plan = training.Plan.of(dataclasses.replace(TINY, class_weight="balanced"), dataset)
    weights = plan.targets[plan.train_indices].sum(1)
    assert weights[labels[plan.train_indices] == 0] == pytest.approx(2 / 3)
    assert weights[labels[plan.train_indices] == 1] == pytest.approx(2)


def test_a_weighted_loss_is_keras_own_times_the_weight():
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(3), 8).astype("float32")
    targets = np.eye(3, dtype="float32")[rng.integers(0, 3, 8)]
    weights = rng.uniform(0.5, 2, 8).astype("float32")
    recipe = dataclasses.replace(TINY, class_weight="balanced", label_smoothing=0.1)
    found = losses.build(recipe)(targets * weights[:, None], outputs)
    plain = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert float(found) == pytest.approx(float(plain(targets, outputs, weights)), rel=1e-5)
    assert type(losses.build(TINY)) is keras.losses.CategoricalCrossentropy


# --- a data set's own validation part ---


def test_a_data_sets_own_validation_part_is_used():
    dataset = dataclasses.replace(pictures(), val_indices=np.array([0, 21, 42]))
    plan = training.Plan.of(TINY, dataset)
    assert plan.val_indices.tolist() == [0, 21, 42]
    assert len(plan.train_indices) == 57 and not {0, 21, 42} & set(plan.train_indices.tolist())


# --- through the commands ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "photos"
    dataset = pictures(40, each=12)
    for name in dataset.classes:
        (root / name).mkdir(parents=True)
    for i, (image, label) in enumerate(
        zip(dataset.train_images, dataset.train_labels, strict=True)
    ):
        Image.fromarray(image).save(root / dataset.classes[label] / f"{i}.png")
    return root


def test_flags_make_the_recipe(folder, base):
    flags = ["--from", base, "--size", "24", "--learning-rate", "0.5", "--epochs", "7"]
    flags += ["--set", "label_smoothing=0.3", "--set", "augmentation.cutout_size=4"]
    flags += ["--class-weight", "balanced", "--set", "optimizer=sgd"]
    shown = run_json("train.py", "cifar10-79", "--data", folder, *flags, "--show", here=True)[
        "recipe"
    ]
    assert shown["start"] == str(base) and shown["builder"] == "airbench"
    assert shown["builder_options"] == TINY.builder_options
    wanted = {
        "input_shape": [24, 24, 3],
        "learning_rate": 0.5,
        "epochs": 7,
        "label_smoothing": 0.3,
        "class_weight": "balanced",
        "optimizer": "sgd",
        "head_share": adjusting.HEAD_SHARE,
    }
    assert {key: shown[key] for key in wanted} == wanted
    assert shown["augmentation"]["cutout_size"] == 4


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--set", "nonsense=1"], ["--set: unknown recipe field 'nonsense'"]),
        (["--set", "epochs"], ["'epochs': must be FIELD=VALUE"]),
        (["--set", "epochs.x=1"], ["--set: epochs has no parts"]),
        (["--set", "epochs=many"], ["recipe field epochs: must be a whole number"]),
        (["--freeze", "2"], ["--freeze: needs trained weights to begin with (--from)"]),
        (["--freeze", "all"], ["must be a whole number of layers, or features"]),
        (["--from", "nowhere"], ["'nowhere': is neither a rung"]),
        (["--from", "keras:Nothing"], ["--from keras:Nothing: must be keras:NAME"]),
        (["--epochs", "2", "--set", "epochs=3"], ["--set epochs: is set twice"]),
        (["--set", "momentum=0.5", "--set", "momentum=0.6"], ["--set momentum: is set twice"]),
        (["--size", "3"], ["--size: must be a whole number of pixels from 8"]),
        (["--seeds", "3"], ["must be A:B"]),
        (["--seeds", "5:5"], ["must be A:B"]),
        (["--seeds", "0:2", "--seed", "1"], ["--seed: cannot be given with --seeds"]),
        (["--learning-rate", "0"], ["must be a number greater than 0"]),
        (["--class-weight", "even"], ["invalid choice"]),
        (["--from", "cifar10-74", "--size", "96"], ["--from cifar10-74: takes images of 32 x 32"]),
    ],
)
def test_wrong_flags_are_one_line(flags, words, folder):
    assert_refused(run_here("train.py", "cifar10-79", "--data", folder, *flags), *words)


def test_a_folder_is_trained_in_the_recommended_way(folder):
    shown = run_json("train.py", folder, "--show", here=True)
    assert shown["rung"] == "own-pictures" and shown["recipe"]["start"] == "cifar100-70"
    for flags in (["--data", "synthetic"], ["--set", "data=mnist"]):
        assert_refused(run_here("train.py", folder, *flags), "is the folder of pictures")
    assert_refused(run_here("train.py", f"{folder}-2"), "-2: there is no such folder")
    picture = next(folder.glob("*/*.png"))
    assert_refused(run_here("train.py", picture), "is a file; name the folder with one subfolder")


# --- what the first network was trained on ---


@pytest.fixture(scope="module")
def begun_on(folder, tmp_path_factory):
    """A copy of the folder, and a bundle trained on it."""
    root = tmp_path_factory.mktemp("begun")
    photos = shutil.copytree(folder, root / "photos")
    recipe = dataclasses.replace(TINY, epochs=1)
    cifar_lab.train(recipe, photos, output=root / "first", notice=None)
    return photos, root / "first"


@pytest.mark.parametrize("side", [16, 24])
def test_pictures_of_the_first_training_do_not_test_the_second(begun_on, side, tmp_path):
    photos, first = begun_on
    more = shutil.copytree(photos, tmp_path / "photos")
    recipe = dataclasses.replace(TINY, epochs=1, start=str(first))
    recipe = recipes.resized(recipe, side)
    lines = []
    cifar_lab.train(recipe, more, output=tmp_path / "same", notice=lines.append)
    assert any("so the validation figures flatter" in line for line in lines)
    for i in range(6):
        colour = Image.new("RGB", (20, 20), (200, 10 * i, 30))
        colour.save(more / "cup" / f"more{i}.png")
    with pytest.raises(InputError, match=r"`start` .*: was trained on \d of the \d pictures"):
        cifar_lab.train(recipe, more, output=tmp_path / "out", notice=None)


def test_what_weights_fit_is_said_before_data_are_read(base):
    recipe = LADDER["cifar10-79"].recipe
    with pytest.raises(InputError, match="28 x 28 pixels only, the recipe's have 32 x 32"):
        adjusting.adjusted(recipe, start="fashion-mnist-92")
    assert adjusting.adjusted(recipe, start="fashion-mnist-92", size=28).input_shape == (28, 28, 1)
    with pytest.raises(InputError, match="`start` cifar10-90: takes images in colour"):
        adjusting.adjusted(recipe, start="cifar10-90", fields={"input_shape": [32, 32, 1]})
    with pytest.raises(InputError, match="`fields`: must be a dict"):
        adjusting.adjusted(recipe, fields=["epochs"])


# --- few pictures ---


def few(name, images, given=()):
    recipe = own_pictures.RECIPE if name == own_pictures.LABEL else LADDER[name].recipe
    return adjusting.for_few(recipe, name, images, given)


def test_a_rung_begins_with_its_own_weights_where_pictures_are_few():
    recipe, said = few("cifar10-90", 192)
    assert (recipe.start, recipe.whitening, recipe.batch_size) == ("cifar10-90", False, 16)
    assert recipe.epochs * 12 >= adjusting.STEPS_FROM_TRAINED > (recipe.epochs - 1) * 12
    assert recipe.augmentation == LADDER["cifar10-90"].recipe.augmentation
    assert said == ["beginning with cifar10-90's own weights", "batches of 16", "60 epochs"]
    recipe, said = few("cifar10-90", 192, ("start",))
    assert recipe.start == "" and recipe.epochs * 12 >= adjusting.STEPS_FROM_RANDOM


def test_a_network_that_saw_no_shifted_images_sees_some_and_longer():
    recipe, said = few("cifar10-79", 192)
    assert recipe.augmentation.horizontal_flip and recipe.augmentation.width_shift_range == 0.1
    assert recipe.epochs * 12 >= adjusting.STEPS_OF_SHIFTED and recipe.fine_rate == 1
    kept, _ = few("cifar10-79", 192, ("augmentation.cutout_size",))
    assert kept.augmentation == LADDER["cifar10-79"].recipe.augmentation


def test_what_the_user_set_stays_and_so_does_what_is_enough():
    given = ("batch_size", "epochs", "start", "validation_fraction")
    assert few("cifar10-94", 192, given) == (LADDER["cifar10-94"].recipe, [])
    recipe, said = few("cifar10-88", 1_900)
    assert said == ["beginning with cifar10-88's own weights"]
    assert recipe.epochs == LADDER["cifar10-88"].recipe.epochs
    assert few(own_pictures.LABEL, 192) == (own_pictures.RECIPE, [])
    assert few(own_pictures.LABEL, 40)[0].epochs * 3 >= adjusting.STEPS_OF_OWN_PICTURES


def test_other_data_and_other_recipes_are_left_as_they_are():
    recipe, photos = LADDER["cifar10-79"].recipe, dataclasses.replace(pictures(), name="/photos")
    assert adjusting.for_data(recipe, "cifar10-79", photos)[1].startswith("few pictures: beginning")
    for label, dataset in (
        ("cifar10-79", pictures()),
        ("mine", photos),
        ("cifar10-79", dataclasses.replace(pictures(each=800), name="/photos")),
    ):
        assert adjusting.for_data(recipe, label, dataset) == (recipe, "")
    limited = adjusting.for_data(recipe, "cifar10-79", dataset, limit=100)[1]
    assert limited.startswith("few pictures: beginning")


def test_weights_of_one_size_are_not_begun_with_at_another():
    for name, size, begins in (("cifar10-79", 48, False), ("cifar10-90", 48, True)):
        recipe = recipes.resized(LADDER[name].recipe, size)
        assert bool(adjusting.for_few(recipe, name, 192)[0].start) is begins


@pytest.mark.parametrize("builder", [name for name in models.__all__ if name != "application"])
def test_builders_of_one_size_are_known(builder):
    build = getattr(models, builder)
    shapes = [[w.shape for w in build((side, side, 3), 4).weights] for side in (32, 48)]
    assert (shapes[0] != shapes[1]) is (builder in networks.OF_ONE_SIZE)


def test_a_rungs_command_on_a_folder_says_what_it_does(folder, tmp_path):
    flags = ["--data", folder, "--epochs", "2", "--output", tmp_path / "out"]
    done = run_here("train.py", "fashion-mnist-92", *flags)
    assert done.returncode == 0, done.stderr
    assert (
        "few pictures: beginning with fashion-mnist-92's own weights, images "
        "mirrored and shifted, the last epoch kept, batches of 16" in done.stderr
    )
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["recipe"]["start"] == "fashion-mnist-92" and card["recipe"]["epochs"] == 2
    assert (
        card["start_sha256"] == bundles.read_card(bundles.find("fashion-mnist-92"))["model_sha256"]
    )


@pytest.mark.slow
def test_a_search_on_few_pictures_trains_as_train_does(folder, tmp_path):
    pytest.importorskip("keras_tuner")
    out, data_flags = tmp_path / "search", ("--data", folder)
    few_trials = ("--range", "learning_rate=0.1:0.2", "--max-trials", 1, "--trial-epochs", 2)
    done = run_here("tune.py", "cifar10-90", *data_flags, *few_trials, "--output", out)
    assert done.returncode == 0, done.stderr
    assert "few pictures: beginning with cifar10-90's own weights, batches of 16" in done.stderr
    (row,) = csv.DictReader((out / "trials.csv").read_text().splitlines())
    flags = ("--recipe", out / "best_recipe.json", "--epochs", 2, "--output", tmp_path / "out")
    trained = run_json("train.py", "cifar10-90", *data_flags, *flags, here=True)
    assert trained["val_accuracy"] == pytest.approx(float(row["score"]))


def test_several_seeds_give_mean_and_spread_and_go_on(folder, base, tmp_path):
    command = ["train.py", "cifar10-74", "--data", folder, "--from", base, "--size", "16"]
    command += ["--freeze", "features", "--epochs", "2", "--output", tmp_path / "out", "--seeds"]
    found = run_json(*command, "0:2", here=True)
    accuracies = [run["test_accuracy"] for run in found["runs"]]
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert found["test_accuracy"]["n"] == 2
    assert found["test_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["test_accuracy"]["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    assert_refused(run_here(*command, "0:2"), "seed0", "--overwrite")
    more = run_json(*command, "0:3", "--resume", here=True)
    assert [run["test_accuracy"] for run in more["runs"]][:2] == accuracies
    assert more["test_accuracy"]["n"] == 3
    alone = run_json(*command[:-3], "--output", tmp_path / "alone", "--seed", "1", here=True)
    assert alone["test_accuracy"] == accuracies[1] and alone["val_accuracy"] == pytest.approx(
        found["runs"][1]["val_accuracy"]
    )
