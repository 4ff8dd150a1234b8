"""Fixtures: small data sets in real layouts, and a network that train.py trained."""

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# before numpy is imported: two workers share two cores, and threads that wait for them spin
for threads in (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(threads, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

import browser as browsers  # noqa: E402
from cifar_lab import bundles  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from support import ROOT, run_here, write_fashion  # noqa: E402


def base_of_the_run(tmp_path_factory):
    """The folder of this run's temporary files, the same in all of its processes."""
    base = tmp_path_factory.getbasetemp()  # a worker's lies in that of the run
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(tmp_path_factory, name, make):
    """A folder that `make(folder)` fills, in one process for all: no test may write into it."""
    folder = base_of_the_run(tmp_path_factory) / name
    finished = folder.with_name(f"{name}-finished")
    while not finished.exists():
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(bundles.locked(folder))
            except InputError:  # another process makes it
                time.sleep(0.1)
                continue
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                finished.touch()
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_user_cache(tmp_path_factory):
    """Pictures that tests read are kept in a folder of theirs, in commands too."""
    folder = base_of_the_run(tmp_path_factory) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["CIFAR_LAB_CACHE"] = str(folder)


@pytest.fixture
def fashion(tmp_path):
    """--data-dir of a small Fashion-MNIST: 200 train and 70 test images."""
    return write_fashion(tmp_path / "data" / "fashion-mnist").parent


@pytest.fixture(scope="session")
def fashion_bundle(tmp_path_factory):
    """(folder, data dir) of a network that train.py trained."""

    def make(root):
        write_fashion(root / "data" / "fashion-mnist")
        args = ("--data-dir", root / "data", "--epochs", 4, "--output", root / "out")
        done = run_here("train.py", "fashion-mnist-92", *args)
        assert done.returncode == 0, done.stderr

    root = made_once(tmp_path_factory, "bundle", make)
    return root / "out", root / "data"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder that holds the wheel's contents, as pip lays them into site-packages."""

    def make(root):
        left_out = (".*", "build", "docs", "runs", "*.egg-info", "__pycache__")
        source = root / "source"  # setuptools writes into it
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*left_out))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--no-build-isolation", "--target", str(root / "site"), str(source)]
        done = subprocess.run(pip, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "wheel", make) / "site"


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


@pytest.fixture
def photos(tmp_path):
    """A folder of images, three classes told by their colour, of many sizes, modes, formats."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(3)
    formats = [
        ("png", "RGB"),
        ("jpg", "RGB"),
        ("png", "RGBA"),
        ("png", "P"),
        ("webp", "RGB"),
        ("gif", "P"),
    ]
    for label, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
        (folder / "rgb"[label]).mkdir(parents=True)
        for i in range(12):
            size = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
            ending, mode = formats[i % len(formats)]
            noise = rng.integers(-25, 25, (size[1], size[0], 3)) + np.array(color)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert(mode).save(
                folder / "rgb"[label] / f"{i}.{ending}"
            )
    return folder


@pytest.fixture(scope="session")
def real_data():
    """CIFAR_LAB_DATA, the folder with the real data sets."""
    folder = os.environ.get("CIFAR_LAB_DATA")
    if not folder:
        pytest.skip("CIFAR_LAB_DATA is not set: it names the folder with real data")
    return Path(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium (tests/browser.py); skips where it is not installed."""
    started = browsers.start(tmp_path_factory.mktemp("browser"))
    yield started
    started.driver.quit()


def pytest_collection_finish(session):
    """What was imported stays: collecting garbage need not go through it again."""
    gc.collect()
    gc.freeze()


# Files whose fixtures train or export for seconds: each in one process, which then has them once
TOGETHER = dict.fromkeys(
    (
        *("calibration", "explaining", "export", "faults", "packaging", "predict", "public"),
        *("robustness", "states", "transfer", "weights"),
    ),
    "",
)
# Files of one group in one process: of pages, which then starts the one browser
TOGETHER |= dict.fromkeys(("browser", "comparison", "report_page", "search_report", "web"), "pages")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """All tests of lessons in one process: they share what the lessons found (support.outcome_of).
    Those of TOGETHER in one a file, or a group. The others go where there is room, one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class OneProcessForSome(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith("tests/test_lessons"):
                return "lessons"
            file = nodeid.partition("::")[0]
            group = TOGETHER.get(Path(file).stem.removeprefix("test_"))
            return nodeid if group is None else group or file

    return OneProcessForSome(config, log)
