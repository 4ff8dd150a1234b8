"""Networks of a few neurons: what one cannot do, and how several learn."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
