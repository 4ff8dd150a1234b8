"""The ladder: rungs as data, a file a family. A rung is one entry in the file of its family."""

from __future__ import annotations

from .. import schema
from ..errors import InputError
from . import beyond, famous, fashion_mnist, first_networks, lecture, tiny
from .rung import Rung

__all__ = ["LADDER", "Rung", "get"]

#: {name: Rung}, in the order in which tables show them.
LADDER: dict[str, Rung] = {
    **first_networks.RUNGS,
    **lecture.RUNGS,
    **beyond.RUNGS,
    **famous.RUNGS,
    **tiny.RUNGS,
    **fashion_mnist.RUNGS,
}


def get(name: str) -> Rung:
    """The rung of this name. Raises InputError naming the rungs there are."""
    try:
        return LADDER[name]
    except KeyError:
        near, known = schema.meant(name, LADDER), ", ".join(LADDER)
        raise InputError(f"unknown rung {name!r}{near}: must be one of {known}") from None
