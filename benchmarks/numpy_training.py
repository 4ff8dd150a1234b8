"""What the networks of `cifar_lab.scratch` learn on MNIST, and what plain numpy costs beside Keras.

    python benchmarks/numpy_training.py --data-dir DIR [--seeds 3] [--only mlp]
    python benchmarks/numpy_training.py --choose --data-dir DIR [--seed 100] [--epochs 3]
    python benchmarks/numpy_training.py --convolution [--rounds 5]
    python benchmarks/numpy_training.py --table TABLE

The first trains the network of one hidden layer (784-100-10) and LeNet-5 (61,706 parameters, mean
pooling, tanh; LeCun et al. 1998, without its sparse links) in numpy alone, from seeds 0, 1, ... The
same network in Keras, with the same first weights, takes the same batches in the same order, the
two by turns, epoch by epoch. The last 5,000 train images validate; the test images are read once,
after the last epoch. --choose trains in numpy alone with each of a few settings, and reads no test
image: what SETTINGS holds was chosen by it. --convolution times one convolution, forward, and
forward and backward, by loops as it is defined, by im2col, and by Keras, by turns.

Each prints its lines and appends them to --rows (docs/numpy.jsonl); what is there already is not
done again, so that a stopped run goes on. --table prints "training", "choices" or "convolution" of
these lines, as docs/measurements/numpy.md has them.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, cli, provenance, scratch  # noqa: E402

BATCH = 100
VALIDATION = 5000
SETTINGS = {
    "mlp": ("Momentum", 0.1, 20),
    "lenet5": ("Momentum", 0.05, 5),
}  # optimizer, rate, epochs
CHOICES = {
    "mlp": [("Momentum", 0.05), ("Momentum", 0.1), ("Adam", 0.001), ("Adam", 0.002)],
    "lenet5": [("Momentum", 0.05), ("Momentum", 0.1), ("Adam", 0.002)],
}
AFTER = (1, 2, 3, 5, 10, 20)  # epochs that the table of choices shows
NAMES = {"mlp": "784-100-10", "lenet5": "LeNet-5"}
LOSS = scratch.SoftmaxCrossEntropy()

# --- the networks, twice --------------------------------------------------------------------------


def in_numpy(name, seed):
    """A scratch.Network of scores, with the first weights of a seed."""
    generator = np.random.default_rng(seed)

    def weights(*shape):
        kernel = scratch.xavier_uniform(shape, generator).astype(np.float32)
        return kernel, np.zeros(shape[-1], np.float32)

    if name == "mlp":
        return scratch.Network(
            scratch.Flatten(),
            scratch.Affine(*weights(784, 100)),
            scratch.Relu(),
            scratch.Affine(*weights(100, 10)),
        )
    return scratch.Network(
        scratch.Convolution(*weights(5, 5, 1, 6), padding="same"),
        scratch.Tanh(),
        scratch.AveragePooling(2),
        scratch.Convolution(*weights(5, 5, 6, 16)),
        scratch.Tanh(),
        scratch.AveragePooling(2),
        scratch.Flatten(),
        scratch.Affine(*weights(400, 120)),
        scratch.Tanh(),
        scratch.Affine(*weights(120, 84)),
        scratch.Tanh(),
        scratch.Affine(*weights(84, 10)),
    )


def in_keras(name, network, optimizer, rate):
    """The same network, compiled, with the weights of `network`."""
    import keras
    from keras import layers

    of_name = {
        "mlp": [layers.Flatten(), layers.Dense(100, "relu"), layers.Dense(10)],
        "lenet5": [
            layers.Conv2D(6, 5, padding="same", activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, "tanh"),
            layers.Dense(84, "tanh"),
            layers.Dense(10),
        ],
    }
    model = keras.Sequential([keras.Input((28, 28, 1)), *of_name[name]])
    model.set_weights(network.weights)
    how = {"Adam": keras.optimizers.Adam, "Momentum": keras.optimizers.SGD}[optimizer]
    more = {"momentum": 0.9} if optimizer == "Momentum" else {}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(how(rate, **more), loss)
    return model


# --- training -------------------------------------------------------------------------------------


def pixels(images):
    return images.astype(np.float32) / 255


def order_of(count, seed, epoch):
    """Which images an epoch takes, whole batches alone, in order."""
    return np.random.default_rng([seed, epoch]).permutation(count)[: count // BATCH * BATCH]


def accuracy(scores, labels):
    return float((scores.argmax(1) == labels).mean())


def timed(function):
    """(wall seconds, processor seconds) that a call takes, of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def epoch_in_numpy(network, optimizer, x, labels, order):
    for i in range(0, len(order), BATCH):
        batch = order[i : i + BATCH]
        t = scratch.one_hot(labels[batch], 10, np.float32)
        network.train_on(x[batch], t, LOSS, optimizer)


def train(dataset, name, seed):
    """The row of a network and a seed: trained in numpy and in Keras, by turns."""
    optimizer, rate, epochs = SETTINGS[name]
    x, labels = pixels(dataset.train_images), dataset.train_labels
    inside = len(x) - VALIDATION
    network = in_numpy(name, seed)
    ours = getattr(scratch, optimizer)(rate)
    model = in_keras(name, network, optimizer, rate)
    seconds, val = {"numpy": [], "keras": []}, []

    def epoch_in_keras(order):
        model.fit(
            **backend.batched(x[order], labels[order], BATCH), epochs=1, shuffle=False, verbose=0
        )

    for epoch in range(epochs):
        order = order_of(inside, seed, epoch)
        turns = {
            "numpy": lambda order=order: epoch_in_numpy(network, ours, x, labels, order),
            "keras": lambda order=order: epoch_in_keras(order),
        }
        for engine in sorted(turns, reverse=bool(epoch % 2)):
            seconds[engine].append([round(s, 2) for s in timed(turns[engine])])
        val.append(accuracy(network.predict(x[inside:], 100), labels[inside:]))
        print(f"{name}, seed {seed}: epoch {epoch + 1}, {val[-1]:.2%}", file=sys.stderr, flush=True)
    x, labels = pixels(dataset.test_images), dataset.test_labels
    theirs = model.predict(**backend.batched(x, None, 1000), verbose=0)
    return {
        "what": "training",
        "network": name,
        "seed": seed,
        "parameters": sum(w.size for w in network.weights),
        "optimizer": optimizer,
        "rate": rate,
        "epochs": epochs,
        "batch": BATCH,
        "val_accuracy": val,
        "test_accuracy": accuracy(network.predict(x, 100), labels),
        "keras_test_accuracy": accuracy(theirs, labels),
        "seconds": seconds,
    }


def choose(dataset, name, optimizer, rate, seed, epochs):
    """The row of one setting: validation accuracy after each epoch."""
    x, labels = pixels(dataset.train_images), dataset.train_labels
    inside = len(x) - VALIDATION
    network, ours, val = in_numpy(name, seed), getattr(scratch, optimizer)(rate), []
    for epoch in range(epochs):
        epoch_in_numpy(network, ours, x, labels, order_of(inside, seed, epoch))
        val.append(accuracy(network.predict(x[inside:], 100), labels[inside:]))
    return {
        "what": "choice",
        "network": name,
        "optimizer": optimizer,
        "rate": rate,
        "seed": seed,
        "epochs": epochs,
        "batch": BATCH,
        "val_accuracy": val,
    }


# --- one convolution ------------------------------------------------------------------------------

CASES = {  # pictures (N, height, width, C), window, filters
    "LeNet-5, second": ((100, 14, 14, 6), 5, 16),
    "a CIFAR network": ((10, 32, 32, 32), 3, 64),
}


def back_by_loops(x, kernel, gradient):
    """The gradients by x and by the kernel of `scratch.convolve_by_loops`, one output at a time."""
    by_x, by_kernel = np.zeros_like(x), np.zeros_like(kernel)
    rows, columns = kernel.shape[:2]
    for n, row, column, f in np.ndindex(*gradient.shape):
        g = gradient[n, row, column, f]
        by_x[n, row : row + rows, column : column + columns] += g * kernel[..., f]
        by_kernel[..., f] += g * x[n, row : row + rows, column : column + columns]
    return by_x, by_kernel


def convolution(case, rounds):
    """The row of a case: seconds of each way, by turns, and that they give the same."""
    import tensorflow as tf

    shape, window, filters = CASES[case]
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape).astype(np.float32)
    kernel = generator.normal(size=(window, window, shape[3], filters)).astype(np.float32)
    layer = scratch.Convolution(kernel)
    gradient = np.ones_like(layer.forward(x))
    tensor, weights = tf.constant(x), tf.Variable(kernel)

    @tf.function
    def keras_forward():
        import keras

        return keras.ops.conv(tensor, weights, padding="valid")

    @tf.function
    def keras_both():
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            y = keras_forward()
        return tape.gradient(y, (tensor, weights))

    def im2col_both():
        layer.forward(x)
        return layer.backward(gradient), layer.gradients[0]

    def loops_both():
        scratch.convolve_by_loops(x, kernel)
        return back_by_loops(x, kernel, gradient)

    ways = {
        "loops": (lambda: scratch.convolve_by_loops(x, kernel), loops_both),
        "im2col": (lambda: layer.forward(x), im2col_both),
        "keras": (lambda: keras_forward().numpy(), lambda: [g.numpy() for g in keras_both()]),
    }
    seconds = {way: {"forward": [], "both": []} for way in ways}
    found = {}
    for way in ("im2col", "keras"):  # Keras compiles at the first call
        for call in ways[way]:
            call()
    for _ in range(rounds):
        for way, (forward, both) in ways.items():
            for name, call in (("forward", forward), ("both", both)):
                count = 1 if way == "loops" else 20
                taken = [_seconds(call, found, (way, name)) for _ in range(count)]
                seconds[way][name].append(round(statistics.median(taken), 6))
    for name in ("forward", "both"):
        for way in ("loops", "keras"):
            for a, b in zip(found["im2col", name], found[way, name], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)
    return {
        "what": "convolution",
        "case": case,
        "pictures": shape,
        "window": window,
        "filters": filters,
        "rounds": rounds,
        "seconds": seconds,
    }


def _seconds(call, found, key):
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    found[key] = result if isinstance(result, (tuple, list)) else [result]
    return seconds


# --- rows and tables ------------------------------------------------------------------------------

KEYS = ("what", "network", "seed", "optimizer", "rate", "epochs", "case", "rounds")


def key_of(row):
    return tuple(row.get(key) for key in KEYS)


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_row(path, key, measure):
    """Measure and append what is not there yet."""
    wanted = tuple(key.get(name) for name in KEYS)
    if wanted in map(key_of, read_rows(path)):
        return
    loads = [os.getloadavg()[0]]
    row = measure()
    row |= {
        "load": [*loads, os.getloadavg()[0]],
        "device": backend.device()[1],
        "versions": backend.versions(),
        "commit": provenance.source()["commit"],
    }
    print(json.dumps(row), flush=True)
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def table_of_training(rows):
    lines = [
        "| network | parameters | settings | n | test accuracy in numpy | in Keras | numpy: s an "
        "epoch | processor s | times Keras' s | times its processor s |",
        "| --- " * 10 + "|",
    ]
    for name, label in NAMES.items():
        own = [row for row in rows if (row["what"], row.get("network")) == ("training", name)]
        own = [
            row for row in own if (row["optimizer"], row["rate"], row["epochs"]) == SETTINGS[name]
        ]
        if not own:
            continue
        # the first epoch is left out: Keras compiles in it
        numpy, keras = (
            [np.array(row["seconds"][engine][1:]) for row in own] for engine in ("numpy", "keras")
        )
        ratios = np.concatenate([a / b for a, b in zip(numpy, keras, strict=True)])
        taken = np.median(np.concatenate(numpy), 0)
        optimizer, rate, epochs = SETTINGS[name]
        cells = [
            label,
            f"{own[0]['parameters']:,}",
            f"{optimizer}, rate {rate:g}, {epochs} epochs, batches of {BATCH}",
            str(len(own)),
            _mean([row["test_accuracy"] for row in own]),
            _mean([row["keras_test_accuracy"] for row in own]),
            *(f"{value:.1f}" for value in taken),
            *(_spread(ratios[:, i], 1) for i in (0, 1)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_choices(rows):
    own = [row for row in rows if row["what"] == "choice"]
    heads = " | ".join(f"epoch {epoch}" for epoch in AFTER)
    lines = [f"| network | optimizer | rate | {heads} |", "| --- " * (3 + len(AFTER)) + "|"]
    for row in own:
        found = dict(enumerate(row["val_accuracy"], 1))
        cells = [NAMES[row["network"]], row["optimizer"], f"{row['rate']:g}"]
        cells += [f"{100 * found[epoch]:.2f} %" if epoch in found else "" for epoch in AFTER]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_convolutions(rows):
    lines = [
        "| convolution | what | n | loops, s | im2col, s | Keras, s | loops : im2col "
        "| im2col : Keras |",
        "| --- " * 8 + "|",
    ]
    for row in rows:
        if row["what"] != "convolution":
            continue
        size, window = row["pictures"], row["window"]
        label = (
            f"{row['case']}: {size[0]} pictures {size[1]} x {size[2]} x {size[3]}, "
            f"{window} x {window} x {row['filters']}"
        )
        for name, what in (("forward", "forward"), ("both", "forward and backward")):
            taken = {way: np.array(row["seconds"][way][name]) for way in row["seconds"]}
            cells = [label, what, str(row["rounds"])]
            cells += [f"{np.median(taken[way]):.3g}" for way in ("loops", "im2col", "keras")]
            cells.append(_spread(taken["loops"] / taken["im2col"], 0))
            cells.append(_spread(taken["im2col"] / taken["keras"], 1))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values):
    spread = f" +- {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread} %"


def _spread(values, digits):
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


TABLES = {
    "training": table_of_training,
    "choices": table_of_choices,
    "convolution": table_of_convolutions,
}


def main(argv):
    parser = cli.Parser(
        prog="numpy_training.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "numpy.jsonl", metavar="FILE")
    parser.add_argument("--only", choices=SETTINGS, help="one of the two networks")
    parser.add_argument("--seeds", type=cli.whole(1), default=3)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--seed", type=cli.whole(0), default=100, help="of --choose")
    parser.add_argument("--epochs", type=cli.whole(1), default=3, help="of --choose")
    parser.add_argument("--convolution", action="store_true")
    parser.add_argument("--rounds", type=cli.whole(1), default=5, help="of --convolution")
    parser.add_argument("--table", choices=TABLES)
    args = parser.parse_args(argv)
    if args.table:
        print(TABLES[args.table](read_rows(args.rows)))
        return cli.OK
    backend.start()
    if args.convolution:
        for case in CASES:
            key = {"what": "convolution", "case": case, "rounds": args.rounds}
            add_row(args.rows, key, lambda case=case: convolution(case, args.rounds))
        return cli.OK
    from cifar_lab import data

    dataset = data.load("mnist", args.data_dir)
    for name in [args.only] if args.only else SETTINGS:
        if args.choose:
            for optimizer, rate in CHOICES[name]:
                what = (name, optimizer, rate, args.seed, args.epochs)
                key = dict(
                    zip(("network", "optimizer", "rate", "seed", "epochs"), what, strict=True)
                )
                add_row(args.rows, {"what": "choice", **key}, lambda w=what: choose(dataset, *w))
            continue
        for seed in range(args.seeds):
            settings = dict(zip(("optimizer", "rate", "epochs"), SETTINGS[name], strict=True))
            key = {"what": "training", "network": name, "seed": seed, **settings}
            add_row(args.rows, key, lambda name=name, seed=seed: train(dataset, name, seed))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("numpy_training.py", main, sys.argv[1:]))
