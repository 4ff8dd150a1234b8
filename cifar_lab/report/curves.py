"""Learning curves of several networks in one picture."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from . import page as html
from .contenders import Contender

_STYLES = ("-", "--")  # the colours come round after six


def section(contenders: Sequence[Contender], colours: Mapping[str, str]) -> list[html.Html]:
    """Blocks: validation accuracy over epochs and over minutes.

    colours: {name: colour} of each.
    """
    with_history = [c for c in contenders if c.histories]
    if not with_history:
        return [html.note("No history is kept of any of these: no curves.")]
    blocks = [
        html.row(
            _curves(with_history, colours, "epoch"),
            _curves(with_history, colours, "minutes of training, validation included"),
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
    files = [c.name for c in contenders if c.training and not c.runs]
    if files:
        told = ", ".join(files)
        blocks.append(html.note(f"A bundle's file in another format has its curve: {told}."))
    without = [c.name for c in contenders if not c.histories and c.name not in files]
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


def _curves(shown: Sequence[Contender], colours: Mapping[str, str], x: str) -> html.Html:
    curves = {c.name: [_curve(history, x) for history in c.histories] for c in shown}
    means = {name: _mean_curve(several) for name, several in curves.items()}
    order = list(colours)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, several in curves.items():
            style = _STYLES[order.index(name) // len(html.COLOURS) % 2]
            how: dict[str, Any] = {"color": colours[name], "linestyle": style}
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
        if x == "epoch":
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=x, ylabel="validation accuracy, %")
        axes.legend(loc="lower right")

    told = ", ".join(f"{name} ends at {values[-1]:.1f} %" for name, (_, values) in means.items())
    return html.chart(draw, f"validation accuracy by {x}: {told}", width=5.6)
