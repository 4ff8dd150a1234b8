"""Famous networks, trained by one recipe each."""

from __future__ import annotations

from .rung import Rung

RUNGS: dict[str, Rung] = {}
