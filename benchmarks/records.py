"""Checks entries of the CPU record against docs/records.md, its rules.

    python benchmarks/records.py ENTRY.json ...
    python benchmarks/records.py --make RUNG --mark 0.9 [--recipe FILE] LINES.jsonl > ENTRY.json
    python benchmarks/records.py --table

Prints an entry's figures on a line of JSON: n, mean and standard deviation of the test accuracy,
the one-sided p of Student's t that its true mean is below the mark, the median seconds, and these
in epochs of the 74 network of the same run. A rule that an entry breaks is a line on stderr, and
the exit code is 2. --make writes an entry of the lines that `benchmarks/budget.py RUNG --alone`
printed, with the same --recipe where it had one. --table prints the table of docs/records.md, of
the entries in docs/records/.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import shared  # noqa: E402

from cifar_lab import cli, schema, significance  # noqa: E402
from cifar_lab.errors import InputError, reason  # noqa: E402
from cifar_lab.report import results  # noqa: E402

ENTRIES = HERE.parent / "docs" / "records"
MARKS = (0.9, 0.94, 0.96)
LEAST_RUNS, MOST_CORES = 5, 2
#: {field of an entry: (its type, what it is)}
FIELDS = {
    "name": (str, "of the entry"),
    "mark": (float, f"one of {', '.join(map(str, MARKS))}"),
    "code": (str, "where it is, with its commit"),
    "command": (str, "that trains one run"),
    "machine": (str, "processor and cores, in words"),
    "cores": (int, f"1 to {MOST_CORES}, that the training may use"),
    "test_views": (int, "of a test image, 1"),
    "seeds": (str, "how they were drawn, before the first run"),
    "chosen_on": (str, "images on which settings were chosen"),
    "runs": (list, "a dict a run"),
}
RUN_FIELDS = {
    "seed": (int, "of the run"),
    "test_accuracy": (float, "0 to 1"),
    "seconds": (float, "from the data in memory to the trained network"),
    "compile_seconds": (float, "apart from these"),
    "alone": (bool, "whether nothing else ran"),
    "epoch_of_74": (float, "seconds of 45,000 images of the 74 network, in the same run"),
}
KINDS = {  # as a message names them
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
}


def read(path):
    """An entry: a dict of FIELDS. Raises InputError."""
    entry = cli.common.read_json(path)
    _fields(entry, FIELDS, str(path))
    for number, run in enumerate(entry["runs"]):
        _fields(run, RUN_FIELDS, f"{path}: run {number}")
    return entry


def _fields(given, fields, where):
    if not isinstance(given, dict):
        raise InputError(f"{where}: must be an object")
    for name, (kind, what) in fields.items():
        value = given.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        right = number if kind is float else type(value) is kind
        if not right or (kind is str and not value.strip()):
            raise InputError(f"{where}: {name}: must be {KINDS[kind]}, {what}")


def broken(entry):
    """The rules that an entry breaks, a line each."""
    runs, mark = entry["runs"], entry["mark"]
    if mark not in MARKS:
        yield f"mark: must be one of {', '.join(map(str, MARKS))}, received {mark}"
    if not 1 <= entry["cores"] <= MOST_CORES:
        yield f"cores: must be 1 to {MOST_CORES}, received {entry['cores']}"
    if entry["test_views"] != 1:
        yield f"test_views: must be 1, received {entry['test_views']}"
    if "test" in entry["chosen_on"].lower():
        yield f"chosen_on: must not name test images, received {entry['chosen_on']!r}"
    if len(runs) < LEAST_RUNS:
        yield f"runs: must be at least {LEAST_RUNS}, received {len(runs)}"
    seeds = [run["seed"] for run in runs]
    if len(set(seeds)) < len(seeds):
        yield f"runs: seeds must differ, received {', '.join(map(str, sorted(seeds)))}"
    for run in runs:
        told = f"seed {run['seed']}"
        if not 0 <= run["test_accuracy"] <= 1:
            yield f"{told}: test_accuracy must be 0 to 1, received {run['test_accuracy']}"
        for name in ("seconds", "epoch_of_74"):
            if run[name] <= 0:
                yield f"{told}: {name} must be above 0, received {run[name]}"
        if not run["alone"]:
            yield f"{told}: other programs ran, or nobody checked"
    mean = statistics.fmean(run["test_accuracy"] for run in runs) if runs else 0.0
    if runs and mean < mark:
        yield f"mean: must be at least {mark}, received {mean:.4f}"


def figures(entry):
    """What the table says of an entry. p is None where the accuracies do not vary."""
    accuracies = [run["test_accuracy"] for run in entry["runs"]]
    n, mean = len(accuracies), statistics.fmean(accuracies)
    sd = statistics.stdev(accuracies) if n > 1 else 0.0
    p = None
    if sd:
        t = (mean - entry["mark"]) / (sd / math.sqrt(n))
        p = significance.t_beyond(abs(t), n - 1) / 2
        p = p if t >= 0 else 1 - p
    return {
        "name": entry["name"],
        "mark": entry["mark"],
        "n": n,
        "mean": round(mean, 6),
        "sd": round(sd, 6),
        "p": p,
        "seconds": statistics.median(run["seconds"] for run in entry["runs"]),
        "epochs_of_74": statistics.median(
            run["seconds"] / run["epoch_of_74"] for run in entry["runs"]
        ),
        "machine": entry["machine"],
        "code": entry["code"],
    }


def make(rung, mark, path, recipe=None):
    """An entry of the lines of budget.py, a dict. recipe: their --recipe, or None."""
    file = Path(recipe).name if recipe else None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    try:
        lines = [schema.parse(line) for line in text.splitlines() if line.strip()]
        lines = [line for line in lines if line["rung"] == rung and line.get("recipe") == file]
        runs = [
            {
                "seed": line["seed"],
                "test_accuracy": line["test_accuracy"],
                "seconds": line["seconds"],
                "compile_seconds": line["compile_seconds"],
                "alone": line.get("alone") is True,
                "epoch_of_74": statistics.fmean(
                    line[when]["epoch_of_74"] for when in ("before", "after")
                ),
            }
            for line in lines
            if line["whole_recipe"]
        ]
        machines = sorted({results.machine_of(line).removeprefix("CPU: ") for line in lines})
        commits = sorted({str(line.get("commit")) for line in lines})
    except KeyError as error:
        raise InputError(f"{path}: must hold budget.py's lines, one lacks {error}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: must hold budget.py's lines ({reason(error)})") from None
    if not runs:
        raise InputError(f"{path}: has no whole run of {rung}")
    if len(machines) > 1:
        raise InputError(f"{path}: must be of one machine, received {'; '.join(machines)}")
    told = f"{rung} --recipe {recipe}" if recipe else rung
    runs.sort(key=lambda run: run["seed"])
    in_order = [run["seed"] for run in runs] == list(range(len(runs)))
    return {
        "name": Path(file).stem if file else rung,
        "mark": mark,
        "code": f"cifar_lab, commit {', '.join(commit[:12] for commit in commits)}",
        "command": f"python benchmarks/budget.py {told} --alone --seed SEED",
        "machine": machines[0],
        "cores": 2,
        "test_views": 1,
        "seeds": "0, 1, 2 and so on" if in_order else "drawn before the first run",
        "chosen_on": "validation images",
        "runs": runs,
    }


def table():
    """Markdown: a line an entry that breaks no rule, by mark and seconds."""
    found = [read(path) for path in sorted(ENTRIES.glob("*.json"))]
    told = [figures(entry) for entry in found if not list(broken(entry))]
    heads = ["mark, %", "entry", "test accuracy, % (n)", "p", "seconds", "epochs of 74", "machine"]
    rows = [
        [
            f"{100 * f['mark']:.0f}",
            f"{f['name']} ({f['code']})",
            f"{100 * f['mean']:.2f} +- {100 * f['sd']:.2f} ({f['n']})",
            _in_words(f["p"]),
            f"{f['seconds']:.0f}",
            f"{f['epochs_of_74']:.1f}",
            f["machine"],
        ]
        for f in sorted(told, key=lambda f: (f["mark"], f["seconds"]))
    ]
    return shared.markdown(heads, rows)


def _in_words(p):
    if p is None:
        return ""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def main(argv):
    parser = cli.Parser(
        prog="records.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", metavar="ENTRY.json")
    parser.add_argument("--make", metavar="RUNG")
    parser.add_argument("--recipe", metavar="FILE")
    parser.add_argument("--mark", type=float, choices=MARKS)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if args.table:
        print(table())
        return cli.OK
    if not args.files:
        parser.error("ENTRY.json: needed, where --table is not")
    if args.recipe and not args.make:
        parser.error("--recipe: goes with --make")
    if args.make:
        if args.mark is None or len(args.files) != 1:
            parser.error("--make: needs --mark and one file of lines")
        print(json.dumps(make(args.make, args.mark, args.files[0], args.recipe), indent=1))
        return cli.OK
    wrong = False
    for path in args.files:
        entry = read(path)
        for line in broken(entry):
            wrong = True
            shared.notice(f"records.py: {path}: {line}")
        if entry["runs"]:
            print(json.dumps(figures(entry)), flush=True)
    return cli.WRONG if wrong else cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("records.py", main, sys.argv[1:]))
