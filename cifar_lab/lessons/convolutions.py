"""Convolution, its sizes and its cost."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
