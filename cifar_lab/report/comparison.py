"""The page of a comparison: several networks, or recipes, side by side.

    page        from names to a Page
    compare     what it tells, as data

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

from .. import backend, evaluation, judging, paths, significance
from ..data.names import counted
from . import contenders, contrasts, costs, settings
from . import page as html
from .contenders import Contender
from .contrasts import Answers
from .measures import chance, mean, per_cent, points

Notice = Callable[[str], Any]

_STYLES = ("-", "--")  # of curves: the colours come round after six
_BY_CLASS = 20  # classes of which each has a row


@dataclass(frozen=True)
class Comparison:
    """What is known of several networks.

    Fields:
        contenders: in the order given.
        answers: {name: Answers} of those that were tested.
        classes: names.
        source: where the test images are from; None where nothing was tested.
        costs: of each, as contenders.
        latencies: of each, None where not known.
        timed: whether they were measured now, rather than before.
    """

    contenders: list[Contender]
    answers: dict[str, Answers]
    classes: list[str]
    source: str | None
    costs: list[costs.Cost]
    latencies: list[costs.Latency | None]
    timed: bool

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
) -> Comparison:
    """Look networks up, and test them on the same images.

    Args:
        names: one or more, as contenders.look_up takes them.
        data, data_dir: as judging.images_for; by default what the cards name.
        notice: called with lines for the user.
        latency: whether to measure how long one image takes, here and now.

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
    known = [costs.cost_of(c, models.get(c.name), outputs) for c in found]
    latencies: list[costs.Latency | None] = [costs.recorded(c) for c in found]
    if latency:
        times = iter(costs.timed(tested, [answers[c.name].images[0] for c in tested]))
        latencies = [next(times) if c.name in answers else None for c in found]
    return Comparison(found, answers, classes, source, known, latencies, latency)


def _named(contender: Contender) -> judging.Subject:
    """Its network under the name that the page gives it, which errors then use too."""
    assert contender.subject is not None
    return replace(contender.subject, name=contender.name)


def page(
    names: Sequence[str],
    data: str | None = None,
    data_dir: str | None = None,
    notice: Notice = print,
    latency: bool = False,
    command: str = "",
) -> html.Page:
    """The report of several networks. Args, Raises: as `compare`; command: the user's."""
    return page_of(compare(names, data, data_dir, notice, latency), command)


def page_of(found: Comparison, command: str = "") -> html.Page:
    """The page that tells a Comparison."""
    names = [c.name for c in found.contenders]
    title = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    made = html.Page(title, *_lead(found))
    made.add("Accuracy", *_accuracy(found))
    made.add("Seeds", *_seeds(found))
    made.add("Learning", *_learning(found))
    made.add("What differs between the recipes", *settings.section(found.contenders))
    made.add("Cost", *_cost(found))
    made.add("By class", *_by_class(found))
    if len(found.answers) > 1:
        made.add("Picture by picture", *contrasts.section(found.answers))
    made.add("How this was measured", *_how(found, command))
    return made


# --- words ---


def _best_first(values: dict[str, float]) -> list[str]:
    return sorted(values, key=lambda name: -values[name])


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
        sure = "more than chance explains" if pair.p < 0.05 else "no more than chance explains"
        blocks.append(html.paragraph(f"{told}: {sure} (McNemar's test, p {_as_is(pair.p)})."))
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
                c.name,
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
                    xerr=[[value - low], [high - value]],
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
                    xerr=[[middle - low], [high - middle]],
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


def _seeds(found: Comparison) -> list[html.Html]:
    several = [c for c in found.contenders if len(c.accuracies) > 1]
    if not several:
        if len(found.contenders) < 2 or not any(c.runs for c in found.contenders):
            return []
        command = f"{paths.command('train')} RUNG --seeds 0:5"
        return [
            html.note(
                "One training each: how much of a difference is the seed's luck cannot be told. ",
                html.element("code", command),
                " trains five, and this page takes the folder that they are in.",
            )
        ]
    rows = []
    for c in several:
        low, high = significance.mean_interval(c.accuracies)
        rows.append(
            [
                c.name,
                len(c.accuracies),
                per_cent(statistics.fmean(c.accuracies)),
                f"{per_cent(low)} to {per_cent(high)}",
                f"{100 * statistics.stdev(c.accuracies):.2f}",
                per_cent(min(c.accuracies)),
                per_cent(max(c.accuracies)),
            ]
        )
    head = ["network", "n", "mean, %", "95 % interval", "sd", "lowest", "highest"]
    blocks = [html.table(head, rows, "test accuracy over seeds")]
    pairs = list(itertools.combinations(several, 2))
    if pairs:
        tests = [significance.welch(a.accuracies, b.accuracies) for a, b in pairs]
        together = significance.holm([1.0 if t.p is None else t.p for t in tests])
        rows = [
            [a.name, b.name, points(t), f"{t.freedom:.1f}", chance(t.p), chance(h)][
                : _columns(pairs)
            ]
            for (a, b), t, h in zip(pairs, tests, together, strict=True)
        ]
        head = ["network", "less", "points (95 % interval)", "df", "p", "p, all pairs"]
        blocks.append(html.table(head[: _columns(pairs)], rows, "differences of the means"))
        blocks.append(
            html.note(
                "Welch's t (1947), which lets the two spread differently. An interval that holds 0 "
                "says that these seeds do not tell the two apart, not that they are equal.",
                _FAMILY if len(pairs) > 1 else "",
            )
        )
    return blocks


_FAMILY = (
    " Where many pairs are tested, some differ by chance: the last column takes that into account "
    "(Holm 1979)."
)


def _columns(pairs: Sequence[Any]) -> int:
    """The last column is for several pairs."""
    return 6 if len(pairs) > 1 else 5


# --- learning ---


def _learning(found: Comparison) -> list[html.Html]:
    with_history = [c for c in found.contenders if c.histories]
    if not with_history:
        return [html.note("No history is kept of any of these: no curves.")]
    blocks = [
        html.row(
            _curves(found, with_history, "epoch"),
            _curves(found, with_history, "minutes of training, validation included"),
        )
    ]
    devices = {
        c.name: sorted({r.device for r in c.runs if r.history and r.device}) for c in with_history
    }
    if len({tuple(d) for d in devices.values()}) > 1:
        told = "; ".join(f"{name}: {', '.join(d) or 'unknown'}" for name, d in devices.items())
        blocks.append(
            html.note(f"Trained on different machines, so minutes do not compare: {told}.")
        )
    without = [c.name for c in found.contenders if not c.histories]
    if without:
        blocks.append(html.note(f"No curve, since no history is kept: {', '.join(without)}."))
    return blocks


def _mean_curve(
    curves: Sequence[tuple[list[float], list[float]]],
) -> tuple[list[float], list[float]]:
    """The mean over seeds, epoch by epoch, as far as all went."""
    length = min(len(x) for x, _ in curves)
    return tuple(  # type: ignore[return-value]
        [statistics.fmean(curve[axis][i] for curve in curves) for i in range(length)]
        for axis in (0, 1)
    )


def _curve(history: list[dict[str, float]], x: str) -> tuple[list[float], list[float]]:
    if x == "epoch":
        places = [row["epoch"] for row in history]
    else:
        places = [s / 60 for s in itertools.accumulate(row["seconds"] for row in history)]
    return places, [100 * row["val_accuracy"] for row in history]


def _curves(found: Comparison, shown: Sequence[Contender], x: str) -> html.Html:
    curves = {c.name: [_curve(history, x) for history in c.histories] for c in shown}
    means = {name: _mean_curve(several) for name, several in curves.items()}
    order = [c.name for c in found.contenders]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, several in curves.items():
            style = _STYLES[order.index(name) // len(html.COLOURS) % 2]
            how: dict[str, Any] = {"color": found.colours[name], "linestyle": style}
            for places, values in several if len(several) > 1 else ():
                axes.plot(places, values, **{**how, "linewidth": 0.7, "alpha": 0.45})
            label = f"{name} (mean of {len(several)})" if len(several) > 1 else name
            axes.plot(*means[name], label=label, **how)
            axes.plot(means[name][0][-1], means[name][1][-1], "o", markersize=4, color=how["color"])
        ends = [places[-1] for places, _ in means.values()]
        if max(ends) > 8 * min(ends):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        last = [values[-1] for _, values in means.values()]
        low = min(min(v) for _, v in means.values())
        axes.set_ylim(bottom=max(low - 2, min(last) - 30, 0))
        axes.set(xlabel=x, ylabel="validation accuracy, %")
        axes.legend(loc="lower right")

    told = ", ".join(f"{name} ends at {values[-1]:.1f} %" for name, (_, values) in means.items())
    return html.chart(draw, f"validation accuracy by {x}: {told}", width=5.6)


# --- cost ---


def _cost(found: Comparison) -> list[html.Html]:
    rows = []
    for c, cost, latency in zip(found.contenders, found.costs, found.latencies, strict=True):
        numbers = [cost.parameters, cost.multiply_adds, cost.bytes]
        rows.append(
            [
                c.name,
                *("-" if n is None else f"{n:,}" for n in numbers),
                _minutes(c),
                _latency(latency),
            ]
        )
    head = ["network", "parameters", "multiply-adds", "bytes", "minutes of training", "ms an image"]
    blocks = [html.table(head, rows)]
    runs = [run for c in found.contenders for run in c.runs[:1] if run.seconds is not None]
    if runs:
        devices = "; ".join(f"{c.name}: {c.runs[0].device}" for c in found.contenders if c.runs)
        star = (
            ""
            if all(run.alone for run in runs)
            else (
                " A star: other programs ran meanwhile, or nobody checked, so it is an upper bound."
            )
        )
        blocks.append(
            html.note(f"Minutes of the first training, without compilation, on {devices}.{star}")
        )
    blocks.append(_latency_note(found))
    ways = (("multiply-adds an image", "multiply_adds"), ("bytes of the file", "bytes"))
    charts = []
    for told, key in ways:
        chosen = [
            (c.name, float(getattr(cost, key)), found.answers[c.name].scores["accuracy"])
            for c, cost in zip(found.contenders, found.costs, strict=True)
            if c.name in found.answers and getattr(cost, key)
        ]
        if len({cost for _, cost, _ in chosen}) > 1:
            colours = [found.colours[name] for name, _, _ in chosen]
            charts.append(costs.tradeoff(chosen, told, "test accuracy, %", colours))
    return [*blocks, html.row(*charts)] if charts else blocks


def _minutes(contender: Contender) -> str:
    run = contender.runs[0] if contender.runs else None
    if run is None or run.seconds is None:
        return "-"
    return f"{run.seconds / 60:.1f}{'' if run.alone else '*'}"


def _latency(latency: costs.Latency | None) -> str:
    if latency is None:
        return "-"
    spread = "" if latency.low is None else f" ({latency.low:.3g} to {latency.high:.3g})"
    return f"{latency.milliseconds:.3g}{spread}"


def _latency_note(found: Comparison) -> html.Html:
    known = [latency for latency in found.latencies if latency]
    if not known:
        return html.note("How long an image takes was not measured; --latency measures it here.")
    told = ", ".join(
        f"{c.name} by {latency.runtime}"
        for c, latency in zip(found.contenders, found.latencies, strict=True)
        if latency
    )
    if found.timed:
        how = (
            f"measured while this page was made, one image at a time, in turns, {costs.ROUNDS} "
            "rounds; the middle, the fastest and the slowest round"
        )
    else:
        how = f"as recorded in {costs.LATENCY} of these very files, one image at a time, one thread"
    return html.note(f"Milliseconds: {how}; {known[0].device}; {told}.")


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
    rows = [[c.name, c.given, c.subject and c.subject.source] for c in found.contenders]
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
