"""The k nearest neighbours, by numpy alone, on whole data sets: what a network has to beat.

    python benchmarks/neighbours.py --data-dir DIR --output FILE [--data cifar10 mnist]

A tenth of the train images, each class alike (the split of the ladder's seed 0), validates; the
rest are the pictures to compare with. k (1 to 25) and the norm (L1, L2) with the highest validation
accuracy are taken (of equal ones the smaller k, then L1), and the test images are read once, with
those. Appends a JSON line a data set to FILE: k, norm, accuracies, seconds, device, versions.

It can be stopped at any time: the neighbours of each 250 queries are kept in FILE.parts, and a
data set that has its line is not computed again.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, cli, data, provenance  # noqa: E402
from cifar_lab.data.splits import stratified_split  # noqa: E402
from cifar_lab.scratch import majority, nearest_neighbours  # noqa: E402

MOST = 25  # neighbours
NORMS = (1, 2)
AT_A_TIME = 250  # queries
VALIDATION, SEED = 0.1, 0


def main(argv):
    parser = cli.Parser(
        prog="neighbours.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--output", metavar="FILE", required=True)
    parser.add_argument("--data", nargs="+", metavar="NAME", default=["cifar10", "mnist"])
    parser.add_argument("--limit", type=int, help="train and test images, for a short try")
    args = parser.parse_args(argv)
    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    done = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    for name in args.data:
        if any(json.loads(line)["data"] == name for line in done):
            continue
        parts = output.with_name(f"{output.name}.parts") / f"{name}-{args.limit or 'all'}"
        parts.mkdir(parents=True, exist_ok=True)
        line = json.dumps(measured(data.load(name, args.data_dir), parts, args.limit))
        with output.open("a", encoding="utf-8") as file:
            print(line, file=file)
        print(line, flush=True)
        shutil.rmtree(parts)
    shutil.rmtree(output.with_name(f"{output.name}.parts"), ignore_errors=True)
    return cli.OK


def measured(dataset, parts, limit=None):
    """The line of a data set. parts: a folder for what is found on the way."""
    images, labels = dataset.train_images[:limit], dataset.train_labels[:limit]
    rest, part = stratified_split(labels, VALIDATION, SEED, dataset.classes)
    train, train_labels = images[rest], labels[rest]
    most = min(MOST, len(train))

    curves, seconds = {}, {}
    for norm in NORMS:
        near, seconds[norm] = searched(
            train, images[part], most, norm, parts / f"validation-l{norm}"
        )
        curves[norm] = [
            round(float((majority(train_labels[near[:, :k]]) == labels[part]).mean()), 6)
            for k in range(1, most + 1)
        ]
    best = max(max(curve) for curve in curves.values())
    k, norm = min((curves[n].index(best) + 1, n) for n in NORMS if best in curves[n])

    queries, expected = dataset.test_images[:limit], dataset.test_labels[:limit]
    near, answering = searched(train, queries, k, norm, parts / f"test-l{norm}-k{k}")
    return {
        "data": dataset.name,
        "k": k,
        "norm": norm,
        "train_images": len(train),
        "validation_images": len(part),
        "test_images": len(queries),
        "val_accuracy": best,
        "test_accuracy": float((majority(train_labels[near]) == expected).mean()),
        "val_accuracy_of": {f"L{n}": curves[n] for n in NORMS},  # of k = 1, 2, ...
        "seconds": round(sum(seconds.values()) + answering, 1),
        "test_seconds": round(answering, 1),
        "device": backend.processor(),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "data_sha256": dataset.train_sha256(),
        **provenance.source(),
    }


def searched(train, queries, k, norm, kept):
    """(the k nearest of each query, the processor seconds that they took), from `kept` where they
    were found before."""
    kept.mkdir(exist_ok=True)
    found, seconds = [], 0.0
    for start in range(0, len(queries), AT_A_TIME):
        file = kept / f"{start:06}.npz"
        if not file.exists():
            began = time.process_time()
            near = nearest_neighbours(train, queries[start : start + AT_A_TIME], k, norm)
            took = time.process_time() - began
            half = file.with_suffix(".half.npz")
            np.savez(half, near=near, seconds=took)
            half.replace(file)
        with np.load(file) as part:
            found.append(part["near"])
            seconds += float(part["seconds"])
    return np.concatenate(found), seconds


if __name__ == "__main__":
    raise SystemExit(cli.guarded("neighbours.py", main, sys.argv[1:]))
