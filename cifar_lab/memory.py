"""How much memory there is, what is refused for want of it, and which data sets are held in it."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError

#: Where the images of a data set are kept: auto holds in memory what takes at most SHARE of what is
#: free. The variable decides for commands and calls that do not say.
VARIABLE = "CIFAR_LAB_DATA_IN"
CHOICES = ("auto", "memory", "disk")
#: While TensorFlow loads images they are in memory three times (docs/guide/growing.md).
SHARE = 1 / 4


# Where Linux keeps a container's limit ("max", or bytes), the bytes in use, and what they hold
_CONTAINER = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
_GROUPS = Path("/sys/fs/cgroup")


@functools.cache
def total() -> int | None:
    """Bytes of memory that this process can have at most; None where the system does not say."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no such name, as on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name, _, _ in _CONTAINER:
        with contextlib.suppress(OSError, ValueError):
            found.append(int((_GROUPS / name).read_text()))
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found += [limit] if limit != resource.RLIM_INFINITY else []
    return min((n for n in found if n > 0), default=None)


def require(size: int, what: str) -> None:
    """InputError where `size` bytes are more than the machine has. what: needs them, a plural, as
    the error names it."""
    most = total()
    if most is not None and size > most:
        raise InputError(
            f"{what} take {size / 1e9:,.1f} GB of memory, this machine has {most / 1e9:,.1f} GB"
        )


def available() -> int | None:
    """Bytes that this process may take without swapping, `total` where the system says no more;
    None where it does not say that either."""
    found = [total()]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/meminfo") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    for names in _CONTAINER:
        with contextlib.suppress(OSError, ValueError):
            limit, used, stat = ((_GROUPS / name).read_text() for name in names)
            parts = dict(line.split() for line in stat.splitlines())
            # pages of files make room where it is needed
            files = int(parts.get("total_inactive_file", parts.get("inactive_file", 0)))
            found.append(max(0, int(limit) - int(used) + files))
    return min((n for n in found if n is not None), default=None)


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
    """One of CHOICES: `data_in`, or else what the environment says, or auto. Raises InputError."""
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
    has_cache: bool,
) -> bool:
    """Whether the images of a data set are to be read from disk as they are needed.

    Args:
        data_in: see `choice`.
        images: how many there are.
        size: bytes of one.
        name: of the set, for the lines.
        notice: called with a line where the set is too large for memory.
        has_cache: whether there is a cache to keep them in.

    Raises:
        InputError: as `choice`; the images must be in memory and do not fit; they must be on disk
            and there is no cache.
    """
    data_in = choice(data_in)
    off = "CIFAR_LAB_CACHE is off, or there is no home folder: images on disk need a cache"
    if data_in == "disk" and not has_cache:
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
    if has_cache:
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
    digits = 0 if units[0] == "bytes" or size >= 100 else 1
    return f"{size:.{digits}f} {units[0]}"
