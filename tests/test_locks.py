"""The lock of a folder: one process at a time, under any hammering; files beside a bundle follow no
link of a stranger's."""

import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cifar_lab import bundles
from cifar_lab.errors import InputError
from cifar_lab.searching import table
from support import assert_refused, command_env, run_here

PROCESSES = 6
HAMMER = """
import os, sys, time
from cifar_lab import bundles
from cifar_lab.errors import InputError
folder, end = sys.argv[1], time.time() + float(sys.argv[2])
entries = shared = refused = 0
while time.time() < end:
    try:
        with bundles.locked(folder):
            entries += 1
            try:  # who finds it there is not alone
                os.close(os.open(folder + ".inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                shared += 1
            else:
                os.unlink(folder + ".inside")
    except InputError:
        refused += 1
print(entries, shared, refused)
"""


def hammered(folder, seconds):
    """(entries, shared ones, refusals) of several processes together."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(folder), str(seconds)],
            env=command_env(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    told = [[int(n) for n in child.communicate(timeout=120)[0].split()] for child in children]
    return [sum(column) for column in zip(*told, strict=True)]


@pytest.mark.parametrize("seconds", [0.5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_lock_is_held_by_one_process_at_a_time(seconds, tmp_path):
    entries, shared, refused = hammered(tmp_path / "out", seconds)
    print(
        f"{PROCESSES} processes, {seconds} s: {entries} entries, {shared} shared, {refused} refused"
    )
    assert entries > 50 and refused > 0
    assert shared == 0
    assert list(tmp_path.iterdir()) == []


def _hold(folder, entered, leave):
    with bundles.locked(folder):
        entered.set()
        leave.wait(60)


def test_a_lock_ends_with_its_process(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    entered, leave = spawn.Event(), spawn.Event()
    child = spawn.Process(target=_hold, args=(tmp_path / "out", entered, leave))
    child.start()
    assert entered.wait(60)
    with pytest.raises(InputError, match="another process is writing there"):
        with bundles.locked(tmp_path / "out"):
            pass
    child.kill()
    child.join()
    with bundles.locked(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


class _Windows:
    """Stands in for the module msvcrt."""

    LK_NBLCK = 2
    locked: set = set()

    def locking(self, file, mode, count):
        key = os.fstat(file).st_ino
        if key in self.locked:
            raise PermissionError(13, "locked")
        self.locked.add(key)


def test_without_fcntl_windows_own_lock_is_taken(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", _Windows())
    with bundles.locked(tmp_path / "out"):
        with pytest.raises(InputError, match="another process"), bundles.locked(tmp_path / "out"):
            pass


# --- links ---


def planted(folder, name):
    """A link of a stranger's under a name of ours, to a file that must not change."""
    other = folder / "strangers.txt"
    other.write_text("a stranger's")
    (folder / name).symlink_to(other)
    return other


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    other = planted(tmp_path, ".b.lock")
    with pytest.raises(InputError, match="is a symbolic link"), bundles.locked(tmp_path / "b"):
        pass
    assert other.read_text() == "a stranger's"


@pytest.mark.parametrize("name", [".b.state.npz", ".b.state.npz.tmp"])
def test_a_link_in_the_place_of_a_file_is_replaced(name, tmp_path):
    other = planted(tmp_path, name)
    bundles.write_file(bundles.state_path(tmp_path / "b"), lambda file: file.write(b"new"))
    assert other.read_text() == "a stranger's"
    assert bundles.state_path(tmp_path / "b").read_bytes() == b"new"
    assert not (tmp_path / ".b.state.npz.tmp").exists()


@pytest.mark.parametrize("name", [".b.partial", ".b.previous"])
def test_a_link_in_the_place_of_a_folder_is_replaced(name, tmp_path):
    other = tmp_path / "strangers"
    other.mkdir()
    (other / "file.txt").write_text("a stranger's")
    (tmp_path / "b").mkdir()
    (tmp_path / name).symlink_to(other)
    with bundles.locked(tmp_path / "b"):
        bundles.write(tmp_path / "b", lambda folder: (folder / "card.json").write_text("new"))
    assert (other / "file.txt").read_text() == "a stranger's"
    assert (tmp_path / "b" / "card.json").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "strangers"]


def test_a_log_is_no_link(tmp_path):
    other = planted(tmp_path, "log.txt")
    with pytest.raises(OSError):
        bundles.append_to(tmp_path / "log.txt")
    assert other.read_text() == "a stranger's"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path):
    folder = tmp_path / "trials" / "trial_0"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "log.txt")
    with pytest.raises(OSError):
        bundles.append_to(folder / "log.txt")
    assert table.last_epoch_of(tmp_path, SimpleNamespace(trial_id="0")) == ""


@pytest.mark.parametrize("name", ["trials", "trials/trial_000003"])
def test_a_search_follows_no_link_to_trials(name, tmp_path):
    """A trial begins with the removal of what an earlier one left there."""
    (tmp_path / "search" / name).parent.mkdir(parents=True)
    other = planted(tmp_path / "search", name)
    (tmp_path / "search" / "search.json").write_text("{}")
    args = ("tune.py", "mnist-logistic", "--data", "synthetic", "--output", tmp_path / "search")
    assert_refused(run_here(*args), f"{name}: is a symbolic link")
    assert other.read_text() == "a stranger's"


@pytest.mark.parametrize("script", ["evaluate.py", "predict.py"])
def test_a_forward_only_command_writes_nothing(script, tmp_path):
    """Also where a kill left the earlier bundle aside, and a link lies in the place of the lock."""
    (tmp_path / ".b.previous").mkdir()
    other = planted(tmp_path, ".b.lock")
    before = {p.name: os.lstat(p).st_mtime_ns for p in tmp_path.rglob("*")}
    done = run_here(script, tmp_path / "b", *(["x.png"] if script == "predict.py" else []))
    assert done.returncode == 2 and "card.json" in done.stderr, done.stderr
    assert {p.name: os.lstat(p).st_mtime_ns for p in tmp_path.rglob("*")} == before
    assert other.read_text() == "a stranger's"


def test_an_earlier_bundle_that_a_kill_left_aside_is_read_there_and_put_back_to_be_written(
    tmp_path,
):
    (tmp_path / ".b.previous").mkdir()
    assert bundles.find(tmp_path / "b") == tmp_path / ".b.previous"
    assert bundles.find(tmp_path / "b", writes=True) == tmp_path / "b"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_a_killed_export_left_goes(tmp_path):
    for name in (".m.npz.partial", ".m.npz.abc123.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.npz").write_bytes(bytes(10))
    (tmp_path / ".other.npz.partial").mkdir()
    with bundles.locked(tmp_path / "m.npz"), bundles.scratch(tmp_path / "m.npz") as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_bytes(b"x")
    assert [p.name for p in tmp_path.iterdir()] == [".other.npz.partial"]
