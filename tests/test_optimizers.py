"""Optimizers, schedules and first weights: what one step, and one layer, computes."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from cifar_lab import ladder
from cifar_lab import recipe as recipes
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError
from cifar_lab.models import airbench, cifar10_cnn, fashion_mnist_cnn
from cifar_lab.training import initialisation, optimizers, sharpness
from support import ROOT, command_env


def variables(**values):
    return [keras.Variable(np.array(value, "float32"), name=name) for name, value in values.items()]


def numpy(variable):
    return keras.ops.convert_to_numpy(variable.value)


def recipe(**fields):
    return recipes.changed(ladder.get("cifar10-74").recipe, fields, "test")


def test_two_steps_of_nesterov_sgd():
    """Kernels decay by rate * weight_decay and biases do not; biases have a rate of their own; the
    momentum is Nesterov's."""
    optimizer = optimizers.build(
        recipe(
            optimizer="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.2, bias_rate_factor=4.0
        ),
        9,
    )
    kernel, bias, beta, gamma = variables(kernel=[1.0], bias=[1.0], beta=[1.0], gamma=[1.0])
    optimizer.build([kernel, bias, beta, gamma])
    gradient = keras.ops.ones((1,))
    optimizer.apply([gradient] * 4)
    # velocity 0.5 * 0 - rate * 1; step 0.5 * velocity - rate * 1 = -1.5 rate; kernel first times 1
    # - 0.1 * 0.2
    for variable, expected in (
        (kernel, 0.98 - 0.15),
        (bias, 1 - 0.6),
        (beta, 1 - 0.6),
        (gamma, 1 - 0.15),
    ):
        np.testing.assert_allclose(numpy(variable), expected, rtol=1e-5, err_msg=variable.name)
    optimizer.apply([gradient] * 4)
    # velocity 0.5 * -rate - rate = -1.5 rate; step 0.5 * -1.5 rate - rate = -1.75 rate
    np.testing.assert_allclose(numpy(kernel), 0.83 * 0.98 - 0.175, rtol=1e-5)
    np.testing.assert_allclose(numpy(bias), 0.4 - 0.7, rtol=1e-5)


def test_two_steps_of_muon():
    """Kernels of convolutions go to norm sqrt(outputs), then step along the orthogonalized
    momentum; the others are SGD's."""
    optimizer = optimizers.build(
        recipe(
            optimizer="muon",
            learning_rate=0.1,
            kernel_rate=0.5,
            momentum=0.5,
            weight_decay=0.2,
            bias_rate_factor=4.0,
        ),
        9,
    )
    kernel, dense, beta = variables(
        kernel=[[[[3.0, 0.0], [0.0, 3.0]]]], kernel2=[[1.0]], beta=[1.0]
    )
    optimizer.build([kernel, dense, beta])
    gradients = [
        keras.ops.convert_to_tensor(g)
        for g in (
            np.array([[[[0.0, 2.0], [2.0, 0.0]]]], "float32"),
            np.ones((1, 1), "float32"),
            np.ones(1, "float32"),
        )
    ]
    optimizer.apply(gradients)
    # singular values sqrt(1/2) of the normalised step become 1.100594 in three steps of the
    # polynomial, whatever the gradient's length; the kernel's norm 3 sqrt(2) becomes sqrt(2); no
    # decay
    np.testing.assert_allclose(numpy(kernel)[0, 0], [[1, -0.550297], [-0.550297, 1]], rtol=1e-5)
    np.testing.assert_allclose(
        numpy(dense), 0.98 - 0.15, rtol=1e-5
    )  # as in two steps of Nesterov's SGD
    np.testing.assert_allclose(numpy(beta), 1 - 0.6, rtol=1e-5)
    optimizer.apply([-gradients[0], gradients[1], gradients[2]])
    # momentum 0.5 g - g; Nesterov's -g + 0.5 * -0.5 g: the same step back, from the kernel scaled
    # to sqrt(2)
    scale = 2**0.5 / (2 + 2 * 0.550297**2) ** 0.5
    np.testing.assert_allclose(
        numpy(kernel)[0, 0],
        [[scale, 0.550297 * (1 - scale)], [0.550297 * (1 - scale), scale]],
        rtol=1e-4,
    )


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (50, 50)])
def test_orthogonalized_keeps_singular_vectors(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = np.asarray(optimizers.orthogonalized(keras.ops.convert_to_tensor(matrix)))
    inside = left.T @ found @ right.T  # diagonal where the vectors are the same
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-4)
    large = np.diag(inside)[values / np.linalg.norm(values) > 0.05]
    assert large.size >= 30 and large.min() > 0.68 and large.max() < 1.21
    np.testing.assert_allclose(
        np.asarray(optimizers.orthogonalized(keras.ops.convert_to_tensor(1000 * matrix))),
        found,
        atol=1e-4,
    )


def test_weight_decay_follows_the_schedule():
    """As much decay at half the rate as half of the decay: it is decoupled, not part of the
    gradient."""
    optimizer = optimizers.build(
        recipe(
            optimizer="sgd", schedule="cosine", learning_rate=0.2, momentum=0.0, weight_decay=0.5
        ),
        2,
    )
    (kernel,) = variables(kernel=[1.0])
    optimizer.build([kernel])
    seen = []
    for _ in range(2):
        optimizer.apply([keras.ops.zeros((1,))])
        seen.append(float(numpy(kernel)[0]))
    assert seen == pytest.approx([0.9, 0.9 * 0.95])


def test_triangular_schedule():
    schedule = optimizers.Triangular(2.0, 100, warmup_fraction=0.25)
    rates = [float(schedule(step)) for step in (0, 25, 62.5, 100, 101)]
    assert rates == pytest.approx([0.4, 2.0, 1.0, 0.0, 0.0], abs=1e-6)
    assert float(optimizers.Triangular(2.0, 100, 0.0)(0)) == pytest.approx(2.0)
    again = optimizers.Triangular.from_config(schedule.get_config())
    assert float(again(10)) == float(schedule(10)) == pytest.approx(0.4 + 1.6 * 10 / 25, rel=1e-5)


def test_the_first_fields_still_mean_keras_own_adam():
    assert type(optimizers.build(recipe(), 10)) is keras.optimizers.Adam
    assert float(optimizers.build(recipe(), 10).learning_rate) == pytest.approx(0.001)


def test_whitening_decorrelates_train_patches():
    network = airbench(widths=(4,))
    images = synthetic.load(60, 1)[0][:60]
    initialisation.whiten(network, images, epsilon=0.0)
    layer = network.get_layer("whiten")
    outputs = np.asarray(layer(images.astype("float32") / 255)).reshape(-1, 24)
    first, negatives = outputs[:, :12], outputs[:, 12:]
    np.testing.assert_allclose(negatives, -first, atol=1e-4)
    np.testing.assert_allclose(first.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(np.cov(first, rowvar=False), np.eye(12), atol=0.02)
    assert not layer.trainable
    with pytest.raises(InputError, match='cifar10_cnn has no layer "whiten"'):
        initialisation.whiten(cifar10_cnn(), images)


def test_dirac_passes_the_first_channels_on():
    network = airbench(widths=(4, 30))
    before = {
        x.name: np.array(x.get_weights()[0]) for x in network.layers if type(x).__name__ == "Conv2D"
    }
    initialisation.dirac(network)
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 24)).astype("float32")
    np.testing.assert_array_equal(
        np.asarray(network.get_layer("conv1_1")(x)), x[..., :4]
    )  # narrower: the first four
    wider = network.get_layer("conv2_1")
    np.testing.assert_array_equal(np.asarray(wider(x[..., :4]))[..., :4], x[..., :4])
    np.testing.assert_array_equal(
        wider.get_weights()[0][..., 4:], before["conv2_1"][..., 4:]
    )  # the others as drawn
    np.testing.assert_array_equal(network.get_layer("whiten").get_weights()[0], before["whiten"])
    even = fashion_mnist_cnn((9, 9, 64))  # 2 x 2 kernels do not move the image either
    initialisation.dirac(even)
    x = np.abs(np.random.default_rng(0).normal(size=(2, 9, 9, 64))).astype("float32")
    np.testing.assert_array_equal(np.asarray(even.get_layer("conv1")(x)), x)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_sharpness_aware_step_on_other_backends(backend):
    pytest.importorskip(backend)
    code = (
        "import test_optimizers as t; "
        "t.test_a_sharpness_aware_step_takes_the_gradient_uphill_and_comes_back()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        env=command_env(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_sharpness_aware_step_takes_the_gradient_uphill_and_comes_back():
    """One step of plain SGD: the gradient by hand at the raised kernel, taken from the kernel as it
    was."""
    images = np.random.default_rng(0).normal(size=(8, 4, 4, 1)).astype("float32")
    labels = np.eye(2, dtype="float32")[np.arange(8) % 2]

    def network():
        inputs = keras.Input((4, 4, 1))
        x = keras.layers.Conv2D(2, 3, use_bias=False, name="conv")(inputs)
        x = keras.layers.BatchNormalization(name="norm", momentum=0.5)(x)
        x = keras.layers.GaussianNoise(1e-12, seed=3, name="noise")(x)  # changes nothing, and draws
        outputs = keras.layers.Softmax()(
            keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("silu")(x))
        )
        return inputs, outputs

    def gradient(kernel, images, labels):
        """By central differences, in float64 of the loss's values."""

        def loss(k):
            model.get_layer("conv").kernel.assign(k)
            out = np.asarray(keras.ops.convert_to_numpy(model(images, training=True)), "float64")
            return -np.mean(np.sum(labels * np.log(out), -1))

        steps = [np.eye(kernel.size)[i].reshape(kernel.shape) * 1e-3 for i in range(kernel.size)]
        return np.array([(loss(kernel + s) - loss(kernel - s)) / 2e-3 for s in steps]).reshape(
            kernel.shape
        )

    keras.utils.set_random_seed(0)
    model = sharpness.SharpnessAware(*network())
    model.radius = 0.2
    model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy", jit_compile=False)
    before = (
        np.random.default_rng(1).normal(size=(3, 3, 1, 2)).astype("float32") / 3
    )  # on every backend
    uphill = gradient(before, images, labels)
    raised = before + 0.2 * np.linalg.norm(before) / np.linalg.norm(uphill) * uphill
    expected = before - 0.5 * gradient(raised, images, labels)
    plain = before - 0.5 * gradient(before, images, labels)
    model.get_layer("conv").kernel.assign(before)
    model.get_layer("norm").moving_mean.assign([0, 0])
    mean = keras.ops.convert_to_numpy(model.get_layer("conv")(images)).mean((0, 1, 2))
    model.get_layer("conv").kernel.assign(before)
    drawn = keras.ops.convert_to_numpy(model.get_layer("noise").seed_generator.state).copy()
    model.fit(images, labels, batch_size=8, epochs=1, shuffle=False, verbose=0)
    after = keras.ops.convert_to_numpy(model.get_layer("conv").kernel)
    np.testing.assert_allclose(after, expected, atol=5e-4)
    assert np.abs(expected - plain).max() > 0.02
    # the moving statistics are those from before the way up
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.get_layer("norm").moving_mean), 0.5 * mean, atol=1e-5
    )
    # and what layers draw was drawn twice
    state = keras.ops.convert_to_numpy(model.get_layer("noise").seed_generator.state)
    model(images, training=True)
    once = keras.ops.convert_to_numpy(model.get_layer("noise").seed_generator.state) - state
    np.testing.assert_array_equal(state - drawn, 2 * once)
    assert once.any()


def test_a_kernel_without_a_gradient_stays_where_it_is():
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Softmax()(
        keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(2, 3, use_bias=False)(inputs))
    )
    model = sharpness.SharpnessAware(inputs, outputs)
    model.radius = 0.2
    model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy", jit_compile=False)
    before = keras.ops.convert_to_numpy(model.layers[1].kernel).copy()
    model.fit(
        np.zeros((4, 4, 4, 1), "float32"), np.eye(2, dtype="float32")[[0, 1, 0, 1]], verbose=0
    )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.layers[1].kernel), before)


@pytest.mark.parametrize(
    "schedule, wanted",
    [
        ("constant", {0: 0.4, 59: 0.4, 60: 0.1, 80: 0.1, 99: 0.1}),
        (
            "cosine",
            {
                0: 0.4,
                30: 0.2,
                59: 0.4 * (1 + np.cos(np.pi * 59 / 60)) / 2,
                60: 0.1,
                70: 0.05,
                80: 0.1,
                90: 0.05,
            },
        ),
        (
            "triangular",
            {
                0: 0.08,
                12: 0.4,
                36: 0.2,
                59: 0.4 / 48,
                60: 0.02,
                64: 0.1,
                72: 0.05,
                79: 0.1 / 16,
                80: 0.02,
                84: 0.1,
            },
        ),
    ],
)
def test_cycles_begin_the_schedule_anew_and_lower(schedule, wanted):
    """5 epochs of 20 steps: 60 steps, then two cycles of 20 to a quarter of the rate."""
    recipe = recipes.changed(
        ladder.get("cifar10-74").recipe,
        {
            "schedule": schedule,
            "learning_rate": 0.4,
            "epochs": 5,
            "keep": "last",
            "swa_share": 0.4,
            "swa_epochs": 1,
        },
        "test",
    )
    optimizer = optimizers.build(recipe, 100)
    rate = optimizer._learning_rate
    again = optimizers.Cycles.from_config(rate.get_config())
    for step, want in wanted.items():
        assert float(rate(step)) == pytest.approx(want, rel=1e-4) and float(again(step)) == float(
            rate(step)
        ), step
