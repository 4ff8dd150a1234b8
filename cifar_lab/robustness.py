"""How much of its accuracy a network keeps on corrupted pictures, and as the dials of the embedded
set are turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import calibration, corruptions, evaluation, inference
from .data import fit_images, same_classes, synthetic
from .errors import InputError

LIMIT = 1_000  # images that are tested, of more
DIAL_VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
_Z = 1.96  # standard errors of a 95 % interval


def corruption_table(
    model: Any,
    images: np.ndarray,
    labels: np.ndarray,
    limit: int | None = LIMIT,
    seed: int = 0,
    names: Sequence[str] = corruptions.NAMES,
    notice: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Test a network on images under each corruption at each severity.

    Args:
        model: keras.Model, pixels 0-255 -> probabilities, or inference.Classifier.
        images: uint8 (N, height, width, channels), in the network's shape.
        labels: int (N,), indices into its classes.
        limit: how many images are tested, drawn by the seed: those of a smaller limit are among
            them. None for all.
        seed: of the choice of images, and of the corruptions; whole number from 0.
        names: of the corruptions.
        notice: called with a line before the work begins.

    Returns:
        {"images": how many, "seed", "clean": accuracy (0 to 1) on the images as they are,
        "clean_interval": [low, high], Wilson's, 95 %, "mean": of the accuracies of all corruptions
        and severities, "mean_interval": likewise, by the spread over images,
        "corruptions": {name: {"accuracy": [of severity 1, ... 5], "mean": theirs}}}.

    Raises:
        InputError: no images, as many labels as images are not there, no such corruption, another
            limit or seed, or what comes out are not probabilities.
    """
    if not len(images) or len(labels) != len(images):
        raise InputError(
            "images, labels: must be as many, at least one, "
            f"received {len(images)} and {len(labels)}"
        )
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit: must be a whole number of at least 1, received {limit!r}")
    corruptions.check_seed(seed)
    for name in names:
        corruptions.check_name(name)
    places = np.random.default_rng(seed).permutation(len(images))[:limit]
    tested, true = images[places], np.asarray(labels)[places]
    count = len(corruptions.SEVERITIES)
    notice(
        f"testing {len(places):,} of {len(images):,} images under {len(names)} corruptions at "
        f"{count} severities each"
    )

    def right(pictures):
        return evaluation.probabilities(model, pictures).argmax(1) == true

    clean = right(tested)
    found = np.array(
        [
            [
                right(corruptions.corrupt(tested, name, s, seed, places))
                for s in corruptions.SEVERITIES
            ]
            for name in names
        ],
        bool,
    ).reshape(len(names), count, len(places))
    by_cell = found.mean(axis=2)
    result = {
        "images": len(places),
        "seed": seed,
        "clean": float(clean.mean()),
        "clean_interval": [float(x) for x in calibration.wilson(int(clean.sum()), len(clean))],
    }
    if names:
        mean, half = float(by_cell.mean()), _half_width(found.mean(axis=(0, 1)))
        result["mean"], result["mean_interval"] = mean, [max(mean - half, 0), min(mean + half, 1)]
    result["corruptions"] = {
        name: {"accuracy": row.tolist(), "mean": float(row.mean())}
        for name, row in zip(names, by_cell, strict=True)
    }
    return result


def _half_width(shares: np.ndarray) -> float:
    """Of a 95 % interval of the mean of each image's share of right answers: float (N,)."""
    return float(_Z * shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else 1.0


def dial_table(
    model: Any,
    count: int = 500,
    others: float = 0.0,
    values: Sequence[float] = DIAL_VALUES,
    seed: int = 0,
) -> dict[str, Any]:
    """Test a network of the embedded set on pictures drawn anew, as each dial is turned alone.

    Args:
        model: as for `corruption_table`, trained on all ten classes of the set.
        count: pictures drawn a setting, at least 1; none that `synthetic.load` draws.
        others: where the other dials stand, 0 to 1.
        values: of a dial, 0 to 1 each.
        seed: of the pictures, whole number from 0.

    Returns:
        {"images": a setting, "seed", "others", "values", "dials": {dial: {"accuracy": [of each
        value], "mean": theirs}}}, accuracies 0 to 1. With the others at 0 and a dial at 0 there is
        one picture a class.

    Raises:
        InputError: another network, or a number that is not allowed.
    """
    is_file = isinstance(model, inference.Classifier)
    outputs = len(model.classes) if is_file else model.output_shape[-1]
    known = model.classes if is_file and model.card.get("classes") else synthetic.CLASSES
    if outputs != len(synthetic.CLASSES) or not same_classes(known, synthetic.CLASSES):
        raise InputError(
            "dials: are of the embedded set, whose classes "
            f"({', '.join(synthetic.CLASSES[:3])}, ...) this network does not have"
        )
    if not isinstance(count, int) or count < 1:
        raise InputError(f"count: must be a whole number of at least 1, received {count!r}")
    corruptions.check_seed(seed)
    shape = model.input_shape if is_file else model.input_shape[1:]
    done: dict[synthetic.Dials, float] = {}

    def accuracy(dial, value):
        dials = synthetic.Dials(**{**dict.fromkeys(synthetic.DIAL_NAMES, others), dial: value})
        if dials not in done:
            images, labels = synthetic.generate(count, [seed, 2], dials)  # 0 and 1 are load's
            answers = evaluation.probabilities(model, fit_images(images, shape)).argmax(1)
            done[dials] = float((answers == labels).mean())
        return done[dials]

    rows = {dial: [accuracy(dial, value) for value in values] for dial in synthetic.DIAL_NAMES}
    return {
        "images": count,
        "seed": seed,
        "others": others,
        "values": list(values),
        "dials": {
            dial: {"accuracy": row, "mean": float(np.mean(row))} for dial, row in rows.items()
        },
    }


# --- as text ---


def as_text(table: Mapping[str, Any]) -> str:
    """A table of `corruption_table` or `dial_table` as aligned lines: a row a corruption or dial, a
    column a severity or value, and their mean; accuracies in %."""
    if "dials" in table:
        title = f"accuracy in % on {table['images']:,} pictures drawn for each setting, the other "
        title += f"dials at {table['others']:g}"
        return _aligned(title, "dial", table["values"], table["dials"])
    title = f"accuracy in % on {table['images']:,} of the images (seed {table['seed']}), corrupted"
    lines = _aligned(title, "severity", corruptions.SEVERITIES, table["corruptions"])
    low, high = table["clean_interval"]
    ends = [f"as they are {table['clean']:.2%} (95% interval {low:.2%} to {high:.2%})"]
    if "mean" in table:
        low, high = table["mean_interval"]
        ends.append(f"mean corrupted {table['mean']:.2%} (95% interval {low:.2%} to {high:.2%})")
    return "\n".join([lines, *ends])


def _aligned(title, head, columns, rows):
    width = max(map(len, [head, *rows]))
    lines = [title, head.ljust(width) + "".join(f"{c:>8g}" for c in columns) + "    mean"]
    for name, row in rows.items():
        shares = [*row["accuracy"], row["mean"]]
        lines.append(name.ljust(width) + "".join(f"{100 * share:>8.2f}" for share in shares))
    return "\n".join(lines)
