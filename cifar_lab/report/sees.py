"""What a network sees."""

from __future__ import annotations

from .page import Html
from .study import Study


def blocks(study: Study) -> list[Html]:
    """The section."""
    return []
