"""What a file of JSON may hold: types, ranges, lengths and depth, checked where it is read.

A kind says what a value may be, and is made of other kinds:

    CARD = Fields({"seed": Whole(0, 9), "classes": Items(Text(), least=2)}, needed=("classes",))
    card = read_json("card.json", CARD)      # or InputError: card.json: seed must be ..., is "x"

Keys that a kind does not name are let through: a later version may have more to say. What each file
of this package holds stands in `documents`.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import files
from .errors import InputError, reason

#: Of every file that is read here.
MOST_BYTES = 16 << 20
MOST_VALUES = 1_000_000
MOST_DEPTH = 64
MOST_DIGITS = 19  # of a whole number
LONGEST = 60  # characters of a value, or of a key, in a message

_NO_CHARACTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # halves of pairs
_BYTE = re.compile("[\udc80-\udcff]")  # a byte of a file's name that is not UTF-8, as Python has it


class Wrong(ValueError):
    """A value is not of its kind: the message begins with its key, and names no file."""


# --- kinds ----------------------------------------------------------------------------------------


class Kind:
    """What a value may be; this one, anything that JSON holds."""

    def check(self, value: Any, key: str = "") -> None:
        """Raise Wrong where a value, which a message calls `key`, is not of this kind."""


ANYTHING = Kind()


@dataclass(frozen=True)
class Text(Kind):
    """A string.

    Fields:
        most: characters.
        words: what it must be one of; () for any.
        path: whether bytes that are not UTF-8 may be in it, as in the name of a file.
    """

    most: int = 1000
    words: Sequence[str] = ()
    path: bool = False

    def check(self, value: Any, key: str = "") -> None:
        if self.words:
            ok, allowed = value in self.words, f"one of {', '.join(self.words)}"
        else:
            ok, allowed = isinstance(value, str), "a string"
        if not ok:
            raise _wrong(key, allowed, value)
        if len(value) > self.most:
            allowed = f"a string of at most {self.most:,} characters"
            raise Wrong(f"{key} must be {allowed}, has {len(value):,}".lstrip())
        if "\0" in value or not self.path and _BYTE.search(value):
            raise _wrong(key, "a string of characters alone", value)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from low to high."""

    low: float = -math.inf
    high: float = math.inf

    def check(self, value: Any, key: str = "") -> None:
        if not (is_number(value) and self.low <= value <= self.high):
            raise _wrong(key, f"a number{_between(self.low, self.high)}", value)


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from low to high."""

    low: int = 0
    high: int = 10**15

    def check(self, value: Any, key: str = "") -> None:
        ok = isinstance(value, int) and not isinstance(value, bool)
        if not (ok and self.low <= value <= self.high):
            raise _wrong(key, f"a whole number{_between(self.low, self.high)}", value)


@dataclass(frozen=True)
class Flag(Kind):
    """true or false."""

    def check(self, value: Any, key: str = "") -> None:
        if not isinstance(value, bool):
            raise _wrong(key, "true or false", value)


@dataclass(frozen=True)
class Scalar(Kind):
    """A finite number, a string, true or false."""

    def check(self, value: Any, key: str = "") -> None:
        if not (isinstance(value, (str, bool)) or is_number(value)):
            raise _wrong(key, "a number, a string, true or false", value)


@dataclass(frozen=True)
class Maybe(Kind):
    """Of a kind, or null."""

    kind: Kind

    def check(self, value: Any, key: str = "") -> None:
        if value is not None:
            self.kind.check(value, key)


@dataclass(frozen=True)
class Items(Kind):
    """A list whose items are of a kind.

    Fields:
        least, most: items.
        distinct: whether no two may be equal; of strings and numbers.
    """

    kind: Kind = ANYTHING
    least: int = 0
    most: int = 100_000
    distinct: bool = False

    def check(self, value: Any, key: str = "") -> None:
        if not (isinstance(value, list) and self.least <= len(value) <= self.most):
            many = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most:,}"
            raise _wrong(key, f"a list of {many}", value)
        for i, item in enumerate(value):
            self.kind.check(item, f"{key}[{i}]")
        if self.distinct and len(set(value)) < len(value):
            twice = next(item for i, item in enumerate(value) if item in value[:i])
            raise Wrong(f"{key} must not hold {shown(twice)} twice".lstrip())


@dataclass(frozen=True)
class Each(Kind):
    """An object of any keys, whose values are of a kind. most: keys."""

    kind: Kind = ANYTHING
    most: int = 100_000

    def check(self, value: Any, key: str = "") -> None:
        if not (isinstance(value, dict) and len(value) <= self.most):
            raise _wrong(key, f"an object of at most {self.most:,} keys", value)
        for name, item in value.items():
            self.kind.check(item, _below(key, name))


@dataclass(frozen=True)
class Fields(Kind):
    """An object whose keys have kinds of their own.

    Fields:
        kinds: {key: its kind}; others may be there.
        needed: keys that must be there.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    needed: Sequence[str] = ()

    def check(self, value: Any, key: str = "") -> None:
        if not isinstance(value, dict):
            raise _wrong(key, "a JSON object", value)
        missing = [name for name in self.needed if name not in value]
        if missing:
            raise Wrong(f"{key} lacks {', '.join(missing)}".lstrip())
        for name, kind in self.kinds.items():
            if name in value:
                kind.check(value[name], _below(key, name))


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and not true or false."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value):,}"
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"a number of more than {MOST_DIGITS} digits"
    try:
        return cut(json.dumps(value, ensure_ascii=False), LONGEST)
    except (TypeError, ValueError):
        return cut(repr(value), LONGEST)


def told(value: Any, most: int = 200) -> str:
    """A value of a program in a message, as Python writes it, and short."""
    try:
        return cut(repr(value), most)
    except (ValueError, RecursionError):  # numbers of thousands of digits, lists of lists of ...
        return f"a {type(value).__name__}"


def meant(name: Any, names: Iterable[str]) -> str:
    """ " (NAME?)", the one of these names that a wrong one is nearest to; "" where none is near, or
    the wrong one is no string."""
    if not isinstance(name, str):
        return ""
    near = difflib.get_close_matches(name[:LONGEST], list(names), 1)
    return f" ({near[0]}?)" if near else ""


def cut(text: str, most: int) -> str:
    """A text of so many characters at most: of a longer one, its ends."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - half]}...{text[-half:]}"


def _wrong(key: str, allowed: str, value: Any) -> Wrong:
    return Wrong(f"{key} must be {allowed}, is {shown(value)}".lstrip())


def _below(key: str, name: str) -> str:
    name = cut(name, LONGEST)
    return f"{key}.{name}" if key else name


def _between(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    ends = [f"{end:,}" if isinstance(end, int) else f"{end:g}" for end in (low, high)]
    return f" of at least {ends[0]}" if high >= 1e12 else f" from {ends[0]} to {ends[1]}"


# --- keyword arguments ----------------------------------------------------------------------------

Made = TypeVar("Made")


def strict(where: str) -> Callable[[type[Made]], type[Made]]:
    """A decorator of a dataclass: an argument that is no field is an InputError, which begins with
    `where` and names the fields."""

    def decorate(kind: type[Made]) -> type[Made]:
        make = kind.__init__
        names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]

        @functools.wraps(make)
        def init(self: Made, *values: Any, **fields: Any) -> None:
            unknown = next((name for name in fields if name not in names), None)
            if unknown is not None:
                known = f"{meant(unknown, names)}: must be one of {', '.join(names)}"
                raise InputError(f"{where} {told(unknown)}{known}")
            make(self, *values, **fields)

        kind.__init__ = init  # type: ignore[misc, assignment]
        return kind

    return decorate


# --- reading --------------------------------------------------------------------------------------


def read_json(
    path: str | os.PathLike, kind: Kind = ANYTHING, hint: str = "", stream: bool = False
) -> Any:
    """What a file of JSON holds.

    Args:
        path: of the file: UTF-8, at most MOST_BYTES.
        kind: what it must hold.
        hint: what an error ends with, to say what may help.
        stream: whether a pipe will do, whose other end is waited for.

    Raises:
        InputError: "PATH: KEY must be ..., is ...". It is not JSON, not of its kind, or too large.
        OSError: it cannot be read.
    """
    try:
        return parse(read_bytes(path, stream=stream), kind)
    except Wrong as error:
        raise InputError(f"{os.fspath(path)}: {error}{hint}") from None


def read_bytes(path: str | os.PathLike, most: int = MOST_BYTES, stream: bool = False) -> bytes:
    """The content of a file. Raises Wrong where it is larger; OSError as `files.read`."""
    try:
        return files.read(path, most, most if stream else 0)
    except files.TooLarge:
        raise Wrong(f"must have at most {most >> 20} MB, has more") from None


def parse(content: bytes | str, kind: Kind = ANYTHING) -> Any:
    """What a text of JSON holds. Raises Wrong where it is not JSON, or not of its kind.

    Stricter than json.loads: no NaN and no infinity, no number too large for one, no key twice, no
    halves of characters, and nothing that takes much more memory or stack than it has bytes.
    """
    text = _decoded(content) if isinstance(content, bytes) else content
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise Wrong(f"must hold at most {MOST_VALUES:,} values, holds more")
    try:
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
        _check_all(value)
    except Wrong:
        raise
    except ValueError as error:
        raise Wrong(f"is not JSON ({reason(error)})") from None
    except RecursionError:
        raise _too_deep() from None
    kind.check(value)
    return value


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Wrong("must be UTF-8, is UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Wrong(f"is not UTF-8 (byte {error.start:,})") from None


def _whole(word: str) -> int:
    digits = len(word.lstrip("-"))
    if digits > MOST_DIGITS:
        raise Wrong(f"holds a number of {digits:,} digits, may have {MOST_DIGITS}")
    return int(word)


def _real(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise Wrong(f"holds {cut(word, 30)}, which is too large a number")
    return value + 0.0  # no -0.0, below which numpy takes 0.0 to be


def _constant(word: str) -> Any:
    raise Wrong(f"holds {word}, which is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Wrong(f"names {shown(name)} twice")
        found[name] = value
    return found


def _too_deep() -> Wrong:
    return Wrong(f"is nested too deeply: may be {MOST_DEPTH} deep")


def _check_all(value: Any) -> None:
    """Depth, and every string, of what was read."""
    waiting = [(value, 1)]
    while waiting:
        found, depth = waiting.pop()
        if isinstance(found, str):
            _check_characters(found)
            continue
        if not isinstance(found, (dict, list)):
            continue
        if depth > MOST_DEPTH:
            raise _too_deep()
        if isinstance(found, dict):
            for name in found:
                _check_characters(name)
            found = found.values()
        waiting += [(item, depth + 1) for item in found]


def _check_characters(text: str) -> None:
    half = _NO_CHARACTER.search(text)
    if half:
        raise Wrong(f"holds half a character, U+{ord(half[0]):04X}")


# --- tables ---------------------------------------------------------------------------------------

BEYOND = "\0"  # no column is called so


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of a CSV file, by the names in its first line, a name that stood before as "NAME (2)".
    Cells that a row lacks are ""; one that has more than columns has the key BEYOND.

    Raises:
        InputError: it is no such table, or too large.
        OSError: it cannot be read.
    """
    try:
        rows = _rows(read_bytes(path))
    except Wrong as error:
        raise InputError(f"{os.fspath(path)}: {error}") from None
    except csv.Error as error:
        raise InputError(f"{os.fspath(path)}: is not CSV ({reason(error)})") from None
    return rows


def _rows(content: bytes) -> list[dict[str, str]]:
    if content.count(b",") + content.count(b"\n") > MOST_VALUES:
        raise Wrong(f"must hold at most {MOST_VALUES:,} values, holds more")
    lines = csv.reader(io.StringIO(_decoded(content), newline=""))
    names: list[str] = []
    seen: set[str] = set()
    for name in next(lines, []):
        names.append(f"{name} (2)" if name in seen else name)
        seen.add(name)
    rows: list[dict[str, str]] = []
    for cells in filter(None, lines):
        if (len(rows) + 1) * max(1, len(names)) > MOST_VALUES:
            raise Wrong(f"must hold at most {MOST_VALUES:,} values, holds more")
        row = dict.fromkeys(names, "") | dict(zip(names, cells))
        rows.append(row | ({BEYOND: ""} if len(cells) > len(names) else {}))
    return rows


def numbers(
    rows: Sequence[Mapping[str, str]], path: str | os.PathLike, needed: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Rows of `read_csv` whose cells are all finite numbers, with these columns. Raises
    InputError."""
    found = []
    lacking = [name for name in needed if rows and name not in rows[0]]
    if lacking:
        raise InputError(f"{os.fspath(path)}: lacks the column {lacking[0]}")
    for number, row in enumerate(rows, 1):
        if BEYOND in row:
            raise InputError(f"{os.fspath(path)}: row {number} has more cells than columns")
        values = {name: _cell(word) for name, word in row.items()}
        wrong = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if wrong is not None:
            raise InputError(
                f"{os.fspath(path)}: row {number}: {cut(wrong, LONGEST)} must be a number, is "
                f"{shown(row[wrong])}"
            )
        found.append(values)
    return found


def _cell(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
