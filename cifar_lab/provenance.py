"""Where a figure comes from: the commit of the code, the processor, and whether anything else ran
meanwhile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import paths

# What a training or a recording writes itself: such a change does not make the code another one.
WRITTEN = ("README.md", "docs", "results", "saved_models")
CORES = 0.05  # what others may use of one core, on average, for a run to count as alone
QUIET_SECONDS = 10.0  # how long this process sleeps before and after a run, to see the others


def source(checkout: Path | None = paths.CHECKOUT) -> dict:
    """The commit that the code is at, and whether its tracked files are those of the commit.

    Files that a training or `record` writes (WRITTEN) and untracked files do not count.

    Args:
        checkout: the root of a checkout with a .git of its own.

    Returns:
        {"commit": hex, "clean": bool}; both None in an installed copy, without git, or where git
        does not answer. Never raises.
    """
    unknown = {"commit": None, "clean": None}
    try:
        if checkout is None or not (checkout / ".git").exists():  # not that of a folder above
            return unknown
        commit = _git(checkout, "rev-parse", "--verify", "HEAD").strip()
        excluded = [f":(exclude){name}" for name in WRITTEN]
        changes = _git(
            checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", *excluded
        )
        return {"commit": commit, "clean": not changes.strip()}
    except (OSError, ValueError, subprocess.SubprocessError):
        return unknown


def _git(folder: Path, *args: str) -> str:
    # A hook of another repository sets GIT_DIR and more; reading must not write the index either.
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(folder), *args],
        env={**env, "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout


def processor_model(cpuinfo: str | os.PathLike = "/proc/cpuinfo") -> str | None:
    """Which design the processor is of, "family 25, model 17": a virtual machine's name of it, as
    "AMD EPYC", is that of several. None where the machine does not say (anything but Linux on
    x86)."""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            pairs = [line.partition(":")[::2] for line in file]
    except OSError:
        return None
    found = {name.strip(): value.strip() for name, value in pairs}
    if not {"cpu family", "model"} <= set(found):
        return None
    return f"family {found['cpu family']}, model {found['model']}"


def processor_seconds(stat: str | os.PathLike = "/proc/stat") -> tuple[float, float] | None:
    """(processor seconds of the whole machine, of this process and the children it waited for).

    The machine's are all states but idle and waiting for a disk; time that a hypervisor took away
    is in them. None where there is no such file (anything but Linux).
    """
    try:
        with open(stat) as file:
            name, *ticks = file.readline().split()
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, ticks[:8])
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    own = os.times()
    return busy, own.user + own.system + own.children_user + own.children_system


class Idle:
    """Whether this process had the machine for itself.

        idle = Idle()        # sleeps QUIET_SECONDS
        ...                  # the run
        idle.alone()         # sleeps as long again: True or False

    A run was alone when others used less than CORES of a core in each of three spans: the pause
    before, the run, the pause after. The load average will not do: the run before is in it for
    minutes. Children count as others until they end and are waited for. A program that keeps a GPU
    busy without a processor is not seen.

    Args:
        read: () -> (seconds of the machine, own seconds) or None, as processor_seconds.
        clock: () -> seconds.
        sleep: called with seconds.
    """

    def __init__(
        self,
        read: Callable[[], tuple[float, float] | None] = processor_seconds,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._read, self._clock, self._sleep = read, clock, sleep
        self._marks = [self._mark()]
        self._pause()

    def _mark(self):
        found = self._read()
        return None if found is None else (self._clock(), found[0] - found[1])

    def _pause(self):
        if self._marks[0] is not None:
            self._sleep(QUIET_SECONDS)
        self._marks.append(self._mark())

    def others(self) -> list[float] | None:
        """Cores that others used on average before, in and after the run. Ends the run; None where
        the machine does not say."""
        if len(self._marks) == 2:
            self._marks.append(self._mark())
            self._pause()
        if None in self._marks:
            return None
        spans = zip(self._marks, self._marks[1:], strict=False)
        return [(busy - was) / max(now - then, 1e-9) for (then, was), (now, busy) in spans]

    def quiet(self) -> bool:
        """Whether nothing else ran in the pause before the run."""
        first, second = self._marks[:2]
        if first is None or second is None:
            return False
        return (second[1] - first[1]) / max(second[0] - first[0], 1e-9) < CORES

    def during(self) -> float | None:
        """Cores that others used on average in the run, which this ends; None as others."""
        found = self.others()
        return None if found is None else max(found[1], 0.0)

    def alone(self) -> bool:
        """Ends the run: True where nothing else ran; False where something did, or nobody knows."""
        others = self.others()
        return others is not None and max(others) < CORES
