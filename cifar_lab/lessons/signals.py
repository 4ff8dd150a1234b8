"""What flows through a deep network, forward and backward."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
