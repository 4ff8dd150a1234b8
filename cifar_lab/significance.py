"""Whether two networks differ by more than chance, in plain Python: no SciPy.

    paired      two networks on the same images: who is right where the other is wrong
    welch       several trainings of one recipe against several of another
    mean_interval, holm

The first speaks of two files as they are: another seed of the same recipe is another file. The
second speaks of the recipes. Differences and intervals are shares, 0 to 1, as what goes in.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
_Z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Paired:
    """Two networks on the same images.

    Fields:
        both, first, second, neither: on how many images both, only the first, only the second and
            none of the two are right.
        difference: of their accuracies, the first's less the second's.
        low, high: its 95 % interval (Bonett and Price 2012: Wald's, with one image more that only
            the first has right, and one that only the second has).
        p: McNemar's test (McNemar 1947), exact: how likely is it that `first` and `second` lie as
            far apart as they do, or farther, if each such image is a toss of a coin.
    """

    both: int
    first: int
    second: int
    neither: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def images(self) -> int:
        return self.both + self.first + self.second + self.neither


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two networks image by image.

    Args:
        first, second: bool (N,), N at least 1: whether each is right.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"paired: needs two rows of one length, got {first.shape}, {second.shape}")
    n, only_first, only_second = (
        len(first),
        int((first & ~second).sum()),
        int((second & ~first).sum()),
    )
    one, two = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = _Z * math.sqrt((one + two - (one - two) ** 2) / (n + 2))
    return Paired(
        both=int((first & second).sum()),
        first=only_first,
        second=only_second,
        neither=int((~first & ~second).sum()),
        difference=(only_first - only_second) / n,
        low=max(one - two - half, -1.0),
        high=min(one - two + half, 1.0),
        p=mcnemar(only_first, only_second),
    )


def mcnemar(first: int, second: int) -> float:
    """McNemar's exact test, two-sided: see Paired.p.

    At every number of images, so that no approximation has to be chosen.
    """
    n, least = first + second, min(first, second)
    if first == second:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(log - n * math.log(2)) for log in logs))


def holm(values: Sequence[float]) -> list[float]:
    """p values of several tests as one family (Holm 1979): below 0.05 is what the family's chance
    of a single false alarm, at most 5 %, lets pass."""
    found, highest = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        found[i] = highest
    return found


@dataclass(frozen=True)
class Difference:
    """Of two means: the first's less the second's, the ends of its 95 % interval, degrees of
    freedom, and p of no difference, two-sided (None where nothing varies)."""

    difference: float
    low: float
    high: float
    freedom: float
    p: float | None


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The difference of two means whose variances may differ (Welch 1947).

    Args:
        first, second: at least two values each, such as test accuracies of seeds.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"welch: needs two values or more of each, got {len(first)}, {len(second)}"
        )
    difference = statistics.fmean(first) - statistics.fmean(second)
    shares = [statistics.variance(values) / len(values) for values in (first, second)]
    error = math.sqrt(sum(shares))
    if not error:
        return Difference(difference, difference, difference, len(first) + len(second) - 2, None)
    weights = [
        share**2 / (len(values) - 1) for share, values in zip(shares, (first, second), strict=True)
    ]
    freedom = error**4 / sum(weights)
    half = t_quantile(freedom) * error
    p = t_beyond(difference / error, freedom)
    return Difference(difference, difference - half, difference + half, freedom, p)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean by Student's t (1908), of two values or more."""
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


# --- Student's t ---


def t_beyond(t: float, freedom: float) -> float:
    """The chance that Student's t lies as far from 0 as `t`, or farther, on either side."""
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Within how much of 0 Student's t lies with a chance of `confidence`."""
    low, high = 0.0, 1.0
    while t_beyond(high, freedom) > 1 - confidence:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        if t_beyond(middle, freedom) > 1 - confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (DLMF 8.17.22), which
    converges fast below the mean; above it the other end's is taken."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    fraction, upper, lower = 1.0, 1.0, 0.0  # Lentz's way, from the front (Thompson, Barnett 1986)
    for i in range(400):
        m = i // 2
        if i == 0:
            step = 1.0
        elif i % 2 == 0:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        lower = 1 / ((1 + step * lower) or 1e-300)
        upper = (1 + step / upper) or 1e-300
        fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-15 and i:
            break
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) * (fraction - 1)
