"""Several devices beside one: loss curves, images per second, two processes.

    python benchmarks/devices.py --data-dir DIR [--rung cifar10-88] [--images 1000] [--epochs 3]
        [--counts 2 4] [--backends tensorflow jax] [--precision float32 mixed_bfloat16]

The devices are virtual ones of this machine's processor: they share its cores, so what they cost in
images per second is what dividing a batch costs, and nothing is won. For each backend, precision
and number of devices a process trains the same recipe on one device and on so many. It prints the
largest relative difference of the losses: of the first step, and of each epoch. Beside it stands
that of one device whose kernels were changed by 1e-7 at the start, which is what rounding does to
this training. Then the trainers take turns, an epoch each, --rounds times, and it prints images per
second (medians) and their ratios. At the end, on JAX, two processes of one device each train
through train.py, and their losses are compared with those of one. Lines of JSON.
"""

import argparse
import csv
import itertools
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from cifar_lab import backend, cli, data, devices, ladder  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402

LOSSES = ("loss", "val_loss")


def recipe_of(args):
    return recipes.changed(ladder.get(args.rung).recipe, {"epochs": args.epochs}, "--epochs")


def difference(rows, expected):
    """The largest relative difference of two histories' losses, by name."""
    return {
        name: max(abs(float(a[name]) / float(b[name]) - 1) for a, b in zip(rows, expected))
        for name in LOSSES
    }


def here(args):
    """On this process' backend, in one precision: one device and several, in turns."""
    import keras

    several = devices.of(f"cpu:{args.count}")
    backend.prepare(several)
    backend.start()
    from cifar_lab import training

    recipe, (precision,) = recipe_of(args), args.precision
    dataset = data.load(recipe.data, args.data_dir, recipe.input_shape)
    dataset = data.limited(dataset, args.images, 0)
    about = {
        "backend": keras.backend.backend(),
        "precision": precision,
        "rung": args.rung,
        "device": backend.device()[1],
    }

    def trained(among, changed=0.0, scanned=None):
        """(trainer, loss of its first step, its history)."""
        plan = training.Plan.of(
            recipe, dataset, 0, precision=precision, devices=among, scanned=scanned
        )
        trainer = training.Trainer(plan)
        trainer.compile_step()
        rng = np.random.default_rng(0)
        for kernel in trainer.network.trainable_variables if changed else ():
            if len(kernel.shape) > 1:
                value = keras.ops.convert_to_numpy(kernel)
                kernel.assign(value * (1 + changed * rng.standard_normal(value.shape)))
        before, batch = trainer.values(), trainer.order(0)[: recipe.batch_size]
        first = trainer.fit(batch, 0, None, validate=False).history["loss"][0]
        trainer.assign(before)
        return trainer, first, [trainer.run_epoch() for _ in range(args.epochs)]

    one, first, rows = trained(None)
    trainers = {1: one}
    for count, among, changed in ((args.count, several, 0.0), (1, None, 1e-7)):
        trainer, theirs, found = trained(among, changed)
        trainers.setdefault(count, trainer)
        by_epoch = [[round(abs(a[n] / b[n] - 1), 9) for n in LOSSES] for a, b in zip(found, rows)]
        print(
            json.dumps(
                {"kind": "curve", **about, "devices": count, "kernels_changed": changed}
                | {"first_step": abs(theirs / first - 1), "epochs": by_epoch}
                | {"parameters": _trained(one)}
            ),
            flush=True,
        )
    if keras.backend.backend() == "jax":  # the program of several devices, on one
        trainers["scanned"] = trained(None, scanned=True)[0]
    rates = {count: [] for count in trainers}
    for _ in range(args.rounds):
        for count, trainer in trainers.items():
            order, start = trainer.order(0), time.perf_counter()
            trainer.fit(order, 0, None, validate=False)
            rates[count].append(len(order) / (time.perf_counter() - start))
    ratios = {
        name: round(statistics.median(b / a for a, b in zip(rates[key], rates[args.count])), 3)
        for name, key in (("ratio", 1), ("ratio_to_scanned", "scanned"))
        if key in rates
    }
    print(
        json.dumps(
            {"kind": "speed", **about, "devices": args.count, "rounds": args.rounds}
            | {"images_per_second": round(statistics.median(rates[args.count]), 1)}
            | {"of_one_device": round(statistics.median(rates[1]), 1)}
            | ratios
        ),
        flush=True,
    )


def _trained(trainer):
    return sum(math.prod(v.shape) for v in trainer.model.trainable_variables)


def rows_of(bundle):
    with open(bundle / "history.csv") as file:
        return list(csv.DictReader(file))


def in_processes(args, count=2):
    """Through train.py on JAX: one process, then several of one device each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), args.rung, "--epochs", str(args.epochs)]
        command += ["--limit", str(args.images)]
        command += ["--data-dir", args.data_dir] if args.data_dir else []
        env = {**os.environ, "KERAS_BACKEND": "jax"}
        subprocess.run([*command, "--output", f"{folder}/one"], env=env, check=True)
        team = [
            subprocess.Popen(
                [*command, "--output", f"{folder}/team", "--process", f"{i}/{count}"]
                + ["--coordinator", str(port)],
                env=env,
            )
            for i in range(count)
        ]
        if any([process.wait() for process in team]):
            raise SystemExit(1)
        one, several = (rows_of(Path(folder) / name) for name in ("one", "team"))
        card = json.loads((Path(folder) / "team" / "card.json").read_text())
    later = [sum(float(row["seconds"]) for row in rows[1:]) for rows in (one, several)]
    print(
        json.dumps(
            {"kind": "processes", "backend": "jax", "processes": count, "rung": args.rung}
            | {"device": card["device"], "difference": difference(several, one)}
            | {"seconds_of_later_epochs": [round(s, 2) for s in later]}
        ),
        flush=True,
    )


def main(argv):
    parser = cli.Parser(
        prog="devices.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", metavar="DIR")
    parser.add_argument("--rung", default="cifar10-88")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--part", choices=("all", "here", "processes"), default="all")
    args = parser.parse_args(argv)
    if args.part == "here":
        here(args)
        return 0
    for name in args.backends if args.part == "all" else ():
        for precision, count in itertools.product(args.precision, args.counts):
            own = [*argv, "--part", "here", "--precision", precision, "--count", str(count)]
            env = {**os.environ, "KERAS_BACKEND": name}
            subprocess.run([sys.executable, __file__, *own], env=env, check=True)
    if "jax" in args.backends:
        in_processes(args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded("devices.py", main, sys.argv[1:]))
