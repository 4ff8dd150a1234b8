"""The lectures' first networks: their builders, and the recipe fields that came with them."""

import json

import keras
import numpy as np
import pytest

import cifar_lab
from cifar_lab import backend, bundles, data, ladder, models, networks, scratch, training
from cifar_lab.data import sets
from cifar_lab.errors import InputError
from cifar_lab.exporting import folding
from cifar_lab.ladder import first_networks
from cifar_lab.recipe import INITIALIZERS, LOSSES, Recipe
from cifar_lab.training import connections, initialisation, losses, optimizers
from cifar_lab.training.plan import Plan
from cifar_lab.training.trainer import Trainer
from support import run_here, run_json

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
RIGHT = np.eye(3)  # a cat, a car, a frog


@pytest.fixture(scope="module")
def embedded():
    return data.limited(data.load("synthetic", input_shape=(16, 16, 3)), 400, 0)


def recipe(**fields):
    own = {"builder": "mlp", "builder_options": {"hidden_units": [16]}, "input_shape": (16, 16, 3)}
    return Recipe(**{**own, "data": "synthetic", "epochs": 2, "learning_rate": 0.01, **fields})


def trainer(dataset, **fields):
    return Trainer(Plan.of(recipe(**fields), dataset, 0))


# --- builders ---


@pytest.mark.parametrize(
    "builder, shape, classes, options, parameters",
    [
        ("linear", (28, 28, 1), 10, {}, 7_850),
        ("linear", (28, 28, 1), 2, {}, 785),
        ("linear", (32, 32, 3), 10, {"standardize": True}, 30_730 + 6),
        ("mlp", (28, 28, 1), 10, {}, 79_510),
        ("mlp", (28, 28, 1), 10, {"hidden_units": []}, 7_850),
        ("mlp", (28, 28, 1), 10, {"hidden_units": [300, 100]}, 266_610),
        ("lenet5", (28, 28, 1), 10, {}, 61_706),
        ("lenet5", (32, 32, 1), 10, {}, 61_706),
        ("lenet5", (32, 32, 3), 10, {}, 62_006),
    ],
)
def test_parameters(builder, shape, classes, options, parameters):
    assert getattr(models, builder)(shape, classes, **options).count_params() == parameters


def test_lenet5_has_the_papers_layers():
    network = models.lenet5()
    shapes = {name: network.get_layer(name).output.shape[1:] for name in ("conv1", "pool1")}
    assert shapes == {"conv1": (28, 28, 6), "pool1": (14, 14, 6)}
    assert network.get_layer("conv2").output.shape[1:] == (10, 10, 16)
    assert network.get_layer("flatten").output.shape[1:] == (400,)
    counts = [layer.count_params() for layer in network.layers if layer.count_params()]
    assert counts == [156, 2_416, 48_120, 10_164, 850]
    assert isinstance(network.get_layer("pool2"), keras.layers.AveragePooling2D)
    assert network.get_layer("act3").activation is keras.activations.tanh
    with pytest.raises(ValueError, match="at least 16"):
        models.lenet5((12, 28, 1))
    with pytest.raises(ValueError, match="average or max"):
        models.lenet5(pooling="median")


def test_two_classes_are_one_sigmoid():
    network = models.linear((4, 4, 1), 2)
    w = np.linspace(-1, 1, 16)[:, None]
    network.get_layer("output").set_weights([w, np.array([0.25])])
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1)).astype("float32")
    p = 1 / (1 + np.exp(-(x.reshape(5, 16) / 255 @ w[:, 0] + 0.25)))
    np.testing.assert_allclose(network(x), np.stack([1 - p, p], 1), atol=1e-6)


def test_pixels_are_standardised_by_the_train_part_alone(embedded):
    found = trainer(embedded, builder_options={"hidden_units": [4], "standardize": True})
    part = embedded.train_images[found.plan.train_indices] / 255
    mean, variance = found.network.get_layer("standardize").get_weights()
    np.testing.assert_allclose(mean, part.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, part.var((0, 1, 2)), rtol=1e-4)
    found.run_epoch()
    again = found.bare_network().get_layer("standardize").get_weights()
    np.testing.assert_array_equal(again, [mean, variance])
    outputs = keras.Model(found.network.input, found.network.get_layer("standardize").output)
    pixels = embedded.train_images[found.plan.train_indices].astype("float32")
    scaled = np.asarray(outputs(pixels, training=True))
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, atol=1e-3)


def test_noise_and_penalties_of_the_weights_are_for_training_alone():
    network = models.linear((8, 8, 1), 10, input_noise=0.5, l1=0.01, l2=0.1)
    kernel = np.asarray(network.get_layer("output").kernel)
    penalty = 0.01 * abs(kernel).sum() + 0.1 * (kernel**2).sum()
    assert float(sum(network.losses)) == pytest.approx(penalty, rel=1e-5)
    x = np.full((3, 8, 8, 1), 100, "float32")
    calm = np.asarray(network(x))
    np.testing.assert_array_equal(calm, network(x, training=False))
    assert abs(np.asarray(network(x, training=True)) - calm).max() > 1e-3


# --- losses ---


def test_the_multiclass_hinge_is_the_lectures():
    outputs = keras.ops.softmax(SCORES.astype("float32"))
    given = losses.MulticlassHinge(reduction=None)(RIGHT, outputs)
    np.testing.assert_allclose(given, [2.9, 0, 12.9], atol=1e-4)
    assert float(losses.MulticlassHinge()(RIGHT, outputs)) == pytest.approx(5.2667, abs=1e-4)


def test_the_multiclass_hinges_gradient_by_the_scores_is_that_of_scratch():
    if backend_name() != "tensorflow":
        pytest.skip("the gradient is taken with TensorFlow")
    import tensorflow as tf

    scores = tf.constant(SCORES, "float32")
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = losses.MulticlassHinge()(RIGHT, tf.nn.softmax(scores))
    expected = scratch.MultiClassHinge().gradient(SCORES, RIGHT)
    np.testing.assert_allclose(tape.gradient(loss, scores), expected, atol=1e-5)


def backend_name():
    return keras.backend.backend()


def test_each_loss_and_its_weighted_form():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]], "float32")
    z, right = np.log(p), np.log(p)[range(3), range(3)]
    hinge = np.maximum(z - right[:, None] + 1, 0).sum(1) - 1
    expected = {
        "categorical_crossentropy": -right,
        "binary_crossentropy": -np.where(RIGHT == 1, np.log(p), np.log(1 - p)).mean(1),
        "multiclass_hinge": hinge,
        "categorical_hinge": [0.5, 0.7, 1.2],  # 1 + the highest wrong probability - the right one's
    }
    assert set(expected) == set(LOSSES)
    for name, values in expected.items():
        plain = losses.build(recipe(loss=name))
        plain.reduction = None
        np.testing.assert_allclose(plain(RIGHT, p), values, rtol=1e-4, err_msg=name)
        weighted = losses.build(recipe(loss=name, class_weight="balanced"))
        weighted.reduction = None
        weights = np.array([0.5, 1.0, 2.0])
        found = weighted(RIGHT * weights[:, None], p)
        np.testing.assert_allclose(found, weights * values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(embedded, loss):
    fields = {"loss": loss, "learning_rate": 0.001, "builder": "linear", "builder_options": {}}
    found = trainer(embedded, **fields, epochs=6)
    rows = [found.run_epoch() for _ in range(6)]
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["accuracy"] > 0.15


@pytest.mark.parametrize(
    "fields, line",
    [
        ({"loss": "hinge"}, "recipe field loss: must be one of categorical_crossentropy, "),
        ({"loss": "multiclass_hinge", "label_smoothing": 0.1}, "label_smoothing: must be 0.0"),
        ({"optimizer": "nadam"}, "optimizer: must be one of adam, sgd, muon, momentum"),
        ({"optimizer": "adagrad", "momentum": 0.5}, "momentum: must be 0.9, since optimizer"),
        ({"initializer": "ones"}, "initializer: must be one of zeros"),
        ({"drop_connect": 1.0}, "drop_connect: must be a number from 0 to 0.95"),
        ({"start": "mnist-mlp", "initializer": "zeros"}, 'initializer: must be "", since start is'),
        ({"patience": -1}, "patience: must be a whole number"),
        ({"patience": 2, "keep": "last"}, "patience: must be 0, since keep is 'last'"),
    ],
)
def test_what_a_recipe_refuses(fields, line):
    with pytest.raises(InputError, match=line):
        recipe(**fields)


# --- optimizers, first weights, DropConnect ---


def test_the_optimizers_are_keras_own():
    kinds = {
        "adam": keras.optimizers.Adam,
        "momentum": keras.optimizers.SGD,
        "adagrad": keras.optimizers.Adagrad,
        "rmsprop": keras.optimizers.RMSprop,
    }
    for name, kind in kinds.items():
        found = optimizers.build(recipe(optimizer=name, learning_rate=0.25), 10)
        assert type(found) is kind and float(found.learning_rate) == 0.25
    momentum = optimizers.build(recipe(optimizer="momentum", momentum=0.7), 10)
    assert momentum.momentum == 0.7 and not momentum.nesterov


def test_sgd_without_momentum_is_plain_gradient_descent():
    optimizer = optimizers.build(recipe(optimizer="sgd", momentum=0.0, learning_rate=0.1), 10)
    weight = keras.Variable(np.array([1.0, -2.0]))
    optimizer.build([weight])
    for _ in range(3):
        optimizer.apply([keras.ops.convert_to_tensor(np.array([1.0, 10.0], "float32"))])
    np.testing.assert_allclose(weight, [1 - 0.3, -2 - 3.0], rtol=1e-6)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_draws_all_kernels(name):
    network = models.lenet5((16, 16, 3), standardize=True)
    before = [np.array(w) for w in network.get_weights()]
    initialisation.draw(network, name, 3)
    first = [np.array(w) for w in network.get_weights()]
    initialisation.draw(network, name, 3)
    for old, new, again, weight in zip(before, first, network.get_weights(), network.weights):
        np.testing.assert_array_equal(new, again)  # the same seed, the same weights
        assert np.array_equal(old, new) != weight.name.endswith("kernel")
    hidden = network.get_layer("hidden2")
    inputs, outputs = hidden.kernel.shape
    deviation = {
        "zeros": 0,
        "random_normal": 0.05,
        "random_uniform": 0.05 / 3**0.5,
        "glorot_normal": (2 / (inputs + outputs)) ** 0.5,
        "glorot_uniform": (2 / (inputs + outputs)) ** 0.5,
        "he_normal": (2 / inputs) ** 0.5,
        "he_uniform": (2 / inputs) ** 0.5,
        "lecun_normal": (1 / inputs) ** 0.5,
        "lecun_uniform": (1 / inputs) ** 0.5,
        "orthogonal": (1 / inputs) ** 0.5,
    }[name]
    assert np.std(hidden.kernel) == pytest.approx(deviation, rel=0.05)


def test_an_initializer_is_a_field_of_the_recipe(embedded):
    found = trainer(embedded, initializer="zeros", builder="linear", builder_options={})
    assert not np.any(found.network.get_layer("output").kernel)
    found.run_epoch()
    assert np.any(found.network.get_layer("output").kernel)


def test_drop_connect_leaves_out_a_share_of_the_weights_while_training():
    layer = connections.DropConnectDense(400, rate=0.25, seed=1, use_bias=False)
    x = np.eye(300, dtype="float32")  # so that the output is the kernel
    kernel = np.asarray(layer(x))
    dropped = np.asarray(layer(x, training=True))
    zero = dropped == 0
    assert zero.mean() == pytest.approx(0.25, abs=0.005)
    np.testing.assert_allclose(dropped[~zero], kernel[~zero] / 0.75, rtol=1e-5)
    assert not np.array_equal(zero, np.asarray(layer(x, training=True)) == 0)  # drawn anew


def test_drop_connect_is_nowhere_in_the_saved_network(embedded, tmp_path):
    fields = recipe(builder_options={"hidden_units": [16, 8]}, drop_connect=0.3)
    seen = Trainer(Plan.of(fields, embedded, 0)).network
    kinds = [type(layer).__name__ for layer in seen.layers if layer.count_params()]
    assert kinds == ["DropConnectDense", "DropConnectDense", "Dense"]
    training.train(fields, embedded, tmp_path / "b", rung="x")
    model = keras.saving.load_model(tmp_path / "b/model.keras", safe_mode=True)
    assert {type(x) for x in model.layers if x.count_params()} == {keras.layers.Dense}


def test_drop_connect_is_refused_where_it_would_do_nothing(embedded):
    with pytest.raises(
        InputError, match="drop_connect: must be 0, since linear has no dense layer"
    ):
        trainer(embedded, builder="linear", builder_options={}, drop_connect=0.5)


def test_a_frozen_layer_is_one_that_learns(embedded, tmp_path):
    """What standardises pixels has weights too, and does not count."""
    options = {"hidden_units": [8, 6], "standardize": True}
    training.train(recipe(builder_options=options), embedded, tmp_path / "a", rung="x")
    again = recipe(builder_options=options, start=str(tmp_path / "a"), freeze=1)
    found = Trainer(Plan.of(again, embedded, 1))
    before = [np.array(found.network.get_layer(f"hidden{i}").kernel) for i in (1, 2)]
    found.run_epoch()
    after = [np.array(found.network.get_layer(f"hidden{i}").kernel) for i in (1, 2)]
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[1], after[1])


def test_the_temperature_of_one_sigmoid_goes_into_its_neuron():
    network = models.linear((4, 4, 1), 2)
    x = np.random.default_rng(3).integers(0, 256, (6, 4, 4, 1)).astype("float32")
    p = np.asarray(network(x))
    found = folding.folded(network, 2.5)
    scaled = p ** (1 / 2.5)
    np.testing.assert_allclose(found(x), scaled / scaled.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(network(x), p)  # a copy was changed


# --- early stopping ---


def test_training_stops_when_patience_is_out(embedded, tmp_path):
    lines, fields = [], recipe(learning_rate=1e-9, epochs=50, patience=3)
    card, _ = training.train(fields, embedded, tmp_path / "b", rung="x", notice=lines.append)
    rows = (tmp_path / "b/history.csv").read_text().splitlines()[1:]
    values = [float(row.split(",")[4]) for row in rows]
    assert len(rows) == card["epoch"] + 3 < 50
    assert max(values[card["epoch"] :]) <= values[card["epoch"] - 1]
    assert f"stopped after epoch {len(rows)}: none since epoch {card['epoch']} was better" in (
        " ".join(lines)
    )
    assert training.train(fields, embedded, tmp_path / "b", rung="x", resume=True)[1]


def test_patience_is_counted_from_the_best_epoch(embedded):
    found = trainer(embedded, epochs=9, patience=2)
    for value in (0.1, 0.3, 0.2):
        row = {"epoch": len(found.history) + 1, "val_accuracy": value, "val_loss": 1.0}
        found.history.append(row)
    assert not found.done
    found.history.append({"epoch": 4, "val_accuracy": 0.25, "val_loss": 1.0})
    assert found.done and found.chosen_epoch()["epoch"] == 2


# --- classes ---


def test_classes_of_a_set_are_labelled_in_the_order_asked_for():
    whole, some = data.load("synthetic"), data.load("synthetic:star,disc")
    assert some.classes == ("star", "disc") and some.name == "synthetic:star,disc"
    for part in ("train", "test"):
        images, labels = getattr(some, f"{part}_images"), getattr(some, f"{part}_labels")
        all_labels = getattr(whole, f"{part}_labels")
        for new, name in enumerate(some.classes):
            mine = all_labels == whole.classes.index(name)
            np.testing.assert_array_equal(
                images[labels == new], getattr(whole, f"{part}_images")[mine]
            )
        assert set(labels) == {0, 1} and labels.dtype == np.int64


def test_classes_and_dials_together():
    assert sets.split_name("synthetic:disc,ring,occlusion=1") == (
        "synthetic:occlusion=1",
        ("disc", "ring"),
    )
    assert sets.with_classes("synthetic:occlusion=1", ["ring", "disc"]) == (
        "synthetic:occlusion=1,ring,disc"
    )
    assert sets.with_classes("mnist:0,1", ["3", "8"]) == "mnist:3,8"


@pytest.mark.parametrize(
    "name, line",
    [
        ("mnist:3", "at least two different classes, received 3"),
        ("mnist:3,3", "at least two different classes, received 3,3"),
        ("mnist:", "at least two different classes, received none"),
        ("mnist:3,x", "mnist has no class 'x'; it has 0, 1, 2"),
        ("cifar100:apple,cta", "cifar100 has no class 'cta'; it has apple, .*, [.]{3}"),
        ("synthetic:disc,square,occlusion=2", "dial occlusion"),
    ],
)
def test_wrong_classes(name, line):
    with pytest.raises(InputError, match=line):
        data.is_folder(name)


def test_the_commands_train_and_test_two_classes(tmp_path, monkeypatch):
    bundle = tmp_path / "b"
    still = ",".join(f"{dial}=0" for dial in data.synthetic.DIAL_NAMES)
    load = data.synthetic.load  # of 10,000, which take seconds to draw
    monkeypatch.setattr(
        data.synthetic, "load", lambda train_size=2000, **more: load(train_size, **more)
    )
    common = ["--data", f"synthetic:{still}", "--limit", 400, "--epochs", 1]
    found = run_json(
        "train.py", "mnist-logistic", *common, "--classes", "star, disc", "--output", bundle,
        here=True,
    )  # fmt: skip
    card = json.loads((bundle / "card.json").read_text())
    name = f"synthetic:{still},star,disc"
    assert card["classes"] == ["star", "disc"] and card["data"]["name"] == name
    tested = run_json("evaluate.py", bundle, here=True)
    assert tested["images"] == 400 and tested["accuracy"] == found["test_accuracy"]
    assert {k: v["images"] for k, v in tested["classes"].items()} == {"star": 200, "disc": 200}
    done = run_here("evaluate.py", bundle, "--data", "synthetic")
    assert done.returncode == 2 and "are not those of the bundle" in done.stderr


@pytest.mark.parametrize("classes", [3, "3,8", [3, 8]])
def test_classes_in_python_are_names(classes):
    with pytest.raises(InputError, match="`classes`: must be a list of names"):
        cifar_lab.train("mnist-logistic", classes=classes, output="unused")


@pytest.mark.parametrize(
    "words, line",
    [
        (["--classes", "3"], "--classes: must name at least two different classes, received 3"),
        (["--classes", "3,cat"], "--classes: mnist has no class 'cat'"),
        (["--classes", "a,b", "--data", "photos"], "--classes: photos is a folder"),
        (["--data", "cifar11:cat,dog"], "data 'cifar11:cat,dog': must be one of"),
    ],
)
def test_wrong_classes_are_one_line(words, line, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    done = run_here("train.py", "mnist-logistic", "--output", tmp_path / "b", *words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert line in done.stderr


# --- the rungs ---


def test_the_first_rungs_lie_below_the_convolutional_ones():
    names = list(ladder.LADDER)
    assert names[: len(first_networks.RUNGS)] == list(first_networks.RUNGS)
    for name, rung in first_networks.RUNGS.items():
        assert rung.recipe.builder in ("linear", "mlp", "lenet5"), name


@pytest.mark.parametrize("name", ["mnist-logistic", "mnist-mlp", "cifar10-hinge", "cifar10-lenet5"])
def test_first_rungs_learn_the_embedded_set(name):
    """Each builder, and each loss."""
    rung = ladder.get(name)
    shape = rung.recipe.input_shape
    dataset = data.limited(data.load("synthetic", input_shape=shape), 600, 0)
    if rung.num_classes == 2:
        dataset = sets._with_classes(dataset, dataset.classes[:2])
    found = Trainer(Plan.of(rung.recipe, dataset, 0))
    losses_seen = [found.run_epoch()["loss"] for _ in range(3)]
    assert losses_seen[-1] < losses_seen[0]


def test_two_real_digits_are_told_apart(real_data, tmp_path):
    found = run_json(
        "train.py", "mnist-logistic", "--data-dir", real_data, "--epochs", 3,
        "--output", tmp_path / "b", here=True,
    )  # fmt: skip
    assert found["test_accuracy"] > 0.995  # 2,115 images of 0 and 1
    model, card = bundles.load(tmp_path / "b")
    assert card["classes"] == ["0", "1"] and model.count_params() == 785


def test_networks_of_two_classes_are_built_for_two():
    rung = ladder.get("mnist-logistic")
    assert rung.num_classes == 2 and ladder.get("cifar10-74").num_classes == 10
    assert networks.build(rung.recipe, rung.num_classes).output_shape == (None, 2)
    assert backend.device()[0] in ("CPU", "GPU")
