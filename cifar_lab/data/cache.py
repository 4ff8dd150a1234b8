"""Pictures that were read or drawn before, kept in the user's cache folder.

A file a folder and shape: a line of JSON that lists the pictures, then their pixels. A file for
what was drawn: arrays, as NumPy stores them. Nothing in them is trusted: what is damaged, foreign
or of another reader is read or drawn anew.
"""

import contextlib
import hashlib
import json
import math
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar, cast

import numpy as np
import PIL

from .. import arrays, files

READER = 2  # raise it where a picture's pixels come out otherwise than before
MAX_BYTES = 2 << 30  # of all files in the cache together
ENDING = ".pictures"

# A file's name below its folder, size, and times of change of content and of status, in ns
Stamp = tuple[str, int, int, int]
# A picture, uint8 (height, width, channels), or why the file holds none
Result = np.ndarray | str

Arrays = TypeVar("Arrays", bound=tuple[np.ndarray, ...])
# What a file that is none of ours raises, whatever is in it
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RecursionError, MemoryError)
_MOST_BYTES_OF_LIST = 48 << 20  # of the line that lists the pictures


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


def read(folder: str | os.PathLike, shape: Sequence[int]) -> dict[Stamp, Result]:
    """What was kept of a folder, {} where nothing was or can be read.

    Args:
        folder: of pictures.
        shape: (height, width, channels) that they were brought to.
    """
    path = _path(folder, shape)
    try:
        if path is None:
            return {}
        with files.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            header = json.loads(file.readline(_MOST_BYTES_OF_LIST))
            if size > MAX_BYTES or header["key"] != _key(folder, shape):
                return {}
            stamps = [(str(n), int(s), int(m), int(c)) for n, s, m, c in header["stamps"]]
            damage = dict(header["damage"])
            sound = [stamp for stamp in stamps if stamp[0] not in damage]
            if size - file.tell() != len(sound) * math.prod(shape):
                return {}
            pixels = np.frombuffer(file.read(), np.uint8)
        if header["crc"] != zlib.crc32(pixels.data):
            return {}
        images = pixels.reshape(len(sound), *shape)
        os.utime(path)  # the oldest go first
    except _UNREADABLE:
        return {}
    kept: dict[Stamp, Result] = dict(zip(sound, images, strict=True))
    return kept | {stamp: str(damage[stamp[0]]) for stamp in stamps if stamp[0] in damage}


def write(folder: str | os.PathLike, shape: Sequence[int], results: Mapping[Stamp, Result]) -> None:
    """Keep the pictures of a folder, in place of what was kept of it; silent where it cannot."""
    path = _path(folder, shape)
    images = [r for r in results.values() if not isinstance(r, str)]
    if path is None or sum(image.nbytes for image in images) > MAX_BYTES // 2:
        return
    pixels = np.stack(images) if images else np.zeros(0, np.uint8)
    header = {
        "key": _key(folder, shape),
        "crc": zlib.crc32(pixels.data),
        "damage": {stamp[0]: r for stamp, r in results.items() if isinstance(r, str)},
        "stamps": list(results),
    }

    def fill(file: IO[bytes]) -> None:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(pixels.data)

    _write(path, fill)


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Put a file there that `fill` writes, whole or not at all; silent where it cannot."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = file.name
            fill(file)
        os.replace(temporary, path)
        _bound(path)
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


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


def _key(folder: str | os.PathLike, shape: Sequence[int]) -> list:
    absolute = os.fsencode(os.path.abspath(folder)).decode("utf-8", "backslashreplace")
    return [absolute, list(map(int, shape)), READER, PIL.__version__]


def _path(folder: str | os.PathLike, shape: Sequence[int]) -> Path | None:
    root = place()
    name = hashlib.sha256(json.dumps(_key(folder, shape)).encode()).hexdigest()[:32]
    return root / (name + ENDING) if root else None


def _bound(newest: Path) -> None:
    """Remove the files that were used longest ago, until the rest is small enough."""
    files = []
    for path in newest.parent.iterdir():
        if path.suffix in (ENDING, ".part"):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MAX_BYTES:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
