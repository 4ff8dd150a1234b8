"""The famous networks, trained alike: what they reach and what they cost.

    python benchmarks/famous.py [--depth]

Prints the tables of docs/measurements/famous.md; --depth prints the second one, of residual
networks and their plain twins. Accuracies and minutes are those of results/. Sizes and latencies
are those of docs/latency-famous.jsonl, the lines of

    python benchmarks/latency.py BUNDLE ... --data-dir DIR --threads 1 --exports DIR \\
        --runtimes "LiteRT float32" "LiteRT int8"
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import cli  # noqa: E402
from cifar_lab.ladder import famous  # noqa: E402
from cifar_lab.report import figures, results, tables  # noqa: E402

LATENCY = ROOT / "docs" / "latency-famous.jsonl"
INT8 = ("LiteRT int8", 1)  # runtime, threads
#: Test accuracy on CIFAR-10 in print, %, and where. AlexNet, VGG-16 and GoogLeNet were not made for
#: it: these are the nearest networks of their kind.
PUBLISHED = {
    "cifar10-alexnet": (81.22, "Zhang et al. 2017: a small AlexNet, 1,387,786 parameters"),
    "cifar10-vgg16": (91.55, "Liu and Deng 2015: VGG-16 with batch normalisation, dropout"),
    "cifar10-nin": (91.19, "Lin et al. 2014"),
    "cifar10-googlenet": (89.05, "Zhang et al. 2017: a small Inception, 1,649,402 parameters"),
    "cifar10-resnet20": (91.25, "He et al. 2016"),
    "cifar10-resnet32": (92.49, "He et al. 2016"),
    "cifar10-resnet56": (93.03, "He et al. 2016"),
}


def table(folder=None, latency=LATENCY):
    """Markdown: a line a network; what an int8 file costs only where one was measured. folder: of
    the results."""
    lines_of = Path(latency).read_text().splitlines() if Path(latency).is_file() else []
    rows = map(json.loads, lines_of)
    costs = {row["rung"]: row for row in rows if (row["runtime"], row["threads"]) == INT8}
    heads = ["rung", "test accuracy, % (n)", "in print, %", "parameters", "minutes"]
    if costs:
        heads += ["multiply-adds", "int8 file, bytes", "its accuracy, %", "its latency, ms"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for rung, entry in famous.RUNGS.items():
        summary, cost = results.summary(rung, folder), costs.get(rung)
        printed, source = PUBLISHED.get(rung, (None, ""))
        times = (tables.minutes(summary, machine) for machine in summary["seconds"])
        cells = [
            f"`{rung}`",
            tables.measured(summary, "", ""),
            f"{printed} ({source})" if printed else "",
            f"{entry.parameters:,}",
            ", ".join(times),
        ]
        if costs:
            cells += [
                f"{cost['multiply_adds'] / 1e6:.0f} M" if cost else "",
                f"{cost['bytes']:,}" if cost else "",
                f"{100 * cost['accuracy']:.2f}" if cost else "",
                f"{cost['latency_ms']:.2f}" if cost else "",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def depth_table(models=None, folder=None):
    """Markdown: a line a residual network or plain twin, the last epoch's figures of seed 0."""
    lines = [
        "| network | loss on train | accuracy on train, % | on validation, % | on test, % (n) |",
        "| --- " * 5 + "|",
    ]
    for rung in figures.DEPTH:
        history = figures.history_of(rung, models, folder)
        if not history:
            continue
        last = history[-1]
        cells = (
            f"`{rung}`",
            f"{last['loss']:.3f}",
            f"{100 * last['accuracy']:.2f}",
            f"{100 * last['val_accuracy']:.2f}",
            tables.measured(results.summary(rung, folder), "", ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv):
    parser = cli.Parser(
        prog="famous.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", action="store_true")
    print(depth_table() if parser.parse_args(argv).depth else table())
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("famous.py", main, sys.argv[1:]))
