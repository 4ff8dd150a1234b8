"""What trained weights are worth on few pictures: transfer beside training from scratch.

    python benchmarks/transfer.py --data-dir DIR [--folder NAME=DIR ...] [--lines FILE]
                                  [--seeds 5] [--sides 32 64 96] [--only WORD ...]
    python benchmarks/transfer.py --rungs RUNG ... --folder NAME=DIR [...] [--seeds 5]
    python benchmarks/transfer.py --table | --rung-table

Trains the network of `train.py FOLDER` with its recipe, at each size, once with trained weights and
once with drawn ones (whitened and dirac as the rung that it is of, Adam from 0.002), as many steps:

  NAME          a folder of one's own pictures, a fifth kept apart, from cifar100-70
  cifar10-3     CIFAR-10's bird, cat and dog, from cifar100-70; 30, 100 and 300 images each
  cifar10-10    all ten classes, the same
  cifar100-10   ten of CIFAR-100's classes, from cifar10-94 (whose network it then is)

Tested on the fifth that was kept apart, or on 100 test images of each class. With --rungs, what
`train.py RUNG --data DIR` gives, as it is. Writes a JSON line a run to --lines (default
docs/transfer.jsonl), and skips those that are there: it goes on where it was stopped. --table and
--rung-table print them as docs/measurements/transfer.md has them.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import cifar_lab  # noqa: E402
from cifar_lab import adjusting, backend, cli, data, ladder, own_pictures, recipe  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

LINES = ROOT / "docs" / "transfer.jsonl"
COUNTS, TEST_IMAGES = (30, 100, 300), 100  # images of a class
MOST_IMAGES = 12_000  # that a run passes, where that leaves 6 epochs
CIFAR = {  # task: (data set, its classes, whose weights)
    "cifar10-3": ("cifar10", ("bird", "cat", "dog"), "cifar100-70"),
    "cifar10-10": ("cifar10", None, "cifar100-70"),
    "cifar100-10": ("cifar100", 10, "cifar10-94"),
}
WAYS = ("transfer", "scratch")


def main(argv):
    parser = cli.Parser(
        prog="transfer.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--lines", type=Path, default=LINES)
    parser.add_argument("--seeds", type=cli.whole(1), default=5)
    parser.add_argument("--sides", type=cli.whole(20), nargs="+", default=[32, 64, 96])
    parser.add_argument("--only", nargs="+", default=[], metavar="TASK")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rungs", nargs="+", choices=ladder.LADDER, default=[], metavar="RUNG")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--rung-table", action="store_true")
    args = parser.parse_args(argv)
    if args.table or args.rung_table:
        print((table if args.table else rung_table)(read(args.lines)))
        return cli.OK
    folders = dict(adjusting.parsed_field(text) for text in args.folder)
    tasks = [name for name in (*folders, *CIFAR) if not args.only or name in args.only]
    if unknown := set(args.only) - set(tasks):
        raise InputError(f"--only: no such task: {', '.join(sorted(unknown))}")
    backend.start()
    for row in rung_rows(args, folders) if args.rungs else rows(args, tasks):
        if row in [{key: r.get(key) for key in row} for r in read(args.lines)]:
            continue
        row |= run_rung(row, folders) if args.rungs else run(row, folders, args.data_dir)
        with open(args.lines, "a") as file:
            print(json.dumps(row), file=file)
        print(json.dumps(row), flush=True)
    return cli.OK


def rows(args, tasks):
    """What is to be run: the keys of a line that say what it is of."""
    for seed in range(args.seeds):
        for side in args.sides:
            for task in tasks:
                for count in COUNTS if task in CIFAR else (None,):
                    for way in args.ways:
                        yield dict(task=task, count=count, side=side, way=way, seed=seed)


def rung_rows(args, folders):
    for rung in args.rungs:
        for task in folders:
            for seed in range(args.seeds):
                yield dict(task=task, rung=rung, seed=seed)


def read(lines):
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def run(row, folders, data_dir):
    """The measured part of a line."""
    from cifar_lab import training

    task, side = row["task"], row["side"]
    found = own_pictures.RECIPE
    if task in CIFAR and CIFAR[task][2] != found.start:
        found = adjusting.adjusted(found, start=CIFAR[task][2])
    found = recipe.resized(found, side)
    if row["way"] == "scratch":
        found = adjusting.adjusted(found, start="none")
        found = replace(found, whitening=True, dirac=True, learning_rate=0.002)
    if task in CIFAR:
        dataset = part(task, row["count"], row["seed"], side, data_dir)
    else:
        dataset = data.load(folders[task], None, found.input_shape)
    images = round(len(dataset.train_labels) * (1 - found.validation_fraction))
    few, _ = adjusting.for_few(own_pictures.RECIPE, own_pictures.LABEL, images)
    epochs = min(few.epochs, max(6, MOST_IMAGES // images))
    found = replace(found, batch_size=few.batch_size, epochs=epochs)
    with tempfile.TemporaryDirectory() as temporary:
        card, _ = training.train(
            found, dataset, Path(temporary) / "bundle", rung=task, seed=row["seed"],
            notice=lambda line: None,
        )  # fmt: skip
    return measured(card)


def run_rung(row, folders):
    """The same of a rung's own command."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "bundle"
        return measured(
            cifar_lab.train(
                row["rung"], folders[row["task"]], seed=row["seed"], output=output, notice=None
            )
        )


def measured(card):
    return {
        "test_accuracy": card["test_accuracy"],
        "val_accuracy": card["val_accuracy"],
        "train_images": card["data"]["train_images"],
        "test_images": card["data"]["test_images"],
        "epochs": card["recipe"]["epochs"],
        "seconds": round(card["seconds"], 1),
        "device": card["device"],
        "commit": card["commit"],
    }


def part(task, count, seed, side, data_dir):
    """Dataset of `count` train images and 100 test images of each class of a task; the seed draws
    the train images."""
    name, classes, _ = CIFAR[task]
    whole = data.load(name, data_dir)
    if classes is None:
        classes = whole.classes
    elif isinstance(classes, int):
        classes = whole.classes[:: len(whole.classes) // classes]
    wanted = [whole.classes.index(c) for c in classes]
    rng = np.random.default_rng([seed, count])

    def drawn(labels, number, rng):
        members = [np.flatnonzero(labels == c) for c in wanted]
        return np.concatenate([rng.permutation(m)[:number] for m in members])

    train = drawn(whole.train_labels, count, rng)
    test = drawn(whole.test_labels, TEST_IMAGES, np.random.default_rng(0))
    shape = (side, side, 3)
    return data.Dataset(
        task,
        tuple(classes),
        data.fit_images(whole.train_images[train], shape),
        np.searchsorted(wanted, whole.train_labels[train]),
        data.fit_images(whole.test_images[test], shape),
        np.searchsorted(wanted, whole.test_labels[test]),
    )


def table(rows):
    """A Markdown table: a row a task and number of images, two columns a size."""
    rows = [row for row in rows if "side" in row]
    sides = sorted({row["side"] for row in rows})
    heads = ["pictures", "to train on"]
    heads += [f"{side} px, {way}" for side in sides for way in ("scratch", "transfer")]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for task, count in dict.fromkeys((row["task"], row["count"]) for row in rows):
        own = [row for row in rows if (row["task"], row["count"]) == (task, count)]
        cells = [task, f"{count} a class" if count else f"{own[0]['train_images']} in all"]
        for side in sides:
            for way in ("scratch", "transfer"):
                found = [
                    100 * r["test_accuracy"] for r in own if (r["side"], r["way"]) == (side, way)
                ]
                cells.append(shown(found))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rung_table(rows):
    """A Markdown table: a row a rung, a column a folder."""
    rows = [row for row in rows if "rung" in row]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    lines = [f"| {' | '.join(['rung', *tasks])} |", "| --- " * (1 + len(tasks)) + "|"]
    for rung in sorted({row["rung"] for row in rows}, key=list(ladder.LADDER).index):
        cells = [f"`{rung}`"]
        for task in tasks:
            found = [r for r in rows if (r["rung"], r["task"]) == (rung, task)]
            cells.append(shown([100 * row["test_accuracy"] for row in found]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(values):
    if not values:
        return ""
    spread = f" +- {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread} (n = {len(values)})"


if __name__ == "__main__":
    raise SystemExit(cli.guarded("transfer.py", main, sys.argv[1:]))
