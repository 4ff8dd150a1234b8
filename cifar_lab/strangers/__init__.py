"""Network files that strangers wrote: what is looked at before a runtime sees one, and the process
that it is then opened and run in."""

from __future__ import annotations

import importlib
from pathlib import Path

from .. import files

MOST_BYTES = 2 << 30  # of a file

_KINDS = (".tflite", ".onnx", ".keras")  # each has a file here


def check(kind: str, content: bytes | Path) -> None:
    """ValueError, with the reason, where a runtime is not to see a file. Takes milliseconds, and
    imports no runtime.

    Args:
        kind: ".tflite", ".onnx", ".keras"; other kinds have readers of our own, which check.
        content: of the file; of ".keras" also its path.
    """
    if kind not in _KINDS:
        return
    try:
        importlib.import_module(f".{kind[1:]}", __name__).check(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read(path: Path) -> bytes:
    """Content of a regular file of at most MOST_BYTES. Raises OSError."""
    return files.read(path, MOST_BYTES)
