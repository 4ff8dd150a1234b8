"""How much memory this machine has, and what is refused because it has less."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from pathlib import Path

from .errors import InputError

# Where Linux keeps the limit of a container, "max" or a number of bytes
_OF_CONTAINER = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@functools.cache
def total() -> int | None:
    """Bytes of memory that this process can have at most; None where the system does not say."""
    found = []
    with suppress(AttributeError, ValueError, OSError):  # Windows; a system without the names
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _OF_CONTAINER:
        with suppress(OSError, ValueError):
            found.append(int(file.read_text()))
    with suppress(ImportError):
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
