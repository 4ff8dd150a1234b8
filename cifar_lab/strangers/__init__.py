"""Network files that strangers wrote: what is looked at before a runtime sees one, and the process
that it is then opened and run in."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

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
    """Content of a file. OSError; ValueError where it has more than MOST_BYTES."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES:,} bytes")
        return file.read()
