"""Which measured runs the ladder lacks, and which of them matters most."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..ladder import LADDER, get
from . import results


@dataclass(frozen=True)
class Missing:
    """A run that the ladder lacks.

    Fields:
        rung, seed: what to train.
        counts: whether the seed has no run yet, so that it adds to n.
        alone: whether its time is wanted too, which counts only where nothing else runs.
        share: of what is wanted, how much is there before it: 0 to 1.
        seconds: what a run takes, None where nobody knows.
        elsewhere: whether these seconds were measured on another device.
    """

    rung: str
    seed: int
    counts: bool
    alone: bool
    share: float
    seconds: float | None
    elsewhere: bool = False


def missing(
    device: str,
    rungs: Iterable[str] | None = None,
    folder: str | os.PathLike | None = None,
    digests: Mapping[str, str] | None = None,
    processor: str | None = None,
) -> list[Missing]:
    """The runs that the ladder lacks, those first that matter most.

    A rung wants `runs` seeds from any machine, and `times` runs that had this one for themselves.
    First come the rungs of which the least is there, of equals the shortest run.

    Args:
        device: this machine's, as Plan.device writes it.
        rungs: names; default all.
        folder: of the results; default results/.
        digests: {rung: SHA-256 of the copy of its data that is here}; without, the copy that the
            rung's first runs had. Two copies are two experiments.
        processor: this machine's design, as provenance.processor_model tells it. Times of another
            design are not this machine's, whatever its name; those of rows without one are.
    """
    found: list[Missing] = []
    for rung in rungs or LADDER:
        found += _of(rung, device, processor, folder, (digests or {}).get(rung))
    order = {rung: place for place, rung in enumerate(LADDER)}
    return sorted(found, key=lambda m: (m.share, m.seconds or 0.0, order[m.rung], m.seed))


def _of(rung, device, processor, folder, digest) -> list[Missing]:
    entry, sha256 = get(rung), get(rung).recipe.sha256()
    groups = [
        [row for row in group if row["recipe_sha256"] == sha256]
        for group in results.groups(rung, folder)
    ]
    rows = [row for group in groups for row in group]
    if digest:
        counted = [row for row in rows if row["data_sha256"] == digest]
    else:
        counted = groups[0] if groups else []
    seeds = {row["seed"] for row in counted}
    here = [row for row in rows if row["device"] == device and _same_design(row, processor)]
    timed = {row["seed"] for row in here if row["alone"]}
    seconds, elsewhere = _seconds(rows, here, device)

    def run(seed: int, counts: bool, alone: bool, share: float) -> Missing:
        return Missing(rung, seed, counts, alone, share, seconds, elsewhere)

    new = _lowest(seeds, entry.runs - len(seeds))
    times = max(entry.times - len(timed), 0)
    found = [
        run(seed, True, place < times, (len(seeds) + place) / entry.runs)
        for place, seed in enumerate(new)
    ]
    again = _lowest(timed | set(new), times - len(new))
    have = len(timed) + min(len(new), times)
    found += [
        run(seed, False, True, (have + place) / entry.times) for place, seed in enumerate(again)
    ]
    return found


def _same_design(row, processor: str | None) -> bool:
    return None in (processor, row.get("processor")) or row["processor"] == processor


def _lowest(taken: Collection[int], count: int) -> list[int]:
    """So many of the smallest seeds that are not taken."""
    found: list[int] = []
    seed = 0
    while len(found) < count:
        if seed not in taken:
            found.append(seed)
        seed += 1
    return found


def _seconds(rows, here, device) -> tuple[float | None, bool]:
    """(of a run on this device, else on the like of it; whether it is the latter)."""
    kind = device.partition(":")[0]
    like = [row for row in rows if row["device"].partition(":")[0] == kind]
    for group, elsewhere in ((here, False), (like, True)):
        if group:
            quiet = [row for row in group if row["alone"]]
            return statistics.median(row["seconds"] for row in quiet or group), elsewhere
    return None, False


def choose(
    found: Iterable[Missing],
    idle: bool,
    begun: Collection[Missing] = (),
    left: float = math.inf,
) -> Missing | None:
    """The run to do now, or None.

    Args:
        found: as missing gives them. The first that was begun goes on, else the first is taken.
        idle: whether nothing else runs. Else a run that only lacks a time would be in vain, and
            those whose time is wanted too come after the others.
        begun: those whose state is kept.
        left: seconds that there are. A run that only lacks a time must end within them.
    """
    able = [m for m in found if m.counts or (idle and (m.seconds or 0.0) < left)]
    return min(
        able, key=lambda m: (not (m.counts and m in begun), m.alone and not idle), default=None
    )
