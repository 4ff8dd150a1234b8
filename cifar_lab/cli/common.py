"""What the commands share. The benchmarks use it too."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import paths, schema, terminal
from ..errors import InputError, is_memory, reason
from ..terminal import Notice
from . import streams

OK, WRONG, INTERRUPTED = 0, 2, 130
# Arguments that the library names in its errors, in backquotes; each is a flag of some command
ARGUMENTS = (
    *("callback", "chief", "classes", "coordinator", "csv_log", "data", "data_dir", "data_in"),
    *("devices", "fields", "freeze", "limit", "one_program", "output", "overwrite", "precision"),
    *("process", "resume", "save_weights", "seeds", "size", "skip_damaged", "start"),
    *("tensorboard", "trial_images", "views", "weights"),
)
RENAMED = {"fields": "set", "start": "from"}  # arguments whose flag is called otherwise
WRITTEN = ("--output", "--csv-log", "--tensorboard")  # flags that name what is written
MAX_SEED = 2**32 - 1
_HOST = re.compile(r"[A-Za-z0-9_.:%\[\]-]{0,253}")


class Parser(argparse.ArgumentParser):
    """argparse's, whose complaints are InputErrors, and whose flags cannot be abbreviated.

    Give it a `prog`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:  # one line: argparse would print the usage as well
        raise InputError(f"{message} (see {self.prog} --help)")


def guarded(prog: str, command: Callable[[Any], int], argv: Any) -> int:
    """command(argv), where the package is installed; what goes wrong becomes a line and a code.

    Args:
        prog: how errors begin.
        command: takes the arguments, returns the exit code.
        argv: the arguments.

    Returns:
        The exit code: the command's, WRONG, or INTERRUPTED.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up lines
    if any("error" in option for option in sys.warnoptions):  # a library's is nobody's error here
        warnings.simplefilter("ignore")
    streams.secure()
    try:
        paths.require_installed()
        code = command(argv)
        failed = streams.failure()
        if failed:
            return _wrong(prog, f"the output: cannot be written ({reason(failed)})")
        return code
    except InputError as error:
        return _wrong(prog, as_flags(" ".join(str(error).split())))
    except KeyboardInterrupt as interrupt:
        terminal.clear(sys.stderr)
        terminal.say("")
        terminal.say(f"{prog}: interrupted{''.join(map(str, interrupt.args))}")
        return INTERRUPTED
    except BrokenPipeError:  # a reader of our output that is not a standard stream's went away
        return OK
    except OSError as error:  # a path that no system call takes, a disk that goes away
        where = f"{error.filename}: " if error.filename else ""
        return _wrong(prog, f"{where[:300]}{reason(error)}")
    except RecursionError:
        return _wrong(prog, "something that was given is nested too deeply")
    except Exception as error:
        if not is_memory(error):
            raise
        return _wrong(prog, f"does not fit into memory ({reason(error)[:200]})")


def as_flags(line: str) -> str:
    """A line of the library, which names arguments (`data_dir`), with flags (--data-dir)."""
    return re.sub(f"`({'|'.join(ARGUMENTS)})`", _flag, line)


def _flag(found: re.Match) -> str:
    return "--" + RENAMED.get(found[1], found[1]).replace("_", "-")


def _wrong(prog: str, line: str) -> int:
    terminal.clear(sys.stderr)
    terminal.say(f"{prog}: error: {line}")
    return WRONG


# --- types for add_argument ---


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for add_argument: a whole number from low to high."""
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or high is not None and value > high:
            raise argparse.ArgumentTypeError(f"must be a whole number {allowed}, received {text!r}")
        return value

    return parse


def positive(text: str) -> float:
    """A type for add_argument: a number greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, received {text!r}")
    return value


def share(text: str) -> float:
    """A type for add_argument: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, received {text!r}")
    return value


def address(text: str) -> tuple[str, int]:
    """A type for add_argument: (host, port) of HOST:PORT, or of PORT for this machine."""
    host, _, port = text.rpartition(":")
    sound = _HOST.fullmatch(host) and re.fullmatch("[0-9]{1,5}", port)
    if not sound or int(port) > 65535:
        raise argparse.ArgumentTypeError(
            f"must be HOST:PORT, or PORT for 127.0.0.1, received {text!r}"
        )
    return host or "127.0.0.1", int(port)


# --- flags that several commands have ---


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """--data-dir, --data and --json (`as_json`)."""
    add_data_dir_flag(parser)
    parser.add_argument(
        "--data",
        metavar="NAME_OR_FOLDER",
        help="cifar10, cifar100, cifar100-coarse, fashion-mnist, mnist, synthetic, or a folder of "
        "images with one subfolder a class",
    )
    add_json_flag(parser, "print one JSON object on stdout and nothing else there")


def add_data_dir_flag(parser: argparse.ArgumentParser) -> None:
    """--data-dir."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with real data as published (default: CIFAR_LAB_DATA, the Keras cache, or a "
        "download)",
    )


def add_json_flag(parser: argparse.ArgumentParser, help: str) -> None:
    """--json, which is `as_json` among the parsed arguments."""
    parser.add_argument("--json", action="store_true", dest="as_json", help=help)


def add_seed_flag(parser: argparse.ArgumentParser, help: str, high: int = MAX_SEED) -> None:
    """--seed, 0 to `high`, 0 by default."""
    parser.add_argument("--seed", type=whole(0, high), default=0, metavar="S", help=help)


def refuse_empty(output: str | None, kind: str, flag: str = "--output") -> None:
    """InputError where a path is given and empty; kind: "folder" or "file"."""
    if output == "":
        raise InputError(f"{flag}: must name a {kind}, received ''")


# --- words ---


def program(name: str) -> str:
    """A command's name in its usage: "train.py", in an installed copy "cifar-lab train"."""
    return paths.command(name).removeprefix("python ")


def command_line(script: str, argv: Sequence[str]) -> str:
    """A command as it goes into a card: where things lie on this machine is nobody's business.

    --data-dir becomes DIR, and what is written to an absolute path OUT.
    """
    words = []
    for before, word in zip(("", *argv), argv, strict=False):
        flag, equals, value = word.partition("=")
        named, place = (flag, value) if equals else (before, word)
        if named == "--data-dir":
            place = "DIR"
        elif named in WRITTEN and os.path.isabs(place):
            place = "OUT"
        words.append(f"{flag}={place}" if equals else place)
    return shlex.join(["python", script, *words])


def data_place(name: str) -> str:
    """A data set's name as it is, a folder's absolute: a card says where it was, from anywhere.

    Raises InputError for what is neither.
    """
    from .. import data

    return os.path.abspath(name) if data.is_folder(name) else name


def num_classes(data_name: str) -> int:
    """How many classes a data set has, told without reading or downloading it."""
    from .. import data

    return data.num_classes(data_name)


def shown_path(path: Path) -> str:
    """A path as the user sees it: relative where it lies below the working folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


# --- in and out ---


def start_keras(notice: Notice) -> None:
    """Start Keras, which takes seconds, and say so on a terminal."""
    from .. import backend

    with terminal.doing(notice, "starting Keras"):
        backend.start()
    for line in backend.ignored():
        notice(line)


def read_json(path: str | os.PathLike) -> Any:
    """The JSON object that a file, or a pipe, holds. Raises InputError."""
    try:
        return schema.read_json(path, schema.Fields(), stream=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None


def print_json(value: Any) -> None:
    """A line of JSON on stdout."""
    print(json.dumps(value).replace("\x7f", "\\u007f"))  # which a terminal would obey


def needs(extra: str, *packages: str) -> None:
    """InputError where a package of an extra is not installed, before anything is read or started.

    packages: names of modules.
    """
    for name in packages:
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            hint = paths.install_hint(extra)
            raise InputError(f"{name.replace('_', '-')}: is not installed ({hint})")
