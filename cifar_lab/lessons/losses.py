"""Losses of scores."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
