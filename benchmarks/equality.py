"""How equal the networks in plain numpy are to Keras', in figures: every committed rung.

    python benchmarks/equality.py --data-dir DIR [--rungs cifar10-90 ...] [--images 1000]
    python benchmarks/equality.py --table

For each rung: the largest difference of a probability on the first test images, in float32, and on
how many both say the same class; and in float64 the largest difference of a gradient of the loss by
a weight, relative to the largest gradient by that weight, on four images in training mode (dropout
off). Appends a JSON line a rung to docs/equality.jsonl (or --results); what is there is not run
again. --table prints the table of docs/measurements/numpy.md and runs nothing. TensorFlow only.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, bundles, cli, data, ladder, scratch  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

COMMITTED = [name for name, rung in ladder.LADDER.items() if rung.committed]
GRADIENT_IMAGES = 4


def read(path):
    """The rows of a results file, [] where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
        return [{**row, "model_sha256": row["model_sha256"]} for row in map(json.loads, lines)]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is not a file of this benchmark's rows") from None


def probabilities(model, images):
    """(largest difference, images of the same class)."""
    expected = model.predict(images.astype("float32"), batch_size=100, verbose=0)
    found = scratch.load(model).predict(images, 25)
    same = int((found.argmax(1) == expected.argmax(1)).sum())
    return float(abs(found - expected).max()), same


def gradients(model, images):
    """Largest difference of a gradient by a weight, relative to the largest by that weight.

    Of the mean squared error of the probabilities, which no clipping makes zero; the target is the
    second likeliest class, so that there is something to learn. Gradients that are zero but for
    rounding (a shift between two normalisations) do not count.
    """
    import tensorflow as tf

    double, x = in_float64(model), images.astype(float)
    network = scratch.load(double)
    y = network.forward(x, training=True)
    t = scratch.one_hot(np.argsort(y)[:, -2], y.shape[1])
    network.backward(2 * (y - t) / y.size)
    with tf.GradientTape() as tape:
        outputs = double(tf.constant(x), training=True)
        loss = tf.reduce_mean((outputs - t) ** 2)
    expected = [np.asarray(g) for g in tape.gradient(loss, double.trainable_weights)]
    sizes = [abs(g).max() for g in expected]
    return max(
        float(abs(ours - theirs).max() / size)
        for ours, theirs, size in zip(network.gradients, expected, sizes, strict=True)
        if size > 1e-9 * max(sizes)
    )


def in_float64(model):
    """The same network in float64 with the same weights, without dropout; frozen layers stay so."""
    config = json.loads(json.dumps(model.get_config()).replace('"float32"', '"float64"'))
    for layer in config["layers"]:
        if layer["class_name"] in ("Dropout", "GaussianNoise"):
            layer["config"].update({"rate": 0.0, "stddev": 0.0})
            layer["config"].pop("stddev" if layer["class_name"] == "Dropout" else "rate")
    double = type(model).from_config(config)
    double.set_weights(model.get_weights())
    return double


def run(args):
    done = {row["model_sha256"] for row in read(args.results)}
    backend.start()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError("KERAS_BACKEND: the gradients are taken with TensorFlow")
    for rung in args.rungs:
        model, card = bundles.load(bundles.find(rung))
        if card["model_sha256"] in done:
            continue
        shape = tuple(model.input_shape[1:])
        dataset = data.load(card["data"]["name"], args.data_dir, shape, test_only=True)
        images = dataset.test_images[: args.images]
        difference, same = probabilities(model, images)
        row = {
            "rung": rung,
            "images": len(images),
            "largest_difference": difference,
            "same_class": same,
            "gradient_difference": gradients(model, images[:GRADIENT_IMAGES]),
            "parameters": model.count_params(),
            "model_sha256": card["model_sha256"],
            "versions": backend.versions(),
        }
        with open(args.results, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def table(rows):
    """Markdown: a line a rung, of the models that are committed now."""
    found = {row["rung"]: row for row in rows}
    if not found:
        raise InputError("no rows yet")
    lines = [
        "| rung | parameters | same class | largest difference of a probability | of a gradient, "
        "relative |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rung in ladder.LADDER:
        if rung in found:
            row = found[rung]
            lines.append(
                f"| `{rung}` | {row['parameters']:,} | {row['same_class']:,} of {row['images']:,} "
                f"| {row['largest_difference']:.1e} | {row['gradient_difference']:.1e} |"
            )
    return "\n".join(lines)


def main(argv):
    parser = cli.Parser(
        prog="equality.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--rungs", nargs="+", choices=COMMITTED, default=COMMITTED, metavar="RUNG")
    parser.add_argument("--images", type=cli.whole(GRADIENT_IMAGES), default=1000)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "equality.jsonl")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        run(args)
    print(table(read(args.results)))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.guarded("equality.py", main, sys.argv[1:]))
