"""What a rung's training takes, in epochs of the 74 network and beside the lecture's cifar10-88.

    python benchmarks/budget.py RUNG --data-dir DIR --output DIR [--recipe FILE] [--seed 0]
                                [--turns 5] [--images 4500] [--alone]
    python benchmarks/budget.py --table

Trains the rung by the path of train.py; its bundle goes to --output. --resume, as there, goes on
with a stopped run, whose time is then no measurement. Before it and after it, in processes of their
own that sleep meanwhile, this package's 74 network and the lecture's script for cifar10-88
(float32, ImageDataGenerator.flow, without the wait at the end of a pass; see engines.py) train on
--images images, --turns times each, in turns.

Prints one JSON line: the rung's seconds of training and of compilation, its accuracies, the seconds
after which validation accuracy reached each mark; the median time of 45,000 images in either other
network, before and after; and the ratios.

--alone measures what other programs take of the processor, from ten seconds before all this to ten
seconds after it, and writes into line and card whether there were none. Of a resumed run it claims
nothing. --table prints the table of the lines in docs/budget.jsonl and runs nothing.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import engines  # noqa: E402
from cifar_lab import backend, cli, ladder, provenance  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.recipe import changed  # noqa: E402
from cifar_lab.report import results  # noqa: E402

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "budget.jsonl"
EPOCH = 45_000  # images of an epoch of the lecture's rungs
# Timed before and after the rung, by their names in the line: engine and case of engines.py
BESIDE = {"epoch_of_74": ("ours", "74"), "lecture_epoch_of_88": ("lecture:wait=0", "88")}


def main(argv):
    parser = cli.Parser(
        prog="budget.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rung", nargs="?", choices=ladder.LADDER, metavar="RUNG")
    parser.add_argument(
        "--table",
        action="store_true",
        help="print the table of docs/measurements/budget.md and run nothing",
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--output")
    parser.add_argument("--recipe", metavar="FILE", help="as of train.py: fields to replace")
    parser.add_argument("--seed", type=cli.whole(0, 2**32 - 1), default=0)
    parser.add_argument("--turns", type=cli.whole(1), default=5)
    parser.add_argument("--images", type=cli.whole(1, EPOCH), default=4500, help="images a turn")
    parser.add_argument(
        "--epochs", type=cli.whole(1), help="epochs instead of the rung's, for a rehearsal"
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="check whether anything else runs, and say so in the line",
    )
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    if args.table:
        print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))
        return cli.OK
    if args.rung is None or not args.output:
        raise InputError("RUNG and --output: must both be given, where --table is not")
    print(json.dumps(run(args)), flush=True)
    return cli.OK


def run(args):
    from cifar_lab import bundles, data

    try:
        for text, case in BESIDE.values():
            engines.check(text, case)
    except ValueError as error:
        raise InputError(error) from None
    recipe = ladder.get(args.rung).recipe
    if args.recipe:
        recipe = changed(recipe, cli.common.read_json(args.recipe), f"--recipe {args.recipe}")
    if args.epochs:
        recipe = changed(recipe, {"epochs": args.epochs}, "--epochs")
    output = Path(args.output).resolve()
    bundles.prepare(output, bytes_needed=0)
    if not args.resume:
        bundles.refuse_existing(output)
    dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
    data.load("cifar10", args.data_dir)  # there and whole, before workers need it
    fresh = not (bundles.occupied(output) or bundles.state_path(output).exists())
    # before the workers start: their whole time is this process's
    idle = provenance.Idle() if args.alone and fresh else None
    workers = {
        name: engines.Worker(text, case, args.data_dir) for name, (text, case) in BESIDE.items()
    }
    seconds = {name: [] for name in workers}

    def turns():
        for _ in range(args.turns):
            for name, worker in workers.items():
                seconds[name].append(worker.ask(args.images) * EPOCH / args.images)
        return {
            name: round(statistics.median(values[-args.turns :]), 2)
            for name, values in seconds.items()
        }

    before = turns()
    backend.start()
    from cifar_lab import training

    card, _ = training.train(
        recipe,
        dataset,
        output,
        rung=args.rung,
        seed=args.seed,
        resume=args.resume,
        command=cli.command_line("benchmarks/budget.py", sys.argv[1:]),
        notice=lambda line: print(line, file=sys.stderr, flush=True),
    )
    after = turns()
    for worker in workers.values():
        worker.process.stdin.close()
        worker.process.wait()
    if idle:
        results.claim(output, idle.alone())
        card = bundles.read_card(output)
    epoch = statistics.median(seconds["epoch_of_74"])
    lecture = (
        statistics.median(seconds["lecture_epoch_of_88"]) * ladder.get("cifar10-88").recipe.epochs
    )
    marks = results.seconds_to(results.read_history(output))
    return {
        **{
            k: card[k]
            for k in (
                "rung",
                "seed",
                "test_accuracy",
                "val_accuracy",
                "seconds",
                "compile_seconds",
                "device",
                "precision",
            )
        },
        **{k: card.get(k) for k in results.PROVENANCE},
        **({"recipe": Path(args.recipe).name} if args.recipe else {}),
        "whole_recipe": args.epochs is None,
        "seconds_to": marks,
        "before": before,
        "after": after,
        "turns": 2 * args.turns,
        "in_epochs_of_74": round(card["seconds"] / epoch, 4),
        "lecture_88_seconds": round(lecture),
        "lecture_88_epochs": ladder.get("cifar10-88").recipe.epochs,
        "share_of_lecture_88": {mark: round(s / lecture, 4) for mark, s in marks.items()},
        "versions": card["versions"],
    }


def table(rows):
    """The lines as a Markdown table; a mark's column has the seconds of training after which the
    validation accuracy of a whole epoch was there."""
    marks = [f"{mark:g}" for mark in results.MARKS]
    heads = " | ".join(f"{100 * mark:g} %" for mark in results.MARKS)
    lines = [
        f"| rung | device | seconds | in epochs of the 74 network, same run | {heads} | test |",
        "| --- " * (len(marks) + 5) + "|",
    ]
    for row in rows:
        reached = " | ".join(
            f"{row['seconds_to'][m]:,.0f} s" if m in row["seconds_to"] else "" for m in marks
        )
        design = f" ({row['processor']})" if row.get("processor") else ""
        lines.append(
            f"| `{row['rung']}`, seed {row['seed']} | {row['device'].rpartition(', ')[2]}{design} "
            f"| {row['seconds']:,.0f} | {row['in_epochs_of_74']:.1f} | {reached} "
            f"| {100 * row['test_accuracy']:.2f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(cli.guarded("budget.py", main, sys.argv[1:]))
