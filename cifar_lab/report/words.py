"""Figures and names as reports say them."""

from __future__ import annotations

from typing import Any

from ..data.names import counted, shown

LONGEST = 40  # characters of a name on a page; of a longer one, its ends


def percent(share: float | None, digits: int = 2) -> str:
    """0.9397 as "93.97 %", which no line breaks; "-" for None."""
    return "-" if share is None else f"{100 * share:.{digits}f}\u00a0%"


def points(difference: float) -> str:
    """A difference of shares, 0.031, as "+3.1 points"."""
    return f"{100 * difference:+.1f} points"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Two shares as "93.49 to 94.42 %"."""
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}\u00a0%"


def label(name: str, longest: int = LONGEST) -> str:
    """A name on one line, however long it is and whatever it holds; not escaped."""
    name = shown(name)
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - half]}…{name[-half:]}"


def labels(names: Any, longest: int = LONGEST) -> list[str]:
    """`label` of each; those that would look alike get their number."""
    short = [label(name, longest) for name in names]
    return [
        f"{i} {text}" if short.count(text) > 1 else text for i, text in enumerate(short)
    ] if len(set(short)) < len(short) else short  # fmt: skip


def of(part: int, whole: int) -> str:
    """ "12 of 1,000 (1.20 %)"."""
    return f"{part:,} of {whole:,}" + (f" ({percent(part / whole)})" if whole else "")


__all__ = ["counted", "interval", "label", "labels", "of", "percent", "points", "shown"]
