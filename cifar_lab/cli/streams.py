"""The standard streams of a command, so that a closed one, a full disk or a reader that went away
takes no work down."""

from __future__ import annotations

import io
import os
import sys


class Patient(io.FileIO):
    """A file whose writes do not raise: after the first that fails it takes what comes, and forgets
    it.

    failure: the OSError of that write, else None.
    """

    failure: OSError | None = None

    def write(self, data, /):
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def secure() -> None:
    """Let this process have three standard streams, the last two of them patient.

    A closed one becomes the null device: else the next file that is opened, which may be a state
    file, gets its number, and takes what a library writes to stderr. Streams that a program put
    into the place of Python's own stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    for number, name in ((1, "stdout"), (2, "stderr")):
        own = getattr(sys, name)
        if own is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(number, own))
        elif hasattr(own, "reconfigure"):  # a file's name may hold what the encoding has not
            own.reconfigure(errors="backslashreplace")


def _patient(number: int, own: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A stream for a file descriptor, like Python's own but for its patience."""
    if own is not None:
        try:
            own.flush()
        except OSError:
            return own
    is_terminal = own is not None and own.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(Patient(number, "w", closefd=False)),
        encoding=own.encoding if own is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=is_terminal or number == 2,
        write_through=own is not None and own.write_through,
    )


def failure() -> OSError | None:
    """What kept stdout from being written, None where nothing did, or where its reader went away,
    who has read enough."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    found = getattr(raw, "failure", None)
    return None if isinstance(found, BrokenPipeError) else found
