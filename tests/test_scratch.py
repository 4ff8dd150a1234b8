"""cifar_lab.scratch is equal to Keras: layer by layer, step by step, rung by rung; in float64."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from cifar_lab import bundles, data, ladder, scratch
from cifar_lab.scratch import losses
from support import all_but_the_deep, one_of_each_builder

RUNGS = [name for name, rung in ladder.LADDER.items() if rung.committed]
TOLERANCE = 1e-6


def rng(seed=0):
    return np.random.default_rng(seed)


def assert_equal(a, b, what=""):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, what
    assert scratch.relative_error(a, b) < TOLERANCE, what


def with_keras(model, x, cotangent, training):
    """(output, gradient by x, gradients by the trainable weights) of sum(output * cotangent), or
    what a function of the output gives for the cotangent."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients of Keras are taken with tf.GradientTape: the backend is another")
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=training)
        value = cotangent(y) if callable(cotangent) else tf.reduce_sum(y * cotangent)
    assert y.dtype == value.dtype == tf.float64
    by_x, by_weights = tape.gradient(value, (x, model.trainable_weights))
    return y.numpy(), by_x, [g.numpy() for g in by_weights]


# --- layers ---------------------------------------------------------------------------------------

PICTURE = (5, 6, 3)
LAYERS = {
    "affine": (lambda: layers.Dense(4), (7,)),
    "affine_without_bias": (lambda: layers.Dense(4, use_bias=False), (7,)),
    "affine_relu": (lambda: layers.Dense(4, activation="relu"), (7,)),
    "conv": (lambda: layers.Conv2D(4, 3), PICTURE),
    "conv_same": (lambda: layers.Conv2D(4, 3, padding="same"), PICTURE),
    "conv_even": (lambda: layers.Conv2D(2, 2, padding="same", use_bias=False), PICTURE),
    "conv_wide": (lambda: layers.Conv2D(2, (1, 4), padding="same"), PICTURE),
    "conv_stride_same": (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), PICTURE),
    "conv_stride_even": (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), (6, 4, 2)),
    "conv_strides": (lambda: layers.Conv2D(2, 3, strides=(1, 2)), (7, 8, 2)),
    "conv_left_over": (lambda: layers.Conv2D(2, 2, strides=3), (7, 9, 2)),
    "conv_1x1_stride": (lambda: layers.Conv2D(3, 1, strides=2, padding="same"), PICTURE),
    "conv_larger_than_picture": (lambda: layers.Conv2D(2, 5, padding="same"), (3, 2, 2)),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), PICTURE),
    "depthwise_same": (
        lambda: layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        PICTURE,
    ),
    "depthwise_stride": (lambda: layers.DepthwiseConv2D(3, strides=2, padding="same"), (6, 5, 3)),
    "depthwise_two_each": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), PICTURE),
    "max_pool": (lambda: layers.MaxPooling2D(2), PICTURE),
    "max_pool_same": (lambda: layers.MaxPooling2D(2, padding="same"), PICTURE),
    "max_pool_overlap": (lambda: layers.MaxPooling2D(3, strides=2), (7, 7, 2)),
    "max_pool_wide": (lambda: layers.MaxPooling2D((1, 3), strides=(2, 1)), PICTURE),
    "average_pool": (lambda: layers.AveragePooling2D(2), PICTURE),
    "average_pool_same": (lambda: layers.AveragePooling2D(3, strides=2, padding="same"), PICTURE),
    "every_second_pixel": (lambda: layers.AveragePooling2D(1, strides=2), PICTURE),
    "global_average": (lambda: layers.GlobalAveragePooling2D(), PICTURE),
    "global_max": (lambda: layers.GlobalMaxPooling2D(), PICTURE),
    "normalization": (lambda: layers.BatchNormalization(), PICTURE),
    "normalization_bare": (
        lambda: layers.BatchNormalization(scale=False, center=False, momentum=0.6),
        PICTURE,
    ),
    "normalization_no_scale": (
        lambda: layers.BatchNormalization(scale=False, epsilon=1e-5),
        PICTURE,
    ),
    "normalization_of_rows": (lambda: layers.BatchNormalization(momentum=0.9), (7,)),
    "sigmoid": (lambda: layers.Activation("sigmoid"), PICTURE),
    "tanh": (lambda: layers.Activation("tanh"), PICTURE),
    "relu": (lambda: layers.ReLU(), PICTURE),
    "relu6": (lambda: layers.ReLU(max_value=1.2), PICTURE),
    "leaky_relu": (lambda: layers.LeakyReLU(), PICTURE),
    "leaky_relu_of_relu": (lambda: layers.ReLU(negative_slope=0.1), PICTURE),
    "leaky_relu_by_name": (lambda: layers.Activation("leaky_relu"), PICTURE),
    "elu": (lambda: layers.ELU(alpha=0.7), PICTURE),
    "silu": (lambda: layers.Activation("silu"), PICTURE),
    "softmax": (lambda: layers.Softmax(), (7,)),
    "softmax_of_pictures": (lambda: layers.Activation("softmax"), PICTURE),
    "flatten": (lambda: layers.Flatten(), PICTURE),
    "rescaling": (lambda: layers.Rescaling(1 / 127.5, offset=-1), PICTURE),
    "rescaling_of_channels": (lambda: layers.Rescaling([0.5, 2, 3], offset=[1, 0, -1]), PICTURE),
    "each_pixel_by_its_own": (
        lambda: layers.Normalization(
            axis=(1, 2, 3),
            mean=rng(5).normal(size=PICTURE).tolist(),
            variance=rng(6).uniform(0, 2, PICTURE).tolist(),
        ),
        PICTURE,
    ),
    "each_channel_by_its_own": (
        lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.5, 0.0, 2.0]),
        PICTURE,
    ),
    "padding": (lambda: layers.ZeroPadding2D(((1, 0), (2, 3))), PICTURE),
    "padding_of_channels": (
        lambda: layers.ZeroPadding2D(((0, 0), (0, 2)), data_format="channels_first"),
        PICTURE,
    ),
    "dropout_outside_training": (lambda: layers.Dropout(0.4), PICTURE),
}


def of_one_layer(make, shape):
    """A Keras network in float64 of one layer with random weights, its variances positive."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = keras.Sequential([keras.Input(shape, dtype="float64"), make()])
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(
        [rng(i).uniform(0.2, 1.5, w.shape) for i, w in enumerate(model.get_weights())]
    )
    for kernel in (w for w in model.trainable_weights if len(w.shape) > 1):
        kernel.assign(rng(9).normal(size=kernel.shape))
    return model


# only normalisation differs in training (and Dropout, which Keras draws with another generator)
BOTH = [(case, False) for case in LAYERS] + [(c, True) for c in LAYERS if "normalization" in c]


@pytest.mark.parametrize("case, training", BOTH)
def test_layer_is_equal_to_keras(case, training):
    make, shape = LAYERS[case]
    model = of_one_layer(make, shape)
    network = scratch.load(model)
    x = rng(1).normal(size=(3, *shape))
    y = network.forward(x, training)
    assert y.dtype == np.float64
    cotangent = rng(2).normal(size=y.shape)
    by_x = network.backward(cotangent)
    keras_y, keras_by_x, keras_gradients = with_keras(model, x, cotangent, training)
    assert_equal(y, keras_y, "output")
    assert_equal(by_x, keras_by_x, "gradient by the input")
    assert len(network.gradients) == len(keras_gradients)
    for ours, theirs in zip(network.gradients, keras_gradients):
        assert_equal(ours, theirs, "gradient by a weight")
    for layer in network.layers.values():
        if isinstance(layer, scratch.BatchNormalization):
            *_, mean, variance = model.get_weights()
            assert_equal(layer.moving_mean, mean, "moving mean")
            assert_equal(layer.moving_variance, variance, "moving variance")


@pytest.mark.parametrize("case, training", BOTH)
def test_layer_has_the_numerical_gradient(case, training):
    make, shape = LAYERS[case]
    network = scratch.load(of_one_layer(make, shape))
    x = rng(1).normal(size=(3, *shape))
    cotangent = rng(2).normal(size=network.forward(x, training).shape)
    by_x = network.backward(cotangent)

    def value():
        return (network.forward(x, training) * cotangent).sum()

    assert_equal(by_x, scratch.numerical_gradient(value, x), "by the input")
    gradients = [g.copy() for g in network.gradients]
    for weight, gradient in zip(network.weights, gradients):
        assert_equal(gradient, scratch.numerical_gradient(value, weight), "by a weight")


def test_a_frozen_normalisation_learns_nothing_in_training():
    model = of_one_layer(layers.BatchNormalization, (4,))
    model.layers[0].trainable = False
    network = scratch.load(model)
    x = rng(1).normal(size=(6, 4))
    expected = keras.ops.convert_to_numpy(model(x, training=True))
    assert_equal(network.forward(x, training=True), expected)
    assert network.weights == []
    (layer,) = network.layers.values()
    *_, mean, variance = model.get_weights()
    np.testing.assert_array_equal(layer.moving_mean, mean)
    np.testing.assert_array_equal(layer.moving_variance, variance)


@pytest.mark.parametrize("make", [lambda: layers.MaxPooling2D(3, 2), layers.GlobalMaxPooling2D])
def test_equal_largest_values_share_as_in_keras(make):
    model = of_one_layer(make, (7, 7, 2))
    network = scratch.load(model)
    x = rng(3).integers(0, 3, (4, 7, 7, 2)).astype(float)
    cotangent = rng(4).normal(size=network.forward(x).shape)
    _, by_x, _ = with_keras(model, x, cotangent, False)
    assert_equal(network.backward(cotangent), by_x)


@pytest.mark.parametrize("case", LAYERS)
def test_float32_stays_float32(case):
    make, shape = LAYERS[case]
    network = scratch.load(keras.Sequential([keras.Input(shape), make()]))
    y = network.forward(rng(1).normal(size=(2, *shape)).astype(np.float32), training=True)
    by_x = network.backward(np.ones_like(y))
    assert {a.dtype for a in (y, by_x, *network.gradients)} == {np.dtype(np.float32)}
    statistics = [
        a
        for layer in network.layers.values()
        if isinstance(layer, scratch.BatchNormalization)
        for a in (layer.moving_mean, layer.moving_variance)
    ]
    assert all(a.dtype == np.float32 for a in statistics)


def test_add_and_a_layer_that_two_read():
    inputs = keras.Input((5, 5, 2), dtype="float64")
    x = layers.Conv2D(2, 3, padding="same", dtype="float64", activation="tanh")(inputs)
    y = layers.Conv2D(2, 3, padding="same", dtype="float64")(x)
    z = layers.Add(dtype="float64")([y, x, inputs])
    model = keras.Model(inputs, layers.Flatten(dtype="float64")(z))
    network = scratch.load(model)
    pixels = rng(1).normal(size=(3, 5, 5, 2))
    out = network.forward(pixels)
    cotangent = rng(2).normal(size=out.shape)
    by_x = network.backward(cotangent)
    keras_out, keras_by_x, keras_gradients = with_keras(model, pixels, cotangent, False)
    assert_equal(out, keras_out)
    assert_equal(by_x, keras_by_x)
    assert len(network.gradients) == len(keras_gradients) == 4
    for ours, theirs in zip(network.gradients, keras_gradients):
        assert_equal(ours, theirs)


def test_inputs_side_by_side():
    inputs = keras.Input((4, 4, 2), dtype="float64")
    x = layers.Conv2D(3, 3, padding="same", dtype="float64")(inputs)
    both = layers.Concatenate(dtype="float64")([inputs, x, inputs])
    model = keras.Model(inputs, layers.Flatten(dtype="float64")(both))
    network = scratch.load(model)
    pixels = rng(1).normal(size=(3, 4, 4, 2))
    out = network.forward(pixels)
    assert network.nodes[both._keras_history.operation.name].layer.output_shape(
        (4, 4, 2), (4, 4, 3), (4, 4, 2)
    ) == (4, 4, 7)
    cotangent = rng(2).normal(size=out.shape)
    by_x = network.backward(cotangent)
    keras_out, keras_by_x, keras_gradients = with_keras(model, pixels, cotangent, False)
    assert_equal(out, keras_out)
    assert_equal(by_x, keras_by_x)
    for ours, theirs in zip(network.gradients, keras_gradients):
        assert_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"differ in their last axis alone, received \(4, 2\)"):
        scratch.Concatenate().output_shape((4, 2), (3, 2))


def test_noise_is_for_training_alone():
    x = rng(1).normal(size=(200, 50))
    layer = scratch.GaussianNoise(0.5, rng(3))
    assert layer.forward(x) is x
    noise = layer.forward(x, training=True) - x
    assert noise.mean() == pytest.approx(0, abs=0.02) and noise.std() == pytest.approx(
        0.5, rel=0.02
    )
    assert layer.backward(x) is x
    model = keras.Sequential([keras.Input((50,)), layers.GaussianNoise(0.5), layers.Dense(2)])
    network = scratch.load(model)
    np.testing.assert_allclose(network.predict(x), model.predict(x, verbose=0), atol=1e-5)
    assert len(scratch.folded(network).layers) == 1


def test_dropout_keeps_the_mean_and_its_gradient_goes_where_the_value_went():
    x = rng(1).normal(size=(50, 40)) + 3
    layer = scratch.Dropout(0.3, rng(5))
    y = layer.forward(x, training=True)
    kept = y != 0
    assert kept.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_allclose(y[kept], x[kept] / 0.7)
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), kept / 0.7)
    np.testing.assert_array_equal(scratch.Dropout(0.3, rng(5)).forward(x, training=True), y)
    assert layer.forward(x) is x and layer.backward(x) is x
    with pytest.raises(ValueError, match="rate: .* received 1"):
        scratch.Dropout(1, rng())


def test_sigmoid_and_softmax_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(scratch.sigmoid(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])
        np.testing.assert_array_equal(scratch.softmax(np.array([[1e4, 0.0]])), [[1, 0]])


# --- convolution ----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2, (2, 3)])
def test_im2col_is_equal_to_loops(padding, strides):
    x, kernel = rng(1).normal(size=(2, 7, 8, 3)), rng(2).normal(size=(3, 2, 3, 4))
    bias = rng(3).normal(size=4)
    slow = scratch.convolve_by_loops(x, kernel, bias, strides, padding)
    assert_equal(scratch.Convolution(kernel, bias, strides, padding).forward(x), slow)


def test_a_vertical_edge_in_7_by_7():
    x = np.zeros((1, 7, 7, 1))
    x[:, :, :3] = 10
    kernel = np.tile([1.0, 0, -1], (3, 1))[:, :, None, None]
    y = scratch.Convolution(kernel).forward(x)
    assert y.shape == (1, 5, 5, 1)
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 30, 30, 0, 0]] * 5)
    y = scratch.Convolution(kernel, strides=2).forward(x)
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 30, 0]] * 3)
    y = scratch.Convolution(kernel, padding="same").forward(x)
    inner = [-30, 0, 30, 30, 0, 0, 0]
    edge = [-20, 0, 20, 20, 0, 0, 0]
    np.testing.assert_array_equal(y[0, :, :, 0], [edge, *[inner] * 5, edge])


def test_the_transpose_0_3_1_2_brings_the_filters_forward():
    x, kernel = rng(1).normal(size=(2, 6, 6, 3)), rng(2).normal(size=(3, 3, 3, 4))
    y = scratch.Convolution(kernel).forward(x)
    rows = y.reshape(-1, 4)  # what the matrix product gives
    forward = rows.reshape(2, 4, 4, 4).transpose(0, 3, 1, 2)
    for n, f in np.ndindex(2, 4):
        np.testing.assert_array_equal(forward[n, f], y[n, :, :, f])
    assert not np.allclose(rows.reshape(2, 4, 4, 4), forward)


def test_a_window_that_does_not_fit():
    with pytest.raises(ValueError, match="window of 3 does not fit into 2 pixels"):
        scratch.Convolution(np.zeros((3, 3, 1, 1))).forward(np.zeros((1, 2, 5, 1)))
    with pytest.raises(ValueError, match="padding: must be 'valid' or 'same', received 'full'"):
        scratch.MaxPooling(2, padding="full").forward(np.zeros((1, 4, 4, 1)))


# --- losses ---------------------------------------------------------------------------------------

PROBABILITIES = scratch.softmax(rng(1).normal(size=(6, 4)))
SCORES = rng(2).normal(size=(6, 4)) * 2
CLASSES = scratch.one_hot(np.array([0, 3, 1, 2, 0, 1]), 4)
YES_NO = rng(3).integers(0, 2, (6, 4)).astype(float)
LOSSES = {
    "squared error": (losses.SquaredError(), keras.losses.MeanSquaredError, {}, SCORES, YES_NO),
    "binary": (
        losses.BinaryCrossEntropy(),
        keras.losses.BinaryCrossentropy,
        {},
        PROBABILITIES,
        YES_NO,
    ),
    "binary of scores": (
        losses.SigmoidCrossEntropy(),
        keras.losses.BinaryCrossentropy,
        {"from_logits": True},
        SCORES,
        YES_NO,
    ),
    "categorical": (
        losses.CategoricalCrossEntropy(),
        keras.losses.CategoricalCrossentropy,
        {},
        PROBABILITIES,
        CLASSES,
    ),
    "categorical of scores": (
        losses.SoftmaxCrossEntropy(),
        keras.losses.CategoricalCrossentropy,
        {"from_logits": True},
        SCORES,
        CLASSES,
    ),
    "worst hinge": (losses.WorstHinge(), keras.losses.CategoricalHinge, {}, SCORES, CLASSES),
}


@pytest.mark.parametrize("case", LOSSES)
def test_loss_is_equal_to_keras_and_its_gradient_to_the_numerical_one(case):
    loss, kind, options, y, t = LOSSES[case]
    y = y.copy()
    expected = kind(dtype="float64", **options)(t, y)
    assert loss.value(y, t) == pytest.approx(float(expected), rel=TOLERANCE)
    numerical = scratch.numerical_gradient(lambda: loss.value(y, t), y)
    assert_equal(loss.gradient(y, t), numerical)


@pytest.mark.parametrize("case", ["binary", "categorical"])
def test_certainty_costs_what_it_costs_in_keras(case):
    loss, kind, options, _, _ = LOSSES[case]
    y, t = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    expected = float(kind(dtype="float64", **options)(t, y))
    assert loss.value(y, t) == pytest.approx(expected, rel=TOLERANCE)
    assert np.isfinite(loss.gradient(y, t)).all()


def test_three_pictures_of_cs231n():
    """Scores of a cat, a car and a frog: the lecture's losses by hand."""
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    right = np.eye(3)
    hinge = losses.MultiClassHinge()
    np.testing.assert_allclose(hinge.each(scores, right), [2.9, 0, 12.9])
    assert hinge.value(scores, right) == pytest.approx(5.2667, abs=5e-5)
    numerical = scratch.numerical_gradient(lambda: hinge.value(scores, right), scores)
    assert_equal(hinge.gradient(scores, right), numerical)
    softmax = losses.SoftmaxCrossEntropy()
    np.testing.assert_allclose(softmax.each(scores, right), [2.0404, 0.0791, 6.1565], atol=5e-5)


def test_softmax_and_cross_entropy_together_have_the_gradient_y_minus_t():
    layer = scratch.Softmax()
    y = layer.forward(SCORES)
    apart = layer.backward(losses.CategoricalCrossEntropy().gradient(y, CLASSES))
    assert_equal(apart, (y - CLASSES) / len(y))
    assert_equal(losses.SoftmaxCrossEntropy().gradient(SCORES, CLASSES), apart)


# --- optimizers and initialisation ----------------------------------------------------------------

# exact in float32, in which Keras keeps the rate and raises Adam's betas to their powers
RATE = 2.0**-4
EXACT = {"beta_1": 1 - 2.0**-3, "beta_2": 1 - 2.0**-10}
OPTIMIZERS = {
    "gradient descent": (scratch.GradientDescent, keras.optimizers.SGD, {}, {}),
    "momentum": (scratch.Momentum, keras.optimizers.SGD, {}, {"momentum": 0.9}),
    "nesterov": (scratch.Nesterov, keras.optimizers.SGD, {}, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (scratch.AdaGrad, keras.optimizers.Adagrad, {}, {}),
    "adagrad from the paper": (
        scratch.AdaGrad,
        keras.optimizers.Adagrad,
        {"initial_accumulator": 0.0},
        {"initial_accumulator_value": 0.0},
    ),
    "rmsprop": (scratch.RMSProp, keras.optimizers.RMSprop, {}, {}),
    "adam": (scratch.Adam, keras.optimizers.Adam, *[EXACT] * 2),
    "adam, large epsilon": (scratch.Adam, keras.optimizers.Adam, *[EXACT | {"epsilon": 0.1}] * 2),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_ten_steps_are_equal_to_keras(case):
    ours, theirs, our_options, their_options = OPTIMIZERS[case]
    ours = ours(RATE, **our_options)
    theirs = theirs(RATE, **their_options)
    weights = [rng(1).normal(size=(3, 4)), rng(2).normal(size=4)]
    start = [w.copy() for w in weights]
    variables = [keras.Variable(w, dtype="float64") for w in weights]
    for step in range(10):
        gradients = [rng(10 + step).normal(size=w.shape) for w in weights]
        ours.step(weights, gradients)
        theirs.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        for before, w, v in zip(start, weights, variables):
            v = keras.ops.convert_to_numpy(v.value)
            assert v.dtype == np.float64
            assert_equal(w - before, v - before, f"step {step + 1}")


def test_adam_without_its_correction_would_begin_three_times_as_far():
    w = np.array([1.0])
    adam = scratch.Adam(0.01)
    adam.step([w], [np.array([5.0])])
    assert 1 - w[0] == pytest.approx(0.01)  # the first step is the rate, whatever the gradient
    uncorrected = 0.01 * (1 - adam.beta_1) * 5 / np.sqrt((1 - adam.beta_2) * 25)
    assert uncorrected / 0.01 == pytest.approx(3.16, abs=0.01)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (scratch.AdaGrad, keras.optimizers.Adagrad),
        (scratch.RMSProp, keras.optimizers.RMSprop),
        (scratch.Adam, keras.optimizers.Adam),
    ],
)
def test_the_defaults_are_those_of_keras(ours, theirs):
    ours, theirs = vars(ours()), theirs().get_config()
    theirs["initial_accumulator"] = theirs.get("initial_accumulator_value")
    compared = set(ours) - {"steps", "_memories"}
    assert len(compared) >= 3
    for name in compared:
        assert ours[name] == pytest.approx(theirs[name]), name


def test_an_optimizer_is_for_one_network():
    optimizer = scratch.Momentum()
    optimizer.step([np.ones(2)], [np.ones(2)])
    with pytest.raises(ValueError, match="must be 1 each, received 2 and 2"):
        optimizer.step([np.ones(2)] * 2, [np.ones(2)] * 2)


@pytest.mark.parametrize("shape", [(300, 400), (3, 3, 50, 160)])
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (scratch.normal, keras.initializers.RandomNormal),
        (scratch.xavier_uniform, keras.initializers.GlorotUniform),
        (scratch.xavier_normal, keras.initializers.GlorotNormal),
        (scratch.he_uniform, keras.initializers.HeUniform),
        (scratch.he_normal, keras.initializers.HeNormal),
    ],
)
def test_initial_weights_are_distributed_as_those_of_keras(ours, theirs, shape):
    w = ours(shape, rng(4))
    k = keras.ops.convert_to_numpy(theirs(seed=5)(shape))
    assert w.shape == shape
    assert abs(w.mean()) < 5 * w.std() / np.sqrt(w.size)
    assert w.std() == pytest.approx(k.std(), rel=0.01)
    # the same form, not only the same width: quantiles, and where a cut one ends
    places = [0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]
    np.testing.assert_allclose(
        np.quantile(w, places), np.quantile(k, places), atol=0.06 * float(k.std())
    )
    if ours is not scratch.normal:
        assert np.abs(w).max() == pytest.approx(np.abs(k).max(), rel=0.01)


def test_constant_and_fans():
    np.testing.assert_array_equal(scratch.constant((2, 3), 0.5), np.full((2, 3), 0.5))
    assert scratch.fans((784, 10)) == (784, 10)
    assert scratch.fans((3, 3, 16, 32)) == (144, 288)


def test_numerical_gradient():
    x = rng(1).normal(size=(2, 3))
    before = x.copy()
    numerical = scratch.numerical_gradient(lambda: float((x**3).sum()), x)
    assert_equal(numerical, 3 * x**2)
    np.testing.assert_array_equal(x, before)
    with pytest.raises(ValueError, match="x: must be float64, received float32"):
        scratch.numerical_gradient(lambda: 0.0, x.astype(np.float32))
    assert scratch.relative_error(np.array([1.0, 2]), np.array([1.0, 1])) == 0.5
    assert scratch.relative_error(np.zeros(2), np.zeros(2)) == 0


# --- networks -------------------------------------------------------------------------------------


def small_mlp(seed=0):
    generator = rng(seed)
    return scratch.Network(
        scratch.Affine(scratch.he_normal((2, 24), generator), scratch.constant((24,))),
        scratch.Relu(),
        scratch.Affine(scratch.xavier_uniform((24, 2), generator), scratch.constant((2,))),
    )


def test_a_small_mlp_learns_a_ring_from_its_centre():
    x = rng(1).uniform(-1, 1, (300, 2))
    radius = np.hypot(*x.T)
    x, radius = x[np.abs(radius - 0.6) > 0.05], radius[np.abs(radius - 0.6) > 0.05]
    labels = (radius > 0.6).astype(int)
    network, optimizer = small_mlp(), scratch.Adam(0.03)
    t = scratch.one_hot(labels, 2)
    before = (network.predict(x).argmax(1) == labels).mean()
    values = [network.train_on(x, t, losses.SoftmaxCrossEntropy(), optimizer) for _ in range(300)]
    assert before < 0.9 and values[-1] < values[0] / 10
    assert (network.predict(x).argmax(1) == labels).all()


def test_step_leaves_what_is_not_trainable():
    network = small_mlp()
    first = next(iter(network.layers.values()))
    first.trainable = False
    before = [w.copy() for w in first.weights]
    last = network.weights[0].copy()
    x, t = rng(1).normal(size=(5, 2)), scratch.one_hot(np.array([0, 1, 0, 1, 1]), 2)
    network.train_on(x, t, losses.SoftmaxCrossEntropy(), scratch.GradientDescent(0.1))
    for w, old in zip(first.weights, before):
        np.testing.assert_array_equal(w, old)
    assert not np.array_equal(network.weights[0], last)


def test_what_nothing_reads_has_no_gradient():
    network = small_mlp()
    affine = scratch.Affine(np.ones((2, 3)))
    network.add(affine, "aside", ["input"])
    network.add(scratch.Softmax(), "last", ["3_affine"])
    affine.gradients = [np.ones((2, 3))]  # of an earlier pass
    y = network.forward(rng(1).normal(size=(4, 2)))
    assert network.backward(y).shape == (4, 2)
    np.testing.assert_array_equal(affine.gradients[0], np.zeros((2, 3)))


def test_predict_in_batches_and_of_whole_numbers():
    network = small_mlp()
    x = rng(1).integers(0, 255, (7, 2)).astype(np.uint8)
    np.testing.assert_allclose(network.predict(x, 3), network.forward(x.astype(float)))
    assert network.predict(x[:0]).shape == (0, 2)


def test_a_network_says_what_is_wrong_with_a_node():
    network = small_mlp()
    with pytest.raises(ValueError, match="name: '2_relu' is taken"):
        network.add(scratch.Relu(), "2_relu")
    with pytest.raises(ValueError, match="inputs: .* received .*'later'"):
        network.add(scratch.Add(), "sum", ["2_relu", "later"])


@pytest.mark.parametrize(
    "layer, message",
    [
        (lambda: layers.Conv2D(2, 3, dilation_rate=2), r"dilation_rate \[2, 2\], not \[1, 1\]"),
        (lambda: layers.UpSampling2D(), "is a UpSampling2D; there are Add, "),
        (lambda: layers.Activation("mish"), "has the activation 'mish'; there are relu, "),
        (lambda: layers.BatchNormalization(axis=1), "has axis 1, not -1"),
    ],
)
def test_load_refuses_what_it_has_no_layer_for(layer, message):
    with pytest.raises(ValueError, match=message):
        scratch.load(keras.Sequential([keras.Input((8, 8, 2)), layer()]))


def test_load_says_which_file_it_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="none.npz: cannot be read"):
        scratch.load(tmp_path / "none.npz")
    (tmp_path / "damaged.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="damaged.npz: "):
        scratch.load(tmp_path / "damaged.npz")


def test_numpy_is_the_only_import():
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "h5py", "scipy", "PIL", "matplotlib"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
import numpy as np
known = {m.partition(".")[0] for m in sys.modules} | set(sys.stdlib_module_names)
from cifar_lab import scratch
network = scratch.Network(scratch.Affine(np.ones((2, 1))), scratch.Sigmoid())
print(network.predict(np.zeros((1, 2)))[0, 0])
print(sorted({m.partition(".")[0] for m in sys.modules} - known))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["0.5", "['cifar_lab']"], done.stderr


# --- rungs ----------------------------------------------------------------------------------------


def pictures(shape, count=3):
    """uint8 images: noise, and smooth waves of several lengths, (2 * count, *shape)."""
    noise = rng(1).integers(0, 256, (count, *shape))
    rows, columns = np.mgrid[: shape[0], : shape[1]][..., None]
    phase = rng(2).uniform(0, 6, (count, 1, 1, shape[2]))
    length = rng(3).uniform(0.1, 0.9, (2, count, 1, 1, shape[2]))
    waves = 127.5 + 127.5 * np.sin(rows * length[0] + columns * length[1] + phase)
    return np.concatenate([noise, waves]).astype(np.uint8)


@pytest.mark.parametrize("rung", all_but_the_deep(RUNGS))
def test_rung_gives_the_probabilities_of_keras(rung):
    model, _ = bundles.load(bundles.find(rung))
    images = pictures(model.input_shape[1:])
    expected = keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))
    found = scratch.load(rung if rung == RUNGS[0] else model).predict(images, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("rung", RUNGS)
def test_rung_gives_the_probabilities_of_keras_on_real_images(real_data, rung):
    model, card = bundles.load(bundles.find(rung))
    dataset = data.load(ladder.LADDER[rung].recipe.data, str(real_data))
    images = dataset.test_images[:1000]
    expected = model.predict(images.astype(np.float32), batch_size=100, verbose=0)
    found = scratch.load(model).predict(images, 25)
    assert found.shape == (1000, len(card["classes"]))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def in_float64(model):
    """The same network in float64 with the same weights, all trained, without dropout."""
    config = json.loads(json.dumps(model.get_config()).replace('"float32"', '"float64"'))
    for layer in config["layers"]:
        layer["config"].pop("trainable", None)
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = 0.0
    double = type(model).from_config(config)
    double.set_weights(model.get_weights())
    return double


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rung", one_of_each_builder(RUNGS))
def test_gradients_of_a_rung_are_those_of_keras(rung, training):
    """Of the loss by every weight and by the images, in a batch of 4, two of noise."""
    model = in_float64(bundles.load(bundles.find(rung))[0])
    network = scratch.load(model)
    x = pictures(model.input_shape[1:], 2).astype(float)
    y = network.forward(x, training)
    # the second likeliest class, so that there is something to learn
    t = scratch.one_hot(np.argsort(y)[:, -2], y.shape[1])
    loss = losses.CategoricalCrossEntropy()
    by_x = network.backward(loss.gradient(y, t))
    keras_loss = keras.losses.CategoricalCrossentropy(dtype="float64")
    keras_y, keras_by_x, expected = with_keras(model, x, lambda p: keras_loss(t, p), training)
    assert_equal(y, keras_y)
    assert_equal(by_x, keras_by_x)
    assert len(network.gradients) == len(expected) == len(model.trainable_weights)
    largest = [np.abs(g).max() for g in expected]
    # a shift between two normalisations changes nothing: its gradient is zero, plus rounding
    rounding = 1e-12 * max(largest)
    learned = [size > 1e3 * rounding for size in largest]
    assert np.mean(learned) > 0.7
    for weight, ours, theirs, size in zip(
        model.trainable_weights, network.gradients, expected, largest
    ):
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=TOLERANCE * size + rounding, err_msg=weight.path
        )
    for name, layer in network.layers.items():
        if isinstance(layer, scratch.BatchNormalization):
            *_, mean, variance = model.get_layer(name).get_weights()
            assert_equal(layer.moving_mean, mean, name)
            assert_equal(layer.moving_variance, variance, name)
