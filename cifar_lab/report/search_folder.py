"""A search as its folder tells it, finished or not: without KerasTuner, and without the search."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import documents, schema
from ..documents import OBJECTIVES
from ..errors import InputError, reason
from ..searching.ranges import Range, value_of
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
        known = schema.read_json(path, documents.SEARCH)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    request, rounds = known["request"], known.get("rounds") or []
    try:
        ranges = {name: _range(name, text) for name, text in request["ranges"].items()}
        for i, this in enumerate(rounds):
            _check_round(this["ranges"], ranges, f"rounds[{i}].ranges")
    except schema.Wrong as error:
        raise InputError(f"{path}: {error}") from None
    trials, skipped = _trials(folder / "trials.csv", ranges)
    found = SearchFolder(
        folder,
        request,
        ranges,
        trials,
        rounds,
        known.get("seconds", 0.0),
        known.get("command", ""),
        _histories(folder, trials, request["objective"]),
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


def _range(name: str, text: str) -> Range:
    if not re.fullmatch(r"\w[\w./]{0,99}", name, re.ASCII):
        raise schema.Wrong(f"request.ranges names {schema.shown(name)}, which is no setting")
    if not text.isprintable():
        raise schema.Wrong(f"request.ranges.{name}: {schema.shown(text)} is no range")
    try:
        return Range.from_text(text)
    except ValueError as error:
        raise schema.Wrong(f"request.ranges.{name}: {reason(error)}") from None


def _check_round(given: dict[str, list], ranges: dict[str, Range], key: str) -> None:
    """Wrong where a round has not a range for each setting, inside that of the search."""
    for name, whole in ranges.items():
        ends = given.get(name, [])
        ok = bool(ends) and all(whole.holds(value) for value in ends)
        if not (ok and (whole.options or len(ends) == 2 and ends[0] <= ends[1])):
            raise schema.Wrong(f"{key}.{name} must be in {whole.as_text()}, is {schema.told(ends)}")


def _trials(path: Path, ranges: dict[str, Range]) -> tuple[list[Trial], int]:
    try:
        rows = schema.read_csv(path)
    except FileNotFoundError:  # it has just begun
        return [], 0
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    found, skipped = [], 0
    for row in rows:
        try:
            found.append(_trial(row, ranges))
        except (ValueError, KeyError):
            skipped += 1
    return sorted(found, key=lambda trial: trial.number), skipped


def _trial(row: dict[str, str], ranges: dict[str, Range]) -> Trial:
    """Of a row of trials.csv. ValueError, KeyError where it is none."""

    def number(name: str, low: float = -math.inf) -> float | None:
        value = float(row[name]) if row.get(name) else None
        if value is not None and not (low <= value and math.isfinite(value)):
            raise ValueError(f"{name}: {value!r} is out of bounds")
        return value

    if schema.BEYOND in row:
        raise ValueError("has more cells than columns")
    values = {name: value_of(row[name]) for name in ranges if row.get(name) not in ("", None)}
    for name, value in values.items():
        if not ranges[name].holds(value):
            raise ValueError(f"{name}: {value!r} is none of its values")
    if row["status"] not in (*DONE, "failed", "unfinished"):
        raise ValueError(f"{row['status']!r} is no status")
    return Trial(
        number=_number(row["trial"]),
        status=row["status"],
        score=number("score") if row["status"] in DONE else None,
        values=values,
        epochs=number("epochs (2)" if "epochs (2)" in row else "epochs", 0),  # if they are searched
        seconds=number("seconds", 0),
        reason=row.get("reason") or "",
    )


def _number(word: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", word):
        raise ValueError(f"{word[:20]!r} is no number of a trial")
    return int(word)


def _histories(
    folder: Path, trials: list[Trial], objective: str
) -> dict[int, list[dict[str, float]]]:
    """Of the trials whose histories are here and whole; those of other machines' are not."""
    found = {}
    for trial in trials:
        path = folder / "trials" / f"trial_{trial.number:06d}" / "history.csv"
        try:
            history = results.read_history(path, ("epoch", objective))
        except (OSError, InputError):
            continue
        if history:
            found[trial.number] = history
    return found
