"""A stranger's network in a process of its own: started, fed, timed, ended.

What happens to the process, a segmentation fault or a loop without end, is an InputError here. It
has no more than `child` allows it: memory beyond what its runtime takes, processor time, no file to
write. What it sends back is read as numbers of a length that is known before, and as short JSON.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

START_SECONDS = 180  # to import a runtime, which is no stranger's
OPEN_SECONDS = 60  # to open a file
RUN_SECONDS = 60  # for a batch
MOST_BYTES_OF_ANSWER = 1 << 16

_PACKAGE = Path(__file__).resolve().parents[1]


def start() -> subprocess.Popen:
    """The process, which waits for its first question."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_PACKAGE,  # where no file of the user's lies
        env=_environment(),
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    )


class Ended(Exception):
    """The process is no more, or was ended. The message says how."""


class Contained:
    """A network that is opened and run in a process of its own.

    Args:
        path: of the file, which Keras reads itself.
        kind: ".tflite", ".onnx" or ".keras".
        content: of the file.
        threads: of the runtime, or None.
        needs: the runtime's package, for messages.

    Attributes: those of a runtime in `inference`: input_shape, outputs, dtype, fixed, step.

    Raises:
        InputError: the file is none, or something happened to the process.
        ModuleNotFoundError: the runtime is not installed.
    """

    def __init__(
        self, path: Path, kind: str, content: bytes, threads: int | None, needs: str
    ) -> None:
        self.path, self.needs, self.lock = path, needs, threading.Lock()
        self.dead = ""
        self.child = start()
        self.close = weakref.finalize(self, _end, self.child)
        size, content = len(content), b"" if kind == ".keras" else content
        told = {"kind": kind, "path": str(path.absolute()), "threads": threads,
                "size": size, "bytes": len(content),
                "open_seconds": OPEN_SECONDS, "run_seconds": RUN_SECONDS}  # fmt: skip
        self._ask(told, b"", START_SECONDS, "start")
        found = self._ask({}, content, OPEN_SECONDS, "open it")
        self.input_shape = tuple(found["input_shape"])
        self.outputs, self.dtype = found["outputs"], found["dtype"]
        self.fixed, self.step = found["fixed"], float(found["step"])
        if not (self.fixed is None or isinstance(self.fixed, int)):
            raise InputError(f"{path}: its process gave no answer")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, outputs) of uint8 (N, height, width, channels)."""
        images = np.ascontiguousarray(images)
        wanted = len(images), self.outputs
        with self.lock:
            found = self._ask({"images": len(images)}, images.data, RUN_SECONDS, "run it", wanted)
        if "values" not in found:
            raise InputError(
                f"{self.path}: gives an array of {tuple(found['shape'])}, where a probability for "
                f"each image and class is needed, {wanted}"
            )
        return np.frombuffer(found["values"], np.float32).reshape(wanted)

    # --- one question, one answer ---

    def _ask(
        self,
        question: dict[str, Any],
        content: Any,
        seconds: float,
        what: str,
        wanted: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        """The answer; wanted: the shape of an array of float32 that may follow it as "values"."""

        def exchange() -> dict[str, Any]:
            assert self.child.stdin is not None
            text = json.dumps(question).encode()
            self.child.stdin.write(struct.pack("<I", len(text)) + text)
            self.child.stdin.write(content)
            self.child.stdin.flush()
            (size,) = struct.unpack("<I", self._read(4))
            if size > MOST_BYTES_OF_ANSWER:
                raise Ended("its process gave no answer")
            answer = json.loads(self._read(size))
            if wanted and answer.get("shape") == list(wanted):
                answer["values"] = self._read(4 * math.prod(wanted))
            return answer

        answer = self._within(seconds, what, exchange)
        if "missing" in answer:
            raise ModuleNotFoundError(name=str(answer["missing"]))
        if "refused" in answer:
            # there the path is another
            line = str(answer["refused"]).replace(str(self.path.absolute()), str(self.path), 1)
            raise InputError(line)
        if "error" in answer:
            how = "opened" if what == "open it" else "run"
            raise InputError(
                f"{self.path}: cannot be {how} by {self.needs} ({str(answer['error'])[:200]})"
            )
        return answer

    def _within(self, seconds: float, what: str, do: Any) -> Any:
        """do(), or an InputError where the process ends meanwhile, or has to be ended."""
        if self.dead:
            raise InputError(self.dead)
        late, child = threading.Event(), self.child

        def end() -> None:  # without self: its thread must not keep the network alive
            late.set()
            child.kill()

        clock = threading.Timer(seconds, end)
        clock.daemon = True
        clock.start()
        try:
            return do()
        except (Ended, OSError, ValueError, struct.error):
            clock.cancel()
            _end(child)
            why = f"it took longer than {seconds:g} s" if late.is_set() else self._end_in_words()
            self.dead = f"{self.path}: {self.needs} could not {what}: {why}"
            raise InputError(self.dead) from None
        except BaseException:  # Ctrl-C in the middle of an answer
            self.dead = f"{self.path}: was interrupted"
            _end(child)
            raise
        finally:
            clock.cancel()

    def _read(self, size: int) -> bytes:
        assert self.child.stdout is not None
        content = self.child.stdout.read(size)
        if len(content) != size:
            raise Ended
        return content

    def _end_in_words(self) -> str:
        code = self.child.returncode
        if code is not None and code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            if name == "SIGXCPU":
                return "it took too much processor time"
            return f"its process was ended by {name}"
        return f"its process ended with exit code {code}"


def _end(child: subprocess.Popen) -> None:
    """End a process, and close what it was spoken with through."""
    child.poll()
    if child.returncode is None:
        try:
            child.wait(0.2)  # what ended by itself says how
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what it had not read yet
            pass


def _environment() -> dict[str, str]:
    """Of the process: this package can be imported, the processor alone computes, and allocations
    take little address space, which is what is limited."""
    words = [str(_PACKAGE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = os.pathsep.join(os.path.abspath(word) for word in words if word)
    threads = str(min(os.cpu_count() or 1, 8))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **{name: os.environ.get(name, threads) for name in
           ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")},
    }  # fmt: skip
