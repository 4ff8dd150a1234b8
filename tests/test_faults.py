"""A fault at every write of training, search, export and record: afterwards the old is whole or the
new is whole, what went wrong is one line, and the same command goes on.

Without `slow`, a few points of each; with it, all of them, and their number is printed (-s).
"""

import collections
import json
import shutil

import faults
import numpy as np
import pytest
from PIL import Image
from test_failing_machine import completes

from cifar_lab import bundles
from cifar_lab.errors import InputError
from cifar_lab.inference import Classifier
from cifar_lab.report import results
from support import ROOT, run_here

NETWORK = """
def tiny(input_shape, num_classes):
    import keras
    from keras import layers

    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 255)(layers.AveragePooling2D(8)(inputs))
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))
"""


class Work:
    """A command that writes into a folder.

    before: fills an empty folder with what is there before.   run: the command, a CompletedProcess.
    state: "old" or "new", or "between" where two files do not belong together and that is refused;
    AssertionError for anything else.   leaves: names that may be in the folder afterwards.
    """

    def __init__(self, before, run, state, leaves):
        self.before, self.run, self.state, self.leaves = before, run, state, leaves


def attempted(work, folder, kind, at):
    """The outcome of a command whose write number `at` fails: what is there then, and the code."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    work.before(folder)
    code = "killed"
    with faults.failing(faults.Disk(folder, at, kind)) as disk:
        try:
            done = work.run(folder)
        except faults.Killed:
            pass
        else:
            code = done.returncode
            where = (kind, disk.seen[at])
            assert code in (0, 2), (where, code, done.stderr)
            assert "Traceback" not in done.stderr, (where, done.stderr)
            errors = [line for line in done.stderr.splitlines() if ": error: " in line]
            assert len(errors) == (code == 2), (where, done.stderr)
    found = work.state(folder)
    assert code != 0 or found == "new", (kind, disk.seen[at], found)
    assert found != "between" or kind == "kill", (kind, disk.seen[at])
    again = work.run(folder)  # the same command goes on
    assert again.returncode == 0, (kind, disk.seen[at], again.stderr)
    assert work.state(folder) == "new", (kind, disk.seen[at])
    left = {p.name for p in folder.iterdir()} - work.leaves
    assert not left, (kind, disk.seen[at], left)
    return found, code


def writes(work, folder, kind):
    """What a disk counts of a command that nothing happens to."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    work.before(folder)
    with faults.failing(faults.Disk(folder, None, kind)) as disk:
        done = work.run(folder)
    assert done.returncode == 0, done.stderr
    return disk.seen


def campaign(name, work, folder, every):
    """All points, or so many, of each kind of fault: counts of their outcomes."""
    outcomes, calls = collections.Counter(), collections.Counter()
    known = {}
    for number, kind in enumerate(faults.KINDS):
        if (kind == "kill") not in known:  # the other kinds count the same writes
            known[kind == "kill"] = writes(work, folder, kind)
        seen = known[kind == "kill"]
        chosen = range(len(seen))
        if every is not None:  # spread, and others of each kind
            step = len(seen) / every
            chosen = sorted({int(step * (i + (number + 1) / 4)) for i in range(every)})
        for at in chosen:
            calls[seen[at][0]] += 1
            outcomes[kind, *attempted(work, folder, kind, at)] += 1
    print(f"\n{name}: {sum(calls.values())} faults at {dict(calls)}")
    for (kind, found, code), count in sorted(outcomes.items(), key=str):
        print(f"  {kind:<7} exit {code!s:<7} {found:<8} {count}")
    return outcomes


FEW = pytest.mark.parametrize("every", [1, pytest.param(None, marks=pytest.mark.slow)])
MORE = pytest.mark.parametrize("every", [2, pytest.param(None, marks=pytest.mark.slow)])


# --- training ---


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A training that replaces an older bundle, which it may go on with."""
    root = tmp_path_factory.mktemp("training")
    (root / "nets.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    for label in "ab":
        (root / "photos" / label).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{i}.png")

    def train(folder, seed=1):
        return run_here(
            "train.py",
            *(f"{root / 'nets.py'}:tiny", "--data", root / "photos", "--epochs", 2),
            *("--seed", seed, "--set", "batch_size=16", "--output", folder / "out"),
            *("--overwrite", "--resume"),
        )

    known = {}
    for name, seed in (("old", 0), ("new", 1)):
        (root / name).mkdir()
        assert train(root / name, seed).returncode == 0
        known[name] = bundles.load(root / name / "out")[0].get_weights()

    def state(folder):
        model, _ = bundles.load(bundles.find(folder / "out"))
        for name, weights in known.items():
            if all(map(np.array_equal, model.get_weights(), weights)):
                return name
        raise AssertionError("neither the old weights nor the new ones")

    def before(folder):
        shutil.copytree(root / "old" / "out", folder / "out")

    return Work(before, train, state, {"out"})


@FEW
def test_training(training, every, tmp_path):
    campaign("training", training, tmp_path / "place", every)


# --- search ---


@pytest.fixture
def search(tmp_path_factory, monkeypatch, fashion):
    """A search of two trials, whose processes are functions, from the start."""
    pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
    from cifar_lab.searching import process

    monkeypatch.setattr(process, "_run_child", lambda folder, stopped: completes(folder))

    def run(folder):
        return run_here(
            "tune.py",
            *("fashion-mnist-92", "--data-dir", fashion, "--trial-epochs", 1),
            *("--range", "learning_rate=1e-4:1e-1:log", "--max-trials", 2),
            *("--output", folder / "search"),
        )

    def state(folder):
        place = folder / "search"
        known = {}
        for path in place.rglob("*.json"):
            known[path.name] = json.loads(path.read_text())
        rows = (place / "trials.csv").read_text().splitlines() if "trials.csv" in known else []
        assert all(row.count(",") == rows[0].count(",") for row in rows)
        return "new" if known.get("search.json", {}).get("completed") == 2 else "old"

    return Work(lambda folder: None, run, state, {"search"})


@MORE
def test_search(search, every, tmp_path):
    campaign("search", search, tmp_path / "place", every)


# --- export ---


@pytest.fixture(scope="module", params=["numpy", "web"])
def export(request, training, tmp_path_factory):
    """An export that replaces that of an older bundle."""
    root = tmp_path_factory.mktemp("export")
    ending = {"numpy": ".npz", "web": ".html"}[request.param]
    made = {}
    training.before(root)
    shutil.move(root / "out", root / "old")
    training.run(root)
    shutil.move(root / "out", root / "new")

    def write(folder, name="new"):
        file = folder / f"model{ending}"
        words = (root / name, "--format", request.param, "--output", file, "--overwrite")
        return run_here("export.py", *words)

    for name in ("old", "new"):
        (root / f"of-{name}").mkdir()
        done = write(root / f"of-{name}", name)
        assert done.returncode == 0, done.stderr
        made[bundles.file_sha256(root / f"of-{name}" / f"model{ending}")] = name

    def state(folder):
        file = folder / f"model{ending}"
        try:
            Classifier(file)
        except InputError as error:
            assert "is not its card's" in str(error) or "card" in str(error)
            return "between"
        return made.get(bundles.file_sha256(file)) or "new"

    def before(folder):
        for path in (root / "of-old").iterdir():
            shutil.copy(path, folder / path.name)

    return Work(before, write, state, {f"model{ending}", f"model{ending}.card.json"})


@FEW
def test_export(export, every, tmp_path):
    campaign("export", export, tmp_path / "place", every)


# --- record ---


@pytest.fixture
def record(tmp_path):
    """A run that is added to the results of its rung."""
    rung = "fashion-mnist-92"
    if not (ROOT / "saved_models" / rung).is_dir():
        pytest.skip(f"no bundle of {rung}")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    card = json.loads((ROOT / "saved_models" / rung / "card.json").read_text())
    shutil.copy(ROOT / "saved_models" / rung / "history.csv", bundle)

    class Done:
        def __init__(self, code, stderr=""):
            self.returncode, self.stderr = code, stderr

    def run(folder):
        (folder / "results").mkdir(exist_ok=True)
        try:
            results.record(folder / "bundle", folder / "results", alone=True)
        except OSError as error:  # which a command turns into its line
            return Done(2, f"record: error: {error}")
        return Done(0)

    def rows(folder):
        return [
            row["seed"] for row in json.loads((folder / "results" / f"{rung}.json").read_text())
        ]

    def before(folder):
        (folder / "results").mkdir()
        shutil.copytree(bundle, folder / "bundle")
        for seed in (7, 8):
            (folder / "bundle" / "card.json").write_text(json.dumps({**card, "seed": seed}))
            if seed == 7:
                assert run(folder).returncode == 0

    def state(folder):
        bundles.read_card(folder / "bundle")
        return {(7,): "old", (7, 8): "new"}[tuple(rows(folder))]

    return Work(before, run, state, {"bundle", "results"})


@pytest.mark.parametrize("every", [None])
def test_record(record, every, tmp_path):
    outcomes = campaign("record", record, tmp_path / "place", every)
    assert sum(outcomes.values()) > 20
