"""Holding a learner's program: a process of its own, watched, bounded, and ended with its children.

What bounds it: the clock (here), processor time, memory and the size of files (`judge`, by
`resource` where there is one), the output (read here as it comes, all but its beginning thrown
away). It runs in an empty folder, with Python's isolated mode: no PYTHON* variables, no user site,
nothing of the working folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError

KEPT_OUTPUT = 2_000  # bytes of what it prints
MOST_OUTPUT = 1_000_000

# One thread each: more would take processor time, and address space from the limit on memory
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2]); "
    "from cifar_lab.exercises import judge; judge.main(sys.argv[3])"
)


def run(exercise: str, path: Path, seconds: float) -> tuple[dict[str, Any], str]:
    """Judge a file.

    Args:
        exercise: its name.
        path: of the learner's file.
        seconds: after which it is ended, by the clock or by its processor time.

    Returns:
        (what the judge found, the beginning of what the file printed).

    Raises:
        InputError: the program was ended, or ended itself.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        request = {"exercise": exercise, "path": str(path.absolute()), "name": str(path),
                   "seconds": seconds, "folder": name}  # fmt: skip
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        (folder / "work").mkdir()
        ended, output = _watch(folder, seconds)
        found = _read(folder / "result.json")
        stage = _read(folder / "stage.json") or "before the first test"
    if output.count > MOST_OUTPUT:
        raise InputError(f"{path}: printed over {MOST_OUTPUT // 10**6} MB; take the print out")
    if isinstance(found, dict) and "error" in found:
        raise InputError(str(found["error"]))
    if isinstance(found, dict):
        return found, output.text
    if ended is None or ended == -getattr(signal, "SIGXCPU", 0):
        raise InputError(
            f"{path}: was still running after {seconds:g} s ({stage}); does a loop never end?"
        )
    if ended < 0:
        raise InputError(f"{path}: its process was ended by {_signal(-ended)} ({stage})")
    last = output.text.strip().splitlines()
    raise InputError(
        f"{path}: ended its process with exit code {ended} ({stage}); "
        + (f"it printed {last[-1][:100]!r}" if last else "is there an os._exit?")
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Output:
    """What comes through a pipe, read by a thread: counted, and all but its beginning dropped."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.count, self._kept = 0, b""
        self._pipe = pipe
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                self._kept += chunk[: KEPT_OUTPUT - len(self._kept)]
                self.count += len(chunk)

    @property
    def text(self) -> str:
        text = self._kept.decode("utf-8", "replace")
        return "".join(c if c.isprintable() or c in "\t\n" else "?" for c in text)


def _watch(folder: Path, seconds: float) -> tuple[int | None, _Output]:
    """Run the judge to its end, or to the end of its time: (exit code or None, its output)."""
    root = Path(__file__).resolve().parents[2]
    numpy_folder = Path(np.__file__).resolve().parents[1]
    command = [sys.executable, "-I", "-X", "utf8", "-c", _START, str(root), str(numpy_folder),
               str(folder / "request.json")]  # fmt: skip
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder / "work",
        env={**os.environ, **dict.fromkeys(_THREADS, "1")},
        start_new_session=True,
    )
    assert child.stdout is not None
    output, ended = _Output(child.stdout), None
    try:
        until = time.monotonic() + seconds
        while ended is None and time.monotonic() < until and output.count <= MOST_OUTPUT:
            with contextlib.suppress(subprocess.TimeoutExpired):
                ended = child.wait(min(0.1, max(until - time.monotonic(), 0.01)))
    finally:
        _end(child)
        output.thread.join(1)  # a process that got away may still hold the pipe
        if not output.thread.is_alive():
            child.stdout.close()
    return ended, output


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the process, and what it started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def _read(file: Path) -> Any:
    """What a JSON file holds, None where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
