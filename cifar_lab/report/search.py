"""The page of a search: what was found, where, at what price, and what it took."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import paths
from ..data.names import counted
from ..errors import InputError
from ..searching import picture
from ..searching.ranges import told
from ..terminal import escaped
from . import costs, importance
from . import page as html
from .search_folder import SearchFolder, Trial

Notice = Callable[[str], Any]

MOST_NETWORKS = 100  # built to be counted: those of the best trials
MOST_ROWS = 200  # of the table of trials
_POOR, _GOOD = "#8b949e", "#d55e00"  # of trials, on a dark page and a light one


def page(found: SearchFolder, notice: Notice = print, command: str = "") -> html.Page:
    """The report of a search, whether it is finished, at work, or was killed.

    Args:
        found: of search_folder.read.
        notice: called with lines for the user.
        command: the user's.
    """
    made = html.Page(f"Search: {Path(found.request['rung']).name}", *_lead(found))
    made.add("Best so far", *_progress(found))
    made.add("Where the good ones lie", *_ranges(found))
    made.add("Importance", *_importance(found))
    made.add(
        "Accuracy and cost" if _is_accuracy(found) else "Score and cost", *_front(found, notice)
    )
    made.add("Learning", *_learning(found))
    made.add("Trials that failed", *_failed(found))
    made.add("All trials", *_all(found))
    made.add("How it was searched", *_how(found, command))
    return made


def told_of(found: SearchFolder) -> dict[str, Any]:
    """What --json says of a search, beside the page."""
    best = found.best
    return {
        "search": str(found.folder),
        "trials": len(found.trials),
        **Counter(trial.status for trial in found.trials),
        "best": {"trial": best.number, found.objective: best.score, **best.values},
    }


# --- words ---


def _is_accuracy(found: SearchFolder) -> bool:
    return "accuracy" in found.objective


def _score(found: SearchFolder, score: float | None) -> str:
    if score is None:
        return "-"
    return f"{100 * score:.2f}" if _is_accuracy(found) else f"{score:.4f}"


def _unit(found: SearchFolder) -> str:
    return f"{found.objective}, %" if _is_accuracy(found) else found.objective


def _shown(found: SearchFolder, score: float | None) -> float:
    """A score as charts show it."""
    return (100 if _is_accuracy(found) else 1) * (score or 0.0)


def _values(trial: Trial) -> str:
    return ", ".join(f"{name} {told(value)}" for name, value in trial.values.items())


def _lead(found: SearchFolder) -> list[html.Html]:
    best = found.best
    ended = Counter(trial.status for trial in found.trials)
    counts = ", ".join(f"{n} {status}" for status, n in ended.items())
    score = _score(found, best.score) + (" %" if _is_accuracy(found) else "")
    unfinished = ended["unfinished"]
    blocks = [
        html.paragraph(
            f"The best of {counted(len(found.trials), 'trial')} so far is trial {best.number}: "
            f"{found.objective} {score}, with {_values(best)}."
        ),
        html.note(
            f"{counts}; {found.seconds / 3600:.2f} hours. Scores are of validation images: of many "
            "trials the best is partly luck, and the test images were not looked at."
        ),
    ]
    if unfinished:
        blocks.append(
            html.note(
                f"{counted(unfinished, 'trial')} had not finished when this page was made: the "
                "search is at work, or was stopped, and its command goes on."
            )
        )
    if found.skipped:
        lines = counted(found.skipped, "line")
        blocks.append(html.note(f"{lines} of trials.csv could not be read and are left out."))
    return blocks


# --- best so far ---


def _progress(found: SearchFolder) -> list[html.Html]:
    done = found.completed
    keep = max if found.up else min
    scores = [_shown(found, trial.score) for trial in done]
    best = list(itertools.accumulate(scores, keep))
    hours = _hours(found)

    def over(places: Sequence[float], label: str) -> html.Html:
        def draw(figure: Any) -> None:
            axes = figure.subplots()
            axes.plot(places, scores, "o", markersize=4, color=_POOR, label="a trial")
            axes.step(places, best, where="post", color=_GOOD, label="the best so far")
            axes.set(xlabel=label, ylabel=_unit(found))
            axes.legend(loc="lower right" if found.up else "upper right")

        alt = f"best so far by {label}: from {best[0]:.4g} to {best[-1]:.4g}"
        return html.chart(draw, alt, width=5.6)

    charts = [over([trial.number for trial in done], "trial")]
    if hours:
        short = max(hours.values()) < 1
        unit = "minutes" if short else "hours"
        spent = [hours[trial.number] * (60 if short else 1) for trial in done]
        charts.append(over(spent, f"{unit} of training"))
    note = (
        "Time is that of the trials one after the other, whoever trained them; starting a "
        "trial and what was lost to kills is not in them."
    )
    return [html.row(*charts), html.note(note) if hours else html.join()]


def _hours(found: SearchFolder) -> dict[int, float]:
    """{trial: hours of training when it had ended}; {} where a trial's are not known."""
    if any(trial.seconds is None for trial in found.completed):
        return {}
    spent, hours = 0.0, {}
    for trial in found.trials:
        spent += (trial.seconds or 0.0) / 3600
        hours[trial.number] = spent
    return hours


# --- ranges ---


def _ranges(found: SearchFolder) -> list[html.Html]:
    points = [
        picture.Point(t.number, t.score, t.status == "failed", t.values) for t in found.trials
    ]

    def draw(figure: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("poor to good", [_POOR, _GOOD])
        picture.panels(
            figure,
            found.ranges,
            points,
            found.rounds,
            found.objective,
            found.up,
            colours,
            shade=(0.34, 0.71, 0.91, 0.22),
            label="trial",
        )

    alt = f"the value of each trial, a panel for each of {', '.join(found.ranges)}"
    caption = (
        "A panel a setting, a point a trial: the more orange, the better, and the worse half grey "
        "alike. Crosses failed. The band is the range from which a round drew."
    )
    blocks = [html.chart(draw, alt, caption, width=7.5, height=1 + 1.6 * len(found.ranges))]
    if len(found.rounds) > 1:
        first, last = found.rounds[0]["ranges"], found.rounds[-1]["ranges"]
        rows = [[n, _span(r, first[n]), _span(r, last[n])] for n, r in found.ranges.items()]
        head = ["setting", "searched", f"after {counted(len(found.rounds) - 1, 'narrowing')}"]
        return [*blocks, html.table(head, rows)]
    rows = [[name, r.as_text()] for name, r in found.ranges.items()]
    return [*blocks, html.table(["setting", "searched"], rows)]


def _span(r: Any, ends: Sequence[Any]) -> str:
    if r.options:
        return ", ".join(map(told, ends))
    return " to ".join(map(told, ends)) + (", logarithmic" if r.log else "")


# --- importance ---


def _importance(found: SearchFolder) -> list[html.Html]:
    done = found.completed
    most = max((trial.epochs or 0 for trial in done), default=0)
    whole = [trial for trial in done if trial.epochs in (None, most)]
    used = whole if len(whole) >= importance.FEWEST else done
    rows = [(trial.values, trial.score or 0.0) for trial in used]
    every = importance.importances(found.ranges, rows, found.up)
    known = [i for i in every if i.share is not None]
    if not known:
        return [
            html.note(
                f"{counted(len(used), 'trial')}: too few to tell, or too much alike. From "
                f"{importance.FEWEST} on, with more than one value, importance is estimated."
            )
        ]
    cells = [
        [i.name, *_cells(i), i.trials, i.towards or "too few trials, or one value"] for i in every
    ]
    head = ["setting", "importance, %", "by chance, up to", "trials", "where the best are"]
    blocks = [_importance_chart(known), html.table(head, cells), html.note(importance.HOW)]
    if len(used) < len(done):
        told_few = (
            f"Of the {len(used)} trials that trained {most:g} epochs; shorter ones score less."
        )
        blocks.append(html.note(told_few))
    return blocks


def _cells(found: importance.Importance) -> list[str]:
    return ["-" if share is None else f"{100 * share:.0f}" for share in (found.share, found.chance)]


def _importance_chart(known: Sequence[importance.Importance]) -> html.Html:
    names = [i.name for i in known]
    shares, chances = (
        [100 * (v or 0) for v in vs] for vs in zip(*((i.share, i.chance) for i in known))
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.barh(range(len(names)), shares, height=0.55, color=html.COLOURS[0])
        for place, by_chance in enumerate(chances):
            ends = place - 0.36, place + 0.36
            label = None if place else "by chance, up to"
            axes.plot([by_chance] * 2, ends, color=_GOOD, linewidth=2, label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("importance: share of the scores' ranks explained, %")
        axes.set_xlim(0, max(*shares, *chances, 10) * 1.08)
        axes.legend(loc="lower right")
        axes.grid(axis="y", visible=False)

    alt = "importance: " + ", ".join(f"{n} {s:.0f} %" for n, s in zip(names, shares))
    return html.chart(draw, alt, height=1.2 + 0.45 * len(names))


# --- cost ---


def _front(found: SearchFolder, notice: Notice) -> list[html.Html]:
    """Scores against parameters and multiply-adds, and the trials that nothing beats."""
    try:
        counted_networks, left_out = _networks(found, notice)
    except (InputError, ValueError, TypeError) as error:
        return [html.note(f"What the trials' networks cost is not known: {error}.")]
    chosen = [trial for trial in found.completed if trial.number in counted_networks]
    sizes = set(counted_networks.values())
    if len(sizes) == 1:
        parameters, multiply_adds = sizes.pop()
        return [
            html.note(
                f"All trials have the same network: {parameters:,} parameters, {multiply_adds:,} "
                "multiply-adds an image. There is nothing to trade."
            )
        ]
    ways = (("bytes as 32-bit floats", 0, 4), ("multiply-adds an image", 1, 1))
    charts, fronts = [], []
    for label, place, factor in ways:
        points = [
            (str(t.number), factor * counted_networks[t.number][place], t.score or 0.0)
            for t in chosen
        ]
        charts.append(
            costs.tradeoff(points, label, _unit(found), None, _is_accuracy(found), found.up)
        )
        sign = 1 if found.up else -1
        best = costs.front([c for _, c, _ in points], [sign * s for _, _, s in points])
        fronts.append([chosen[i].number for i in best])
    rows = []
    for trial in chosen:
        where = [
            name for name, front in zip(("bytes", "multiply-adds"), fronts) if trial.number in front
        ]
        if where:
            parameters, multiply_adds = counted_networks[trial.number]
            size = f"{parameters:,}", f"{4 * parameters:,}", f"{multiply_adds:,}"
            line = [trial.number, _score(found, trial.score), *size, " and ".join(where)]
            rows.append((multiply_adds, [*line, _values(trial)]))
    head = [
        "trial",
        _unit(found),
        "parameters",
        "bytes",
        "multiply-adds",
        "on the front of",
        "values",
    ]
    blocks = [
        html.row(*charts),
        html.table(head, [line for _, line in sorted(rows, key=lambda r: r[0])], "the fronts"),
        html.note(
            "Bytes: four for each parameter, before any export; a file of 8 bits has about a "
            "quarter. The score is one training's, so that neighbours on the front may be luck."
        ),
    ]
    if left_out:
        blocks.append(
            html.note(f"Of the {MOST_NETWORKS} best networks; {left_out} trials were not counted.")
        )
    return blocks


def _networks(found: SearchFolder, notice: Notice) -> tuple[dict[int, tuple[int, int]], int]:
    """{trial: (parameters, multiply-adds)} of the completed trials, each network built once; and
    how many trials are left out, since that would be too many networks."""
    from .. import cost, data, networks
    from ..searching import space

    _, recipe = networks.resolve(found.request["rung"])
    if recipe.sha256() != found.request.get("recipe_sha256"):
        raise InputError(f"the recipe of {found.request['rung']} has changed since")
    classes = data.num_classes(found.request["data"])
    sign = -1 if found.up else 1
    counts: dict[str, tuple[int, int]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    ordered = sorted(found.completed, key=lambda t: sign * (t.score or 0.0))
    for trial in ordered:
        fields = space.recipe_fields(recipe, trial.values)
        options = json.dumps(fields.get("builder_options"), sort_keys=True)
        if options not in counts:
            if len(counts) == MOST_NETWORKS:
                continue
            if not counts:
                notice("counting the trials' networks")
            network = networks.build(space.with_fields(recipe, trial.values), classes)
            total = sum(cost.multiply_adds(network).values())
            counts[options] = network.count_params(), total
        sizes[trial.number] = counts[options]
    return sizes, len(ordered) - len(sizes)


# --- trials ---


def _learning(found: SearchFolder) -> list[html.Html]:
    curves = {
        number: [(row["epoch"], _shown(found, row[found.objective])) for row in history]
        for number, history in found.histories.items()
        if all(found.objective in row for row in history)
    }
    best = found.best.number
    if best not in curves or max(map(len, curves.values())) < 2:
        return []

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, curve in curves.items():
            if number != best:
                axes.plot(*zip(*curve), color=_POOR, linewidth=0.8, alpha=0.6)
        axes.plot(*zip(*curves[best]), color=_GOOD, linewidth=2.2, label=f"trial {best}, the best")
        axes.set(xlabel="epoch", ylabel=_unit(found))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="best")

    alt = f"{found.objective} by epoch of {len(curves)} trials, trial {best} marked"
    return [html.chart(draw, alt, f"{counted(len(curves), 'trial')} whose history is here.")]


def _failed(found: SearchFolder) -> list[html.Html]:
    failed = [trial for trial in found.trials if trial.status == "failed"]
    if not failed:
        return [html.paragraph("None.")]
    rows = [[trial.number, trial.reason or "not known", _values(trial)] for trial in failed]
    return [html.table(["trial", "why", "values"], rows[:MOST_ROWS])]


def _all(found: SearchFolder) -> list[html.Html]:
    head = ["trial", "status", _unit(found), *found.ranges, "epochs", "seconds"]
    sign = -1 if found.up else 1
    order = sorted(found.trials, key=lambda t: (t.score is None, sign * (t.score or 0.0), t.number))
    rows = [
        [
            trial.number,
            trial.status,
            _score(found, trial.score),
            *(told(trial.values[n]) if n in trial.values else "-" for n in found.ranges),
            "-" if trial.epochs is None else f"{trial.epochs:g}",
            "-" if trial.seconds is None else f"{trial.seconds:.0f}",
        ]
        for trial in order[:MOST_ROWS]
    ]
    summary = counted(len(order), "trial") + ", the best first"
    if len(order) > MOST_ROWS:
        summary += f"; the first {MOST_ROWS}"
    return [html.details(summary, html.table(head, rows))]


# --- how ---


def _how(found: SearchFolder, command: str) -> list[html.Html]:
    request = found.request
    whole = "the recipe's"
    facts = {
        "network": Path(request["rung"]).name,
        "strategy": request.get("strategy"),
        "objective": f"{found.objective}, the {'highest' if found.up else 'lowest'} is the best",
        "data": Path(str(request.get("data"))).name,
        "epochs of a trial": request.get("trial_epochs") or whole,
        "train images of a trial": request.get("trial_images") or "all",
        "trials end early behind the median": "yes" if request.get("stop_behind") else "no",
        "seed": request.get("seed"),
        "hours so far": f"{found.seconds / 3600:.2f}",
    }
    blocks = [html.table(["", ""], [[name, str(value)] for name, value in facts.items()])]
    if found.command:
        blocks.append(html.element("pre", html.element("code", escaped(found.command))))
    recipe = f"{Path(found.folder).name}/best_recipe.json"
    words = shlex.join([Path(request["rung"]).name, "--recipe", recipe])
    train = f"{paths.command('train')} {words}"
    blocks.append(html.paragraph("The best, trained in full: ", html.element("code", train)))
    if command:
        blocks.append(html.note("This page: ", html.element("code", escaped(command))))
    return blocks
