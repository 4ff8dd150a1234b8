"""An installed copy, away from the checkout: its own names alone, rungs found, results shown."""

import os
import subprocess
import sys

import pytest

from cifar_lab import ladder

pytest.importorskip("setuptools", minversion="69")


def python(installed, cwd, *args):
    env = {k: v for k, v in os.environ.items() if k != "CIFAR_LAB_DATA"} | {
        "PYTHONPATH": str(installed)
    }
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True)


def cifar_lab(installed, cwd, *args):
    return python(installed, cwd, "-m", "cifar_lab", *args)


def test_takes_no_top_level_name_but_its_own(installed):
    names = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")} - {
        "bin",
        "__pycache__",
    }
    assert names == {"cifar_lab"}
    assert (installed / "cifar_lab" / "models" / "cifar10_cnn.py").is_file()
    for name in ("page.html", "style.css", "page.js", "engine.js"):
        assert (installed / "cifar_lab" / "exporting" / "page" / name).is_file()


def test_rungs_and_results_are_found_from_any_folder(installed, tmp_path):
    assert cifar_lab(installed, tmp_path, "train", "--list").stdout.count("(n = ") == len(
        ladder.LADDER
    )


def test_an_installed_copy_loads_its_networks_and_trains_into_the_working_folder(
    installed, tmp_path
):
    """In one process, which imports TensorFlow once."""
    code = (
        "import sys; from cifar_lab import bundles, cli; f = bundles.find('cifar10-74'); print(f); "
        "m, c = bundles.load(f); assert m.count_params() == 1639914; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = ["train", "mnist-softmax", "--data", "synthetic", "--limit", "100", "--epochs", "1"]
    done = python(installed, tmp_path, "-c", code, *words)
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout.splitlines()[0]
    assert (tmp_path / "runs" / "mnist-softmax-synthetic-epochs1-limit100" / "card.json").is_file()
    assert "cifar-lab evaluate runs/mnist-softmax-synthetic-epochs1-limit100" in done.stdout


def test_an_installed_copy_exports_into_the_working_folder(installed, tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "cifar10-88.int8.tflite").write_bytes(b"mine")
    done = cifar_lab(installed, tmp_path, "export", "cifar10-88", "--format", "litert-int8")
    assert (
        done.returncode == 2
        and f"{tmp_path / 'cifar10-88.int8.tflite'}: is there already" in done.stderr
    )
    assert cifar_lab(installed, tmp_path, "export", "--help").stdout.startswith(
        "usage: cifar-lab export "
    )


def test_wrong_command_is_one_line(installed, tmp_path):
    done = cifar_lab(installed, tmp_path, "fly")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "train" in done.stderr
