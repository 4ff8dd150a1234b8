"""How many threads numpy's matrix products take, for a while.

A second thread that waits for small products spins: it costs processor time, and where other
programs run, a hundred times the time of the products themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

_lock = threading.Lock()
_entered: list[int] = []  # what was set before, the first of them by nobody here


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, matrix products of this process take `count` threads.

    Works with the OpenBLAS that numpy's wheels bring along; with another library nothing changes.
    """
    found = _functions()
    if found is None:
        yield
        return
    get, put = found
    with _lock:  # the library has one number for all of the process's threads
        _entered.append(get())
        put(count)
    try:
        yield
    finally:
        with _lock:
            if len(_entered) == 1:  # nobody else is within
                put(_entered[0])
            _entered.pop()


@functools.cache
def _functions() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS' own functions that tell and set the number of threads, or None."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(str(path))
                for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
                    names = [
                        f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")
                    ]
                    if all(hasattr(library, name) for name in names):
                        get, put = (getattr(library, name) for name in names)
                        get.restype, put.argtypes, put.restype = ctypes.c_int, [ctypes.c_int], None
                        return get, put
    return None
