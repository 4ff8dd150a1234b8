"""How well a network does: its accuracy, its promise, its neighbours, and whether it overfits."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from .. import bundle_data, ladder, recipe
from ..calibration import wilson
from ..ladder import LADDER
from . import page as html
from . import results
from .page import Html
from .study import Sample, Study
from .words import counted, interval, label, percent, placeless, points

# Rules of thumb, which the page states
OVERFITTED = 0.05  # right on train images more often than on test images by more than this
UNDERFITTED = 0.10  # wrong on more than this of the images that were learnt from
NEIGHBOURS = 2  # rungs below and above


def lead(study: Study) -> Html:
    """The figure that stands below the heading."""
    result = study.result
    big = html.element("b", percent(result["accuracy"]), style="font-size:1.6rem")
    count = counted(result["images"], "test image")
    words = (
        f" of {count} of {_tested(study)} are classified correctly "
        f"(95 % interval {interval(*result['accuracy_interval'])})."
    )
    return html.paragraph(big, words)


def _tested(study: Study) -> str:
    """Where the test images are from: a data set's name, or a folder from the data's own on."""
    source, own = Path(study.source), Path(str(bundle_data.own(study.card).get("name", "")))
    if source.is_absolute() and source.is_relative_to(own) and own.name:
        return label(str(source.relative_to(own.parent)))
    return _data(study.source)


def blocks(study: Study) -> list[Html]:
    """The section."""
    result = study.result
    found = [
        html.paragraph(
            f"Balanced accuracy {percent(result['balanced_accuracy'])} (the mean over the classes, "
            f"each counted alike), loss {result['loss']:.4f}. The interval holds what other test "
            f"images of the same kind would give, 95 times in 100; n = {result['images']:,}."
        ),
        *(html.note(line) for line in study.notices),
        _promise(study),
        *_fit(study),
        *_ladder(study),
        *_export(study),
        *_made(study),
    ]
    return [block for block in found if block]


def _data(source: str) -> str:
    """A data set's name, or the name of a folder: where it lies is nobody's business."""
    return label(Path(source).name if Path(source).is_absolute() else source)


# --- the promise ---


def _rung(study: Study) -> str | None:
    """The rung whose promise is the network's: its recipe and its data are the rung's."""
    name = study.card.get("rung", study.subject.card.get("rung"))
    if not isinstance(name, str) or name not in LADDER:
        return None
    return name


def _promise(study: Study) -> Html:
    name = _rung(study)
    if name is None:
        return html.note("It is no rung of the ladder, so nothing was promised.")
    entry, promise = ladder.get(name), LADDER[name].promise
    digest, own = study.card.get("recipe_sha256"), bundle_data.own(study.card)
    if digest not in (None, entry.recipe.sha256()) or own.get("limit") is not None:
        return html.note(
            f"{name} promises {percent(promise, 1)}, but this network was trained by a changed "
            "recipe or on a part of the data: the promise is not its."
        )
    reached, s = results.reached(name), results.summary(name)
    here = study.result["accuracy"]
    digits = 2 if entry.lecture else 3
    kept = round(here, digits) >= promise
    words: list[Any] = [f"{name} promises {percent(promise, 1)} on average over seeds. "]
    if s["n"]:
        verdict = html.element(
            "b", "kept" if reached else "not kept", class_="good" if reached else "bad"
        )
        words += ["The promise is ", verdict, f": {_mean(s)} over n = {s['n']} runs. "]
    words.append(f"This network alone is {'at or above' if kept else 'below'} it.")
    if study.is_export:
        words.append(" (A promise is of the Keras network, not of a file made from it.)")
    return html.paragraph(*words)


def _mean(s: dict[str, Any]) -> str:
    spread = "" if s["sd"] is None else f" ± {100 * s['sd']:.2f}"
    return f"{100 * s['mean']:.2f}{spread}\u00a0%"


def _ladder(study: Study) -> list[Html]:
    """The rungs below and above on the same data, and this network between them."""
    own = str(bundle_data.own(study.card or study.subject.card).get("name"))
    rungs = [
        (LADDER[name].promise, name, results.summary(name))
        for name in LADDER
        if LADDER[name].recipe.data == own
    ]
    rungs = [(s["mean"], name, s) for _, name, s in rungs if s["n"]]
    if not rungs:
        return []
    rung, accuracy = _rung(study), study.result["accuracy"]
    others = [entry for entry in sorted(rungs, key=lambda entry: entry[0]) if entry[1] != rung]
    at = next((s["mean"] for _, name, s in rungs if name == rung), accuracy)
    below = [entry for entry in others if entry[0] <= at][-NEIGHBOURS:]
    above = [entry for entry in others if entry[0] > at][:NEIGHBOURS]

    def line(entry: tuple[float, str, dict[str, Any]]) -> list[Any]:
        _, name, s = entry
        promise = percent(LADDER[name].promise, 1)
        return [name, promise, s["n"], _mean(s), LADDER[name].idea]

    rows = [line(entry) for entry in below]
    rows += [line(entry) for entry in rungs if entry[1] == rung]
    bold = html.element("b", f"this network: {label(study.name)}")
    rows.append([bold, None, 1, percent(accuracy), None])
    rows += [line(entry) for entry in above]
    return [
        html.element("h3", "Its neighbours in the ladder"),
        html.table(
            ["rung", "promise", "n", "test accuracy, mean ± sd", "what it adds"],
            rows,
            f"Rungs on {own} just below and above, all as recorded",
        ),
    ]


# --- under- and overfitting ---


def _fit(study: Study) -> list[Html]:
    rows, right, count = [], round(study.result["accuracy"] * len(study.labels)), len(study.labels)
    for name, sample in (("train", study.train), ("validation", study.validation)):
        if isinstance(sample, Sample):
            rows.append(_row(name, sample.right, len(sample.labels), sample.whole))
    rows.append(_row("test", right, count, count))
    missing = {s for s in (study.train, study.validation) if isinstance(s, str)}
    return [
        html.element("h3", "Underfitted or overfitted?"),
        _verdict(study.train, right, count),
        html.table(
            ["images", "n", "of", "accuracy", "95 % interval"],
            rows,
            "Measured with the saved file, on pictures as they are: without augmentation",
        ),
        *(html.note(line) for line in sorted(missing)),
    ]


def _row(name: str, right: int, count: int, whole: int) -> list[str]:
    low, high = wilson(right, count)
    return [name, f"{count:,}", f"{whole:,}", percent(right / count), interval(low, high)]


def _verdict(train: Sample | str, right: int, count: int) -> Html:
    if isinstance(train, str):
        return html.note("That takes images that the network learnt from, and they are not known.")
    share, gap = train.right / len(train.labels), train.right / len(train.labels) - right / count
    low, high = difference(train.right, len(train.labels), right, count)
    over, under = gap > OVERFITTED, 1 - share > UNDERFITTED
    if over and low <= 0:
        word = "It cannot be told"
        why = (
            f": on train images it is right {points(gap)} more often than on test images, but with "
            f"{count:,} test images that may be chance (95 % interval {points(low)} to "
            f"{points(high)})."
        )
    else:
        word = {
            (False, False): "Neither",
            (True, False): "Overfitted",
            (False, True): "Underfitted",
            (True, True): "Both",
        }[over, under]
        why = (
            f": {percent(share)} of the train images are right, {percent(right / count)} of the "
            f"test images, a gap of {points(gap)} (95 % interval {points(low)} to {points(high)})."
        )
    advice = {
        "Underfitted": " A larger network, more epochs or less regularisation may help.",
        "Overfitted": " More images, more augmentation or a smaller network may help.",
        "Both": " It fits what it learnt from badly, and other images worse still.",
    }.get(word, "")
    rule = (
        f"The rule: overfitted where train accuracy is more than {100 * OVERFITTED:.0f} points "
        f"above test accuracy, underfitted where more than {100 * UNDERFITTED:.0f} % of the train "
        "images are wrong. It is a rule of thumb."
    )
    return html.join(html.paragraph(html.element("b", word), why + advice), html.note(rule))


def difference(right: int, count: int, other: int, others: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares, right / count - other / others (Newcombe 1998,
    his method 10, of two Wilson intervals)."""
    a, b = right / count, other / others
    low_a, high_a = wilson(right, count)
    low_b, high_b = wilson(other, others)
    low = a - b - math.sqrt((a - low_a) ** 2 + (high_b - b) ** 2)
    high = a - b + math.sqrt((high_a - a) ** 2 + (b - low_b) ** 2)
    return float(low), float(high)


# --- what it is and how it was made ---


def _export(study: Study) -> list[Html]:
    card = study.subject.card
    if not study.is_export or "format" not in card:
        return []
    rows = [
        ["format", card["format"]],
        ["bytes", f"{card.get('bytes', 0):,}"],
        ["accuracy of the Keras network", percent(card.get("keras_accuracy"))],
        ["says the same as it", percent(card.get("agreement"))],
        ["multiply-adds an image", f"{card.get('multiply_adds', 0):,}"],
        ["operations", ", ".join(card.get("operations", ()))],
    ]
    return [
        html.element("h3", "The file"),
        html.table(
            ["", "as its card has it"], [row for row in rows if row[1] not in ("-", "0", "")]
        ),
    ]


def _made(study: Study) -> list[Html]:
    """Recipe, data, device, versions, command."""
    found = [html.element("h3", "How it was made")]
    card = study.card or study.subject.card
    if not card:
        return [*found, html.note("The file has no card, so nothing is known of its training.")]
    data = bundle_data.own(card)
    versions = card.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    counts = [
        f"{data[key]:,} {word}"
        for key, word in (
            ("train_images", "train"),
            ("validation_images", "validation"),
            ("test_images", "test"),
        )
        if isinstance(data.get(key), int)
    ]
    facts = {
        "rung": card.get("rung"),
        "idea": (card.get("recipe") or {}).get("idea") or None,
        "parameters": f"{card['parameters']:,}"
        if isinstance(card.get("parameters"), int)
        else None,
        "seed": card.get("seed"),
        "data": f"{_data(str(data['name']))}{': ' if counts else ''}{', '.join(counts)} images"
        if counts
        else (_data(str(data["name"])) if data.get("name") else None),
        "note": data.get("note") or None,
        "epochs": card.get("epoch"),
        "time": f"{card['seconds'] / 60:.1f} minutes" if "seconds" in card else None,
        "device": card.get("device"),
        "precision": card.get("precision"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "date": card.get("date"),
        "commit": card.get("commit"),
    }
    rows = [
        [name, label(placeless(str(value)), 200)]
        for name, value in facts.items()
        if value not in (None, "")
    ]
    found.append(html.table(["", ""], rows))
    if isinstance(card.get("command"), str):
        found.append(
            html.element("pre", html.element("code", label(placeless(card["command"]), 10_000)))
        )
    if isinstance(card.get("recipe"), dict):
        found.append(_recipe(card["recipe"]))
    if study.command:
        found.append(html.note("This page: ", _command(study.command)))
    return found


def _command(text: str) -> Html:
    return html.element("code", label(placeless(text), 10_000))


def _recipe(stored: dict[str, Any]) -> Html:
    """The fields of a recipe that are not at their default value."""
    rows = [
        [name, json.dumps(value)] for name, value in changed(stored) if name not in recipe.WORDS
    ]
    if not rows:
        return html.paragraph("The recipe: every setting is the default.")
    return html.details(
        f"The recipe: {len(rows)} {'setting that is' if len(rows) == 1 else 'settings that are'} "
        "not the default",
        html.table(
            ["field", "value"], [[name, label(placeless(value), 300)] for name, value in rows]
        ),
    )


def changed(stored: dict[str, Any]) -> list[tuple[str, Any]]:
    """(name, value) of the fields of a recipe, as a card has it, that differ from the defaults;
    those of its augmentation as "augmentation.NAME"."""
    defaults = recipe.Recipe().as_dict()
    found = [
        (name, value)
        for name, value in stored.items()
        if name != "augmentation" and (name not in defaults or value != defaults[name])
    ]
    return found + [(f"augmentation.{name}", value) for name, value in augmentation(stored)]


def augmentation(stored: dict[str, Any]) -> list[tuple[str, Any]]:
    """(name, value) of what a recipe's augmentation does, as a card has it."""
    given = stored.get("augmentation")
    fields = {f.name: f.default for f in dataclasses.fields(recipe.Augmentation)}
    return [
        (name, value)
        for name, value in (given if isinstance(given, dict) else {}).items()
        if name not in fields or value not in (fields[name], list(_listed(fields[name])))
    ]


def _listed(value: Any) -> Any:
    return value if isinstance(value, tuple) else ()
