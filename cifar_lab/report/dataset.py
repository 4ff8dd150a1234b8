"""What a network learnt from and was tested on, and what augmentation made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data import only
from . import page as html
from . import thumbnails, verdict
from .page import COLOURS, Html
from .study import Learnt, Study
from .words import label

TABLE_CLASSES = 20  # with more, the counts are a picture
SHEET = 200  # pictures of all sheets together, at most
OF_A_CLASS = 10
ORIGINALS, DRAWS = 4, 8


def blocks(study: Study, part: Callable[[str, Callable[[], Sequence[Any]]], Html]) -> list[Html]:
    """The section. Arguments as `mistakes.blocks`."""
    return [
        part("Images a class", lambda: _counts(study)),
        part("A look at each class", lambda: _sheets(study)),
        part("Augmentation", lambda: _augmentation(study)),
    ]


# --- images a class ---


def _counts(study: Study) -> list[Html]:
    count = len(study.classes)
    columns = {"test": np.bincount(study.labels, minlength=count)}
    found = []
    if isinstance(study.learnt, Learnt):
        labels, learnt = study.learnt.dataset.train_labels, study.learnt
        parts = {"train": learnt.train, "validation": learnt.val}
        counts = {k: np.bincount(labels[i], minlength=count) for k, i in parts.items() if len(i)}
        columns = {**counts, **columns}
        if learnt.doubt:
            found.append(html.note(learnt.doubt))
    else:
        found.append(html.note(study.learnt))
    sizes = ", ".join(f"{name} {int(n.sum()):,}" for name, n in columns.items())
    shape = " x ".join(map(str, study.images.shape[1:3]))
    colours = "grey" if study.images.shape[3] == 1 else "in colour"
    found.insert(
        0, html.paragraph(f"{count} classes: {sizes} images of {shape} pixels, {colours}.")
    )
    rows = [
        [name, *(f"{int(n[i]):,}" for n in columns.values())]
        for i, name in enumerate(study.classes)
    ]
    table = html.table(["class", *columns], rows)
    if count <= TABLE_CLASSES:
        return [*found, table]
    return [*found, _bars(columns), html.details(f"{count} classes", table)]


def _bars(columns: dict[str, np.ndarray]) -> Html:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        below = np.zeros(len(next(iter(columns.values()))))
        for colour, (name, n) in zip(COLOURS, columns.items(), strict=False):
            axes.bar(range(len(n)), n, 1.0, bottom=below, color=colour, label=name, alpha=0.8)
            below = below + n
        axes.set_xlabel("number of the class")
        axes.set_ylabel("images")
        axes.legend(ncols=3, loc="lower right")

    ends = "; ".join(f"{name} {n.min():,} to {n.max():,}" for name, n in columns.items())
    return html.chart(draw, f"images a class: {ends}", width=8, height=2.8)


# --- a sheet of each class ---


def _sheets(study: Study) -> list[Html]:
    if not study.pictures:
        return [html.note(thumbnails.LEFT_OUT)]
    if isinstance(study.learnt, Learnt):
        kind, dataset, train = "train", study.learnt.dataset, study.learnt.train
        images = only(dataset.train_images, train)
        labels = dataset.train_labels[train]
    else:
        kind, images, labels = "test", study.images, study.labels
    each = max(2, min(OF_A_CLASS, SHEET // len(study.classes)))
    figures = []
    for i, name in enumerate(study.classes):
        members = np.flatnonzero(labels == i)
        if not len(members):
            continue
        taken = members[np.linspace(0, len(members) - 1, min(each, len(members))).astype(int)]
        pixels = thumbnails.sheet(images[np.unique(taken)], columns=5)
        alt = f"{len(np.unique(taken))} {kind} images of class {name}"
        figures.append(html.picture(pixels, alt, name, width=2 * pixels.shape[1]))
    row = html.row(*figures)
    return [row if len(figures) <= TABLE_CLASSES else html.details(f"{len(figures)} classes", row)]


# --- augmentation ---


def _augmentation(study: Study) -> list[Html]:
    if isinstance(study.recipe, str):
        return [html.note(study.recipe)]
    stored = study.recipe.as_dict()
    settings = verdict.augmentation(stored)
    if not settings:
        return [html.paragraph("It was trained on the pictures as they are, without augmentation.")]
    rows = [[name, label(json.dumps(value), 80)] for name, value in settings]
    engine = study.recipe.augmentation_engine
    how = "the compiled step" if engine == "compiled" else f"Keras' {engine}"
    found = [
        html.paragraph(
            "The network never saw a picture twice alike: each time one was drawn anew, by "
            f"{how}, with these settings."
        ),
        html.table(["setting", "value"], rows),
    ]
    if not isinstance(study.learnt, Learnt):
        return [*found, html.note(study.learnt)]
    if not study.pictures:
        return [*found, html.note(thumbnails.LEFT_OUT)]
    return [*found, *_draws(study, study.learnt)]


def _draws(study: Study, learnt: Learnt) -> list[Html]:
    """Pictures of several classes, each beside what augmentation made of it."""
    labels = learnt.dataset.train_labels[learnt.train]
    present = np.unique(labels)
    classes = present[np.linspace(0, len(present) - 1, min(ORIGINALS, len(present))).astype(int)]
    indices = [learnt.train[np.flatnonzero(labels == c)[0]] for c in np.unique(classes)]
    originals = learnt.dataset.train_images[indices]
    drawn = _drawn(study.recipe, originals, only(learnt.dataset.train_images, learnt.train))
    found = []
    for i, c in enumerate(np.unique(classes)):
        name = study.classes[c]
        items = [(originals[i], f"a train image of {name}", f"{name}: original")]
        items += [
            (image, f"the same, augmented, draw {k}", f"draw {k}")
            for k, image in enumerate(drawn[i], 1)
        ]
        found.append(thumbnails.gallery(study, items))
    if study.recipe.augmentation.mixes:  # type: ignore[union-attr]
        found.append(html.note("Images are mixed with one another, and so are their labels."))
    return found


def _drawn(recipe: Any, originals: np.ndarray, train: np.ndarray) -> np.ndarray:
    """uint8 (images, draws, height, width, channels): each image as training might see it."""
    batch = np.repeat(originals, DRAWS, 0)
    if recipe.augmentation_engine != "compiled":
        found = _generated(recipe, batch, train)
    else:
        found = _compiled(recipe, batch, len(originals))
    low, high = float(found.min()), float(found.max())
    if low < -1 or high > 256 or high <= 1:  # standardised: brought back to where it can be seen
        found = 255 * (found - low) / max(high - low, 1e-9)
    pixels = np.round(found).clip(0, 255).astype(np.uint8)
    return pixels.reshape(len(originals), DRAWS, *pixels.shape[1:])


def _compiled(recipe: Any, batch: np.ndarray, images: int) -> np.ndarray:
    from keras import ops

    from .. import backend

    backend.start()
    from ..training import augment, mixing

    layer = augment.Augment(recipe.augmentation, len(batch), seed=0)
    found = []
    for k in range(DRAWS):  # in an epoch an image is seen once, and flips take turns
        layer.epoch.assign(float(k))
        part = batch[k::DRAWS].astype("float32")
        indices = np.arange(images, dtype="int32")
        found.append(ops.convert_to_numpy(layer(part, indices, training=True)))
    pixels = np.stack(found, 1).reshape(batch.shape)
    if recipe.augmentation.mixes:
        order = np.random.default_rng(0).permutation(len(batch)).astype("int32")
        targets = np.eye(len(batch), dtype="float32")
        size = batch.shape[1:3]
        table, _ = mixing.drawn(recipe.augmentation, order, len(batch), targets, size, [0])
        mixed = ops.convert_to_numpy(mixing.mixed(pixels[order], table[order]))
        pixels[order] = mixed
    return pixels


def _generated(recipe: Any, batch: np.ndarray, train: np.ndarray) -> np.ndarray:
    from .. import backend, image_data_generator
    from ..training import generated

    image_data_generator.refuse_missing(recipe)
    backend.start()
    with backend.quiet_stderr():
        from tensorflow.keras.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        **recipe.augmentation.arguments(), data_format="channels_last", dtype="float32"
    )
    with generated.numpys_state():
        if recipe.augmentation.featurewise_center:
            generator.fit(train)
        return generator.flow(batch, batch_size=len(batch), shuffle=False, seed=0)[0]
