"""How much memory there is, what is refused because there is less, and which data sets are held in
it."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError

#: Where the images of a data set are: auto holds in memory what takes at most SHARE of it. The
#: variable is for commands and calls that do not say.
VARIABLE = "CIFAR_LAB_DATA_IN"
CHOICES = ("auto", "memory", "disk")
#: While TensorFlow takes them up they are in memory three times (docs/guide/growing.md).
SHARE = 1 / 4


# Where Linux keeps the limit of a container, "max" or a number of bytes
_OF_CONTAINER = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@functools.cache
def total() -> int | None:
    """Bytes of memory that this process can have at most; None where the system does not say."""
    found = []
    with contextlib.suppress(
        AttributeError, ValueError, OSError
    ):  # Windows; a system without the names
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _OF_CONTAINER:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(file.read_text()))
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found += [limit] if limit != resource.RLIM_INFINITY else []
    return min((n for n in found if n > 0), default=None)


def require(size: int, what: str) -> None:
    """InputError where `size` bytes are more than the machine has. what: takes them, for the
    error, a plural."""
    most = total()
    if most is not None and size > most:
        raise InputError(
            f"{what} take {size / 1e9:,.1f} GB of memory, this machine has {most / 1e9:,.1f} GB"
        )


def available() -> int | None:
    """Bytes that this process may take without swapping; None where the system does not say."""
    free = None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/meminfo") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
        free = int(line.split()[1]) * 1024
    if free is None:
        with contextlib.suppress(AttributeError, ValueError, OSError):
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    bounded = _of_container()
    found = [value for value in (free, bounded) if value is not None]
    return min(found) if found else None


def _of_container() -> int | None:
    """What a control group leaves, None where there is no such bound. Files that it keeps in memory
    count as free: they make room."""
    for limit, used, files in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        with contextlib.suppress(OSError, ValueError):
            root = Path("/sys/fs/cgroup")
            most = int((root / limit).read_text())  # "max" is no number
            if most > 1 << 60:
                continue
            stat = dict(line.split() for line in (root / files).read_text().splitlines())
            reclaimable = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            return max(0, most - int((root / used).read_text()) + reclaimable)
    return None


def of_gpu() -> int | None:
    """Bytes of the GPU that Keras computes on; None where there is none, or it does not say."""
    import keras

    from . import backend

    if backend.device()[0] != "GPU":
        return None
    with contextlib.suppress(Exception):  # a driver raises nearly anything
        name = keras.backend.backend()
        if name == "jax":
            import jax

            return int(jax.devices()[0].memory_stats()["bytes_limit"])
        if name == "torch":
            import torch

            return int(torch.cuda.mem_get_info()[1])
        asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
        return min(int(line) for line in said.split()) << 20
    return None


def choice(data_in: str | None) -> str:
    """One of CHOICES: what is asked for, or else the environment's, or auto. Raises InputError."""
    given, named = data_in, "`data_in`"
    if given is None:
        given, named = os.environ.get(VARIABLE) or "auto", VARIABLE
    if given not in CHOICES:
        raise InputError(f"{named}: must be one of {', '.join(CHOICES)}, received {given!r}")
    return given


def stay_on_disk(
    data_in: str | None,
    images: int,
    size: int,
    name: str,
    notice: Callable[[str], Any],
    kept: bool = True,
) -> bool:
    """Whether the images of a data set are read from disk as they are needed.

    Args:
        data_in: see `choice`.
        images: how many there are.
        size: bytes of one.
        name: of the set, for the lines.
        notice: called with a line where the set is too large for memory.
        kept: whether there is a cache to read them from.

    Raises:
        InputError: as `choice`, or there is no cache and they do not fit into memory (or are to be
            on disk).
    """
    data_in = choice(data_in)
    off = "CIFAR_LAB_CACHE is off, or there is no home folder: images on disk need a cache"
    if data_in == "disk" and not kept:
        raise InputError(f"{name}: images are to be on disk: {off}")
    free, whole = available(), images * size
    if data_in == "memory":
        require(whole, f"{name}: {images:,} images")
    if data_in != "auto":
        return data_in == "disk"
    if free is None or whole <= SHARE * free:
        return False
    large = (
        f"{name}: {images:,} images take {in_words(whole)}, over a quarter of the {in_words(free)} "
        "of memory that are free"
    )
    if kept:
        notice(f"{large}: they stay on disk, in the cache, and are read as they are needed")
        return True
    if whole > free:
        raise InputError(f"{large}, and {off}")
    notice(f"note: {large}; they are held in memory, for there is no cache")
    return False


def in_words(size: float) -> str:
    """ "3.1 GB"."""
    units = ["bytes", "KB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return (
        f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"
    )
