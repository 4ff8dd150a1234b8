"""Many pictures: read on all cores, with a line that says how far, kept for the next time."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import reason
from . import cache
from .cache import Result, Stamp
from .names import counted
from .pictures import Unreadable, decode, read_file

THREADS = 8  # at most: each holds a decoded picture
LIVE_SECONDS, RARE_SECONDS = 0.5, 60  # between lines on a terminal, and elsewhere


def read_all(
    folder: str | os.PathLike,
    files: Sequence[Path],
    input_shape: Sequence[int],
    notice: Callable[[str], None],
) -> list[Result]:
    """Read pictures, or take them from the cache where their files have not changed.

    Args:
        folder: what the cache calls them by.
        files: below it.
        input_shape: (height, width, channels) that they are brought to.
        notice: called with how far it is, once a minute; its `live` more often, where it has one.

    Returns:
        For each file in order: uint8 (height, width, channels), 0-255, or why it cannot be read.
    """
    kept = cache.read(folder, input_shape)
    stamps = [_stamp(folder, file) for file in files]
    missing = [i for i, stamp in enumerate(stamps) if stamp is None or stamp not in kept]
    fresh: dict[int, Result] = {}
    passing = set()  # what may be otherwise the next time
    progress = _Progress(folder, len(missing), notice)
    pool = ThreadPoolExecutor(min(THREADS, _cores()))
    try:
        read = pool.map(lambda i: _read(files[i], input_shape), missing)
        for i, (result, lasts) in zip(missing, read):
            fresh[i] = result
            if not lasts:
                passing.add(i)
            progress.done(len(fresh))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        progress.end()
    results = [fresh[i] if i in fresh else kept[stamp] for i, stamp in enumerate(stamps)]  # type: ignore[index]
    if missing or len(kept) > len(files):
        lasting = {s: results[i] for i, s in enumerate(stamps) if s and i not in passing}
        cache.write(folder, input_shape, lasting)
    return results


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


def _stamp(folder: str | os.PathLike, file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    name = str(file.relative_to(folder))
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Progress:
    def __init__(self, folder: str | os.PathLike, total: int, notice: Callable[[str], None]):
        self.folder, self.total = folder, total
        self.is_live = hasattr(notice, "live")
        self.tell = getattr(notice, "live", notice)
        self.pause = LIVE_SECONDS if self.is_live else RARE_SECONDS
        self.start = self.told = time.monotonic()

    def done(self, count: int) -> None:
        """So many are read."""
        now = time.monotonic()
        if now - self.told > self.pause and count < self.total:
            self.told = now
            left = (now - self.start) / count * (self.total - count)
            total = counted(self.total, "picture")
            self.tell(f"{self.folder}: read {count:,} of {total}, {left:.0f} s left")

    def end(self) -> None:
        """Take the line away."""
        if self.is_live and self.told != self.start:
            self.tell("")
