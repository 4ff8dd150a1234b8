"""`.npz` files: the folded network, what is refused of a file, and a device of numpy and Pillow."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import cifar_lab
from cifar_lab import blas, bundles, data, inference, ladder, scratch
from cifar_lab.errors import InputError
from cifar_lab.exporting import export
from cifar_lab.exporting import numpy as writer
from support import ROOT, assert_refused, command_env, run, run_json

RUNGS = [name for name, rung in ladder.LADDER.items() if rung.committed]
QUICK = ("mnist-logistic", "cifar10-tiny-88", "cifar10-resnet20", "fashion-mnist-92")


def rng(seed=0):
    return np.random.default_rng(seed)


def of_keras(model, images):
    return keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))


def pictures(shape, count=6):
    return rng(1).integers(0, 256, (count, *shape)).astype(np.uint8)


def settled(model):
    """The model with normalisation that does something: random weights, positive variances."""
    model.set_weights(
        [rng(i).uniform(0.2, 0.6, w.shape) for i, w in enumerate(model.get_weights())]
    )
    return model


# --- folding and saving ---------------------------------------------------------------------------


def network_of(*stack, shape=(8, 8, 3)):
    return settled(keras.Sequential([keras.Input(shape), *stack]))


def with_skips():
    """Normalisation in front of and behind convolutions, read by one and by two; a dead end."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = y = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))  # the convolution has another reader
    x = layers.Dropout(0.5)(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = layers.BatchNormalization(scale=False)(x)  # through the dropout
    x = layers.BatchNormalization(center=False)(layers.Conv2D(4, 1)(layers.Activation("silu")(x)))
    x = layers.BatchNormalization()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization()(layers.Dense(5)(x))
    return settled(keras.Model(inputs, layers.Dropout(0.1)(layers.Softmax()(x))))


MEANS = rng(3).uniform(50, 200, (8, 8, 3)).tolist()
FOLDED = {  # name: (network, the kinds that are left)
    "skips": (
        with_skips,
        "Convolution Rescaling Relu DepthwiseConvolution Silu Convolution Add Rescaling "
        "GlobalAveragePooling Affine Softmax",
    ),
    "pixels by channel": (
        lambda: network_of(
            layers.Rescaling([0.5, 0.25, 0.125]),
            layers.DepthwiseConv2D(3),
            layers.BatchNormalization(epsilon=0.1),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ),
        "DepthwiseConvolution Flatten Affine Softmax",
    ),
    "an offset meets the border": (
        lambda: network_of(
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(2, 3, padding="same", activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ),
        "Rescaling Convolution Tanh AveragePooling Flatten Affine Softmax",
    ),
    "normalisation of pixels": (
        lambda: network_of(
            layers.Normalization(axis=(1, 2, 3), mean=MEANS, variance=MEANS),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ),
        "Rescaling Flatten Affine Softmax",
    ),
    "dropout first": (
        lambda: network_of(layers.Dropout(0.3), layers.Flatten(), layers.Dense(2, "softmax")),
        "Flatten Affine Softmax",
    ),
    "all windows": (
        lambda: network_of(
            layers.ZeroPadding2D(((1, 0), (2, 1))),
            layers.Conv2D(4, (3, 2), strides=(2, 1), activation="elu"),
            layers.LeakyReLU(0.1),
            layers.MaxPooling2D(3, 1, padding="same"),
            layers.ReLU(max_value=6.0),
            layers.GlobalMaxPooling2D(),
            layers.Dense(4, "sigmoid"),
            layers.Softmax(),
        ),
        "ZeroPadding Convolution Elu LeakyRelu MaxPooling Relu GlobalMaxPooling Affine Sigmoid "
        "Softmax",
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_a_folded_network_computes_what_keras_does(case, tmp_path):
    make, kinds = FOLDED[case]
    model = make()
    writer.write(model, tmp_path / "m.npz", None)
    network = scratch.load(tmp_path / "m.npz")
    assert [type(layer).__name__ for layer in network.layers.values()] == kinds.split()
    images = pictures(model.input_shape[1:])
    expected = of_keras(model, images)
    np.testing.assert_allclose(network.predict(images), expected, atol=1e-5)
    found = inference.Classifier(tmp_path / "m.npz").probabilities(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(scratch.load(model).predict(images), expected, atol=1e-5)


def test_folding_leaves_the_network_as_it_is():
    network = scratch.load(with_skips())
    before = [w.copy() for w in network.weights]
    x = pictures((8, 8, 3)).astype(np.float32)
    expected = network.forward(x)
    scratch.folded(network)
    for weight, old in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    np.testing.assert_array_equal(network.forward(x), expected)


def saved(network, shape=(8, 8, 3)):
    file = io.BytesIO()
    scratch.save(network, shape, file)
    return file.getvalue()


def test_every_layer_is_saved_and_comes_back():
    """As it is, unfolded, with what training needs."""
    network = scratch.load(with_skips())
    content = saved(network)
    again, shape = scratch.restore(content)
    assert shape == (8, 8, 3) and saved(again) == content
    assert list(again.nodes) == list(network.nodes)
    x = pictures(shape).astype(np.float32)
    np.testing.assert_array_equal(again.forward(x), network.forward(x))
    t = scratch.one_hot(np.arange(6) % 5, 5, np.float32)
    loss = scratch.CategoricalCrossEntropy()
    values = [again.train_on(x, t, loss, scratch.Adam()) for _ in range(2)]
    assert np.isfinite(values).all()
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    graph = json.loads(bytes(arrays["graph"]))
    assert graph["nodes"][1]["kind"] == "Convolution"
    assert arrays[f"{graph['nodes'][1]['name']}/kernel"].shape == (3, 3, 3, 4)


def test_shapes_are_those_of_keras():
    model = with_skips()
    shapes = scratch.load(model).shapes((8, 8, 3))
    assert len(shapes) == len(model.layers)
    for layer in model.layers[1:]:
        assert shapes[layer.name] == tuple(layer.output.shape[1:]), layer.name
    with pytest.raises(ValueError, match="layer '.*conv2d.*': takes 3 channels, received .8, 8, 1"):
        scratch.load(model).shapes((8, 8, 1))


def test_threads_may_share_a_network():
    """A server's: nothing that one call keeps is another's answer."""
    network = scratch.load(with_skips())
    batches = [rng(i).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8) for i in range(40)]
    expected = [network.predict(images) for images in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, alone in zip(pool.map(network.predict, batches), expected, strict=True):
            np.testing.assert_array_equal(found, alone)


def test_inference_keeps_nothing():
    network = scratch.load(with_skips())
    network.predict(pictures((8, 8, 3)))
    for layer in network.layers.values():
        assert not [name for name in vars(layer) if name.startswith("_")]


@pytest.mark.parametrize(
    "rung", [r if r in QUICK else pytest.param(r, marks=pytest.mark.slow) for r in RUNGS]
)
def test_rungs_in_numpy(rung, tmp_path):
    model, _ = bundles.load(bundles.find(rung))
    writer.write(model, tmp_path / "m.npz", None)
    classifier = inference.Classifier(tmp_path / "m.npz")
    kinds = {type(layer).__name__ for layer in classifier._network.network.layers.values()}
    assert not kinds & {"BatchNormalization", "Dropout"}
    images = pictures(classifier.input_shape, 20)
    expected = of_keras(model, images)
    found = classifier.probabilities(images)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("rung", RUNGS)
def test_rungs_in_numpy_on_all_test_images(real_data, rung, tmp_path):
    """The check of an export, as the command makes it; and the command that tests the file."""
    file = tmp_path / "model.npz"
    args = ("--format", "numpy", "--output", file)
    card = run_json("export.py", rung, *args, CIFAR_LAB_DATA=real_data)
    assert card["images"] == 10_000 and card["agreement"] == 1
    assert card["largest_difference"] < 1e-4 and card["accuracy"] == card["keras_accuracy"]
    tested = run_json("evaluate.py", file, CIFAR_LAB_DATA=real_data)
    assert tested["accuracy"] == pytest.approx(card["accuracy"])


def test_a_layer_without_a_counterpart_is_named(fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    model, card = bundles.load(folder)
    inputs = keras.Input((28, 28, 1))
    odd = keras.Model(inputs, model(layers.GaussianDropout(0.1, name="noise")(inputs)))
    with pytest.raises(
        InputError, match="numpy: .*its layer 'noise' is a GaussianDropout; there are"
    ):
        export(odd, card, "numpy", tmp_path / "m.npz", data.load("fashion-mnist", str(root)))
    assert list(tmp_path.iterdir()) == []


# --- files from anywhere --------------------------------------------------------------------------


def small():
    """The smallest network that has a window, a choice of two inputs, and every part of a file."""
    network = scratch.Network()
    kernel = rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32)
    network.add(scratch.Convolution(kernel, np.zeros(4, np.float32), padding="same"), "conv")
    network.add(scratch.MaxPooling(2, padding="same"), "pool")
    network.add(scratch.Add(), "sum", ["pool", "pool"])
    network.add(scratch.BatchNormalization(4), "normal")
    network.add(scratch.GlobalAveragePooling(), "mean")
    network.add(scratch.Affine(rng(2).normal(size=(4, 3)).astype(np.float32)), "scores")
    network.add(scratch.Softmax(), "softmax")
    return network


def rebuilt(change, name="graph", compression=zipfile.ZIP_STORED, more=()):
    """The file of `small` with one member changed: the graph as an object, another as an array."""
    arrays = dict(np.load(io.BytesIO(saved(small()))))
    if name == "graph":
        graph = json.loads(bytes(arrays["graph"]))
        changed = change(graph)
        text = json.dumps(graph) if changed is None else changed
        arrays["graph"] = np.frombuffer(text.encode(), np.uint8)
    else:
        changed = change(arrays[name])
        arrays = {k: v for k, v in arrays.items() if k != name}
        if changed is not None:
            arrays[name] = changed
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for key, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(value))
            archive.writestr(f"{key}.npy", member.getvalue())
        for key, value in more:
            archive.writestr(key, value)
    return file.getvalue()


def node(of, **changes):
    def change(graph):
        (found,) = (n for n in graph["nodes"] if n["name"] == of)
        found.update(changes)

    return change


def setting(of, **changes):
    def change(graph):
        (found,) = (n for n in graph["nodes"] if n["name"] == of)
        found["settings"].update(changes)

    return change


def header(text):
    """A .npy file that claims anything."""
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def with_header(name, text):
    content = members_of(rebuilt(lambda graph: None))
    content[f"{name}.npy"] = header(text)
    return stored(content)


def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def stored(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def overlapping():
    """An archive whose directory names one member many times: small, and large once read."""
    whole = stored({"graph.npy": bytes(100_000)})
    start = int.from_bytes(whole[-6:-2], "little")
    entry, end = whole[start:-22], bytearray(whole[-22:])
    many = 1000
    end[8:12] = many.to_bytes(2, "little") * 2
    end[12:16] = (len(entry) * many).to_bytes(4, "little")
    return whole[:start] + entry * many + bytes(end)


def pickled():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("graph.npy", "w") as member:
        np.lib.format.write_array(member, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


def foreign():
    file = io.BytesIO()
    np.savez(file, x=np.zeros(3), y=np.ones(3))
    return file.getvalue()


WHOLE = saved(small())
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
DEEP = '{"format": ' + "[" * 100_000
HOSTILE = {
    "nothing": (lambda: b"", "is no .npz archive, or damaged"),
    "noise": (lambda: rng().bytes(3000), "is no .npz archive, or damaged"),
    "cut off": (lambda: WHOLE[: len(WHOLE) * 2 // 3], "is no .npz archive, or damaged"),
    "cut in front": (lambda: WHOLE[200:], "is no .npz archive, or damaged"),
    "a flipped bit": (
        lambda: WHOLE.replace(b"Convolution", b"Konvolution"),
        "is no .npz archive, or damaged .Bad CRC",
    ),
    "an empty archive": (lambda: stored({}), "holds no 'graph'"),
    "another's": (foreign, "holds no 'graph'"),
    "a pickle": (pickled, "'graph': must be uint8 in C order, is object"),
    "compressed": (
        lambda: rebuilt(lambda g: None, compression=zipfile.ZIP_DEFLATED),
        "is compressed or encrypted",
    ),
    "overlapping": (overlapping, "its members are larger than the file"),
    "a member twice": (
        lambda: twice("graph.npy"),
        "two of its members have one name",
    ),
    "a huge array": (lambda: with_header("conv/kernel", HUGE), "its array 'kernel' has 0 bytes"),
    "a huge graph": (
        lambda: rebuilt(lambda g: " " * (1 << 20) + json.dumps(g)),
        "'graph': is larger than 1,048,576 bytes",
    ),
    "code for a header": (
        lambda: with_header("conv/kernel", "{'descr': __import__('os').getcwd()}"),
        "its array 'kernel' is no array",
    ),
    "a deep header": (lambda: with_header("conv/kernel", "(" * 110), "is no array"),
    "no JSON": (lambda: rebuilt(lambda g: "{"), "'graph': "),
    "deep JSON": (lambda: rebuilt(lambda g: DEEP), "'graph': "),
    "a list": (lambda: rebuilt(lambda g: "[]"), "is not of the format 'cifar_lab.scratch'"),
    "another version": (
        lambda: rebuilt(lambda g: g.update(version=2)),
        "is of version 2, this program reads 1",
    ),
    "no nodes": (lambda: rebuilt(lambda g: g.update(nodes=[])), "belongs to no layer"),
    "nodes of text": (lambda: rebuilt(lambda g: g.update(nodes="x")), "a list of nodes"),
    "a node of text": (lambda: rebuilt(lambda g: g.update(nodes=["x"])), "layer 1: must have"),
    "an input of text": (
        lambda: rebuilt(lambda g: g.update(input_shape="big")),
        "input_shape: must be 1 or 3 whole numbers, received 'big'",
    ),
    "a huge input": (
        lambda: rebuilt(lambda g: g.update(input_shape=[1 << 14, 1 << 14, 3])),
        "take more than 67,108,864 values a picture",
    ),
    "unknown kind": (
        lambda: rebuilt(node("pool", kind="Attention")),
        "layer 'pool': is a 'Attention'; there are Affine, Convolution, ",
    ),
    "a kind of Python": (lambda: rebuilt(node("pool", kind="__class__")), "is a '__class__'"),
    "a kind of numbers": (lambda: rebuilt(node("pool", kind=[1])), "layer 'pool': is a .1.; there"),
    "a name twice": (
        lambda: rebuilt(node("mean", name="sum")),
        "layer 'sum': name: 'sum' is taken",
    ),
    "a name of numbers": (lambda: rebuilt(node("mean", name=3)), "layer 5: name must be a text"),
    "a later input": (
        lambda: rebuilt(node("pool", inputs=["softmax"])),
        "layer 'pool': inputs: must be earlier nodes",
    ),
    "inputs of numbers": (lambda: rebuilt(node("pool", inputs=[1])), "inputs must be names"),
    "too many inputs": (
        lambda: rebuilt(node("mean", inputs=["normal", "sum"])),
        "layer 'mean': takes one input, received 2",
    ),
    "a sum of one": (
        lambda: rebuilt(node("sum", inputs=["pool"])),
        "layer 'sum': takes inputs of one shape",
    ),
    "another shape": (
        lambda: rebuilt(node("sum", inputs=["pool", "conv"])),
        "layer 'sum': takes inputs of one shape, received .4, 4, 4., .8, 8, 4.",
    ),
    "no settings": (lambda: rebuilt(node("conv", settings={})), "must have the settings strides"),
    "a stride of 0": (
        lambda: rebuilt(setting("conv", strides=[0, 1])),
        "layer 'conv': strides must be a whole number from 1 to 256, received 0",
    ),
    "a stride of truth": (lambda: rebuilt(setting("conv", strides=[True, 1])), "received True"),
    "a huge window": (
        lambda: rebuilt(setting("pool", window=[10**9, 10**9])),
        "layer 'pool': window must be a whole number from 1 to 256, received 1000000000",
    ),
    "another padding": (
        lambda: rebuilt(setting("pool", padding="full")),
        "padding must be 'valid' or 'same', received 'full'",
    ),
    "a number that is none": (
        lambda: rebuilt(setting("normal", epsilon=float("nan"))),
        "epsilon must be a number, received nan",
    ),
    "a missing array": (
        lambda: rebuilt(lambda a: None, "conv/kernel"),
        "layer 'conv': its array 'kernel' is missing",
    ),
    "no array named": (lambda: rebuilt(node("conv", arrays=[])), "must have the arrays kernel"),
    "an array twice": (
        lambda: rebuilt(node("conv", arrays=["kernel", "kernel"])),
        "its array 'kernel' is missing",
    ),
    "an array too many": (
        lambda: rebuilt(lambda g: None, more=[("more.npy", b"")]),
        "holds 'more', which belongs to no layer",
    ),
    "doubles": (
        lambda: rebuilt(lambda a: a.astype(float), "conv/kernel"),
        "its array 'kernel' must be float32 in C order, is float64",
    ),
    "objects": (
        lambda: with_header("conv/kernel", "{'descr': '|O', 'fortran_order': False, 'shape': ()}"),
        "its array 'kernel' must be float32 in C order, is object",
    ),
    "of columns": (
        lambda: rebuilt(np.asfortranarray, "conv/kernel"),
        "its array 'kernel' must be float32 in C order",
    ),
    "NaN": (
        lambda: rebuilt(lambda a: a * np.float32("nan"), "conv/kernel"),
        "its array 'kernel' has NaN or infinity",
    ),
    "a flat kernel": (
        lambda: rebuilt(lambda a: a.reshape(9, 12), "conv/kernel"),
        "its array 'kernel' has the shape .9, 12.",
    ),
    "a bias too long": (
        lambda: rebuilt(lambda a: np.zeros(5, np.float32), "conv/bias"),
        "its array 'bias' has 5 values, must have 4",
    ),
    "a negative variance": (
        lambda: rebuilt(lambda a: -a, "normal/moving_variance"),
        "layer 'normal': its moving_variance must be above 0",
    ),
    "another number of channels": (
        lambda: rebuilt(lambda g: g.update(input_shape=[8, 8, 1])),
        "layer 'conv': takes 3 channels, received .8, 8, 1.",
    ),
    "no picture": (
        lambda: rebuilt(lambda g: g.update(input_shape=[5])),
        "layer 'conv': takes 3 dimensions, received .5,.",
    ),
}


def twice(name):
    """An archive with two members of one name."""
    content = bytearray(stored({name: b"1", "x" * len(name): b"2"}))
    return bytes(content).replace(b"x" * len(name), name.encode())


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_wrong_is_refused(kind, tmp_path):
    make, words = HOSTILE[kind]
    (tmp_path / "m.npz").write_bytes(make())
    with pytest.raises(InputError, match=words) as caught:
        inference.Classifier(tmp_path / "m.npz")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'm.npz'}: cannot be opened by numpy (")
    assert "\n" not in message and len(message) < 400 + len(str(tmp_path))


def test_files_that_are_right_are_read():
    """What the family above changes is what is refused."""
    assert scratch.restore(rebuilt(lambda graph: None))[1] == (8, 8, 3)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("conv", {"strides": [1, 1], "padding": "same"}),
        ("pool", {"window": [256, 256], "strides": [1, 1], "padding": "same"}),
    ],
)
def test_what_takes_too_much_memory_is_refused_before_it_runs(name, changes, tmp_path):
    """A small file that says: a large picture, written out in windows; large borders."""

    def change(graph):
        graph["input_shape"] = [2000, 1500, 3]
        setting(name, **changes)(graph)

    (tmp_path / "m.npz").write_bytes(rebuilt(change))
    assert (tmp_path / "m.npz").stat().st_size < 10_000
    with pytest.raises(InputError, match="take more than 67,108,864 values a picture"):
        inference.Classifier(tmp_path / "m.npz")


def test_what_gives_no_probabilities_is_refused(tmp_path):
    (tmp_path / "m.npz").write_bytes(rebuilt(node("softmax", kind="Tanh")))
    classifier = inference.Classifier(tmp_path / "m.npz")
    with pytest.raises(InputError, match="its outputs are not probabilities"):
        classifier.probabilities(np.full((2, 8, 8, 3), 200, np.uint8))


def test_a_network_of_pictures_is_no_classifier(tmp_path):
    def change(graph):
        graph["nodes"] = graph["nodes"][:2]

    content = members_of(rebuilt(change))
    kept = {k: v for k, v in content.items() if k.startswith(("graph", "conv", "pool"))}
    (tmp_path / "m.npz").write_bytes(stored(kept))
    with pytest.raises(InputError, match="is not an image classifier: .* gives .4, 4, 4."):
        inference.Classifier(tmp_path / "m.npz")


def test_commands_say_it_in_a_line(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "m.npz").write_bytes(rebuilt(node("pool", kind="Attention")))
    done = run("predict.py", "m.npz", "a.png", cwd=tmp_path)
    assert_refused(done, "m.npz: cannot be opened by numpy (layer 'pool': is a 'Attention'; there")


# --- a device -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A folder that holds numpy, Pillow and this package (links to ours), and nothing else."""
    folder = tmp_path_factory.mktemp("device")
    for name in ("numpy", "pillow"):
        distribution = metadata.distribution(name)
        for top in {f.parts[0] for f in distribution.files} - {"..", "__pycache__"}:
            (folder / top).symlink_to(distribution.locate_file(top))
    shutil.copytree(ROOT / "cifar_lab", folder / "cifar_lab")
    shutil.copytree(ROOT / "models", folder / "cifar_lab" / "models")
    return folder


def on_device(device, code, *args, cwd):
    """Python with the packages of `device` and no others, and no environment."""
    code = f"import sys; sys.path.insert(0, {str(device)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=command_env(),
    )


COMMAND = """
from cifar_lab.cli import main
code = main(sys.argv[1:])
found = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
wrong = {name for name in found if "cython" not in name} - {"numpy", "PIL", "cifar_lab", "__main__"}
sys.exit(f"imported {wrong}" if wrong else code)
"""


def test_numpy_and_pillow_are_enough(device, fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    file = tmp_path / "fashion.npz"
    card = run_json(
        "export.py", folder, "--format", "numpy", "--output", file, "--data-dir", root, here=True
    )
    source = bundles.read_card(folder)
    assert card["format"] == "numpy" and card["agreement"] == 1 and card["images"] == 70
    assert card["temperature"] == source["calibration"]["temperature"] != 1
    assert card["thresholds"] == source["calibration"]["thresholds"]
    assert card["classes"] == source["classes"] and card["bytes"] == file.stat().st_size
    images = data.load("fashion-mnist", str(root)).test_images
    Image.fromarray(images[3, :, :, 0]).save(tmp_path / "a.png")
    for name in ("keras", "tensorflow", "ai_edge_litert", "onnxruntime", "matplotlib", "jax"):
        done = on_device(device, f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr

    done = on_device(device, COMMAND, "predict", file, "a.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    expected = cifar_lab.load(file).classify(images[3:4])[0][0]
    assert (answer["class"], answer["probability"]) == pytest.approx(expected)
    args = ("evaluate", file, "--data-dir", root, "--json")
    done = on_device(device, COMMAND, *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tested = json.loads(done.stdout)
    assert tested["accuracy"] == card["accuracy"] == card["keras_accuracy"]
    assert tested["images"] == 70

    code = """
import cifar_lab
from cifar_lab import scratch
classifier = cifar_lab.load(sys.argv[1])
print(classifier.classify(["a.png"])[0][0][0], len(scratch.load(sys.argv[1]).nodes))
"""
    done = on_device(device, code, file, cwd=tmp_path)
    assert done.stdout.split()[-1] == "11", done.stderr
    assert done.stdout.startswith(expected[0])


def test_a_network_of_ones_own_pictures(photos, tmp_path):
    """Trained on from trained weights, as few pictures are; the file answers as the bundle does."""
    out, file = tmp_path / "out", tmp_path / "photos.npz"
    cifar_lab.train(
        "cifar10-tiny-88", photos, start="cifar10-tiny-88", freeze="features", epochs=1,
        output=out, notice=None,
    )  # fmt: skip
    card = cifar_lab.export(out, "numpy", file, notice=None)
    assert card["classes"] == ["b", "g", "r"] and card["agreement"] == 1
    assert cifar_lab.evaluate(file, notice=None)["accuracy"] == card["accuracy"]


# --- threads --------------------------------------------------------------------------------------


def test_products_take_the_threads_that_are_asked_for_and_then_those_of_before():
    functions = blas._functions()
    if functions is None:
        pytest.skip("this numpy does not bring an OpenBLAS along")
    get, put = functions
    before = get()
    try:
        put(2)
        with blas.threads(1):
            assert get() == 1
            with blas.threads(1):  # as another thread of Python's does
                assert get() == 1
            assert get() == 1
        assert get() == 2
        with pytest.raises(KeyError), blas.threads(1):
            raise KeyError
        assert get() == 2
    finally:
        put(before)


def test_a_classifier_takes_one_thread_unless_told(tmp_path, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def watched(count):
        seen.append(count)
        yield

    monkeypatch.setattr(blas, "threads", watched)
    writer.write(network_of(layers.Flatten(), layers.Dense(2, "softmax")), tmp_path / "m.npz", None)
    for threads in (None, 2):
        classifier = inference.Classifier(tmp_path / "m.npz", threads=threads)
        classifier.probabilities(np.zeros((1, *classifier.input_shape), np.uint8))
    assert set(seen[:1]) == {1} and seen[-1] == 2
