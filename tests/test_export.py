"""Exports of a trained network: what they compute, what their cards say; a bad one is not kept."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import cifar_lab
from cifar_lab import bundles, calibration, cli, data, inference
from cifar_lab.errors import InputError
from cifar_lab.exporting import FORMATS, export, is_export_of, litert
from support import FIELDS_74, ROOT, SMALL_74, assert_refused, run_here, run_json

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (the edge extra)")


@pytest.fixture(scope="module")
def exports(fashion_bundle, tmp_path_factory):
    """{format: file} of the fashion bundle, int8 by the real command."""
    folder, root = fashion_bundle
    out = tmp_path_factory.mktemp("exports")
    dataset = data.load("fashion-mnist", str(root))
    files = {}
    for name in ("litert", "litert-fp16", "onnx", "numpy", "web"):
        if name == "onnx":
            pytest.importorskip(
                "onnxruntime", reason="onnxruntime is not installed (the edge extra)"
            )
        files[name] = out / FORMATS[name].file
        export(*bundles.load(folder), name, files[name], dataset)
    files["litert-int8"] = out / "model.int8.tflite"
    done = run_json(
        "export.py",
        folder,
        "--format",
        "litert-int8",
        "--output",
        files["litert-int8"],
        "--data-dir",
        root,
        here=True,
    )
    assert done["format"] == "litert-int8" and done["file"] == str(files["litert-int8"])
    return files


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_computes_what_keras_does(exports, fashion_bundle, name):
    model, card = bundles.load(fashion_bundle[0])
    images = data.load("fashion-mnist", str(fashion_bundle[1])).test_images
    classifier = inference.Classifier(exports[name])
    found = classifier.probabilities(images, batch_size=32)  # 70 images: the last batch is smaller
    temperature = card["calibration"]["temperature"]
    assert temperature != 1 and classifier.card["temperature"] == temperature
    assert classifier.temperature == 1  # in the file already
    expected = calibration.scaled(np.asarray(model(images.astype("float32"))), temperature)
    atol = {"litert-int8": 0.15, "litert-fp16": 5e-3, "web": 1e-3}.get(name, 1e-5)
    assert found.dtype == np.float32 and found.shape == (70, 10)
    np.testing.assert_allclose(found, expected, atol=atol)
    np.testing.assert_allclose(classifier.probabilities(images[3]), found[3], atol=1e-6)
    assert classifier.classes == tuple(card["classes"]) and classifier.input_shape == (28, 28, 1)
    assert classifier.dtype == ("int8" if name == "litert-int8" else "float32")
    first = classifier.classify(images[:2], top=10)[1]
    assert [c for c, _ in first] == [
        card["classes"][i] for i in np.argsort(-found[1], kind="stable")
    ]


def test_cards_say_what_was_measured(exports, fashion_bundle):
    source = bundles.read_card(fashion_bundle[0])
    cards = {
        name: json.loads(inference.card_path(file).read_text()) for name, file in exports.items()
    }
    for name, card in cards.items():
        assert card["bytes"] == exports[name].stat().st_size and card[
            "sha256"
        ] == bundles.file_sha256(exports[name])
        assert card["source_sha256"] == source["model_sha256"] and card["images"] == 70
        assert (
            card["keras_accuracy"] == pytest.approx(source["test_accuracy"])
            and card["parameters"] == 412_778
        )
        # conv1 28 x 28 x 256, conv2 14 x 14 x 8,192, then 1,568 x 256 and 256 x 10
        assert card["multiply_adds"] == 200_704 + 1_605_632 + 401_408 + 2_560
    assert (
        cards["litert"]["agreement"] == cards["onnx"]["agreement"] == 1
        and cards["litert"]["largest_difference"] < 1e-5
    )
    int8 = cards["litert-int8"]
    assert int8["input"] == {
        "dtype": "int8",
        "shape": [1, 28, 28, 1],
        "scale": 1.0,
        "zero_point": -128,
    }
    assert int8["output"] == {
        "dtype": "int8",
        "shape": [1, 10],
        "scale": 1 / 256,
        "zero_point": -128,
    }
    assert int8["calibration"]["images"] == 200  # all there are, of train alone
    assert (
        int8["bytes"] < 0.3 * cards["litert"]["bytes"]
        and 0.45 < cards["litert-fp16"]["bytes"] / cards["litert"]["bytes"] < 0.55
    )
    assert (
        int8["peak_activation_bytes"] == 28 * 28 * 64 + 14 * 14 * 64
    )  # conv1's output and its pooling's
    assert "CONV_2D" in int8["operations"] and not {"QUANTIZE", "DEQUANTIZE", "CAST"} & set(
        int8["operations"]
    )


def test_int8_is_the_same_again_and_calibrated_on_train_images_alone(
    exports, fashion_bundle, tmp_path
):
    folder, root = fashion_bundle
    dataset = data.load("fashion-mnist", str(root))
    again = tmp_path / "again.int8.tflite"
    export(
        *bundles.load(folder),
        "litert-int8",
        again,
        dataclasses.replace(
            dataset, test_images=dataset.test_images[:20], test_labels=dataset.test_labels[:20]
        ),
    )
    assert again.read_bytes() == exports["litert-int8"].read_bytes()
    export(
        *bundles.load(folder),
        "litert-int8",
        again,
        dataclasses.replace(dataset, train_images=dataset.train_images // 4),
    )
    assert again.read_bytes() != exports["litert-int8"].read_bytes()


@pytest.mark.parametrize(
    "name, words",
    [
        ("litert", "70 test images have Keras' class, must be 100.00%"),
        ("litert-fp16", "must be 99.90%"),
    ],
)
def test_an_export_that_fails_its_check_is_not_left_behind(
    fashion_bundle, tmp_path, monkeypatch, name, words
):
    folder, root = fashion_bundle
    monkeypatch.setattr(
        inference._LiteRT,
        "_run",
        lambda self, images: np.eye(10, dtype=np.float32)[np.zeros(len(images), int)],
    )
    with pytest.raises(InputError, match=words):
        export(
            *bundles.load(folder),
            name,
            tmp_path / "model.tflite",
            data.load("fashion-mnist", str(root)),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_probability_that_differs_is_refused(fashion_bundle, tmp_path, monkeypatch):
    folder, root = fashion_bundle
    run_it = inference._LiteRT._run
    monkeypatch.setattr(
        inference._LiteRT, "_run", lambda self, images: run_it(self, images) * 0.999
    )
    with pytest.raises(
        InputError, match="probabilities differ from Keras' by up to .*, may by 1e-04: not kept"
    ):
        export(
            *bundles.load(folder),
            "litert",
            tmp_path / "model.tflite",
            data.load("fashion-mnist", str(root)),
        )
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_calibrated_says_so(fashion_bundle, tmp_path, monkeypatch):
    folder, root = fashion_bundle
    dataset, said = data.load("fashion-mnist", str(root)), []
    model, card = bundles.load(folder)
    file = tmp_path / "model.tflite"
    plain = {key: value for key, value in card.items() if key != "calibration"}
    written = export(model, plain, "litert", file, dataset, notice=said.append)
    assert written["temperature"] == 1 and written["thresholds"] is None
    assert len(said) == 1 and "are not calibrated" in said.pop()
    monkeypatch.setattr("cifar_lab.exporting.run.folded", lambda model, temperature: None)
    written = export(model, card, "litert", file, dataset, notice=said.append)
    assert written["temperature"] == 1 and written["thresholds"] is None
    assert len(said) == 1 and "could be folded into: the file is not calibrated" in said[0]
    monkeypatch.undo()
    written = export(model, card, "litert", file, dataset, notice=said.append)
    assert written["temperature"] == card["calibration"]["temperature"] and len(said) == 1
    assert written["thresholds"] == card["calibration"]["thresholds"]


def test_a_compacted_file_computes_the_same(fashion_bundle, tmp_path, monkeypatch):
    folder, root = fashion_bundle
    dataset = data.load("fashion-mnist", str(root))
    small = tmp_path / "small.int8.tflite"
    export(*bundles.load(folder), "litert-int8", small, dataset)
    monkeypatch.setattr(litert, "compacted", lambda content: content)
    whole = tmp_path / "whole.int8.tflite"
    export(*bundles.load(folder), "litert-int8", whole, dataset)
    assert small.stat().st_size < whole.stat().st_size - 3000
    np.testing.assert_array_equal(
        *(inference.Classifier(p).probabilities(dataset.test_images) for p in (small, whole))
    )


# --- the command ---


def test_evaluate_reads_an_export(exports, fashion_bundle):
    card = json.loads(inference.card_path(exports["litert-int8"]).read_text())
    result = run_json(
        "evaluate.py", exports["litert-int8"], "--data-dir", fashion_bundle[1], here=True
    )
    assert result["accuracy"] == pytest.approx(card["accuracy"]) and result["images"] == 70


def test_an_export_goes_beside_the_model_and_is_replaced_by_its_like_alone(
    fashion_bundle, tmp_path
):
    folder = shutil.copytree(fashion_bundle[0], tmp_path / "bundle")
    request = ("export.py", folder, "--format", "litert", "--data-dir", fashion_bundle[1])
    first = run_here(*request)
    assert (
        first.returncode == 0
        and (folder / "model.tflite").is_file()
        and (folder / "model.tflite.card.json").is_file()
    )
    assert f"saved {folder}/model.tflite: " in first.stdout
    again = run_here(*request)
    assert again.returncode == 0 and "is written anew" in again.stderr
    (folder / "model.tflite.card.json").unlink()
    refused = run_here(*request)
    assert (
        refused.returncode == 2
        and "is there already and no litert export of this bundle" in refused.stderr
    )
    assert run_here(*request, "--overwrite").returncode == 0
    assert (
        run_here("evaluate.py", folder, "--data-dir", fashion_bundle[1]).returncode == 0
    )  # the bundle is still one


def test_from_a_folder_of_photos_to_an_edge_file(photos, tmp_path):
    """Three classes of one's own: trained, exported to int8, tested, predicted by the runtime."""
    out, file = tmp_path / "out", tmp_path / "photos.int8.tflite"
    more = ("--epochs", 12, "--learning-rate", 0.01, "--output", out, *SMALL_74)
    run_json("train.py", "cifar10-74", "--data", photos, *more, here=True)
    card = run_json("export.py", out, "--format", "litert-int8", "--output", file, here=True)
    assert (
        card["images"] == 6
        and card["calibration"]["images"] == 30
        and card["classes"] == ["b", "g", "r"]
    )
    assert run_json("evaluate.py", file, here=True)["accuracy"] == card["accuracy"] >= 0.8
    done = run_here("predict.py", file, photos, "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == 36
    assert np.mean([Path(a["file"]).parent.name == a["class"] for a in answers]) >= 0.8


@pytest.fixture(scope="module")
def of_a_folder(tmp_path_factory):
    """(folder of pictures without a split, bundle trained on it, its card)."""
    root = tmp_path_factory.mktemp("of-a-folder")
    rng = np.random.default_rng(7)
    for label, size in (("cup", 40), ("fork", 25), ("nothing", 10)):
        (root / "photos" / label).mkdir(parents=True)
        for i in range(size):  # noise: what was trained on is known better than what was not
            pixels = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{i}.png")
    args = ("--data", root / "photos", "--epochs", 3, "--output", root / "out", *SMALL_74)
    run_json("train.py", "cifar10-74", *args, here=True)
    return root / "photos", root / "out", json.loads((root / "out" / "card.json").read_text())


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_tested_on_the_images_of_its_bundle(of_a_folder, name, tmp_path, capsys):
    """By default and by the folder's name; not on those that it was trained on."""
    photos, folder, card = of_a_folder
    assert card["data"]["test_images"] == 15 and card["data"]["note"]
    dataset = data.load(str(photos), None, (32, 32, 3))
    assert dataset.test_sha256() == card["data"]["test_sha256"]
    file = tmp_path / FORMATS[name].file
    written = export(*bundles.load(folder), name, file, dataset)
    assert written["data"] == card["data"] and "tested_on" not in written
    classifier = inference.Classifier(file)
    taken = classifier.probabilities(dataset.test_images).argmax(1)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (dataset.test_labels, taken), 1)
    for more in ((), ("--data", str(photos))):
        assert cli.evaluate([str(file), "--json", *more]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["images"] == 15 and told["confusion"] == confusion.tolist()
        assert told["accuracy"] == written["accuracy"]
    found = cifar_lab.evaluate(file)
    assert found["confusion"] == confusion.tolist()
    # a card of an earlier version, which does not say that the folder has no split
    own_card = inference.card_path(file)
    old = {**written, "data": {k: written["data"][k] for k in ("name", "test_sha256")}}
    own_card.write_text(json.dumps(old))
    assert cifar_lab.evaluate(file)["confusion"] == confusion.tolist()


@pytest.mark.parametrize("change", ["one more", "one less", "a class less"])
def test_an_export_refuses_a_folder_that_has_changed(of_a_folder, change, tmp_path, capsys):
    photos, folder, _ = of_a_folder
    copy = shutil.copytree(photos, tmp_path / "photos")
    bundle = shutil.copytree(folder, tmp_path / "bundle")
    card = json.loads((bundle / "card.json").read_text())
    card["data"]["name"] = str(copy)
    (bundle / "card.json").write_text(json.dumps(card))
    file = tmp_path / "model.tflite"
    export(*bundles.load(bundle), "litert", file, data.load(str(copy), None, (32, 32, 3)))
    if change == "one more":
        Image.new("RGB", (20, 24), "red").save(copy / "cup" / "new.png")
    elif change == "one less":
        (copy / "cup" / "1.png").unlink()
    else:
        shutil.rmtree(copy / "nothing")
    for network in (file, bundle):
        for more in ((), ("--data", str(copy))):
            assert cli.evaluate([str(network), *more]) == 2
            assert "has changed since cifar10-74 was trained on it" in capsys.readouterr().err


def test_a_file_that_others_tested_says_so(of_a_folder, tmp_path):
    photos, folder, card = of_a_folder
    whole = data.load(str(photos), None, (32, 32, 3))
    other = dataclasses.replace(
        whole, name="other", test_images=whole.train_images, test_labels=whole.train_labels
    )
    written = export(*bundles.load(folder), "litert", tmp_path / "m.tflite", other)
    assert written["tested_on"] == {"name": "other", "test_sha256": other.test_sha256()}
    assert written["data"] == card["data"]
    assert cifar_lab.evaluate(tmp_path / "m.tflite")["images"] == 15


@pytest.mark.parametrize("is_split", [False, True])
def test_what_a_training_skipped_is_skipped_again(of_a_folder, is_split, tmp_path):
    """In tests, exports and calibration of the bundle, without being asked to again."""
    photos = shutil.copytree(of_a_folder[0], tmp_path / ("photos/train" if is_split else "photos"))
    root = tmp_path / "photos"
    if is_split:
        for name in ("cup", "fork", "nothing"):
            (root / "test" / name).mkdir(parents=True)
            for i in range(5):
                (photos / name / f"{i}.png").rename(root / "test" / name / f"{i}.png")
        (root / "test" / "fork" / "3.png").write_bytes(b"")
    (photos / "cup" / "7.png").write_bytes(b"")
    options = {"epochs": 1, "fields": FIELDS_74, "output": tmp_path / "out", "notice": None}
    with pytest.raises(cifar_lab.InputError, match="7.png: is not an image"):
        cifar_lab.train("cifar10-74", root, **options)
    card = cifar_lab.train("cifar10-74", root, skip_damaged=True, **options)
    damaged = ["train/cup/7.png", "test/fork/3.png"] if is_split else ["cup/7.png"]
    assert card["data"]["skipped"] == damaged and card["data"]["test_images"] == 14 + (not is_split)
    assert cifar_lab.evaluate(tmp_path / "out")["accuracy"] == card["test_accuracy"]
    written = cifar_lab.export(tmp_path / "out", "litert", tmp_path / "m.tflite", overwrite=True)
    tested = cifar_lab.evaluate(tmp_path / "m.tflite")
    assert tested["images"] == card["data"]["test_images"]
    assert tested["accuracy"] == written["accuracy"]
    assert cli.main(["calibrate", str(tmp_path / "out")]) == 0


def test_pictures_of_the_training_are_left_out_wherever_they_lie(of_a_folder, tmp_path):
    """In a copy of the folder, changed, at another place; by its bundle and by its file."""
    photos, folder, card = of_a_folder
    moved = shutil.copytree(photos, tmp_path / "moved")
    (moved / "cup" / "1.png").unlink()
    own = data.load(str(photos), None, (32, 32, 3))
    trained = set(data.picture_digests(own.train_images))
    (images, labels), _ = data.read_labelled_folder(moved, (32, 32, 3))
    left = len(images) - sum(digest in trained for digest in data.picture_digests(images))
    assert left in (14, 15)
    file = tmp_path / "m.tflite"
    export(*bundles.load(folder), "litert", file, own)
    for network in (folder, file):
        lines = []
        found = cifar_lab.evaluate(network, moved, notice=lines.append)
        assert found["images"] == left
        assert f"left out {74 - left} of 74 pictures, which cifar10-74 was trained on" in lines[-1]
    lines = []
    with contextlib.suppress(InputError):  # 2 pictures may be too few for the check
        cifar_lab.export(folder, "litert", tmp_path / "n.tflite", data=moved, notice=lines.append)
    assert any("which cifar10-74 was trained on" in line for line in lines)
    for name in ("cup", "fork", "nothing"):
        for picture in (moved / name).iterdir():
            pixels = data.read_image(picture, (32, 32, 3))[None]
            if data.picture_digests(pixels)[0] not in trained:
                picture.unlink()
    with pytest.raises(InputError, match="cifar10-74 was trained on all of these pictures"):
        cifar_lab.evaluate(folder, moved, notice=None)


def test_a_folder_that_is_gone_is_said_to_be(of_a_folder, tmp_path):
    _, folder, card = of_a_folder
    bundle = shutil.copytree(folder, tmp_path / "bundle")
    card = {**card, "data": {**card["data"], "name": "/nowhere/photos"}}
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(
        InputError, match="/nowhere/photos: the folder that .* was trained on is gone"
    ):
        cifar_lab.evaluate(bundle)


WRONG = {
    "no format": ([], "--format"),
    "unknown format": (["--format", "tflite"], "invalid choice: 'tflite'"),
    "other ending": (["--format", "onnx", "--output", "model.tflite"], "must end in .onnx"),
    "folder": (["--format", "litert", "--output", "FOLDER.tflite"], "is a folder"),
    "no data": (["--format", "litert", "--data-dir", "EMPTY"], "holds no fashion-mnist"),
    "other data": (["--format", "litert", "--data", "synthetic"], "are not those of the bundle"),
    "no such data": (["--format", "litert", "--data", "nowhere"], "data 'nowhere'"),
    "nothing to write to": (
        ["--format", "litert", "--output", "FILE/model.tflite"],
        "cannot be written",
    ),
    "seed": (["--format", "litert-int8", "--seed", "-1"], "a whole number from 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_request(kind, fashion_bundle, tmp_path):
    folder, root = fashion_bundle
    flags, words = WRONG[kind]
    (tmp_path / "FOLDER.tflite").mkdir()
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("")
    if not {"--data-dir", "--data"} & set(flags):
        flags = [*flags, "--data-dir", root]
    if "--output" not in flags:
        flags = [*flags, "--output", "out.tflite"]
    before = sorted(p.name for p in tmp_path.iterdir())
    done = run_here("export.py", folder, *flags, cwd=tmp_path)
    assert (
        done.returncode == 2
        and words in done.stderr
        and done.stderr.count("\n") == 1
        and not done.stdout
    ), done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


# --- the runtime ---


def test_classifier_refuses_what_it_cannot_read(exports, tmp_path):
    def refused(path, words):
        with pytest.raises(InputError, match=words):
            inference.Classifier(path)

    refused(tmp_path / "none.tflite", "none.tflite: cannot be read .No such file")
    refused(ROOT / "setup.cfg", "must end in .tflite, .onnx, .npz, .html, .keras")
    for ending, needs in (
        (".tflite", "ai-edge-litert"),
        (".onnx", "onnxruntime"),
        (".npz", "numpy"),
        (".keras", "keras"),
    ):
        (tmp_path / f"junk{ending}").write_bytes(b"junk" * 100)
        refused(tmp_path / f"junk{ending}", f"cannot be opened by {needs}")
    for file in (exports["litert"], exports["onnx"]):
        whole = file.read_bytes()
        copy = tmp_path / file.name
        copy.write_bytes(whole[: len(whole) // 3])
        refused(copy, "cannot be opened by")
        copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        shutil.copy(inference.card_path(file), inference.card_path(copy))
        refused(copy, "is not the file that .* was written for")
        inference.card_path(copy).write_text("[]")
        refused(copy, "card.json: must be a JSON object, is a list of 0")


def test_classifier_refuses_wrong_images(exports):
    classifier = inference.Classifier(exports["litert-int8"])
    for images in (
        np.zeros((2, 28, 28, 1)),
        np.zeros((2, 28, 28), np.uint8),
        np.zeros((28, 28, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="images: must be uint8 .N, 28, 28, 1., received"):
            classifier.probabilities(images)
    assert classifier.probabilities(np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 10)


def test_a_file_without_a_card_has_numbers_for_classes(exports, tmp_path):
    shutil.copy(exports["litert"], tmp_path / "model.tflite")
    classifier = inference.Classifier(tmp_path / "model.tflite")
    assert classifier.classes == tuple("0123456789") and classifier.card == {}
    done = run_here("evaluate.py", tmp_path / "model.tflite")
    assert done.returncode == 2 and "has no export card (model.tflite.card.json)" in done.stderr
    Image.new("L", (28, 28)).save(tmp_path / "grey.png")
    done = run_here("predict.py", "model.tflite", "grey.png", cwd=tmp_path)
    assert (
        done.returncode == 0
        and done.stderr == "note: model.tflite has no card beside it, so its classes are numbers\n"
    )


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled_up(batch, tmp_path):
    """Files that others wrote: their batch is theirs."""
    inputs = keras.Input((2, 2, 1))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Flatten()(inputs)))
    model.export(
        str(tmp_path / "m.tflite"),
        format="litert",
        verbose=False,
        input_signature=[keras.InputSpec(shape=(batch, 2, 2, 1), dtype="float32")],
    )
    images = np.random.default_rng(0).integers(0, 5, (7, 2, 2, 1)).astype(np.uint8)
    found = inference.Classifier(tmp_path / "m.tflite").probabilities(images)
    np.testing.assert_allclose(found, np.asarray(model(images.astype("float32"))), atol=1e-6)


ONNX_TYPES = ("float32", "float16", "float64", "uint8", "int32", "int64")


def write_onnx(path, dtype="float32", batch="N", channels_first=False, rows=-1, softmax=True):
    """A file of others: 4 x 4 pixels in colour, three classes, with a type and a batch of its own.

    rows: images that the graph believes to get, -1 for as many as there are. Returns its weights.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = np.random.default_rng(0).normal(size=(48, 3)).astype("float32") / 1000
    nodes = [helper.make_node("Cast", ["x"], ["cast"], to=onnx.TensorProto.FLOAT)]
    if channels_first:
        nodes.append(helper.make_node("Transpose", ["cast"], ["last"], perm=[0, 2, 3, 1]))
    nodes += [
        helper.make_node("Reshape", ["last" if channels_first else "cast", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax" if softmax else "Identity", ["logits"], ["y"]),
    ]
    shape = (batch, 3, 4, 4) if channels_first else (batch, 4, 4, 3)
    graph = helper.make_graph(
        nodes,
        "others",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (batch, 3))],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([rows, 48]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return weights


@pytest.mark.parametrize(
    "options",
    [
        *({"dtype": dtype} for dtype in ONNX_TYPES),
        {"batch": 1},
        {"batch": 4},
        {"channels_first": True},
        {"channels_first": True, "dtype": "uint8", "batch": 2},
    ],
    ids=str,
)
def test_onnx_files_of_others(options, tmp_path):
    weights = write_onnx(tmp_path / "m.onnx", **options)
    classifier = inference.Classifier(tmp_path / "m.onnx")
    assert classifier.input_shape == (4, 4, 3)
    assert classifier.dtype == options.get("dtype", "float32")
    images = np.random.default_rng(1).integers(0, 256, (7, 4, 4, 3)).astype(np.uint8)
    powers = np.exp(images.reshape(7, 48).astype("float32") @ weights)
    expected = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(classifier.probabilities(images), expected, atol=1e-5)


def test_what_a_runtime_cannot_run_is_one_line(tmp_path):
    Image.new("RGB", (4, 4), "white").save(tmp_path / "a.png")
    files = {
        "int8.onnx": ({"dtype": "int8"}, "takes tensor(int8), must take one of tensor(float)"),
        "logits.onnx": ({"softmax": False}, "its outputs are not probabilities"),
        "shapes.onnx": ({"rows": 2}, "cannot be run by onnxruntime"),
    }
    for name, (options, words) in files.items():
        write_onnx(tmp_path / name, **options)
        done = run_here("predict.py", name, "a.png", cwd=tmp_path)
        assert_refused(done, f"{name}: ", words)


@pytest.mark.slow
@pytest.mark.parametrize("rung", ["cifar10-88", "fashion-mnist-92"])
def test_int8_of_the_rungs(real_data, rung, tmp_path):
    """On all 10,000 test images: at most 0.3 times the float file, half a point below it."""
    cards = {
        name: run_json(
            "export.py",
            rung,
            "--format",
            name,
            "--output",
            tmp_path / FORMATS[name].file,
            CIFAR_LAB_DATA=real_data,
        )
        for name in ("litert", "litert-int8", "litert-fp16", "onnx")
    }
    assert all(card["images"] == 10_000 for card in cards.values())
    assert cards["litert-int8"]["bytes"] <= 0.3 * cards["litert"]["bytes"]
    assert cards["litert-int8"]["accuracy"] >= cards["litert"]["accuracy"] - 0.005
    assert (
        cards["litert"]["accuracy"]
        == cards["onnx"]["accuracy"]
        == cards["litert"]["keras_accuracy"]
    )
    assert (
        run_json("evaluate.py", tmp_path / "model.int8.tflite", CIFAR_LAB_DATA=real_data)[
            "accuracy"
        ]
        == cards["litert-int8"]["accuracy"]
    )


@pytest.mark.parametrize(
    "rung, accuracy, most_bytes",
    [
        pytest.param("cifar10-tiny-91", 0.91, 100_352, marks=pytest.mark.slow),
        ("cifar10-tiny-88", 0.88, 40_960),
    ],
)
def test_the_committed_file_of_a_tiny_rung(real_data, rung, accuracy, most_bytes):
    """What a board gets: its size, its operations, and its accuracy on all 10,000 test images."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    file = ROOT / "saved_models" / rung / "model.int8.tflite"
    assert file.stat().st_size <= most_bytes
    assert is_export_of(file, json.loads((file.parent / "card.json").read_text()), "litert-int8")
    interpreter = Interpreter(
        str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    operations = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert operations == {
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "ADD",
        "MEAN",
        "FULLY_CONNECTED",
        "SOFTMAX",
    }
    result = run_json("evaluate.py", file, CIFAR_LAB_DATA=real_data)
    assert result["images"] == 10_000 and result["accuracy"] >= accuracy
    # another processor's float kernels do not come into it, but LiteRT's own may change
    assert result["accuracy"] == pytest.approx(
        json.loads(inference.card_path(file).read_text())["accuracy"], abs=1e-3
    )
