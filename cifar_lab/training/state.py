"""The state file of an unfinished training: one file, written whole or not at all, and checked
whole before anything goes on from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from .. import arrays, bundles, documents, schema
from ..errors import InputError, reason

MOST_BYTES = 8 << 30  # of the arrays of a state
HINT = "; `overwrite` starts over"


def write(path: Path, meta: dict, values: list, kept: list) -> None:
    """Write what a training goes on from.

    meta: JSON types: "run", "history", "compile_seconds".   values, kept: lists of numpy arrays.
    """
    meta = {**meta, "arrays": [len(values), len(kept)]}
    named = dict(zip(_names(len(values), len(kept)), [*values, *kept], strict=True))
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    bundles.write_file(path, lambda file: np.savez(file, meta=text, **named))


def read(path: Path | IO[bytes]) -> tuple[dict, list, list]:
    """(meta, values, kept) of a state file, or of its bytes. InputError where it is damaged, or
    lies of itself; that it fits a network is for `check` to see."""
    try:
        # every member has a checksum, tested on reading
        with arrays.Archive(path, arrays.Limits(MOST_BYTES)) as file:
            meta = schema.parse(file["meta"].tobytes(), documents.STATE)
            _check_history(meta["history"])
            count, kept = meta["arrays"]
            names = _names(count, kept)
            strange = sorted({*file.headers} ^ {"meta", *names})
            if strange:
                raise schema.Wrong(f"its arrays are not those that it lists: {strange[0][:20]!r}")
            found = [file[name] for name in names]
            return meta, found[:count], found[count:]
    except schema.Wrong as error:
        raise InputError(f"{path}: the state is damaged: {error}{HINT}") from None
    except Exception as error:  # a damaged archive raises nearly anything
        raise InputError(f"{path}: damaged state file ({reason(error)[:150]}){HINT}") from None


def identity(path: Path) -> dict:
    """What identifies the run that left a state file. InputError where it is damaged."""
    run = read(path)[0]["run"]
    try:
        documents.RUN.check(run, "run")
    except schema.Wrong as error:
        raise InputError(f"{path}: the state is damaged: {error}{HINT}") from None
    return run


def _names(values: int, kept: int) -> list[str]:
    """Of a state's arrays, those of the kept weights last."""
    return [f"v{i:04d}" for i in range(values)] + [f"k{i:04d}" for i in range(kept)]


def _check_history(rows: list[dict]) -> None:
    """Wrong where the epochs are not 1, 2, 3, ..."""
    for i, row in enumerate(rows):
        if row["epoch"] != i + 1:
            raise schema.Wrong(f"history[{i}].epoch must be {i + 1}, is {row['epoch']}")


def check(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], what: str) -> None:
    """Raise Wrong where arrays are not like others in number, type and shape, or hold NaN.

    found: a state's. wanted: as the training has them. what: how a message calls them.
    """
    if len(found) != len(wanted):
        raise schema.Wrong(f"{what}: must be {len(wanted)} arrays, are {len(found)}")
    for i, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        if (mine.dtype, mine.shape) != (theirs.dtype, theirs.shape):
            raise schema.Wrong(
                f"{what}: array {i} must be {theirs.dtype} {theirs.shape}, is {mine.dtype} "
                f"{mine.shape}"
            )
        if mine.dtype.kind == "f" and np.isnan(mine).any():
            raise schema.Wrong(f"{what}: array {i} holds NaN")


def check_finite(found: Sequence[np.ndarray], what: str) -> None:
    """Raise Wrong where weights are not finite: no epoch ends with such."""
    for i, array in enumerate(found):
        if not np.isfinite(array).all():
            raise schema.Wrong(f"{what}: array {i} holds an infinite value")


def history_of_unfinished(output: Path) -> list[dict]:
    """Rows of the epochs done so far of an unfinished training whose bundle will be `output`."""
    path = bundles.state_path(output)
    try:
        return read(path)[0]["history"] if path.exists() else []
    except InputError:
        return []
