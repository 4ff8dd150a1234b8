"""How figures are written in reports."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from . import page as html


def name(text: str) -> html.Html:
    """A network's name in a table, on one line."""
    return html.element("span", text, class_="name")


def per_cent(share: float) -> str:
    """A share, 0 to 1, in per cent with two digits."""
    return f"{100 * share:.2f}"


def points(found: Any) -> str:
    """A difference of shares with its interval, in percentage points: "+0.51 (+0.12 to +0.90)".

    found: anything with difference, low and high.
    """
    return f"{100 * found.difference:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def ends(value: float, low: float, high: float) -> list[list[float]]:
    """How far an interval reaches to both sides, as matplotlib's error bars take it."""
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def chance(p: float | None) -> str:
    """A p value with four digits, "-" where there is none."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def mean(shares: Sequence[float]) -> str:
    """ "90.51 ± 0.12 (5)": mean, standard deviation (from two on) and number, in per cent."""
    spread = f" ± {100 * statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{per_cent(statistics.fmean(shares))}{spread} ({len(shares)})"


#: The head of a column of p values as one family, and what is said of it.
ALL_PAIRS = "p, all pairs"
FAMILY = (
    " Where several pairs are tested, one may differ by chance: the last column takes that into "
    "account (Holm 1979)."
)
