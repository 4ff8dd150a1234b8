"""Network files that strangers wrote: what is looked at before a runtime sees one, and the process
that it is then opened and run in."""

from __future__ import annotations

import os
from pathlib import Path

from . import keras, onnx, tflite

MOST_BYTES = 2 << 30  # of a file

_CHECKS = {".tflite": tflite.check, ".onnx": onnx.check}


def check(kind: str, content: bytes | Path) -> None:
    """ValueError, with the reason, where a runtime is not to see a file. Takes milliseconds, and
    imports no runtime.

    Args:
        kind: ".tflite", ".onnx", ".keras"; other kinds have readers of our own, which check.
        content: of the file; of ".keras" also its path.
    """
    try:
        if kind == ".keras":
            keras.check(content)
        elif kind in _CHECKS and isinstance(content, bytes):
            _CHECKS[kind](content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read(path: Path) -> bytes:
    """Content of a file. OSError; ValueError where it has more than MOST_BYTES."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES:,} bytes")
        return file.read()
