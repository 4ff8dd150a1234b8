"""What networks see: maps whose answer is known, networks of every builder, wrong use."""

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import cifar_lab
from cifar_lab import bundles, explaining, models
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError
from cifar_lab.explaining import gradient, places
from cifar_lab.explaining.graph import Graph
from cifar_lab.exporting import FORMATS
from support import COMPILED_QUICKLY, ROOT, command_env

SHAPES = [synthetic.CLASSES.index(name) for name in ("disc", "ring", "cross")]
PAPER = (70, 90, 110)  # the colour that the embedded set's pictures stand on
DIALS = synthetic.Dials(**{**dict.fromkeys(synthetic.DIAL_NAMES, 0), "variation": 0.3})


def in_corner(label, corner, rng):
    """A picture of the embedded set at half its size, in one corner of a plain one: 0 to 3, row by
    row."""
    small = Image.fromarray(synthetic.draw(SHAPES[label], rng, DIALS))
    picture = np.full((32, 32, 3), PAPER, np.uint8)
    picture[quarter(corner)] = small.resize((16, 16), Image.Resampling.BOX)
    return picture


def quarter(corner):
    y, x = divmod(corner, 2)
    return slice(16 * y, 16 * y + 16), slice(16 * x, 16 * x + 16)


def shares(maps, corners):
    """How much of each map lies in a corner."""
    return [m[quarter(c)].sum() / m.sum() for m, c in zip(maps, corners, strict=True)]


@pytest.fixture(scope="module")
def learned():
    """A network that tells three shapes apart wherever they are."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    pictures = np.stack([in_corner(label, rng.integers(4), rng) for label in labels])
    keras.utils.set_random_seed(0)
    model = models.nin((32, 32, 3), 3, widths=((16, 16), 32), dropout=0, batch_normalization=True)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(pictures.astype("float32"), labels, batch_size=30, epochs=12, verbose=0)
    return model


@pytest.fixture(scope="module")
def cornered():
    """(pictures, labels, corners): each shape in each corner."""
    rng = np.random.default_rng(1)
    labels, corners = np.arange(12) % 3, np.arange(12) % 4
    pictures = [in_corner(label, c, rng) for label, c in zip(labels, corners, strict=True)]
    return np.stack(pictures), labels, corners


@pytest.fixture(scope="module")
def pictures():
    return synthetic.generate(3, 0)[0]


@pytest.fixture(scope="module")
def residual():
    """A small residual network with random weights, and statistics that are not 0 and 1."""
    keras.utils.set_random_seed(3)
    model = models.resnet((32, 32, 3), 10, blocks=1, widths=(4, 8))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * 0.5)
    return model


# --- a picture whose answer is known --------------------------------------------------------------


def test_grad_cam_lights_the_corner_that_the_shape_is_in(learned, cornered):
    images, labels, corners = cornered
    heat = explaining.grad_cam(learned, images)
    assert heat.classes.tolist() == labels.tolist()  # the network is right
    assert min(shares(heat.maps, corners)) > 0.8
    again = explaining.grad_cam(learned, images, labels, batch_size=5)
    np.testing.assert_allclose(again.maps, heat.maps, atol=1e-5)


def test_occlusion_lights_the_corner_that_the_shape_is_in(learned, cornered):
    images, labels, corners = cornered
    heat = explaining.occlusion(learned, images, labels, grey=90)
    found = shares(heat.maps, corners)
    assert np.mean(found) > 0.75 and min(found) > 0.4
    for one, corner in zip(heat.maps, corners, strict=True):
        quarters = [one[quarter(other)].sum() for other in range(4)]
        assert np.argmax(quarters) == corner


def test_another_class_has_another_map(learned, cornered):
    images, labels, _ = cornered
    right, wrong = (explaining.grad_cam(learned, images, c) for c in (labels, (labels + 1) % 3))
    assert abs(right.maps - wrong.maps).max((1, 2)).min() > 0.1
    assert (right.raw.max((1, 2)) > wrong.raw.max((1, 2))).all()


# --- Grad-CAM's numbers ---------------------------------------------------------------------------


def test_the_gradient_is_that_of_differences(residual, pictures):
    graph = Graph(residual)
    step, scores = graph.last_map(), graph.scores()
    head = graph.cut(step.output, scores)
    rng = np.random.default_rng(0)
    maps = rng.uniform(0.5, 1, (2, 16, 16, 8)).astype(np.float32)
    weights = np.eye(10, dtype=np.float32)[[3, 7]]
    found = gradient.of_scores(head, maps, weights)
    way = rng.normal(size=maps.shape).astype(np.float32)
    ahead, behind = (np.asarray(head(maps + s * 0.01 * way)) for s in (1, -1))
    expected = ((ahead - behind) * weights).sum(1) / 0.02
    np.testing.assert_allclose((found * way).sum((1, 2, 3)), expected, rtol=2e-3, atol=1e-4)


def test_means_and_a_dense_layer_give_class_activation_maps(residual, pictures):
    """There the gradient is the dense layer's weight over the number of pixels (Zhou et al.
    2016)."""
    graph = Graph(residual)
    step = graph.last_map()
    maps = graph.cut(graph.model.inputs[0], step.output)(pictures.astype("float32"))
    kernel = residual.get_layer("output").get_weights()[0]
    expected = np.asarray(maps) @ kernel[:, 4] / 256
    heat = explaining.grad_cam(residual, pictures, 4)
    np.testing.assert_allclose(heat.raw, expected, rtol=1e-4, atol=1e-6)
    assert heat.layer == "relu2_1_2" and heat.classes.tolist() == [4, 4, 4]


SAVE = """
import sys, numpy as np, cifar_lab
from cifar_lab.data import synthetic
heat = cifar_lab.grad_cam(sys.argv[1], synthetic.generate(3, 0)[0], [0, 5, 9])
np.savez(sys.argv[2], maps=heat.maps, raw=heat.raw)
"""


def assert_the_same_on(backend, network, pictures, file):
    """Grad-CAM of a network on this backend and in a process on another one."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(network), str(file)],
        cwd=ROOT,
        env=command_env(KERAS_BACKEND=backend, XLA_FLAGS=COMPILED_QUICKLY),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    here, there = explaining.grad_cam(network, pictures, [0, 5, 9]), np.load(file)
    np.testing.assert_allclose(there["maps"], here.maps, atol=1e-3)
    np.testing.assert_allclose(there["raw"], here.raw, atol=1e-3 * abs(here.raw).max())


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_it_is_the_same_on_every_backend(backend, pictures, tmp_path):
    model = models.cifar10_cnn(filters=(4, 4, 8), hidden_layers=0, batch_normalization=True)
    model.save(tmp_path / "small.keras")
    assert_the_same_on(backend, tmp_path / "small.keras", pictures, tmp_path / "maps.npz")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("rung", ["cifar10-74", "cifar10-88", "cifar10-90", "cifar10-tiny-88"])
def test_rungs_see_the_same_on_every_backend(rung, backend, pictures, tmp_path):
    assert_the_same_on(backend, rung, pictures, tmp_path / "maps.npz")


# --- every builder --------------------------------------------------------------------------------

BUILDERS = {
    "airbench": (lambda: models.airbench(widths=(4, 8), convolutions=2), "act2_2", (7, 7)),
    "residual airbench": (
        lambda: models.airbench(widths=(4, 8), convolutions=3, residual=True),
        "act2_3",
        (7, 7),
    ),
    "alexnet": (lambda: models.alexnet(widths=(4,) * 5, hidden=(8,)), "relu5", (8, 8)),
    "cifar10_cnn": (
        lambda: models.cifar10_cnn(filters=(4, 4, 4), hidden_units=8, batch_normalization=True),
        "conv3",
        (15, 15),
    ),
    "edge": (lambda: models.edge(stem=4, widths=(4, 8), blocks=(1, 2)), "relu2_2", (16, 16)),
    "fashion_mnist_cnn": (
        lambda: models.fashion_mnist_cnn((28, 28, 1), 10, filters=(4, 4), hidden_units=8),
        "conv2",
        (14, 14),
    ),
    "inception": (
        lambda: models.inception(width=0.25, modules=[((16, 16, 16, 4, 4, 4),) * 2]),
        "concat3_2",
        (16, 16),
    ),
    "lenet5": (lambda: models.lenet5(standardize=True), "act2", (10, 10)),
    "nin": (lambda: models.nin(widths=((4, 4), (4, 4))), "conv_output", (16, 16)),
    "plain resnet": (
        lambda: models.resnet(blocks=1, widths=(4, 8), skip=False),
        "relu2_1_2",
        (16, 16),
    ),
    "wide resnet": (
        lambda: models.resnet(blocks=1, widths=(4, 8), preactivation=True, projection=True),
        "relu",
        (16, 16),
    ),
    "vgg": (lambda: models.vgg(filters=(4, 8), dropout=0.2), "relu2_2", (16, 16)),
    "down to one pixel": (lambda: one_pixel(), "relu2", (2, 2)),
}


def one_pixel():
    """A network whose last convolution gives 1 x 1."""
    x = inputs = keras.Input((8, 8, 3))
    for i, width in enumerate((4, 4, 6), 1):
        x = keras.layers.Conv2D(
            width, 3, strides=2 if i < 3 else 1, name=f"conv{i}", padding="same"
        )(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        x = keras.layers.MaxPooling2D(2)(x) if i == 2 else x
    x = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", BUILDERS)
def test_maps_of_every_builder(name):
    build, layer, size = BUILDERS[name]
    model = build()
    before = [w.copy() for w in model.get_weights()]
    nodes = [len(one._inbound_nodes) for one in model.layers]
    shape = model.input_shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    heat = explaining.grad_cam(model, images)
    assert (heat.layer, heat.raw.shape[1:]) == (layer, size)
    assert heat.maps.shape == images.shape[:3] and heat.maps.dtype == heat.raw.dtype == np.float32
    assert heat.maps.min() >= 0 and heat.maps.max() <= 1 and np.isfinite(heat.raw).all()
    predicted = model.predict(images.astype("float32"), verbose=0).argmax(1)
    assert heat.classes.tolist() == predicted.tolist()
    filters = explaining.first_filters(model)
    assert filters.kernels.shape[3] == shape[2]
    found = explaining.feature_maps(model, images, channels=3)
    sizes = [maps.maps.shape[2:] for maps in found]
    assert sizes == sorted(sizes, reverse=True) and len(found) >= 2
    assert all(maps.maps.shape[:2] == (2, min(3, maps.total)) for maps in found)
    # the network is as it was
    assert [len(one._inbound_nodes) for one in model.layers] == nodes
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["MobileNetV2", "EfficientNetB0", "DenseNet121"])
def test_maps_of_keras_applications(network):
    model = models.application((64, 64, 3), 10, network=network)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    heat = explaining.grad_cam(model, images)
    assert heat.raw.shape == (1, 2, 2) and heat.maps.shape == (1, 64, 64)


def test_models_inside_models_and_sequential_ones(pictures):
    """As transfer learning is often written; the same maps as of the flat network."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    base = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name="inner"), layers.ReLU(name="relu")],
        name="base",
    )
    outer = [
        keras.Input((32, 32, 3)),
        layers.Rescaling(1 / 255),
        base,
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.5),
        layers.Dense(10),
        layers.Activation("softmax"),
    ]
    heat = explaining.grad_cam(keras.Sequential(outer), pictures)
    assert heat.layer == "base_relu" and heat.raw.shape == (3, 30, 30)
    x = inputs = outer[0]
    for layer in (outer[1], *base.layers, *outer[3:]):
        x = layer(x)
    flat = explaining.grad_cam(keras.Model(inputs, x), pictures)
    np.testing.assert_allclose(flat.raw, heat.raw, rtol=1e-5)
    assert explaining.first_filters(keras.Sequential(outer)).layer == "base_inner"


def test_a_saved_network_sees_the_same(residual, pictures, tmp_path):
    residual.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    here, there = (explaining.grad_cam(m, pictures) for m in (residual, again))
    np.testing.assert_array_equal(here.maps, there.maps)
    by_path = cifar_lab.grad_cam(tmp_path / "model.keras", pictures)
    np.testing.assert_array_equal(here.maps, by_path.maps)


def test_one_picture_is_as_one_of_many(residual, pictures):
    whole, one = (explaining.grad_cam(residual, x) for x in (pictures, pictures[1:2]))
    np.testing.assert_allclose(one.maps[0], whole.maps[1], atol=1e-5)
    covered = explaining.occlusion(residual, pictures, batch_size=7)
    alone = explaining.occlusion(residual, pictures[1:2])
    np.testing.assert_allclose(covered.raw[1], alone.raw[0], atol=1e-6)


def test_picture_files_and_an_earlier_layer(residual, pictures, tmp_path):
    file = tmp_path / "one.png"
    Image.fromarray(pictures[0]).save(file)
    early = explaining.grad_cam(residual, [file], layer="relu1_1_2")
    assert early.raw.shape == (1, 32, 32) and early.layer == "relu1_1_2"
    shown = early.over(pictures[:1])
    assert shown.shape == (1, 32, 32, 3) and shown.dtype == np.uint8


# --- where a map lies on the picture --------------------------------------------------------------


def test_a_map_lies_where_its_pixels_look_at():
    graph = Graph(models.airbench(widths=(4, 4, 4)))
    rows, columns = places.centres(graph, graph.last_map())
    assert rows.tolist() == columns.tolist() == [4, 12, 20]  # 2 x 2, then three poolings
    padded = Graph(models.vgg(filters=(4, 4), dropout=0))
    rows, _ = places.centres(padded, padded.maps()[-1])
    assert rows.tolist() == [1.5 + 4 * i for i in range(8)]


def test_maps_are_spread_between_the_middles_of_their_pixels():
    middles = np.array([0.5, 2.5])
    wide = places.spread(np.array([[[0.0, 1], [0, 1]]]), middles, middles, (4, 4))
    np.testing.assert_allclose(wide[0], [[0, 0.25, 0.75, 1]] * 4)


# --- occlusion ------------------------------------------------------------------------------------


class Bright:
    """Says class 1 as surely as one pixel is bright."""

    name, input_shape, output_shape, outputs = "bright", (None, 6, 8, 1), (None, 2), [None]

    def predict(self, x, verbose=0):
        images = (
            np.concatenate([np.asarray(batch) for batch in x]) if not hasattr(x, "shape") else x
        )
        share = images[:, 1, 6, 0] / 255
        return np.stack([1 - share, share], 1).astype(np.float32)


def test_occlusion_is_the_drop_where_the_square_lies():
    image = np.zeros((1, 6, 8, 1), np.uint8)
    image[0, 1, 6] = 255
    heat = explaining.occlusion(Bright(), image, size=3, stride=2, grey=0)
    # rows begin at 0, 2, 3 and columns at 0, 2, 4, 5: only those over the pixel matter
    expected = np.zeros((3, 4))
    expected[0, 2:] = 1
    np.testing.assert_allclose(heat.raw[0], expected, atol=1e-6)
    assert heat.classes.tolist() == [1] and heat.layer == ""
    # pixels that only such squares cover are the brightest
    np.testing.assert_allclose(heat.maps[0, 0], [0, 0, 0, 0, 0.5, 1, 1, 1], atol=1e-6)
    assert heat.maps[0, 3:].max() == 0
    against = explaining.occlusion(Bright(), image, 0, size=3, stride=2, grey=0)
    np.testing.assert_allclose(against.raw, -heat.raw, atol=1e-6)
    assert against.maps.max() == 0  # nothing speaks for the other class


@pytest.mark.parametrize("format", ["numpy", "litert-int8", "onnx"])
def test_occlusion_takes_exported_files(format, learned, cornered, tmp_path):
    for package in FORMATS[format].packages:
        pytest.importorskip(package)
    images, labels, corners = (part[:2] for part in cornered)
    file = tmp_path / FORMATS[format].file
    FORMATS[format].write(learned, file, images)
    heat = cifar_lab.occlusion(file, images, labels, grey=90)
    here = cifar_lab.occlusion(learned, images, labels, grey=90)
    np.testing.assert_allclose(heat.raw, here.raw, atol=0.2 if "int8" in format else 1e-4)
    assert min(shares(heat.maps, corners)) > 0.4
    with pytest.raises(InputError, match="is an exported file, whose layers cannot be looked into"):
        cifar_lab.grad_cam(file, images)


# --- filters, edges, templates, feature maps ------------------------------------------------------


def test_first_filters_are_the_layers_weights():
    model, _ = bundles.load(bundles.find("cifar10-88"))
    filters = explaining.first_filters("cifar10-88")
    kernel = model.get_layer("conv1_1").get_weights()[0]
    np.testing.assert_array_equal(filters.kernels[5], kernel[..., 5])
    assert filters.layer == "conv1_1" and filters.tiles.shape == (32, 3, 3, 3)
    alive = abs(filters.kernels).max((1, 2, 3)) > 1e-6
    assert (filters.tiles[alive].min((1, 2, 3)) == 0).all()
    np.testing.assert_allclose(filters.tiles[alive].max((1, 2, 3)), 1, rtol=1e-6)
    edges = explaining.likest_edges(filters)
    assert [(e.name, e.direction) for e in edges] == [
        ("Sobel", "horizontal"),
        ("Sobel", "vertical"),
        ("Scharr", "horizontal"),
        ("Scharr", "vertical"),
    ]
    assert all(0.8 < abs(e.cosine) <= 1 for e in edges)


def test_a_depthwise_first_layer_has_a_filter_a_channel():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(inputs)
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    assert explaining.first_filters(keras.Model(inputs, x)).kernels.shape == (6, 3, 3, 1)


def test_sobel_is_found_among_filters_whatever_their_mean_and_sign():
    assert explaining.sobel().tolist() == [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    assert explaining.sobel(2).tolist() == [[1, -1], [1, -1]]
    assert explaining.sobel(5)[2].tolist() == [6, 12, 0, -12, -6]
    kernels = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    kernels[2] = (5 - explaining.scharr().T)[..., None]
    filters = explaining.Filters("conv", kernels, kernels)
    scharr = explaining.likest_edges(filters)[3]
    assert scharr.filter == 2 and scharr.cosine == pytest.approx(-1)
    with pytest.raises(InputError, match="at least 2 x 2 to see edges, conv's are 1 x 1"):
        explaining.likest_edges(explaining.Filters("conv", kernels[:, :1, :1], kernels))


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.linear((6, 5, 3), 4, standardize=True),
        lambda: models.linear((6, 5, 1), 2, input_noise=0.1),
        lambda: models.mlp((6, 5, 3), 3, hidden_units=(), input_dropout=0.1),
    ],
    ids=["ten neurons", "one neuron", "no hidden layer"],
)
def test_templates_are_what_a_pixel_adds_to_a_score(build):
    model = build()
    for layer in model.layers:
        if layer.name == "standardize":
            layer.set_weights([np.array([0.1, 0.2, 0.3]), np.array([0.5, 1, 2])])
    found = explaining.templates(model)
    shape = model.input_shape[1:]
    assert found.weights.shape == found.tiles.shape == (model.output_shape[-1], *shape)
    scores = Graph(model)
    scores = scores.cut(scores.model.inputs[0], scores.scores())
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, *shape)).astype(np.float32)
    told = np.diff(np.asarray(scores(np.stack([one, other]))), axis=0)[0]
    np.testing.assert_allclose(
        (found.weights * (other - one)).sum((1, 2, 3)), told, rtol=1e-3, atol=1e-4
    )


def test_feature_maps_are_the_strongest_of_a_layer(residual, pictures):
    (maps,) = explaining.feature_maps(residual, pictures, channels=2, layers=["relu2_1_2"])
    graph = Graph(residual)
    whole = graph.cut(graph.model.inputs[0], graph.last_map().output)(pictures.astype("float32"))
    whole = np.asarray(whole)
    assert maps.total == 8 and maps.maps.shape == (3, 2, 16, 16)
    for n in range(3):
        spread = whole[n].std((0, 1))
        assert maps.channels[n, 0] == spread.argmax()
        np.testing.assert_array_equal(maps.maps[n, 0], whole[n, :, :, spread.argmax()])


# --- wrong use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images, classes, words",
    [
        (lambda x: x.astype("float32") / 255, None, "must not be divided by 255"),
        (lambda x: x.astype("float32"), None, r"must be uint8 \(N, 32, 32, 3\), received float32"),
        (lambda x: x[0], None, r"received uint8 \(32, 32, 3\)"),
        (lambda x: x[:, :16], None, r"received uint8 \(3, 16, 32, 3\)"),
        (lambda x: x[:0], None, r"received uint8 \(0, 32, 32, 3\)"),
        (lambda x: x, 10, "classes: must be from 0 to 9, received 10"),
        (lambda x: x, [0, 1, -1], "classes: must be from 0 to 9"),
        (lambda x: x, [0, 1], r"a whole number or one a picture \(3\)"),
        (lambda x: x, 0.5, "classes: must be a whole number"),
    ],
)
@pytest.mark.parametrize("see", [explaining.grad_cam, explaining.occlusion])
def test_wrong_pictures_and_classes_are_one_line(see, images, classes, words, residual, pictures):
    with pytest.raises(InputError, match=words) as error:
        see(residual, images(pictures), classes)
    assert "\n" not in str(error.value)


def test_what_a_network_does_not_have_is_one_line(residual, pictures):
    linear = models.linear((32, 32, 3), 10)
    for see in (explaining.grad_cam, explaining.feature_maps):
        with pytest.raises(InputError, match="linear: has no convolution"):
            see(linear, pictures)
    with pytest.raises(InputError, match="has no convolution"):
        explaining.first_filters(linear)
    for other in (residual, models.mlp((32, 32, 3), 10)):
        with pytest.raises(InputError, match="is not linear"):
            explaining.templates(other)
    with pytest.raises(InputError, match=r"layer: must be one of conv, norm, relu.*received 'no'"):
        explaining.grad_cam(residual, pictures, layer="no")
    with pytest.raises(InputError, match=r"received 'relo' \(relu\?\)"):
        explaining.grad_cam(residual, pictures, layer="relo")
    with pytest.raises(InputError, match="model: must be a name, a path, a keras.Model"):
        explaining.grad_cam(3, pictures)
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    sigmoids = keras.Model(inputs, keras.layers.Dense(4, activation="sigmoid")(x), name="many")
    with pytest.raises(InputError, match="many: ends with Dense, where a softmax is needed"):
        explaining.grad_cam(sigmoids, pictures)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"size": 33}, "size: must be a whole number from 1 to 32"),
        ({"stride": 9}, "stride: must be a whole number from 1 to 8"),
        ({"grey": 256}, "grey: must be a whole number from 0 to 255"),
        ({"batch_size": 0}, "batch_size: must be a whole number of at least 1"),
        ({"size": True}, "size: must be"),
    ],
)
def test_squares_that_do_not_fit_are_one_line(wrong, words, residual, pictures):
    with pytest.raises(InputError, match=words):
        explaining.occlusion(residual, pictures, **wrong)


# --- real pictures --------------------------------------------------------------------------------


def test_on_real_pictures_the_middle_matters_more_than_the_border(real_data):
    """CIFAR-10's photos have their subject in the middle."""
    images = cifar_lab.load_data("cifar10", real_data).train_images[:40]
    heat = cifar_lab.grad_cam("cifar10-tiny-88", images)
    middle = heat.maps[:, 8:24, 8:24].sum() / heat.maps.sum()
    assert middle > 0.4  # of a quarter of the pixels
