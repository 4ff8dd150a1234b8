"""One neuron, and what one cannot do."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
