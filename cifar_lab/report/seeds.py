"""Several trainings of each of several recipes: what the luck of a seed is worth."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from .. import paths, significance
from . import measures
from . import page as html
from .contenders import Contender
from .measures import chance, per_cent, points

_MOST = 15  # pairs in the picture


def section(contenders: Sequence[Contender]) -> list[html.Html]:
    """Blocks: means with intervals, differences of each pair, a picture of them."""
    several = [c for c in contenders if len(c.accuracies) > 1]
    if not several:
        return _single(contenders)
    rows = []
    for c in several:
        low, high = significance.mean_interval(c.accuracies)
        rows.append(
            [
                measures.name(c.name),
                len(c.accuracies),
                per_cent(statistics.fmean(c.accuracies)),
                f"{per_cent(low)} to {per_cent(high)}",
                f"{100 * statistics.stdev(c.accuracies):.2f}",
                per_cent(min(c.accuracies)),
                per_cent(max(c.accuracies)),
            ]
        )
    head = ["network", "n", "mean, %", "95 % interval", "sd", "lowest", "highest"]
    blocks = [html.table(head, rows, "test accuracy over seeds")]
    pairs = list(itertools.combinations(several, 2))
    if pairs:
        tests = [significance.welch(a.accuracies, b.accuracies) for a, b in pairs]
        blocks += [_table(pairs, tests), _chart(pairs[:_MOST], tests), _note(len(pairs))]
    return blocks


def _single(contenders: Sequence[Contender]) -> list[html.Html]:
    """What to say where nothing was trained twice."""
    if len(contenders) < 2 or not any(c.runs for c in contenders):
        return []
    command = f"{paths.command('train')} RUNG --seeds 0:5"
    return [
        html.note(
            "One training each: how much of a difference is the seed's luck cannot be told. ",
            html.element("code", command),
            " trains five, and this page takes the folder that they are in.",
        )
    ]


def _table(
    pairs: Sequence[tuple[Contender, Contender]], tests: Sequence[significance.Difference]
) -> html.Html:
    head = ["network", "less", "points (95 % interval)", "df", "p"]
    rows = [
        [
            measures.name(a.name),
            measures.name(b.name),
            points(t),
            f"{t.freedom:.1f}",
            chance(t.p),
        ]
        for (a, b), t in zip(pairs, tests, strict=True)
    ]
    if len(pairs) > 1:
        together = significance.holm([1.0 if t.p is None else t.p for t in tests])
        head.append(measures.ALL_PAIRS)
        rows = [[*row, chance(p)] for row, p in zip(rows, together, strict=True)]
    return html.table(head, rows, "differences of the means")


def _note(pairs: int) -> html.Html:
    return html.note(
        "Welch's t (1947), which lets the two spread differently. An interval that holds 0 says "
        "that these seeds do not tell the two apart, not that they are equal.",
        measures.FAMILY if pairs > 1 else "",
    )


def _chart(
    pairs: Sequence[tuple[Contender, Contender]], tests: Sequence[significance.Difference]
) -> html.Html:
    """Each pair's difference with its interval, and where none would be."""
    names = [f"{a.name} - {b.name}" for a, b in pairs]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=html.COLOURS[1], linewidth=1.2)
        for place, test in enumerate(tests[: len(pairs)]):
            middle, low, high = (100 * v for v in (test.difference, test.low, test.high))
            error = measures.ends(middle, low, high)
            axes.errorbar(middle, place, xerr=error, fmt="o", color=html.COLOURS[0], capsize=5)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("difference of the means, percentage points")
        axes.grid(axis="y", visible=False)

    told = "; ".join(f"{name} {points(test)}" for name, test in zip(names, tests))
    return html.chart(
        draw,
        f"differences of means with 95 % intervals, in points: {told}",
        "The mean differences with their 95 % intervals; the line is no difference.",
        height=1.0 + 0.42 * len(names),
    )
