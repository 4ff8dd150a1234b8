"""How far a network's probabilities can be trusted, and what a threshold buys."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import calibration
from . import page as html
from .page import COLOURS, Html
from .study import Study
from .words import of, percent

POINTS = 200  # of the curve of coverage, at most


def blocks(study: Study) -> list[Html]:
    """The section."""
    temperature, result, count = study.temperature, study.result, len(study.labels)
    error = result["expected_calibration_error"]
    folded = study.subject.card.get("temperature")
    if temperature is None:
        is_folded = isinstance(folded, float) and folded != 1
        how = f"temperature {folded:.2f} is part of the file" if is_folded else "as the file has it"
        charts = [_reliability(study.plain, study.labels, "as the file says")]
        words = (
            f"Expected calibration error {percent(error)} ({how}), n = {count:,}: so far apart are "
            "confidence and accuracy on average."
        )
    else:
        after = result["calibrated"]["expected_calibration_error"]
        charts = [
            _reliability(study.plain, study.labels, "before: as the network says"),
            _reliability(
                study.probabilities, study.labels, f"after: temperature {temperature:.2f}"
            ),
        ]
        words = (
            f"Expected calibration error {percent(error)}, and {percent(after)} once the "
            f"probabilities are brought to the card's temperature of {temperature:.2f}, "
            f"n = {count:,}: so far apart are confidence and accuracy on average. predict.py "
            "brings them there; which class is the likeliest never changes."
        )
    return [
        html.paragraph(words),
        html.row(*charts),
        html.note(
            "On the diagonal, a network that is 80 % sure is right 8 times in 10. A bar below it: "
            "too sure; above it: not sure enough. The number of images decides how much a bar says."
        ),
        html.element("h3", "What a threshold buys"),
        html.paragraph(
            "A program may leave an image to a person where the network is less sure than a "
            "threshold. The higher the threshold, the fewer answers, and the more of them right."
        ),
        html.row(_coverage(study), _thresholds(study)),
    ]


def _reliability(probabilities: np.ndarray, labels: np.ndarray, title: str) -> Html:
    """Accuracy by confidence, in the bins of the calibration error."""
    bins = calibration.BINS
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    seen = counts > 0
    accuracy = np.bincount(numbers, right, bins)[seen] / counts[seen]
    mean = np.bincount(numbers, confidence, bins)[seen] / counts[seen]
    edges = np.flatnonzero(seen) / bins

    def draw(figure: Any) -> None:
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        width = 100 / bins
        top.bar(100 * edges, 100 * accuracy, width, align="edge", color=COLOURS[0], alpha=0.75)
        top.plot([0, 100], [0, 100], color=COLOURS[1], linestyle="--", label="sure as it is right")
        top.plot(100 * mean, 100 * accuracy, ".", color=COLOURS[1])
        top.set_title(title)
        top.set_ylabel("accuracy, %")
        top.set_ylim(0, 100)
        top.set_xlim(0, 100)
        top.legend(loc="upper left")
        below.bar(100 * edges, counts[seen], width, align="edge", color=COLOURS[0], alpha=0.4)
        below.set_xlabel("confidence, %")
        below.set_ylabel("images")

    alt = f"reliability diagram, {title}: " + "; ".join(
        f"{100 * m:.0f} % sure, {100 * a:.0f} % right, n = {n}"
        for m, a, n in zip(mean, accuracy, counts[seen], strict=True)
    )
    return html.chart(draw, alt, width=5, height=4.4)


def _coverage(study: Study) -> Html:
    """Accuracy of the surest answers, by how many are given."""
    confidence = study.probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((study.predicted == study.labels)[order])
    count = len(order)
    taken = np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))
    coverage, accuracy = 100 * (taken + 1) / count, 100 * right[taken] / (taken + 1)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(coverage, accuracy, color=COLOURS[0], marker="." if count < 20 else None)
        axes.set_title("accuracy of the surest answers")
        axes.set_xlabel("answered, % of the test images")
        axes.set_ylabel("right of them, %")
        axes.set_xlim(0, 102)

    half = 100 * right[(count - 1) // 2] / ((count - 1) // 2 + 1)
    alt = (
        f"accuracy against coverage: {half:.1f} % of the surest half are right, "
        f"{accuracy[-1]:.1f} % of all"
    )
    return html.chart(draw, alt, width=5, height=3.4)


def _thresholds(study: Study) -> Html:
    """The card's thresholds, tried on the test images."""
    card = study.subject.card
    doubt = card.get("calibration")
    found = card.get("thresholds") or (doubt.get("thresholds") if isinstance(doubt, dict) else None)
    if not isinstance(found, dict):
        return html.note(
            "The card has no thresholds; `python -m cifar_lab calibrate` adds them to a bundle's."
        )
    rows: list[list[Any]] = []
    for wanted, entry in found.items():
        threshold = entry.get("threshold") if isinstance(entry, dict) else None
        if not isinstance(threshold, (int, float)):
            rows.append([percent(float(wanted), 0), "none", None, None])
            continue
        here = calibration.above(study.probabilities, study.labels, threshold)
        rows.append(
            [
                percent(float(wanted), 0),
                percent(threshold, 1),
                percent(here["precision"]),
                of(here["images"], len(study.labels)),
            ]
        )
    n = doubt.get("images") if isinstance(doubt, dict) else None
    images = (
        f"{n:,} validation images"
        if isinstance(n, int) and "temperature" in doubt
        else ("validation images")
    )
    return html.table(
        ["right answers wanted", "from confidence", "right here", "answered here"],
        rows,
        f"The card's thresholds, set on {images}, tried on the test images. None: too few "
        "validation images, or too many of the surest answers wrong",
    )
