"""Pictures of the data, the augmentation and the results.

A picture never takes a result down: draw it through `attempt`, when the result is on disk.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

from .. import paths, style
from ..errors import reason
from ..ladder import LADDER, famous, first_networks, get
from . import tables
from .results import groups, read_history, summary


def attempt(
    notice: Callable[[str], None], draw: Callable, path: str | os.PathLike, *args, **kwargs
) -> bool:
    """draw(path, ...) in the project's style, whose failure is one line. Returns whether the
    picture is there."""
    try:
        with style.style():
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

    from ..data import synthetic

    zero = dict.fromkeys(synthetic.DIAL_NAMES, 0)
    columns = {
        "all dials\nat 0": synthetic.Dials(**zero),
        **{f"{d}\nat 1": synthetic.Dials(**{**zero, d: 1}) for d in synthetic.DIAL_NAMES},
        **{f"default\n{i + 1} of 3": synthetic.Dials() for i in range(3)},
    }
    images = [
        [
            synthetic.draw(label, np.random.default_rng([label, i]), dials)
            for i, dials in enumerate(columns.values())
        ]
        for label in range(len(synthetic.CLASSES))
    ]
    style.sheet(path, images, list(columns), synthetic.CLASSES)


def draw_augmentations(path):
    """Images of the embedded set (a row a class) under each augmentation: PNG, twice the size.

    Columns: the image; rotation, shifts, shear, zoom, each at its end; mirrored; padded crop;
    cutout; and four draws of the recipe of cifar10-88.
    """
    import numpy as np
    from keras import ops

    from ..data import synthetic
    from ..training import augment

    zero = dict.fromkeys(synthetic.DIAL_NAMES, 0)
    dials = synthetic.Dials(**{**zero, "clutter": 0.4, "illumination": 0.3})
    labels = 4, 7, 9  # square, arrow, hourglass
    images = np.stack(
        [synthetic.draw(label, np.random.default_rng(label), dials) for label in labels]
    ).astype("float32")
    n = len(images)

    def affine(**geometry):
        return augment.transform(
            images,
            augment.affine_matrices(**geometry, height=32, width=32)
            + np.zeros((n, 1, 1), "float32"),
        )

    drawn = augment.Augment(get("cifar10-88").recipe.augmentation, n, seed=1)
    columns = {
        "the image": images,
        "rotated\n15 degrees": affine(theta=15.0),
        "shifted\n6 pixels": affine(tx=6.0, ty=6.0),
        "sheared\n20 degrees": affine(shear=20.0),
        "zoomed\n0.7": affine(zx=0.7, zy=0.7),
        "mirrored": augment.flip(images, np.ones(n, bool)),
        "padded,\ncropped": augment.shifted_crop(images, np.full(n, 4), np.full(n, -4)),
        "cutout\n12 pixels": augment.cutout(images, np.full(n, 12), np.full(n, 20), 12),
        **{
            f"cifar10-88\ndraw {i + 1}": drawn(images, np.arange(n), training=True)
            for i in range(4)
        },
    }
    pixels = [np.round(ops.convert_to_numpy(c)).clip(0, 255) for c in columns.values()]
    rows = [[c[i].astype(np.uint8) for c in pixels] for i in range(n)]
    style.sheet(path, rows, list(columns), [synthetic.CLASSES[label] for label in labels])


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


def draw_progression(path, models=None, results=None):
    """The lecture's rungs as one picture: validation accuracy by epoch of the committed runs, and
    test accuracy of every run on the same data with mean and standard deviation.

    models, results: folders, by default the checkout's. Returns the rungs drawn.
    """
    figure = style.figure(3.8)
    curves, bars = figure.subplots(1, 2, width_ratios=(2, 1))
    drawn = []
    for i, rung in enumerate(_lecture()):
        folder = (Path(models) if models else paths.home() / "saved_models") / rung
        runs = groups(rung, results)
        if not runs or not (folder / "history.csv").is_file():
            continue
        drawn.append(rung)
        history = read_history(folder)
        curves.plot(
            [r["epoch"] for r in history],
            [100 * r["val_accuracy"] for r in history],
            color=style.colour(rung),
            label=rung,
        )
        accuracies = [100 * r["test_accuracy"] for r in runs[0]]
        s = summary(rung, results)
        bars.errorbar(
            i,
            100 * s["mean"],
            yerr=100 * (s["sd"] or 0),
            fmt="s",
            color=style.colour(rung),
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
    curves.grid()
    bars.set(
        title="test accuracy, %", xlim=(-0.5, len(_lecture()) - 0.2), xticks=range(len(_lecture()))
    )
    bars.set_xticklabels([r.removeprefix("cifar10-") for r in _lecture()])
    bars.set_xlabel("rung (dotted: its promise)")
    bars.grid(axis="y")
    style.save(figure, path)
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
    figure = style.figure(1 + 0.3 * max(len(rows), 4))
    axes = figure.subplots()
    for place, (mean, sd, n, rung, idea) in enumerate(rows):
        axes.barh(place, mean, xerr=sd, height=0.7, color=style.NEUTRAL, ecolor="0.2")
        axes.barh(place, 1.2, left=mean - 1.2, height=0.7, color=style.colour(rung))
        short = textwrap.shorten(idea.partition(":")[0].partition(" (")[0], 60, placeholder=" ...")
        axes.text(1, place, f"{rung}: {short}", va="center", fontsize=8, color="white")
        axes.text(mean + 1, place, f"{mean:.1f} ({n})", va="center", fontsize=8)
    axes.set(
        xlim=(0, 106),
        yticks=[],
        xlabel="test accuracy on CIFAR-10, %: mean over seeds (n), with standard deviation",
    )
    axes.grid(axis="x")
    style.save(figure, path)
    return drawn


def draw_minutes(path, models=None, results=None):
    """The best validation accuracy so far against minutes of training, a curve a rung (the
    committed runs), CIFAR and Fashion-MNIST beside each other; each epoch's own as a faint line.
    The first networks and the famous ones are apart.

    models, results: as draw_progression. Returns the rungs drawn.
    """
    figure = style.figure(5.2)
    panels, drawn = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1)), []
    apart, ends = {**first_networks.RUNGS, **famous.RUNGS}, ([], [])
    for rung in [name for name in LADDER if name not in apart]:
        history = history_of(rung, models, results)
        if not history:
            continue
        drawn.append(rung)
        side, ink = int(rung.startswith("fashion")), style.colour(rung)
        minutes = [sum(r["seconds"] for r in history[: i + 1]) / 60 for i in range(len(history))]
        found = style.per_cent([r["val_accuracy"] for r in history])
        best = [max(found[: i + 1]) for i in range(len(found))]
        panels[side].plot(minutes, found, color=ink, alpha=0.25, lw=0.8)
        panels[side].plot(minutes, best, color=ink, lw=1.8)
        panels[side].plot(minutes[-1], best[-1], "o", color=ink, ms=5)
        ends[side].append((minutes[-1], best[-1], rung, ink))
    panels[0].set(ylabel="validation accuracy, % (bold: the best so far)", ylim=(60, 100))
    for axes, title, curves in zip(panels, ("CIFAR", "Fashion-MNIST"), ends, strict=True):
        axes.set(xscale="log", xlabel="minutes of training", title=title)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(which="major")
        style.label_ends(axes, curves)
    style.save(figure, path)
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
    figure = style.figure(3.8)
    both, drawn = figure.subplots(1, 2, sharey=True), []
    for rung in DEPTH:
        history = history_of(rung, models, results)
        if not history:
            continue
        drawn.append(rung)
        axes = both[0 if "plain" in rung else 1]
        epochs = [row["epoch"] for row in history]
        for name, line, part in (("accuracy", "--", "train"), ("val_accuracy", "-", "validation")):
            errors = [100 - 100 * row[name] for row in history]
            label = f"{rung[-2:]} layers, {part}"
            axes.plot(epochs, errors, line, color=style.colour(rung), label=label)
    for axes, title in zip(both, ("plain", "residual"), strict=True):
        axes.set(title=title, xlabel="epoch", ylim=(0, 60))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        if axes.lines:
            axes.legend()
    both[0].set(ylabel="error, %")
    style.save(figure, path)
    return drawn


def draw_learning_curve(path, history, title, chosen_epoch, phases=()):
    """Accuracy and loss by epoch as a PNG, phases marked and named. Raises ImportError where
    matplotlib is not installed.

    history: a dict an epoch, with epoch, accuracy, loss, val_accuracy and val_loss.
    phases: (first epoch, last epoch, name), see `cifar_lab.phases.phases`.
    """
    epochs = [row["epoch"] for row in history]
    shown = [phase for phase in phases if phase[0] <= epochs[-1]]
    figure = style.figure(3.6 + 0.18 * len(shown))
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for key, ink, told in (
            (name, style.TRAIN, "train, as trained"),
            (f"val_{name}", style.VALIDATION, "validation"),
        ):
            values = [row[key] for row in history]
            values = style.per_cent(values) if name == "accuracy" else values
            axes.plot(epochs, values, "o-", color=ink, markersize=3, label=told)
        axes.axvline(chosen_epoch, color="0.6", linestyle=":", label="weights kept")
        axes.set(xlabel="epoch", ylabel="accuracy, %" if name == "accuracy" else name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        marked = style.mark_phases(axes, shown, epochs[-1])
    axes.legend(handles=axes.get_lines())
    if marked:
        figure.legend(handles=marked, loc="outside lower center", fontsize=style.SMALL)
    figure.suptitle(title)
    style.save(figure, path, colours=64)
