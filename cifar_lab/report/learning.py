"""How a training went: loss, accuracy and learning rate over the epochs, its phases named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..phases import phases
from ..recipe import Recipe
from . import page as html
from .page import COLOURS, Html
from .study import Study
from .words import percent

TRAIN, VALIDATION, CHOSEN = COLOURS[0], COLOURS[1], COLOURS[2]
SHADES = COLOURS[4], COLOURS[5], COLOURS[3]


@dataclass(frozen=True)
class Span:
    """Epochs in a row that are trained alike.

    Fields:
        name: in a few words.
        why: what it does to the curves.
        first, last: epochs, 1 the first.
    """

    name: str
    why: str
    first: int
    last: int


def blocks(study: Study) -> list[Html]:
    """The section."""
    history = study.history
    if isinstance(history, str):
        return [html.note(history)]
    recipe = study.recipe
    spans = [] if isinstance(recipe, str) else _spans(recipe, len(history))
    chosen = study.card.get("epoch")
    chosen = chosen if isinstance(chosen, int) and 1 <= chosen <= len(history) else None
    found = [
        html.row(
            _chart(study, history, spans, chosen, "accuracy"),
            _chart(study, history, spans, chosen, "loss"),
        )
    ]
    if all("learning_rate" in row for row in history):
        found.append(_rate(history, spans))
    if spans:
        rows = [[span.name, _epochs(span), span.why] for span in spans]
        found.append(html.table(["phase", "epochs", "what it does to the curves"], rows))
    if chosen is not None:
        found.append(html.paragraph(_chosen(recipe, history, chosen)))
    found.append(
        html.note(
            "The train curve is measured while the weights change and on augmented images, so it "
            "may lie below the validation curve. The loss is the one that is trained with: label "
            "smoothing raises it."
        )
    )
    return found


def _chosen(recipe: Recipe | str, history: list[dict[str, float]], chosen: int) -> str:
    row = history[chosen - 1]
    how = "the last one" if chosen == len(history) else "chosen"
    if not isinstance(recipe, str):
        how = {"last": "the last one, as the recipe says"}.get(
            recipe.keep, "the one with the best validation figures, as the recipe says"
        )
    return (
        f"Saved are the weights of epoch {chosen} of {len(history)}, {how}: validation accuracy "
        f"{percent(row['val_accuracy'])}, loss {row['val_loss']:.4f}."
    )


def _epochs(span: Span) -> str:
    return str(span.first) if span.first == span.last else f"{span.first} to {span.last}"


def _spans(recipe: Recipe, epochs: int) -> list[Span]:
    """The phases of a training that the curves show."""
    return [
        Span(name, _why(recipe, name), first, min(last, epochs))
        for first, last, name in phases(recipe)
        if first <= epochs
    ]


def _why(recipe: Recipe, name: str) -> str:
    """What a phase does to the curves."""
    if name.startswith("small images"):
        return "cheaper epochs; where the size changes, both curves may jump"
    return {
        "last layer alone": "the layers that were trained before stand still",
        "averaging": f"cycles of {recipe.swa_epochs} epochs; at the end of each the validation "
        "curve shows the mean of the weights, and jumps up",
        "sharpness-aware": "the train curve is measured at weights that were moved uphill on "
        "purpose, so it gets worse at once: no fault",
    }.get(name, "")


# --- the charts ---


def _chart(
    study: Study,
    history: list[dict[str, float]],
    spans: Sequence[Span],
    chosen: int | None,
    what: str,
) -> Html:
    scale = 100 if what == "accuracy" else 1
    unit = ", %" if what == "accuracy" else ""
    epochs = [row["epoch"] if "epoch" in row else i for i, row in enumerate(history, 1)]
    train = [scale * row[what] for row in history]
    validation = [scale * row[f"val_{what}"] for row in history]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        marker = "o" if len(history) < 4 else None
        axes.plot(epochs, train, color=TRAIN, label="train", marker=marker, markersize=4)
        axes.plot(
            epochs, validation, color=VALIDATION, label="validation", marker=marker, markersize=4
        )
        if chosen is not None:
            axes.plot(
                [chosen],
                [validation[chosen - 1]],
                marker="o",
                linestyle="",
                color=CHOSEN,
                label="saved",
            )
        axes.set_title(f"{what}{unit}")
        axes.set_xlabel("epoch")
        _shade(axes, spans)
        axes.legend(loc="best")
        _whole_epochs(axes)

    ends = (
        f"train {train[-1]:.4g}{unit[2:]}, validation {validation[-1]:.4g}{unit[2:]} in the last "
        f"of {len(history)} epochs"
    )
    return html.chart(draw, f"{what} by epoch: {ends}", width=6, height=3.6)


def _shade(axes: Any, spans: Sequence[Span], named: bool = True) -> None:
    names = list(dict.fromkeys(span.name for span in spans))
    for span in spans:
        shade = SHADES[names.index(span.name) % len(SHADES)]
        axes.axvspan(
            span.first - 0.5,
            span.last + 0.5,
            color=shade,
            alpha=0.18,
            linewidth=0,
            label=span.name if named and span is _first(spans, span.name) else None,
        )


def _first(spans: Sequence[Span], name: str) -> Span:
    return next(span for span in spans if span.name == name)


def _whole_epochs(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _rate(history: list[dict[str, float]], spans: Sequence[Span]) -> Html:
    rates = [row["learning_rate"] for row in history]
    epochs = [row.get("epoch", i) for i, row in enumerate(history, 1)]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(epochs, rates, color=COLOURS[0])
        axes.set_ylim(0, 1.08 * max(rates) or 1)
        axes.set_title("learning rate at the end of each epoch")
        axes.set_xlabel("epoch")
        _shade(axes, spans, named=False)
        _whole_epochs(axes)

    alt = f"learning rate by epoch: at most {max(rates):.4g}, {rates[-1]:.4g} in the end"
    return html.chart(draw, alt, width=6, height=2.2)
