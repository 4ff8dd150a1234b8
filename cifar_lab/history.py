"""The history of a training as CSV, a row an epoch; also in a file that grows with it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import InputError, reason

#: Of a row of the history. learning_rate is that of the step to come; at the end of a cycle
#: (swa_share) the validation figures are those of the mean.
FIELDS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
)
_HEADER = ",".join(FIELDS)


def as_csv(rows: Iterable[Mapping], header: bool = True) -> str:
    """Rows of a history, each with FIELDS, as lines of CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def check_log(path: str | os.PathLike, resume: bool = False, overwrite: bool = False) -> None:
    """InputError where `Log` could not, or should not, write to a file.

    resume, overwrite: whether a log that is there is gone on with, or replaced. Another file never
        is.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(13, "permission denied")
        first = _first_line(path)
    except OSError as error:
        raise InputError(f"`csv_log` {path}: cannot be written ({reason(error)})") from None
    if first not in ("", _HEADER):
        raise InputError(
            f"`csv_log` {path}: is another file, which begins with {first[:40]!r}; a log begins "
            f"with {_HEADER}"
        )
    if first and not (resume or overwrite):
        raise InputError(
            f"`csv_log` {path}: exists; `overwrite` replaces it, `resume` goes on with it"
        )


def _first_line(path: Path) -> str:
    if not path.is_file():  # nothing yet, or a device
        return ""
    with open(path, errors="replace") as file:
        return file.readline(1000).rstrip("\n")


def of_seed(path: str | os.PathLike, seed: int) -> Path:
    """The log of one of several seeds: "log-seed3.csv" for "log.csv"."""
    path = Path(path)
    return path.with_name(f"{path.stem}-seed{seed}{path.suffix}")


class Log:
    """A CSV file that has a row an epoch as soon as the epoch is over.

    path: of the file; see `check_log`. OSError where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def begin(self, text: str) -> None:
        """Let the file hold the epochs so far, `as_csv`. What is there already stays as it is, so
        that who follows the file sees no line twice; a file that holds another run's is replaced.
        """
        found = ""
        if self.path.is_file() and self.path.stat().st_size <= len(text.encode()):
            found = self.path.read_bytes().decode(errors="replace")
        if found and text.startswith(found):
            self._write("a", text[len(found) :])
        else:
            self._write("w", text)

    def add(self, row: Mapping) -> None:
        """Add a row."""
        self._write("a", as_csv([row], header=False))

    def _write(self, mode: str, text: str) -> None:
        with open(self.path, mode, newline="") as file:  # closed, and so written, each time
            file.write(text)
