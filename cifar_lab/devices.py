"""What a training computes on: one device, several, or those of several processes. Imports no
Keras."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from .errors import InputError

MOST = 1024  # devices of a process, and processes
_ALLOWED = "a number of devices, all, or cpu:N for N virtual devices of the processor"


@dataclass(frozen=True)
class Devices:
    """What a training computes on. Make one with `of`.

    Fields:
        count: devices of this process; 0 for all that it has.
        virtual: whether they are parts of the processor, to rehearse on; then count is given.
        text: how the user said so.
    """

    count: int = 1
    virtual: bool = False
    text: str = ""


def of(devices: int | str | None) -> Devices | None:
    """What `devices` says: N, "all" or "cpu:N"; None for None. Raises InputError.

    The backend is looked at, not started.
    """
    if devices is None:
        return None
    text = str(devices).strip()
    kind, colon, number = text.rpartition(":")
    if text == "all":
        found = Devices(0, False, text)
    elif (not colon or kind == "cpu") and number.isdecimal() and 1 <= int(number) <= MOST:
        found = Devices(int(number), bool(colon), text)
    else:
        raise InputError(f"`devices`: must be {_ALLOWED}, received {text!r}")
    if isinstance(devices, bool):
        raise InputError(f"`devices`: must be {_ALLOWED}, received {devices!r}")
    name = _backend()
    if name == "torch" and (found.count > 1 or found.virtual):
        raise InputError(
            f"`devices` {text}: on KERAS_BACKEND=torch a training has one device; tensorflow and "
            "jax train on several"
        )
    return found


def _backend() -> str:
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def named(kind: str, names: list[str]) -> str:
    """Devices in words: "GPU: NVIDIA H100", "GPU: 2 x NVIDIA H100, NVIDIA A100"."""
    counts = {name: names.count(name) for name in names}
    words = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
    return f"{kind}: {', '.join(words)}"
