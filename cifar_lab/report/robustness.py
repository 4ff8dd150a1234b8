"""What a network's accuracy is worth on worse pictures, as a float file and as an int8 file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, bundles, corruptions, cost, inference, robustness
from ..data import synthetic
from ..errors import InputError
from . import page as html
from . import thumbnails
from .page import COLOURS, Html
from .study import Study
from .words import counted, interval, percent

FEWEST, MOST = 100, 500  # images that are corrupted
WORK = 2e12  # multiply-adds that all corruptions together may cost
SHOWN_SEVERITY = 3
INT8 = "model.int8.tflite"
DIAL_PICTURES = 200


def blocks(study: Study, part: Callable[[str, Callable[[], Sequence[Any]]], Html]) -> list[Html]:
    """The section. Arguments as `mistakes.blocks`."""
    found = [part("Corrupted pictures", lambda: _corrupted(study))]
    if _is_embedded(study):
        found.append(part("The dials of the embedded set", lambda: _dials(study)))
    return found


def _limit(study: Study) -> int:
    """How many images a network's size allows."""
    model = study.subject.model
    if isinstance(model, inference.Classifier):
        each = study.subject.card.get("multiply_adds")
    else:
        each = sum(cost.multiply_adds(model).values())
    if not isinstance(each, int) or each < 1:
        return FEWEST
    settings = len(corruptions.NAMES) * len(corruptions.SEVERITIES)
    return int(min(max(WORK / (settings * each) // 50 * 50, FEWEST), MOST))


def _other(study: Study) -> tuple[str, Any, str]:
    """(name, network, why it is missing) of the same network's other file: of a bundle the int8
    file beside it, of an export the bundle's."""
    folder = study.folder
    if folder is None:
        return "", None, ""
    try:
        if study.is_export:
            backend.start()
            return "Keras, float", bundles.load(folder)[0], ""
        path = Path(folder) / INT8
        if not path.is_file():
            return "", None, "There is no int8 file beside it to compare with."
        classifier = inference.Classifier(path)
        if classifier.card.get("source_sha256") != study.card.get("model_sha256"):
            return "", None, f"{INT8} beside it was made from another network."
        return "int8", classifier, ""
    except InputError as error:
        return "", None, f"The other file cannot be tested: {error}."


def _corrupted(study: Study) -> list[Html]:
    limit = _limit(study)

    def table(model: Any) -> dict[str, Any]:
        return robustness.corruption_table(
            model, study.images, study.labels, limit, names=corruptions.NAMES
        )

    own = "the file" if study.is_export else "Keras, float"
    tables = {own: table(study.subject.model)}
    name, other, why = _other(study)
    if other is not None:
        tables[name] = table(other)
    first = next(iter(tables.values()))
    sums = [
        f"{name}: {percent(t['clean'])} as they are (95 % interval {interval(*t['clean_interval'])}"
        f"), {percent(t['mean'])} corrupted ({interval(*t['mean_interval'])})"
        for name, t in tables.items()
    ]
    blocks = [
        html.paragraph(
            f"{_drawn(first['images'], len(study.labels))}, under "
            f"{len(corruptions.NAMES)} corruptions at five severities, made on the fly. On average "
            "over all:"
        ),
        html.element("ul", *(html.element("li", line) for line in sums)),
        html.row(_bars(tables), *(_table(name, found) for name, found in tables.items())),
        *([html.note(why)] if why else []),
    ]
    if study.pictures:
        blocks.append(_examples(study))
    return blocks


def _drawn(count: int, whole: int) -> str:
    if count == whole:
        return f"All {counted(whole, 'test image')}"
    return f"{count:,} of the {whole:,} test images, drawn at random"


def _bars(tables: dict[str, dict[str, Any]]) -> Html:
    names = list(corruptions.NAMES)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        height = 0.8 / len(tables)
        places = np.arange(len(names))
        for i, (name, table) in enumerate(tables.items()):
            means = [100 * table["corruptions"][n]["mean"] for n in names]
            axes.barh(places + i * height, means, height, color=COLOURS[i], label=name, alpha=0.85)
            axes.axvline(100 * table["clean"], color=COLOURS[i], linestyle="--", linewidth=1)
        axes.set_yticks(places + height * (len(tables) - 1) / 2, names)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy, % (dashed: as they are)")
        axes.grid(False, axis="y")
        if len(tables) > 1:
            figure.legend(loc="outside upper center", ncols=2)

    first = next(iter(tables.values()))["corruptions"]
    alt = "accuracy under corruptions, %: " + ", ".join(
        f"{name} {100 * first[name]['mean']:.0f}" for name in names
    )
    return html.chart(draw, alt, width=5, height=4.6)


def _table(name: str, table: dict[str, Any]) -> Html:
    rows = [
        [row, *(f"{100 * share:.1f}" for share in cells["accuracy"]), f"{100 * cells['mean']:.1f}"]
        for row, cells in table["corruptions"].items()
    ]
    head = ["severity", *map(str, corruptions.SEVERITIES), "mean"]
    return html.table(head, rows, f"{name}: accuracy, %, n = {table['images']:,} each")


def _examples(study: Study) -> Html:
    """A test image that is classified correctly, under each corruption, and what is said of it."""
    right = np.flatnonzero(study.predicted == study.labels)
    i = int(right[0]) if len(right) else 0
    image = study.images[i : i + 1]
    made = [
        corruptions.corrupt(image, name, SHOWN_SEVERITY, indices=[i]) for name in corruptions.NAMES
    ]
    found = study.asked(np.concatenate(made))
    items = [(image[0], study.alt(i), study.answer(i))]
    for name, pixels, shares in zip(corruptions.NAMES, made, found, strict=True):
        said = int(shares.argmax())
        colour = "good" if said == study.labels[i] else "bad"
        words = f"{name}: {study.classes[said]} {percent(shares[said], 0)}"
        items.append(
            (pixels[0], f"the same under {name}", html.element("span", words, class_=colour))
        )
    title = html.paragraph(html.element("b", f"One picture at severity {SHOWN_SEVERITY}"))
    return html.join(title, thumbnails.gallery(study, items))


# --- the embedded set ---


def _is_embedded(study: Study) -> bool:
    return study.source.partition(":")[0] == "synthetic" and len(study.classes) == len(
        synthetic.CLASSES
    )


def _dials(study: Study) -> list[Html]:
    table = robustness.dial_table(study.subject.model, DIAL_PICTURES)
    values = [100 * v for v in table["values"]]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for i, (name, row) in enumerate(table["dials"].items()):
            shares = [100 * share for share in row["accuracy"]]
            axes.plot(values, shares, color=COLOURS[i % len(COLOURS)], marker="o", label=name)
        axes.set_xlabel("how far the dial is turned, %")
        axes.set_ylabel("accuracy, %")
        axes.legend(loc="best")

    ends = ", ".join(f"{n} {100 * r['accuracy'][-1]:.0f} %" for n, r in table["dials"].items())
    rows = [
        [name, *(f"{100 * share:.1f}" for share in row["accuracy"])]
        for name, row in table["dials"].items()
    ]
    return [
        html.paragraph(
            "The six obstacles of the lecture, each turned alone while the others are off, on "
            f"{table['images']:,} pictures drawn for each setting."
        ),
        html.row(
            html.chart(draw, f"accuracy with each dial at its end: {ends}", width=5.5, height=3.8),
            html.table(["dial", *(f"{v:.0f} %" for v in values)], rows, "Accuracy, %"),
        ),
    ]
