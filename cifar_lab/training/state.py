"""The state file of an unfinished training: one file, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .. import arrays, bundles
from ..errors import InputError, reason

MOST_BYTES = 8 << 30  # of the arrays of a state


def write(path: Path, meta: dict, values: list, kept: list) -> None:
    """Write what a training goes on from.

    meta: JSON types: "run", "history", "compile_seconds".   values, kept: lists of numpy arrays.
    """
    meta = {**meta, "arrays": [len(values), len(kept)]}
    named = {f"v{i:04d}": v for i, v in enumerate(values)}
    named |= {f"k{i:04d}": v for i, v in enumerate(kept)}
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    bundles.write_file(path, lambda file: np.savez(file, meta=text, **named))


def read(path: Path) -> tuple[dict, list, list]:
    """(meta, values, kept) of a state file. InputError where it is damaged."""
    try:
        # every member has a checksum, tested on reading
        with arrays.Archive(path, arrays.Limits(MOST_BYTES)) as file:
            meta = json.loads(file["meta"].tobytes())
            counts = zip("vk", meta["arrays"], strict=True)
            values, kept = ([file[f"{kind}{i:04d}"] for i in range(n)] for kind, n in counts)
            return meta, values, kept
    except Exception as error:  # a damaged archive raises nearly anything
        raise InputError(
            f"{path}: damaged state file ({reason(error)[:150]}); `overwrite` starts over"
        ) from None


def history_of_unfinished(output: Path) -> list[dict]:
    """Rows of the epochs done so far of an unfinished training whose bundle will be `output`."""
    path = bundles.state_path(output)
    try:
        return read(path)[0]["history"] if path.exists() else []
    except InputError:
        return []
