"""predict.py on pictures of every kind, and a runtime that holds neither TensorFlow nor Keras."""

import io
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from cifar_lab import data
from support import ROOT, assert_refused, command_env, run, run_here

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (the edge extra)")


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A `.tflite` file that names the brightest of red, green and blue, with a card."""
    import hashlib

    import keras

    path = tmp_path_factory.mktemp("small") / "colours.tflite"
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Rescaling(1 / 10)(keras.layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, keras.layers.Softmax()(x)).export(str(path), format="litert", verbose=False)
    path.with_name("colours.tflite.card.json").write_text(
        json.dumps(
            {
                "rung": "colours",
                "classes": ["red", "green", "blue"],
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    )
    return path


def picture(color, size=(9, 12), mode="RGB"):
    return Image.new("RGB", size, color).convert(mode)


def predict_json(*args, code=0, **kwargs):
    done = run_here("predict.py", *args, "--json", **kwargs)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_pictures_of_every_kind(small_file, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    red, blue, white = (220, 10, 10), (10, 10, 220), (255, 255, 255)
    expected = {}

    def add(name, image, kind, **options):
        image.save(folder / name, **options)
        expected[name] = kind

    add("a.jpg", picture(red), "red")
    add("b.png", picture(blue, (300, 20)), "blue")
    add("below/h.png", picture(blue, (1, 1)), "blue")
    add("c.webp", picture(red), "red")
    add(
        "d.gif", picture(blue, mode="P"), "blue", save_all=True, append_images=[picture(red)]
    )  # the first frame counts
    add("e.bmp", picture(red), "red")
    add("f.png", picture(blue, mode="RGBA"), "blue")
    add("g.jpg", picture(red, mode="CMYK"), "red")
    add("j.tif", picture(blue, mode="YCbCr"), "blue")
    add("k.png", picture(red, (10_000, 3)), "red")
    add("l.png", picture(blue, (3, 10_000)), "blue")
    add("m.png", picture(red, mode="P"), "red")
    transparent = picture(red, mode="RGBA")
    transparent.putalpha(0)
    middle = (100, 100, 100)
    grey = {  # all the same in red, green and blue
        "n.png": (transparent, 255),
        "o.png": (picture(middle, mode="L"), 100),
        "p.png": (picture(middle, mode="LA"), 100),
        "q.png": (picture(white, mode="1"), 255),
        "r.png": (Image.fromarray(np.full((6, 6), 40_000, np.uint16)), 156),
        "s.tif": (picture(middle, mode="I"), 100),
        "t.tif": (picture(middle, mode="F"), 100),
        "u.ppm": (picture(middle), 100),
    }
    for name, (image, _) in grey.items():
        # no type says what is white in 32 bits, a tag does (SMaxSampleValue)
        add(name, image, None, **({"tiffinfo": {341: 255}} if name == "s.tif" else {}))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    rows = {
        r["file"].removeprefix(f"{folder}/"): r
        for r in predict_json(small_file, folder, "--top", 2, "--show-pixels")
    }
    assert list(rows) == sorted(expected) and len(rows) >= 20
    for name, row in rows.items():
        assert len(row["top"]) == 2 and row["top"][0] == {
            "class": row["class"],
            "probability": row["probability"],
        }
        if expected[name]:
            assert row["class"] == expected[name] and 0.9 < row["probability"] <= 1, name
        else:
            np.testing.assert_array_equal(
                row["pixels"], np.full((4, 4, 3), grey[name][1]), err_msg=name
            )


def test_every_orientation_and_the_pixels_that_the_network_sees(small_file, tmp_path):
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels),
    }
    for orientation in upright:
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{orientation}.png", exif=exif)
    rows = predict_json(small_file, tmp_path, "--show-pixels")
    for row, (orientation, expected) in zip(rows, upright.items(), strict=True):
        np.testing.assert_array_equal(np.array(row["pixels"]), expected, err_msg=str(orientation))
    shown = run_here(
        "predict.py", small_file, tmp_path / "6.png", "--show-pixels"
    ).stdout.splitlines()
    assert (
        shown[1] == "red"
        and shown[2].split() == ["36", "24", "12", "0"]
        and len(shown) == 1 + 3 * 5
    )


def test_stdin(small_file):
    buffer = io.BytesIO()
    picture((10, 220, 10)).save(buffer, "PNG")
    done = subprocess.run(
        [sys.executable, str(ROOT / "predict.py"), str(small_file), "-", "--json"],
        input=buffer.getvalue(),
        capture_output=True,
        env=command_env(),
    )
    row = json.loads(done.stdout)
    assert done.returncode == 0 and (row["file"], row["class"]) == ("-", "green")


def test_the_others_go_on_where_one_fails(small_file, tmp_path):
    picture("red").save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.png").write_bytes(b"")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    names = ["half.png", "text.jpg", "missing.png", "empty", "zero.png", "bomb.png", "good.png"]
    done = run("predict.py", small_file, *names, cwd=tmp_path)  # a process of its own, for once
    assert (
        done.returncode == 2
        and done.stdout.startswith("good.png: red ")
        and done.stdout.count("\n") == 1
    )
    errors = done.stderr.splitlines()
    assert len(errors) == 6 and all(
        e.startswith(f"predict.py: error: {n}") for e, n in zip(errors, names)
    ), errors
    assert "No such file" in errors[2] and "holds no images" in errors[3] and "bomb" in errors[5]
    rows = predict_json(small_file, *names, cwd=tmp_path, code=2)
    assert [set(r) for r in rows[:-1]] == [{"file", "error"}] * 6 and rows[-1]["class"] == "red"


def test_what_is_left_out_of_a_folder_is_said(small_file, tmp_path):
    (tmp_path / "f").mkdir()
    picture("red").save(tmp_path / "f" / "a.png")
    (tmp_path / "f" / "b.HEIC").write_bytes(b"of a phone")
    done = run_here("predict.py", small_file, "f", cwd=tmp_path)
    assert (
        done.returncode == 0
        and done.stdout.startswith("f/a.png: red ")
        and "f: skipped 1 file" in done.stderr
        and "b.HEIC" in done.stderr
    )


def test_a_bundle_and_its_model_file(fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    images = data.load("fashion-mnist", str(root)).test_images[:3]
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    of_bundle, of_file = (
        [
            json.loads(line)
            for line in run_here("predict.py", name, tmp_path, "--json").stdout.splitlines()
        ]
        for name in (folder, folder / "model.keras")
    )
    assert [r["top"] for r in of_bundle] == [r["top"] for r in of_file]
    assert (
        len(of_bundle) == 3
        and of_bundle[0]["class"] in json.loads((folder / "card.json").read_text())["classes"]
    )


def test_below_a_threshold_it_is_unsure(small_file, tmp_path):
    picture("red").save(tmp_path / "red.png")
    picture((100, 100, 104)).save(tmp_path / "grey.png")
    args = ("red.png", "grey.png", "--top", 2)
    done = run_here("predict.py", small_file, *args, "--threshold", 0.5, cwd=tmp_path)
    assert done.returncode == 0
    assert (
        done.stdout == "red.png: red 100.0%, green 0.0%\ngrey.png: unsure (blue 42.7%, red 28.6%)\n"
    )
    sure, unsure = predict_json(small_file, *args, "--threshold", 0.5, cwd=tmp_path)
    assert (sure["class"], sure["unsure"], sure["likeliest"]) == ("red", False, "red")
    assert (unsure["class"], unsure["unsure"], unsure["likeliest"]) == (None, True, "blue")
    assert (
        unsure["probability"] == unsure["top"][0]["probability"] == pytest.approx(0.427, abs=1e-3)
    )
    assert "unsure" not in predict_json(small_file, "red.png", cwd=tmp_path)[0]
    certain = run_here("predict.py", small_file, *args, "--threshold", 0, cwd=tmp_path)
    assert "unsure" not in certain.stdout


def test_a_precision_takes_the_threshold_of_the_card(small_file, tmp_path):
    file = shutil.copy(small_file, tmp_path / "m.tflite")
    card = json.loads(small_file.with_name("colours.tflite.card.json").read_text())
    card["thresholds"] = {"0.9": {"threshold": 0.5, "coverage": 0.7}, "0.99": None}
    (tmp_path / "m.tflite.card.json").write_text(json.dumps(card))
    picture((100, 100, 104)).save(tmp_path / "grey.png")
    done = run_here("predict.py", file, "grey.png", "--precision", 0.9, cwd=tmp_path)
    assert done.stdout.startswith("grey.png: unsure (blue 42.7%")
    assert done.stderr == "precision 0.9: unsure below 50.0%\n"
    for precision, words in (
        (0.99, "no threshold gives a precision of 0.99 on its validation images"),
        (0.85, "--precision: must be one of 0.9, 0.99"),
        (2, "--precision: must be a number from 0 to 1"),
    ):
        assert_refused(run_here("predict.py", file, "grey.png", "--precision", precision), words)
    without = run_here("predict.py", small_file, "grey.png", "--precision", 0.9)
    assert_refused(without, "its card has no thresholds")
    both = run_here("predict.py", file, "x.png", "--precision", 0.9, "--threshold", 0.5)
    assert_refused(both, "--threshold, --precision: give one of the two")


@pytest.mark.parametrize(
    "args, words",
    [
        (["SMALL"], "the following arguments are required: IMAGE"),
        (["SMALL", "x.png", "--top", "4"], "--top: must be a whole number from 1 to 3"),
        (["SMALL", "x.png", "--top", "0"], "a whole number of at least 1"),
        (["nowhere", "x.png"], "is neither a rung"),
        (["nowhere.tflite", "x.png"], "nowhere.tflite: cannot be read"),
        (["cifar10-13", "x.png"], "is neither a rung"),
        (["cifar10_tiny_88", "x.png"], "'cifar10_tiny_88' (cifar10-tiny-88?): is neither a rung"),
    ],
)
def test_wrong_request(small_file, args, words):
    done = run_here("predict.py", *[small_file if a == "SMALL" else a for a in args])
    assert (
        done.returncode == 2
        and words in done.stderr
        and done.stderr.count("\n") == 1
        and not done.stdout
    ), done.stderr


@pytest.fixture(scope="module")
def device(installed, tmp_path_factory):
    """A folder of packages as `pip install ai-edge-litert numpy pillow; pip install --no-deps .`
    leaves them (links to ours)."""
    folder = tmp_path_factory.mktemp("device") / "site"
    folder.mkdir()
    waiting, seen = ["ai-edge-litert", "numpy", "pillow"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        waiting += [
            re.match(r"[\w.-]+", need)[0] for need in distribution.requires or () if ";" not in need
        ]
        for top in {f.parts[0] for f in distribution.files} - {"..", "__pycache__"}:
            (folder / top).symlink_to(distribution.locate_file(top))
    for made in installed.iterdir():
        (folder / made.name).symlink_to(made)
    assert not {"tensorflow", "keras", "jax", "torch"} & {p.name for p in folder.iterdir()}
    return folder


def on_device(device, code, *args, cwd):
    """Python with the packages of `device` and no others."""
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=command_env(PYTHONPATH=device),
    )


def test_predict_and_evaluate_on_a_device_without_tensorflow_and_keras(
    device, small_file, tmp_path
):
    picture("blue").save(tmp_path / "a.png")
    code = """
import sys
from cifar_lab.cli import main
code = main(sys.argv[1:])
wrong = {"tensorflow", "keras"} & set(sys.modules)
sys.exit(f"imported {wrong}" if wrong else code)
"""
    done = on_device(device, code, "predict", small_file, "a.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["class"] == "blue"
    (tmp_path / "test" / "red").mkdir(parents=True)
    picture("red").save(tmp_path / "test" / "red" / "a.png")
    tested = on_device(
        device, code, "evaluate", small_file, "--data", "test", "--json", cwd=tmp_path
    )
    assert tested.returncode == 0 and json.loads(tested.stdout)["accuracy"] == 1.0, tested.stderr
    missing = on_device(device, code, "predict", "cifar10-74", "a.png", cwd=tmp_path)
    assert (
        missing.returncode == 2
        and "needs keras, and " in missing.stderr
        and missing.stderr.count("\n") == 1
    ), missing.stderr


def test_import_and_first_prediction_take_less_than_half_a_second_of_processor_time(
    device, small_file, tmp_path
):
    code = """
import sys, time
import numpy as np
from cifar_lab.inference import Classifier
Classifier(sys.argv[1]).probabilities(np.zeros((4, 4, 3), np.uint8))
print(time.process_time())
"""
    times = [float(on_device(device, code, small_file, cwd=tmp_path).stdout) for _ in range(3)]
    assert min(times) < 0.5, times
