"""Images per second of training: the lecture's script, ported line by line, against this package.

    python benchmarks/lecture_74.py --data-dir DIR [--pairs 40] [--images 1600]

The same network, batch size (32), precision (float32), optimizer and backend in one process, in turns:
each pair is one `fit` of either over the same number of images, after both are compiled; which goes
first alternates. Prints each pair and the median of the ratio ours / lecture with its 95 % interval, from order
statistics (exact for any distribution: a shared machine that halves its rate for a second spoils a mean).
"""
import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

from cifar_lab import backend, data, recipes, training  # noqa: E402


def median_with_interval(values, confidence=0.95):
    """(median, low, high): the k-th smallest and k-th largest value bound the median with at least `confidence`."""
    values, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while tail + math.comb(n, k) / 2**n <= (1 - confidence) / 2:
        tail += math.comb(n, k) / 2**n
        k += 1
    if k == 0:
        raise ValueError(f"values: at least 6 are needed for an interval, received {n}")
    return statistics.median(values), values[k - 1], values[n - k]


def lecture(x_train, y_train):
    """The lecture's script: float images, one-hot labels, a Sequential-like stack, compile. -> fit(n images)."""
    x_train = x_train.astype("float32") / 255.0
    y_train = keras.utils.to_categorical(y_train, 10)
    inputs = keras.Input(shape=(32, 32, 3))
    x = layers.Conv2D(32, (3, 3), activation="relu")(inputs)
    x = layers.Dropout(0.2)(x)
    x = layers.Conv2D(32, (3, 3), activation="relu", padding="same")(x)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Conv2D(64, (3, 3), activation="relu", padding="same")(x)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    assert model.count_params() == 1_639_914
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return lambda n: model.fit(x_train[:n], y_train[:n], batch_size=32, epochs=1, verbose=0)


def ours(dataset):
    """The package's own trainer on the same network, with the callbacks of train.py. -> fit(n images)."""
    trainer = training.Trainer(recipes.get("cifar10-74"), dataset, seed=0)
    interrupt = training._Interrupt()
    watchers = trainer.watchers(lambda line: None, interrupt)
    # train.py's fit but for validation, which the lecture's fit above leaves out too, and the line that tells of it
    watchers.callbacks = [c for c in watchers.callbacks if not isinstance(c, training.Progress)]
    watchers.begin()

    def fit(n):
        order = trainer.order(0)[:n]
        trainer.model.fit(order, trainer.one_hot[order], batch_size=32, shuffle=False, verbose=0, callbacks=watchers)
    return fit


def seconds(fit, images):
    start = time.perf_counter()
    fit(images)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--pairs", type=int, default=40, help="at least 6")
    parser.add_argument("--images", type=int, default=1600, help="images a fit, a multiple of 32")
    args = parser.parse_args()
    if args.pairs < 6:
        parser.error(f"--pairs: must be at least 6, received {args.pairs}")
    dataset = data.load("cifar10", args.data_dir)
    runs = {"lecture": lecture(dataset.train_images, dataset.train_labels), "ours": ours(dataset)}
    for fit in runs.values():
        fit(320)
    ratios, speeds = [], {name: [] for name in runs}
    for pair in range(args.pairs):
        order = list(runs) if pair % 2 == 0 else list(runs)[::-1]
        took = {name: seconds(runs[name], args.images) for name in order}
        for name in runs:
            speeds[name].append(args.images / took[name])
        ratios.append(took["lecture"] / took["ours"])
        print(f"pair {pair + 1:>2}: lecture {speeds['lecture'][-1]:7.1f} images/s, ours {speeds['ours'][-1]:7.1f}, "
              f"ratio {ratios[-1]:.3f}", flush=True)
    ratio, low, high = median_with_interval(ratios)
    print(json.dumps({
        "ratio": round(ratio, 4), "low": round(low, 4), "high": round(high, 4),
        "pairs": len(ratios), "images_per_fit": args.images,
        "median_images_per_second": {k: round(float(np.median(v)), 1) for k, v in speeds.items()},
        "backend": keras.backend.backend(), "device": backend.device()[1], "versions": backend.versions()}))


if __name__ == "__main__":
    main()
