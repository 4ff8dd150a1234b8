"""Recipes are data: frozen, checked, and the ones that results were measured with."""
import dataclasses
import json

import pytest

from cifar_lab import recipes
from cifar_lab.errors import InputError


def test_the_lectures_settings():
    base, bn, fashion = (recipes.get(r) for r in ("cifar10-74", "cifar10-79", "fashion-mnist-92"))
    assert (base.batch_size, base.epochs, base.validation_fraction, base.learning_rate, base.schedule) == (
        32, 25, 0.1, 0.001, "constant")
    assert bn.builder == base.builder and bn.builder_options["batch_normalization"] is True
    more, most = recipes.get("cifar10-84"), recipes.get("cifar10-88")
    assert more.builder == "vgg" and more.builder_options["l2"] == 1e-4
    assert most.augmentation == recipes.Augmentation(rotation_range=10, width_shift_range=0.1, height_shift_range=0.1,
                                                     horizontal_flip=True)
    assert most.as_dict()["augmentation"]["fill_mode"] == "nearest" and more.as_dict()["augmentation"] == {}
    # the same network: only this and its dropout separate the two
    assert dataclasses.replace(most, augmentation=recipes.Augmentation(), epochs=more.epochs, idea=more.idea, promise=more.promise,
                               builder_options=more.builder_options, keep=more.keep) == more
    assert most.epochs > more.epochs
    assert fashion.data == "fashion-mnist" and fashion.input_shape == (28, 28, 1)


def test_recipes_are_frozen_and_survive_json():
    recipe = recipes.get("cifar10-79")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1
    again = recipes.changed(recipes.get("cifar10-74"), json.loads(json.dumps(recipe.as_dict())), "test")
    assert again == recipe and again.sha256() == recipe.sha256()


def test_the_hash_is_of_what_decides_a_run():
    recipe, beyond = recipes.get("cifar10-74"), recipes.get("cifar10-90")
    assert dataclasses.replace(recipe, idea="other words").sha256() == recipe.sha256()
    others = {"builder": "fashion_mnist_cnn", "data": "mnist", "input_shape": (28, 28, 1), "builder_options": {"dropout": 0.1},
              "schedule": "cosine", "keep": "best", "gpu_precision": "float32", "batch_size": 33, "epochs": 26,
              "learning_rate": 0.002, "validation_fraction": 0.2, "cpu_precision": "float32",
              "augmentation": {"horizontal_flip": True}, "optimizer": "adam", "momentum": 0.8, "weight_decay": 0.1,
              "bias_rate_factor": 2, "label_smoothing": 0.1, "warmup_fraction": 0.3, "whitening": False,
              "dirac": False, "small_images": [[0.5, 16]], "kernel_rate": 0.2, "sharpness_radius": 0.1, "sharpness_share": 0.3,
              "swa_share": 0.3, "swa_epochs": 2, "swa_rate": 0.5}
    assert set(others) == {f.name for f in dataclasses.fields(recipe)} - {"promise", "idea"}
    neutral = {"momentum": 0.9, "weight_decay": 0, "bias_rate_factor": 1, "warmup_fraction": 0.2, "kernel_rate": 0.1}
    for name, value in others.items():
        beside = {"optimizer": neutral, "keep": {"small_images": []}, "kernel_rate": {"optimizer": "muon"},
                  "sharpness_share": {"sharpness_radius": 0.1}, "swa_epochs": {"swa_share": 0.3}, "swa_rate": {"swa_share": 0.3}}.get(name, {})
        base = dataclasses.replace(beyond, **beside)
        assert dataclasses.replace(base, **{name: value}).sha256() != base.sha256(), name


@pytest.mark.parametrize("epochs, share, length, main, cycles", [
    (10, 0, 3, 10, 0), (10, 0.5, 2, 6, 2), (10, 0.5, 3, 7, 1), (1, 0.5, 1, 1, 0), (2, 0.9, 1, 1, 1), (4, 0.25, 2, 4, 0)])
def test_as_many_cycles_as_fit_come_at_the_end(epochs, share, length, main, cycles):
    fields = {"epochs": epochs, "swa_share": share, "swa_epochs": length, "keep": "last"}
    recipe = recipes.changed(recipes.get("cifar10-74"), fields, "test")
    assert (recipe.main_epochs, recipe.swa_cycles) == (main, cycles)


def test_numbers_are_floats_whatever_json_says():
    recipe = recipes.changed(recipes.get("cifar10-90"), {"momentum": 0, "learning_rate": 1, "weight_decay": 0}, "test")
    assert all(type(getattr(recipe, name)) is float for name in ("momentum", "learning_rate", "weight_decay"))
    assert recipe.sha256() == recipes.changed(recipe, {"momentum": 0.0, "learning_rate": 1.0}, "test").sha256()


@pytest.mark.parametrize("fields, words", [
    ({"bias_rate_factor": 2}, "bias_rate_factor: must be 1.0, since optimizer is 'adam', received 2"),
    ({"momentum": 0.5}, "momentum: must be 0.9, since"),
    ({"optimizer": "sgd", "kernel_rate": 0.2}, "kernel_rate: must be 0.1, since optimizer is 'sgd'"),
    ({"sharpness_share": 0.5}, "sharpness_share: must be 0.2, since sharpness_radius is 0"),
    ({"sharpness_radius": 0.1, "sharpness_share": 0}, "sharpness_share: must be greater than 0, since sharpness_radius is 0.1"),
    ({"warmup_fraction": 0.5}, "since schedule is 'constant'"),
    ({"swa_epochs": 2}, "swa_epochs: must be 3, since swa_share is 0"), ({"swa_rate": 0.5}, "swa_rate: must be 0.25, since swa_share is 0"),
    ({"keep": "last", "swa_share": 0.5, "swa_rate": 0}, "swa_rate: must be greater than 0"),
    ({"swa_share": 0.5}, 'keep: must be "last" with swa_share'),
    ({"keep": "last", "swa_share": 0.5, "small_images": [[0.5, 16]]}, "small_images: must be .* and swa_share, together below 1"),
    ({"small_images": [[0.5, 16]]}, 'keep: must be "last" with small_images')])
def test_fields_that_would_do_nothing_or_harm_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        recipes.changed(recipes.get("cifar10-74"), fields, "test")


def test_a_later_field_at_its_neutral_value_leaves_the_hash_as_it_was():
    """So that it does not disown what was measured before. If this fails: a new field is missing in recipes.LATER."""
    assert recipes.get("cifar10-74").sha256() == "a3291ccbacf2066ddee59f0e0534bed93b11ba2ca541f66b7a7166596c00d37a"
    assert dataclasses.replace(recipes.get("cifar10-74"), augmentation=recipes.Augmentation(), cpu_precision="float32").sha256() == (
        recipes.get("cifar10-74").sha256())


@pytest.mark.parametrize("field, value", [
    ("epochs", 0), ("epochs", 2.5), ("epochs", True), ("epochs", 10**10), ("batch_size", -1), ("batch_size", 10**20), ("learning_rate", 0), ("learning_rate", "x"),
    ("learning_rate", float("nan")), ("validation_fraction", 1), ("schedule", "steps"), ("keep", "worst"),
    ("builder", "alexnet"), ("builder_options", []), ("input_shape", [32, 32]), ("input_shape", [32, 32, 4]),
    ("gpu_precision", "int8"), ("cpu_precision", "mixed_float16"), ("promise", 74), ("data", None),
    ("optimizer", "rmsprop"), ("momentum", 1), ("weight_decay", -1), ("bias_rate_factor", "8"), ("label_smoothing", 1),
    ("warmup_fraction", 2), ("whitening", 1), ("dirac", None), ("sharpness_radius", 2), ("sharpness_radius", True), ("sharpness_share", -1), ("swa_share", 1), ("swa_epochs", 0), ("swa_epochs", 1.5), ("swa_rate", "x"), ("small_images", [[0.5, 4]]), ("small_images", [[0.5, 32]]), ("small_images", [[2, 16]]), ("small_images", [[0.5, 16], [0.5, 24]]),
    ("small_images", [3]), ("small_images", 3), ("learning_rate", 10**400)])
def test_wrong_values_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=f"test: recipe field {field}: must be .*received"):
        recipes.changed(recipes.get("cifar10-74"), {field: value}, "test")


def test_unknown_fields_and_wrong_options():
    with pytest.raises(InputError, match="unknown recipe field 'lr'.*learning_rate"):
        recipes.changed(recipes.get("cifar10-74"), {"lr": 1}, "test")
    with pytest.raises(InputError, match="JSON object"):
        recipes.changed(recipes.get("cifar10-74"), [1], "test")
    with pytest.raises(InputError, match="cifar10_cnn.*depth"):
        recipes.build(recipes.changed(recipes.get("cifar10-74"), {"builder_options": {"depth": 9}}, "test"), 10)


@pytest.mark.parametrize("rung, parameters", [
    ("cifar10-74", 1_639_914), ("cifar10-79", 1_640_182), ("cifar10-84", 308_842), ("cifar10-88", 308_842), ("cifar10-90", 498_680),
    ("cifar10-94", 2_527_416), ("cifar10-96", 9_921_848), ("cifar10-tiny-88", 26_106), ("cifar10-tiny-91", 76_698),
    ("fashion-mnist-92", 412_778), ("fashion-mnist-93", 412_778), ("fashion-mnist-95", 634_920)])
def test_the_parameters_of_every_rungs_network(rung, parameters):
    assert recipes.build(recipes.get(rung), 10).count_params() == parameters
