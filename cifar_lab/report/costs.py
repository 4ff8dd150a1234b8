"""What a network costs to keep and to run, and which of several are worth it."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import inference, paths
from ..errors import InputError
from . import measures
from . import page as html
from .contenders import Contender

#: Lines of JSON by benchmarks/latency.py, a file, runtime and number of threads each.
LATENCY = "docs/latency.jsonl"
#: Of a file's kind, the runtime among those lines that a program would use.
_RUNTIMES = {".keras": "Keras compiled call", ".onnx": "ONNX Runtime"}
ROUNDS, TURN_SECONDS = 7, 0.1  # of a measurement on the spot; at least 3 calls a turn


@dataclass(frozen=True)
class Cost:
    """Each None where it is not known.

    Fields:
        parameters: numbers that are kept.
        multiply_adds: of one image.
        bytes: of the file.
    """

    parameters: int | None
    multiply_adds: int | None
    bytes: int | None


def cost_of(contender: Contender, model: Any, classes: int) -> Cost:
    """What a network costs.

    Args:
        contender: of contenders.look_up.
        model: keras.Model or inference.Classifier, opened; None where there are figures only, of
            whose recipe the network is built.
        classes: number of outputs of that.
    """
    from .. import cost, networks
    from ..recipe import Recipe, changed

    size = contender.file.stat().st_size if contender.file else None
    if model is None and contender.recipe:
        try:
            model = networks.build(changed(Recipe(), contender.recipe, contender.name), classes)
        except InputError:
            return Cost(None, None, size)
    if isinstance(model, inference.Classifier):
        if model.kind != ".keras":
            known = [contender.card.get(name) for name in ("parameters", "multiply_adds")]
            return Cost(*(n if isinstance(n, int) else None for n in known), size)
        model = model.keras_model
    if model is None:
        return Cost(None, None, size)
    return Cost(model.count_params(), sum(cost.multiply_adds(model).values()), size)


# --- latency ---


@dataclass(frozen=True)
class Latency:
    """Milliseconds an image: the middle of several turns, and the fastest and the slowest of them;
    what ran it. low and high are None where only the middle is known."""

    milliseconds: float
    low: float | None
    high: float | None
    runtime: str
    device: str


def recorded(contender: Contender) -> Latency | None:
    """The latency that the project's own measurements hold of this very file, one thread; None
    where they do not."""
    place = paths.CHECKOUT and paths.CHECKOUT / LATENCY
    if not place or not place.is_file() or not contender.file or not contender.file.is_file():
        return None
    size, kind = contender.file.stat().st_size, contender.file.suffix.lower()
    for row in map(json.loads, place.read_text().splitlines()):
        is_file = row["rung"] == contender.card.get("rung") and row["bytes"] == size
        runtime = _RUNTIMES.get(kind, row["runtime"])
        if is_file and row["threads"] == 1 and row["runtime"] == runtime:
            return Latency(row["latency_ms"], None, None, row["runtime"], row["device"])
    return None


def timed(contenders: Sequence[Contender], images: Sequence[np.ndarray]) -> list[Latency]:
    """Measure here, in turns, how long one image takes as `cifar_lab.load` runs each file.

    Args:
        contenders: each with a file.
        images: of each, uint8 (height, width, channels).
    """
    from .. import backend

    found = [inference.Classifier(c.file) for c in contenders]
    rounds: list[list[float]] = [[] for _ in found]
    for turn in range(ROUNDS + 1):
        for classifier, image, values in zip(found, images, rounds, strict=True):
            calls, end = [], time.perf_counter() + TURN_SECONDS
            while len(calls) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                classifier.probabilities(image)
                calls.append(time.perf_counter() - start)
            if turn:  # the first is a warm-up
                values.append(1000 * statistics.median(calls))
    return [
        Latency(
            statistics.median(values),
            min(values),
            max(values),
            inference.NEEDS[classifier.kind],
            backend.processor(),
        )
        for classifier, values in zip(found, rounds, strict=True)
    ]


@dataclass(frozen=True)
class Bill:
    """What a network costs, and how long an image takes where that is known."""

    cost: Cost
    latency: Latency | None


# --- worth it ---


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """The Pareto front: indices of those that nothing beats, the cheapest first.

    One beats another where it costs no more and scores no less, and one of the two is better. Of
    equals all count.

    Args:
        costs: the less the better.
        scores: the more the better.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i], i))
    found: list[int] = []
    best, cheapest = -math.inf, math.inf
    for i in order:
        if scores[i] > best or scores[i] == best and costs[i] == cheapest:
            found.append(i)
            best, cheapest = scores[i], costs[i]
    return found


def tradeoff(
    points: Sequence[tuple[str, float, float]],
    cost: str,
    score: str,
    colours: Sequence[str] | None = None,
    per_cent: bool = True,
    most: bool = True,
    every: bool = False,
) -> html.Html:
    """A chart of scores against costs, with the front as a line.

    Args:
        points: (name, cost above 0, score) each; names of the front are written beside its points.
        cost, score: what the axes are called.
        colours: of the points; None for one colour.
        per_cent: whether the scores are shares, drawn in per cent.
        most: whether the highest score is the best.
        every: whether all names are written, not only those of the front.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    names, costs, scores = zip(*points, strict=True)
    best = front(costs, scores if most else [-s for s in scores])
    shown = [100 * s if per_cent else s for s in scores]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        x, y = [costs[i] for i in best], [shown[i] for i in best]
        axes.step(x, y, where="post", color=html.COLOURS[1], linewidth=1, alpha=0.8)
        axes.scatter(costs, shown, s=42, c=colours or html.COLOURS[0], alpha=0.85, zorder=3)
        for place, i in enumerate(range(len(points)) if every else best):
            axes.annotate(
                names[i],
                (costs[i], shown[i]),
                xytext=(5, -13 if place % 2 else 5),
                textcoords="offset points",
                fontsize=9,
            )
        if max(costs) > 8 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.12, 0.14)
        axes.set(xlabel=cost, ylabel=score)

    told = ", ".join(f"{names[i]} ({costs[i]:,.4g}, {shown[i]:.4g})" for i in best[:8])
    return html.chart(
        draw,
        f"{score} against {cost} of {len(points)}; on the front: {told}",
        "The line joins those that nothing beats: no other scores as much for less.",
        width=5.4,
    )


# --- the section ---


def section(
    contenders: Sequence[Contender],
    bills: Sequence[Bill],
    accuracies: Mapping[str, float],
    colours: Mapping[str, str],
) -> list[html.Html]:
    """Blocks: what each network costs, and what it does for that.

    Args:
        contenders, bills: as many.
        accuracies: {name: 0 to 1} of those that were tested.
        colours: {name: colour} of all.
    """
    rows = []
    for c, bill in zip(contenders, bills, strict=True):
        cost, latency = bill.cost, bill.latency
        numbers = [cost.parameters, cost.multiply_adds, cost.bytes]
        rows.append(
            [
                measures.name(c.name),
                *("-" if n is None else f"{n:,}" for n in numbers),
                _minutes(c),
                _latency(latency),
            ]
        )
    head = ["network", "parameters", "multiply-adds", "bytes", "minutes of training", "ms an image"]
    blocks = [html.table(head, rows)]
    runs = [run for c in contenders for run in c.runs[:1] if run.seconds is not None]
    if runs:
        devices = "; ".join(f"{c.name}: {c.runs[0].device}" for c in contenders if c.runs)
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
    blocks.append(_latency_note(contenders, bills))
    ways = (("multiply-adds an image", "multiply_adds"), ("bytes of the file", "bytes"))
    charts = []
    for told, key in ways:
        chosen = [
            (c.name, float(getattr(bill.cost, key)), accuracies[c.name])
            for c, bill in zip(contenders, bills, strict=True)
            if c.name in accuracies and getattr(bill.cost, key)
        ]
        sizes = [cost for _, cost, _ in chosen]
        if sizes and max(sizes) > 1.05 * min(sizes):
            inks = [colours[name] for name, _, _ in chosen]
            charts.append(tradeoff(chosen, told, "test accuracy, %", inks, every=True))
    return [*blocks, html.row(*charts)] if charts else blocks


def _minutes(contender: Contender) -> str:
    run = contender.runs[0] if contender.runs else None
    if run is None or run.seconds is None:
        return "-"
    return f"{run.seconds / 60:.1f}{'' if run.alone else '*'}"


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "-"
    spread = "" if latency.low is None else f" ({latency.low:.3g} to {latency.high:.3g})"
    return f"{latency.milliseconds:.3g}{spread}"


def _latency_note(contenders: Sequence[Contender], bills: Sequence[Bill]) -> html.Html:
    known = [bill.latency for bill in bills if bill.latency]
    if not known:
        return html.note("How long an image takes was not measured; --latency measures it here.")
    told = ", ".join(
        f"{c.name} by {bill.latency.runtime}"
        for c, bill in zip(contenders, bills, strict=True)
        if bill.latency
    )
    if known[0].low is not None:
        how = (
            f"measured while this page was made, one image at a time, in turns, {ROUNDS} "
            "rounds; the middle, the fastest and the slowest round. Nobody checked whether other "
            "programs ran"
        )
    else:
        how = f"as recorded in {LATENCY} of these very files, one image at a time, one thread"
    return html.note(f"Milliseconds: {how}; {known[0].device}; {told}.")
