"""How fast tune.py's strategies find good settings: on functions whose best is known, on trainings.

    python benchmarks/strategies.py --function hartmann6 [--trials 60] [--seeds 30]
                                    [--strategies narrowing random bayesian]
    python benchmarks/strategies.py --rung cifar10-79 --data-dir DIR --output DIR [--trials 16]
                                    [--seeds 3] [--trial-epochs 2] [--trial-images 5000]
                                    [--range ...]
    python benchmarks/strategies.py --table | --figure FILE

Functions: "branin" (2 dimensions, best 0.397887 at three places) and "hartmann6" (6 dimensions,
best -3.32237), the usual ones (Surjanovic and Bingham, Virtual Library of Simulation Experiments),
with each dimension a hyperparameter on a linear range; "training", a made-up validation error over
learning rate (1e-6 to 1), weight decay (1e-8 to 1e-1), both logarithmic, dropout and batch size,
with noise as between seeds: its best is 0.2; and "levy" (4 dimensions on -10 to 10, best 0), on
which the rule of narrowing was not chosen. What counts is the true value, without noise, of the
trial whose score is the best so far. With --rung every trial is a real training, with the same
budget for each strategy; seeds decide the draws and the training. Prints one JSON line a strategy
and seed: the best score after each trial. --table and --figure read docs/strategies.jsonl, such
lines.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, cli, ladder  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.searching.ranges import Range  # noqa: E402
from cifar_lab.searching.request import STRATEGIES, Request  # noqa: E402

AFTER = (8, 16, 24, 32, 40, 60)  # trials of the table's columns


def branin(v):
    x, y = v["x0"], v["x1"]
    return (
        (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def hartmann6(v):
    return -sum(
        alpha
        * math.exp(
            -sum(
                a * (v[f"x{j}"] - p / 10_000) ** 2
                for j, (a, p) in enumerate(zip(row, centre, strict=True))
            )
        )
        for alpha, row, centre in zip((1.0, 1.2, 3.0, 3.2), _A, _P, strict=True)
    )


def training(v):
    rate, decay = math.log10(v["learning_rate"]), math.log10(v["weight_decay"])
    error = (
        0.2
        + 0.02 * (rate + 3) ** 2
        + 0.004 * max(0.0, rate + decay + 6) ** 2
        + 0.2 * (v["dropout"] - 0.35) ** 2
    )
    return min(error + 0.01 * abs(math.log2(v["batch_size"] / 64)), 0.9)


def levy(v):
    w = [1 + (v[f"x{i}"] - 1) / 4 for i in range(4)]
    return (
        math.sin(math.pi * w[0]) ** 2
        + (w[3] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[3]) ** 2)
        + sum((x - 1) ** 2 * (1 + 10 * math.sin(math.pi * x + 1) ** 2) for x in w[:3])
    )


FUNCTIONS = {  # name: (function, space, standard deviation of the noise)
    "branin": (branin, {"x0": Range(-5.0, 10.0), "x1": Range(0.0, 15.0)}, 0.0),
    "hartmann6": (hartmann6, {f"x{i}": Range(0.0, 1.0) for i in range(6)}, 0.0),
    "levy": (levy, {f"x{i}": Range(-10.0, 10.0) for i in range(4)}, 0.0),
    "training": (
        training,
        {
            "learning_rate": Range(1e-6, 1.0, log=True),
            "weight_decay": Range(1e-8, 0.1, log=True),
            "dropout": Range(0.0, 0.8),
            "batch_size": Range(options=(16, 32, 64, 128, 256)),
        },
        0.003,
    ),
}


def main(argv):
    parser = cli.Parser(
        prog="strategies.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--function", choices=FUNCTIONS)
    parser.add_argument("--rung", choices=ladder.LADDER)
    parser.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES[:3], default=list(STRATEGIES[:3])
    )
    parser.add_argument("--trials", type=cli.whole(1), default=60)
    parser.add_argument("--seeds", type=cli.whole(1), default=30)
    parser.add_argument("--first-seed", type=cli.whole(0), default=0)
    parser.add_argument("--trial-epochs", type=cli.whole(1), default=2)
    parser.add_argument("--trial-images", type=cli.whole(1), default=5000)
    parser.add_argument("--range", action="append", default=[], dest="ranges")
    parser.add_argument("--data-dir")
    parser.add_argument("--output", metavar="DIR")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--figure", metavar="FILE")
    args = parser.parse_args(argv)
    if args.table or args.figure:
        rows = [
            json.loads(line)
            for line in (ROOT / "docs" / "strategies.jsonl").read_text().splitlines()
        ]
        print(table(rows)) if args.table else draw(rows, args.figure)
        return cli.OK
    if bool(args.function) == bool(args.rung):
        raise InputError("--function or --rung: one of the two is needed")
    if args.rung and not args.output:
        raise InputError("--output: is needed with --rung, the folder of the searches")
    backend.start()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for strategy in args.strategies:
            scores = (
                on_function(args.function, strategy, seed, args.trials)
                if args.function
                else on_rung(args, strategy, seed)
            )
            best, best_so_far = (math.inf, math.inf), []
            for score, true in scores:
                best = min(best, (score, true))
                best_so_far.append(round(best[1], 5))
            print(
                json.dumps(
                    {
                        "what": args.function or args.rung,
                        "strategy": strategy,
                        "seed": seed,
                        "best_so_far": best_so_far,
                        **(
                            {}
                            if args.function
                            else {
                                "trial_epochs": args.trial_epochs,
                                "trial_images": args.trial_images,
                            }
                        ),
                    }
                ),
                flush=True,
            )
    return cli.OK


def on_function(name, strategy, seed, trials):
    """(score, true value), lower is better, of one search's trials in order."""
    import numpy as np

    from cifar_lab.searching import oracles

    function, space, noise = FUNCTIONS[name]
    rng, scores = np.random.default_rng([seed, 7]), []
    with tempfile.TemporaryDirectory() as folder:
        oracle = oracles.build(strategy, space, "score", "min", seed, limit=trials)
        oracle._set_project_dir(folder, "search")
        while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
            true = function(trial.hyperparameters.values)
            scores.append((true + noise * rng.standard_normal(), true))
            oracle.update_trial(trial.trial_id, {"score": scores[-1][0]})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    return scores


def on_rung(args, strategy, seed):
    """1 - validation accuracy, twice, of one real search's trials in order; of a failed one 1."""
    from cifar_lab import data
    from cifar_lab.searching import space
    from cifar_lab.searching.search import Search

    recipe = ladder.get(args.rung).recipe
    dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
    ranges = space.parse_ranges(args.ranges, recipe) or space.default_ranges(recipe)
    request = Request(
        args.rung,
        strategy,
        ranges,
        "val_accuracy",
        seed,
        args.trial_epochs,
        args.trial_images,
        False,
        recipe.data,
        dataset.train_sha256(),
        recipe.sha256(),
    )
    search = Search(
        request,
        Path(args.output) / f"{strategy}-{seed}",
        args.data_dir,
        args.trials,
        None,
        lambda line: print(f"{strategy} {seed}: {line}", file=sys.stderr, flush=True),
    )
    search.run()
    trials = search.oracle.trials
    return [
        (1 - (trials[i].score if trials[i].status == "COMPLETED" else 0),) * 2
        for i in sorted(trials)
    ]


def _groups(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["what"], row["strategy"]), []).append(row["best_so_far"])
    return groups


def table(rows):
    """Mean +- standard deviation over seeds of the best so far, as Markdown."""
    lines = [
        "| search | strategy | seeds | " + " | ".join(f"after {n}" for n in AFTER) + " |",
        "| --- " * (3 + len(AFTER)) + "|",
    ]
    for (what, strategy), runs in _groups(rows).items():
        cells = []
        for n in AFTER:
            values = [run[n - 1] for run in runs if len(run) >= n]
            spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        lines.append(f"| {what} | {strategy} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows, path):
    """A panel a search: median of the best so far against trials, from the fifth on, and the middle
    half of the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot as plt

    groups = _groups(rows)
    names = list(dict.fromkeys(what for what, _ in groups))
    down, across = math.ceil(len(names) / 3), min(len(names), 3)
    figure, axes = plt.subplots(
        down, across, figsize=(4.2 * across, 3.4 * down), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, name in zip(axes.flat, names, strict=False):
        for (what, strategy), runs in groups.items():
            if what == name:
                values = np.array([run[: min(map(len, runs))] for run in runs])[:, 4:]
                trials = np.arange(5, values.shape[1] + 5)
                (line,) = axis.plot(
                    trials, np.median(values, 0), label=f"{strategy} (n = {len(runs)})"
                )
                axis.fill_between(
                    trials,
                    *np.quantile(values, (0.25, 0.75), axis=0),
                    color=line.get_color(),
                    alpha=0.2,
                    lw=0,
                )
        axis.set(title=name, xlabel="trials", ylabel="best so far (lower is better)")
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(cli.guarded("strategies.py", main, sys.argv[1:]))
