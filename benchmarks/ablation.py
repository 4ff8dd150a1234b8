"""What each idea of a rung buys: the rung trained whole and with one idea left out, on a short schedule.

    python benchmarks/ablation.py --data-dir DIR [--rung cifar10-90] [--epochs 4] [--seeds 2] [--first-seed 0] [--ideas ...]
    python benchmarks/ablation.py --table

Appends one JSON line a run to docs/ablation.jsonl (or --results) and prints it; what is there already, of this recipe
and these epochs, is not run again, so a killed command goes on where it was. --table prints the README's table and runs
nothing. Accuracy is that of the last epoch on the validation split; the test split is not looked at.
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

from cifar_lab import backend, recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

WHOLE = "everything"
# what takes the place of an idea: recipe fields; an "augmentation" replaces these of its fields only
LEFT_OUT = {
    "whitened first layer": {"whitening": False},
    "dirac initialisation": {"dirac": False},
    "Nesterov SGD (Adam, 0.002)": {"optimizer": "adam", "learning_rate": 0.002},
    "triangular rate (constant)": {"schedule": "constant", "learning_rate": 0.1},
    "faster biases": {"bias_rate_factor": 1.0},
    "weight decay": {"weight_decay": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "alternating flip (random flip)": {"augmentation": {"alternating_flip": False, "horizontal_flip": True}},
    "any flip": {"augmentation": {"alternating_flip": False}},
    "shifted crops": {"augmentation": {"crop_padding": 0}},
}


def variants(recipe):
    """{name: Recipe}: the recipe whole, and without each idea that it has."""
    found = {WHOLE: recipe}
    for idea, fields in LEFT_OUT.items():
        fields = dict(fields)
        if "augmentation" in fields:
            fields["augmentation"] = replace(recipe.augmentation, **fields["augmentation"])
        without = replace(recipe, **fields)
        if without != recipe:
            found[idea] = without
    return found


def read(path):
    try:
        return [json.loads(line) for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def table(rows):
    """Markdown of the runs of the last row's rung and epochs: a line a variant, the costliest to leave out first."""
    rows = [r for r in rows if (r["rung"], r["epochs"]) == (rows[-1]["rung"], rows[-1]["epochs"])]
    by_variant = {}
    for row in rows:
        by_variant.setdefault(row["left_out"], {})[row["seed"]] = 100 * row["val_accuracy"]
    whole = by_variant.pop(WHOLE)

    def measured(values):
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    lines = [f"| `{rows[0]['rung']}`, {rows[0]['epochs']} epochs, without | validation accuracy, mean +- sd | change, paired by seed |",
             "| --- | --- | --- |", "| (nothing left out) | {:.2f} +- {:.2f} % (n = {}) | |".format(*measured(whole.values()), len(whole))]
    changes = {name: [runs[s] - whole[s] for s in runs if s in whole] for name, runs in by_variant.items()}
    for name in sorted(changes, key=lambda name: statistics.fmean(changes[name])):
        mean, sd = measured(by_variant[name].values())
        each = ", ".join(f"{c:+.2f}" for c in changes[name])
        lines.append(f"| {name} | {mean:.2f} +- {sd:.2f} % (n = {len(by_variant[name])}) | "
                     f"{statistics.fmean(changes[name]):+.2f} ({each}) |")
    return "\n".join(lines)


def run(args):
    from cifar_lab import data
    backend.start()
    import keras
    from cifar_lab import training
    recipe = replace(recipes.get(args.rung), epochs=args.epochs, keep="last")
    dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
    if args.limit:
        dataset = data.limited(dataset, args.limit, 0)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name, variant in variants(recipe).items():
            if args.ideas and name not in (WHOLE, *args.ideas):
                continue
            key = {"rung": args.rung, "left_out": name, "seed": seed, "epochs": args.epochs, "limit": args.limit,
                   "recipe_sha256": variant.sha256()}
            if any(key.items() <= row.items() for row in read(args.results)):
                continue
            keras.backend.clear_session()
            gc.collect()
            trainer = training.Trainer(variant, dataset, seed)
            try:
                while len(trainer.history) < variant.epochs:
                    trainer.run_epoch()
                last = trainer.history[-1]
                found = {"val_accuracy": last["val_accuracy"], "val_loss": last["val_loss"], "loss": last["loss"]}
            except InputError as error:  # diverged: a finding too
                found = {"val_accuracy": 1 / len(dataset.classes), "error": str(error)}
            row = {**key, **found, "seconds": sum(r["seconds"] for r in trainer.history), "backend": keras.backend.backend(),
                   "device": backend.device()[1], "precision": trainer.precision}
            with open(args.results, "a") as file:  # one short write: two commands may share a file
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--rung", choices=recipes.LADDER, default="cifar10-90", metavar="RUNG")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--ideas", nargs="+", choices=LEFT_OUT, metavar="IDEA", help=f"only these of: {'; '.join(LEFT_OUT)}")
    parser.add_argument("--limit", type=int, help="train images, stratified, for a rehearsal")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "ablation.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    for name in ("seeds", "epochs", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: must be at least 1, received {value}")
    if not 0 <= args.first_seed < 2**32 - args.seeds:
        parser.error(f"--first-seed: must be from 0 to below 2 ** 32 - seeds, received {args.first_seed}")
    try:
        if not args.table:
            run(args)
        rows = read(args.results)
        if not rows:
            raise InputError(f"{args.results}: holds no runs yet")
        print(table(rows))
    except (InputError, OSError) as error:
        print(f"ablation.py: error: {error}", file=sys.stderr)
        raise SystemExit(2)
    except KeyboardInterrupt:
        print("ablation.py: interrupted; the same command goes on", file=sys.stderr)
        raise SystemExit(130)


if __name__ == "__main__":
    main()
