"""A disk that fails, or a process that is killed, at any one write within a folder.

A `Disk` counts the writes, and lets one of them fail. Python's own `open`, and what `os` has to
change a folder, stand in for the system's calls: numpy, zipfile, pathlib, tempfile,
shutil and Keras write through them. (What HDF5 and matplotlib write goes to memory first.)
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

KINDS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "kill": None}
#: Calls that change a folder, by how many of their arguments are paths.
CALLS = {"replace": 2, "rename": 2, "link": 2, "mkdir": 1}
#: Calls that take no room: a disk that is full already does them.
RENAMES = ("replace", "rename")
#: Calls that make room: a disk does not refuse them, but a process may be killed before one.
REMOVALS = ("unlink", "remove", "rmdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """The process is gone: nobody catches this, and nothing is written or removed after it."""


class Disk:
    """A disk below a folder.

    Args:
        folder: whose writes are counted, from 0.
        at: the write that fails; None: none does.
        kind: a key of KINDS. After ENOSPC the disk stays full and does no more than rename, EIO is
            passing, and after a kill nothing is written any more.

    Attributes: seen, what was counted: (call, name of the file).
    """

    def __init__(self, folder: Path, at: int | None = None, kind: str = "ENOSPC"):
        self.folder, self.at, self.kind = str(folder), at, kind
        self.seen: list[tuple[str, str]] = []
        self.full = self.dead = False

    def mine(self, path) -> bool:
        try:
            return os.path.abspath(os.fsdecode(path)).startswith(self.folder)
        except TypeError:  # a file descriptor
            return False

    def point(self, call: str, path, removes: bool = False) -> None:
        """Count a call on a path, and raise where it is to fail."""
        if self.dead:
            raise Killed
        if removes and self.kind != "kill":
            return
        here = len(self.seen) == self.at
        self.seen.append((call, os.path.basename(os.fsdecode(path))))
        if here and self.kind == "kill":
            self.dead = True
            raise Killed
        if here or (self.full and call not in RENAMES):
            self.full = self.kind == "ENOSPC"
            code = KINDS[self.kind]
            raise OSError(code, os.strerror(code), os.fsdecode(path))


class File(io.FileIO):
    """A file of a Disk, whose name is a path."""

    disk: Disk

    def write(self, data, /):
        if self.disk.dead:  # of a buffer that is given up
            return memoryview(data).nbytes
        try:
            self.disk.point("write", self.name)
        except Killed:
            return memoryview(data).nbytes
        except OSError:
            super().write(bytes(data)[: memoryview(data).nbytes // 2])  # as far as there was room
            raise
        return super().write(data)


@contextlib.contextmanager
def failing(disk: Disk) -> Iterator[Disk]:
    """Within, files are those of a disk."""
    real_open, real_os_open, real_fsync = io.open, os.open, os.fsync

    def opened(
        file,
        mode="r",
        buffering=-1,
        encoding=None,
        errors=None,
        newline=None,
        closefd=True,
        opener=None,
    ):
        writes = any(letter in mode for letter in "wax+")
        if not (writes and isinstance(file, (str, bytes, os.PathLike)) and disk.mine(file)):
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if opener is None:  # else its os.open is counted
            disk.point("open", file)
        raw = File(os.fspath(file), mode.replace("b", "").replace("t", ""), True, opener)
        raw.disk = disk
        binary = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, encoding, errors, newline)

    def os_open(path, flags, *args, **kwargs):
        if flags & WRITING and disk.mine(path):
            disk.point("open", path)
        return real_os_open(path, flags, *args, **kwargs)

    def fsync(number):
        name = os.readlink(f"/proc/self/fd/{number}")
        if disk.mine(name):
            disk.point("fsync", name)
        return real_fsync(number)

    def guarded(name: str, real: Callable, paths: int) -> Callable:
        def call(*args, **kwargs):
            relative = kwargs.get("dir_fd") is not None  # of shutil.rmtree
            if relative and disk.dead or any(map(disk.mine, args[:paths])):
                disk.point(name, args[paths - 1], name in REMOVALS)
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(os, "open", os_open)
        patch.setattr(os, "fsync", fsync)
        for name, paths in (CALLS | dict.fromkeys(REMOVALS, 1)).items():
            patch.setattr(os, name, guarded(name, getattr(os, name), paths))
        yield disk
