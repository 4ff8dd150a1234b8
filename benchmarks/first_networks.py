"""How the settings of the first networks were chosen: lists of them, on validation alone.

    python benchmarks/first_networks.py --data-dir DIR [--rungs mnist-mlp ...] [--seed 100]
    python benchmarks/first_networks.py --table

Trains each setting of a rung's list once and appends a JSON line with its validation accuracy to
docs/first-networks.jsonl (or --results); what is there is not run again. The test split is not
looked at. --table prints the table of docs/experiments/first-networks.md and runs nothing.
--epochs N and --limit N make it a rehearsal.
"""

import argparse
import gc
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import ablation  # noqa: E402

from cifar_lab import backend, cli, ladder  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.ladder import first_networks  # noqa: E402

MIRRORED = {"horizontal_flip": True}
SHIFTED = {"width_shift_range": 0.05, "height_shift_range": 0.05}
MOVED = {"width_shift_range": 0.07, "height_shift_range": 0.07, "rotation_range": 8}
BOTH = {"horizontal_flip": True, "width_shift_range": 0.1, "height_shift_range": 0.1}
WIDE = {"hidden_units": [512, 256], "standardize": True}


def every(**axes):
    """A dict of fields for each combination of the values."""
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


#: {rung: settings that were tried, in order}; what a setting does not name is the rung's own, but
#: for augmentation and options of the builder, of which a setting without any has none
LISTS = {
    "mnist-logistic": every(learning_rate=[0.001, 0.003], epochs=[10, 20]),
    "mnist-softmax": [
        *every(
            learning_rate=[0.001, 0.003],
            epochs=[20],
            builder_options=[{}, {"l2": 1e-5}, {"l2": 1e-4}],
        ),
        *every(learning_rate=[0.001], epochs=[40]),
    ],
    "mnist-mlp": [
        *every(
            learning_rate=[0.002, 0.004],
            epochs=[40, 80],
            builder_options=[
                {"dropout": 0.2},
                {"dropout": 0.1, "standardize": True},
                {"dropout": 0.2, "standardize": True},
            ],
        ),
        *every(
            learning_rate=[0.002, 0.004],
            epochs=[40, 80],
            builder_options=[{}, {"dropout": 0.05}],
            augmentation=[SHIFTED, MOVED],
        ),
    ],
    "mnist-lenet5": [
        *every(
            learning_rate=[0.002, 0.004],
            epochs=[20, 40],
            builder_options=[{}, {"dropout": 0.3}, {"l2": 1e-4}],
        ),
        *every(learning_rate=[0.002, 0.004], epochs=[20, 40], augmentation=[SHIFTED, MOVED]),
    ],
    "fashion-mnist-mlp": [
        *every(
            learning_rate=[0.001, 0.002],
            epochs=[40],
            builder_options=[{**WIDE, "dropout": rate} for rate in (0.2, 0.3, 0.4)],
            augmentation=[{}, MIRRORED],
        ),
        *every(
            learning_rate=[0.001],
            epochs=[60],
            builder_options=[{**WIDE, "dropout": 0.3, "batch_normalization": True}],
            augmentation=[MIRRORED, {**MIRRORED, **SHIFTED}],
        ),
    ],
    "cifar10-softmax": every(
        learning_rate=[0.0003, 0.001, 0.003],
        epochs=[20],
        builder_options=[{"standardize": True, "l2": factor} for factor in (1e-4, 1e-3, 3e-3)],
        augmentation=[{}, MIRRORED],
    ),
    "cifar10-hinge": every(
        learning_rate=[0.0001, 0.0003, 0.001],
        epochs=[20],
        builder_options=[{"standardize": True, "l2": factor} for factor in (1e-3, 1e-2, 3e-2)],
        augmentation=[{}, MIRRORED],
    ),
    "cifar10-mlp": [
        *every(
            learning_rate=[0.0005, 0.001],
            epochs=[40],
            builder_options=[
                {
                    "hidden_units": units,
                    "dropout": rate,
                    "standardize": True,
                    "batch_normalization": normal,
                }
                for units in ([512, 256], [1024, 512])
                for rate in (0.2, 0.4)
                for normal in (False, True)
            ],
            augmentation=[MIRRORED],
        ),
        *every(
            learning_rate=[0.001],
            epochs=[60],
            builder_options=[
                {
                    "hidden_units": [1024, 512],
                    "dropout": 0.2,
                    "standardize": True,
                    "batch_normalization": True,
                }
            ],
            augmentation=[BOTH],
        ),
    ],
    "cifar10-lenet5": every(
        learning_rate=[0.002, 0.004],
        epochs=[40],
        builder_options=[
            {"standardize": True},
            {"standardize": True, "dropout": 0.2},
            {"standardize": True, "activation": "relu"},
            {"standardize": True, "activation": "relu", "pooling": "max"},
        ],
        augmentation=[MIRRORED, BOTH],
    ),
}
WORDS = {"l2": "L2 {:g}", "dropout": "dropout {:g}"}


def recipe_of(rung, fields):
    """The Recipe of a setting."""
    return replace(ladder.get(rung).recipe, **{"builder_options": {}, "augmentation": {}, **fields})


def table(rows):
    """Markdown: a line a run, in the order of the lists."""
    found = {(row["rung"], row["recipe_sha256"]): row for row in rows if row["limit"] is None}
    lines = [
        "| rung | network | images | rate | epochs | validation accuracy, % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rung, settings in LISTS.items():
        for fields in settings:
            row = found.get((rung, recipe_of(rung, fields).sha256()))
            if row:
                cells = (
                    f"`{rung}`",
                    _network(fields.get("builder_options", {})),
                    _images(fields.get("augmentation", {})),
                    f"{fields['learning_rate']:g}",
                    str(fields["epochs"]),
                    f"{100 * row['val_accuracy']:.2f}",
                )
                lines.append(f"| {' | '.join(cells)} |")
    if len(lines) == 2:
        raise InputError("no runs with the settings of the lists")
    return "\n".join(lines)


def _network(options):
    units = options.get("hidden_units", ())
    words = [f"{', '.join(map(str, units))} units"] if units else []
    words += ["standardised"] * bool(options.get("standardize"))
    words += ["batch normalisation"] * bool(options.get("batch_normalization"))
    words += [WORDS[name].format(options[name]) for name in WORDS if name in options]
    words += [options[name] for name in ("activation", "pooling") if name in options]
    return ", ".join(words) or "-"


def _images(augmentation):
    words = ["mirrored"] * bool(augmentation.get("horizontal_flip"))
    if "width_shift_range" in augmentation:
        words.append(f"shifted by {augmentation['width_shift_range']:g}")
    if "rotation_range" in augmentation:
        words.append(f"turned by {augmentation['rotation_range']}")
    return ", ".join(words) or "-"


def run(args):
    from cifar_lab import data

    ablation.read(args.results)  # before hours of work
    backend.start()
    for rung in args.rungs:
        recipe = ladder.get(rung).recipe
        dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
        if args.limit:
            dataset = data.limited(dataset, args.limit, 0)
        for fields in LISTS[rung]:
            _one(args, rung, recipe_of(rung, fields), dataset)


def _one(args, rung, recipe, dataset):
    """Train a setting, unless its row is there."""
    import keras

    from cifar_lab import training

    recipe = replace(recipe, epochs=args.epochs) if args.epochs else recipe
    key = {
        "rung": rung,
        "seed": args.seed,
        "limit": args.limit,
        "recipe_sha256": recipe.sha256(),
    }
    if any(key.items() <= row.items() for row in ablation.read(args.results)):
        return
    keras.backend.clear_session()
    gc.collect()
    plan = training.Plan.of(recipe, dataset, args.seed)
    trainer = training.Trainer(plan)
    while not trainer.done:
        trainer.run_epoch()
    last = trainer.history[-1]
    row = {
        **key,
        "val_accuracy": round(last["val_accuracy"], 4),
        "accuracy": round(last["accuracy"], 3),
        "seconds": round(sum(r["seconds"] for r in trainer.history), 1),
        "backend": keras.backend.backend(),
        "device": plan.device,
    }
    with open(args.results, "a") as file:  # one short write: two commands may share a file
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def main(argv):
    parser = cli.Parser(
        prog="first_networks.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument(
        "--rungs", nargs="+", choices=LISTS, default=list(first_networks.RUNGS), metavar="RUNG"
    )
    parser.add_argument("--seed", type=cli.whole(0, 2**31), default=100)
    parser.add_argument("--epochs", type=cli.whole(1))
    parser.add_argument("--limit", type=cli.whole(1))
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "first-networks.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        run(args)
    if not (args.limit or args.epochs):
        print(table(ablation.read(args.results)))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("first_networks.py", main, sys.argv[1:]))
