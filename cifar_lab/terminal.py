"""What a user sees while something takes long: lines, and on a terminal one below them that moves.

A line goes to stderr and stays. The moving one is drawn on a terminal alone: a log holds nothing
but lines, and so does what stands behind a pipe, in an editor's window (TERM=dumb) or in `--json`.

Why not `rich`, which Keras brings along: its display stands with the cursor at its end and goes
back as many rows as it drew, so where a terminal that wraps lines anew is made narrower, the rest
of the old bar stays (tests/test_terminal.py shows it); it draws from a thread of its own, and takes
sys.stderr for itself while it does. Here the cursor stands at the line's beginning, where it stays
when the terminal wraps, and everything from there on is erased before the next is drawn.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

ERASE = "\r\x1b[J"  # from the beginning of the line to the end of the screen
DUMB = ("dumb", "unknown")
MOST = 500  # characters of a line on stderr
LEAST_BAR, MOST_BAR = 10, 30  # columns of a bar, its ends included
BAR_RANK = 2  # parts above it stand beside a bar, not in its place


class Notice:
    """Lines for the user on stderr; on a terminal, `live` shows one that the next line replaces.

    live: called with a line, which is cut to the width of the terminal, or "" to take it away.
        There is no such attribute where no terminal shows it.
    """

    def __init__(self) -> None:
        self._terminal = is_terminal(sys.stderr)
        if self._terminal:
            self.live = self._live

    def __call__(self, line: str) -> None:
        _write(f"{ERASE if self._terminal else ''}{sayable(line)}\n")

    @property
    def columns(self) -> int:
        """Characters that a line of the terminal holds, now; 80 where it does not say."""
        return columns_of(sys.stderr)

    def _live(self, line: str) -> None:
        # the last column stays free: some terminals wrap when it is written to
        shown = fitted(line, self.columns - 1)
        _write(f"{ERASE}{shown}\r")


def say(line: str) -> None:
    """A line on stderr, at once, as `sayable` makes it; none where it cannot be written: it is only
    a line."""
    _write(f"{sayable(line)}\n")


def _write(text: str) -> None:
    if sys.stderr is not None:  # closed: print would take stdout instead
        with contextlib.suppress(OSError, ValueError):
            print(text, end="", file=sys.stderr, flush=True)


def sayable(line: str) -> str:
    """A line as a terminal may have it, whatever names of files and classes are in it: escaped, and
    at most MOST characters, of which the ends are kept."""
    line = escaped(line)
    tail = MOST // 3
    return line if len(line) <= MOST else f"{line[: MOST - tail - 5]} ... {line[-tail:]}"


def escaped(text: str) -> str:
    """The text with escapes for what a terminal would obey instead of showing it, control
    characters and marks of direction, and for whatever else cannot be printed."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def tell(*lines: str) -> None:
    """Lines on stdout, each escaped."""
    print("\n".join(map(escaped, lines)), flush=True)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can erase a line."""
    try:
        return stream.isatty() and os.environ.get("TERM") not in DUMB
    except (AttributeError, ValueError):  # None, or closed
        return False


def columns_of(stream: TextIO) -> int:
    """The width of a terminal. COLUMNS is not asked: it is that of the shell's last look."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (AttributeError, ValueError, OSError):
        return 80


def clear(stream: TextIO) -> None:
    """Take a moving line away that an interruption or an error left."""
    if is_terminal(stream):
        with contextlib.suppress(OSError, ValueError):
            print(ERASE, end="", file=stream, flush=True)


@contextlib.contextmanager
def doing(notice: Callable[[str], Any], what: str) -> Iterator[None]:
    """Show what is being done within a `with`, where `notice` has `live`; else nothing."""
    live = getattr(notice, "live", None)
    if live is None:
        yield
        return
    live(f"{what} ...")
    try:
        yield
    finally:
        live("")


# --- lines that fit ---


def width(text: str) -> int:
    """Columns that a text takes: two for a wide character, none for one that combines."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def printable(text: str) -> str:
    """The text with "?" for what a terminal would obey instead of showing it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def fitted(text: str, columns: int) -> str:
    """A text in so many columns at most: cut where it is longer, "?" for what moves the cursor."""
    text = printable(text)
    while width(text) > max(columns, 0):
        text = text[:-1]
    return text


def bar(share: float, columns: int) -> str:
    """ "[=====>    ]" of so many columns. share: 0 to 1."""
    inside = columns - 2
    full = min(inside, int(share * inside))
    head = ">" if 0 < full < inside else ""
    return f"[{('=' * (full - len(head)) + head).ljust(inside)}]"


def chosen(parts: Sequence[tuple[str, int]], columns: int, share: float | None = None) -> str:
    """A line of those parts that fit into so many columns, with a bar if there is room.

    Args:
        parts: (text, rank) from left to right; the higher the rank the sooner it goes, first those
            above BAR_RANK, if the bar has no room. A rank of 0 stays. "" is no part.
        columns: that the line may take.
        share: 0 to 1, how far it is: a bar stands after the first part; None for none.
    """
    kept = [part for part in parts if part[0]]
    beside = 0 if share is None else LEAST_BAR + 2
    _drop(kept, columns - beside, BAR_RANK)
    _drop(kept, columns, 0)
    words = [text for text, _ in kept]
    room = columns - width("  ".join(words)) - 2
    if share is not None and room >= LEAST_BAR:
        words.insert(1, bar(share, min(room, MOST_BAR)))
    return "  ".join(words)


def _drop(parts: list[tuple[str, int]], columns: int, rank: int) -> None:
    """Take parts above a rank away until the rest fits."""
    while width("  ".join(text for text, _ in parts)) > columns:
        last = max(range(len(parts)), key=lambda i: (parts[i][1], i))
        if parts[last][1] <= rank:
            return
        del parts[last]


def clock(seconds: float) -> str:
    """ "1:02:03", "2:03"."""
    seconds = round(seconds)
    minutes = f"{seconds // 60 % 60}:{seconds % 60:02d}"
    return f"{seconds // 3600}:{minutes:0>5}" if seconds >= 3600 else minutes
