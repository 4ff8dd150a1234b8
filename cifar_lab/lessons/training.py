"""How training goes: optimizers, regularisation, what validation says."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
