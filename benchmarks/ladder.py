"""Every rung over n seeds on this machine, a line a run: what to run where a GPU is at hand.

    python benchmarks/ladder.py --data-dir DIR --output OUT [--rungs cifar10-74 ...]
                                [--seeds 5] [--first-seed 0] [--alone]

Runs on every backend, also where TensorFlow is not installed:
KERAS_BACKEND=jax python benchmarks/ladder.py ...

Each run is trained by the path of train.py (compilation apart, the whole recipe), leaves its bundle
in OUT/RUNG-seedS, prints one JSON object on a line, and adds its row to OUT/results/RUNG.json, in
the form of the repository's results/; `python -m cifar_lab record OUT/RUNG-seedS` adds it there.
Killed and started again, it goes on where it was: what is finished is printed, not trained again.
After each rung a line with n, mean and standard deviation. A run that fails, one that diverges for
example, prints a line with "error", the others go on, and the exit code is 2.

--alone measures what other programs take of the processor, in each run and for ten seconds before
and after it, and writes into card and row whether the run had the machine for itself. Of a run that
was stopped and resumed it claims nothing.

On JAX with a GPU an epoch is one compiled program. Each seed compiles anew, which is not in its
seconds; JAX's own setting JAX_COMPILATION_CACHE_DIR=FOLDER keeps what was compiled. --epochs N and
--limit N make it a rehearsal: such runs print their lines and enter no results.
"""

import argparse
import gc
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cifar_lab import backend, cli, ladder, provenance  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.recipe import changed  # noqa: E402

KEYS = (
    "rung",
    "seed",
    "test_accuracy",
    "val_accuracy",
    "seconds",
    "compile_seconds",
    "epoch",
    "backend",
    "device",
    "precision",
    "alone",
)


def main(argv):
    parser = cli.Parser(
        prog="ladder.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--output", required=True)
    parser.add_argument(
        "--rungs", nargs="+", choices=ladder.LADDER, default=list(ladder.LADDER), metavar="RUNG"
    )
    parser.add_argument("--seeds", type=cli.whole(1), default=5)
    parser.add_argument("--first-seed", type=cli.whole(0, 2**31), default=0)
    parser.add_argument(
        "--alone",
        action="store_true",
        help="check whether anything else runs, and say so in the row",
    )
    parser.add_argument("--epochs", type=cli.whole(1))
    parser.add_argument("--limit", type=cli.whole(1))
    return run(parser.parse_args(argv))


def run(args):
    from cifar_lab import bundles, data, paths

    output = Path(args.output).resolve()
    if output == paths.CHECKOUT:
        raise InputError(
            "--output: must not be the checkout itself, whose results/ takes runs "
            "through `python -m cifar_lab record`"
        )
    backend.start()
    import keras

    from cifar_lab import training
    from cifar_lab.report import results

    (output / "results").mkdir(parents=True, exist_ok=True)
    whole, failed = args.epochs is None and args.limit is None, False
    chosen = {rung: ladder.get(rung).recipe for rung in args.rungs}
    if args.epochs:
        chosen = {
            rung: changed(recipe, {"epochs": args.epochs}, "--epochs")
            for rung, recipe in chosen.items()
        }
    # all of them, before the first training
    datasets = {
        wanted: data.load(wanted[0], args.data_dir, wanted[1])
        for wanted in {(recipe.data, recipe.input_shape) for recipe in chosen.values()}
    }
    for rung, recipe in chosen.items():
        dataset, cards = datasets[recipe.data, recipe.input_shape], []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            keras.backend.clear_session()
            gc.collect()
            bundle = output / f"{rung}-seed{seed}"
            fresh = not (bundles.occupied(bundle) or bundles.state_path(bundle).exists())
            idle = provenance.Idle() if args.alone and fresh else None
            try:
                card, _ = training.train(
                    recipe,
                    dataset,
                    bundle,
                    rung=rung,
                    seed=seed,
                    limit=args.limit,
                    resume=True,
                    command=cli.command_line("benchmarks/ladder.py", sys.argv[1:]),
                    notice=lambda line: print(line, file=sys.stderr, flush=True),
                )
                if idle:
                    results.claim(bundle, idle.alone())
                    card = bundles.read_card(bundle)
                if whole:
                    results.record(bundle, output / "results")
            except InputError as error:
                failed = True
                print(json.dumps({"rung": rung, "seed": seed, "error": str(error)}), flush=True)
                continue
            print(json.dumps({k: card.get(k) for k in KEYS}), flush=True)
            cards.append(card)
        if not cards:
            continue
        tests, seconds = [c["test_accuracy"] for c in cards], [c["seconds"] for c in cards]
        print(
            json.dumps(
                {
                    "rung": rung,
                    "n": len(cards),
                    "mean": statistics.fmean(tests),
                    "sd": statistics.stdev(tests) if len(tests) > 1 else None,
                    "median_seconds": statistics.median(seconds),
                    "promise": recipe.promise,
                    "whole_recipe": whole,
                    "versions": cards[-1]["versions"],
                }
            ),
            flush=True,
        )
    return cli.WRONG if failed else cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("ladder.py", main, sys.argv[1:]))
