"""What a failing machine does to a search: trials that it failed are tried again, a search that it
fails ends with a line, and no library's traceback stands beside it."""

import errno
import json
import os

import pytest

from cifar_lab import bundles, errors
from cifar_lab.errors import InputError
from cifar_lab.searching import process, trial
from support import run_here, write_fashion

pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Runs tune.py in this process; a trial's process is a function of its folder, which may write
    a result, or end in words."""
    write_fashion(tmp_path / "data" / "fashion-mnist", train=60, test=20)

    def go(child, *more):
        monkeypatch.setattr(process, "_run_child", lambda folder, stopped: child(folder))
        return run_here(
            "tune.py",
            *("fashion-mnist-92", "--data-dir", tmp_path / "data", "--trial-epochs", 1),
            *("--range", "learning_rate=1e-4:1e-1:log", "--max-trials", 4),
            *("--output", tmp_path / "search", *more),
        )

    return go


def completes(folder):
    names = ("val_accuracy", "val_loss", "accuracy", "loss")
    known = {"epochs": 1, "seconds": 1.0, **dict.fromkeys(names, 0.5)}
    (folder / "log.txt").touch()
    bundles.write_json(folder / "result.json", {"status": "completed", **known})  # as a trial does
    return "with exit code 0"


def fails(why, machines):
    def child(folder):
        (folder / "log.txt").touch()
        (folder / "result.json").write_text(json.dumps(trial.failed(why, machines)))
        return "with exit code 0"

    return child


def killed(folder):
    (folder / "log.txt").write_text("compiling\n")
    return "by signal 9"


def statuses(tmp_path):
    rows = (tmp_path / "search" / "trials.csv").read_text().splitlines()[1:]
    return [row.split(",")[1] for row in rows]


@pytest.mark.parametrize("child", [killed, fails("No space left on device", machines=True)])
def test_a_search_that_the_machine_fails_ends_and_goes_on(child, tune, tmp_path):
    done = tune(child)
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "3 trials in a row failed for want of disk, memory or a living process" in line
    assert ("by signal 9" if child is killed else "No space left") in line
    assert "the same command tries again" in line
    assert statuses(tmp_path) == ["failed"] * 3
    told = [line for line in done.stderr.splitlines() if line.startswith("trial ")]
    assert len(told) == 3
    assert all("(it is tried again when the command runs again)" in line for line in told)
    done = tune(completes)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == ["completed"] * 4


def test_a_trial_that_the_machine_failed_is_tried_again_and_the_others_are_not(tune, tmp_path):
    seen = []

    def child(folder):
        seen.append(folder.name)
        return killed(folder) if len(seen) == 2 else completes(folder)

    done = tune(child)
    assert done.returncode == 0 and len(seen) == 4
    assert statuses(tmp_path) == ["completed", "failed", "completed", "completed"]
    done = tune(child)
    assert done.returncode == 0, done.stderr
    assert seen[4:] == [seen[1]]
    assert statuses(tmp_path) == ["completed"] * 4


def test_a_search_whose_trials_all_fail_ends_with_advice(tune, tmp_path):
    done = tune(fails("training diverged", machines=False))
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "every trial failed (4), the last because: training diverged" in line
    assert "--overwrite starts over" in line and "search.png" not in line
    assert "tried again" not in done.stderr
    again = tune(completes)  # they stay failed: the same would come of them
    assert again.returncode == 2 and statuses(tmp_path) == ["failed"] * 4


def test_no_file_is_named_that_is_not_there(tune, tmp_path, monkeypatch):
    from cifar_lab.report import figures

    monkeypatch.setattr(figures, "attempt", lambda *args, **kwargs: False)
    done = tune(completes)
    assert done.returncode == 0, done.stderr
    assert "trials.csv, search.json\n" in done.stdout


def test_a_disk_that_is_full_for_the_search_itself(tune, tmp_path, monkeypatch):
    """No trial is blamed for what the search cannot write."""
    real, count = bundles.write_json, []

    def full(path, value):
        count.append(path)
        if "request.json" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, value)

    monkeypatch.setattr(bundles, "write_json", full)
    done = tune(completes)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "request.json: No space left on device" in done.stderr.strip().splitlines()[-1]
    assert statuses(tmp_path) == ["unfinished"]
    monkeypatch.setattr(bundles, "write_json", real)
    assert tune(completes).returncode == 0
    assert statuses(tmp_path) == ["completed"] * 4


@pytest.mark.parametrize(
    "error, machines",
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (MemoryError(), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes"), True),
        (RuntimeError("CUDA out of memory"), True),
        (InputError("training diverged"), False),
    ],
)
def test_whose_fault_an_error_is(error, machines):
    assert errors.is_machines(error) is machines
    try:
        try:
            raise error
        except Exception as inner:
            raise InputError(f"{inner}: cannot be written") from None
    except InputError as outer:
        assert errors.is_machines(outer) is machines


@pytest.mark.parametrize(
    "error, machines", [(OSError(errno.ENOSPC, "full"), True), (ValueError("x"), False)]
)
def test_a_trial_says_whose_fault_it_was(error, machines, tmp_path, monkeypatch):
    (tmp_path / "request.json").write_text("{}")
    monkeypatch.setattr(trial, "end_with_parent", lambda parent: None)
    monkeypatch.setattr(trial.backend, "start", lambda: None)
    monkeypatch.setattr(trial, "_train", lambda *_: (_ for _ in ()).throw(error))
    assert trial.main(tmp_path, 1) == 0
    told = json.loads((tmp_path / "result.json").read_text())
    assert (told["status"], told["machines"]) == ("failed", machines)
