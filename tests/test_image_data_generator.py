"""Training fed by Keras' own ImageDataGenerator: its arguments, its images, what is saved."""

import inspect
import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import cifar_lab
from cifar_lab import backend, data, image_data_generator, ladder, scratch, training
from cifar_lab import recipe as recipes
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError
from cifar_lab.searching import space
from cifar_lab.training import generated
from support import (
    ROOT,
    WITHOUT_TENSORFLOW,
    assert_refused,
    command_env,
    run_here,
    run_json,
)

pytest.importorskip("scipy", reason="ImageDataGenerator resamples with SciPy")

ENGINE = "ImageDataGenerator"
TINY = {"filters": [4], "dropout": [0.2], "convolutions": 1}
MOVED = {"rotation_range": 20, "width_shift_range": 0.1, "zoom_range": 0.2, "fill_mode": "reflect"}


def keras_generator():
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator


def recipe_of(augmentation=None, **fields):
    return recipes.changed(
        ladder.get("cifar10-88").recipe,
        {
            "builder_options": TINY,
            "batch_size": 32,
            "epochs": 2,
            "cpu_precision": "float32",
            "keep": "last",
            "augmentation_engine": ENGINE,
            "augmentation": MOVED if augmentation is None else augmentation,
            **fields,
        },
        "test",
    )


@pytest.fixture(scope="module")
def dataset():
    return data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(120, 10))


def trainer_of(recipe, dataset, seed=0):
    return training.Trainer(training.Plan.of(recipe, dataset, seed))


def equal(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


# --- what is accepted ---

#: {argument: (a value, the keyword argument that the generator is to have)}
TAKEN = {
    "featurewise_center": True,
    "samplewise_center": True,
    "featurewise_std_normalization": True,
    "samplewise_std_normalization": True,
    "zca_whitening": True,
    "zca_epsilon": 1e-3,
    "rotation_range": 30.0,
    "width_shift_range": (1, 3, 5),
    "height_shift_range": 4,
    "brightness_range": (0.5, 1.5),
    "shear_range": 10.0,
    "zoom_range": (0.8, 1.1),
    "channel_shift_range": 40.0,
    "fill_mode": "wrap",
    "cval": 7.0,
    "horizontal_flip": True,
    "vertical_flip": True,
    "rescale": 0.5,
    "interpolation_order": 3,
}


@pytest.mark.parametrize("name", inspect.signature(keras_generator()).parameters)
def test_every_argument_reaches_the_generator_or_is_refused(name, monkeypatch):
    """If this fails with a new Keras: give the argument a field or a reason."""
    if name in image_data_generator.REFUSED:
        with pytest.raises(InputError, match=f"{name}: cannot be set: "):
            recipe_of({name: None})
        assert name not in TAKEN
        return
    default = inspect.signature(keras_generator()).parameters[name].default
    assert recipe_of({}).augmentation.arguments()[name] == default
    beside = {"zca_whitening": True} if name == "zca_epsilon" else {}
    shape = (4, 4, 3)
    recipe = recipe_of({name: TAKEN[name], **beside}, input_shape=shape)
    again = recipes.changed(recipe_of({}), json.loads(json.dumps(recipe.as_dict())), "test")
    assert again == recipe and again.sha256() == recipe.sha256()
    given = {}

    class Spy(keras_generator()):
        def __init__(self, **arguments):
            given.update(arguments)
            super().__init__(**arguments)

    monkeypatch.setattr("tensorflow.keras.preprocessing.image.ImageDataGenerator", Spy)
    images = np.random.default_rng(0).integers(0, 256, (60, *shape)).astype(np.uint8)
    labels = np.arange(60) % 2
    made = data.Dataset("made", ("a", "b"), images, labels, images, labels)
    generated.Generated(training.Plan.of(again, made))
    assert given[name] == TAKEN[name]


def test_the_defaults_and_the_digests():
    plain, ours = recipe_of({}), recipe_of({}, augmentation_engine="compiled")
    assert plain.as_dict()["augmentation"] == {} and plain.sha256() != ours.sha256()
    assert ladder.get("cifar10-88").recipe.augmentation_engine == "compiled"
    implied = recipe_of({"samplewise_std_normalization": True}).as_dict()["augmentation"]
    assert implied == {"samplewise_std_normalization": True, "samplewise_center": True}


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("rotation_range", -1, "degrees from 0 to 360"),
        ("rotation_range", float("nan"), "degrees"),
        ("width_shift_range", [], "a list of such"),
        ("width_shift_range", -0.1, "a fraction from 0 to below 1"),
        ("height_shift_range", [0, "2"], "a list of such"),
        ("width_shift_range", True, "a fraction from 0"),
        ("height_shift_range", 1, "the whole number 1 shifts by none"),
        ("brightness_range", [1.5, 0.5], "low <= high"),
        ("brightness_range", 0.5, "or null"),
        ("zoom_range", [0.5], "0.01 <= low"),
        ("channel_shift_range", 300, "from 0 to 255"),
        ("fill_mode", "mirrored", "one of nearest"),
        ("horizontal_flip", 1, "true or false"),
        ("rescale", 0, "greater than 0"),
        ("interpolation_order", 1.5, "a whole number from 0 to 5"),
        ("zca_epsilon", 0.1, "since zca_whitening is false"),
        ("rotation", 3, "unknown field 'rotation' (rotation_range?): must be one of"),
        ("mixup", 3, "unknown field 'mixup': must be one of"),
        ("crop_padding", 2, "width_shift_range and height_shift_range"),
        ("alternating_flip", True, "it has horizontal_flip"),
        ("cutout_size", 8, "no such argument"),
        ("jpeg_quality", [30, 90], "must be [] with"),
    ],
)
def test_values_that_are_refused(field, value, words):
    with pytest.raises(InputError, match="recipe field augmentation: ") as caught:
        recipe_of({field: value})
    assert words in str(caught.value) and field in str(caught.value)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"augmentation_engine": "tf.data"}, "augmentation_engine: must be one of compiled"),
        ({"augmentation": {"zca_whitening": True}, "input_shape": [96, 96, 3]}, "at most 4096"),
        (
            {"augmentation": {"zca_whitening": True, "featurewise_std_normalization": True}},
            "false beside zca_whitening",
        ),
        ({"augmentation": {"rescale": 0.5}, "start": "cifar10-90"}, "start: must be"),
        ({"augmentation": {"rescale": 0.5}, "whitening": True}, "whitening: must be"),
        (
            {"augmentation": {"rescale": 0.5}, "augmentation_engine": "compiled"},
            "rescale: needs augmentation_engine ImageDataGenerator",
        ),
    ],
)
def test_combinations_that_are_refused(fields, words):
    with pytest.raises(InputError) as caught:
        recipe_of(**{"augmentation": {}, **fields})
    assert words in str(caught.value)


def test_lists_as_keras_documents_them():
    """`width_shift_range=[-1, 0, 1]` is its own example; JSON has lists, not tuples."""
    settings = recipe_of({"width_shift_range": [-1, 0, 1], "height_shift_range": [-0.1, 0.1]})
    assert settings.augmentation.as_dict() == {
        "width_shift_range": [-1, 0, 1],
        "height_shift_range": [-0.1, 0.1],
    }
    idle = {"jpeg_quality": [], "gaussian_blur_sigma": [0.1, 2.0], "erasing_scale": [0.02, 0.4]}
    assert recipe_of(idle).augmentation.as_dict() == {}


def test_a_rungs_own_augmentation_has_the_same_names():
    rung = ladder.get("cifar10-88").recipe
    recipe = recipes.changed(rung, {"augmentation_engine": ENGINE}, "test")
    assert recipe.as_dict()["augmentation"] == {
        "rotation_range": 10.0,
        "width_shift_range": 0.1,
        "height_shift_range": 0.1,
        "horizontal_flip": True,
    }
    back = recipes.changed(recipe, {"augmentation_engine": "compiled"}, "test")
    assert back == rung


def test_shifts_in_pixels_grow_and_shrink_with_the_images():
    fields = {"width_shift_range": [1, 2], "height_shift_range": 3}
    larger = recipes.resized(recipe_of(fields), 64).augmentation
    assert larger.width_shift_range == (2, 4)
    assert larger.height_shift_range == 5  # from up to 2 pixels to up to 4
    smaller = recipes.resized(recipe_of({"width_shift_range": [-1, 0, 2]}), 8).augmentation
    assert smaller.width_shift_range == (-0.25 / 8, 0, 0.5 / 8)  # below 1 it is a fraction
    for engine in (ENGINE, "compiled"):
        kinds = {"width_shift_range": 2.0, "height_shift_range": 0.1}
        recipe = recipe_of(kinds, augmentation_engine=engine)
        found = recipes.resized(recipe, 8).augmentation
        assert (found.width_shift_range, found.height_shift_range) == (0.5 / 8, 0.1)
        assert recipes.resized(recipe, 64).augmentation.width_shift_range == 4


# --- what a step sees ---


@pytest.mark.parametrize("is_tensorflow", [True, False])
def test_a_step_sees_what_a_flow_by_hand_gives(is_tensorflow, dataset, monkeypatch):
    """The images and targets of an epoch, in order: those of Keras' own iterator. If this fails,
    every run with this engine is in doubt."""
    settings = {
        **MOVED,
        "brightness_range": [0.6, 1.4],
        "channel_shift_range": 20,
        "featurewise_std_normalization": True,
    }
    trainer = trainer_of(recipe_of(settings, class_weight="balanced"), dataset, seed=3)
    plan, seen = trainer.plan, []

    def fit(x, **_):
        batches = x if is_tensorflow else (x[i] for i in range(len(x)))
        seen.extend((np.asarray(images), np.asarray(targets)) for images, targets in batches)

    monkeypatch.setattr(trainer.model, "fit", fit)
    monkeypatch.setattr(backend, "is_tensorflow", lambda: is_tensorflow)
    order = plan.order(1)
    trainer.fit(order, 1, None)
    by_hand = keras_generator()(**settings, featurewise_center=True)
    images = dataset.train_images
    by_hand.fit(images[plan.train_indices])
    seed = int(np.random.SeedSequence([3, 1]).generate_state(1)[0]) >> 1
    flow = by_hand.flow(images[order], plan.targets[order], 32, shuffle=False, seed=seed)
    assert len(seen) == len(flow) == 4  # 108 images
    for (images, targets), (expected, rows) in zip(seen, (flow[i] for i in range(4)), strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(targets, rows)


def test_an_epoch_leaves_numpys_random_state_alone(dataset):
    trainer = trainer_of(recipe_of(), dataset)
    np.random.seed(5)
    expected = np.random.RandomState(5).rand()
    trainer.run_epoch()
    assert np.random.rand() == expected


def of_any_size(input_shape, num_classes):
    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))


@pytest.mark.parametrize(
    "fields",
    [
        {
            "sharpness_radius": 0.05,
            "sharpness_share": 0.5,
            "swa_share": 0.5,
            "swa_epochs": 1,
            "builder": "mlp",
            "builder_options": {"hidden_units": [8], "dropout": 0.3, "batch_normalization": True},
        },
        pytest.param(
            {"small_images": [[0.5, 16]], "builder": of_any_size, "builder_options": {}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["averaged and sharpness-aware", "small images first"],
)
def test_a_resumed_run_is_the_same_run(fields, dataset, tmp_path):
    recipe = recipe_of({**MOVED, "samplewise_center": True}, **fields)
    whole = trainer_of(recipe, dataset)
    rows = [whole.run_epoch() for _ in range(recipe.epochs)]
    first = trainer_of(recipe, dataset)
    if recipe.swa_share:
        first.compile_step()  # leaves no trace
    first.run_epoch()
    first.save_state(tmp_path / "state", {})
    second = trainer_of(recipe, dataset)
    second.load_state(tmp_path / "state")
    while not second.done:
        second.run_epoch()
    assert equal(whole.bare_network().get_weights(), second.bare_network().get_weights())
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [row[name] for row in rows] == [row[name] for row in second.history]


def test_it_is_never_scanned(dataset):
    with pytest.raises(ValueError, match="scanned: must be False"):
        training.Plan.of(recipe_of(), dataset, scanned=True)


# --- what is saved ---

NORMALISATIONS = {
    "rescale": {"rescale": 1 / 255},
    "samplewise_center": {"samplewise_center": True},
    "samplewise_std": {"samplewise_std_normalization": True},
    "samplewise_std, rescaled": {"samplewise_std_normalization": True, "rescale": 1 / 255},
    "featurewise_center": {"featurewise_center": True},
    "featurewise_std": {"featurewise_std_normalization": True},
    "zca": {"zca_whitening": True, "zca_epsilon": 0.1},
    "all but zca": {
        "rescale": 0.02,
        "samplewise_std_normalization": True,
        "featurewise_std_normalization": True,
    },
    "all with zca": {
        "rescale": 0.02,
        "samplewise_std_normalization": True,
        "zca_whitening": True,
        "zca_epsilon": 0.1,
    },
}


BOTH_OF_TWO = ("samplewise_std, rescaled", "all but zca")  # parts of "all with zca"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in BOTH_OF_TWO else n for n in NORMALISATIONS],
)
def test_the_saved_model_standardises_raw_pixels_as_the_generator_does(name, tmp_path):
    rng, shape = np.random.default_rng(0), (8, 8, 3)
    images = rng.integers(0, 256, (260, *shape)).astype(np.uint8)
    images[0], images[1] = 77, 0  # one of a single colour; a nearly black one
    images[1, 0, 0, 0] = 1
    labels = np.arange(260) % 2
    made = data.Dataset("made", ("a", "b"), images, labels, images, labels)
    recipe = recipe_of(NORMALISATIONS[name], input_shape=shape, epochs=1)
    trainer = trainer_of(recipe, made)
    row = trainer.run_epoch() if name in ("samplewise_center", "zca") else {}
    trainer.bare_network().save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    generator = trainer.generated.generator
    ready = np.stack([generator.standardize(image.astype("float32")) for image in images])
    assert abs(ready[2:] - images[2:]).max() > 1e-3  # it does something
    if name == "samplewise_std, rescaled":
        # of a single colour: what numpy rounds off the mean, divided by 1e-6
        assert abs(ready[0]).max() < 0.1
        ready[0] = 0
    before_network = keras.Model(model.inputs, model.get_layer("rescale").input)
    raw = images.astype("float32")
    found = before_network.predict(raw, verbose=0)
    np.testing.assert_allclose(found, ready, rtol=1e-4, atol=1e-5 * abs(ready).max())
    core = trainer.core.predict(ready, verbose=0)
    np.testing.assert_allclose(model.predict(raw, verbose=0), core, atol=1e-5)
    if name in ("rescale", "featurewise_center", "featurewise_std"):
        np.testing.assert_allclose(scratch.load(model).forward(raw), core, atol=1e-5)
    # and validation was of these
    val = trainer.plan.val_indices
    accuracy = (core[val].argmax(1) == labels[val]).mean()
    assert row.get("val_accuracy", accuracy) == pytest.approx(accuracy)


def test_a_model_in_mixed_precision_standardises_in_float32(dataset):
    recipe = recipe_of({"featurewise_std_normalization": True}, epochs=1)
    plan = training.Plan.of(recipe, dataset, precision="mixed_bfloat16")
    trainer = training.Trainer(plan)
    trainer.run_epoch()
    network = trainer.bare_network()
    raw = dataset.train_images.astype("float32")
    expected = trainer.core.predict(trainer.generated.standardized(raw), verbose=0)
    np.testing.assert_allclose(network.predict(raw, verbose=0), expected, atol=0.05)


def test_a_sequential_network_and_one_that_standardises_itself(dataset):
    def sequential(input_shape, num_classes):
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(input_shape),
                layers.Flatten(),
                layers.Dense(num_classes, activation="softmax"),
            ]
        )

    recipe = recipe_of({"rescale": 1 / 255}, builder=sequential, builder_options={}, epochs=1)
    trainer = trainer_of(recipe, dataset)
    trainer.run_epoch()
    raw = dataset.train_images[:5].astype("float32")
    network = trainer.bare_network()
    np.testing.assert_allclose(network(raw), trainer.core(raw / 255), atol=1e-5)
    recipe = recipe_of(
        {"rescale": 1 / 255}, builder="mlp", builder_options={"standardize": True}, epochs=1
    )
    with pytest.raises(InputError, match="standardises its pixels itself"):
        trainer_of(recipe, dataset)


def test_a_network_that_divides_by_255_what_is_small_already_is_told_of(dataset):
    """`ImageDataGenerator(rescale=1 / 255)` is everywhere in tutorials."""
    for fields, said in (
        ({"rescale": 1 / 255}, "vgg divides pixels by 255 itself, after augmentation's rescale"),
        ({"featurewise_std_normalization": True}, "augmentation's featurewise_std_normalization"),
        ({"featurewise_center": True, "samplewise_center": True, "rotation_range": 3}, ""),
    ):
        trainer = trainer_of(recipe_of(fields), dataset)
        assert said in generated.divided_twice(trainer.core, trainer.plan.recipe)
        assert bool(said) == bool(generated.divided_twice(trainer.core, trainer.plan.recipe))


def test_its_numbers_can_be_searched_and_not_those_it_lacks():
    recipe = recipe_of({"zoom_range": [0.9, 1.2], "horizontal_flip": True})
    texts = ["rotation_range=0:30", "channel_shift_range=0:50", "zoom_range=0:0.3"]
    assert list(space.parse_ranges(texts, recipe)) == [text.partition("=")[0] for text in texts]
    found = space.with_fields(recipe, {"channel_shift_range": 20.0, "zoom_range": 0.1})
    assert found.augmentation.as_dict() == {
        "zoom_range": 0.1,
        "channel_shift_range": 20.0,
        "horizontal_flip": True,
    }
    for text in ("crop_padding=0:4", "mixup_alpha=0:1", "rand_augment_factor=0:1"):
        with pytest.raises(InputError, match="must be one of learning_rate"):
            space.parse_range(text, recipe)
    with pytest.raises(
        InputError, match=r"'channel_shift_range' \(height_shift_range\?\) must be one of"
    ):
        space.parse_range("channel_shift_range=0:9", ladder.get("cifar10-88").recipe)


# --- commands ---


def test_train_py_makes_a_bundle_that_only_the_same_engine_resumes(fashion, tmp_path):
    output, sets = tmp_path / "out", ["brightness_range=[0.8,1.2]", "samplewise_center=true"]
    flags = ["fashion-mnist-92", "--data-dir", fashion, "--epochs", 1, "--output", output]
    flags += itertools.chain(*(("--set", f"augmentation.{text}") for text in sets))
    flags += ["--augmentation", ENGINE]
    told = run_here("train.py", *flags, "--save-weights", "--json")
    assert told.returncode == 0 and "will not hold augmentation's samplewise_center" in told.stderr
    done = json.loads(told.stdout)
    card = json.loads((output / "card.json").read_text())
    assert card["recipe"]["augmentation_engine"] == ENGINE
    assert card["recipe"]["augmentation"] == {
        "samplewise_center": True,
        "brightness_range": [0.8, 1.2],
    }
    assert card["test_accuracy"] == done["test_accuracy"]
    # its weights are not for another recipe's images, and the numpy runtime has no mean
    dataset = data.load("fashion-mnist", str(fashion))
    begun = recipes.changed(ladder.get("fashion-mnist-92").recipe, {"start": str(output)}, "test")
    with pytest.raises(InputError, match="was trained on images that ImageDataGenerator"):
        trainer_of(begun, dataset)
    with pytest.raises(ValueError, match="is a Mean; there are"):
        scratch.load(output)
    again = run_json("train.py", *flags, "--resume", here=True)
    assert again["finished_before"]
    flags = ["fashion-mnist-92", "--data-dir", fashion, "--epochs", 1, "--output", output]
    assert_refused(
        run_here("train.py", *flags, "--resume"),
        "augmentation_engine was 'ImageDataGenerator', is now 'compiled'",
    )


@pytest.mark.parametrize(
    "rung, sets, words",
    [
        ("cifar10-90", [], ["--augmentation: recipe field", "it has horizontal_flip"]),
        ("cifar10-88", ["augmentation.brightness_range=[2]"], ["brightness_range", "low <= high"]),
        ("cifar10-88", ["augmentation.dtype=float16"], ["dtype", "images are float32"]),
        ("cifar10-88", ["augmentation_engine=compiled"], ["is set twice"]),
    ],
)
def test_bad_values_are_one_line(rung, sets, words, tmp_path):
    flags = itertools.chain(*(("--set", text) for text in sets))
    output = tmp_path / "out"
    done = run_here("train.py", rung, "--augmentation", ENGINE, *flags, "--output", output)
    assert_refused(done, *words, output=output)


def test_show_and_a_recipe_of_a_file(tmp_path):
    (tmp_path / "bright.json").write_text('{"augmentation": {"brightness_range": [0.5, 1]}}')
    flags = ["--recipe", tmp_path / "bright.json", "--augmentation", ENGINE, "--show"]
    found = run_json("train.py", "cifar10-90", *flags, here=True)["recipe"]
    assert found["augmentation"] == {"brightness_range": [0.5, 1.0]}
    assert found["augmentation_engine"] == ENGINE
    done = run_here("train.py", "cifar10-90", *flags[:2], "--show")
    assert_refused(done, "brightness_range: needs augmentation_engine ImageDataGenerator")


@pytest.mark.parametrize("missing", ["TensorFlow", "SciPy"])
def test_without_a_package_it_is_one_line_before_anything_is_read(missing, tmp_path):
    code = WITHOUT_TENSORFLOW.replace('"tensorflow"', repr(missing.lower()))
    code += f"""
sys.argv = ["train.py", "cifar10-88", "--augmentation", {ENGINE!r}, "--data-dir", "nowhere"]
from cifar_lab import cli
raise SystemExit(cli.train())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=command_env(PYTHONPATH=ROOT),
        capture_output=True,
        text=True,
    )
    assert_refused(done, f"{ENGINE} needs {missing}, which is not installed")
    assert not list(tmp_path.iterdir())


def test_a_search_says_what_is_missing_before_its_trials(monkeypatch, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from cifar_lab import Recipe\n"
        f"recipe = Recipe(augmentation_engine={ENGINE!r}, augmentation={{'rotation_range': 9}})\n"
    )
    monkeypatch.setattr(image_data_generator, "_installed", lambda name: name != "scipy")
    output = tmp_path / "search"
    done = run_here("tune.py", f"{file}:recipe", "--data", "synthetic", "--output", output)
    assert_refused(done, f"{ENGINE} needs SciPy, which is not installed", output=output)
    with pytest.raises(InputError, match="needs SciPy"):
        cifar_lab.search(f"{file}:recipe", data="synthetic", max_trials=1, output=output)
