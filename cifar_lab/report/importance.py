"""How much each setting of a search matters for the score, from its trials alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..searching.ranges import Range, told

FEWEST = 8  # trials from which on anything is said
SHUFFLES = 200
HOW = (
    "How it is computed: the scores are ranked; a parabola over a setting's place in its range "
    "(for words: each word's mean) is fitted to the ranks, and the importance is the share of "
    "their variance that it explains, corrected for what a fit of that many terms explains anyway "
    "(adjusted R², at least 0). By chance: what 95 % of 200 shuffles of the scores stay below. One "
    "setting at a time: what two do only together is not seen, and the shares need not sum to 100. "
    "A search that narrows draws most trials where the good ones lie, so that a setting found "
    "early looks less important than it was."
)


@dataclass(frozen=True)
class Importance:
    """Of one setting.

    Fields:
        name: of the setting.
        trials: that use it and have a score.
        share: of the variance of the scores' ranks, 0 to 1; None of too few trials, or where all
            have one value.
        chance: what shuffled scores reach in one of twenty cases.
        towards: in words, where the good ones lie.
    """

    name: str
    trials: int
    share: float | None
    chance: float | None
    towards: str


def importances(
    ranges: dict[str, Range], rows: Sequence[tuple[dict[str, Any], float]], up: bool
) -> list[Importance]:
    """The importance of each setting, the greatest first.

    Args:
        ranges: {name: Range}.
        rows: (values, score) of each trial that completed.
        up: whether the highest score is the best.
    """
    found = []
    for name, r in ranges.items():
        used = [(values[name], score if up else -score) for values, score in rows if name in values]
        found.append(_of(name, r, [v for v, _ in used], [s for _, s in used]))
    return sorted(found, key=lambda i: -(i.share if i.share is not None else -1))


def _of(name: str, r: Range, values: list[Any], scores: list[float]) -> Importance:
    terms = _terms(r, values) if values else np.zeros((0, 0))
    n, p = terms.shape
    if n < FEWEST or p < 1 or n - p - 1 < 3 or len(set(scores)) < 2:
        return Importance(name, n, None, None, "")
    ranks = _ranks(scores)
    rng = np.random.default_rng(0)
    shuffled = [_adjusted(terms, rng.permutation(ranks)) for _ in range(SHUFFLES)]
    return Importance(
        name,
        n,
        _adjusted(terms, ranks),
        float(np.quantile(shuffled, 0.95)),
        _towards(r, values, ranks),
    )


def _terms(r: Range, values: list[Any]) -> np.ndarray:
    """What is fitted beside a constant, float64 (trials, terms); no terms where all are alike."""
    kinds = list(dict.fromkeys(values))
    if r.options:
        return np.array([[float(value == kind) for kind in kinds[1:]] for value in values])
    if len(kinds) < 2:
        return np.zeros((len(values), 0))
    u = np.array([r.position(value) for value in values])
    return np.stack([u, u**2][: 2 if len(kinds) > 2 else 1], 1)


def _adjusted(terms: np.ndarray, ranks: np.ndarray) -> float:
    """The adjusted share of the variance of ranks that the terms explain, at least 0."""
    n, p = terms.shape
    design = np.column_stack([np.ones(n), terms])
    fitted = design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    unexplained = ((ranks - fitted) ** 2).sum() / ((ranks - ranks.mean()) ** 2).sum()
    return float(max(0.0, 1 - unexplained * (n - 1) / (n - p - 1)))


def _ranks(scores: list[float]) -> np.ndarray:
    """Ranks from 0, the mean of them for equals."""
    values = np.array(scores)
    return (values[:, None] > values).sum(1) + ((values[:, None] == values).sum(1) - 1) / 2


def _towards(r: Range, values: list[Any], ranks: np.ndarray) -> str:
    """Where the best fifth of the trials lies, at least three of them."""
    count = max(3, len(values) // 5)
    best = [values[i] for i in np.argsort(-ranks, kind="stable")[:count]]
    if r.options:
        most = statistics.mode(best)
        return f"{told(most)} in {best.count(most)} of the best {count}"
    return f"{told(min(best))} to {told(max(best))} in the best {count}"
