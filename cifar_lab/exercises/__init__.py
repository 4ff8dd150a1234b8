"""Try it yourself: write a layer, a loss or an optimizer, and have it checked.

    from cifar_lab import exercises

    exercises.write("affine", "mine.py")     # the functions to fill in, with shapes and formulas
    report = exercises.check("mine.py")      # tests them, says what is wrong, trains with them
    print("\\n".join(report.lines))

An exercise belongs to a lesson (`of_lesson`). Its functions are tested against `cifar_lab.scratch`,
numerical gradients and properties, on shapes of several kinds. What is wrong is said in words: the
results are compared with those of mistakes that are often made (a table in each exercise's file),
then looked at for factors, signs and orders, and else the first entry that differs is shown. What
passes then takes the place of the scratch function in a small network that trains for real.

A file is run in a process of its own, with limits on time, memory and output. That keeps a mistake
from doing harm; it is no cage for a program that means harm.

Read in this order: `exercise` (what an exercise is), `affine` (one of them), `comparing` (from
results to words), `judge` (what the process does), `process` (how it is held), `report`.
"""

from __future__ import annotations

import ast
import contextlib
import os
import warnings
from importlib import import_module
from pathlib import Path

from .. import schema
from ..errors import InputError, reason
from . import process
from .exercise import Exercise
from .report import Check, Report

__all__ = ["LESSONS", "Check", "Exercise", "Report", "check", "get", "names", "of_lesson", "write"]

#: {exercise: the lesson that it belongs to}, in the order of the lectures
LESSONS = {
    "affine": "matrices",
    "softmax-loss": "softmax",
    "hinge-loss": "hinge",
    "backprop": "backprop",
    "batch-norm": "batch-norm",
    "dropout": "dropout",
    "convolution": "convolution",
    "pooling": "pooling",
    "adam": "optimizers",
    "knn": "knn",
}

MAX_BYTES = 1 << 20  # of a learner's file


def names() -> list[str]:
    """The exercises, in the order of the lectures."""
    return list(LESSONS)


def get(name: str) -> Exercise:
    """The exercise of this name. Raises InputError naming those there are."""
    if name not in LESSONS:
        near = schema.meant(name, LESSONS)
        raise InputError(f"exercise: must be one of {', '.join(LESSONS)}, received {name!r}{near}")
    exercise: Exercise = import_module(f".{name.replace('-', '_')}", __name__).EXERCISE
    return exercise


def of_lesson(lesson_name: str) -> Exercise:
    """The exercise that belongs to a lesson. Raises InputError naming the lessons with one."""
    for name, lesson in LESSONS.items():
        if lesson == lesson_name:
            return get(name)
    raise InputError(
        f"lesson: {lesson_name!r} has no exercise, must be one of {', '.join(LESSONS.values())}"
    )


def write(name: str, path: str | os.PathLike, overwrite: bool = False) -> Path:
    """Write the file of an exercise, with the functions to fill in.

    Args:
        name: of the exercise.
        path: of the file.
        overwrite: replace a file that is there.

    Returns:
        The path.

    Raises:
        InputError: no such exercise; the file is there already, or cannot be written.
    """
    exercise, path = get(name), Path(path)
    text = exercise.template(path)
    try:
        with open(path, "w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path}: is there already; `overwrite` replaces it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written ({reason(error)})") from None
    return path


def check(path: str | os.PathLike, seconds: float = 30) -> Report:
    """Test a file with an exercise's functions, and train with them if they are right.

    Args:
        path: of the file; its line EXERCISE = "..." names the exercise.
        seconds: how long it may run, by the clock and of processor time.

    Returns:
        Report; a wrong function is reported, not raised.

    Raises:
        InputError: the file is not there, is not Python, is of no exercise or has none of its
            functions; it ran too long, took too much memory, printed too much, or ended itself.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 1 <= seconds < 1e5:
        raise InputError(f"seconds: must be a number from 1 to 100000, received {seconds!r}")
    path = Path(path)
    exercise = get(_exercise_of(path))
    found, printed = process.run(exercise.name, path, seconds)
    return Report.from_json({"exercise": exercise.name, "path": str(path), **found}, printed)


def _exercise_of(path: Path) -> str:
    """The exercise that a file names, and that it defines functions of; nothing is run.

    Raises:
        InputError: as `check`.
    """
    tree = _parse(path)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names, named = {n.name for n in ast.walk(tree) if isinstance(n, functions)}, None
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {a.asname or a.name for a in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = {t.id for t in targets if isinstance(t, ast.Name)}
            names |= found
            if "EXERCISE" in found and isinstance(node.value, ast.Constant):
                named = node.value.value
    known = ", ".join(LESSONS)
    if named is None:
        raise InputError(
            f'{path}: does not say which exercise it is of: it needs a line EXERCISE = "...", '
            f"one of {known}"
        )
    if named not in LESSONS:
        near = schema.meant(named, LESSONS)
        raise InputError(f"{path}: EXERCISE must be one of {known}, is {named!r}{near}")
    wanted = [f.name for f in get(named).functions]
    if not names.intersection(wanted):
        raise InputError(f"{path}: defines none of the functions {', '.join(wanted)}")
    return str(named)


def _parse(path: Path) -> ast.Module:
    """A file as a syntax tree. Raises InputError with the line that is wrong."""
    try:
        with contextlib.suppress(OSError):
            if path.exists() and not path.is_file():
                kind = "a folder" if path.is_dir() else "not a file"
                raise InputError(f"{path}: must be a Python file, is {kind}")
        with open(path, "rb") as file:
            source = file.read(MAX_BYTES + 1)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    if len(source) > MAX_BYTES:
        raise InputError(f"{path}: must be a Python file of at most 1 MB, is larger")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            return ast.parse(source)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise InputError(f"{path}{line}: is not Python ({error.msg})") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: is not Python ({reason(error)})") from None
