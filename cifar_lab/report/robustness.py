"""What a network's accuracy is worth on worse pictures."""

from __future__ import annotations

from .page import Html
from .study import Study


def blocks(study: Study) -> list[Html]:
    """The section."""
    return []
