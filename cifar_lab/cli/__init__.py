"""The commands: flags in, lines out, exit codes. The only part of the package that prints.

    common.py        what every command shares: the parser, errors as one line, types of flags
    training.py      train.py                 predicting.py    predict.py
    testing.py       evaluate.py              exporting.py     export.py
    tuning.py        tune.py                  recording.py     python -m cifar_lab record
    learning.py      learn.py                 calibrating.py   python -m cifar_lab calibrate
    reporting.py     report.py

Each parses its arguments into a request, calls the library, and prints. Keras takes seconds to
import, so each imports what it needs once its arguments are right; and none imports the ladder or
the builders before `guarded` has seen that the package is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import __version__
from . import (
    calibrating,
    exporting,
    learning,
    predicting,
    recording,
    reporting,
    testing,
    training,
    tuning,
)
from .common import (
    INTERRUPTED,
    OK,
    WRONG,
    Notice,
    Parser,
    address,
    command_line,
    guarded,
    positive,
    whole,
)

__all__ = [
    "INTERRUPTED",
    "OK",
    "WRONG",
    "Notice",
    "Parser",
    "address",
    "command_line",
    "evaluate",
    "export",
    "guarded",
    "learn",
    "main",
    "positive",
    "predict",
    "report",
    "train",
    "tune",
    "whole",
]

COMMANDS = {
    "train": training.run,
    "evaluate": testing.run,
    "predict": predicting.run,
    "export": exporting.run,
    "tune": tuning.run,
    "learn": learning.run,
    "report": reporting.run,
    "record": recording.run,
    "calibrate": calibrating.run,
}


def train(argv: Sequence[str] | None = None) -> int:
    """train.py: returns the exit code. argv: the arguments, by default the process's."""
    return _script("train", argv)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """evaluate.py, as `train`."""
    return _script("evaluate", argv)


def predict(argv: Sequence[str] | None = None) -> int:
    """predict.py, as `train`."""
    return _script("predict", argv)


def export(argv: Sequence[str] | None = None) -> int:
    """export.py, as `train`."""
    return _script("export", argv)


def tune(argv: Sequence[str] | None = None) -> int:
    """tune.py, as `train`."""
    return _script("tune", argv)


def learn(argv: Sequence[str] | None = None) -> int:
    """learn.py, as `train`."""
    return _script("learn", argv)


def report(argv: Sequence[str] | None = None) -> int:
    """report.py, as `train`."""
    return _script("report", argv)


def main(argv: Sequence[str] | None = None) -> int:
    """cifar-lab COMMAND ..., also `python -m cifar_lab`: every command; returns the exit code."""
    words = _words(argv)
    if words and words[0] in COMMANDS:
        return guarded(f"cifar-lab {words[0]}", COMMANDS[words[0]], words[1:])
    return guarded("cifar-lab", _no_command, words)


def _script(name: str, argv: Sequence[str] | None) -> int:
    return guarded(f"{name}.py", COMMANDS[name], _words(argv))


def _words(argv: Sequence[str] | None) -> list[str]:
    return list(sys.argv[1:] if argv is None else argv)


def _no_command(argv: list[str]) -> int:
    """--help, --version, or an InputError that says which commands there are."""
    parser = Parser(
        prog="cifar-lab",
        description="Train, test and ship small image classifiers.",
        usage=f"cifar-lab {{{','.join(COMMANDS)}}} ... (each has --help)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=list(COMMANDS))
    parser.parse_args(argv)
    return OK
