"""The lecture's climb from 74 to 88 %, one change at a time: what each idea buys.

    python benchmarks/climb.py --data-dir DIR [--seeds 3] [--first-seed 0] [--steps NAME ...]
                               [--precision mixed_bfloat16]
    python benchmarks/climb.py --table

Each step is the one before it with exactly one change; two more are the last one without L2 and
without augmentation. Appends one JSON line a run to docs/climb.jsonl (or --results) and prints it;
what is there already is not run again, so a killed command goes on where it was. --table prints the
table of docs/measurements/climb.md and runs nothing. The weights are chosen on validation, the test
split is read once at the end of a run, and no setting hangs on it. --epochs N and --limit N make it
a rehearsal.
"""

import argparse
import gc
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import ablation  # noqa: E402

from cifar_lab import backend, cli, ladder, significance  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

DROPOUT = 0.35
STAGES = [DROPOUT] * 3  # dropout after each of three stages


def steps():
    """{name: (the step that it is compared with, Recipe)}, in the order of the climb."""
    first = ladder.get("cifar10-74").recipe
    cosine = {"schedule": "cosine"}
    normal = {"batch_normalization": True}
    # the deeper network's own normalisation is that of the step before
    deep = {"builder": "vgg", "builder_options": {"filters": [32, 64, 128], "dropout": STAGES}}
    deep["builder_options"]["l2"] = 0.0
    l2 = {"builder_options": {**deep["builder_options"], "l2": 1e-4}}
    augmented = {"augmentation": ladder.get("cifar10-88").recipe.augmentation}
    changes = {
        "the 74 network": {},
        "+ batch normalisation": {"builder_options": normal},
        "+ a falling rate": cosine,
        "+ dropout 0.35": {"builder_options": {**normal, "dropout": DROPOUT}},
        "+ two convolutions a stage, 32 - 64 - 128": deep,
        "+ L2": l2,
        "+ augmentation": augmented,
        "+ 50 epochs": {"epochs": 50},
    }
    found, before, now = {}, None, first
    for name, fields in changes.items():
        now = replace(now, **fields)
        found[name] = before, now
        before = name
    found["the last without L2"] = before, replace(now, builder_options=deep["builder_options"])
    found["the last without augmentation"] = before, replace(now, augmentation={})
    return found


def rehearsed(recipe, epochs):
    return replace(recipe, epochs=epochs) if epochs else recipe


def table(rows):
    """Markdown: a line a step, with what it bought over the one that it is compared with."""
    by_step = {}
    for name, (_, recipe) in steps().items():
        digest = recipe.sha256()
        runs = [r for r in rows if r["limit"] is None and r["recipe_sha256"] == digest]
        if runs:
            by_step[name] = {r["seed"]: 100 * r["test_accuracy"] for r in runs}
    if not by_step:
        raise InputError("no runs of the climb with the recipes that it has now")
    lines = [
        "| step | test accuracy, % (n) | bought, points (95 % interval) |",
        "| --- | --- | --- |",
    ]
    for name, runs in by_step.items():
        accuracies = list(runs.values())
        spread = f" +- {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        before = by_step.get(steps()[name][0])
        bought = difference(accuracies, list(before.values())) if before else ""
        mean = statistics.fmean(accuracies)
        lines.append(f"| {name} | {mean:.2f}{spread} ({len(accuracies)}) | {bought} |")
    return "\n".join(lines)


def difference(after, before):
    """The difference of two means with the interval of Welch's t; without one where n is 1."""
    difference = statistics.fmean(after) - statistics.fmean(before)
    if min(len(after), len(before)) < 2:
        return f"{difference:+.2f}"
    found = significance.welch(after, before)
    return f"{difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def run(args):
    from cifar_lab import data

    ablation.read(args.results)  # before hours of work
    first = ladder.get("cifar10-74").recipe
    dataset = data.load(first.data, args.data_dir, first.input_shape)
    if args.limit:
        dataset = data.limited(dataset, args.limit, 0)
    backend.start()
    import keras

    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.steps or steps():
            recipe = rehearsed(steps()[name][1], args.epochs)
            key = {
                "step": name,
                "seed": seed,
                "limit": args.limit,
                "recipe_sha256": recipe.sha256(),
            }
            if any(key.items() <= row.items() for row in ablation.read(args.results)):
                continue
            keras.backend.clear_session()
            gc.collect()
            row = {**key, **trained(recipe, dataset, seed, args.precision)}
            with open(args.results, "a") as file:  # one short write: two commands may share a file
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def trained(recipe, dataset, seed, precision=None):
    """One run's figures."""
    import keras

    from cifar_lab import evaluation, training

    plan = training.Plan.of(recipe, dataset, seed, precision=precision)
    trainer = training.Trainer(plan)
    trainer.compile_step()
    while not trainer.done:
        trainer.run_epoch()
    chosen = trainer.chosen_epoch()
    found = evaluation.probabilities(trainer.bare_network(), dataset.test_images)
    return {
        "epoch": chosen["epoch"],
        "val_accuracy": chosen["val_accuracy"],
        "test_accuracy": float((found.argmax(1) == dataset.test_labels).mean()),
        "train_accuracy": trainer.history[-1]["accuracy"],
        "seconds": round(sum(r["seconds"] for r in trainer.history), 2),
        "backend": keras.backend.backend(),
        "device": plan.device,
        "precision": plan.precision,
    }


def main(argv):
    parser = cli.Parser(
        prog="climb.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=cli.whole(1), default=3)
    parser.add_argument("--first-seed", type=cli.whole(0, 2**31), default=0)
    parser.add_argument("--steps", nargs="+", choices=list(steps()), metavar="STEP")
    parser.add_argument(
        "--precision", choices=recipes.PRECISIONS, help="instead of the device's own"
    )
    parser.add_argument("--epochs", type=cli.whole(1))
    parser.add_argument("--limit", type=cli.whole(1))
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "climb.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        run(args)
    if not (args.limit or args.epochs):
        print(table(ablation.read(args.results)))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("climb.py", main, sys.argv[1:]))
