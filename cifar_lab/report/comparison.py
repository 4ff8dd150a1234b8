"""The page of a comparison: several networks, or recipes, side by side.

    compare     from names to figures
    page        from figures to a Page
    told_of     the figures as JSON

A network is tested on its test images once, forward only, as evaluate.py tests it; where a name
stands for several trainings (a rung's measured runs, a folder of seeds), the first one's file
answers, and the others count with the accuracy that was measured when they were trained.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import backend, evaluation, judging, significance
from ..data.names import counted
from . import contenders, contrasts, costs, curves, measures, seeds, settings
from . import page as html
from .contenders import Contender
from .contrasts import Answers
from .measures import chance, mean, per_cent, points

Notice = Callable[[str], Any]

_TOLD = ("accuracy", "accuracy_interval", "loss", "expected_calibration_error", "images")
_BY_CLASS = 20  # classes of which each has a row


@dataclass(frozen=True)
class Comparison:
    """What is known of several networks.

    Fields:
        contenders: in the order given.
        answers: {name: Answers} of those that were tested.
        classes: names.
        source: where the test images are from; None where nothing was tested.
        bills: what each costs, as contenders.
        pictures: whether the page shows pictures of the data.
    """

    contenders: list[Contender]
    answers: dict[str, Answers]
    classes: list[str]
    source: str | None
    bills: list[costs.Bill]
    pictures: bool = True

    @property
    def colours(self) -> dict[str, str]:
        """{name: colour}: a network has one in all charts."""
        cycle = itertools.cycle(html.COLOURS)
        return {contender.name: next(cycle) for contender in self.contenders}


def compare(
    names: Sequence[str],
    data: str | None = None,
    data_dir: str | None = None,
    notice: Notice = print,
    latency: bool = False,
    pictures: bool = True,
) -> Comparison:
    """Look networks up, and test them on the same images.

    Args:
        names: one or more, as contenders.look_up takes them.
        data, data_dir: as judging.images_for; by default what the cards name.
        notice: called with lines for the user.
        latency: whether to measure how long one image takes, here and now.
        pictures: whether the page is to show pictures of the data.

    Raises:
        InputError: no such network; their classes or test images differ.
    """
    found = contenders.look_up(names, data, notice)
    tested = [c for c in found if c.subject is not None]
    backend.start()
    answers: dict[str, Answers] = {}
    models: dict[str, Any] = {}
    classes: list[str] = []
    source = None
    if tested:
        subjects = [_named(c) for c in tested]
        networks, labels, classes, source = judging.on_the_same(subjects, data, data_dir, notice)
        for contender, (subject, images) in zip(tested, networks, strict=True):
            notice(f"testing {contender.name} on {counted(len(images), 'image')}")
            probabilities = evaluation.probabilities(subject.model, images)
            answers[contender.name] = Answers(images, labels, probabilities, classes)
            models[contender.name] = subject.model
    outputs = len(classes) or 10
    latencies = {c.name: costs.recorded(c) for c in found}
    if latency:
        times = costs.timed(tested, [answers[c.name].images[0] for c in tested])
        latencies = dict.fromkeys(latencies)
        latencies |= {c.name: took for c, took in zip(tested, times, strict=True)}
    bills = [
        costs.Bill(costs.cost_of(c, models.get(c.name), outputs), latencies[c.name]) for c in found
    ]
    return Comparison(found, answers, classes, source, bills, pictures)


def _named(contender: Contender) -> judging.Subject:
    """Its network under the name that the page gives it, which errors then use too."""
    assert contender.subject is not None
    return replace(contender.subject, name=contender.name)


def page(found: Comparison, command: str = "") -> html.Page:
    """The report that tells a Comparison. command: the user's."""
    names = [c.name for c in found.contenders]
    title = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    made = html.Page(title, *_lead(found))
    made.add("Accuracy", *_accuracy(found))
    made.add("Seeds", *seeds.section(found.contenders))
    made.add("Learning", *curves.section(found.contenders, found.colours))
    made.add("What differs between the recipes", *settings.section(found.contenders))
    accuracies = {name: a.scores["accuracy"] for name, a in found.answers.items()}
    made.add("Cost", *costs.section(found.contenders, found.bills, accuracies, found.colours))
    made.add("By class", *_by_class(found))
    if len(found.answers) > 1:
        made.add("Picture by picture", *contrasts.section(found.answers, found))
    made.add("How this was measured", *_how(found, command))
    return made


# --- words ---


def _best_first(values: dict[str, float]) -> list[str]:
    return sorted(values, key=lambda name: -values[name])


def told_of(found: Comparison) -> dict[str, Any]:
    """What --json says of a comparison, beside the page."""
    networks = []
    for c, bill in zip(found.contenders, found.bills, strict=True):
        scores = found.answers[c.name].scores if c.name in found.answers else {}
        networks.append(
            {
                "name": c.name,
                **{key: scores.get(key) for key in _TOLD},
                "seeds": c.accuracies,
                **vars(bill.cost),
            }
        )
    pairs = [
        {"networks": [a, b], **vars(significance.paired(one.right, two.right))}
        for (a, one), (b, two) in itertools.combinations(found.answers.items(), 2)
    ]
    several = [c for c in found.contenders if len(c.accuracies) > 1]
    seeds_of = [
        {"networks": [a.name, b.name], **vars(significance.welch(a.accuracies, b.accuracies))}
        for a, b in itertools.combinations(several, 2)
    ]
    return {"data": found.source, "networks": networks, "pairs": pairs, "seeds": seeds_of}


# --- the lead ---


def _lead(found: Comparison) -> list[html.Html]:
    """The first sentences: who is ahead, and by more than chance or not."""
    scores = {name: answers.scores["accuracy"] for name, answers in found.answers.items()}
    blocks = []
    if len(scores) > 1:
        first, second = _best_first(scores)[:2]
        pair = significance.paired(found.answers[first].right, found.answers[second].right)
        if pair.difference == 0:
            told = f"{first} and {second} are right equally often, {per_cent(scores[first])} %"
        else:
            told = (
                f"{first} is ahead with {per_cent(scores[first])} % of "
                f"{pair.images:,} test images, {points(pair)} points before {second}"
            )
        sure = ": more than chance explains" if pair.p < 0.05 else ", which chance may explain"
        blocks.append(html.paragraph(f"{told}{sure} (McNemar's test, p {_as_is(pair.p)})."))
    several = {c.name: c.accuracies for c in found.contenders if len(c.accuracies) > 1}
    if len(several) > 1:
        means = {name: statistics.fmean(values) for name, values in several.items()}
        first, second = _best_first(means)[:2]
        pair = significance.welch(several[first], several[second])
        sure = "" if pair.low > 0 else ", which holds 0: the seeds do not tell them apart"
        blocks.append(
            html.paragraph(
                f"Over their seeds, {first} ({len(several[first])}) has "
                f"{points(pair)} points more than {second} ({len(several[second])}), with the 95 % "
                f"interval in brackets{sure}."
            )
        )
    return blocks


def _as_is(p: float) -> str:
    told = chance(p)
    return told if told.startswith("<") else f"= {told}"


# --- accuracy and seeds ---


def _accuracy(found: Comparison) -> list[html.Html]:
    rows = []
    for c in found.contenders:
        answers = found.answers.get(c.name)
        scores = answers.scores if answers else None
        rows.append(
            [
                measures.name(c.name),
                _with_interval(scores) if scores else None,
                mean(c.accuracies) if c.accuracies else None,
                f"{scores['loss']:.4f}" if scores else None,
                f"{scores['expected_calibration_error']:.3f}" if scores else None,
            ]
        )
    head = [
        "network",
        "accuracy, % (95 % interval)",
        "over seeds, % ± sd (n)",
        "loss",
        "calibration error",
    ]
    blocks = [html.table(head, rows)]
    if any(c.accuracies for c in found.contenders) or found.answers:
        blocks.append(_accuracy_chart(found))
    if any(len(c.accuracies) > 1 for c in found.contenders):
        blocks.append(
            html.note(
                "The accuracy is of one network, the file that is tested here; its interval "
                "(Wilson 1927) is what the number of test images leaves open. Over seeds: the mean "
                "and standard deviation of n trainings, each as it was measured at its end."
            )
        )
    return blocks


def _with_interval(scores: dict[str, Any]) -> str:
    low, high = scores["accuracy_interval"]
    return f"{per_cent(scores['accuracy'])} ({per_cent(low)} to {per_cent(high)})"


def _accuracy_chart(found: Comparison) -> html.Html:
    names = [c.name for c in found.contenders]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, c in enumerate(found.contenders):
            colour = found.colours[c.name]
            if c.name in found.answers:
                scores = found.answers[c.name].scores
                value = 100 * scores["accuracy"]
                low, high = (100 * end for end in scores["accuracy_interval"])
                axes.errorbar(
                    value,
                    place,
                    xerr=measures.ends(value, low, high),
                    fmt="s",
                    color=colour,
                    capsize=4,
                )
            if len(c.accuracies) > 1:
                values = [100 * a for a in c.accuracies]
                low, high = significance.mean_interval(values)
                middle = statistics.fmean(values)
                axes.scatter(values, [place + 0.26] * len(values), s=26, color=colour, alpha=0.55)
                axes.errorbar(
                    middle,
                    place + 0.26,
                    xerr=measures.ends(middle, low, high),
                    fmt="D",
                    markersize=5,
                    color=colour,
                    capsize=4,
                    linewidth=1,
                )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.35, -0.5)
        axes.set_xlabel("test accuracy, %")
        axes.grid(axis="y", visible=False)

    told = "; ".join(
        f"{c.name} {per_cent(found.answers[c.name].scores['accuracy'])} %"
        for c in found.contenders
        if c.name in found.answers
    )
    return html.chart(
        draw,
        f"test accuracies with intervals: {told or 'means over seeds'}",
        "Squares: the tested file, with its 95 % interval over images. Below, where there are "
        "several: a dot a seed, the diamond their mean with its 95 % interval over seeds.",
        height=1.1 + 0.62 * len(names),
    )


# --- by class ---


def _by_class(found: Comparison) -> list[html.Html]:
    if not found.answers:
        return []
    recalls = {name: a.scores["per_class"] for name, a in found.answers.items()}
    spread = {}
    for label in found.classes:
        values = [r[label] for r in recalls.values() if r[label] is not None]
        if values:
            spread[label] = max(values) - min(values)
    shown = list(spread)
    caption = "share of each class' test images that is named right, %"
    if len(shown) > _BY_CLASS:
        shown = _best_first(spread)[:_BY_CLASS]
        caption += f"; the {_BY_CLASS} classes of {len(spread)} in which the networks differ most"
    rows = [
        [label, *(None if r[label] is None else f"{100 * r[label]:.1f}" for r in recalls.values())]
        for label in shown
    ]
    return [html.table(["class", *recalls], rows, caption)]


# --- how ---


def _how(found: Comparison, command: str) -> list[html.Html]:
    blocks = []
    if found.answers:
        first = next(iter(found.answers.values()))
        count = counted(len(first.labels), "test image")
        blocks.append(
            html.paragraph(
                f"Tested forward only on {count} of {found.source}, as the files are saved."
            )
        )
    rows = [
        [measures.name(c.name), c.given, c.subject and c.subject.source] for c in found.contenders
    ]
    blocks.append(html.table(["network", "given as", "tested file"], [_place(r) for r in rows]))
    if command:
        blocks.append(html.element("pre", html.element("code", command)))
    versions = ", ".join(f"{name} {version}" for name, version in backend.versions().items())
    return [*blocks, html.note(f"Made with {versions}.")]


def _place(row: list[Any]) -> list[Any]:
    """A path as short as it can be: where things lie on a machine is nobody's business."""
    name, given, source = row
    where = "none: figures only" if source is None else "/".join(str(source).split("/")[-2:])
    return [name, "/".join(str(given).split("/")[-2:]), where]
