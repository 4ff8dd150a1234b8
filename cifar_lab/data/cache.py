"""Pictures that were read or drawn before, kept in the user's cache folder.

A file a folder and shape: the pixels, one picture after the other, then a line of JSON that lists
the pictures. A file for what was drawn: arrays, as NumPy stores them. Nothing in them is trusted:
what is damaged, foreign or of another reader is read or drawn anew.

A file is written under another name and then renamed, so that it is there whole or not at all. It
is read from where it lies, mapped into memory: a set may be larger than memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np
import PIL

from .. import arrays, files
from ..errors import InputError, reason
from ..memory import in_words

READER = 2  # raise it where a picture's pixels come out otherwise than before
MAX_BYTES = 2 << 30  # of all files in the cache together, but for the large ones
LARGE_BYTES, LARGE_DAYS = 1 << 30, 30  # of a large one, which is removed when so long unused
ENDING, PART = ".pictures", ".part"
_MARK = b"\ncifar_lab pictures\n"  # the end of a file, after 8 bytes of the list's length
_CHUNK = 1 << 22

# A file's name below its folder, size, and times of change of content and of status, in ns
Stamp = tuple[str, int, int, int]
# A picture, uint8 (height, width, channels), or why the file holds none
Result = np.ndarray | str

Arrays = TypeVar("Arrays", bound=tuple[np.ndarray, ...])
# What a file that is none of ours raises, whatever is in it
_UNREADABLE = (
    *(OSError, ValueError, TypeError, AttributeError, KeyError, EOFError),
    *(OverflowError, RecursionError, MemoryError),
)
_MOST_BYTES_OF_LIST = 1 << 28  # of the line that lists the pictures


def place() -> Path | None:
    """The cache's folder: CIFAR_LAB_CACHE, else where the system keeps caches; None for "off"."""
    given = os.environ.get("CIFAR_LAB_CACHE")
    if given:
        return None if given.lower() == "off" else Path(given).absolute()
    with contextlib.suppress(RuntimeError):  # no home
        if os.environ.get("XDG_CACHE_HOME"):
            return Path(os.environ["XDG_CACHE_HOME"]).absolute() / "cifar_lab"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "cifar_lab"
        if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
            return Path(os.environ["LOCALAPPDATA"]) / "cifar_lab" / "Cache"
        return Path.home() / ".cache" / "cifar_lab"
    return None


# --- the pictures of a folder ---


@dataclass(frozen=True)
class Kept:
    """What was kept of a folder.

    Fields:
        places: of each picture, by its stamp, the index into `pixels`, or why there are none.
        pixels: uint8 (N, height, width, channels), mapped: what is not looked at is not read.
    """

    places: Mapping[Stamp, int | str] = field(default_factory=dict)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.uint8))


def read(folder: str | os.PathLike, shape: Sequence[int]) -> Kept:
    """What was kept of a folder, nothing where nothing was or can be read.

    Args:
        folder: of pictures.
        shape: (height, width, channels) that they were brought to.
    """
    key = _key(folder, shape)
    path = _path(key)
    if path is None:
        return Kept()
    try:
        facts, pixels = _mapped(path, key, shape)
        stamps = [(str(n), int(s), int(m), int(c)) for n, s, m, c in facts["stamps"]]
        damage = facts["damage"]
        sound = [stamp for stamp in stamps if stamp[0] not in damage]
        if len(sound) != len(pixels):
            return Kept()
        places: dict[Stamp, int | str] = {stamp: i for i, stamp in enumerate(sound)}
        places |= {stamp: str(damage[stamp[0]]) for stamp in stamps if stamp[0] in damage}
    except _UNREADABLE:
        return Kept()
    return Kept(places, pixels)


class Pictures:
    """The file of a folder's pictures in the making. Within a `with`; what is not finished by its
    end leaves nothing behind.

    Args:
        folder, shape: as for `read`.
        count: pictures that there will be, at most.
        needed: whether the file must come to be; otherwise it does not where it cannot, in silence.

    Raises:
        InputError: it is needed and cannot be written, here or in what follows.
    """

    def __init__(
        self, folder: str | os.PathLike, shape: Sequence[int], count: int, needed: bool
    ) -> None:
        self._stamps: list[Stamp] = []
        self._damage: dict[str, str] = {}
        self._making = _Making(_key(folder, shape), shape, count, needed)

    def __enter__(self) -> Pictures:
        self._making.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._making.__exit__(*error)

    def add(self, stamp: Stamp, result: Result) -> None:
        """A picture of this shape, or why there is none."""
        self._stamps.append(stamp)
        if isinstance(result, str):
            self._damage[stamp[0]] = result
        else:
            self._making.add(result)

    def finish(self) -> np.ndarray | None:
        """Put the file in its place, with what was added: its pixels, mapped; None where it could
        not be written, or has none."""
        return self._making.finish(damage=self._damage, stamps=self._stamps)


# --- a set that is drawn or was read from a file of its own ---


def drawn(key: str, draw: Callable[[], Arrays], most_bytes: int) -> Arrays:
    """What `draw` returns, kept from one process to the next.

    Args:
        key: says all that decides what is drawn, the program that draws included.
        draw: gives arrays, the same ones for the same key.
        most_bytes: of a file that is read.
    """
    root = place()
    path = root / (hashlib.sha256(key.encode()).hexdigest()[:32] + ENDING) if root else None
    with contextlib.suppress(*_UNREADABLE):
        if path:
            kept = arrays.read(path, arrays.Limits(most_bytes, 64))  # checksums are looked at
            if str(kept["key"]) == key:
                known = tuple(kept[str(i)] for i in range(len(kept) - 1))
                os.utime(path)
                return cast(Arrays, known)
    found = draw()
    if path:
        named = {str(i): array for i, array in enumerate(found)}
        _write(path, lambda file: np.savez(file, key=np.array(key), allow_pickle=False, **named))
    return found


def on_disk(
    key: str, shape: Sequence[int], count: int, draw: Callable[[], Iterable[np.ndarray]]
) -> np.ndarray:
    """Images in a file of the cache, mapped: uint8 (count, height, width, channels).

    Args:
        key: says all that decides them, as for `drawn`.
        shape: (height, width, channels).
        count: how many, at least one.
        draw: gives them, some at a time, uint8 (n, height, width, channels); called where the file
            is not there.

    Raises:
        InputError: there is no cache, or it cannot be written.
    """
    whole = [key, list(map(int, shape))]
    path = _path(whole)
    with contextlib.suppress(*_UNREADABLE):
        if path is not None:
            pixels = _mapped(path, whole, shape)[1]
            if len(pixels) == count:
                return pixels
    with _Making(whole, shape, count, needed=True) as making:
        for images in draw():
            making.add(images)
        found = making.finish()
    assert found is not None and len(found) == count
    return found


# --- files ---


def _mapped(path: Path, key: list, shape: Sequence[int]) -> tuple[dict[str, Any], np.ndarray]:
    """(what the list at its end says, pixels) of a file of the cache, whose checksum is tested.

    Raises one of _UNREADABLE where it is not there, damaged, or another key's.
    """
    with files.opened(path) as file:
        end = file.seek(0, os.SEEK_END) - len(_MARK) - 8
        file.seek(max(0, end))
        tail = file.read()
        if end < 0 or tail[8:] != _MARK:
            raise ValueError("not a whole file of pictures")
        size = end - int.from_bytes(tail[:8], "little")
        if size < 0 or size % math.prod(shape) or end - size > _MOST_BYTES_OF_LIST:
            raise ValueError("damaged")
        file.seek(size)
        facts = json.loads(file.read(end - size))
        if facts["key"] != key or facts["crc"] != _checksum(file, size):
            raise ValueError("damaged, or of another folder")
        count = size // math.prod(shape)
        pixels = np.zeros((0, *shape), np.uint8)
        if count:
            pixels = np.memmap(file, np.uint8, "r", shape=(count, *shape))
    os.utime(path)  # the oldest go first
    return facts, pixels


def _checksum(file: BufferedReader, size: int) -> int:
    """Of the first bytes of a file."""
    file.seek(0)
    found, buffer = 0, memoryview(bytearray(min(_CHUNK, size)))
    while size:
        count = file.readinto(buffer[: min(len(buffer), size)])
        if not count:
            raise EOFError
        found, size = zlib.crc32(buffer[:count], found), size - count
    return found


class _Making:
    """A file of the cache in the making: see `Pictures`.

    It lies under its own name with another ending, locked, so that the next one who makes it finds
    what a killed process left and starts over in its place.
    """

    def __init__(self, key: list, shape: Sequence[int], count: int, needed: bool) -> None:
        self.key, self.shape, self.needed = key, tuple(map(int, shape)), needed
        self.count, self.crc = 0, 0
        self.path = _path(key)
        self.most = count * math.prod(self.shape)
        self._file: IO[bytes] | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> _Making:
        if self.path is None or not self.needed and self.most > MAX_BYTES // 2:
            if self.needed:
                raise InputError("CIFAR_LAB_CACHE is off: images on disk need a cache")
            return self
        with self._trying():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._temporary, self._file = _opened(self.path)
            free = shutil.disk_usage(self.path.parent).free
            if self.needed and free < self.most:
                raise OSError(None, f"{in_words(free)} free")
        return self

    def __exit__(self, *_: object) -> None:
        self._abandon()

    def add(self, images: np.ndarray) -> None:
        """One image, or some: uint8 (..., height, width, channels)."""
        if self._file is None:
            return
        with self._trying():
            data = np.ascontiguousarray(images).data
            self._file.write(data)
            self.crc = zlib.crc32(data, self.crc)
            self.count += images.size // math.prod(self.shape)

    def finish(self, **facts: Any) -> np.ndarray | None:
        if self._file is None:
            return None
        file, pixels = self._file, None
        with self._trying():
            text = json.dumps({"key": self.key, "crc": self.crc, **facts}).encode()
            file.write(text + len(text).to_bytes(8, "little") + _MARK)
            file.flush()
            os.fsync(file.fileno())
            if os.name != "posix":  # Windows renames no file that is open
                file.close()
            os.replace(cast(Path, self._temporary), cast(Path, self.path))
            self._file = self._temporary = None
            if self.count:
                source: Any = self.path if file.closed else file
                pixels = np.memmap(source, np.uint8, "r", shape=(self.count, *self.shape))
            file.close()
            with contextlib.suppress(OSError):  # the file is there
                _bound(cast(Path, self.path))
        return pixels

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """What the disk refuses ends the making: with a line where the file is needed."""
        try:
            yield
        except OSError as error:
            self._abandon()
            if self.needed:
                raise InputError(
                    f"{cast(Path, self.path).parent}: images on disk cannot be kept there "
                    f"({reason(error)}): they take {in_words(self.most)}; CIFAR_LAB_CACHE names "
                    "another folder, CIFAR_LAB_DATA_IN=memory needs none"
                ) from None

    def _abandon(self) -> None:
        """Leave nothing behind."""
        file, self._file = self._file, None
        if file:
            with contextlib.suppress(OSError):  # what was not written yet
                file.close()
        if self._temporary:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def _opened(path: Path) -> tuple[Path, IO[bytes]]:
    """(its name, an empty file that is open) to write what will lie at `path`. Where another
    process is writing there already, under a name of its own."""
    temporary = path.with_suffix(PART)
    with contextlib.suppress(ImportError, BlockingIOError):
        import fcntl

        file = open(temporary, "r+b", _CHUNK, opener=_made)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # one that was renamed meanwhile is somebody's whole file
            if os.path.samestat(os.fstat(file.fileno()), os.stat(temporary)):
                file.truncate(0)
                return temporary, file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
    own = tempfile.NamedTemporaryFile(dir=path.parent, suffix=PART, delete=False)
    return Path(own.name), cast(IO[bytes], own)


def _made(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Put a file there that `fill` writes, whole or not at all; silent where it cannot."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=PART, delete=False) as file:
            temporary = file.name
            fill(file)
        os.replace(temporary, path)
        _bound(path)
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _key(folder: str | os.PathLike, shape: Sequence[int]) -> list:
    absolute = os.fsencode(os.path.abspath(folder)).decode("utf-8", "backslashreplace")
    return [absolute, list(map(int, shape)), READER, PIL.__version__]


def _path(key: list) -> Path | None:
    root = place()
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    return root / (name + ENDING) if root else None


def _bound(newest: Path) -> None:
    """Remove the files that were used longest ago, until the rest is small enough; of the large
    ones, which do not count, those that were not used for long; and what killed processes left."""
    files, now = [], time.time()
    for path in newest.parent.iterdir():
        if path.suffix not in (ENDING, PART):
            continue
        status = path.stat()
        days = (now - status.st_mtime) / 86400
        if path.suffix == ENDING and status.st_size <= LARGE_BYTES:
            files.append((status.st_mtime, status.st_size, path))
        elif days > (1 if path.suffix == PART else LARGE_DAYS) and path != newest:
            path.unlink(missing_ok=True)
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MAX_BYTES:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
