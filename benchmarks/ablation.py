"""What each idea of a rung buys: the rung trained whole and with one idea left out, on a short
schedule.

    python benchmarks/ablation.py --data-dir DIR [--rung cifar10-90] [--epochs 4] [--seeds 2]
                                  [--first-seed 0] [--ideas ...]
    python benchmarks/ablation.py --table [--rung cifar10-90] [--epochs 4]

Appends one JSON line a run to docs/ablation.jsonl (or --results) and prints it; what is there
already, of this recipe and these epochs, is not run again, so a killed command goes on where it
was. --table prints the table of docs/measurements/ablation.md and runs nothing. Accuracy is that of
the last epoch on the validation split; the test split is not looked at.
"""

import argparse
import gc
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, cli, ladder  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

WHOLE = "everything"
# idea: (whether a recipe has it, the fields that take its place, or a function of the recipe that
# gives them); an "augmentation" replaces these of its fields only
ADAM = {
    "optimizer": "adam",
    "learning_rate": 0.002,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "bias_rate_factor": 1.0,
}
LEFT_OUT = {
    "whitened first layer": (lambda r: r.whitening, {"whitening": False}),
    "dirac initialisation": (lambda r: r.dirac, {"dirac": False}),
    "SGD with its decay and bias rate (Adam, 0.002)": (lambda r: r.optimizer == "sgd", ADAM),
    "triangular rate (constant, a quarter)": (
        lambda r: r.schedule == "triangular",
        lambda r: {
            "schedule": "constant",
            "learning_rate": r.learning_rate / 4,
            "warmup_fraction": recipes.NEUTRAL["warmup_fraction"],
            **({"kernel_rate": r.kernel_rate / 4} if r.optimizer == "muon" else {}),
        },
    ),
    "Muon (SGD)": (
        lambda r: r.optimizer == "muon",
        {"optimizer": "sgd", "kernel_rate": recipes.NEUTRAL["kernel_rate"]},
    ),
    "residual stages": (
        lambda r: r.builder_options.get("residual"),
        lambda r: {"builder_options": {**r.builder_options, "residual": False}},
    ),
    "faster biases": (lambda r: r.bias_rate_factor != 1, {"bias_rate_factor": 1.0}),
    "weight decay": (lambda r: r.weight_decay, {"weight_decay": 0.0}),
    "label smoothing": (lambda r: r.label_smoothing, {"label_smoothing": 0.0}),
    "alternating flip (random flip)": (
        lambda r: r.augmentation.alternating_flip,
        {"augmentation": {"alternating_flip": False, "horizontal_flip": True}},
    ),
    "any flip": (
        lambda r: r.augmentation.alternating_flip or r.augmentation.horizontal_flip,
        {"augmentation": {"alternating_flip": False, "horizontal_flip": False}},
    ),
    "shifted crops": (lambda r: r.augmentation.crop_padding, {"augmentation": {"crop_padding": 0}}),
    "cutout": (lambda r: r.augmentation.cutout_size, {"augmentation": {"cutout_size": 0}}),
    "sharpness-aware end": (
        lambda r: r.sharpness_radius,
        {"sharpness_radius": 0.0, "sharpness_share": recipes.NEUTRAL["sharpness_share"]},
    ),
    "mean over cycles": (
        lambda r: r.swa_cycles,
        {  # as many epochs, all of the main schedule
            name: recipes.NEUTRAL[name] for name in ("swa_share", "swa_epochs", "swa_rate")
        },
    ),
    "small images first": (lambda r: r.small_images, {"small_images": ()}),
}


def variants(recipe):
    """{name: Recipe}: the recipe whole, and without each idea that it has."""
    found = {WHOLE: recipe}
    for idea, (has, fields) in LEFT_OUT.items():
        if has(recipe):
            fields = fields(recipe) if callable(fields) else fields
            if "augmentation" in fields:
                fields = {"augmentation": replace(recipe.augmentation, **fields["augmentation"])}
            found[idea] = replace(recipe, **fields)
    return found


def short(rung, epochs):
    """The rung's recipe on a short schedule."""
    return replace(ladder.get(rung).recipe, epochs=epochs, keep="last")


def read(path):
    """The rows of a results file, list of dict; [] where there is none. InputError for a line that
    is none of ours."""
    rows = []
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return rows
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text") from None
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
            rows[-1]["recipe_sha256"], rows[-1]["val_accuracy"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}, line {number}: is not a row of an ablation") from None
    return rows


def table(rows, rung, epochs):
    """Markdown of a rung's whole runs of so many epochs with the recipe that it has: a line a
    variant, the costliest to leave out first. InputError without runs of the whole recipe."""
    now = {name: recipe.sha256() for name, recipe in variants(short(rung, epochs)).items()}
    by_variant = {}
    for row in rows:
        if row["limit"] is None and now.get(row["left_out"]) == row["recipe_sha256"]:
            by_variant.setdefault(row["left_out"], {})[row["seed"]] = 100 * row["val_accuracy"]
    if WHOLE not in by_variant:
        raise InputError(
            f"no runs of the whole of {rung} over {epochs} epochs with the recipe that it has now"
        )
    whole = by_variant.pop(WHOLE)

    def measured(runs):
        sd = f" +- {statistics.stdev(runs.values()):.2f}" if len(runs) > 1 else ""
        return f"{statistics.fmean(runs.values()):.2f}{sd} % (n = {len(runs)})"

    lines = [
        f"| `{rung}`, {epochs} epochs, without | validation accuracy, mean +- sd | change, by "
        "seed |",
        "| --- | --- | --- |",
        f"| (nothing left out) | {measured(whole)} | |",
    ]
    changes = {
        name: [runs[s] - whole[s] for s in runs if s in whole] for name, runs in by_variant.items()
    }
    for name in sorted(
        (n for n in changes if changes[n]), key=lambda name: statistics.fmean(changes[name])
    ):
        each = ", ".join(f"{c:+.2f}" for c in changes[name])
        lines.append(
            f"| {name} | {measured(by_variant[name])} | "
            f"{statistics.fmean(changes[name]):+.2f} ({each}) |"
        )
    return "\n".join(lines)


def run(args):
    from cifar_lab import data

    if not os.access(args.results if args.results.exists() else args.results.parent, os.W_OK):
        raise InputError(f"--results {args.results}: cannot be written")
    read(args.results)  # before hours of work
    dataset = data.load(
        ladder.get(args.rung).recipe.data, args.data_dir, ladder.get(args.rung).recipe.input_shape
    )
    if args.limit:
        dataset = data.limited(dataset, args.limit, 0)
    backend.start()
    import keras

    from cifar_lab import training

    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name, variant in variants(short(args.rung, args.epochs)).items():
            if args.ideas and name not in (WHOLE, *args.ideas):
                continue
            key = {
                "rung": args.rung,
                "left_out": name,
                "seed": seed,
                "epochs": args.epochs,
                "limit": args.limit,
                "recipe_sha256": variant.sha256(),
                "backend": keras.backend.backend(),
                "device": backend.device()[1],
                "precision": backend.precision(variant),
            }
            if any(key.items() <= row.items() for row in read(args.results)):
                continue
            keras.backend.clear_session()
            gc.collect()
            trainer = training.Trainer(training.Plan.of(variant, dataset, seed))
            trainer.compile_step()
            try:
                while len(trainer.history) < variant.epochs:
                    trainer.run_epoch()
                found = {k: trainer.history[-1][k] for k in ("val_accuracy", "val_loss", "loss")}
            except InputError as error:  # diverged: a finding too
                found = {"val_accuracy": 1 / len(dataset.classes), "error": str(error)}
            row = {
                **key,
                **found,
                "seconds": round(sum(r["seconds"] for r in trainer.history), 2),
                "compile_seconds": round(trainer.compile_seconds, 2),
            }
            with open(args.results, "a") as file:  # one short write: two commands may share a file
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def main(argv):
    parser = cli.Parser(
        prog="ablation.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--rung", choices=ladder.LADDER, default="cifar10-90", metavar="RUNG")
    parser.add_argument("--epochs", type=cli.whole(1), default=4)
    parser.add_argument("--seeds", type=cli.whole(1), default=2)
    parser.add_argument("--first-seed", type=cli.whole(0, 2**31), default=0)
    parser.add_argument(
        "--ideas",
        nargs="+",
        choices=LEFT_OUT,
        metavar="IDEA",
        help=f"only these of: {'; '.join(LEFT_OUT)}",
    )
    parser.add_argument(
        "--limit", type=cli.whole(1), help="train images, stratified, for a rehearsal"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "ablation.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        run(args)
    if not args.limit:
        print(table(read(args.results), args.rung, args.epochs))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("ablation.py", main, sys.argv[1:]))
