"""Where a network errs: which classes it confuses, its worst mistakes, and labels in doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import page as html
from . import thumbnails
from .duplicates import ALIKE, DETAIL, Pair, pairs
from .page import Html
from .study import Learnt, Sample, Study
from .words import counted, of, percent

TABLE_CLASSES = 20  # the largest confusion matrix that is a table
PAIRS = 20  # confusions that are named
SHOWN_PAIRS, EXAMPLES = 6, 5  # of which examples are shown, and how many
SHOWN = 18  # pictures of a gallery
PREDICTIONS = 60
MANY_ALIKE = 0.05  # of the test images: from there on likeness is the set's way, not copying


def blocks(study: Study, part: Callable[[str, Callable[[], Sequence[Any]]], Html]) -> list[Html]:
    """The section.

    Args:
        study: of the network.
        part: makes a part with a heading of a function's blocks, or a note where it fails.
    """
    wrong = int((study.predicted != study.labels).sum())
    return [
        html.paragraph(
            f"{of(wrong, len(study.labels))} test images are taken for another class. Below a "
            "picture stands what the network says and how sure it is, then the truth in brackets."
        ),
        part("Which class is taken for which", lambda: _confusion(study)),
        part("The most frequent confusions", lambda: _confusions(study)),
        part("The classes", lambda: _classes(study)),
        part("The worst mistakes", lambda: _worst(study)),
        part("The most doubtful", lambda: _doubtful(study)),
        part("Labels in doubt", lambda: _suspects(study)),
        part("Predictions", lambda: _predictions(study)),
        part("Test images among the train images", lambda: _duplicates(study)),
    ]


def _shown(study: Study, indices: Sequence[int] | np.ndarray) -> Html:
    return thumbnails.gallery(
        study, ((study.images[i], study.alt(i), study.answer(i)) for i in indices)
    )


# --- which for which ---


def _confusion(study: Study) -> list[Html]:
    matrix = np.array(study.result["confusion"])
    if len(matrix) > TABLE_CLASSES:
        return [_picture(study, matrix)]
    return [_matrix(study, matrix)]


def _matrix(study: Study, matrix: np.ndarray) -> Html:
    """A table whose cells are the darker the larger their share of the row is."""
    true = matrix.sum(1)
    head = [html.element("th", "truth")]
    head += [html.element("th", html.element("span", name), scope="col") for name in study.classes]
    lines = []
    for i, name in enumerate(study.classes):
        cells = [html.element("th", name, scope="row")]
        for j, n in enumerate(matrix[i]):
            share = n / true[i] if true[i] else 0.0
            colour = "var(--good)" if i == j else "var(--bad)"
            strength = round(100 * (0.5 * share if i == j else min(0.75, 3 * share)))
            style = f"background:color-mix(in srgb, {colour} {strength}%, transparent)"
            says = html.element("small", percent(share, 1) if n else "")
            cells.append(html.element("td", f"{n:,}", says, style=style))
        lines.append(html.element("tr", *cells))
    body = html.element(
        "table",
        html.element("thead", html.element("tr", *head)),
        html.element("tbody", *lines),
        class_="matrix",
    )
    legend = html.note(
        "Rows: the true class; columns: what the network says. Counts, and their share of the row; "
        f"n = {len(study.labels):,}. The diagonal is right."
    )
    return html.join(legend, html.element("div", body, class_="wide"))


def _picture(study: Study, matrix: np.ndarray) -> Html:
    true = np.maximum(matrix.sum(1, keepdims=True), 1)
    shares = 100 * matrix / true

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        drawn = axes.imshow(shares, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
        axes.set_xlabel("what the network says, number of the class")
        axes.set_ylabel("the true class")
        axes.grid(False)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label("share of the true class, %")

    right = np.diag(matrix).sum()
    alt = (
        f"confusion matrix of {len(matrix)} classes as a picture: {of(int(right), matrix.sum())} "
        "test images lie on the diagonal, which is right"
    )
    legend = html.table(
        ["number", "class", "right", "images"],
        [
            [i, name, percent(matrix[i, i] / n) if (n := int(matrix[i].sum())) else "-", n]
            for i, name in enumerate(study.classes)
        ],
    )
    return html.join(
        html.chart(draw, alt, f"n = {len(study.labels):,}", width=8.5, height=7.4),
        html.details("What the numbers stand for", legend),
    )


def _confusions(study: Study) -> list[Html]:
    matrix = np.array(study.result["confusion"])
    true = matrix.sum(1)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:PAIRS]
    found = [divmod(int(i), len(matrix)) for i in order if matrix.flat[i]]
    if not found:
        return [html.paragraph("No test image is taken for another class.")]
    named = found[: PAIRS if len(matrix) > TABLE_CLASSES else PAIRS // 2]
    rows = [
        [study.classes[i], study.classes[j], f"{matrix[i, j]:,}", percent(matrix[i, j] / true[i])]
        for i, j in named
    ]
    shown = []
    for i, j in found[:SHOWN_PAIRS]:
        members = np.flatnonzero((study.labels == i) & (study.predicted == j))
        surest = members[np.argsort(-study.probabilities[members, j], kind="stable")][:EXAMPLES]
        title = f"{study.classes[i]} taken for {study.classes[j]}: {matrix[i, j]} times"
        shown += [html.paragraph(html.element("b", title)), _shown(study, surest)]
    table = html.table(
        ["truth", "taken for", "images", "of the class"],
        rows,
        f"The {counted(len(rows), 'most frequent confusion')}, n = {len(study.labels):,}",
    )
    return [table, *shown]


def _classes(study: Study) -> list[Html]:
    rows = [
        [name, *(percent(row[key]) for key in ("precision", "recall", "f1")), f"{row['images']:,}"]
        for name, row in zip(study.classes, study.result["classes"].values(), strict=True)
    ]
    table = html.table(
        ["class", "precision", "recall", "F1", "test images"],
        rows,
        "Precision: how often an answer is right. Recall: how many of the class are found. F1: "
        "their harmonic mean",
    )
    return [table if len(rows) <= TABLE_CLASSES else html.details(f"{len(rows)} classes", table)]


# --- pictures ---


def _worst(study: Study) -> list[Html]:
    worst = study.worst[:SHOWN]
    if not len(worst):
        return [html.paragraph("There is none: every test image is classified correctly.")]
    return [
        html.paragraph(
            "Those with the highest loss: the network is sure, and gives the truth next to nothing."
        ),
        _shown(study, worst),
    ]


def _doubtful(study: Study) -> list[Html]:
    two = np.sort(study.probabilities, 1)[:, -2:]
    order = np.argsort(two[:, 1] - two[:, 0], kind="stable")[:SHOWN]

    def caption(i: int) -> Html:
        first, second = np.argsort(-study.probabilities[i], kind="stable")[:2]
        words = (
            f"{study.classes[first]} {percent(study.probabilities[i, first], 0)}, "
            f"{study.classes[second]} {percent(study.probabilities[i, second], 0)} "
            f"({study.classes[study.labels[i]]})"
        )
        right = study.predicted[i] == study.labels[i]
        return html.element("span", words, class_="good" if right else "bad")

    return [
        html.paragraph(
            "Those whose two likeliest classes are nearest to each other: the network cannot tell."
        ),
        thumbnails.gallery(study, ((study.images[i], study.alt(i), caption(i)) for i in order)),
    ]


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Indices of images whose label may be wrong, the likeliest first.

    As confident learning has it (Northcutt et al. 2021): the network is surer of another class than
    it is of that class' own images on average; in the order of how much surer it is of that class
    than of the label.

    Args:
        probabilities: float (N, classes).
        labels: int (N,).
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    members = np.bincount(labels, minlength=count)
    usual = np.bincount(labels, own, count) / np.maximum(members, 1)
    usual = np.where(members > 0, usual, np.inf)
    said = probabilities.argmax(1)
    sure = probabilities.max(1)
    found = np.flatnonzero((said != labels) & (sure >= usual[said]))
    return found[np.argsort(own[found] - sure[found], kind="stable")]


def _suspects(study: Study) -> list[Html]:
    found = suspects(study.probabilities, study.labels)
    shown = set(study.worst[:SHOWN])
    others = [i for i in found if i not in shown]
    blocks = [
        html.paragraph(
            "Here the network is surer of another class than it usually is of that class' own "
            "images. Either it errs, or the label does: look at them. They are suspects, no more."
        ),
        html.paragraph(
            f"Test images: {of(len(found), len(study.labels))}. Among the worst mistakes above: "
            f"{len(found) - len(others)}." + (" The likeliest of the others:" if others else "")
        ),
        _shown(study, others[:SHOWN]),
    ]
    if isinstance(study.train, Sample):
        train = study.train
        among = suspects(train.probabilities, train.labels)
        n = f"{of(len(among), len(train.labels))}"
        drawn = "" if train.whole == len(train.labels) else f", drawn from {train.whole:,}"
        blocks.append(
            html.paragraph(
                f"Train images: {n}{drawn}."
                + (
                    " The network has learnt these labels, and still disagrees."
                    if len(among)
                    else ""
                )
            )
        )

        def item(i: int) -> tuple[np.ndarray, str, Html]:
            said = int(train.probabilities[i].argmax())
            true = study.classes[train.labels[i]]
            share = percent(train.probabilities[i, said], 0)
            words = html.element("span", f"{study.classes[said]} {share} ({true})", class_="bad")
            alt = f"a train image labelled {true}, taken for {study.classes[said]}"
            return train.images[i], alt, words

        blocks.append(thumbnails.gallery(study, map(item, among[:SHOWN])))
    return blocks


def _predictions(study: Study) -> list[Html]:
    count = len(study.labels)
    taken = np.unique(np.linspace(0, count - 1, min(count, PREDICTIONS)).astype(int))
    right = int((study.predicted == study.labels)[taken].sum())
    return [
        html.paragraph(
            f"{counted(len(taken), 'test image')} at equal distances, chosen by nothing else: "
            f"{right} right."
        ),
        _shown(study, taken),
    ]


# --- near-duplicates ---


def _duplicates(study: Study) -> list[Html]:
    if isinstance(study.learnt, str):
        return [html.note(study.learnt)]
    learnt = study.learnt
    train, labels = learnt.dataset.train_images, learnt.dataset.train_labels
    found = pairs(study.images, train)
    total = len(study.labels)
    same = sum(pair.same for pair in found)
    other = [pair for pair in found if labels[pair.train] != study.labels[pair.test]]
    rule = html.note(
        f"Compared were {total:,} test images with {len(train):,} train images (validation images "
        f"among them). Nearly the same: the pictures in grey correlate by {ALIKE} or more, and by "
        f"{DETAIL} or more in what a thumbnail of 8 x 8 pixels leaves out. Shifted and mirrored "
        "copies are not found."
    )
    words = [
        f"{of(same, total)} test images are also train images, pixel for pixel; "
        f"{of(len(found) - same, total)} nearly are. "
    ]
    if found:
        right = int(sum(study.predicted[p.test] == study.labels[p.test] for p in found))
        words.append(
            f"Of these {len(found):,}, {of(right, len(found))} are classified correctly, and "
            f"{len(other):,} have another label than their train image. "
        )
    if len(found) - same > MANY_ALIKE * total:
        words.append(
            "So many say that pictures of this set are alike, not that they were copied: the first "
            "ones may be the same picture."
        )
    shown = [*found[:8], *[pair for pair in other if pair not in found[:8]][:4]]
    doubt = [html.note(learnt.doubt)] if learnt.doubt else []
    return [html.paragraph(*words), _pairs(study, learnt, shown), rule, *doubt]


def _pairs(study: Study, learnt: Learnt, shown: Sequence[Pair]) -> Html:
    def items() -> Any:
        for pair in shown:
            true = study.classes[study.labels[pair.test]]
            theirs = study.classes[learnt.dataset.train_labels[pair.train]]
            image = learnt.dataset.train_images[pair.train]
            how = "the same" if pair.same else f"likeness {pair.likeness:.2f}"
            kind = None if true == theirs else "bad"
            words = html.element("span", f"test: {true} | train: {theirs}, {how}", class_=kind)
            both = thumbnails.sheet([study.images[pair.test], image], 2)
            yield both, f"test image of {true} beside train image of {theirs}", words

    return thumbnails.gallery(study, items())
