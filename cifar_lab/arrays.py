"""NumPy's `.npz` files, which may come from anywhere: what a file declares is compared with what it
holds and with a limit before an array is made.

    with arrays.Archive("model.npz", arrays.Limits(1 << 30)) as archive:
        archive.headers["kernel"]                   # Header((3, 3, 3, 32), dtype("float32"), ...)
        archive["kernel"]                           # its array

The formats: zip (APPNOTE 6.3), .npy (NumPy Enhancement Proposal 1).
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np

from . import files

_MOST_BYTES_OF_HEADER = 10_000  # of a .npy member; NumPy's own limit
_BYTES_OF_ENTRY = 1_000  # of an archive's directory, at most, on average
_MOST_EXPANSION = 1_100  # times its compressed size: deflate reaches 1,032
_AT_ONCE = 1 << 20
_END, _END64 = b"PK\5\6", b"PK\6\7"  # of the directory; of where a large one's end lies
_TOLD = re.compile(
    r"\{\s*'descr'\s*:\s*'([<>|=]?(?:[biufcSUVO]\d{0,10}|\?))'\s*,"
    r"\s*'fortran_order'\s*:\s*(True|False)\s*,"
    r"\s*'shape'\s*:\s*\(([\d\s,L]*)\)\s*,?\s*\}\s*"
)
# what zipfile, its decompressor and numpy raise on a damaged file
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(struct.error, SyntaxError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, RecursionError, UnicodeError),
)


@dataclass(frozen=True)
class Limits:
    """What a file may ask for.

    Fields:
        bytes: of all arrays together, and of the file.
        arrays: how many there may be.
    """

    bytes: int
    arrays: int = 20_000


class Header(NamedTuple):
    """What a member says of its array. start: bytes before its values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open `.npz` file.

    Args:
        path: of the file; or the file, open.
        limits: what it may ask for.

    Attributes: headers, {name: Header} in the order of the file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is damaged, holds what is no plain array, or asks for more than it may.
    """

    def __init__(self, path: str | os.PathLike | IO[bytes], limits: Limits) -> None:
        self._file = _open(path, limits)
        try:
            self._members = _members(self._file, limits)
            self.headers = {name: self._header(name) for name in self._members}
        except BaseException as error:
            self.close()
            if isinstance(error, _DAMAGED):
                raise _damaged(error) from None
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of a member. ValueError where there is none, or its bytes are damaged."""
        if name not in self.headers:
            raise ValueError(f"holds no {name!r:.50}")
        told = self.headers[name]
        try:
            with self._opened(name) as member:
                member.read(told.start)
                values = _values(member, told)
        except _DAMAGED as error:
            raise _damaged(error) from None
        if told.is_fortran:
            return values.reshape(told.shape[::-1]).T
        return values.reshape(told.shape)

    def _opened(self, name: str) -> IO[bytes]:
        archive, info = self._members[name]
        return archive.open(info)

    def _header(self, name: str) -> Header:
        info = self._members[name][1]
        with self._opened(name) as member:
            found = header(member.read(12 + _MOST_BYTES_OF_HEADER))
        if found.dtype.hasobject or not found.dtype.itemsize or len(found.shape) > 32:
            raise ValueError(f"{name!r:.50} holds {found.dtype}, no plain numbers")
        if found.start + found.nbytes != info.file_size:
            raise ValueError(
                f"{name!r:.50} says that it is {found.dtype} {found.shape!s:.60}, and has "
                f"{info.file_size - found.start:,} bytes"
            )
        return found


def read(
    path: str | os.PathLike, limits: Limits, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a file, {name: array}; those of `names` alone where they are given.

    Raises as `Archive`; ValueError where a name is missing.
    """
    with Archive(path, limits) as archive:
        return {name: archive[name] for name in (archive.headers if names is None else names)}


def _open(path: str | os.PathLike | IO[bytes], limits: Limits) -> IO[bytes]:
    file = files.opened(path) if isinstance(path, (str, os.PathLike)) else path
    size = file.seek(0, os.SEEK_END)
    if size > limits.bytes + limits.arrays * _BYTES_OF_ENTRY:
        file.close()
        raise files.TooLarge(size, limits.bytes, getattr(file, "name", ""))
    return file


def _damaged(error: BaseException) -> ValueError:
    return ValueError(f"is no .npz archive, or damaged ({str(error) or type(error).__name__:.100})")


_Members = dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]


def _members(file: IO[bytes], limits: Limits) -> _Members:
    """{name: (archive, entry)}. Raises ValueError, BadZipFile."""
    if directory_bytes(file) > limits.arrays * _BYTES_OF_ENTRY:
        raise ValueError(f"holds more than {limits.arrays:,} arrays")
    archive = zipfile.ZipFile(file)
    infos = archive.infolist()
    if len(infos) > limits.arrays:
        raise ValueError(f"holds {len(infos):,} arrays, may hold {limits.arrays:,}")
    found = {info.filename.removesuffix(".npy"): (archive, info) for info in infos}
    if len(found) < len(infos):
        raise ValueError("holds two arrays of one name")
    total = 0
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename!r:.50} is compressed otherwise than by deflate")
        if info.flag_bits & 1:
            raise ValueError(f"{info.filename!r:.50} is encrypted")
        packed = info.compress_type == zipfile.ZIP_DEFLATED
        expansion = _MOST_EXPANSION if packed else 1
        if info.file_size > expansion * info.compress_size + 1_000 * packed:
            raise ValueError(f"{info.filename!r:.50} says that it is larger than it can be")
        total += info.file_size
    if total > limits.bytes + limits.arrays * _BYTES_OF_ENTRY:
        raise ValueError(f"unpacks to {total:,} bytes, may to {limits.bytes:,}")
    size = file.seek(0, os.SEEK_END)
    if sum(info.compress_size for info in infos) > size:  # members that lie in each other
        raise ValueError("says that it is larger than it is")
    return found


def directory_bytes(file: IO[bytes]) -> int:
    """What a zip archive says that its list of members takes, which zipfile reads whole.

    Raises BadZipFile.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 100))
    tail = file.read()
    sizes = []
    for end in re.finditer(re.escape(_END), tail):  # which of them counts is zipfile's to say
        at = end.start()
        if len(tail) < at + 22:
            continue
        told = struct.unpack_from("<I", tail, at + 12)[0]
        if at >= 76 and tail[at - 20 : at - 16] == _END64:
            large = struct.unpack_from("<Q", tail, at - 76 + 40)[0]
            told = large if told == 0xFFFFFFFF else max(told, large)
        sizes.append(told)
    if not sizes:
        raise zipfile.BadZipFile("it has no end")
    return max(sizes)


def header(start: bytes) -> Header:
    """The header of a .npy file, by its first bytes. Raises ValueError."""
    version = start[6:8]
    if len(start) < 12 or start[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("holds what is no array")
    letter = "<H" if version == b"\1\0" else "<I"
    at = 8 + struct.calcsize(letter)
    length = struct.unpack_from(letter, start, 8)[0]
    if at + length > len(start):
        raise ValueError("holds an array with a header that is too long")
    told = _TOLD.fullmatch(start[at : at + length].decode("latin1"))
    if not told:
        raise ValueError("holds an array of other than plain numbers")
    sides = re.findall(r"\d+", told[3])
    if any(len(side) > 19 for side in sides):
        raise ValueError("holds an array that is larger than any")
    shape = tuple(map(int, sides))
    return Header(shape, np.dtype(told[1]), told[2] == "True", at + length)


def _values(member: IO[bytes], told: Header) -> np.ndarray:
    """The values of an array in the order of the file. To its end, where its checksum is told."""
    values = np.empty(math.prod(told.shape), told.dtype)
    target = memoryview(values.view(np.uint8)) if told.nbytes else memoryview(b"")
    at = 0
    while part := member.read(_AT_ONCE):
        if at + len(part) > told.nbytes:
            raise EOFError("it has more bytes than it says")
        target[at : at + len(part)] = part
        at += len(part)
    if at < told.nbytes:
        raise EOFError("it is cut off")
    return values
