"""Measured runs: results/RUNG.json, a row a run, and what can be said of them together."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .. import bundles, documents, paths, schema
from ..errors import InputError, reason
from ..ladder import get

# Where a row comes from. Rows and cards of the time before these lack them, which reads as None:
# commit: of the code, hex; clean: whether its files were those of the commit; alone: whether
# nothing else ran on the machine (None: nobody checked); other_cores: how many processor cores
# other programs used on average during the run; processor: its design, of which the device's name
# does not say which it is.
PROVENANCE = ("commit", "clean", "alone", "other_cores", "processor")
ROW_KEYS = (
    "seed",
    "epoch",
    "val_accuracy",
    "test_accuracy",
    "test_loss",
    "seconds",
    "compile_seconds",
    "backend",
    "device",
    "precision",
    "versions",
    "date",
    "command",
    *PROVENANCE,
    "recipe_sha256",
    "data_sha256",
    "model_sha256",
)
MARKS = (0.8, 0.85, 0.88, 0.9, 0.92, 0.94)


def _path(rung, folder) -> Path:
    return Path(folder or paths.results_folder()) / f"{rung}.json"


def _stored(rung, folder) -> list[dict]:
    path = _path(rung, folder)
    try:
        return schema.read_json(path, documents.ROWS)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None


def read_results(rung: str, folder: str | os.PathLike | None = None) -> list[dict]:
    """The measured runs of a rung, [] where none was recorded. folder: default results/.

    The rows of the copy of the data that the committed weights were trained on come first.
    """
    return [dict.fromkeys(PROVENANCE) | row for row in _stored(rung, folder)]


def drifted(rung: str, folder: str | os.PathLike | None = None) -> bool:
    """Whether a rung's recipe is not the one that its results were measured with."""
    digest = get(rung).recipe.sha256()
    return any(row["recipe_sha256"] != digest for row in read_results(rung, folder))


# --- adding a run ------------------------------------------------------------------------------


def claim(bundle: str | os.PathLike, alone: bool, other_cores: float | None = None) -> None:
    """Write into a bundle's card whether the run had the machine for itself, and how many cores
    others used meanwhile. Only who checked, with provenance.Idle, may say so."""
    folder = bundles.find(bundle, writes=True)
    found = {"alone": bool(alone)}
    if other_cores is not None:
        found["other_cores"] = round(other_cores, 3)
    text = json.dumps({**bundles.read_card(folder), **found}, indent=2) + "\n"
    bundles.write_file(folder / "card.json", lambda file: file.write(text.encode()))


def record(
    bundle: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    alone: bool | None = None,
) -> None:
    """Add the run that left a bundle to its rung's results.

    A seed has one row a backend, machine and copy of the data, and a later run replaces it; rows
    of an earlier recipe go. The history of the first row's run is kept beside the rows,
    RUNG.history.csv, where the rung has no committed bundle (its weights may be too large).

    Args:
        bundle: a rung's name, or the folder of a bundle.
        folder: of the results; default results/.
        alone: as claim, which it calls; None leaves what the card says.

    Raises:
        InputError: the run departed from its rung's recipe or data.
    """
    bundle = bundles.find(bundle, writes=True)
    card = bundles.read_card(bundle)
    rung = card["rung"]
    recipe = get(rung).recipe
    if card.get("recipe_sha256") != recipe.sha256():
        raise InputError(f"{bundle}: its recipe is not that of {rung}: not a result of this rung")
    needed = [k for k in (*ROW_KEYS, "data") if k not in PROVENANCE]
    lacking = [k for k in needed if card.get(k) is None]
    if lacking:
        raise InputError(f"{bundle}: its card lacks {', '.join(lacking)}")
    if card["data"].get("name") != recipe.data or card["data"].get("limit", 1) is not None:
        raise InputError(
            f"{bundle}: was not trained on the whole of {recipe.data}: not a result of {rung}"
        )
    if alone is not None:
        claim(bundle, alone)
        card["alone"] = bool(alone)
    row = {k: card.get(k) for k in ROW_KEYS} | {"seconds_to": seconds_to(read_history(bundle))}
    rows = [r for r in _stored(rung, folder) if r["recipe_sha256"] == row["recipe_sha256"]]
    rows = [r for r in rows if _run_of(r) != _run_of(row)] + [row]
    rows = [r for group in _grouped(rung, rows) for r in sorted(group, key=lambda r: r["seed"])]
    path = _path(rung, folder)
    text = json.dumps(rows, indent=1) + "\n"
    bundles.write_file(path, lambda file: file.write(text.encode()))
    if row is rows[0] and not (paths.home() / "saved_models" / rung).is_dir():
        history = (bundle / "history.csv").read_bytes()
        bundles.write_file(path.with_suffix(".history.csv"), lambda file: file.write(history))


# --- what they say together --------------------------------------------------------------------


def _committed_data(rung) -> str | None:
    """Digest of the data that a rung's committed bundle was trained on."""
    for folder in (paths.home() / "saved_models", paths.PACKAGED):
        try:
            return bundles.read_card(folder / rung)["data_sha256"]
        except (InputError, TypeError):
            continue  # no such folder (None too), or no card: nothing was committed
    return None


def _grouped(rung, rows: Sequence[dict]) -> list[list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["data_sha256"], []).append(row)
    committed = _committed_data(rung) if len(found) > 1 else None
    return sorted(found.values(), key=lambda g: (g[0]["data_sha256"] != committed, -len(g)))


def groups(rung: str, folder: str | os.PathLike | None = None) -> list[list[dict]]:
    """A rung's runs, a list a copy of the data set: two copies may hold their images in another
    order, or be encoded anew, and then they are two experiments.

    The first is the copy that the committed bundle was trained on, else the one with most runs.
    """
    return _grouped(rung, read_results(rung, folder))


def _run_of(row: Mapping) -> tuple:
    """What tells a row's run from others: a later one of the same replaces it."""
    return row["seed"], row["backend"], machine_of(row), row["data_sha256"]


def machine_of(row: Mapping) -> str:
    """A row's device, and of a CPU its design where the row has it, which one name may hide: "CPU:
    AMD EPYC, 2 cores (family 25, model 17)"."""
    design = row.get("processor") if row["device"].startswith("CPU") else None
    return f"{row['device']} ({design})" if design else row["device"]


def _statistics(rows) -> dict:
    accuracies = [row["test_accuracy"] for row in rows]
    return {
        "n": len(rows),
        "mean": statistics.fmean(accuracies) if rows else None,
        "sd": statistics.stdev(accuracies) if len(rows) > 1 else None,
        "data_sha256": rows[0]["data_sha256"] if rows else None,
    }


def summary(rung: str, folder: str | os.PathLike | None = None) -> dict:
    """Of a rung's runs.

    Returns:
        n, mean, sd (None below n = 2), data_sha256: of the first copy of the data, see groups;
        n = 0 and None without runs.
        other_data: a list of the same four, of each other copy.
        seconds: {machine: median}, of the runs that had the machine for themselves; where none had,
            of all. A copy of the data costs no other time. The machines are named by machine_of.
        alone: {machine: whether those had}.
    """
    first, *others = groups(rung, folder) or [[]]
    rows = [*first, *(row for group in others for row in group)]
    seconds, alone = {}, {}
    for machine in sorted({machine_of(row) for row in rows}):
        here = [row for row in rows if machine_of(row) == machine]
        quiet = [row for row in here if row["alone"] is True]
        seconds[machine] = statistics.median(row["seconds"] for row in quiet or here)
        alone[machine] = bool(quiet)
    return {
        **_statistics(first),
        "other_data": [_statistics(group) for group in others],
        "seconds": seconds,
        "alone": alone,
    }


def reached(rung: str, folder: str | os.PathLike | None = None) -> bool | None:
    """Whether the mean of a rung's runs is at its promise: a hundredth as the lecture has it, 74 %,
    a thousandth for the other rungs, 92.0 %. None without runs."""
    mean = summary(rung, folder)["mean"]
    entry = get(rung)
    return None if mean is None else round(mean, 2 if entry.lecture else 3) >= entry.promise


# --- histories ---------------------------------------------------------------------------------


def read_history(
    path: str | os.PathLike, needed: Sequence[str] = ("epoch", "val_accuracy", "seconds")
) -> list[dict[str, float]]:
    """history.csv of a bundle, or the file itself: a dict of finite numbers an epoch, with the
    columns that are needed. Raises InputError, OSError."""
    path = Path(path)
    path = path / "history.csv" if path.is_dir() else path
    return schema.numbers(schema.read_csv(path), path, needed)


def seconds_to(history: Iterable[dict], marks: Sequence[float] = MARKS) -> dict[str, float]:
    """Training time, validation included, after which validation accuracy had reached each mark:
    {"0.8": seconds}.

    history: rows of read_history. Marks that were not reached are left out. An epoch counts when
    it is over.
    """
    found, seconds = {}, 0.0
    for row in history:
        seconds += row["seconds"]
        for mark in marks:
            if row["val_accuracy"] >= mark:
                found.setdefault(f"{mark:g}", round(seconds, 1))
    return found
