"""The lectures' experiments, one command each: `learn.py NAME`.

A lesson is one function in the file of its family; `LESSONS` lists them in the order of the
lectures. numpy alone computes them; matplotlib draws.
"""

from __future__ import annotations

from .lesson import Lesson, Number, Outcome, check_name
from .sources import Sources

__all__ = ["Lesson", "Number", "Outcome", "Sources", "get", "lessons"]

#: files of lessons, each with a list LESSONS, in the order of the lectures
FAMILIES = (
    "regression",
    "descent",
    "neuron",
    "networks",
    "losses",
    "signals",
    "training",
    "generalisation",
    "convolutions",
    "architecture",
    "depth",
    "pictures",
)


def lessons() -> dict[str, Lesson]:
    """{name: Lesson}, in the order of the lectures."""
    from importlib import import_module

    return {
        lesson.name: lesson
        for family in FAMILIES
        for lesson in import_module(f".{family}", __name__).LESSONS
    }


def get(name: str) -> Lesson:
    """The lesson of this name. Raises InputError naming those there are."""
    known = lessons()
    check_name(name, list(known))
    return known[name]
