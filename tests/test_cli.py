"""The real commands: their contract; for each wrong request one line and exit code 2."""

import ast
import importlib.machinery
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from cifar_lab import bundles, cli, data, ladder
from support import (
    ROOT,
    SMALL_74,
    assert_refused,
    bomb_header,
    command_env,
    copy_checkout,
    mapped,
    replace_file,
    run,
    run_here,
    run_json,
    write_fashion,
)

# --- the contract ---


def test_help_and_list_answer_within_a_second():
    """And what is wrong with a request, without the seconds that Keras takes to start."""
    evaluate, export = (
        ["evaluate.py", "cifar10-74"],
        ["export.py", "cifar10-74", "--format", "litert"],
    )
    for code, args in (
        (0, ["train.py", "--help"]),
        (0, ["train.py", "--list"]),
        (0, ["evaluate.py", "--help"]),
        (2, ["train.py", "nonsense"]),
        (2, [*evaluate, "--data", "fashion-mnist"]),
        (2, [*evaluate, "--data-dir", "/nowhere"]),
        (2, [*evaluate, "--data", "synthetic:fog=1"]),
        (2, [*evaluate, "--data", "nowhere"]),
        (2, [*export, "--data", "mnist"]),
        (2, [*export, "--data-dir", "/nowhere"]),
    ):
        assert seconds(args, code) < 1.5, args


@pytest.mark.parametrize(
    "missing, args, words",
    [
        (
            "keras_tuner",
            ["tune", "fashion-mnist-92"],
            "keras-tuner: is not installed (pip install -e '.[tune]')",
        ),
        ("grpc", ["tune", "fashion-mnist-92", "--workers", "2"], "grpc: is not installed"),
        (
            "sklearn",
            ["tune", "fashion-mnist-92", "--strategy", "bayesian"],
            "sklearn: is not installed",
        ),
        (
            "ai_edge_litert",
            ["export", "cifar10-74", "--format", "litert"],
            "ai-edge-litert: is not installed (pip install -e '.[edge]')",
        ),
        ("tf2onnx", ["export", "cifar10-74", "--format", "onnx"], "tf2onnx: is not installed"),
    ],
)
def test_what_is_not_installed_is_named_at_once(missing, args, words, monkeypatch, capsys):
    for name in (
        "keras_tuner",
        "grpc",
        "sklearn",
        "scipy",
        "ai_edge_litert",
        "flatbuffers",
        "onnxruntime",
        "tf2onnx",
    ):
        there = types.ModuleType(name)
        there.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, None if name == missing else there)
    assert getattr(cli, args[0])(args[1:]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_flags_are_not_abbreviated(tmp_path):
    done = run("train.py", "fashion-mnist-92", "--outp", tmp_path / "out")
    assert_refused(done, "unrecognized arguments: --outp", output=tmp_path / "out")


def test_keras_starts_without_what_no_command_needs(tmp_path):
    """What it was kept from can be imported afterwards. A backend named in Keras' own settings is
    no error."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(
        '{"backend": "jax", "floatx": "float32", "image_data_format": "channels_last"}'
    )
    code = (
        "import sys; from cifar_lab import backend; backend.start(); import keras\n"
        "assert keras.backend.backend() == 'tensorflow'\n"
        "assert not {'jax', 'sklearn', 'matplotlib'} & set(sys.modules), 'imported'\n"
        "import matplotlib.pyplot; assert backend.device()[1]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=command_env(HOME=tmp_path, KERAS_HOME=tmp_path / ".keras"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def seconds(args, code):
    """Processor time of a command, user and system: the wall clock says what else runs here."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*args).returncode == code, args
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_list_shows_every_rung():
    rows = run_json("train.py", "--list")["ladder"]
    assert [r["rung"] for r in rows] == list(ladder.LADDER)
    assert [r["promise"] for r in rows] == [rung.promise for rung in ladder.LADDER.values()]
    assert {r["rung"] for r in rows if not r["reached"]} == {
        name for name, rung in ladder.LADDER.items() if not rung.reached
    }
    lines = run("train.py", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*ladder.LADDER, "*"]
    (line,) = (line for line in lines if line.startswith("cifar10-74 "))
    assert "promises 74 %" in line and "measured 74." in line


def test_show_prints_recipe_and_layers_and_trains_nothing(photos):
    shown = run_json("train.py", "cifar10-74", "--show", "--epochs", 3, here=True)
    assert shown["parameters"] == 1_639_914 and shown["recipe"]["epochs"] == 3
    assert {
        "layer": "conv1",
        "kind": "Conv2D",
        "output_shape": [30, 30, 32],
        "parameters": 896,
    } in shown["layers"]
    assert run_json("train.py", "cifar10-74", "--show", "--data", photos, here=True)["layers"][-1][
        "output_shape"
    ] == [3]
    assert "conv1" in run_here("train.py", "cifar10-74", "--show").stdout


def test_train_and_evaluate_json(fashion, tmp_path):
    out = tmp_path / "out"
    args = (
        "fashion-mnist-92",
        "--data-dir",
        fashion,
        "--epochs",
        4,
        "--limit",
        150,
        "--output",
        out,
    )
    result = run_json("train.py", *args, here=True)
    assert result["bundle"] == str(out)
    assert {"seconds", "compile_seconds", "val_accuracy", "test_accuracy"} <= set(result)
    card = json.loads((out / "card.json").read_text())
    assert card["test_accuracy"] == result["test_accuracy"] and card["data"]["limit"] == 150
    assert card["data"]["train_images"] == 130 and card["data"]["validation_images"] == 20

    tested = run_json("evaluate.py", out, "--data-dir", fashion, here=True)
    assert tested["rung"] == "fashion-mnist-92" and tested["images"] == 70
    assert tested["accuracy"] == card["test_accuracy"]
    assert tested["loss"] == pytest.approx(card["test_loss"], rel=1e-6)
    assert np.array(tested["confusion"]).sum() == 70 and len(tested["per_class"]) == 10
    assert tested["accuracy"] == pytest.approx(np.trace(tested["confusion"]) / 70)

    # an existing bundle is replaced with --overwrite alone; --resume reports that it is finished
    model = (out / "model.keras").read_bytes()
    assert_refused(run_here("train.py", *args), "holds a trained bundle already", "--overwrite")
    resumed = run_json("train.py", *args, "--resume", here=True)
    assert resumed["finished_before"] and (out / "model.keras").read_bytes() == model
    assert_refused(
        run_here("train.py", *args[:-2], "--seed", 1, "--output", out, "--resume"),
        "seed was 0, is now 1",
    )
    again = run_json("train.py", *args, "--overwrite", here=True)
    assert not again["finished_before"] and again["test_accuracy"] == result["test_accuracy"]


def test_evaluate_prints_a_table_and_views(fashion_bundle):
    done = run_here("evaluate.py", fashion_bundle[0], "--data-dir", fashion_bundle[1], "--views", 2)
    assert done.returncode == 0, done.stderr
    assert (
        "Ankle boot" in done.stdout
        and "accuracy" in done.stdout
        and "averaged over 2 views" in done.stdout
    )


def test_default_output_of_a_departed_run_is_not_the_rungs_place(fashion, tmp_path):
    """In a copy of the checkout: runs/ and never saved_models/RUNG."""
    copy = copy_checkout(tmp_path / "checkout", "train.py")
    env = {k: v for k, v in os.environ.items() if k != "CIFAR_LAB_DATA"}
    env["PYTHONPATH"] = str(mapped(copy, tmp_path / "site"))
    done = subprocess.run(
        [
            sys.executable,
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            str(fashion),
            "--epochs",
            "1",
            "--seed",
            "3",
        ],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (copy / "runs" / "fashion-mnist-92-epochs1-seed3" / "card.json").is_file()
    assert not (copy / "saved_models").exists()


def test_tensorboard_logs(fashion, tmp_path):
    pytest.importorskip("tensorboard")
    done = run_here(
        "train.py",
        "fashion-mnist-92",
        "--data-dir",
        fashion,
        "--epochs",
        2,
        "--output",
        tmp_path / "out",
        "--tensorboard",
        tmp_path / "logs",
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "logs" / "train").glob("events*"))) == 1  # one run, one file


def test_a_folder_of_ones_own(photos, tmp_path):
    """Three classes of photos: trained, tested on the part kept apart, and on another folder."""
    out = tmp_path / "out"
    args = ("--data", photos, "--epochs", 12, "--learning-rate", 0.01, "--output", out, *SMALL_74)
    result = run_json("train.py", "cifar10-74", *args, here=True)
    assert result["test_accuracy"] >= 0.8
    card = json.loads((out / "card.json").read_text())
    assert card["classes"] == ["b", "g", "r"] and "fifth" in card["data"]["note"]
    own = run_json("evaluate.py", out, here=True)
    assert own["images"] == 6 and own["accuracy"] == card["test_accuracy"]
    other = tmp_path / "other"
    shutil.copytree(photos / "r", other / "r")
    tested = run_json("evaluate.py", out, "--data", other, here=True)
    assert tested["images"] == 2  # of 12; the network was trained on the others
    shutil.copytree(photos / "r", other / "purple")
    assert_refused(
        run_here("evaluate.py", out, "--data", other), "'purple' is not a class of the model"
    )
    (photos / "r" / "1.jpg").rename(
        photos / "r" / "0.jpg"
    )  # the fifth that was kept can no longer be told
    (photos / "r" / "2.png").unlink()
    assert_refused(run_here("evaluate.py", out), "has changed since")


def test_the_main_job_on_the_embedded_data(tmp_path):
    """`make run` in small: train, save, test forward only in a second process."""
    out = tmp_path / "first"
    result = run_json(
        "train.py",
        "cifar10-74",
        "--data",
        "synthetic",
        "--limit",
        1000,
        "--epochs",
        2,
        "--output",
        out,
    )
    tested = run_json("evaluate.py", out, here=True)
    assert tested["accuracy"] == result["test_accuracy"] > 0.2
    assert tested["images"] == 2000


@pytest.mark.slow
def test_the_embedded_data_can_be_learnt(tmp_path):
    """`make run` itself: the 74 network passes 85 % in eight epochs."""
    result = run_json(
        "train.py",
        "cifar10-74",
        "--data",
        "synthetic",
        "--epochs",
        8,
        "--output",
        tmp_path / "first",
        here=True,
    )
    assert result["test_accuracy"] > 0.85


# --- wrong requests ---

REQUESTS = {
    "unknown rung": (["train.py", "cifar10-99"], ["cifar10-99", "cifar10-74"]),
    "misspelt rung": (["train.py", "cifar10_tiny_88"], ["'cifar10_tiny_88' (cifar10-tiny-88?)"]),
    "no rung": (["train.py"], ["RUNG"]),
    "unknown flag": (["train.py", "cifar10-74", "--quick"], ["--quick"]),
    "epochs 0": (["train.py", "cifar10-74", "--epochs", "0"], ["--epochs", "at least 1", "'0'"]),
    "epochs word": (["train.py", "cifar10-74", "--epochs", "many"], ["--epochs", "'many'"]),
    "negative seed": (["train.py", "cifar10-74", "--seed", "-1"], ["--seed", "'-1'"]),
    "limit 0": (["train.py", "cifar10-74", "--limit", "0"], ["--limit"]),
    "limit over the set": (
        [
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            "{fashion}",
            "--limit",
            "201",
            "--output",
            "{out}",
        ],
        ["--limit", "200", "201"],
    ),
    "limit under the classes": (
        [
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            "{fashion}",
            "--limit",
            "5",
            "--output",
            "{out}",
        ],
        ["--limit", "20", "5"],
    ),
    "missing data": (
        ["train.py", "cifar10-74", "--data-dir", "{tmp}", "--output", "{out}"],
        ["holds no cifar10", "--data synthetic"],
    ),
    "data dir not there": (
        ["train.py", "cifar10-74", "--data-dir", "{tmp}/none", "--output", "{out}"],
        ["is not a folder"],
    ),
    "unknown data": (
        ["train.py", "cifar10-74", "--data", "imagenet", "--output", "{out}"],
        ["'imagenet'", "synthetic"],
    ),
    "misspelt data": (
        ["train.py", "cifar10-74", "--data", "fashion_mnist", "--output", "{out}"],
        ["'fashion_mnist' (fashion-mnist?)"],
    ),
    "unknown dial": (
        ["train.py", "cifar10-74", "--data", "synthetic:fog=1", "--output", "{out}"],
        ["fog", "occlusion"],
    ),
    "output is a file": (
        [
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            "{fashion}",
            "--epochs",
            "1",
            "--output",
            "{file}",
        ],
        ["is a file"],
    ),
    "output under a file": (
        ["train.py", "fashion-mnist-92", "--data-dir", "{fashion}", "--output", "{file}/x"],
        ["cannot be written"],
    ),
    "output is a folder of other things": (
        [
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            "{fashion}",
            "--output",
            "{fashion}",
            "--overwrite",
        ],
        ["not a bundle's"],
    ),
    "output that cannot be made": (
        ["train.py", "fashion-mnist-92", "--data-dir", "{fashion}", "--output", "/proc/x/y"],
        ["cannot be written"],
    ),
    "departed run to the rung's place": (
        ["train.py", "cifar10-74", "--epochs", "1", "--output", "{root}/saved_models/cifar10-74"],
        ["rung's own place"],
    ),
    "recipe not there": (
        ["train.py", "cifar10-74", "--recipe", "{tmp}/none.json"],
        ["none.json", "cannot be read"],
    ),
    "recipe not JSON": (["train.py", "cifar10-74", "--recipe", "{file}"], ["is not JSON"]),
    "recipe with an unknown field": (
        ["train.py", "cifar10-74", "--recipe", "{badfield}"],
        ["learningrate", "learning_rate"],
    ),
    "recipe with a wrong value": (
        ["train.py", "cifar10-74", "--recipe", "{badvalue}"],
        ["batch_size", "'big'"],
    ),
    "recipe with a wrong option": (
        ["train.py", "cifar10-74", "--show", "--recipe", "{badoption}"],
        ["dropuot"],
    ),
    "tensorboard under a file": (
        [
            "train.py",
            "fashion-mnist-92",
            "--data-dir",
            "{fashion}",
            "--output",
            "{out}",
            "--tensorboard",
            "{file}/x",
        ],
        ["--tensorboard"],
    ),
    "unknown backend": (
        ["train.py", "cifar10-74", "--show"],
        ["KERAS_BACKEND"],
        {"KERAS_BACKEND": "abacus"},
    ),
    "environment names no data": (
        ["train.py", "cifar10-74", "--output", "{out}"],
        ["CIFAR_LAB_DATA"],
        {"CIFAR_LAB_DATA": "/nowhere"},
    ),
    "evaluate nothing": (["evaluate.py"], ["RUNG_OR_BUNDLE"]),
    "evaluate what is not there": (["evaluate.py", "{tmp}/none"], ["neither a rung"]),
    "evaluate a folder without a card": (
        ["evaluate.py", "{fashion}"],
        ["card.json", "cannot be read"],
    ),
    "evaluate a path too long": (["evaluate.py", "x" * 300], ["error"]),
    "evaluate an empty name": (["evaluate.py", ""], ["must be a rung"]),
    "output is a mount point": (
        ["train.py", "cifar10-74", "--data", "synthetic", "--output", "/"],
        ["mount point"],
    ),
    "departed run to another rung's place": (
        ["train.py", "cifar10-74", "--epochs", "1", "--output", "{root}/saved_models/cifar10-79"],
        ["rung's own place"],
    ),
    "views 3": (["evaluate.py", "cifar10-74", "--views", "3"], ["--views"]),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_wrong_request(kind, tmp_path, fashion):
    args, words, *env = REQUESTS[kind]
    (tmp_path / "file").write_text("not json")
    for name, fields in (
        ("badfield", {"learningrate": 1}),
        ("badvalue", {"batch_size": "big"}),
        ("badoption", {"builder_options": {"dropuot": 0.1}}),
    ):
        (tmp_path / name).write_text(json.dumps(fields))
    places = {
        "tmp": tmp_path,
        "out": tmp_path / "out",
        "fashion": fashion,
        "file": tmp_path / "file",
        "root": ROOT,
        **{n: tmp_path / n for n in ("badfield", "badvalue", "badoption")},
    }
    args = [a.format(**places) for a in args]
    before = sorted(p.name for p in tmp_path.iterdir())
    assert_refused(run(*args, **env[0]) if env else run_here(*args), *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["truncated batch", "label 11", "missing batch", "one class only"])
def test_damaged_cifar10(kind, cifar10, cifar10_batch, tmp_path):
    if kind == "truncated batch":
        replace_file(cifar10 / "data_batch_2.bin", cifar10_batch.tobytes()[:-100])
    elif kind == "label 11":
        replace_file(cifar10 / "data_batch_2.bin", b"\x0b" + cifar10_batch.tobytes()[1:])
    elif kind == "missing batch":
        (cifar10 / "data_batch_2.bin").unlink()
    else:
        records = cifar10_batch.copy()
        records[:, 0] = 1
        for file in cifar10.iterdir():
            replace_file(file, records.tobytes())
    words = {
        "truncated batch": "data_batch_2.bin: has 30,729,900 bytes",
        "label 11": "data_batch_2.bin: label 11",
        "missing batch": "data_batch_2.bin: is missing",
        "one class only": "1 of 10 classes",
    }[kind]
    # also under --limit files are checked whole
    done = run_here(
        "train.py",
        "cifar10-74",
        "--data-dir",
        tmp_path,
        "--limit",
        100,
        "--output",
        tmp_path / "out",
    )
    assert_refused(done, words, output=tmp_path / "out")


def test_damaged_idx_through_the_command(tmp_path):
    folder = write_fashion(tmp_path / "fashion-mnist", ending="")
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x01" + bytes(1000))
    done = run_here(
        "train.py", "fashion-mnist-92", "--data-dir", tmp_path, "--output", tmp_path / "out"
    )
    assert_refused(
        done, "wrong magic number 2049", "train-images-idx3-ubyte", output=tmp_path / "out"
    )


@pytest.mark.parametrize(
    "kind",
    [
        "text named png",
        "bomb",
        "empty class",
        "one class",
        "empty folder",
        "zero bytes",
        "train alone",
    ],
)
def test_bad_folder(kind, photos, tmp_path):
    if kind == "text named png":
        (photos / "r" / "0.png").write_text("hello")
        words = ["0.png", "is not an image"]
    elif kind == "bomb":
        (photos / "r" / "0.png").write_bytes(bomb_header())
        words = ["0.png", "decompression bomb"]
    elif kind == "zero bytes":
        (photos / "r" / "0.png").write_bytes(b"")
        words = ["0.png", "is not an image"]
    elif kind == "empty class":
        (photos / "a").mkdir()
        words = ["a: holds no images"]
    elif kind == "one class":
        shutil.rmtree(photos / "r")
        shutil.rmtree(photos / "g")
        words = ["at least two classes, has 1"]
    elif kind == "train alone":
        (tmp_path / "p2").mkdir()
        photos.rename(tmp_path / "p2" / "train")
        photos = tmp_path / "p2"
        words = ["both train/ and test/"]
    else:
        shutil.rmtree(photos)
        photos.mkdir()
        words = ["at least two classes, has 0"]
    done = run_here(
        "train.py", "cifar10-74", "--data", photos, "--epochs", 1, "--output", tmp_path / "out"
    )
    assert_refused(done, *words, output=tmp_path / "out")


@pytest.mark.parametrize(
    "kind",
    [
        "flipped byte",
        "card not JSON",
        "card without checksum",
        "no model",
        "other classes",
        "other data",
        "no data",
    ],
)
def test_bad_bundle(kind, fashion_bundle, photos, tmp_path):
    bundle, more, data_dir = tmp_path / "bundle", [], fashion_bundle[1]
    shutil.copytree(fashion_bundle[0], bundle)
    card = json.loads((bundle / "card.json").read_text())
    if kind == "flipped byte":
        raw = bytearray((bundle / "model.keras").read_bytes())
        raw[1000] ^= 1
        (bundle / "model.keras").write_bytes(raw)
        words = ["model.keras", "checksum"]
    elif kind == "card not JSON":
        (bundle / "card.json").write_text("{")
        words = ["card.json", "is not JSON"]
    elif kind == "card without checksum":
        del card["model_sha256"]
        (bundle / "card.json").write_text(json.dumps(card))
        words = ["lacks model_sha256"]
    elif kind == "no model":
        (bundle / "model.keras").unlink()
        words = ["model.keras", "cannot be read"]
    elif kind == "other classes":
        more, words = ["--data", "synthetic"], ["disc", "T-shirt/top"]
    elif kind == "other data":
        more, words = ["--data", photos], ["is not a class of the model"]
    else:
        data_dir, words = tmp_path, ["holds no fashion-mnist"]
    assert_refused(run_here("evaluate.py", bundle, "--data-dir", data_dir, *more), *words)


def test_no_space_left_is_said_before_training(tmp_path, fashion, monkeypatch):
    """A disk of 5 MB, said by the operating system's answer; nothing is left behind."""
    monkeypatch.setattr(
        bundles.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=5_000_000)
    )
    code = cli.train(
        [
            "fashion-mnist-92",
            "--data-dir",
            str(fashion),
            "--epochs",
            "1",
            "--output",
            str(tmp_path / "out"),
        ]
    )
    assert (
        code == 2
        and not (tmp_path / "out").exists()
        and not bundles.state_path(tmp_path / "out").exists()
    )


def test_images_of_one_pixel_and_of_three_rows_are_read(photos, tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 0)).save(photos / "r" / "one.png")
    Image.new("RGB", (3000, 3), (250, 0, 0)).save(photos / "r" / "wide.png")
    dataset = data.load(str(photos), input_shape=(32, 32, 3))
    assert len(dataset.train_labels) + len(dataset.test_labels) == 36 + 2


def test_a_card_does_not_say_where_the_data_lay():
    argv = ["cifar10-74", "--data-dir", "/home/me/my data", "--output", "runs/a b"]
    assert (
        cli.command_line("train.py", argv)
        == "python train.py cifar10-74 --data-dir DIR --output 'runs/a b'"
    )
    assert (
        cli.command_line("train.py", ["--data-dir=/home/me", "x"])
        == "python train.py --data-dir=DIR x"
    )
    for argv in (["--output", "/home/me/a b"], ["--output=/home/me", "--set=a=/b"]):
        told = cli.command_line("train.py", argv)
        assert "/home" not in told and "OUT" in told
    assert told == "python train.py --output=OUT --set=a=/b"


def test_the_library_names_arguments_and_the_commands_name_flags():
    """No string of the library below cli/ that a user could read holds a flag of these."""
    line = "runs/a: holds one; `overwrite` replaces it, `data_dir` names another, `mine` stays"
    assert cli.common.as_flags(line) == (
        "runs/a: holds one; --overwrite replaces it, --data-dir names another, `mine` stays"
    )
    flags = re.compile(r"--(overwrite|resume|output|data|data-dir|limit|views|chief)\b")
    for path in sorted((ROOT / "cifar_lab").rglob("*.py")):
        if path.parent.name == "cli" or path.name == "search.py":  # which starts commands
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                assert not flags.search(ast.unparse(node)), f"{path}, line {node.lineno}"
