"""The builders: shapes, parameter counts, that they learn, and that they come back from disk the same."""
import keras
import numpy as np
import pytest

from cifar_lab.models import cifar10_cnn, fashion_mnist_cnn

BUILDERS = {
    "cifar10_cnn": (cifar10_cnn, {}, (32, 32, 3)),
    "cifar10_cnn_bn": (cifar10_cnn, {"batch_normalization": True}, (32, 32, 3)),
    "fashion_mnist_cnn": (fashion_mnist_cnn, {}, (28, 28, 1)),
}
TOTALS = {"cifar10_cnn": 1_639_914, "cifar10_cnn_bn": 1_640_182, "fashion_mnist_cnn": 412_778}
LAYERS = {
    "cifar10_cnn": {"conv1": 896, "conv2": 9_248, "conv3": 18_496, "poolhidden": 1_606_144, "output": 5_130},
    "cifar10_cnn_bn": {"norm_input": 12, "conv1": 896, "norm2": 128, "conv2": 9_248, "norm3": 128, "conv3": 18_496,
                       "poolhidden": 1_606_144, "output": 5_130},
    "fashion_mnist_cnn": {"conv1": 320, "conv2": 8_224, "poolhidden": 401_664, "output": 2_570},
}
BUILT_IN = {"InputLayer", "Rescaling", "Conv2D", "Dropout", "BatchNormalization", "MaxPooling2D", "Flatten", "Dense"}


@pytest.fixture(params=BUILDERS)
def case(request):
    builder, options, shape = BUILDERS[request.param]
    return request.param, builder, options, shape


def batch(shape, n=16, classes=10):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, *shape)).astype("float32"), np.arange(n) % classes


def test_parameters(case):
    name, builder, options, shape = case
    model = builder(shape, 10, **options)
    assert model.count_params() == TOTALS[name]
    assert {l.name: l.count_params() for l in model.layers if l.count_params()} == LAYERS[name]
    assert {type(l).__name__ for l in model.layers} <= BUILT_IN


def test_layer_names_and_order_of_the_74_network():
    names = [l.name for l in cifar10_cnn().layers]
    assert [n for n in names if n in ("conv1", "conv2", "pool1", "conv3", "pool2", "flatten", "poolhidden", "output")] == [
        "conv1", "conv2", "pool1", "conv3", "pool2", "flatten", "poolhidden", "output"]
    shapes = {l.name: tuple(l.output.shape[1:]) for l in cifar10_cnn().layers}
    assert shapes["conv1"] == (30, 30, 32) and shapes["pool1"] == (15, 15, 32) and shapes["pool2"] == (7, 7, 64)


def test_input_shape_and_class_count(case):
    _, builder, options, _ = case
    model = builder((20, 24, 1), 3, **options)
    out = np.asarray(model(np.zeros((2, 20, 24, 1), "float32")))
    assert out.shape == (2, 3)
    np.testing.assert_allclose(out.sum(1), 1, atol=1e-5)


def test_too_small_images_are_refused(case):
    _, builder, options, _ = case
    with pytest.raises(ValueError, match="input_shape.*received"):
        builder((3, 3, 1), 10, **options)


def test_raw_pixels_in(case):
    """Pixels 0-255: the first thing that happens to them is a division by 255."""
    _, builder, options, shape = case
    model = builder(shape, 10, **options)
    rescaled = keras.Model(model.input, model.get_layer("rescale").output)(np.full((1, *shape), 255, "float32"))
    np.testing.assert_allclose(np.asarray(rescaled), 1.0, rtol=1e-6)


NO_DROPOUT = {"cifar10_cnn": {"dropout": 0.0}, "cifar10_cnn_bn": {"dropout": 0.0},
              "fashion_mnist_cnn": {"conv_dropout": 0.0, "hidden_dropout": 0.0}}


def test_overfits_one_batch(case):
    """16 images of noise, learnt by heart within 60 steps."""
    name, builder, options, shape = case
    keras.utils.set_random_seed(0)
    model = builder(shape, 10, **options, **NO_DROPOUT[name])
    x, y = batch(shape)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    first = model.train_on_batch(x, y)[0]
    for _ in range(60):
        loss, accuracy = model.train_on_batch(x, y, return_dict=False)
        model.reset_metrics()
    assert first > 1.5 and loss < 0.05 and accuracy == 1.0


def test_saved_and_reloaded_model_is_equal(case, tmp_path):
    _, builder, options, shape = case
    keras.utils.set_random_seed(1)
    model = builder(shape, 10, **options)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    x, _ = batch(shape)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    assert not again.compiled
    assert {v.dtype for v in again.weights} == {"float32"}
