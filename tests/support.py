"""Helpers of the tests: the real commands in their own processes, small files to feed them."""

import contextlib
import functools
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from cifar_lab import cli, lessons
from cifar_lab.ladder import LADDER
from cifar_lab.models.inception import GOOGLENET

ROOT = Path(__file__).resolve().parent.parent

# {builder: options} of networks of the same kinds of layers, which take a fraction of the time to
# build and to compile
FEW = {
    "edge": {"stem": 16, "widths": (16, 32), "blocks": (1, 2)},
    "inception": {"width": 0.25, "modules": [stage[:1] for stage in GOOGLENET[:2]]},
    "resnet": {"blocks": 1, "widths": (8, 16, 32)},
    "nin": {"widths": ((48, 32, 24), (48, 48, 48), (48, 48))},
    "alexnet": {"widths": (16, 16, 24, 24, 16), "hidden": (64,)},
    "airbench": {"widths": (16, 32)},
    "vgg": {"filters": (16, 32), "dropout": 0.0},
    "cifar10_cnn": {"filters": (8, 8, 8), "hidden_units": 64},
}
# Fields, and flags, of the network of cifar10-74 with a hundredth of its weights
FIELDS_74 = {"builder_options": {"filters": [4, 4, 8], "hidden_units": 16}, "start": ""}
SMALL_74 = [word for k, v in FIELDS_74.items() for word in ("--set", f"{k}={json.dumps(v)}")]

# Rungs whose network is that of cifar10-resnet20 with more blocks or without its sums, and the
# longest of all, whose kinds of layers are all in others
DEEP = (
    "cifar10-plain20",
    "cifar10-plain56",
    "cifar10-resnet32",
    "cifar10-resnet56",
    "cifar10-googlenet",
)

# XLA_FLAGS of commands on JAX: they compile in half the time
COMPILED_QUICKLY = "--xla_backend_optimization_level=0"

# Python code: from here on TensorFlow is not installed
WITHOUT_TENSORFLOW = """
import sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInstalled())
"""


def command_env(**changes):
    env = {k: v for k, v in os.environ.items() if k not in ("CIFAR_LAB_DATA", "KERAS_BACKEND")}
    return {**env, **{k: str(v) for k, v in changes.items()}}


def run(script, *args, cwd=ROOT, timeout=400, **env):
    """Run train.py or evaluate.py as a user would; CompletedProcess with text."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, args)],
        cwd=cwd,
        timeout=timeout,
        env=command_env(**env),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def run_here(script, *args, cwd=None):
    """As run, in this process, which has imported Keras already: seconds less. For what does not
    hang on a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        if cwd is not None:
            patch.chdir(cwd)
        patch.delenv("CIFAR_LAB_DATA", raising=False)
        patch.setattr(sys, "argv", [str(ROOT / script), *map(str, args)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = getattr(cli, Path(script).stem)()
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def run_json(script, *args, here=False, **kwargs):
    """As run, or run_here, with --json: the one object that stdout must be."""
    done = run_here(script, *args, "--json") if here else run(script, *args, "--json", **kwargs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return json.loads(done.stdout)


def all_but_the_deep(rungs):
    """For parametrize: what is the same for networks of more of the same layers is slow."""
    return [pytest.param(rung, marks=pytest.mark.slow) if rung in DEEP else rung for rung in rungs]


def one_of_each_builder(rungs):
    """For parametrize: what is the same for networks of one builder is slow, but for its first."""
    first = {LADDER[rung].recipe.builder: rung for rung in reversed(list(rungs))}.values()
    return [r if r in first else pytest.param(r, marks=pytest.mark.slow) for r in rungs]


def write_idx(path, array):
    header = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


def write_fashion(folder, train=200, test=70, ending=".gz"):
    """A small Fashion-MNIST that can be learnt: class c has a bright bar at rows 2c to 2c + 3."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for split, size in (("train", train), ("t10k", test)):
        labels = np.arange(size) % 10
        images = rng.integers(0, 60, (size, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] += 180
        write_idx(folder / f"{split}-images-idx3-ubyte{ending}", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte{ending}", labels)
    return folder


def assert_refused(done, *words, output=None):
    """Exit code 2, one line on stderr with the words, nothing on stdout or left behind."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    errors = [line for line in lines if ": error: " in line]
    assert len(errors) == 1 and lines[-1] == errors[0], done.stderr
    for word in words:
        assert word in errors[0], errors[0]
    assert done.stdout == ""
    if output is not None:
        assert not output.exists()
        assert not [p for p in output.parent.glob(f".{output.name}.*")]


def replace_file(path, data):
    path.unlink()
    path.write_bytes(data)


def bomb_header(width=60_000, height=60_000):
    """A PNG of a few bytes that says it is 60,000 x 60,000."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


def copy_checkout(folder, *scripts):
    """The package, its builders and these root scripts, in a folder of their own."""
    for name in ("cifar_lab", "models", "setup.cfg", *scripts):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def mapped(checkout, folder):
    """A folder for PYTHONPATH that maps models/ of a copied checkout as installing it does."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"""
import importlib.util, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "cifar_lab.models":
            places = [{str(checkout / "models")!r}]
            return importlib.util.spec_from_file_location(
                name, places[0] + "/__init__.py", submodule_search_locations=places
            )
sys.meta_path.insert(0, Finder())
""")
    return folder


@functools.cache
def outcome_of(name, data_dir=None):
    """What a lesson finds on the embedded data, or on those of a folder; each is run once a
    process, and one process runs all tests of lessons (see conftest)."""
    return lessons.get(name).run(lessons.Sources(data_dir))
