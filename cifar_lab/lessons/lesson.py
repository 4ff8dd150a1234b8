"""What a lesson is: an experiment of the lectures that prints its numbers beside what they should
be, and draws one picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import schema
from ..errors import InputError

Value = float | Sequence[Any]


@dataclass(frozen=True)
class Number:
    """A number that a lesson finds.

    Fields:
        name: what it is, in a few words, with its unit.
        value: what was computed now; a number, or nested lists of numbers.
        expected: what it should be, of the same shape; None where no figure is known beforehand.
        tolerance: how far value and expected may be apart, absolute.
        printed: what the lecture's slide has where that is wrong; None elsewhere.
        why: where `printed` is wrong, why, in a sentence; or a remark.
    """

    name: str
    value: Value
    expected: Value | None = None
    tolerance: float = 5e-4
    printed: str | None = None
    why: str = ""

    @property
    def right(self) -> bool:
        """Whether value is what it should be; True where nothing is expected."""
        if self.expected is None:
            return True
        value, expected = np.asarray(self.value, float), np.asarray(self.expected, float)
        return value.shape == expected.shape and bool(
            np.allclose(value, expected, rtol=0, atol=self.tolerance, equal_nan=True)
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON types; a number that is none (NaN, infinity) is a string."""
        return {
            "name": self.name,
            "value": _plain(self.value),
            "expected": _plain(self.expected),
            "right": self.right,
            **({"printed": self.printed} if self.printed is not None else {}),
            **({"why": self.why} if self.why else {}),
        }


@dataclass(frozen=True)
class Outcome:
    """What a lesson found.

    Fields:
        numbers: the figures, in the order in which they are printed.
        seen: two or three sentences: what is to be seen, in the figures and in the picture.
        draw: draws the picture on an empty matplotlib figure, see `picture.save`; None for none.
        height: of the picture, in inches; it is 9 wide.
        data: what the lesson was run on, in words; "" where it needs no data.
    """

    numbers: list[Number]
    seen: str
    draw: Callable[[Any], None] | None = None
    height: float = 4.0
    data: str = ""


@dataclass(frozen=True)
class Lesson:
    """An experiment. `run(sources)` carries it out: at most 60 s on two cores, the same figures
    each time.

    Fields:
        name: as `learn.py NAME` takes it.
        title: in a line.
        source: the lecture and the paper or book that it is from.
        run: Sources -> Outcome.
        needs: what it asks of Sources: "digits", "pictures", "photo"; empty for none.
    """

    name: str
    title: str
    source: str
    run: Callable[[Any], Outcome]
    needs: tuple[str, ...] = field(default=())


def shown(value: Any) -> str:
    """A number with five figures, or nested lists of them."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else f"{value:.5g}"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    number = value.item() if isinstance(value, np.generic) else value
    return number if math.isfinite(number) else str(number)


def check_name(name: str, known: Sequence[str]) -> None:
    """InputError for a lesson that is not known, with the one whose name is nearest."""
    if name in known:
        return
    near = schema.meant(name, known)
    raise InputError(f"unknown lesson {name!r}{near}: must be one of {', '.join(known)}")
