"""Latency of a saved network in every runtime, in turns in one process: Keras' predict, a compiled
call, LiteRT, ONNX Runtime, numpy.

    python benchmarks/latency.py [RUNG_OR_BUNDLE ...] --data-dir DIR [--threads 1 2] [--rounds 9]
    [--runtimes NAME ...] [--exports DIR] [--table]

Without names, every bundle in saved_models/; without --runtimes, all of them. An export that a
bundle does not hold yet is written to --exports (default: a temporary folder), with its check on
the test images. For each number of threads a process of its own times all runtimes of a bundle in
turns, --rounds times: single images (each call timed; median and 99th percentile of all calls),
then batches of 8 and of 64 (median of the rounds). Prints one JSON line a bundle, runtime and
number of threads: bytes and accuracy of the file, multiply-adds, latency_ms, latency_ms_99,
images_per_second of batches of 1, 8 and 64, and how many times slower a single image is than in the
fastest runtime. --table prints docs/latency.jsonl, and docs/latency-numpy.jsonl of runs with numpy,
such lines, as docs/measurements/latency.md has them.

Pixels are uint8 and probabilities float32 at both ends of each runtime: what an application holds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, bundles, cli, cost, inference  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.exporting import FORMATS, export, is_export_of  # noqa: E402

RUNTIMES = {
    "Keras predict": None,
    "Keras compiled call": None,
    "LiteRT float32": "litert",
    "LiteRT int8": "litert-int8",
    "ONNX Runtime": "onnx",
    "numpy": "numpy",
}
TABLED = tuple(RUNTIMES)[:5]  # of docs/latency.jsonl
BESIDE_NUMPY = ("Keras compiled call", "LiteRT float32", "numpy")  # of docs/latency-numpy.jsonl
BATCHES = (1, 8, 64)
TURN_SECONDS = 0.2  # of each runtime in each round, at least one call


def main(argv):
    parser = cli.Parser(
        prog="latency.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="*", metavar="RUNG_OR_BUNDLE")
    parser.add_argument("--data-dir")
    parser.add_argument("--threads", type=cli.whole(1), nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=cli.whole(1), default=9)
    parser.add_argument(
        "--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES), metavar="NAME"
    )
    parser.add_argument("--exports", metavar="DIR")
    parser.add_argument("--table", action="store_true")
    parser.add_argument(
        "--work", nargs=3, help=argparse.SUPPRESS
    )  # threads, rounds, files: the process that measures
    args = parser.parse_args(argv)
    if args.work:
        return work(int(args.work[0]), int(args.work[1]), json.loads(args.work[2]))
    if args.table:
        print("\n\n".join([*table(lines("latency")), numpy_table(lines("latency-numpy"))]))
        return cli.OK
    names = args.bundles or sorted(
        p.parent.name for p in (ROOT / "saved_models").glob("*/card.json")
    )
    folders = [bundles.find(name) for name in names]
    with tempfile.TemporaryDirectory() as temporary:
        backend.start()
        for folder in folders:
            elsewhere = Path(args.exports or temporary)
            files = exported(folder, elsewhere, args.data_dir, args.runtimes)
            for threads in args.threads:
                done = subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "--work",
                        str(threads),
                        str(args.rounds),
                        json.dumps(files),
                    ],
                    env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                if done.returncode:
                    raise InputError(f"{folder}: was not measured (exit code {done.returncode})")
                print(done.stdout, end="", flush=True)
    return cli.OK


def lines(name):
    """The rows of a file in docs/."""
    text = (ROOT / "docs" / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def exported(folder, elsewhere, data_dir, runtimes=tuple(RUNTIMES)):
    """{"rung": its name, "keras": its model, "runtimes": {runtime: file}} of a bundle; what is
    missing beside its model is written below `elsewhere`."""
    model, card = bundles.load(folder)
    files, dataset = {}, None
    for runtime in runtimes:
        form = RUNTIMES[runtime]
        file = folder / (FORMATS[form].file if form else "model.keras")
        if form and not is_export_of(file, card, form):
            file = elsewhere / folder.name / file.name
            if not is_export_of(file, card, form):
                from cifar_lab import data

                dataset = dataset or data.load(
                    card["data"]["name"], data_dir, tuple(model.input_shape[1:])
                )
                export(model, card, form, file, dataset)
        files[runtime] = str(file)
    return {"rung": card["rung"], "keras": str(folder / "model.keras"), "runtimes": files}


def work(threads, rounds, files):
    """Time every runtime of one bundle in turns; print the lines."""
    import tensorflow as tf  # its threads before anything else

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    backend.start()
    import keras
    import numpy as np

    model = keras.saving.load_model(files["keras"], compile=False)
    card = json.loads(Path(files["keras"]).with_name("card.json").read_text())
    own = {"bytes": os.path.getsize(files["keras"]), "accuracy": card["test_accuracy"]}
    compiled = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    with_keras = {
        "Keras predict": lambda images: model.predict(
            images.astype(np.float32), batch_size=len(images), verbose=0
        ),
        "Keras compiled call": lambda images: compiled(tf.constant(images, tf.float32)).numpy(),
    }
    calls, cards = {}, {}
    for runtime, file in files["runtimes"].items():
        if runtime in with_keras:
            calls[runtime], cards[runtime] = with_keras[runtime], own
            continue
        classifier = inference.Classifier(file, threads=threads)
        calls[runtime], cards[runtime] = classifier.probabilities, classifier.card
    rng = np.random.default_rng(0)
    seconds = {(runtime, batch): [] for runtime in calls for batch in BATCHES}
    for batch in BATCHES:
        images = rng.integers(0, 256, (batch, *model.input_shape[1:])).astype(np.uint8)
        for call in calls.values():
            for _ in range(3):
                call(images)
        for _ in range(rounds):
            for runtime, call in calls.items():
                end, turn = time.perf_counter() + TURN_SECONDS, []
                while not turn or time.perf_counter() < end:
                    start = time.perf_counter()
                    call(images)
                    turn.append(time.perf_counter() - start)
                seconds[runtime, batch] += turn if batch == 1 else [statistics.median(turn)]
    fastest = min(statistics.median(seconds[runtime, 1]) for runtime in calls)
    for runtime in calls:
        single = seconds[runtime, 1]
        median = statistics.median(single)
        print(
            json.dumps(
                {
                    "rung": files["rung"],
                    "runtime": runtime,
                    "threads": threads,
                    "bytes": cards[runtime]["bytes"],
                    "accuracy": cards[runtime]["accuracy"],
                    "multiply_adds": sum(cost.multiply_adds(model).values()),
                    "latency_ms": round(1000 * median, 4),
                    "latency_ms_99": round(1000 * float(np.percentile(single, 99)), 4),
                    "calls": len(single),
                    "times_the_fastest": round(median / fastest, 1),
                    "images_per_second": {
                        str(b): round(b / statistics.median(seconds[runtime, b])) for b in BATCHES
                    },
                    "rounds": rounds,
                    "device": backend.device()[1],
                    "versions": backend.versions(),
                }
            ),
            flush=True,
        )
    return cli.OK


def table(rows):
    """The lines of one machine as two Markdown tables, a row a bundle and number of threads: single
    images, and batches of 64."""
    names = " | ".join(TABLED)
    single = [
        f"| rung | threads | {names} | fastest: times predict | times compiled call |",
        "| --- " * (len(TABLED) + 4) + "|",
    ]
    batches = [f"| rung | threads | {names} |", "| --- " * (len(TABLED) + 2) + "|"]
    for (rung, threads), by_runtime in by_rung(rows).items():
        cells = [single_image(by_runtime[name]) for name in TABLED]
        ratios = [
            f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}"
            for ratio in (by_runtime[name]["times_the_fastest"] for name in TABLED[:2])
        ]
        single.append(f"| `{rung}` | {threads} | {' | '.join(cells + ratios)} |")
        rates = [f"{by_runtime[name]['images_per_second']['64']:,}" for name in TABLED]
        batches.append(f"| `{rung}` | {threads} | {' | '.join(rates)} |")
    return "\n".join(single), "\n".join(batches)


def numpy_table(rows):
    """The lines of runs with numpy as a Markdown table, a row a bundle and number of threads."""
    heads = [*(f"{name}, ms" for name in BESIDE_NUMPY), "numpy: times LiteRT"]
    heads += [f"{name}, images a second" for name in BESIDE_NUMPY]
    table = [f"| rung | threads | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|"]
    for (rung, threads), by_runtime in by_rung(rows).items():
        found = [by_runtime[name] for name in BESIDE_NUMPY]
        cells = [single_image(row) for row in found]
        cells.append(f"{found[2]['latency_ms'] / found[1]['latency_ms']:.1f}")
        cells += [f"{row['images_per_second']['64']:,}" for row in found]
        table.append(f"| `{rung}` | {threads} | {' | '.join(cells)} |")
    return "\n".join(table)


def by_rung(rows):
    """{(rung, threads): {runtime: its row}}."""
    found = {}
    for row in rows:
        found.setdefault((row["rung"], row["threads"]), {})[row["runtime"]] = row
    return found


def single_image(row):
    """Milliseconds of a row: median (99th percentile)."""
    return f"{row['latency_ms']:.3g} ({row['latency_ms_99']:.3g})"


if __name__ == "__main__":
    raise SystemExit(cli.guarded("latency.py", main, sys.argv[1:]))
