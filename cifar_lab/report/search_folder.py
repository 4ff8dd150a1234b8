"""A search as its folder tells it, finished or not: without KerasTuner, and without the search."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, reason
from ..searching.ranges import Range, value_of
from ..searching.request import OBJECTIVES
from . import results

DONE = ("completed", "stopped early")


@dataclass(frozen=True)
class Trial:
    """A row of trials.csv.

    Fields:
        number: from 0.
        status: "completed", "stopped early", "failed" or "unfinished".
        score: of the objective; None where it has none.
        values: {name: value} of what it used.
        epochs, seconds: None where they are not known.
        reason: why it failed, "" else.
    """

    number: int
    status: str
    score: float | None
    values: dict[str, Any]
    epochs: float | None
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class SearchFolder:
    """What a search has written down.

    Fields:
        folder: where.
        request: what decides the search, as search.json has it.
        ranges: {name: Range}.
        trials: in order.
        rounds: as searching.table.rounds_of; [] of a search that does not narrow.
        seconds: that it took so far.
        command: the user's.
        histories: {trial number: a dict an epoch}.
        skipped: lines of trials.csv that could not be read.
    """

    folder: Path
    request: dict[str, Any]
    ranges: dict[str, Range]
    trials: list[Trial]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    command: str = ""
    histories: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    skipped: int = 0

    @property
    def objective(self) -> str:
        return self.request["objective"]

    @property
    def up(self) -> bool:
        """Whether the highest score is the best."""
        return OBJECTIVES[self.objective] == "max"

    @property
    def completed(self) -> list[Trial]:
        """The trials that have a score."""
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def best(self) -> Trial:
        """The best trial, the first of equals."""
        sign = -1 if self.up else 1
        return min(self.completed, key=lambda t: (sign * (t.score or 0.0), t.number))


def is_search(name: str) -> bool:
    """Whether a name is that of a search's folder."""
    return bool(name) and (Path(name) / "search.json").is_file()


def read(folder: str | Path) -> SearchFolder:
    """What a folder tells of its search.

    Raises:
        InputError: it holds no search, or one that is damaged, or of which no trial has completed.
    """
    folder = Path(folder)
    path = folder / "search.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        request = known["request"]
        ranges = {name: Range.from_text(text) for name, text in request["ranges"].items()}
        if request["objective"] not in OBJECTIVES:
            raise ValueError(f"its objective is {request['objective']!r}")
        seconds = float(known.get("seconds", 0.0))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({reason(error)})") from None
    trials, skipped = _trials(folder / "trials.csv", ranges)
    found = SearchFolder(
        folder,
        request,
        ranges,
        trials,
        [r for r in known.get("rounds") or [] if _is_round(r, ranges)],
        seconds,
        str(known.get("command", "")),
        _histories(folder, trials),
        skipped,
    )
    if not found.completed:
        raise InputError(f"{folder}: {_none(trials)}")
    return found


def _none(trials: list[Trial]) -> str:
    failed = [trial for trial in trials if trial.status == "failed"]
    if not failed:
        return f"no trial of this search has completed yet ({len(trials)} begun): nothing to show"
    why = failed[0].reason or "its log says why"
    return f"no trial of this search has completed; {len(failed)} failed, the first: {why}"


def _is_round(found: Any, ranges: dict[str, Range]) -> bool:
    try:
        return isinstance(found["first_trial"], int) and ranges.keys() <= found["ranges"].keys()
    except (KeyError, TypeError, AttributeError):
        return False


def _trials(path: Path, ranges: dict[str, Range]) -> tuple[list[Trial], int]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:  # it has just begun
        return [], 0
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    found, skipped = [], 0
    for row in rows:
        try:
            found.append(_trial(row, ranges))
        except (ValueError, KeyError, TypeError):
            skipped += 1
    return sorted(found, key=lambda trial: trial.number), skipped


def _trial(row: dict[str, str], ranges: dict[str, Range]) -> Trial:
    def number(name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    values = {name: value_of(row[name]) for name in ranges if row.get(name) not in ("", None)}
    for name, value in values.items():
        options = ranges[name].options
        if options and value not in options or not options and isinstance(value, str):
            raise ValueError(f"{name}: {value!r} is none of its values")
    if row["status"] not in (*DONE, "failed", "unfinished"):
        raise ValueError(f"{row['status']!r} is no status")
    return Trial(
        number=int(row["trial"]),
        status=row["status"],
        score=number("score") if row["status"] in DONE else None,
        values=values,
        epochs=number("epochs"),
        seconds=number("seconds"),
        reason=row.get("reason") or "",
    )


def _histories(folder: Path, trials: list[Trial]) -> dict[int, list[dict[str, float]]]:
    """Of the trials whose histories are here and whole; those of other machines' are not."""
    found = {}
    for trial in trials:
        path = folder / "trials" / f"trial_{trial.number:06d}" / "history.csv"
        try:
            history = results.read_history(path)
        except (OSError, ValueError, TypeError):
            continue
        if history and "epoch" in history[0]:
            found[trial.number] = history
    return found
