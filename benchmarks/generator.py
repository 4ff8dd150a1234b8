"""Augmentation in the compiled step beside Keras' ImageDataGenerator: speed and accuracy.

    python benchmarks/generator.py --data-dir DIR [--only speed|accuracy] [--rounds 10]
                                   [--steps 300] [--seeds 3] [--first-seed 0] [--epochs 8]
                                   [--precision mixed_bfloat16]
    python benchmarks/generator.py --table

Both train the network of cifar10-88 with its augmentation (turned, shifted, mirrored), in batches
of 128.

Speed: one process has a trainer of each engine, which take turns of --steps steps; who begins
alternates. A round is a row, with the images per second of both; validation is left out. Accuracy:
--epochs epochs from each seed; the weights are chosen on validation, and the test split is read
once at the end of a run.

Appends one JSON line a round or run to docs/generator.jsonl (or --results) and prints it; what is
there already is not run again, so a killed command goes on where it was. --table prints the table
and runs nothing. --limit N makes it a rehearsal, of which there is no table.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import climb  # noqa: E402

import engines  # noqa: E402
from cifar_lab import backend, cli, ladder  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

OURS, KERAS = recipes.AUGMENTATION_ENGINES
EPOCHS, STEPS = 8, 300


def recipe_of(engine, epochs=EPOCHS):
    base = replace(ladder.get("cifar10-88").recipe, batch_size=128, epochs=epochs, keep="best")
    return replace(base, augmentation_engine=engine)


def read(path):
    """The rows of a results file, list of dict; [] where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
            rows[-1]["kind"], rows[-1]["recipe_sha256"], rows[-1]["device"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}, line {number}: is not a row of generator.py") from None
    return rows


def append(path, row):
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def missing(key, path):
    return not any(key.items() <= row.items() for row in read(path))


# --- speed ---


def measure_speed(args, dataset):
    """Rows of rounds that are not there yet."""
    shas = {engine: recipe_of(engine, args.epochs).sha256() for engine in (OURS, KERAS)}
    keys = [
        {
            "kind": "speed",
            "round": number,
            "steps": args.steps,
            "limit": args.limit,
            "recipe_sha256": shas[KERAS],
        }
        for number in range(args.rounds)
    ]
    keys = [key for key in keys if missing(key, args.results)]
    if not keys:
        return
    turns = {engine: turn_of(engine, args, dataset) for engine in (OURS, KERAS)}
    for turn in turns.values():
        turn()  # compiled, and warm
    for key in keys:
        order, load = (OURS, KERAS), os.getloadavg()[0]
        speeds = {engine: turns[engine]() for engine in order[:: 1 if key["round"] % 2 else -1]}
        append(
            args.results,
            {
                **key,
                "images_per_second": {name: round(speeds[name], 1) for name in order},
                "ratio": round(speeds[OURS] / speeds[KERAS], 3),
                "load": round(load, 2),
                **facts(args),
            },
        )


def turn_of(engine, args, dataset):
    """A function that trains --steps steps and returns images per second."""
    from cifar_lab import training
    from cifar_lab.training import progress

    recipe = recipe_of(engine, args.epochs)
    trainer = training.Trainer(training.Plan.of(recipe, dataset, precision=args.precision))
    watchers = trainer.watchers(lambda line: None, progress.Interrupt())
    # train.py's fit but for validation and the line that tells of it
    watchers.callbacks = [c for c in watchers.callbacks if not isinstance(c, progress.Progress)]
    watchers.begin()
    order = trainer.order(0)[: args.steps * recipe.batch_size]

    def turn():
        start = time.perf_counter()
        trainer.fit(order, 0, watchers, validate=False)
        return len(order) / (time.perf_counter() - start)

    return turn


# --- accuracy ---


def measure_accuracy(args, dataset):
    """Rows of runs that are not there yet."""
    import keras

    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for engine in (OURS, KERAS):
            recipe = recipe_of(engine, args.epochs)
            key = {
                "kind": "accuracy",
                "engine": engine,
                "seed": seed,
                "epochs": args.epochs,
                "limit": args.limit,
                "recipe_sha256": recipe.sha256(),
            }
            if not missing(key, args.results):
                continue
            keras.backend.clear_session()
            gc.collect()
            load = round(os.getloadavg()[0], 2)
            row = climb.trained(recipe, dataset, seed, args.precision)
            append(args.results, {**key, **row, "load": load})


def facts(args):
    import keras

    recipe = recipe_of(OURS, args.epochs)
    return {
        "backend": keras.backend.backend(),
        "device": backend.device()[1],
        "precision": args.precision or backend.precision(recipe),
    }


# --- table ---


def table(rows):
    """Markdown: a line an engine, and how they compare. InputError without whole runs of both."""
    lines = ["| engine | images per second (n) | test accuracy, % (n) |", "| --- | --- | --- |"]
    accuracies, rounds = {}, []
    for row in rows:
        digests = [recipe_of(e, row.get("epochs", EPOCHS)).sha256() for e in (OURS, KERAS)]
        if row["limit"] is not None or row["recipe_sha256"] not in digests:
            continue
        if row["kind"] == "speed":
            rounds.append(row)
        else:
            accuracies.setdefault(row["engine"], []).append(100 * row["test_accuracy"])
    if not rounds or set(accuracies) != {OURS, KERAS}:
        raise InputError("no whole runs of both engines with the recipes that they have now")
    for engine in (OURS, KERAS):
        speeds, found = [row["images_per_second"][engine] for row in rounds], accuracies[engine]
        spread = f" +- {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        lines.append(
            f"| {engine} | {statistics.median(speeds):,.0f} ({len(speeds)}) | "
            f"{statistics.fmean(found):.2f}{spread} ({len(found)}) |"
        )
    bought = climb.difference(accuracies[OURS], accuracies[KERAS])
    lines.append(f"| ours beside Keras' | {ratio(rounds)} | {bought} points |")
    return "\n".join(lines)


def ratio(rounds):
    """The median of the rounds' ratios, with its interval, or all that they span where they are
    too few for one."""
    found = [row["ratio"] for row in rounds]
    if len(found) < 6:
        middle, low, high = statistics.median(found), min(found), max(found)
    else:
        middle, low, high = engines.median_with_interval(found)
    return f"{middle:.2f} times ({low:.2f} to {high:.2f})"


def main(argv):
    parser = cli.Parser(
        prog="generator.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--only", choices=("speed", "accuracy"))
    parser.add_argument("--rounds", type=cli.whole(1), default=10)
    parser.add_argument("--steps", type=cli.whole(1), default=STEPS, help="of a turn")
    parser.add_argument("--seeds", type=cli.whole(1), default=3)
    parser.add_argument("--first-seed", type=cli.whole(0, 2**31), default=0)
    parser.add_argument("--epochs", type=cli.whole(1), default=EPOCHS)
    parser.add_argument(
        "--precision", choices=recipes.PRECISIONS, help="instead of the device's own"
    )
    parser.add_argument("--limit", type=cli.whole(1))
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "generator.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if args.table:
        print(table(read(args.results)))
        return cli.OK
    from cifar_lab import data, image_data_generator

    image_data_generator.refuse_missing(recipe_of(KERAS))
    read(args.results)  # before hours of work
    recipe = recipe_of(OURS)
    dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
    if args.limit:
        dataset = data.limited(dataset, args.limit, 0)
    backend.start()
    if args.only != "accuracy":
        measure_speed(args, dataset)
    if args.only != "speed":
        measure_accuracy(args, dataset)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("generator.py", main, sys.argv[1:]))
