"""Small data sets in real layouts, and the real commands in processes of their own."""
import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NOT_REACHED = set()  # rungs that are below their promise
NOT_COMMITTED = {"cifar10-96"}  # rungs that were measured, and whose weights are too large to commit
ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

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
    return subprocess.run([sys.executable, str(ROOT / script), *map(str, args)], cwd=cwd, timeout=timeout,
                          env=command_env(**env), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def run_json(script, *args, **kwargs):
    """As run, with --json: the one object that stdout must be."""
    done = run(script, *args, "--json", **kwargs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return json.loads(done.stdout)


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
        for image, label in zip(images, labels):
            image[2 * label:2 * label + 4] += 180
        write_idx(folder / f"{split}-images-idx3-ubyte{ending}", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte{ending}", labels)
    return folder


@pytest.fixture
def fashion(tmp_path):
    """--data-dir of a small Fashion-MNIST: 200 train and 70 test images."""
    return write_fashion(tmp_path / "data" / "fashion-mnist").parent


@pytest.fixture(scope="session")
def fashion_bundle(tmp_path_factory):
    """(folder, data dir) of a network trained by the real command."""
    root = tmp_path_factory.mktemp("bundle")
    write_fashion(root / "data" / "fashion-mnist")
    done = run("train.py", "fashion-mnist-92", "--data-dir", root / "data", "--epochs", 4, "--output", root / "out")
    assert done.returncode == 0, done.stderr
    return root / "out", root / "data"


@pytest.fixture(scope="session")
def cifar10_batch():
    """Bytes of a whole CIFAR-10 binary batch of noise, every class 1,000 times."""
    records = np.random.default_rng(1).integers(0, 256, (10_000, 3073)).astype(np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    return records


@pytest.fixture
def cifar10(tmp_path, cifar10_batch):
    """cifar-10-batches-bin/ of six files that are one file (links): break one by replacing it."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    first = folder / "data_batch_1.bin"
    first.write_bytes(cifar10_batch.tobytes())
    for name in [f"data_batch_{i}.bin" for i in range(2, 6)] + ["test_batch.bin"]:
        os.link(first, folder / name)
    return folder


def replace_file(path, data):
    path.unlink()
    path.write_bytes(data)


@pytest.fixture
def photos(tmp_path):
    """A folder of images, three classes told by their colour, of different sizes, modes and formats."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(3)
    formats = [("png", "RGB"), ("jpg", "RGB"), ("png", "RGBA"), ("png", "P"), ("webp", "RGB"), ("gif", "P")]
    for label, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
        (folder / "rgb"[label]).mkdir(parents=True)
        for i in range(12):
            size = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
            ending, mode = formats[i % len(formats)]
            noise = rng.integers(-25, 25, (size[1], size[0], 3)) + np.array(color)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert(mode).save(folder / "rgb"[label] / f"{i}.{ending}")
    return folder


@pytest.fixture(scope="session")
def real_data():
    """CIFAR_LAB_DATA, the folder with the real data sets."""
    folder = os.environ.get("CIFAR_LAB_DATA")
    if not folder:
        pytest.skip("CIFAR_LAB_DATA is not set: it names the folder with real data")
    return Path(folder)
