"""Files that others wrote, read with a bound: first what kind of file it is and how large, then its
bytes."""

from __future__ import annotations

import errno
import os
import select
import stat
from io import BufferedReader
from typing import IO, Any

PIPE_SECONDS = 60  # that a pipe may be silent
_AT_ONCE = 1 << 16


class TooLarge(OSError):
    """A file has more bytes than it may. size, most: how many it has and may have."""

    def __init__(self, size: int, most: int, path: Any) -> None:
        text = f"has {size:,} bytes, may have {most:,}"
        super().__init__(errno.EINVAL, text, os.fsdecode(path))
        self.size, self.most = size, most


def read(path: str | bytes | os.PathLike, most: int, most_of_pipe: int = 0) -> bytes:
    """The contents of a file.

    Args:
        path: of a regular file, or a link to one.
        most: bytes that it may have.
        most_of_pipe: bytes that are read of a pipe; 0 refuses one.

    Raises:
        OSError: there is none, it cannot be read, or it is a folder, a device, a socket; a pipe
            that is silent for PIPE_SECONDS.
        TooLarge: it has more bytes (an OSError too).
    """
    with _opened(path) as file:
        if most_of_pipe and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            return _from_pipe(file, most_of_pipe, path)
        size = _size(file, path)
        if size > most:
            raise TooLarge(size, most, path)
        content = file.read(size + 1)
        if len(content) > size:
            raise OSError(errno.EINVAL, "grew while it was read", os.fsdecode(path))
    return content


def opened(path: str | bytes | os.PathLike) -> BufferedReader:
    """A regular file, opened to be read in bytes. Raises OSError, as `read`."""
    file = _opened(path)
    try:
        _size(file, path)
    except OSError:
        file.close()
        raise
    return file


def _opened(path: Any) -> BufferedReader:
    # a pipe that nobody writes into would hold whoever opens it otherwise
    unheld = getattr(os, "O_NONBLOCK", 0)
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | unheld))


def _size(file: IO[bytes], path: Any) -> int:
    """Of a regular file. OSError for anything else."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        kind = "a pipe" if stat.S_ISFIFO(status.st_mode) else "a device"
        raise OSError(errno.EINVAL, f"is {kind}, must be a file", os.fsdecode(path))
    return status.st_size


def _from_pipe(file: IO[bytes], most: int, path: Any) -> bytes:
    content = bytearray()
    while True:
        if not select.select([file], [], [], PIPE_SECONDS)[0]:
            raise OSError(
                errno.EINVAL,
                f"is a pipe that nothing came out of for {PIPE_SECONDS:g} s",
                os.fsdecode(path),
            )
        part = os.read(file.fileno(), _AT_ONCE)
        if not part:
            return bytes(content)
        content += part
        if len(content) > most:
            raise TooLarge(len(content), most, path)
