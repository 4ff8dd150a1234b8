"""What it costs to read a folder of large photos, the first time and again.

    python benchmarks/reading.py --pictures 1000 --times 3 [--train]

Makes JPEGs of 12 megapixels in a folder of its own (4 MB each), reads them as 32 x 32 RGB, and
reads them again, in processes of their own with a cache of their own. Prints seconds, their median
over the repetitions, and pictures a second. The files are in memory by then: a disk adds its time.
--train starts `train.py FOLDER` instead, and takes the seconds until its first epoch begins, from
the start of the command, and those until it is over.
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

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import cli  # noqa: E402

SIZE = (4000, 3000)
DISTINCT = 8  # pictures that are drawn; the others are these with another table of quantisation
READ = """
import json, sys, time
from cifar_lab import data
start, cpu = time.perf_counter(), time.process_time()
dataset = data.load(sys.argv[1], input_shape=(32, 32, 3))
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps([seconds, cpu, len(dataset.train_labels) + len(dataset.test_labels)]))
"""


def main(argv):
    parser = cli.Parser(
        prog="reading.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pictures", type=cli.whole(10), default=1000, metavar="N")
    parser.add_argument("--times", type=cli.whole(1), default=3, metavar="N")
    parser.add_argument("--train", action="store_true", help="time the command that trains")
    parser.add_argument("--folder", help="where to make them (default: the system's)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        photos = Path(folder) / "photos"
        total = make(photos, args.pictures)
        print(f"{args.pictures} JPEGs of {SIZE[0]} x {SIZE[1]}, {total / 1e6:,.0f} MB, "
              f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        rows = {"first": [], "again": []}
        for i in range(args.times):
            cache = Path(folder) / f"cache{i}"
            for name, row in rows.items():
                row.append(train(photos, cache) if args.train else read(photos, cache))
                what = "to the end of the first epoch" if args.train else "of processors"
                print(f"  {name}: {row[-1][0]:.2f} s ({row[-1][1]:.1f} s {what})", flush=True)
    print("| read | n | median s | pictures a second |\n| --- | --- | --- | --- |")
    for name, row in rows.items():
        seconds = statistics.median(r[0] for r in row)
        print(f"| {name} | {len(row)} | {seconds:.2f} | {args.pictures / seconds:,.0f} |")
    return cli.OK


def make(folder, count):
    """Write photos of two classes, all with other pixels. Returns their bytes."""
    rng = np.random.default_rng(0)
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    encoded = []
    for _ in range(DISTINCT):
        coarse = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC))
        noise = rng.integers(-10, 11, (SIZE[1], SIZE[0], 1))
        path = folder / "drawn.jpg"
        Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8)).save(path, quality=88)
        encoded.append(path.read_bytes())
    path.unlink()
    total = 0
    for i in range(count):
        raw = bytearray(encoded[i % DISTINCT])
        table = raw.index(b"\xff\xdb") + 5
        raw[table] += i // DISTINCT % 60  # the step of the mean of each block: another contrast
        raw[table + 1] += i // DISTINCT // 60
        (folder / "ab"[i % 2] / f"{i:05}.jpg").write_bytes(raw)
        total += len(raw)
    return total


def read(folder, cache):
    """(seconds, seconds of processors) of data.load in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)],
        cwd=ROOT,
        env={**os.environ, "CIFAR_LAB_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)[:2]


def train(folder, cache):
    """Seconds from the start of `train.py FOLDER` until (its first epoch begins, it is over)."""
    begin, times = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, ROOT / "train.py", folder, "--output", Path(output) / "bundle"]
        done = subprocess.Popen(
            [*command, "--epochs", "2"],
            env={**os.environ, "CIFAR_LAB_CACHE": str(cache)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for line in done.stderr:
            times.setdefault(line.split()[0], time.perf_counter() - begin)
        if done.wait():
            raise SystemExit(f"train.py: exit code {done.returncode}")
    return times["compiled"], times["epoch"]


if __name__ == "__main__":
    raise SystemExit(cli.guarded("reading.py", main, sys.argv[1:]))
