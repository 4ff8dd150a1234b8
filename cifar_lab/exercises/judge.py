"""What runs in the learner's process: limits, the file, its tests, the network, one result.

The learner's code can do here what it likes to this process; the parent believes the result file
and watches the rest.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from . import comparing, get
from .exercise import Exercise, Function, Functions

MEMORY = 2 << 30  # bytes of address space
FILES = 64 << 20  # bytes of one file
SHORT = 0.08  # how much below the scratch network's accuracy is still the luck of the draw

# Events of Python's audit hooks (PEP 578) that start another program
_STARTS = ("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile",
           "os.system", "subprocess.Popen", "pty.spawn")  # fmt: skip


class Refused(BaseException):
    """The learner's code did what is not done here; no `except Exception` holds it up."""


def main(request_file: str) -> None:
    """Judge what a request names, leave result.json beside it, and end the process."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    folder, name = Path(request["folder"]), request["name"]
    exercise = get(request["exercise"])

    def stage(words: str) -> None:
        _write(folder / "stage.json", words)

    def error(words: str) -> dict[str, Any]:
        return {"error": f"{name}: {words}"}

    _limit(request["seconds"])
    path, result = request["path"], {}
    try:
        stage("while it was imported")
        yours = load(exercise, Path(path))
        result = judge(exercise, yours, path, stage)
    except InputError as problem:
        result = error(str(problem))
    except Refused as problem:
        result = error(str(problem) + _line(problem, path))
    except MemoryError as problem:
        result = error(f"needs more than {MEMORY >> 30} GB of memory{_line(problem, path)}")
    except SystemExit as problem:
        result = error(f"calls sys.exit{_line(problem, path)}; a function returns its result")
    except BaseException as problem:
        found = comparing.raised(problem, path)
        result = error(f"{found.words}")
    _write(folder / "result.json", result)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(0)  # whatever threads and exit handlers the file has left


def load(exercise: Exercise, path: Path) -> dict[str, Callable[..., Any]]:
    """Run a file, and take the exercise's functions from it: those that are there.

    Raises:
        InputError: it raises, or defines them with other arguments. The message does not name it.
    """
    module = types.ModuleType("exercise_file")
    module.__file__, space = str(path), module.__dict__
    sys.modules[module.__name__] = module  # where dataclasses and others look
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        exec(code, space)
    except (MemoryError, Refused, SystemExit):
        raise
    except ImportError as error:
        line = _line(error, str(path))
        raise InputError(
            f"cannot import what it asks for{line}: {error}; numpy is enough"
        ) from None
    except BaseException as error:
        found = comparing.raised(error, str(path))
        raise InputError(f"{found.words}, when it is imported") from None
    yours = {f.name: space[f.name] for f in exercise.functions if f.name in space}
    for function in exercise.functions:
        if function.name in yours:
            _check_arguments(function, yours[function.name])
    return yours


def _check_arguments(function: Function, found: Any) -> None:
    """InputError where it cannot be called with the exercise's arguments, in their order."""
    if not inspect.isroutine(found) and not (callable(found) and not inspect.isclass(found)):
        raise InputError(f"{function.name}: must be a function, is a {type(found).__name__}")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of a builtin: it shows when it is called
        return
    wanted, names = function.arguments, list(signature.parameters)
    try:
        signature.bind(*wanted)
    except TypeError:
        bound = False
    else:
        bound = sorted(names) != sorted(wanted) or names == wanted
    if not bound:
        raise InputError(
            f"{function.name}: must take {tuple(wanted)}, takes {tuple(names)}".replace("'", "")
        )


def judge(
    exercise: Exercise,
    yours: dict[str, Callable[..., Any]],
    path: str = "",
    stage: Callable[[str], None] = lambda words: None,
    train: bool = True,
) -> dict[str, Any]:
    """Test functions, and train with them if all are right.

    Args:
        exercise: whose functions they are.
        yours: {name: function}; those that are not there fail.
        path: of their file, for the lines of exceptions.
        stage: called with what is done next.
        train: whether to train.

    Returns:
        {"checks": [...]}, and "accuracy" and "scratch_accuracy" where a network was trained.
    """
    checks = []
    for what, wrong, how in _tests(exercise, yours, path, stage):
        checks.append({"what": what, "ok": not wrong, "words": wrong or how})
    result: dict[str, Any] = {"checks": checks}
    if train and all(c["ok"] for c in checks):
        stage(f"while it trained: {exercise.task}")
        result |= _train(exercise, yours, path, checks)
    return result


def _tests(
    exercise: Exercise, yours: Functions, path: str, stage: Callable[[str], None]
) -> Iterator[tuple[str, str, str]]:
    """(what was tested, what is wrong or "", how it was tested)."""
    cases = exercise.cases(np.random.default_rng(0))
    right, clean = set(), True
    for function in exercise.functions:
        name = function.name
        if name not in yours:
            yield name, "is not there yet", ""
        elif name in cases:
            stage(f"in {name}")
            outcomes = [
                comparing.call(yours[name], case.args, function.arguments, path)
                for case in cases[name]
            ]
            clean &= not any(o.changed for o in outcomes)
            problems = comparing.diagnose(function, cases[name], outcomes)
            for problem in problems:
                yield name, problem, ""
            if problems:
                _lend(function, yours)
            else:
                right.add(name)
                yield name, "", f"right in {len(outcomes)} cases"
    if all(f.name in yours for f in exercise.functions):
        first = exercise.functions[0].name
        fine = right == set(cases) or first not in cases
        yield from _guarded(exercise.properties, yours, path, "as it must be", stage, first, fine)
        if first in right and clean:
            how = "equal to central differences"
            yield from _guarded(exercise.numerical, yours, path, how, stage, first, fine)


def _lend(function: Function, yours: Functions) -> None:
    """Let the learner's other functions call the right one in place of a wrong one, so that each
    is judged alone."""
    for other in yours.values():
        space = getattr(other, "__globals__", {})
        if space.get(function.name) is yours[function.name]:
            space[function.name] = function.right


def _guarded(
    properties: Callable[[Functions], Iterator[tuple[str, str]]],
    yours: Functions,
    path: str,
    how: str,
    stage: Callable[[str], None],
    what: str,
    fine: bool,
) -> Iterator[tuple[str, str, str]]:
    """Properties, and what they raise, unless it follows from what is known to be wrong.

    what: whose they are, until the first of them says.
    fine: nothing is known to be wrong.
    """
    try:
        with np.errstate(all="ignore"):
            for what, wrong in properties(yours):
                stage(f"after {what}")
                yield what, wrong, how
    except MemoryError:
        raise
    except NotImplementedError:
        if fine:
            yield what, "is not written yet", ""
    except Exception as error:
        if fine:
            yield what, comparing.raised(error, path).words, ""


def _train(
    exercise: Exercise, yours: Functions, path: str, checks: list[dict[str, Any]]
) -> dict[str, Any]:
    """The accuracy of a network with the learner's functions, and of the scratch one; a check."""
    try:
        with np.errstate(all="ignore"):
            accuracy = float(exercise.network(yours))
    except MemoryError:
        raise
    except Exception as error:
        words = comparing.raised(error, path).words
        checks.append({"what": exercise.task, "ok": False, "words": words})
        return {}
    scratch = float(exercise.network(exercise.right()))
    ok = accuracy >= scratch - SHORT
    words = f"accuracy {accuracy:.1%} with yours, {scratch:.1%} with cifar_lab.scratch's"
    checks.append({"what": exercise.task, "ok": ok, "words": words})
    return {"accuracy": accuracy, "scratch_accuracy": scratch}


def _line(error: BaseException, path: str) -> str:
    line = comparing.raised(error, path).line
    return f" (line {line})" if line else ""


def _write(file: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    os.replace(part, file)


def _limit(seconds: float) -> None:
    """Bound what this process can take, as far as the system can; and let it start no other."""
    if hasattr(signal, "setitimer"):  # should the parent be gone
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    try:
        import resource
    except ImportError:
        pass
    else:
        whole = max(int(np.ceil(seconds)), 1)
        limits = {"RLIMIT_CPU": whole, "RLIMIT_AS": MEMORY, "RLIMIT_FSIZE": FILES, "RLIMIT_CORE": 0}
        for name, most in limits.items():
            try:
                number = getattr(resource, name)
                hard = resource.getrlimit(number)[1]
                most = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.setrlimit(number, (most, hard))
            except (OSError, ValueError, AttributeError):
                pass  # some systems know a limit and do not let it be set

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _STARTS:
            raise Refused(f"starts another process ({event}), which no exercise needs")

    sys.addaudithook(hook)
