"""The builders: shapes, parameter counts, that they learn, and come back from disk the same."""

import inspect
import math
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from cifar_lab import ladder, models
from cifar_lab.models import (
    airbench,
    alexnet,
    cifar10_cnn,
    edge,
    fashion_mnist_cnn,
    inception,
    nin,
    resnet,
    vgg,
)
from cifar_lab.models.searchable import Choice, Number
from cifar_lab.training import fused
from support import FEW

# {case: (builder, options)}: every builder as it is, and what else has figures below
CASES = {name: (getattr(models, name), {}) for name in models.__all__}
CASES["cifar10_cnn_bn"] = (cifar10_cnn, {"batch_normalization": True})
CASES["resnet_plain"] = (resnet, {"skip": False})
CASES["resnet_preactivated"] = (resnet, {"preactivation": True})
CASES["resnet_wide"] = (
    resnet,
    {"blocks": 1, "wide": 2, "preactivation": True, "projection": True},
)
# {builder: (rate, steps)} of those learnt by heart at other settings: without normalisation 0.002
# is too high a rate, and with it 0.01 is none
BY_HEART = {
    "nin": (1e-3, 150),
    "edge": (1e-2, 60),
    "inception": (1e-2, 60),
    "resnet": (1e-2, 60),
    "airbench": (1e-2, 60),
    "vgg": (1e-2, 60),
}
# Parameters by layer of networks whose weights are committed, at their builders' defaults
SMALLEST = {  # sides
    "cifar10_cnn": 10,
    "fashion_mnist_cnn": 4,
    "vgg": 8,
    "airbench": 9,
    "edge": 4,
    "application": 20,
}
TOTALS = {
    "cifar10_cnn": 1_639_914,
    "cifar10_cnn_bn": 1_640_182,
    "fashion_mnist_cnn": 412_778,
    "vgg": 308_842,
    "airbench": 1_973_944,
    "edge": 56_858,
    "application": 2_270_794,
}
LAYERS = {
    "cifar10_cnn": {
        "conv1": 896,
        "conv2": 9_248,
        "conv3": 18_496,
        "poolhidden": 1_606_144,
        "output": 5_130,
    },
    "cifar10_cnn_bn": {
        "norm_input": 12,
        "conv1": 896,
        "norm2": 128,
        "conv2": 9_248,
        "norm3": 128,
        "conv3": 18_496,
        "poolhidden": 1_606_144,
        "output": 5_130,
    },
    "fashion_mnist_cnn": {"conv1": 320, "conv2": 8_224, "poolhidden": 401_664, "output": 2_570},
    "vgg": {
        "conv1_1": 864,
        "norm1_1": 128,
        "conv1_2": 9_216,
        "norm1_2": 128,
        "conv2_1": 18_432,
        "norm2_1": 256,
        "conv2_2": 36_864,
        "norm2_2": 256,
        "conv3_1": 73_728,
        "norm3_1": 512,
        "conv3_2": 147_456,
        "norm3_2": 512,
        "output": 20_490,
    },
    "airbench": {
        "whiten": 312,
        "conv1_1": 13_824,
        "norm1_1": 192,
        "conv1_2": 36_864,
        "norm1_2": 192,
        "conv2_1": 147_456,
        "norm2_1": 768,
        "conv2_2": 589_824,
        "norm2_2": 768,
        "conv3_1": 589_824,
        "norm3_1": 768,
        "conv3_2": 589_824,
        "norm3_2": 768,
        "output": 2_560,
    },
    "edge": {
        "stem": 648,
        "norm": 96,
        "output": 970,
        **{f"depthwise{n}": 216 for n in ("1_1", "1_2", "2_1")},
        **{f"norm{n}": 96 for n in ("1_1_1", "1_1_2", "1_2_1", "1_2_2", "2_1_1")},
        **{f"depthwise{n}": 504 for n in ("2_2", "2_3", "2_4", "3_1")},
        **{
            f"norm{n}": 224
            for n in ("2_1_2", "2_2_1", "2_2_2", "2_3_1", "2_3_2", "2_4_1", "2_4_2", "3_1_1")
        },
        **{f"depthwise{n}": 864 for n in ("3_2", "3_3", "3_4")},
        **{
            f"norm{n}": 384 for n in ("3_1_2", "3_2_1", "3_2_2", "3_3_1", "3_3_2", "3_4_1", "3_4_2")
        },
        "pointwise1_1": 576,
        "pointwise1_2": 576,
        "pointwise2_1": 1_344,
        "pointwise3_1": 5_376,
        **{f"pointwise2_{i}": 3_136 for i in (2, 3, 4)},
        **{f"pointwise3_{i}": 9_216 for i in (2, 3, 4)},
    },
}


def default(builder, argument):
    return inspect.signature(builder).parameters[argument].default


@pytest.fixture(params=CASES)
def case(request):
    """(name, builder, options, input shape)"""
    builder, options = CASES[request.param]
    return request.param, builder, options, default(builder, "input_shape")


# MobileNetV2 takes as long as all others together; the other residual networks are the first's kind
SLOW = ("application", "resnet_plain", "resnet_preactivated", "resnet_wide")
all_but_the_largest = pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in CASES],
    indirect=True,
)


def batch(shape, n=16, classes=10):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, *shape)).astype("float32"), np.arange(n) % classes


@pytest.mark.parametrize("name", TOTALS)
def test_parameters(name):
    """Committed weights have these shapes: a builder that is to change gets a new argument."""
    builder, options = CASES[name]
    model = builder(**options)
    assert model.count_params() == TOTALS[name]
    if name != "application":  # Keras' own layers
        assert {
            layer.name: layer.count_params() for layer in model.layers if layer.count_params()
        } == LAYERS[name]


def test_layers_are_keras_own(case):
    """What is saved must load with plain Keras, in safe mode."""
    _, builder, options, shape = case
    for layer in builder(shape, 10, **options).layers:
        assert type(layer).__module__.startswith("keras."), layer
        assert not isinstance(layer, keras.layers.Lambda)


def test_importing_the_builders_imports_no_keras():
    code = "import sys, cifar_lab.models; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layer_names_and_order_of_the_74_network():
    names = [layer.name for layer in cifar10_cnn().layers]
    assert [
        n
        for n in names
        if n in ("conv1", "conv2", "pool1", "conv3", "pool2", "flatten", "poolhidden", "output")
    ] == ["conv1", "conv2", "pool1", "conv3", "pool2", "flatten", "poolhidden", "output"]
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in cifar10_cnn().layers}
    assert (
        shapes["conv1"] == (30, 30, 32)
        and shapes["pool1"] == (15, 15, 32)
        and shapes["pool2"] == (7, 7, 64)
    )


def test_input_shape_and_class_count(case):
    _, builder, options, _ = case
    model = builder((20, 24, 1), 3, **options)
    out = np.asarray(model(np.zeros((2, 20, 24, 1), "float32")))
    assert out.shape == (2, 3)
    np.testing.assert_allclose(out.sum(1), 1, atol=1e-5)


def test_too_small_images_are_refused(case):
    """From some side on it builds, and answers; below that it says so."""
    _, builder, options, _ = case
    for side in range(1, 33):
        try:
            model = builder((side, side, 1), 10, **options)
            break
        except ValueError as error:
            assert re.search("^input_shape: .*received", str(error)), error
    assert np.asarray(model(np.zeros((1, side, side, 1), "float32"))).shape == (1, 10)
    assert SMALLEST.get(builder.__name__, side) == side


def test_raw_pixels_in(case):
    """Pixels 0-255: the first thing that happens to them is a division by 255."""
    _, builder, options, shape = case
    model = builder(shape, 10, **options)
    rescaled = keras.Model(model.input, model.get_layer("rescale").output)(
        np.full((1, *shape), 255, "float32")
    )
    np.testing.assert_allclose(np.asarray(rescaled), 1.0, rtol=1e-6)


def without_regularisation(builder):
    """{argument: 0} of the rates and factors that a builder declares, throughout."""
    found = {}
    for name, kind in builder.searchable.items():
        if isinstance(kind, Number) and kind.low == 0 and not kind.whole:
            now = default(builder, name)
            found[name] = [0.0] * len(now) if isinstance(now, (list, tuple)) else 0.0
    return found


@all_but_the_largest
def test_overfits_one_batch(case):
    """16 images of noise, learnt by heart within 60 steps, or as BY_HEART says."""
    name, builder, options, shape = case
    rate, steps = BY_HEART.get(builder.__name__, (2e-3, 60))
    few = FEW.get(builder.__name__, {})
    keras.utils.set_random_seed(0)
    model = builder(shape, 10, **{**without_regularisation(builder), **few, **options})
    x, y = batch(shape)
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    first = model.train_on_batch(x, y)[0]
    for _ in range(steps):
        loss, accuracy = model.train_on_batch(x, y, return_dict=False)
        model.reset_metrics()
        if loss < 0.05 and accuracy == 1.0:
            break
    assert first > 1.5 and loss < 0.05 and accuracy == 1.0


@all_but_the_largest
def test_saved_and_reloaded_model_is_equal(case, tmp_path):
    _, builder, options, shape = case
    keras.utils.set_random_seed(1)
    model = builder(shape, 10, **{**FEW.get(builder.__name__, {}), **options})
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    x, _ = batch(shape)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    assert not again.compiled
    assert {v.dtype for v in again.weights} == {"float32"}


@pytest.mark.parametrize("builder", models.__all__)
def test_every_declaration_builds(builder):
    """The least value of each declared number, and each option of each choice."""
    few = FEW["inception"] if builder == "inception" else {}
    builder = getattr(models, builder)
    for name, kind in builder.searchable.items():
        now = default(builder, name)
        for value in kind.options if isinstance(kind, Choice) else [kind.low]:
            given = [value] * len(now) if isinstance(now, (list, tuple)) else value
            model = builder(**{**few, name: given})
            assert model.output_shape == (None, 10), (name, value)


@pytest.mark.parametrize("rung", ladder.LADDER)
def test_recipes_stay_within_what_their_builders_declare(rung):
    recipe = ladder.get(rung).recipe
    kinds = getattr(models, recipe.builder).searchable
    for name, given in recipe.builder_options.items():
        for value in given if isinstance(given, list) else [given]:
            kind = kinds[name]
            allowed = (
                value in kind.options
                if isinstance(kind, Choice)
                else (kind.low <= value <= kind.high)
            )
            assert allowed, (name, value)


@pytest.mark.parametrize(
    "builder, filters", [(cifar10_cnn, (8, 12, 16)), (fashion_mnist_cnn, (8, 12))]
)
def test_the_lectures_networks_grow_as_told(builder, filters):
    model = builder(filters=filters, hidden_layers=3, hidden_units=40, activation="tanh")
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    hidden = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    assert [layer.filters for layer in convolutions] == list(filters)
    assert [layer.name for layer in hidden] == ["poolhidden", "hidden2", "hidden3"]
    assert [layer.units for layer in hidden] == [40] * 3
    assert {layer.activation for layer in [*convolutions, *hidden]} == {keras.activations.tanh}
    assert model.get_layer("dropout5").input is hidden[-1].output
    assert "poolhidden" not in [layer.name for layer in builder(hidden_layers=0).layers]
    with pytest.raises(ValueError, match=r"filters: must be of (two|three) convolutions"):
        builder(filters=(8,))


def test_vgg_regularises_every_convolution_and_nothing_else():
    """Keras' convention: l2 * sum(kernel ** 2) is added to the loss."""
    model = vgg(l2=1e-3)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 6 and len(model.losses) == 6
    expected = sum(1e-3 * float((np.asarray(k) ** 2).sum()) for k in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_vgg_grows_as_told():
    model = vgg(filters=(8, 16), convolutions=3, dropout=(0.1, 0.2))
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [
        8,
        8,
        8,
        16,
        16,
        16,
    ]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [
        0.1,
        0.2,
    ]
    rates = [
        layer.rate for layer in vgg(dropout=0.25).layers if isinstance(layer, keras.layers.Dropout)
    ]
    assert rates == [0.25] * 3
    kinds = {type(layer).__name__: layer.name for layer in vgg(activation="silu").layers}
    assert kinds["Activation"] == "act3_2" and "ReLU" not in kinds
    with pytest.raises(ValueError, match="dropout: must have a rate a stage"):
        vgg(dropout=(0.1,))


# --- famous networks ---

PUBLISHED = {  # {network: (builder, parameters that are trained)}
    "AlexNet": (
        lambda: alexnet(
            (227, 227, 3),
            1000,
            widths=(96, 256, 384, 384, 256),
            hidden=(4096, 4096),
            stem="published",
        ),
        62_378_344,
    ),
    "VGG-16": (lambda: vgg((224, 224, 3), 1000, convolutions=(2, 2, 3, 3, 3), **VGG), 138_357_544),
    "VGG-19": (lambda: vgg((224, 224, 3), 1000, convolutions=(2, 2, 4, 4, 4), **VGG), 143_667_240),
    "Network in Network": (nin, 966_986),
    "GoogLeNet": (
        lambda: inception(
            (224, 224, 3),
            1000,
            width=1,
            dropout=0.4,
            batch_normalization=False,
            stem="published",
        ),
        6_998_552,
    ),
    "ResNet-20": (resnet, 269_722),
    "ResNet-32": (lambda: resnet(blocks=5), 464_154),
    "ResNet-56": (lambda: resnet(blocks=9), 853_018),
    "the plain 56 layers": (lambda: resnet(blocks=9, skip=False), 853_018),
    "WRN-28-10": (
        lambda: resnet(blocks=4, wide=10, preactivation=True, projection=True),
        36_479_194,
    ),
}
VGG = {
    "filters": (64, 128, 256, 512, 512),
    "dropout": 0,
    "batch_normalization": False,
    "hidden": (4096, 4096),
}


def outputs(model, prefix):
    """{name: output shape without the batch} of the layers whose names begin so."""
    return {
        layer.name: tuple(layer.output.shape[1:])
        for layer in model.layers
        if layer.name.startswith(prefix)
    }


SHAPES = {
    "AlexNet": {  # Krizhevsky et al. 2012, section 3.5
        "pool1": (27, 27, 96),
        "pool2": (13, 13, 256),
        "pool5": (6, 6, 256),
    },
    "VGG-16": {"pool4": (14, 14, 512), "pool5": (7, 7, 512)},
    "GoogLeNet": {  # Szegedy et al. 2015, table 1
        "concat3_1": (28, 28, 256),
        "concat3_2": (28, 28, 480),
        "concat4_1": (14, 14, 512),
        "concat4_2": (14, 14, 512),
        "concat4_3": (14, 14, 512),
        "concat4_4": (14, 14, 528),
        "concat4_5": (14, 14, 832),
        "concat5_1": (7, 7, 832),
        "concat5_2": (7, 7, 1024),
    },
}
TAKES_SECONDS = ("VGG-16", "VGG-19", "WRN-28-10")  # of drawing weights


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in TAKES_SECONDS else n for n in PUBLISHED],
)
def test_parameters_and_shapes_as_published(name):
    """Nobody trains the largest here, but they have their papers' sizes."""
    build, parameters = PUBLISHED[name]
    model = build()
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters
    shapes = SHAPES.get(name, {})
    assert shapes.items() <= outputs(model, ("pool", "concat")).items()


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("name", ["1_1", "2_1", "3_2"])
def test_a_residual_block_whose_last_weights_are_zero_is_its_shortcut(preactivation, name):
    """The identity, exactly; where a block halves the sides and widens, every second pixel and
    zeros. Why a deeper residual network need not be worse than a shallower one."""
    model = resnet(blocks=2, widths=(8, 12, 16), preactivation=preactivation)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    if preactivation:  # its last layer with weights is the convolution
        kernel = model.get_layer(f"conv{name}_2").kernel
        kernel.assign(np.zeros(kernel.shape))
    else:
        norm = model.get_layer(f"norm{name}_2")
        norm.gamma.assign(np.zeros(norm.gamma.shape))
        norm.beta.assign(np.zeros(norm.beta.shape))
    before = model.get_layer(f"{'norm' if preactivation else 'conv'}{name}_1").input
    after = model.get_layer(f"add{name}" if preactivation else f"relu{name}_2").output
    x = rng.integers(0, 256, (3, 32, 32, 3)).astype("float32")
    given, found = (np.asarray(part) for part in keras.Model(model.input, [before, after])(x))
    expected = np.zeros_like(found)
    steps = given.shape[1] // found.shape[1]
    expected[..., : given.shape[3]] = given[:, ::steps, ::steps]
    assert found.any()
    np.testing.assert_array_equal(found, expected)


def test_a_plain_network_is_the_residual_one_without_its_sums():
    plain, residual = resnet(skip=False), resnet()
    assert outputs(plain, "add") == {}
    assert len(outputs(residual, "add")) == 9
    assert [w.shape for w in plain.weights] == [w.shape for w in residual.weights]


def test_a_wide_network_projects_where_the_shape_changes():
    model = resnet(blocks=2, wide=3, preactivation=True, projection=True)
    assert outputs(model, "conv")["conv"] == (32, 32, 16)
    projections = {n: s for n, s in outputs(model, "conv").items() if n.endswith("_0")}
    assert projections == {
        "conv1_1_0": (32, 32, 48),
        "conv2_1_0": (16, 16, 96),
        "conv3_1_0": (8, 8, 192),
    }
    assert not outputs(model, "pad") and not outputs(model, "subsample")


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: alexnet(widths=(8, 8)), "widths and hidden: must be five widths"),
        (lambda: alexnet(hidden=()), "at least one hidden layer"),
        (lambda: alexnet(stem="large"), "stem: must be small or published, received 'large'"),
        (lambda: alexnet(stem="published"), "input_shape: .* at least 67, received"),
        (lambda: inception(stem="large"), "stem: must be small or published"),
        (lambda: inception(modules=[[(1, 2, 3)]]), "modules: must be .* six widths"),
        (lambda: inception(modules=()), "modules: must be at least one stage"),
        (lambda: inception(width=-1), "width and modules: must be a factor greater than 0"),
        (lambda: inception(modules=[[(8, 8, 0, 8, 8, 8)]]), "of widths of at least 1"),
        (lambda: nin(widths=()), "widths: must be at least one block"),
        (lambda: nin(widths=((8,), ())), "widths: must be at least one block"),
        (lambda: vgg(convolutions=(2, 2)), r"convolutions: must have a number a stage \(3\)"),
        (lambda: vgg(convolutions=(2, 0, 1)), "at least one stage of one convolution"),
        (lambda: resnet(wide=0), "widths, blocks and wide: must be"),
    ],
)
def test_settings_that_make_no_network(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- the layers that training is given instead of Keras' own ---


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fused kernel is TensorFlow's"
)
@pytest.mark.parametrize("shape", [(6, 5, 7, 4), (9, 4)])
def test_fused_normalisation_is_keras_own(shape):
    """Output, moving statistics after three batches, gradients, and the output in use."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    own, ours = (
        keras.layers.BatchNormalization(momentum=0.9),
        fused.FusedBatchNormalization(momentum=0.9),
    )
    for layer in (own, ours):
        layer.build(shape)
        layer.gamma.assign(np.linspace(0.5, 1.5, 4))
        layer.beta.assign(np.linspace(-1, 1, 4))
    for _ in range(3):
        x = tf.constant(rng.normal(2, 3, shape), "float32")
        weight = tf.constant(rng.normal(0, 1, shape), "float32")
        results = []
        for layer in (own, ours):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(y * weight)
            results.append([y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    for a, b in zip(own.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_allclose(own(x, training=False), ours(x, training=False), atol=1e-5)
    ours.trainable = False
    before = ours.get_weights()
    np.testing.assert_allclose(
        own(x, training=False), ours(x, training=True), atol=1e-5
    )  # frozen: as in use
    for a, b in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fused kernel is TensorFlow's"
)
def test_a_network_with_fused_normalisation_is_the_same_network():
    keras.utils.set_random_seed(3)
    model = vgg(filters=(8, 8), dropout=(0.1, 0.1))
    again = fused.rebuilt(model)
    assert [type(layer).__name__ for layer in again.layers].count("FusedBatchNormalization") == 4
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers] and len(
        again.losses
    ) == 4
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x, _ = batch((32, 32, 3))
    np.testing.assert_allclose(model.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-5)
    assert [type(layer).__name__ for layer in again.layers].count("CheapDropout") == 2
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert fused.rebuilt(plain) is plain


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the cheap kernels are TensorFlow's"
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cheap_dropout_drops_its_rate_and_keeps_the_mean(dtype):
    import tensorflow as tf

    x = tf.ones((501, 333), dtype)  # a number of elements that four does not divide
    layer, same = (
        fused.CheapDropout(0.3, seed=4, dtype=keras.DTypePolicy(dtype)) for _ in range(2)
    )
    first, second = layer(x, training=True), layer(x, training=True)
    assert first.dtype == x.dtype
    np.testing.assert_array_equal(first, same(x, training=True))
    first, second = np.asarray(first, "float32"), np.asarray(second, "float32")
    kept = np.unique(first)[1:]
    assert len(kept) == 1 and kept[0] == pytest.approx(
        1 / 0.7, rel=1e-4 if dtype == "float32" else 4e-3
    )
    assert (first == 0).mean() == pytest.approx(0.3, abs=0.005)
    both = ((first == 0) & (second == 0)).mean()
    assert both == pytest.approx(0.09, abs=0.005)  # batches, and neighbours, are independent
    assert ((first[:, 1:] == 0) & (first[:, :-1] == 0)).mean() == pytest.approx(0.09, abs=0.005)
    np.testing.assert_array_equal(layer(x, training=False), x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_array_equal(
        tape.gradient(y, x), y
    )  # of ones: what is dropped has no gradient


def gradients(layer, inputs, upstream):
    """(outputs, gradients by inputs and by the layer's weights) of a compiled step, as float32."""
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return [
            outputs,
            *tape.gradient(
                outputs, [inputs, *(v.value for v in layer.trainable_variables)], upstream
            ),
        ]

    kinds = {op.type for op in step.get_concrete_function().graph.get_operations()}
    return [np.asarray(value, "float32") for value in step()], kinds


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the cheap gradients are TensorFlow's"
)
@pytest.mark.parametrize(
    "side, kernel, taken",
    [
        ((7, 7), (3, 3), True),
        ((3, 5), (5, 3), True),
        ((1, 1), (3, 3), True),
        ((2, 3), (7, 7), True),
        ((8, 8), (3, 3), True),
        ((9, 8), (3, 3), False),
        ((7, 7), (1, 1), False),
        ((7, 7), (2, 2), False),
    ],
)
def test_convolutions_with_a_transposed_gradient_are_keras_own(side, kernel, taken):
    """Down to where the kernel is larger than the image; where the way is not taken too."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, upstream = (tf.cast(rng.normal(size=(9, *side, n)), "bfloat16") for n in (4, 6))
    own = keras.layers.Conv2D(6, kernel, padding="same", use_bias=False, dtype="mixed_bfloat16")
    ours = fused.TransposedGradientConv2D.from_config(own.get_config())
    for layer in (own, ours):
        layer.build(x.shape)
    ours.set_weights(own.get_weights())
    (expected, _), (found, kinds) = gradients(own, x, upstream), gradients(ours, x, upstream)
    assert ("Conv2DBackpropFilter" not in kinds) == taken
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=0.01, atol=0.01 * abs(a).max()
        )  # a bfloat16 has 8 bits
    assert np.abs(expected[2]).max() > 1
    np.testing.assert_array_equal(
        tf.cast(ours(x), "float32"), tf.cast(own(x), "float32")
    )  # outside a graph, too


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the cheap gradients are TensorFlow's"
)
@pytest.mark.parametrize(
    "option", [{"strides": 2}, {"padding": "valid"}, {"dilation_rate": 2}, {"dtype": "float32"}]
)
def test_other_convolutions_take_keras_own_gradient(option):
    import tensorflow as tf

    layer = fused.TransposedGradientConv2D(
        6, 3, **{"padding": "same", "dtype": "mixed_bfloat16", **option}
    )
    x = tf.ones((2, 7, 7, 4), layer.compute_dtype)
    layer.build(x.shape)
    assert "Conv2DBackpropFilter" in gradients(layer, x, layer(x))[1]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the cheap gradients are TensorFlow's"
)
def test_silu_with_a_cheap_gradient_is_keras_own():
    """Compared with float64, at zero and far away too: no worse than Keras' own in bfloat16."""
    import tensorflow as tf

    x = tf.cast(
        np.concatenate(
            [
                np.linspace(-110, 110, 4401),
                np.linspace(-3, 3, 1001),
                [0, 1e-38, -1e-38, 1e20, -1e20],
            ]
        ),
        "bfloat16",
    )
    exact = np.asarray(x, "float64")
    sigmoid = 1 / (1 + np.exp(-np.clip(exact, -700, 700)))
    slope = sigmoid * (1 + exact * (1 - sigmoid))
    layers = [keras.layers.Activation("silu", dtype="mixed_bfloat16")]
    layers.append(fused.QuotientSilu.from_config(layers[0].get_config()))
    errors = []
    for layer in layers:
        (outputs, gradient), _ = gradients(layer, x, tf.ones_like(x))
        np.testing.assert_allclose(outputs, exact * sigmoid, rtol=0.01, atol=1e-30)
        errors.append(np.abs(gradient - slope).max())
    assert errors[1] <= max(errors[0], 0.02)
    with tf.GradientTape() as tape:  # float32 is Keras' own
        x = tf.constant([-1.0, 0.0, 2.0])
        tape.watch(x)
        y = fused.QuotientSilu("silu")(x)
    np.testing.assert_allclose(tape.gradient(y, x), [0.0723295, 0.5, 1.0907843], atol=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the cheap gradients are TensorFlow's"
)
def test_a_rebuilt_airbench_is_the_same_network():
    model = airbench((16, 16, 3), widths=(8, 16), activation="silu")
    again = fused.rebuilt(model)
    kinds = [type(layer).__name__ for layer in again.layers]
    assert kinds.count("TransposedGradientConv2D") == 5 and kinds.count("QuotientSilu") == 5
    assert "QuotientSilu" not in [
        type(layer).__name__
        for layer in fused.rebuilt(airbench((16, 16, 3), widths=(8, 16))).layers
    ]  # gelu
    x, _ = batch((16, 16, 3))
    np.testing.assert_allclose(model.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-6)


def test_airbench_grows_as_told():
    model = airbench(widths=(8, 16), convolutions=3, activation="relu")
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [
        24,
        8,
        8,
        8,
        16,
        16,
        16,
    ]
    assert [
        tuple(layer.output.shape[1:3])
        for layer in model.layers
        if isinstance(layer, keras.layers.MaxPooling2D)
    ] == [(15, 15), (7, 7)]
    assert model.get_layer("act1_1").activation is keras.activations.relu
    for wrong in ({"widths": ()}, {"convolutions": 0}):
        with pytest.raises(ValueError, match="at least one stage of one convolution"):
            airbench(**wrong)
    with pytest.raises(ValueError, match="residual: needs at least two convolutions"):
        airbench(convolutions=1, residual=True)


def test_airbench_with_residual_stages():
    """What a stage's first convolution gives arrives at its end where the others give nothing."""
    model = airbench((16, 16, 3), widths=(8, 16), convolutions=3, residual=True, activation="relu")
    assert (
        airbench(widths=(128, 384, 512), convolutions=3, residual=True).count_params() == 9_921_848
    )
    for stage in (1, 2):
        for i in (2, 3):
            model.get_layer(f"conv{stage}_{i}").set_weights(
                [np.zeros_like(model.get_layer(f"conv{stage}_{i}").get_weights()[0])]
            )
    inside = keras.Model(
        model.input,
        [model.get_layer(f"act{stage}_{i}").output for stage in (1, 2) for i in (1, 3)],
    )
    first, last, second, end = map(np.asarray, inside(batch((16, 16, 3))[0]))
    assert first.std() > 0 and second.std() > 0
    np.testing.assert_array_equal(last, first)
    np.testing.assert_array_equal(end, second)


def test_edge_grows_as_told():
    model = edge((16, 16, 1), 3, stem=8, widths=(8, 12), blocks=(2, 1), kernel_size=5)
    assert [
        layer.kernel.shape[:2]
        for layer in model.layers
        if isinstance(layer, keras.layers.DepthwiseConv2D)
    ] == [(5, 5)] * 3
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)] == [
        "add1_1",
        "add1_2",
    ]  # where the shape stays
    assert model.get_layer("relu1_2").output.shape[1:] == (16, 16, 8) and model.get_layer(
        "relu2_1"
    ).output.shape[1:] == (8, 8, 12)
    for wrong in (
        {"widths": (8,)},
        {"widths": (), "blocks": ()},
        {"widths": (8, 8), "blocks": (1, 0)},
    ):
        with pytest.raises(ValueError, match="widths and blocks"):
            edge(**wrong)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the products replace TensorFlow's kernel"
)
@pytest.mark.parametrize(
    "shape, side",
    [((4, 32, 32, 3), 20), ((2, 28, 28, 1), 14), ((2, 24, 18, 3), 32), ((0, 9, 9, 1), 5)],
)
def test_resizing_by_matrix_products_is_keras_own_up_to_rounding(shape, side):
    images = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    keras_own = keras.layers.Resizing(side, side, antialias=True)(images)
    found = fused.ProductResizing(side, side, antialias=True)(images)
    assert found.shape == (shape[0], side, side, shape[3])
    np.testing.assert_allclose(found, keras_own, atol=1e-4)
