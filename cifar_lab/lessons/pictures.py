"""What is asked of pictures: neighbours, templates, augmentation."""

from __future__ import annotations

from .lesson import Lesson

LESSONS: list[Lesson] = []
