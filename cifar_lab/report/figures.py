"""Pictures of the data, the augmentation and the results.

A picture never takes a result down: draw it through `attempt`, when the result is on disk.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

from .. import paths
from ..errors import reason
from ..ladder import LADDER, famous, first_networks, get
from . import tables
from .results import groups, read_history, summary


def attempt(
    notice: Callable[[str], None], draw: Callable, path: str | os.PathLike, *args, **kwargs
) -> bool:
    """draw(path, ...), whose failure is one line. Returns whether the picture is there."""
    try:
        draw(path, *args, **kwargs)
    except ImportError as error:
        notice(
            f"{(error.name or str(error)).partition('.')[0]} is not installed: no {Path(path).name}"
        )
        return False
    except Exception as error:  # whatever it is, it is only a picture
        notice(f"no {Path(path).name}: {reason(error)}")
        return False
    return True


def draw_all(folder: str | os.PathLike, notice: Callable[[str], None]) -> list[str]:
    """Renew the pictures of the documentation in a folder. Returns the names of those drawn.

    Needs Keras, for the augmentations: start the backend before.
    """
    pictures = {
        "synthetic.png": draw_dials,
        "augmentation.png": draw_augmentations,
        "corruptions.png": draw_corruptions,
        "ladder.png": draw_ladder,
        "progression.png": draw_progression,
        "minutes.png": draw_minutes,
        "depth.png": draw_depth,
    }
    return [n for n, draw in pictures.items() if attempt(notice, draw, Path(folder) / n)]


def _lecture() -> list[str]:
    return [rung for rung, entry in LADDER.items() if entry.lecture]


def draw_dials(path):
    """The embedded data set as a PNG, twice the size: a row a class; a column with all dials at 0,
    one a dial at 1, and three at the default setting."""
    import numpy as np
    from PIL import Image

    from ..data import synthetic

    zero = dict.fromkeys(synthetic.DIAL_NAMES, 0)
    columns = [
        synthetic.Dials(**zero),
        *(synthetic.Dials(**{**zero, d: 1}) for d in synthetic.DIAL_NAMES),
        *[synthetic.Dials()] * 3,
    ]
    rows = [
        np.concatenate(
            [
                np.pad(
                    synthetic.draw(label, np.random.default_rng([label, i]), dials),
                    ((1, 1), (1, 1), (0, 0)),
                    constant_values=255,
                )
                for i, dials in enumerate(columns)
            ],
            1,
        )
        for label in range(len(synthetic.CLASSES))
    ]
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(
        path, optimize=True
    )


def draw_augmentations(path):
    """Images of the embedded set (a row a class) under each augmentation: PNG, twice the size.

    Columns: the image; rotation, shifts, shear, zoom, each at its end; mirrored; padded crop;
    cutout; and four draws of the recipe of cifar10-88.
    """
    import numpy as np
    from keras import ops
    from PIL import Image

    from ..data import synthetic
    from ..training import augment

    zero = dict.fromkeys(synthetic.DIAL_NAMES, 0)
    dials = synthetic.Dials(**{**zero, "clutter": 0.4, "illumination": 0.3})
    images = np.stack(
        [synthetic.draw(label, np.random.default_rng(label), dials) for label in (4, 7, 9)]
    ).astype("float32")  # square, arrow, hourglass
    n = len(images)

    def affine(**geometry):
        return augment.transform(
            images,
            augment.affine_matrices(**geometry, height=32, width=32)
            + np.zeros((n, 1, 1), "float32"),
        )

    drawn = augment.Augment(get("cifar10-88").recipe.augmentation, n, seed=1)
    columns = [
        images,
        affine(theta=15.0),
        affine(tx=6.0, ty=6.0),
        affine(shear=20.0),
        affine(zx=0.7, zy=0.7),
        augment.flip(images, np.ones(n, bool)),
        augment.shifted_crop(images, np.full(n, 4), np.full(n, -4)),
        augment.cutout(images, np.full(n, 12), np.full(n, 20), 12),
        *[drawn(images, np.arange(n), training=True) for _ in range(4)],
    ]
    pixels = [
        np.pad(ops.convert_to_numpy(c), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
        for c in columns
    ]
    rows = np.concatenate([np.concatenate(list(c), 0) for c in pixels], 1)
    picture = Image.fromarray(np.round(rows).clip(0, 255).astype(np.uint8))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(
        path, optimize=True
    )


def draw_corruptions(path):
    """Drawings of the embedded set under each corruption: a row a corruption, named; a column the
    drawing as it is, and one a severity. PNG, twice the size."""
    import numpy as np
    from PIL import Image, ImageDraw

    from .. import corruptions
    from ..data import synthetic

    zero = dict.fromkeys(synthetic.DIAL_NAMES, 0)
    dials = synthetic.Dials(**{**zero, "clutter": 0.2, "illumination": 0.3, "variation": 0.5})
    labels = np.arange(len(corruptions.NAMES)) % len(synthetic.CLASSES)
    plain = np.stack(
        [synthetic.draw(int(k), np.random.default_rng(i), dials) for i, k in enumerate(labels)]
    )
    rows = []
    for i, name in enumerate(corruptions.NAMES):
        found = [plain[i : i + 1]]
        found += [corruptions.corrupt(plain[i : i + 1], name, s) for s in corruptions.SEVERITIES]
        rows.append(np.concatenate(found))
    zoom, gap, left, top = 2, 4, 72, 18
    step = zoom * synthetic.SIZE + gap
    size = left + step * len(rows[0]), top + step * len(rows)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for column, head in enumerate(("as it is", *corruptions.SEVERITIES)):
        pen.text((left + step * (column + 0.5), top / 2), str(head), "black", anchor="mm")
    for row, (name, found) in enumerate(zip(corruptions.NAMES, rows, strict=True)):
        pen.text((4, top + step * (row + 0.5)), name, "black", anchor="lm")
        for column, pixels in enumerate(found):
            large = Image.fromarray(pixels).resize((step - gap,) * 2, Image.Resampling.NEAREST)
            picture.paste(large, (left + step * column, top + step * row))
    picture.save(path, optimize=True)


def _figure(height):
    """A matplotlib figure, 9 x height inches. Raises ImportError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_progression(path, models=None, results=None):
    """The lecture's rungs as one picture: validation accuracy by epoch of the committed runs, and
    test accuracy of every run on the same data with mean and standard deviation.

    models, results: folders, by default the checkout's. Returns the rungs drawn.
    """
    figure = _figure(3.8)
    curves, bars = figure.subplots(1, 2, width_ratios=(2, 1))
    drawn = []
    for i, rung in enumerate(_lecture()):
        folder = (Path(models) if models else paths.home() / "saved_models") / rung
        runs = groups(rung, results)
        if not runs or not (folder / "history.csv").is_file():
            continue
        drawn.append(rung)
        history = read_history(folder)
        (line,) = curves.plot(
            [r["epoch"] for r in history], [100 * r["val_accuracy"] for r in history], label=rung
        )
        accuracies = [100 * r["test_accuracy"] for r in runs[0]]
        s = summary(rung, results)
        bars.errorbar(
            i,
            100 * s["mean"],
            yerr=100 * (s["sd"] or 0),
            fmt="s",
            color=line.get_color(),
            capsize=6,
        )
        bars.plot([i] * len(accuracies), accuracies, ".", color="0.3", zorder=3)
        bars.annotate(
            f"{100 * s['mean']:.1f}\nn = {s['n']}",
            (i, 100 * s["mean"]),
            textcoords="offset points",
            xytext=(9, -12),
            fontsize=8,
        )
        bars.hlines(100 * get(rung).promise, i - 0.3, i + 0.3, color="0.6", linestyle=":")
    curves.set(
        xlabel="epoch", ylabel="validation accuracy, %", ylim=(50, None), title="learning, seed 0"
    )
    if drawn:
        curves.legend(loc="lower right")
    curves.grid(alpha=0.3)
    bars.set(
        title="test accuracy, %", xlim=(-0.5, len(_lecture()) - 0.2), xticks=range(len(_lecture()))
    )
    bars.set_xticklabels([r.removeprefix("cifar10-") for r in _lecture()])
    bars.set_xlabel("rung (dotted: its promise)")
    bars.grid(alpha=0.3, axis="y")
    figure.savefig(path, metadata={"Software": None})
    return drawn


def draw_ladder(path, results=None):
    """The rungs of CIFAR-10 as one picture, the lowest first: mean test accuracy with standard
    deviation and n, and the idea; below them nearest neighbours.

    results: folder, by default the checkout's. Returns the rungs drawn.
    """
    rows = []
    for rung, entry in LADDER.items():
        s = summary(rung, results)
        if entry.recipe.data == "cifar10" and rung not in famous.RUNGS and s["n"]:
            rows.append((100 * s["mean"], 100 * (s["sd"] or 0), s["n"], rung, entry.idea))
    rows.sort()
    drawn = [row[3] for row in rows]
    found = tables.neighbours().get("cifar10")
    if found:
        idea = f"{found['k']} nearest neighbours, L{found['norm']} distance"
        rows.append((100 * found["test_accuracy"], 0, 1, "(no network)", idea))
        rows.sort()
    figure = _figure(1 + 0.3 * max(len(rows), 4))
    axes = figure.subplots()
    for place, (mean, sd, n, rung, idea) in enumerate(rows):
        axes.barh(place, mean, xerr=sd, height=0.7, color="tab:blue", alpha=0.75, ecolor="0.2")
        short = textwrap.shorten(idea.partition(":")[0].partition(" (")[0], 60, placeholder=" ...")
        axes.text(1, place, f"{rung}: {short}", va="center", fontsize=8, color="white")
        axes.text(mean + 1, place, f"{mean:.1f} ({n})", va="center", fontsize=8)
    axes.set(
        xlim=(0, 106),
        yticks=[],
        xlabel="test accuracy on CIFAR-10, %: mean over seeds (n), with standard deviation",
    )
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, metadata={"Software": None})
    return drawn


def draw_minutes(path, models=None, results=None):
    """Validation accuracy against minutes of training, a curve a rung (the committed runs), the
    first networks and the famous ones apart.

    models, results: as draw_progression. Returns the rungs drawn.
    """
    figure = _figure(4.2)
    axes, drawn = figure.subplots(), []
    apart = {**first_networks.RUNGS, **famous.RUNGS}
    for rung in [name for name in LADDER if name not in apart]:
        history = history_of(rung, models, results)
        if not history:
            continue
        drawn.append(rung)
        minutes = [sum(r["seconds"] for r in history[: i + 1]) / 60 for i in range(len(history))]
        (line,) = axes.plot(
            minutes,
            [100 * r["val_accuracy"] for r in history],
            label=rung,
            linestyle="--" if rung.startswith("fashion") else "-",
        )
        axes.plot(minutes[-1], 100 * history[-1]["val_accuracy"], "o", color=line.get_color())
    axes.set(
        xscale="log", xlabel="minutes of training", ylabel="validation accuracy, %", ylim=(60, 100)
    )
    axes.xaxis.set_major_formatter("{x:g}")
    if drawn:
        figure.legend(loc="outside right center", fontsize=8)  # no curve under it
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, metadata={"Software": None})
    return drawn


def history_of(rung, models=None, results=None):
    """Rows of the history of a rung's first run, [] where none is kept. models, results: as
    draw_progression."""
    places = (
        (Path(models) if models else paths.home() / "saved_models") / rung / "history.csv",
        Path(results or paths.results_folder()) / f"{rung}.history.csv",
    )
    return next((read_history(file) for file in places if file.is_file()), [])


#: Rungs of draw_depth: networks of 20 and 56 layers, without shortcuts and with them.
DEPTH = ("cifar10-plain20", "cifar10-plain56", "cifar10-resnet20", "cifar10-resnet56")


def draw_depth(path, models=None, results=None):
    """Errors by epoch on train (dashed) and validation images: plain networks of 20 and 56 layers
    beside residual ones, as in figure 6 of He et al. (2016).

    models, results: as draw_progression. Returns the rungs drawn.
    """
    figure = _figure(3.8)
    both, drawn = figure.subplots(1, 2, sharey=True), []
    for rung in DEPTH:
        history = history_of(rung, models, results)
        if not history:
            continue
        drawn.append(rung)
        axes = both[0 if "plain" in rung else 1]
        epochs = [row["epoch"] for row in history]
        color = "tab:orange" if rung.endswith("56") else "tab:blue"
        for name, style, part in (("accuracy", "--", "train"), ("val_accuracy", "-", "validation")):
            errors = [100 - 100 * row[name] for row in history]
            label = f"{rung[-2:]} layers, {part}"
            axes.plot(epochs, errors, style, color=color, label=label)
    for axes, title in zip(both, ("plain", "residual"), strict=True):
        axes.set(title=title, xlabel="epoch", ylim=(0, 60))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    both[0].set(ylabel="error, %")
    figure.savefig(path, metadata={"Software": None})
    return drawn


def draw_learning_curve(path, history, title, chosen_epoch):
    """Accuracy and loss by epoch as a PNG. Raises ImportError where matplotlib is not installed.

    history: a dict an epoch, with epoch, accuracy, loss, val_accuracy and val_loss.
    """
    figure = _figure(3.6)
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axes.plot(
            epochs, [row[name] for row in history], "o-", markersize=3, label="train, as trained"
        )
        axes.plot(
            epochs, [row[f"val_{name}"] for row in history], "o-", markersize=3, label="validation"
        )
        axes.axvline(chosen_epoch, color="0.6", linestyle=":", label="weights kept")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(title)
    figure.savefig(path)
    from PIL import Image

    with Image.open(
        path
    ) as image:  # lines and letters need no more colours: a quarter of the bytes
        image.convert("RGB").quantize(64).save(path, optimize=True)
