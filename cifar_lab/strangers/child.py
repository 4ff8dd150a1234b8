"""The process that a stranger's network is run in: `python -m cifar_lab.strangers.child`.

Through stdin come a line of JSON and bytes, through stdout goes a line of JSON and bytes, each line
behind its length: what to open; the file; pictures, as often as there are some. The limits are set
after the runtime was imported, so that they count what the file asks for.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError, reason

MEMORY = 1 << 30  # of address space beyond what the runtime takes, and four times the file
MOST_VALUES = 1 << 21  # of the pictures that are run at once: 682 of 32 x 32, 13 of 224 x 224
MOST_CHARACTERS = 2_000  # of a message
_NO_MEMORY = ("bad_alloc", "bfc_arena", "Failed to allocate memory", "OOM when allocating")

_MODULES = {".tflite": "ai_edge_litert.interpreter", ".onnx": "onnxruntime"}


def main() -> None:
    """Answer until stdin ends."""
    source = sys.stdin.buffer
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what libraries print there is no answer
        os.dup2(nowhere, stream)
    told = _question(source)
    if told is None:
        return
    kind = told["kind"]
    try:
        _start(kind)
    except ModuleNotFoundError as error:
        _answer(sink, {"missing": error.name})
        return
    _answer(sink, {})
    _question(source)
    content = source.read(told["bytes"])
    path = Path(told["path"])
    _limit(told["size"])
    _limit_time(told["open_seconds"])
    network: Any = None
    try:
        network = _opened(kind, path, content, told["threads"])
        found = {
            "input_shape": [n if isinstance(n, int) else str(n) for n in network.input_shape],
            "outputs": n if isinstance(n := network.outputs, int) else str(n),
            "dtype": network.dtype,
            "fixed": network.fixed,
            "step": float(network.step),
        }
    except Exception as error:  # each runtime has its own
        _answer(sink, _in_words(error))
        return
    del content
    _answer(sink, found)
    shape = network.input_shape
    while (question := _question(source)) is not None:
        count = question["images"]
        images = np.frombuffer(source.read(count * math.prod(shape)), np.uint8)
        _limit_time(told["run_seconds"])
        try:
            values = _run(network, images.reshape(count, *shape))
        except Exception as error:
            _answer(sink, _in_words(error))
            continue
        _answer(sink, {"shape": list(values.shape)})
        if values.shape == (count, network.outputs):
            sink.write(values.tobytes())
            sink.flush()


def _start(kind: str) -> None:
    """Import a runtime, and have it make what it keeps."""
    if kind == ".keras":
        from .. import backend

        backend.start()
        import keras

        image = keras.ops.ones((1, 8, 8, 3))
        keras.ops.conv(image, keras.ops.ones((3, 3, 3, 4)), padding="same")
    else:
        importlib.import_module(_MODULES[kind])


def _opened(kind: str, path: Path, content: bytes, threads: int | None) -> Any:
    from .. import inference

    network: Any = inference.RUNTIMES[kind](path, content, threads)
    if kind == ".keras":
        from . import keras

        keras.check_built(network.model)
    return network


def _run(network: Any, images: np.ndarray) -> np.ndarray:
    """float32, of as many pictures at once as little memory holds."""
    each = math.prod(images.shape[1:])
    size = network.fixed or max(1, MOST_VALUES // each)
    parts = [
        np.asarray(network(images[i : i + size]), np.float32) for i in range(0, len(images), size)
    ]
    return np.ascontiguousarray(np.concatenate(parts))


def _in_words(error: Exception) -> dict[str, str]:
    if isinstance(error, InputError):
        return {"refused": str(error)[:MOST_CHARACTERS]}
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return {"error": f"it takes more memory than {MEMORY >> 20:,} MB and 4 times its own size"}
    return {"error": reason(error)[:MOST_CHARACTERS]}


# --- limits ---


def _limit(size: int) -> None:
    """Bound memory, and forbid to write files, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = now + MEMORY + 4 * size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError):  # no /proc: macOS, whose kernel does not keep this limit anyway
        pass


def _limit_time(seconds: float) -> None:
    """Bound processor time from now on, of all threads; a process whose starter was killed ends by
    this."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds * min(os.cpu_count() or 1, 8)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


# --- questions and answers ---


def _question(source: BinaryIO) -> dict[str, Any] | None:
    """None where the starter is gone."""
    head = source.read(4)
    if len(head) < 4:
        return None
    return json.loads(source.read(*struct.unpack("<I", head)))


def _answer(sink: BinaryIO, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    sink.write(struct.pack("<I", len(text)) + text)
    sink.flush()


if __name__ == "__main__":
    main()
