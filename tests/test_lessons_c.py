"""Lessons on convolution, architecture, depth and pictures: their numbers, and what must hold."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cifar_lab import lessons, scratch
from cifar_lab.lessons import Sources, architecture, convolutions, depth, pictures
from cifar_lab.scratch.neighbours import distances
from support import ROOT, command_env, outcome_of, write_fashion


def found(name, photo=None):
    """{name of a number: its value} of a lesson that needs no data set."""
    outcome = lessons.get(name).run(Sources(photo=photo)) if photo else outcome_of(name)
    return {number.name: number.value for number in outcome.numbers}


# --- convolution ----------------------------------------------------------------------------------


def test_sizes():
    numbers = found("convolution")
    assert tuple(numbers["39 x 39 x 3 through ten 3 x 3 filters"]) == (37, 37, 10)
    sides = [numbers["7 x 7, a 3 x 3 filter, stride 1: side"]]
    sides += [numbers[f"the same, stride {stride}"] for stride in (2, 3)]
    assert sides == [5, 3, pytest.approx(2.3333, abs=1e-4)]
    assert numbers["a dot through convolution"] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert numbers["a dot through cross-correlation"] == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]


def test_convolution_is_correlation_with_the_filter_turned_around():
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    picture, kernel = rng.normal(size=(9, 8)), rng.normal(size=(3, 3))
    ours = convolutions._correlate(picture, kernel)
    np.testing.assert_allclose(ours, signal.correlate2d(picture, kernel, "same"), atol=1e-12)
    ours = convolutions._correlate(picture, kernel[::-1, ::-1])
    np.testing.assert_allclose(ours, signal.convolve2d(picture, kernel, "same"), atol=1e-12)


def test_edge_filters():
    assert convolutions.SOBEL.tolist() == [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    assert convolutions.SCHARR.tolist() == [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
    wrong = {name: convolutions._direction_error(k) for name, k in convolutions.EDGES.items()}
    assert wrong["Scharr"] < wrong["Sobel"] < wrong["vertical"]


def test_the_learned_filters_are_those_of_the_rung():
    network = scratch.load("cifar10-88")
    first = next(la for la in network.layers.values() if isinstance(la, scratch.Convolution))
    np.testing.assert_array_equal(convolutions._first_filters(), first.weights[0])


def test_likeness_to_a_turned_sobel_filter():
    turned = 0.6 * convolutions.SOBEL + 0.8 * convolutions.SOBEL.T
    flat, dead = np.ones((3, 3)), np.zeros((3, 3))
    kernels = np.stack([turned, -turned, flat, dead], -1)[:, :, None]
    np.testing.assert_allclose(convolutions._likeness_to_sobel(kernels), [1, 1, 0, 0], atol=1e-12)


def test_a_shift_changes_less_behind_a_wider_average():
    pictures_ = np.random.default_rng(0).normal(size=(3, 28, 28, 1)) + 3
    changes = [
        convolutions._change(pictures_, layer, 1)
        for layer in (None, *(scratch.AveragePooling(n) for n in (2, 4, 28)))
    ]
    assert changes == sorted(changes, reverse=True) and changes[-1] == 0
    assert convolutions._change(pictures_, scratch.MaxPooling(2), 0) == 0


# --- architecture ---------------------------------------------------------------------------------


def test_fields_and_their_weights():
    numbers = found("receptive-field")
    assert numbers["side seen through two layers of 3 x 3"] == 5
    assert numbers["weights of one 5 x 5"] == 25 and numbers["weights of two 3 x 3"] == 18
    assert numbers["weights of one 7 x 7"] == 49 and numbers["weights of three 3 x 3"] == 27
    assert [side for _, side in architecture._vgg_fields()[:6]] == [3, 5, 6, 10, 14, 16]


def test_the_bottleneck():
    numbers = found("one-by-one")
    assert numbers["5 x 5 alone, multiply-adds"] == 120_422_400
    assert numbers["both, multiply-adds"] == 12_443_648
    assert numbers["ratio"] == pytest.approx(9.677, abs=1e-3)


def test_parameters_are_those_of_the_published_networks():
    numbers = found("parameters")
    assert numbers["ten filters of 3 x 3 on 3 channels"] == 280
    assert numbers["one neuron on a whole 64 x 64 x 3 picture, without its bias"] == 12_288
    assert numbers["LeNet-5"] == 61_706
    assert numbers["fashion-mnist-92"] == 412_778
    assert numbers["cifar10-74"] == 1_639_914
    assert numbers["AlexNet"] == 62_378_344
    assert numbers["VGG-16"] == 138_357_544
    tables = {name: architecture._counted(*net) for name, net in architecture.NETWORKS.items()}
    assert [row[2] for row in tables["LeNet-5"] if row[2]] == [156, 2_416, 48_120, 10_164, 850]
    alexnet = [row[2] for row in tables["AlexNet"] if row[2]]
    assert alexnet[:5] == [34_944, 614_656, 885_120, 1_327_488, 884_992]
    assert tables["VGG-16"][17][1] == (7, 7, 512) and tables["VGG-16"][18][2] == 102_764_544


@pytest.mark.parametrize(
    "name, builder", [("fashion-mnist-92", "fashion_mnist_cnn"), ("cifar10-74", "cifar10_cnn")]
)
def test_layers_are_counted_as_keras_counts_them(name, builder):
    import cifar_lab.models as models

    table = architecture._counted(*architecture.NETWORKS[name])
    network = getattr(models, builder)()
    counts = [layer.count_params() for layer in network.layers if layer.count_params()]
    assert [row[2] for row in table if row[2]] == counts


# --- depth ----------------------------------------------------------------------------------------


def test_a_residual_block_begins_as_the_identity():
    rng = np.random.default_rng(3)
    block = depth._block(rng, 2)
    x, gradient = rng.normal(size=(2, 3, 6, 6, 2))
    np.testing.assert_array_equal(block.forward(x, training=True), x)
    np.testing.assert_array_equal(block.backward(gradient), gradient)
    block.nodes["change"].layer.weights[0] += 0.1
    assert abs(block.forward(x) - x).max() > 0.01


@pytest.mark.parametrize("residual", [False, True])
def test_both_kinds_have_the_same_weights_to_learn(residual):
    network = depth._network(4, residual)
    layers = [la for la in network.layers.values() if isinstance(la, scratch.Affine)]
    assert len(layers) == 6 and sum(w.size for w in network.weights) == 10_858
    assert network.forward(np.ones((2, 196))).shape == (2, 10)


# --- neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_neighbours_are_those_of_the_definition(norm, dtype):
    rng = np.random.default_rng(norm)
    train = rng.integers(0, 256, (1100, 4, 4, 3)).astype(dtype)
    queries = rng.integers(0, 256, (260, 4, 4, 3)).astype(dtype)
    difference = queries[:, None].astype(float) - train[None].astype(float)
    far = np.linalg.norm(difference.reshape(260, 1100, -1), norm, axis=2)
    np.testing.assert_allclose(distances(train, queries, norm), far, rtol=1e-12)
    near = scratch.nearest_neighbours(train, queries, 7, norm)
    np.testing.assert_array_equal(near, np.argsort(far, 1, kind="stable")[:, :7])


def test_of_equally_near_pictures_the_first_come_first():
    train = np.array([[4], [2], [0], [2], [0], [9]], np.uint8)
    near = scratch.nearest_neighbours(train, np.array([[1], [9]], np.uint8), 3, 1)
    assert near.tolist() == [[1, 2, 3], [5, 0, 1]]
    assert scratch.nearest_neighbours(train, train, 1, 2)[:, 0].tolist() == [0, 1, 2, 1, 2, 5]


def test_the_furthest_pictures_do_not_overflow():
    ends = np.array([[0] * 3072, [255] * 3072], np.uint8)
    assert distances(ends, ends, 1).tolist() == [[0, 783_360], [783_360, 0]]
    np.testing.assert_allclose(distances(ends, ends)[0, 1], 255 * np.sqrt(3072))


def test_the_majority_and_its_ties():
    labels = np.array([[1, 2, 2], [3, 1, 2], [0, 1, 1], [5, 6, 6]])
    assert scratch.majority(labels).tolist() == [2, 3, 1, 6]
    assert scratch.majority(labels[:, :1]).tolist() == [1, 3, 0, 5]
    assert scratch.majority(labels[:, :2]).tolist() == [1, 3, 0, 5]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"k": 0}, "k: must be 1 to 5, received 0"),
        ({"k": 6}, "k: must be 1 to 5, received 6"),
        ({"norm": 3}, "norm: must be 1 or 2, received 3"),
        ({"queries": np.zeros((2, 4))}, r"queries: must have shape \(Q, 3\), received \(2, 4\)"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    arguments = {"train": np.zeros((5, 3)), "queries": np.zeros((2, 3)), **change}
    with pytest.raises(ValueError, match=words):
        scratch.nearest_neighbours(**arguments)


def test_no_queries_have_no_neighbours():
    assert scratch.nearest_neighbours(np.zeros((5, 3)), np.zeros((0, 3)), 2).shape == (0, 2)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 90)])
def test_pictures_equally_far_from_any_picture(colour):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 32, 3)).astype(float)
    plain = np.full((32, 32, 3), colour, float)
    plain[5, 5] = 255 - plain[5, 5]
    for picture in (noise, plain, np.full((32, 32, 3), colour, float)):
        far = [np.linalg.norm(p - picture) for p in pictures._equally_far(picture).values()]
        np.testing.assert_allclose(far, far[0], rtol=1e-9)
    assert far[0] == 0 and np.linalg.norm(pictures._equally_far(noise)["shifted"] - noise) > 0


# --- augmentation ---------------------------------------------------------------------------------


def test_a_picture_is_moved_as_told():
    dot = np.zeros((9, 9, 1))
    dot[4, 6] = 1

    def place(**how):
        return np.unravel_index(pictures.moved(dot, **how).argmax(), (9, 9))

    assert place() == (4, 6)
    assert place(right=2) == (4, 8) and place(down=-3) == (1, 6)
    assert place(degrees=90) == (6, 4)  # clockwise: from the right to below
    np.testing.assert_allclose(pictures.moved(dot, zoom=0.5)[4, 5], 1)
    np.testing.assert_array_equal(pictures.moved(dot), dot)


def test_moving_agrees_with_keras_layers():
    from keras import ops

    from cifar_lab.training import augment

    picture = np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)
    for ours, theirs in (
        ({"degrees": 20}, {"theta": -20.0}),
        ({"right": 3.25, "down": -1.5}, {"tx": -3.25, "ty": 1.5}),
        ({"zoom": 1.25}, {"zx": 0.8, "zy": 0.8}),
    ):
        matrix = augment.affine_matrices(**theirs, height=32, width=32)
        expected = ops.convert_to_numpy(augment.transform(picture[None], matrix))[0]
        away = abs(pictures.moved(picture.astype(float), **ours) - expected).max()
        assert away < 0.05, (ours, away)


@pytest.mark.parametrize("name", ["edges", "augmentation"])
def test_a_photo_of_one_colour_is_drawn(name, tmp_path):
    Image.new("L", (40, 70), 90).save(tmp_path / "grey.png")
    outcome = lessons.get(name).run(Sources(photo=tmp_path / "grey.png"))
    assert all(number.right for number in outcome.numbers) and outcome.data == "your photo"
    from cifar_lab.lessons import picture

    picture.save(tmp_path / "drawn.png", outcome, name)


# --- the benchmark --------------------------------------------------------------------------------


def test_the_benchmark_chooses_on_validation_and_goes_on_where_it_stopped(tmp_path):
    write_fashion(tmp_path / "mnist", train=300, test=60)
    output = tmp_path / "out" / "neighbours.jsonl"

    def benchmark():
        done = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "neighbours.py", "--data-dir", tmp_path]
            + ["--output", output, "--data", "mnist"],
            env=command_env(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(benchmark())
    assert json.loads(output.read_text()) == told
    assert (told["train_images"], told["validation_images"], told["test_images"]) == (270, 30, 60)
    assert (told["k"], told["norm"]) == (1, 1)  # all are right: the smaller k, then L1
    assert told["val_accuracy"] == told["test_accuracy"] == 1
    assert len(told["val_accuracy_of"]["L1"]) == len(told["val_accuracy_of"]["L2"]) == 25
    assert told["device"].startswith("CPU: ") and told["seconds"] >= told["test_seconds"]
    assert [p.name for p in output.parent.iterdir()] == ["neighbours.jsonl"]
    assert benchmark() == ""  # it has its line


def test_what_was_found_before_is_read(tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from neighbours import searched

    train = np.arange(10, dtype=np.uint8)[:, None]
    near, seconds = searched(train, train[:3], 2, 1, tmp_path / "kept")
    assert near[:, 0].tolist() == [0, 1, 2]
    file = tmp_path / "kept" / "000000.npz"
    np.savez(file, near=near + 5, seconds=7.0)
    again, seconds = searched(train, train[:3], 2, 1, tmp_path / "kept")
    assert (again == near + 5).all() and seconds == 7
