"""Recipes are data: frozen, checked, and the ones that results were measured with."""

import dataclasses
import json
import math

import pytest

from cifar_lab import ladder, networks
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.training import averaging
from support import ROOT


def test_the_lectures_settings():
    base, bn, fashion = (
        ladder.get(r).recipe for r in ("cifar10-74", "cifar10-79", "fashion-mnist-92")
    )
    assert (
        base.batch_size,
        base.epochs,
        base.validation_fraction,
        base.learning_rate,
        base.schedule,
    ) == (32, 25, 0.1, 0.001, "constant")
    assert bn.builder == base.builder and bn.builder_options["batch_normalization"] is True
    more, most = ladder.get("cifar10-84").recipe, ladder.get("cifar10-88").recipe
    assert more.builder == "vgg" and more.builder_options["l2"] == 1e-4
    assert most.augmentation == recipes.Augmentation(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    assert (
        most.as_dict()["augmentation"]["fill_mode"] == "nearest"
        and more.as_dict()["augmentation"] == {}
    )
    # the same network: only this and its dropout separate the two
    assert (
        dataclasses.replace(
            most,
            augmentation=recipes.Augmentation(),
            epochs=more.epochs,
            idea=more.idea,
            promise=more.promise,
            builder_options=more.builder_options,
            keep=more.keep,
        )
        == more
    )
    assert most.epochs > more.epochs
    assert fashion.data == "fashion-mnist" and fashion.input_shape == (28, 28, 1)


def test_recipes_are_frozen_and_survive_json():
    recipe = ladder.get("cifar10-79").recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1
    again = recipes.changed(
        ladder.get("cifar10-74").recipe, json.loads(json.dumps(recipe.as_dict())), "test"
    )
    assert again == recipe and again.sha256() == recipe.sha256()


def test_the_hash_is_of_what_decides_a_run():
    recipe, beyond = ladder.get("cifar10-74").recipe, ladder.get("cifar10-90").recipe
    assert dataclasses.replace(recipe, idea="other words").sha256() == recipe.sha256()
    others = {
        "builder": "fashion_mnist_cnn",
        "data": "mnist",
        "input_shape": (28, 28, 1),
        "builder_options": {"dropout": 0.1},
        "schedule": "cosine",
        "keep": "best",
        "gpu_precision": "float32",
        "batch_size": 33,
        "epochs": 26,
        "learning_rate": 0.002,
        "validation_fraction": 0.2,
        "cpu_precision": "float32",
        "augmentation": {"horizontal_flip": True},
        "augmentation_engine": "ImageDataGenerator",
        "optimizer": "adam",
        "momentum": 0.8,
        "weight_decay": 0.1,
        "bias_rate_factor": 2,
        "label_smoothing": 0.1,
        "warmup_fraction": 0.3,
        "whitening": False,
        "dirac": False,
        "small_images": [[0.5, 16]],
        "kernel_rate": 0.2,
        "sharpness_radius": 0.1,
        "sharpness_share": 0.3,
        "freezeout_layers": 3,
        "freezeout_share": 0.5,
        "swa_share": 0.3,
        "swa_epochs": 2,
        "swa_rate": 0.5,
        "start": "cifar10-90",
        "freeze": 2,
        "head_share": 0.5,
        "fine_rate": 0.5,
        "class_weight": "balanced",
        "loss": "binary_crossentropy",
        "initializer": "he_normal",
        "drop_connect": 0.2,
        "patience": 3,
    }
    assert set(others) == {f.name for f in dataclasses.fields(recipe)} - {"promise", "idea"}
    neutral = {
        "momentum": 0.9,
        "weight_decay": 0,
        "bias_rate_factor": 1,
        "warmup_fraction": 0.2,
        "kernel_rate": 0.1,
    }
    for name, value in others.items():
        beside = {
            "augmentation_engine": {"augmentation": {}},
            "optimizer": neutral,
            "keep": {"small_images": []},
            "patience": {"keep": "best", "small_images": []},
            "kernel_rate": {"optimizer": "muon"},
            "sharpness_share": {"sharpness_radius": 0.1},
            "freezeout_share": {"freezeout_layers": 3},
            "swa_epochs": {"swa_share": 0.3},
            "swa_rate": {"swa_share": 0.3},
            "freeze": {"start": "cifar10-90"},
            "head_share": {"start": "cifar10-90"},
            "fine_rate": {"start": "cifar10-90", "head_share": 0.5},
        }.get(name, {})
        base = dataclasses.replace(beyond, **beside)
        assert dataclasses.replace(base, **{name: value}).sha256() != base.sha256(), name


@pytest.mark.parametrize(
    "epochs, share, length, main, cycles",
    [
        (10, 0, 3, 10, 0),
        (10, 0.5, 2, 6, 2),
        (10, 0.5, 3, 7, 1),
        (1, 0.5, 1, 1, 0),
        (2, 0.9, 1, 1, 1),
        (4, 0.25, 2, 4, 0),
    ],
)
def test_as_many_cycles_as_fit_come_at_the_end(epochs, share, length, main, cycles):
    fields = {"epochs": epochs, "swa_share": share, "swa_epochs": length, "keep": "last"}
    recipe = recipes.changed(ladder.get("cifar10-74").recipe, fields, "test")
    assert (recipe.main_epochs, recipe.swa_cycles) == (main, cycles)


def test_numbers_are_floats_whatever_json_says():
    recipe = recipes.changed(
        ladder.get("cifar10-90").recipe,
        {"momentum": 0, "learning_rate": 1, "weight_decay": 0},
        "test",
    )
    assert all(
        type(getattr(recipe, name)) is float
        for name in ("momentum", "learning_rate", "weight_decay")
    )
    assert (
        recipe.sha256()
        == recipes.changed(recipe, {"momentum": 0.0, "learning_rate": 1.0}, "test").sha256()
    )


@pytest.mark.parametrize(
    "fields, words",
    [
        (
            {"bias_rate_factor": 2},
            "bias_rate_factor: must be 1.0, since optimizer is 'adam', received 2",
        ),
        ({"momentum": 0.5}, "momentum: must be 0.9, since"),
        (
            {"optimizer": "sgd", "kernel_rate": 0.2},
            "kernel_rate: must be 0.1, since optimizer is 'sgd'",
        ),
        ({"sharpness_share": 0.5}, "sharpness_share: must be 0.2, since sharpness_radius is 0"),
        (
            {"sharpness_radius": 0.1, "sharpness_share": 0},
            "sharpness_share: must be greater than 0, since sharpness_radius is 0.1",
        ),
        ({"freezeout_share": 0.5}, "freezeout_share: must be 0.3, since freezeout_layers is 0"),
        ({"freezeout_layers": 2, "freezeout_share": 0}, "freezeout_share: must be greater than 0"),
        (
            {"keep": "last", "swa_share": 0.5, "freezeout_layers": 2},
            "freezeout_layers: must be 0, since swa_share is not 0",
        ),
        ({"warmup_fraction": 0.5}, "since schedule is 'constant'"),
        ({"swa_epochs": 2}, "swa_epochs: must be 3, since swa_share is 0"),
        ({"swa_rate": 0.5}, "swa_rate: must be 0.25, since swa_share is 0"),
        ({"keep": "last", "swa_share": 0.5, "swa_rate": 0}, "swa_rate: must be greater than 0"),
        ({"swa_share": 0.5}, 'keep: must be "last" with swa_share'),
        (
            {"keep": "last", "swa_share": 0.5, "small_images": [[0.5, 16]]},
            "small_images: must be .* and swa_share, together below 1",
        ),
        ({"small_images": [[0.5, 16]]}, 'keep: must be "last" with small_images'),
    ],
)
def test_fields_that_would_do_nothing_or_harm_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        recipes.changed(ladder.get("cifar10-74").recipe, fields, "test")


def test_a_later_field_at_its_neutral_value_leaves_the_hash_as_it_was():
    """So that it does not disown what was measured before. If this fails: a new field is missing in
    recipes.NEUTRAL."""
    assert (
        ladder.get("cifar10-74").recipe.sha256()
        == "a3291ccbacf2066ddee59f0e0534bed93b11ba2ca541f66b7a7166596c00d37a"
    )
    assert dataclasses.replace(
        ladder.get("cifar10-74").recipe,
        augmentation=recipes.Augmentation(),
        cpu_precision="float32",
    ).sha256() == (ladder.get("cifar10-74").recipe.sha256())


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", 10**10),
        ("batch_size", -1),
        ("batch_size", 10**20),
        ("learning_rate", 0),
        ("learning_rate", "x"),
        ("learning_rate", float("nan")),
        ("validation_fraction", 1),
        ("schedule", "steps"),
        ("keep", "worst"),
        ("builder", "lenet6"),
        ("builder_options", []),
        ("input_shape", [32, 32]),
        ("input_shape", [32, 32, 4]),
        ("gpu_precision", "int8"),
        ("cpu_precision", "mixed_float16"),
        ("promise", 74),
        ("data", None),
        ("optimizer", "nadam"),
        ("momentum", 1),
        ("weight_decay", -1),
        ("bias_rate_factor", "8"),
        ("label_smoothing", 1),
        ("warmup_fraction", 2),
        ("whitening", 1),
        ("dirac", None),
        ("sharpness_radius", 2),
        ("sharpness_radius", True),
        ("sharpness_share", -1),
        ("freezeout_layers", -1),
        ("freezeout_layers", 1.5),
        ("freezeout_layers", True),
        ("freezeout_share", 1),
        ("swa_share", 1),
        ("swa_epochs", 0),
        ("swa_epochs", 1.5),
        ("swa_rate", "x"),
        ("small_images", [[0.5, 4]]),
        ("small_images", [[0.5, 32]]),
        ("small_images", [[2, 16]]),
        ("small_images", [[0.5, 16], [0.5, 24]]),
        ("small_images", [3]),
        ("small_images", 3),
        ("learning_rate", 10**400),
    ],
)
def test_wrong_values_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=f"test: recipe field {field}: must be .*received"):
        recipes.changed(ladder.get("cifar10-74").recipe, {field: value}, "test")


def test_unknown_fields_and_wrong_options():
    with pytest.raises(InputError, match="unknown recipe field 'lr'.*learning_rate"):
        recipes.changed(ladder.get("cifar10-74").recipe, {"lr": 1}, "test")
    with pytest.raises(InputError, match="JSON object"):
        recipes.changed(ladder.get("cifar10-74").recipe, [1], "test")
    with pytest.raises(InputError, match="cifar10_cnn.*depth"):
        networks.build(
            recipes.changed(
                ladder.get("cifar10-74").recipe, {"builder_options": {"depth": 9}}, "test"
            ),
            10,
        )


@pytest.mark.parametrize("name", ladder.LADDER)
def test_the_parameters_of_every_rungs_network(name):
    """And none is trained otherwise for the sake of short epochs: its published figures were
    measured without, and 45,000 train images are no few."""
    rung = ladder.LADDER[name]
    network = networks.build(rung.recipe, rung.num_classes)
    assert network.count_params() == rung.parameters
    steps = math.ceil(45_000 / rung.recipe.batch_size)
    assert steps >= averaging.settling_steps(network)


CARDS = sorted((ROOT / "saved_models").glob("*/card.json"))
ROWS = sorted((ROOT / "results").glob("*.json"))


def test_the_digest_of_every_card_and_row_is_that_of_its_recipe():
    """Byte for byte, whatever the recipe's parts are. If this fails, a measured recipe has changed,
    or a field has no neutral value."""
    assert len(CARDS) >= 11 and len(ROWS) >= 12
    for path in CARDS:
        card = json.loads(path.read_text())
        assert recipes.Recipe(**card["recipe"]).sha256() == card["recipe_sha256"], path
    for path in ROWS:
        digests = {row["recipe_sha256"] for row in json.loads(path.read_text())}
        assert digests == {ladder.LADDER[path.stem].recipe.sha256()}, path


def test_a_recipe_is_flat_json_and_a_part_checks_itself():
    recipe = ladder.get("cifar10-94").recipe
    assert not any(
        isinstance(v, dict)
        for k, v in recipe.as_dict().items()
        if k not in ("augmentation", "builder_options")
    )
    names = [f.name for part in recipes.PARTS for f in dataclasses.fields(part)]
    assert sorted(names) == sorted(recipe.as_dict()) and len(set(names)) == len(names)
    for name in names:
        assert f"{name}:" in recipes.Recipe.__doc__ or f"{name}, " in recipes.Recipe.__doc__
