"""How the cost of training grows with the number of images, in memory and on disk.

    python benchmarks/growth.py --images 10000,100000,1000000 --times 3 >> docs/growth.jsonl
    python benchmarks/growth.py --table docs/growth.jsonl

Draws so many pictures of the embedded set into the user's cache where they are not there yet
(3 KB each; CIFAR_LAB_CACHE names another folder, --remove removes them at the end). Then a process
of its own for each number and place, one after the other and so on anew, begins to train a rung on
them. It takes the seconds from its start to the end of the first step (the import of Keras, the
check of the file, the fingerprint of the data and the compilation among them), and images a second
over windows of so many steps. Memory is private memory at its highest (RssAnon of
/proc/self/status, looked at every 20 ms): pages of the mapped file are not in it, for the system
takes them back when it needs them. On a machine that does other work too the seconds of
processors tell more: of all cores, up to the first step, and for 1,000 images. Each line says the
load of the machine before.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

START = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import shared  # noqa: E402

from cifar_lab import cli  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

_CPU = "processor_seconds_to_first_step"
IN_MEMORY = 100_000  # up to so many are trained on in memory too


def main(argv):
    parser = cli.Parser(
        prog="growth.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=_numbers, default=(10_000, 100_000, 1_000_000), metavar="N,N,...")
    add("--rung", default="cifar10-74")
    add("--steps", type=cli.whole(1), default=300, metavar="N", help="of a window")
    add("--windows", type=cli.whole(1), default=5, metavar="N")
    add("--times", type=cli.whole(1), default=1, metavar="N", help="processes for each")
    add("--remove", action="store_true", help="remove the drawn pictures at the end")
    add("--one", nargs=2, metavar=("N", "WHERE"), help="what a process of its own measures")
    add("--table", metavar="FILE", help="print the table of these lines, and measure nothing")
    args = parser.parse_args(argv)
    if args.table:
        print(table(shared.read(Path(args.table))))
    elif args.one:
        print(json.dumps(measured(int(args.one[0]), args.one[1], args)), flush=True)
    else:
        _all(args)
    return cli.OK


def _numbers(text):
    numbers = [cli.whole(1000)(word) for word in text.split(",")]
    return tuple(sorted(numbers))


def _all(args):
    from cifar_lab import data
    from cifar_lab.data import cache

    place = cache.place()
    before = set(place.glob("*")) if place and place.is_dir() else set()
    for count in args.images:
        start = time.perf_counter()
        data.load(f"synthetic:images={count}", notice=shared.notice, data_in="disk")
        shared.notice(f"{count:,} pictures are there after {time.perf_counter() - start:.0f} s")
    cases = [(count, where) for count in args.images for where in ("memory", "disk")]
    cases = [case for case in cases if case[1] == "disk" or case[0] <= IN_MEMORY]
    for count, where in cases * args.times:
        command = [sys.executable, __file__, "--one", str(count), where, "--rung", args.rung]
        command += ["--steps", str(args.steps), "--windows", str(args.windows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise InputError(f"{count} images, {where}: ended with {done.returncode}")
        print(done.stdout, end="", flush=True)
    if args.remove and place:
        for path in set(place.glob("*" + cache.ENDING)) - before:
            path.unlink()


# --- one process ---


class Peak(threading.Thread):
    """The most private memory that this process had since it was started, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes, self.done = 0, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            self.bytes = max(self.bytes, private())


def private():
    """Bytes of memory that are this process' own and no file's."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def measured(count, where, args):
    """The line of a number of images, "memory" or "disk"."""
    load = os.getloadavg()[0]
    peak = Peak()
    peak.start()
    from cifar_lab import backend, data, ladder

    recipe = ladder.get(args.rung).recipe
    opened = time.perf_counter()
    dataset = data.load(f"synthetic:images={count}", None, recipe.input_shape, data_in=where)
    opened = time.perf_counter() - opened
    digest = time.perf_counter()
    sha256 = dataset.train_sha256()
    digest = time.perf_counter() - digest
    backend.start()
    import keras

    from cifar_lab.training.plan import Plan
    from cifar_lab.training.trainer import Trainer

    before = private()
    plan = Plan.of(recipe, dataset, 0)
    trainer = Trainer(plan)
    trainer.compile_step()
    first = []

    class First(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            first.append((time.perf_counter(), time.process_time()))

    used, seconds = [], []
    images = min(args.steps * recipe.batch_size, len(plan.train_indices))
    for window in range(args.windows):
        order = trainer.order(window)[:images]
        start, cpu = time.perf_counter(), time.process_time()
        watching = keras.callbacks.CallbackList([First()], model=trainer.model)
        trainer.fit(order, 0, watching, validate=False)
        seconds.append(time.perf_counter() - start)
        used.append(time.process_time() - cpu)
    peak.done.set()
    rates = [images / s for s in seconds]
    return {
        "images": count,
        "where": where,
        "streamed": plan.streamed,
        "rung": args.rung,
        "backend": keras.backend.backend(),
        "device": plan.device,
        "images_a_second": round(statistics.median(rates), 1),
        "rates": [round(rate, 1) for rate in rates],
        "images_a_window": images,
        "peak_private_bytes": max(peak.bytes, private()),
        "private_bytes_before_training": before,
        "seconds_to_first_step": round(first[0][0] - START, 2),
        _CPU: round(first[0][1], 2),
        "processor_seconds_a_thousand": [round(1000 * s / images, 4) for s in used],
        "seconds_opening": round(opened, 2),
        "seconds_fingerprint": round(digest, 2),
        "seconds_compiling": round(trainer.compile_seconds, 2),
        "load_before": round(load, 1),
        "data_sha256": sha256,
    }


# --- as a table ---


def table(rows):
    """A table in Markdown: medians over the processes, and over all their windows."""
    groups = {}
    for row in rows:
        groups.setdefault((row["rung"], row["images"], row["where"]), []).append(row)
    heads = ["network", "images", "where", "images a second", "processor s for 1,000",
             "private memory, at most", "to the first step", "processor s to it", "n",
             "load"]  # fmt: skip
    cells = []
    for (rung, images, where), group in groups.items():
        rates = [rate for row in group for rate in row["rates"]]
        begun = statistics.median(row["seconds_to_first_step"] for row in group)
        # the first lines do not tell of processors
        cpu = [row[_CPU] for row in group if _CPU in row]
        used = [s for row in group for s in row.get("processor_seconds_a_thousand", ())]
        loads = [row["load_before"] for row in group]
        cells.append(
            [
                f"`{rung}`",
                f"{images:,}",
                where,
                f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
                f"{statistics.median(used):.3f}" if used else "-",
                f"{max(row['peak_private_bytes'] for row in group) / 1e6:,.0f} MB",
                f"{begun:.1f} s",
                f"{statistics.median(cpu):.1f}" if cpu else "-",
                str(len(group)),
                f"{min(loads):.0f} to {max(loads):.0f}",
            ]
        )
    told = [i for i in range(len(heads)) if any(row[i] != "-" for row in cells)]
    return shared.markdown([heads[i] for i in told], [[row[i] for i in told] for row in cells])


if __name__ == "__main__":
    raise SystemExit(cli.guarded("growth.py", main, sys.argv[1:]))
