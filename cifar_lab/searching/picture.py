"""search.png: where the good values lie."""

from dataclasses import dataclass

from .. import style
from ..report import figures
from . import space, table


@dataclass(frozen=True)
class Point:
    """A trial in a picture.

    Fields:
        number: of the trial.
        score: None where it has none.
        failed: whether it did.
        values: {name: value} of what it used.
    """

    number: int
    score: float | None
    failed: bool
    values: dict


def draw(search):
    """A panel a hyperparameter: each trial's value against its number, coloured by its score, an
    accuracy in per cent; the rounds' ranges in grey. Nothing is drawn before a trial has
    completed; what goes wrong is a line."""
    figures.attempt(search.notice, _draw, search.folder / "search.png", search)


def _draw(path, search):
    points = [
        Point(
            int(t.trial_id),
            t.score if t.status == "COMPLETED" else None,
            t.status == "FAILED",
            search.used_by(t),
        )
        for t in search.all_trials()
    ]
    if not any(point.score is not None for point in points):
        return
    ranges, request = search.request.ranges, search.request
    figure = style.figure(1 + 2.2 * len(ranges))
    up = request.direction == "max"
    panels(figure, ranges, points, table.rounds_of(search), request.objective, up)
    style.save(figure, path)


def panels(
    figure,
    ranges,
    points,
    rounds,
    objective,
    up,
    colours=None,
    shade="0.9",
    label="trial (crosses failed; grey: the range of its round)",
):
    """Draw the panels on a matplotlib figure.

    Args:
        ranges: {name: ranges.Range}, a panel each.
        points: at least one with a score.
        rounds: as search.json has them, each with first_trial and ranges {name: [low, high]}.
        objective: what the scores are; an accuracy is shown in per cent.
        up: whether the highest is the best.
        colours: a matplotlib colour map, from the worst to the best; None for its own.
        shade: colour of the rounds' ranges.
        label: of the axis of trials.
    """
    axes = figure.subplots(len(ranges), 1, sharex=True, squeeze=False)
    completed = [point for point in points if point.score is not None]
    # the worst half alike: where the good ones lie is to be seen
    scale = 100 if objective.endswith("accuracy") else 1
    scores = sorted(scale * point.score for point in completed)
    middle = scores[len(scores) // 2]
    low, high = (middle, scores[-1]) if up else (scores[0], middle)
    colours = colours or "viridis"
    if not up:
        import matplotlib

        colours = matplotlib.colormaps.get_cmap(colours).reversed()
    how = {"vmin": low, "vmax": high, "cmap": colours}
    for axis, (name, r) in zip(axes[:, 0], ranges.items(), strict=True):
        _shade_rounds(axis, r, name, rounds, len(points), shade)
        n, values, scores = _places(r, name, completed)
        drawn = axis.scatter(n, values, c=[scale * score for score in scores], s=22, **how)
        n, values, _ = _places(r, name, [point for point in points if point.failed])
        axis.scatter(n, values, marker="x", color="tab:red", s=22)
        axis.set_ylabel(name)
        if _is_words(r):
            axis.set_yticks(range(len(r.options)), [space.told(option) for option in r.options])
            axis.set_ylim(-0.5, len(r.options) - 0.5)
        else:
            ends = r.options or (r.low, r.high)
            if not axis.dataLim.height > 0:  # no trial uses it, or all have one value
                axis.set_ylim(min(ends), max(ends))
            if r.log or r.options and min(ends) > 0:
                axis.set_yscale("log")
    axes[-1, 0].set_xlabel(label)
    named = f"{objective}, %" if scale == 100 else objective
    figure.colorbar(drawn, ax=axes[:, 0], label=named)


def _is_words(r):
    """Whether a range is one of texts or of true and false, which have no place on a scale."""
    return any(isinstance(option, (str, bool)) for option in r.options)


def _places(r, name, points):
    """(numbers, values, scores) of the trials that use a hyperparameter; words by their index."""
    found = [
        (p.number, r.options.index(p.values[name]) if _is_words(r) else p.values[name], p.score)
        for p in points
        if name in p.values
    ]
    return tuple(zip(*found, strict=True)) or ((), (), ())


def _shade_rounds(axis, r, name, rounds, trials, shade):
    if r.options:
        return
    for i, this in enumerate(rounds):
        end = rounds[i + 1]["first_trial"] if i + 1 < len(rounds) else trials
        span = [this["first_trial"] - 0.5, end - 0.5]
        axis.fill_between(span, *this["ranges"][name], color=shade, lw=0)
