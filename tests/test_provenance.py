"""Which code a run had, and whether it had the machine for itself."""

import os
import subprocess

import pytest

from cifar_lab import provenance

NOWHERE = {"commit": None, "clean": None}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout of one commit: (folder, its hex)."""
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def git(*args):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(folder), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    folder = tmp_path / "checkout"
    for name in ("code.py", "results/a.json", "docs/a.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n")
    try:
        git("init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    git("add", "-A")
    git("commit", "-qm", "one")
    return folder, git("rev-parse", "HEAD")


def test_the_commit_and_whether_the_code_is_that_of_the_commit(repository, monkeypatch):
    folder, commit = repository
    assert provenance.source(folder) == {"commit": commit, "clean": True}
    (folder / "notes.txt").write_text("untracked")
    (folder / "results" / "a.json").write_text("a run was recorded\n")
    (folder / "docs" / "a.md").unlink()
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    assert provenance.source(folder) == {"commit": commit, "clean": True}
    (folder / "code.py").write_text("2\n")
    assert provenance.source(folder) == {"commit": commit, "clean": False}


def test_no_repository_of_ones_own(repository, monkeypatch):
    folder, _ = repository
    assert provenance.source(None) == NOWHERE
    (folder / "copy").mkdir()
    assert provenance.source(folder / "copy") == NOWHERE  # the folder above has one
    (folder / "copy" / ".git").write_text("broken")
    assert provenance.source(folder / "copy") == NOWHERE
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.source(folder) == NOWHERE


class Machine:
    """A made-up machine whose clock goes only when it is told to."""

    def __init__(self, before=0.0, after=0.0):
        self.now, self.busy, self.own, self.pauses = 1000.0, 5000.0, 70.0, [before, after]

    def sleep(self, seconds):
        self.now += seconds
        self.busy += seconds * self.pauses.pop(0)

    def work(self, seconds, own, others):
        self.now += seconds
        self.own += seconds * own
        self.busy += seconds * (own + others)

    def idle(self):
        return provenance.Idle(lambda: (self.busy, self.own), lambda: self.now, self.sleep)


@pytest.mark.parametrize(
    "before, during, after, alone",
    [
        (0.0, 0.0, 0.0, True),
        (0.02, 0.04, 0.03, True),  # a machine's own housekeeping
        (0.0, 0.06, 0.0, False),
        (1.0, 0.0, 0.0, False),
        (0.0, 0.0, 0.3, False),
    ],
)
def test_others_are_what_this_process_did_not_use(before, during, after, alone):
    machine = Machine(before, after)
    idle = machine.idle()
    machine.work(600, own=1.9, others=during)
    assert idle.alone() is alone
    assert idle.others() == pytest.approx([before, during, after], abs=1e-6)
    machine.work(600, own=0, others=2)
    assert idle.alone() is alone  # of the run, which ended when it was first asked


def test_nobody_knows_where_the_machine_does_not_say(tmp_path):
    assert provenance.processor_seconds(tmp_path / "none") is None
    (tmp_path / "stat").write_text("cpu  1 2\n")
    assert provenance.processor_seconds(tmp_path / "stat") is None
    idle = provenance.Idle(read=lambda: None, sleep=pytest.fail)
    assert idle.others() is None and idle.alone() is False


def test_the_readings_of_the_kernel(tmp_path):
    tick = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 888 4 5 41 7 7\ncpu0 1 1\n")
    busy, own = provenance.processor_seconds(tmp_path / "stat")
    assert busy == pytest.approx(200 / tick) and own > 0  # guests are in user and nice already


def test_the_design_of_a_processor(tmp_path):
    file = tmp_path / "cpuinfo"
    assert provenance.processor_model(file) is None
    file.write_text("processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n")  # not an x86
    assert provenance.processor_model(file) is None
    file.write_text(
        "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\n"
    )
    assert provenance.processor_model(file) == "family 25, model 17"
