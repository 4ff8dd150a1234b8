"""`export.py --format web`: what the page stores, what its program computes, how it behaves."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import cifar_lab
from cifar_lab import bundles, calibration, data, inference, ladder, scratch
from cifar_lab.data import pictures
from cifar_lab.errors import InputError
from cifar_lab.exporting import export, folding, web
from cifar_lab.scratch import packing
from support import ROOT, assert_refused, bomb_header, run_here, run_json

DEMO = ROOT / "docs" / "demo.html"
RUNGS = [name for name, rung in ladder.LADDER.items() if rung.committed]
QUICK = ("cifar10-tiny-91", "fashion-mnist-92")
ODD = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "'\"&amp;${x}",
    "ü" * 300,
]


def rng(seed=0):
    return np.random.default_rng(seed)


# --- the program, run by node ---------------------------------------------------------------------


def javascript(body, given):
    """What a function body in JavaScript returns, which has the page's program and `given`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = (
        f"{web.program()}\nconst given = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n"
        f"(async () => {{ {body} }})().then(found => console.log(JSON.stringify(found)));"
    )
    done = subprocess.run(
        [node, "--input-type=commonjs", "-e", program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RUN_NETWORK = """
const arrays = unpacked(given.told.arrays, fromBase64(given.weights));
const network = new Network(given.told.graph, arrays);
return given.images.map(pixels => Array.from(network.run(pixels)));
"""
READ_PICTURES = """
const found = [];
for (const { bytes, shape } of given) {
  try {
    found.push(Array.from(await decodePicture(fromBase64(bytes), shape)));
  } catch (error) {
    found.push(error instanceof Unreadable ? error.message : error.stack);
  }
}
return found;
"""


def run_by_node(network, shape, images, most_exact=0):
    """What the page's program makes of images with a scratch network, packed: (N, ...)."""
    told, weights = packing.pack(network, shape, most_exact)
    given = {
        "told": told,
        "weights": base64.b64encode(weights).decode(),
        "images": images.reshape(len(images), -1).tolist(),
    }
    return np.array(javascript(RUN_NETWORK, given))


def stored(network, shape):
    """The network that is read back out of what `pack` stores."""
    return packing.unpack(*packing.pack(network, shape, most_exact=0))[0]


def random_kernel(*shape):
    return rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def vector(size):
    return random_kernel(size)


@pytest.mark.parametrize(
    "layer, shape",
    {
        "affine": (scratch.Affine(random_kernel(7, 5), vector(5)), (7,)),
        "affine without bias": (scratch.Affine(random_kernel(7, 3)), (7,)),
        "convolution": (scratch.Convolution(random_kernel(3, 3, 3, 6), vector(6)), (7, 9, 3)),
        "same": (scratch.Convolution(random_kernel(3, 5, 2, 4), padding="same"), (7, 9, 2)),
        "strides": (
            scratch.Convolution(random_kernel(3, 3, 2, 5), vector(5), (2, 3), "same"),
            (8, 10, 2),
        ),
        "of one pixel": (scratch.Convolution(random_kernel(1, 1, 6, 3), vector(3)), (3, 3, 6)),
        "one pixel, strides": (scratch.Convolution(random_kernel(1, 1, 6, 3), None, 2), (5, 5, 6)),
        "deep": (scratch.Convolution(random_kernel(3, 3, 300, 2), padding="same"), (5, 7, 300)),
        "depthwise": (
            scratch.DepthwiseConvolution(random_kernel(3, 3, 4, 1), vector(4), 2, "same"),
            (8, 7, 4),
        ),
        "depthwise, several": (
            scratch.DepthwiseConvolution(random_kernel(3, 2, 3, 2), vector(6)),
            (5, 6, 3),
        ),
        "largest": (scratch.MaxPooling(3, 2, "same"), (8, 7, 3)),
        "mean": (scratch.AveragePooling((2, 3), 2, "same"), (7, 8, 3)),
        "all means": (scratch.GlobalAveragePooling(), (5, 4, 3)),
        "all largest": (scratch.GlobalMaxPooling(), (5, 4, 3)),
        "flat": (scratch.Flatten(), (3, 2, 4)),
        "scale": (scratch.Rescaling(1 / 255, -0.5), (3, 2, 4)),
        "scale a channel": (scratch.Rescaling(vector(4), vector(4)), (3, 2, 4)),
        "scale a pixel": (scratch.Rescaling(random_kernel(3, 2, 1), 1.0), (3, 2, 4)),
        "zeros": (scratch.ZeroPadding(((1, 0), (2, 1), (1, 3))), (3, 2, 4)),
        "relu": (scratch.Relu(), (40,)),
        "relu6": (scratch.Relu(0.5), (40,)),
        "leaky": (scratch.LeakyRelu(0.2), (40,)),
        "elu": (scratch.Elu(0.7), (40,)),
        "silu": (scratch.Silu(), (40,)),
        "sigmoid": (scratch.Sigmoid(), (40,)),
        "tanh": (scratch.Tanh(), (40,)),
        "softmax": (scratch.Softmax(), (3, 2, 5)),
    }.values(),
)
def test_each_layer_is_that_of_scratch(layer, shape):
    network = scratch.Network(layer)
    x = rng(1).normal(0, 2, (3, *shape)).astype(np.float32)
    found = run_by_node(network, shape, x)
    expected = stored(network, shape).predict(x)
    np.testing.assert_allclose(found, expected.reshape(3, -1), atol=2e-5, rtol=2e-5)


def test_every_kind_that_a_folded_network_has_is_in_the_program():
    kinds = javascript("return Object.keys(LAYERS)", None)
    assert set(kinds) == {*scratch.saving.KINDS} - {"Dropout", "BatchNormalization"}


def test_a_skip_and_a_concatenation():
    network = scratch.Network()
    network.add(scratch.Convolution(random_kernel(3, 3, 2, 3), padding="same"), "first")
    network.add(scratch.Relu(), "bent")
    network.add(scratch.Add(), "sum", ["first", "bent"])
    network.add(scratch.Concatenate(), "all", ["input", "sum", "first"])
    x = rng(2).normal(size=(2, 4, 5, 2)).astype(np.float32)
    found = run_by_node(network, (4, 5, 2), x)
    np.testing.assert_allclose(
        found, stored(network, (4, 5, 2)).predict(x).reshape(2, -1), atol=1e-5
    )


# --- pictures, as Pillow reads them ---------------------------------------------------------------


def photo(width, height, seed=0):
    """A picture with smooth parts and noise."""
    coarse = rng(seed).integers(0, 256, (max(2, height // 16), max(2, width // 16), 3))
    smooth = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.BICUBIC)
    noise = rng(seed + 1).integers(-20, 21, (height, width, 3))
    return Image.fromarray((np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8))


def written(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def with_opacity(image):
    image = image.convert("RGBA")
    image.putalpha(photo(*image.size, seed=5).convert("L"))
    return image


def interlaced():
    """A PNG of 9 x 5 pixels in seven passes, which Pillow reads and does not write."""
    pixels = rng(4).integers(0, 256, (5, 9, 3)).astype(np.uint8)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [
        b"\0" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx] if row.size
    ]
    header = (9).to_bytes(4, "big") + (5).to_bytes(4, "big") + bytes([8, 2, 0, 0, 1])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def chunk(kind, body):
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def deep(image):
    """16 bits of grey."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


SOUND = {
    "own size": lambda: written(photo(32, 32), "PNG"),
    "one pixel": lambda: written(photo(1, 1), "JPEG"),
    "wide": lambda: written(photo(47, 33), "PNG"),
    "tall": lambda: written(photo(33, 47), "PNG"),
    "very tall": lambda: written(photo(5, 300), "PNG"),
    "4:4:4": lambda: written(photo(70, 64), "JPEG", subsampling="4:4:4"),
    "4:2:2": lambda: written(photo(129, 100), "JPEG", subsampling="4:2:2"),
    "4:2:0": lambda: written(photo(131, 150), "JPEG", subsampling="4:2:0"),
    "4:1:1": lambda: written(photo(100, 70), "JPEG", subsampling="4:1:1"),
    "progressive": lambda: written(photo(201, 190), "JPEG", progressive=True, quality=90),
    "progressive, small": lambda: written(photo(61, 50), "JPEG", progressive=True, quality=40),
    "large": lambda: written(photo(1003, 751), "JPEG", quality=70),
    "large, 4:2:2": lambda: written(photo(301, 299), "JPEG", subsampling="4:2:2"),
    "large, progressive": lambda: written(photo(800, 530), "JPEG", progressive=True),
    "in intervals": lambda: written(photo(90, 90), "JPEG", restart_marker_blocks=3),
    "grey JPEG": lambda: written(photo(90, 70).convert("L"), "JPEG"),
    "inks": lambda: written(photo(90, 70).convert("CMYK"), "JPEG"),
    "RGB JPEG": lambda: written(photo(90, 70), "JPEG", keep_rgb=True),
    **{
        f"orientation {n}": lambda n=n: written(photo(140, 90), "JPEG", exif=turned(n))
        for n in range(2, 9)
    },
    "PNG, turned": lambda: written(photo(100, 60), "PNG", exif=turned(6)),
    "opacity": lambda: written(with_opacity(photo(50, 60)), "PNG"),
    "grey, opacity": lambda: written(with_opacity(photo(50, 60)).convert("LA"), "PNG"),
    "palette": lambda: written(photo(50, 40).convert("P"), "PNG"),
    "palette, opacity": lambda: written(
        photo(50, 40).convert("P"), "PNG", transparency=bytes(range(256))
    ),
    "two colours": lambda: written(photo(50, 40).convert("1"), "PNG"),
    "16 colours": lambda: written(photo(50, 40).quantize(16), "PNG", bits=4),
    "grey": lambda: written(photo(50, 40).convert("L"), "PNG"),
    "grey, clear": lambda: written(photo(50, 40).convert("L"), "PNG", transparency=120),
    "colour, clear": lambda: written(
        photo(50, 40), "PNG", transparency=photo(50, 40).getpixel((3, 3))
    ),
    "16 bits": lambda: written(deep(photo(50, 40)), "PNG"),
    "interlaced": interlaced,
}


def given(contents, shapes):
    return [
        {"bytes": base64.b64encode(content).decode(), "shape": shape}
        for content in contents
        for shape in shapes
    ]


def test_pictures_are_what_pillow_makes_of_them_pixel_for_pixel():
    shapes = [(32, 32, 3), (28, 28, 1), (24, 40, 3)]
    contents = [make() for make in SOUND.values()]
    found = javascript(READ_PICTURES, given(contents, shapes))
    expected = [pictures.decode(c, shape).ravel().tolist() for c in contents for shape in shapes]
    names = [f"{name} {shape}" for name in SOUND for shape in shapes]
    wrong = [n for n, f, e in zip(names, found, expected) if f != e]
    assert wrong == [] and len(found) == len(expected) == 3 * len(SOUND)


@pytest.mark.slow
def test_a_picture_of_over_16_million_pixels_is_what_pillow_makes_of_it():
    contents = [written(photo(4700, 4100), "PNG", compress_level=1)]
    found = javascript(READ_PICTURES, given(contents, [(32, 32, 3)]))
    assert found == [pictures.decode(contents[0], (32, 32, 3)).ravel().tolist()]


def swapped(content, at):
    return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


DAMAGED = {
    "nothing": (lambda: b"\xff\xd8\xff", "damaged image (cut off)"),
    "JPEG, cut": (lambda: written(photo(90, 90), "JPEG")[:-800], "damaged image (cut off)"),
    "JPEG, its end": (lambda: written(photo(90, 90), "JPEG")[:-2], "damaged image (cut off)"),
    "PNG, cut": (lambda: written(photo(40, 40), "PNG")[:-300], "damaged image (cut off)"),
    "PNG, a byte": (lambda: swapped(written(photo(40, 40), "PNG"), 200), "(its part IDAT)"),
    "PNG, header": (lambda: swapped(written(photo(40, 40), "PNG"), 20), "(its part IHDR)"),
    "bomb": (bomb_header, "over 179 million pixels"),
    "dark": (
        lambda: written(Image.fromarray(np.full((40, 40), 900, np.uint16)), "PNG"),
        "16-bit values up to 900 only",
    ),
}


def test_damaged_pictures_are_refused_in_a_line_as_by_pillow():
    contents = [make() for make, _ in DAMAGED.values()]
    found = javascript(READ_PICTURES, given(contents, [(32, 32, 3)]))
    for (name, (_, words)), content, message in zip(DAMAGED.items(), contents, found):
        assert words in message and "\n" not in message, (name, message)
        with pytest.raises(InputError):
            pictures.decode(content, (32, 32, 3))


def test_noise_in_a_jpeg_never_ends_in_anything_but_pixels_or_a_line():
    content = written(photo(90, 90), "JPEG", progressive=True)
    places = rng(3).integers(20, len(content), 60)
    found = javascript(
        READ_PICTURES, given([swapped(content, int(at)) for at in places], [(8, 8, 3)])
    )
    for message in found:
        assert len(message) == 192 if isinstance(message, list) else "\n" not in message, message


# --- what is stored -------------------------------------------------------------------------------


def test_a_kernel_is_off_by_half_a_step_of_its_filter_and_less_than_in_float16():
    kernel = rng(5).normal(0, 0.1, (3, 3, 16, 8)).astype(np.float32)
    kernel[..., 3] *= 1000
    kernel[..., 5] = 0
    layer = stored(scratch.Network(scratch.Convolution(kernel)), (8, 8, 16)).layers
    (found,) = [layer.weights[0] for layer in layer.values()]
    step = abs(kernel).max((0, 1, 2)) / 32767
    assert (abs(found - kernel) <= 0.501 * step).all() and not found[..., 5].any()
    error, of_float16 = abs(found - kernel)[..., 0], abs(kernel.astype(np.float16) - kernel)[..., 0]
    assert error.mean() < of_float16.mean() / 2


def test_each_channel_of_a_depthwise_kernel_has_its_own_step():
    kernel = rng(6).normal(0, 1, (3, 3, 4, 2)).astype(np.float32)
    kernel[:, :, 1] *= 1e-3
    told, _ = packing.pack(scratch.Network(scratch.DepthwiseConvolution(kernel)), (8, 8, 4), 0)
    (entry,) = told["arrays"].values()
    assert entry["scale"]["size"] == 8 and entry["type"] == "int16"


def test_a_small_network_is_stored_as_it_is():
    kernel = rng(7).normal(0, 1, (3, 3, 4, 2)).astype(np.float32)
    network = scratch.Network(scratch.Convolution(kernel, vector(2)))
    assert (
        packing.pack(network, (8, 8, 4))[0]["arrays"]["1_convolution/kernel"]["type"] == "float32"
    )
    restored, shape = packing.unpack(*packing.pack(network, (8, 8, 4)))
    assert shape == (8, 8, 4) and (restored.weights[0] == kernel).all()
    x = rng(8).normal(size=(1, 8, 8, 4)).astype(np.float32)
    found = run_by_node(network, shape, x, most_exact=packing.MOST_EXACT)
    np.testing.assert_allclose(found[0], network.predict(x)[0].ravel(), atol=1e-5)


def of_two(classes=2):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def page_of(path, classes, model=None, **card):
    card = {"rung": "mine", "classes": classes, "model_sha256": "0" * 64, **card}
    web.write(model or of_two(len(classes)), path, None, card)
    return path


@pytest.mark.parametrize("classes", [ODD, [f"class {i}" for i in range(1000)]], ids=["odd", "1000"])
def test_names_come_back_whatever_they_are(tmp_path, classes):
    file = page_of(tmp_path / "m.html", classes, rung=ODD[1])
    text = file.read_text(encoding="utf-8")
    assert "<img" not in text and text.lower().count("</script>") == 4
    assert inference.Classifier(file).classes == tuple(classes)
    assert f"<title>{html.escape(ODD[1])}</title>" in text


def test_the_policy_lets_this_program_run_and_nothing_out(tmp_path):
    text = page_of(tmp_path / "m.html", ["a", "b"]).read_text(encoding="utf-8")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert "connect-src" not in allowed and "http" not in policy and "unsafe" not in policy
    assert allowed["script-src"].count("sha256-") == 2 and allowed["worker-src"] == "blob:"


DAMAGES = {
    "another page": (lambda page: b"<html></html>", "holds no network"),
    "cut off": (lambda page: page[: page.index(b"data-crc32") + 200], "holds no network"),
    "a weight": (lambda page: swapped(page, page.index(b"data-crc32") + 60), "its checksum is wr"),
    "a number of the graph": (
        lambda page: page.replace(b'"strides": [1, 1]', b'"strides": [1, 2]'),
        "its checksum is wrong",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_page_is_refused_in_a_line(tmp_path, name):
    damage, words = DAMAGES[name]
    file = page_of(tmp_path / "m.html", ["a", "b"])
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=words):
        inference.Classifier(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["arrays"].clear(),
        lambda told: told["arrays"]["conv/kernel"].update(shape=[3, 3, 3, 5]),
        lambda told: told["arrays"]["conv/kernel"].update(type="float64"),
        lambda told: told["arrays"]["conv/kernel"].update(offset=10**9),
        lambda told: told["arrays"]["conv/kernel"].update(scale=None),
        lambda told: told.update(arrays=7),
        lambda told: told["graph"]["nodes"][0].update(kind="Attention"),
        lambda told: told.update(graph=None),
    ],
)
def test_what_does_not_belong_together_is_refused(change):
    network = scratch.Network()
    network.add(scratch.Convolution(random_kernel(3, 3, 3, 4)), "conv")
    told, weights = packing.pack(network, (8, 8, 3), most_exact=0)
    change(told)
    with pytest.raises(ValueError):
        packing.unpack(told, weights)


# --- the command ----------------------------------------------------------------------------------


def test_a_layer_that_the_program_has_not_is_a_line(fashion_bundle, tmp_path):
    _, root = fashion_bundle
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(9, activation="gelu", name="bent"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    card = {**bundles.read_card(fashion_bundle[0]), "calibration": None}
    with pytest.raises(InputError, match="web: .* its layer 'bent' has the activation 'gelu'"):
        export(model, card, "web", tmp_path / "m.html", data.load("fashion-mnist", str(root)))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_tests_and_names_it_and_the_other_commands_read_it(
    fashion_bundle, tmp_path
):
    folder, root = fashion_bundle
    file = tmp_path / "fashion.html"
    args = (folder, "--format", "web", "--output", file, "--data-dir", root)
    done = run_here("export.py", *args)
    assert done.returncode == 0 and "open " in done.stdout and "in a browser" in done.stdout
    card = json.loads(inference.card_path(file).read_text())
    assert card["format"] == "web" and card["images"] == 70 and card["agreement"] == 1
    assert 0 < card["largest_difference"] < 1e-3
    assert card["bytes"] == file.stat().st_size
    told = run_json("evaluate.py", file, "--data-dir", root, here=True)
    assert told["accuracy"] == card["accuracy"] and told["images"] == 70
    inference.card_path(file).unlink()  # the page has the names itself
    photo(40, 40).save(tmp_path / "a.png")
    found = run_json("predict.py", file, tmp_path / "a.png", here=True)
    expected = run_json("predict.py", folder, tmp_path / "a.png", here=True)
    assert json.dumps(found).count("T-shirt") == json.dumps(expected).count("T-shirt")
    (tmp_path / "empty.html").write_text("<p>")
    done = run_here("predict.py", tmp_path / "empty.html", tmp_path / "a.png")
    assert_refused(done, "empty.html", "holds no network")


def test_the_demo_is_of_the_committed_rung_and_of_this_program():
    told, weights = packing.from_page(DEMO.read_bytes())
    model, card = bundles.load(bundles.find("cifar10-tiny-91"))
    folded = folding.folded(model, card["calibration"]["temperature"])
    graph, content = packing.pack(scratch.folded(scratch.load(folded)), model.input_shape[1:])
    assert told["source_sha256"] == card["model_sha256"] and told["classes"] == card["classes"]
    assert told["graph"] == json.loads(json.dumps(graph["graph"])), "make it again (docs/guide)"
    assert weights == content, "make it again (docs/guide/export.md)"
    text = DEMO.read_text(encoding="utf-8")
    assert web.program() in text, "the program has changed: make it again (docs/guide/export.md)"
    assert DEMO.stat().st_size < 1_000_000
    own = json.loads(inference.card_path(DEMO).read_text())
    assert own["sha256"] == bundles.file_sha256(DEMO) and own["images"] == 10_000


@pytest.mark.parametrize(
    "rung", [r if r in QUICK else pytest.param(r, marks=pytest.mark.slow) for r in RUNGS]
)
def test_a_rung_by_node_is_keras_and_under_10_mb(rung, tmp_path):
    model, card = bundles.load(bundles.find(rung))
    temperature = inference.temperature_of(card)
    file = tmp_path / "m.html"
    web.write(folding.folded(model, temperature), file, None, card)
    assert file.stat().st_size < 10_000_000
    told, weights = packing.from_page(file.read_bytes())
    images = np.concatenate(
        [
            rng().integers(0, 256, (3, *model.input_shape[1:])).astype(np.uint8),
            web.golden(model.input_shape[1:])[:3],
        ]
    )
    found = javascript(
        RUN_NETWORK,
        {
            "told": told,
            "weights": base64.b64encode(weights).decode(),
            "images": images.reshape(6, -1).tolist(),
        },
    )
    expected = keras.ops.convert_to_numpy(model(images.astype("float32"), training=False))
    np.testing.assert_allclose(found, calibration.scaled(expected, temperature), atol=1e-3)
    stored_by = np.array(told["golden"]["probabilities"][:3])
    np.testing.assert_allclose(found[3:], stored_by, atol=1e-5)


# --- in a browser ---------------------------------------------------------------------------------

DROP = """
const [files, kind] = arguments;
const transfer = new DataTransfer();
for (const { name, type, bytes } of files) {
  const content = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  transfer.items.add(new File([content], name, { type }));
}
const event = kind === "paste"
  ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
  : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
document.body.dispatchEvent(event);
"""
ANSWERS = """
const found = [...document.querySelectorAll("article")].reverse();
return found.length < arguments[0] ? null : found.map(article => ({
  name: article.querySelector("h2").textContent,
  error: article.querySelector(".bad")?.textContent ?? "",
  best: [...article.querySelectorAll("li")].map(li => [
    li.querySelector(".name").textContent, Number(li.dataset.probability),
    li.querySelector(".share").textContent]),
  time: article.querySelector(".time")?.textContent ?? "",
  alt: [article.querySelector("img")?.alt, article.querySelector("canvas")?.ariaLabel],
}));
"""


def ready(browser, file, **options):
    """Open a page and wait for its check: (text of its line, class of it)."""
    browser.open(file, **options)
    browser.wait("return document.getElementById('status').className !== 'waiting'")
    return browser.run(
        "const s = document.getElementById('status'); return [s.textContent, s.className]"
    )


def dropped(browser, files, kind="drop"):
    """What the page says of files, {name: bytes}, one after another."""
    before = browser.run("return document.querySelectorAll('article').length")
    sent = [
        {"name": name, "type": "", "bytes": base64.b64encode(content).decode()}
        for name, content in files.items()
    ]
    browser.run(DROP, sent, kind)
    return browser.wait(ANSWERS, before + len(files))[before:]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A page of a network with random weights, and odd names."""
    return page_of(tmp_path_factory.mktemp("small") / "small.html", ODD, test_accuracy=0.5)


def test_a_dropped_picture_gets_the_answer_of_predict(browser, tmp_path):
    text, kind = ready(browser, DEMO)
    assert kind == "good" and text == "Checked: 10 pictures gave the stored probabilities."
    files = {
        "large.jpg": written(photo(1600, 1201), "JPEG", quality=80),
        "portrait.jpg": written(photo(400, 300), "JPEG", exif=turned(6)),
        "clear.png": written(with_opacity(photo(90, 70)), "PNG"),
        "grey.png": written(photo(60, 80).convert("L"), "PNG"),
        "other.gif": written(photo(64, 64).quantize(64), "GIF"),
        "other.bmp": written(photo(64, 64), "BMP"),
        "lossless.webp": written(photo(64, 64), "WEBP", lossless=True),
    }
    answers = dropped(browser, files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    classifier = inference.Classifier(bundles.find("cifar10-tiny-91") / "model.keras")
    expected = classifier.classify([tmp_path / name for name in files], top=5)
    for name, answer, wanted in zip(files, answers, expected):
        assert answer["name"] == name and answer["error"] == "" and len(answer["best"]) == 5
        assert dict(wanted) == pytest.approx({c: p for c, p, _ in answer["best"]}, abs=1e-3)
        assert answer["best"][0][2] == f"{100 * answer['best'][0][1]:.1f}%"
        assert re.fullmatch(
            r"[\d.]+ ms: [\d.]+ to read the picture, [\d.]+ for the network", answer["time"]
        )
        assert all(name in alt for alt in answer["alt"])
    assert browser.requests() == [] and browser.errors() == []


def test_what_is_no_picture_gets_a_line_and_the_next_one_an_answer(browser, small):
    assert ready(browser, small)[1] == "good"
    answers = dropped(
        browser,
        {
            "cut.jpg": written(photo(90, 90), "JPEG")[:-800],
            "note.txt": b"hello",
            "empty.png": b"",
            "cut.gif": written(photo(64, 64).quantize(64), "GIF")[:40],
            "sound.png": written(photo(30, 30), "PNG"),
        },
    )
    assert [bool(a["error"]) for a in answers] == [True, True, True, True, False]
    assert answers[0]["error"] == "No answer: damaged image (cut off)."
    assert (
        "No answer: not an image" in answers[1]["error"] and "not an image" in answers[2]["error"]
    )
    assert len(answers[4]["best"]) == 4  # as many as there are classes
    assert browser.requests() == [] and browser.errors() == []


def test_names_are_texts_and_never_html(browser, small):
    ready(browser, small)
    (answer,) = dropped(browser, {ODD[1]: written(photo(9, 9), "PNG")}, "paste")
    assert {name for name, *_ in answer["best"]} == set(ODD) and answer["name"] == ODD[1]
    assert browser.run("return document.querySelectorAll('article img').length") == 1
    for width in (400, 1600):
        browser.show(width, 900)
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.errors() == []


def test_grey_networks_see_grey(browser, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((12, 10, 1)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    file = page_of(tmp_path / "m.html", ["a", "b", "c"], model)
    assert ready(browser, file)[1] == "good"
    content = written(photo(60, 50), "PNG")
    (answer,) = dropped(browser, {"a.png": content})
    pixels = pictures.decode(content, (12, 10, 1))
    expected = inference.Classifier(file).probabilities(pixels)
    found = {c: p for c, p, _ in answer["best"]}
    assert [found[c] for c in "abc"] == pytest.approx(expected.tolist(), abs=1e-5)
    drawn = browser.run(
        "const c = document.querySelector('canvas'); "
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    assert np.array(drawn).reshape(12, 10, 4)[..., 1].tolist() == pixels[..., 0].tolist()


def rewritten(page, change):
    """A page with other weights and the checksum that belongs to them."""
    told, weights = packing.from_page(page.read_bytes())
    content = bytearray(weights)
    change(told, content)
    block = packing.blocks(told, bytes(content)).replace("\\", "\\\\")
    text = page.read_text(encoding="utf-8")
    return re.sub(r'<script type="application/json".*?</script>\n<script.*?</script>', block, text)


FIRST = slice(0, 400)  # the bytes of the first hundred weights


def test_a_damaged_copy_does_not_answer(browser, small, tmp_path):
    content = small.read_bytes()
    copies = {
        "a weight": swapped(content, content.index(b"data-crc32") + 60),
        "the program": content.replace(b"Math.expm1(v)", b"Math.expm1(w)"),
        "the page": content.replace(b"const TOP = 5", b"const TOP = 6"),
        "its numbers": rewritten(small, lambda told, w: w.__setitem__(FIRST, bytes(400))).encode(),
    }
    words = {
        "a weight": "It does not answer: the file is damaged: its checksum is wrong.",
        "the program": "It does not answer: the program in this file is damaged.",
        "the page": "Not checked. The program in this file has not started:",
        "its numbers": "It does not answer: this browser computes other probabilities",
    }
    for name, copy in copies.items():
        assert copy != content
        (tmp_path / "copy.html").write_bytes(copy)
        browser.open(tmp_path / "copy.html")
        state = browser.wait(
            "const s = document.getElementById('status'); "
            "return !s.textContent.startsWith('Checking') && [s.textContent, s.className]"
        )
        assert state[0].startswith(words[name]) and state[1] != "good", (name, state)
        assert browser.run("return document.getElementById('files').disabled")
        browser.run(DROP, [{"name": "a", "type": "", "bytes": ""}], "drop")
        assert browser.run("return document.querySelectorAll('article').length") == 0


def test_without_a_worker_it_runs_on_the_page(browser, small, tmp_path):
    text = small.read_text(encoding="utf-8").replace(
        "worker-src blob:", "worker-src &#x27;none&#x27;"
    )
    (tmp_path / "m.html").write_text(text, encoding="utf-8")
    assert ready(browser, tmp_path / "m.html")[1] == "good"
    assert "on the page" in browser.run("return document.getElementById('status').title")
    (answer,) = dropped(browser, {"a.png": written(photo(30, 30), "PNG")})
    assert len(answer["best"]) == 4


def test_without_a_camera_it_says_so(browser, small):
    ready(browser, small)
    browser.run("document.getElementById('camera').click()")
    line = browser.wait(
        "const l = document.getElementById('line'); return !l.hidden && l.textContent"
    )
    assert line.startswith("No camera: ")
    assert browser.run("return document.getElementById('live').hidden")


def test_the_keyboard_reaches_everything(browser, small):
    ready(browser, small)
    reached = []
    for _ in range(2):
        browser.press("Tab")
        reached.append(browser.run("return document.activeElement.id"))
    assert reached == ["files", "camera"]


def test_the_engine_answers_nothing_before_the_check():
    found = javascript("return engine.asked({ task: 'answer', bytes: new Uint8Array() })", None)
    assert found == {"error": "the network has not been checked"}


def test_it_is_among_the_public_formats(fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    card = cifar_lab.export(folder, "web", tmp_path / "m.html", data_dir=str(root), notice=None)
    assert Path(tmp_path / "m.html").stat().st_size == card["bytes"]
    assert card["temperature"] != 1 and card["preprocessing"].startswith("pixels 0-255")
