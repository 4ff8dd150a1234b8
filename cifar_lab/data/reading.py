"""Many pictures: read on all cores, with a line that says how far, kept for the next time."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import reason
from . import cache
from .cache import Result, Stamp
from .names import counted
from .on_disk import mapped
from .pictures import Unreadable, decode, read_file

THREADS = 8  # at most: each holds a decoded picture
AHEAD = 16  # pictures a thread that wait for the one whose turn it is
LIVE_SECONDS, RARE_SECONDS = 0.5, 60  # between lines on a terminal, and elsewhere


@dataclass(frozen=True)
class Read:
    """What was read.

    Fields:
        images: uint8 (N, height, width, channels), 0-255, those of the files that can be read, in
            their order.
        damaged: of the other files, by their place among all, why they cannot be read.
    """

    images: np.ndarray
    damaged: dict[int, str]


def read_all(
    folder: str | os.PathLike,
    files: Sequence[Path],
    input_shape: Sequence[int],
    notice: Callable[[str], None],
    on_disk: bool = False,
) -> Read:
    """Read pictures, or take them from the cache where their files have not changed.

    Interrupted, it goes on the next time where it was.

    Args:
        folder: what the cache calls them by.
        files: below it.
        input_shape: (height, width, channels) that they are brought to.
        notice: called with how far it is, once a minute; its `live` more often, where it has one.
        on_disk: leave the images in the cache, see `on_disk.OnDisk`; memory never holds more than
            some of them.

    Raises:
        InputError: they are to be left in the cache, which cannot be written.
    """
    kept = cache.read(folder, input_shape)
    stamps = [_stamp(folder, file) for file in files]
    missing = [file for file, stamp in zip(files, stamps) if stamp not in kept.places]
    if not missing and (on_disk or len(kept.places) <= len(files)):
        return _taken(kept, stamps, on_disk)
    images = np.empty((0 if on_disk else len(files), *input_shape), np.uint8)
    damaged: dict[int, str] = {}
    done = 0
    with (
        cache.Pictures(folder, input_shape, len(files), needed=on_disk) as pictures,
        _Fresh(folder, missing, input_shape, notice) as fresh,
    ):
        try:
            for i, stamp in enumerate(stamps):
                place = kept.places.get(stamp)
                result: Result
                if place is None:
                    result, lasts = next(fresh)
                else:
                    result, lasts = place if isinstance(place, str) else kept.pixels[place], True
                if isinstance(result, str):
                    damaged[i] = result
                elif not on_disk:
                    images[done] = result
                done += not isinstance(result, str)
                if lasts:
                    pictures.add(stamp, result)
        except KeyboardInterrupt:
            if i >= len(kept.places):  # more than is there already
                pictures.finish()
            raise
        file = pictures.finish()
    if on_disk:
        return Read(mapped(file if file is not None else images), damaged)
    return Read(images[:done], damaged)


def _taken(kept: cache.Kept, stamps: Sequence[Stamp], on_disk: bool) -> Read:
    """All of it from what was kept."""
    places = [kept.places[stamp] for stamp in stamps]
    damaged = {i: place for i, place in enumerate(places) if isinstance(place, str)}
    rows = np.array([place for place in places if not isinstance(place, str)], np.int64)
    images = mapped(kept.pixels, rows=rows)
    return Read(images if on_disk else np.asarray(images), damaged)


class _Fresh:
    """An iterator over files, decoded by threads: of each (the picture or why it cannot be read,
    whether that lasts as long as the file). To be used within a `with`."""

    def __init__(
        self,
        folder: str | os.PathLike,
        files: Sequence[Path],
        input_shape: Sequence[int],
        notice: Callable[[str], None],
    ):
        threads = min(THREADS, cores())
        self._pool = ThreadPoolExecutor(threads)
        self._progress = Progress(folder, len(files), notice)
        self._futures = self._in_order(files, input_shape, threads * AHEAD)
        self._count = 0

    def __enter__(self) -> "_Fresh":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._progress.end()

    def __next__(self) -> tuple[Result, bool]:
        found = next(self._futures).result()
        self._count += 1
        self._progress.done(self._count)
        return found

    def _in_order(
        self, files: Iterable[Path], input_shape: Sequence[int], most: int
    ) -> Iterator[Future]:
        waiting: deque[Future] = deque()
        for file in files:
            waiting.append(self._pool.submit(_read, file, input_shape))
            if len(waiting) == most:
                yield waiting.popleft()
        yield from waiting


def _read(file: Path, input_shape: Sequence[int]) -> tuple[Result, bool]:
    """(the picture or why it cannot be read, whether that lasts as long as the file)."""
    try:
        return decode(read_file(file), input_shape, file.suffix), True
    except Unreadable as error:
        return str(error), True
    except OSError as error:
        return f"cannot be read ({reason(error)})", False
    except MemoryError:
        return "does not fit into memory", False


def _stamp(folder: str | os.PathLike, file: Path) -> Stamp:
    name = str(file.relative_to(folder))
    try:
        status = file.stat()
    except OSError:
        return name, -1, -1, -1  # which is no file's
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Progress:
    """A line that says how far it is, now and then."""

    def __init__(
        self, name: str | os.PathLike, total: int, notice: Callable[[str], None], verb: str = "read"
    ):
        self.name, self.total, self.verb = name, total, verb
        self.is_live = hasattr(notice, "live")
        self.tell = getattr(notice, "live", notice)
        self.pause = LIVE_SECONDS if self.is_live else RARE_SECONDS
        self.start = self.told = time.monotonic()

    def done(self, count: int) -> None:
        """So many are there."""
        now = time.monotonic()
        if now - self.told > self.pause and count < self.total:
            self.told = now
            left = (now - self.start) / count * (self.total - count)
            total = counted(self.total, "picture")
            self.tell(f"{self.name}: {self.verb} {count:,} of {total}, {left:.0f} s left")

    def end(self) -> None:
        """Take the line away."""
        if self.is_live and self.told != self.start:
            self.tell("")
