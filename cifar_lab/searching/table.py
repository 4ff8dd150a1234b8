"""What a search writes down: trials.csv, search.json, best_recipe.json, and its summary."""

import csv
import io
import json
import re
import time
from pathlib import Path

from .. import bundles, documents, files, schema
from ..errors import InputError
from . import space

STATUSES = ("completed", "failed", "unfinished")


def summary(search):
    """What came of a search so far, as a dict: --json prints it, search.json begins with it."""
    best, statuses = search.best(), [status_of(t) for t in search.all_trials()]
    return {
        "output": str(search.folder),
        "trials": len(statuses),
        **{status: statuses.count(status) for status in STATUSES},
        "seconds": round(search.before + time.time() - search.started, 1),
        "best": best
        and {
            "trial": int(best.trial_id),
            search.request.objective: best.score,
            **search.used_by(best),
        },
    }


def write(search):
    """search.json, trials.csv and, once a trial has completed, best_recipe.json."""
    ranges = search.request.ranges
    known = {
        "request": search.request.as_dict(),
        **summary(search),
        "rounds": rounds_of(search),
        "command": search.command,
    }
    bundles.write_json(search.folder / "search.json", known)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    end = ["epochs", "seconds", "memory_mb", "reason"]
    writer.writerow(["trial", "status", "score", *ranges, *end])
    for trial in search.all_trials():
        writer.writerow(_row(search, trial, ranges))
    data = text.getvalue().encode()
    bundles.write_file(search.folder / "trials.csv", lambda file: file.write(data))
    best = search.best()
    if best:
        fields = space.recipe_fields(search.recipe, values_of(best))
        bundles.write_json(search.folder / "best_recipe.json", fields)


def rounds_of(search):
    """The rounds of a narrowing search, each {"first_trial", "ranges": {name: [low, high], or the
    list of options}}; [] of another's."""
    ranges = search.request.ranges
    return [
        {
            "first_trial": this["first_trial"],
            "ranges": {name: ranges[name].bounds(w) for name, w in this["ranges"].items()},
        }
        for this in getattr(search.oracle, "rounds", [])
    ]


def _row(search, trial, names):
    """A trial's cells; a value that its optimizer or schedule does not use is left out."""
    values, completed, status = search.used_by(trial), trial.status == "COMPLETED", status_of(trial)
    if completed and result_of(search.folder, trial).get("status") == "stopped early":
        status = "stopped early"
    cells = [
        json.dumps(v) if isinstance(v, bool) else v for v in (values.get(n, "") for n in names)
    ]
    measured = []
    for name in ("epochs", "seconds", "memory_mb"):
        known = trial.metrics.exists(name) and trial.metrics.get_best_value(name) is not None
        measured.append(round(trial.metrics.get_best_value(name), 2) if known else "")
    why = reason_of(search.folder, trial) if trial.status == "FAILED" else ""
    return [int(trial.trial_id), status, trial.score if completed else "", *cells, *measured, why]


def values_of(trial):
    """{name: value} of what a trial tries, without what KerasTuner adds."""
    values = trial.hyperparameters.values
    return {k: v for k, v in values.items() if not k.startswith("tuner/") and k != "search"}


def status_of(trial):
    return {"COMPLETED": "completed", "FAILED": "failed"}.get(trial.status, "unfinished")


def is_machines(folder, trial):
    """Whether a trial failed for want of disk, memory or a living process, as far as that is known
    here: of a worker on another machine it is not."""
    return trial.status == "FAILED" and bool(result_of(folder, trial).get("machines"))


def result_of(folder, trial):
    """What a trial's process left, {} where it is on another machine or unfinished."""
    return result_in(Path(folder) / "trials" / f"trial_{trial.trial_id}")


def result_in(folder):
    """The result in a trial's folder, {} where there is none that can be read."""
    try:
        return schema.read_json(folder / "result.json", documents.RESULT)
    except (OSError, InputError):
        return {}


def reason_of(folder, trial):
    """Why a trial failed, in a line."""
    lines = (trial.message or "").strip().splitlines()
    told = lines[-1] if lines else "failed on its worker, whose log says why"
    return result_of(folder, trial).get("reason") or told


def last_epoch_of(folder, trial):
    """ "3/12", the last epoch that a running trial has told of in its log; "" before the first, or
    where it runs elsewhere."""
    path = Path(folder) / "trials" / f"trial_{trial.trial_id}" / "log.txt"
    try:
        with files.opened(path) as file:
            file.seek(max(0, path.stat().st_size - 4096))
            told = re.findall(r"^epoch +(\d+/\d+) ", file.read().decode(errors="replace"), re.M)
    except OSError:
        return ""
    return told[-1] if told else ""
