"""Which pictures one network gets right and another wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import evaluation, significance
from ..data.names import counted, shown
from . import measures, thumbnails
from . import page as html
from .measures import chance, points

EXAMPLES, EXAMPLES_OF_MANY = 12, 6  # pictures a side of a pair: of one pair, of each of several


@dataclass(frozen=True)
class Answers:
    """What a network says of the test images.

    Fields:
        images: uint8 (N, height, width, channels), as it takes them.
        labels: int (N,).
        probabilities: float64 (N, classes).
        classes: names.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: Sequence[str]

    @cached_property
    def scores(self) -> dict[str, Any]:
        """As evaluation.scores."""
        return evaluation.scores(self.probabilities, self.labels, self.classes)

    @cached_property
    def predicted(self) -> np.ndarray:
        """int (N,)."""
        return self.probabilities.argmax(1)

    @cached_property
    def right(self) -> np.ndarray:
        """bool (N,)."""
        return self.predicted == self.labels

    @cached_property
    def of_truth(self) -> np.ndarray:
        """The probability of each image's own class, float64 (N,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def says(self, i: int) -> str:
        """Of an image: "cat 97 %"."""
        k = self.predicted[i]
        return f"{shown(self.classes[k])} {self.probabilities[i, k]:.0%}".replace("%", " %")


def section(answers: dict[str, Answers], reported: thumbnails.Reported) -> list[html.Html]:
    """Blocks: counts and tests of each pair, pictures of each pair's differences, and what none of
    the networks gets right.

    Args:
        answers: {name: Answers} of two networks or more, on the same images.
        reported: whether pictures of the data are shown.
    """
    pairs = list(itertools.combinations(answers, 2))
    tests = [significance.paired(answers[a].right, answers[b].right) for a, b in pairs]
    blocks: list[html.Html] = []
    if len(pairs) == 1:
        blocks.append(_square(*pairs[0], tests[0]))
    blocks += [_tests(pairs, tests), _note(len(pairs))]
    if len(pairs) == 1:
        blocks.append(_pictures(answers, *pairs[0], EXAMPLES, reported))
    else:
        for (a, b), test in zip(pairs, tests, strict=True):
            inner = _square(a, b, test), _pictures(answers, a, b, EXAMPLES_OF_MANY, reported)
            blocks.append(html.details(f"{a} and {b}", *inner))
    blocks.append(_missed(answers, reported))
    return blocks


def _square(a: str, b: str, test: significance.Paired) -> html.Html:
    """The 2 x 2 table of a pair."""
    rows = [
        [measures.name(f"{a} right"), f"{test.both:,}", f"{test.first:,}"],
        [measures.name(f"{a} wrong"), f"{test.second:,}", f"{test.neither:,}"],
    ]
    return html.table(["", f"{b} right", f"{b} wrong"], rows, f"of {test.images:,} test images")


def _tests(pairs: Sequence[tuple[str, str]], tests: Sequence[significance.Paired]) -> html.Html:
    together = significance.holm([test.p for test in tests])
    head = ["network", "less", "only the first right", "only the second right"]
    head += ["points (95 % interval)", "McNemar's p"]
    rows = [
        [
            measures.name(a),
            measures.name(b),
            f"{t.first:,}",
            f"{t.second:,}",
            points(t),
            chance(t.p),
        ]
        for (a, b), t in zip(pairs, tests, strict=True)
    ]
    if len(pairs) > 1:
        head.append(measures.ALL_PAIRS)
        rows = [[*row, chance(p)] for row, p in zip(rows, together, strict=True)]
    return html.table(head, rows)


def _note(pairs: int) -> html.Html:
    return html.note(
        "McNemar's test (1947), exact: of the images that only one of the two gets right, are "
        "there more of one kind than a tossed coin explains? The interval is Bonett and Price's "
        "(2012). Both speak of these two files; what another seed would give, they do not know.",
        measures.FAMILY if pairs > 1 else "",
    )


def _pictures(
    answers: dict[str, Answers], a: str, b: str, most: int, reported: thumbnails.Reported
) -> html.Html:
    """Pictures that only one of the two gets right, the clearest first."""
    blocks = []
    for good, bad in ((a, b), (b, a)):
        one, other = answers[good], answers[bad]
        places = np.flatnonzero(one.right & ~other.right)
        order = np.argsort(-(one.of_truth - other.of_truth)[places], kind="stable")[:most]
        if len(places):
            told = counted(len(places), "picture")
            first = f", the {len(order)} clearest" if len(order) < len(places) else ""
            blocks.append(html.element("h3", f"{good} right, {bad} wrong: {told}{first}"))
            names = {good: one, bad: other}
            blocks.append(
                thumbnails.gallery(reported, [_item(names, int(i)) for i in places[order]])
            )
    if not blocks:
        return html.paragraph(f"{a} and {b} are right and wrong on the same pictures.")
    return html.join(*blocks)


def _missed(answers: dict[str, Answers], reported: thumbnails.Reported) -> html.Html:
    """Pictures that no network gets right though all say the same, the surest first."""
    every = list(answers.values())
    wrong = ~np.any([a.right for a in every], axis=0)
    alike = np.all([a.predicted == every[0].predicted for a in every], axis=0)
    places = np.flatnonzero(wrong & alike)
    if not len(places):
        return html.join()
    said = np.min([a.probabilities.max(1) for a in every], axis=0)[places]
    order = places[np.argsort(-said, kind="stable")[:EXAMPLES]]
    return html.join(
        html.element("h3", "None right, all the same answer"),
        html.paragraph(
            f"{counted(int(wrong.sum()), 'picture')} no network gets right, and on "
            f"{len(places):,} of them all say the same. Where all are sure, the label may be wrong."
        ),
        thumbnails.gallery(reported, [_item(answers, int(i)) for i in order]),
    )


def _item(answers: dict[str, Answers], i: int) -> tuple[np.ndarray, str, html.Html]:
    """A gallery's item of a picture: what it is, and what each network says."""
    largest = max(answers.values(), key=lambda a: a.images.shape[1])
    truth = shown(largest.classes[largest.labels[i]])
    said = [f"{name}: {a.says(i)}" for name, a in answers.items()]
    lines = html.join(
        html.element("b", truth), *(html.join(html.element("br"), line) for line in said)
    )
    return largest.images[i], f"{truth}; {'; '.join(said)}", lines
