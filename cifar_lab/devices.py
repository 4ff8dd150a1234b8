"""What a training computes on: one device or several. Imports no Keras."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import backend
from .errors import InputError

MOST = 1024  # devices of a process, and processes
_ALLOWED = "a number of devices, all, or cpu:N for N virtual devices of the processor"


@dataclass(frozen=True)
class Devices:
    """What a training computes on. Make one with `of`.

    Fields:
        count: how many devices of this process; 0: all of them.
        virtual: whether they are parts of the processor, to rehearse on; count is not 0 then.
        text: what the user typed.
    """

    count: int = 1
    virtual: bool = False
    text: str = ""


def of(devices: int | str | None) -> Devices | None:
    """What `devices` says: N, "all", "cpu:N" or None. Raises InputError. Starts nothing."""
    if devices is None:
        return None
    text = str(devices).strip()
    numbered = re.fullmatch(r"(cpu:)?(\d{1,8})", text)
    if text == "all":
        found = Devices(0, False, text)
    elif numbered and 1 <= int(numbered[2]) <= MOST:
        found = Devices(int(numbered[2]), bool(numbered[1]), text)
    else:
        raise InputError(f"`devices`: must be {_ALLOWED}, received {text[:50]!r}")
    if backend.chosen() == "torch" and (found.count > 1 or found.virtual):
        raise InputError(
            f"`devices` {text}: on KERAS_BACKEND=torch a training has one device; tensorflow and "
            "jax train on several"
        )
    return found
