"""search.png: where the good values lie."""

from .. import style
from . import space


def draw(search):
    """A panel a hyperparameter: each trial's value against its number, coloured by its score, an
    accuracy in per cent; the rounds' ranges in grey. Nothing is drawn before a trial has
    completed."""
    with style.style():
        _draw(search)


def _draw(search):
    shown = search.all_trials()
    completed = [t for t in shown if t.status == "COMPLETED"]
    if not completed:
        return
    names = list(search.request.ranges)
    figure = style.figure(1 + 2.2 * len(names))
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)
    objective = search.request.objective
    scale = 100 if objective.endswith("accuracy") else 1
    # the worst half alike: where the good ones lie is to be seen
    scores = sorted(scale * t.score for t in completed)
    middle, up = scores[len(scores) // 2], search.request.direction == "max"
    low, high = (middle, scores[-1]) if up else (scores[0], middle)
    colours = {"vmin": low, "vmax": high, "cmap": "viridis" if up else "viridis_r"}
    for axis, name in zip(axes[:, 0], names, strict=True):
        r = search.request.ranges[name]
        _shade_rounds(axis, search, name, len(shown))
        n, values, scores = _points(search, name, completed)
        points = axis.scatter(n, values, c=[scale * s for s in scores], s=22, **colours)
        n, values, _ = _points(search, name, [t for t in shown if t.status == "FAILED"])
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
    axes[-1, 0].set_xlabel("trial (crosses failed; grey: the range of its round)")
    label = f"{objective}, %" if scale == 100 else objective
    figure.colorbar(points, ax=axes[:, 0], label=label)
    style.save(figure, search.folder / "search.png")


def _is_words(r):
    """Whether a range is one of texts or of true and false, which have no place on a scale."""
    return any(isinstance(option, (str, bool)) for option in r.options)


def _points(search, name, trials):
    """(numbers, values, scores) of the trials that use a hyperparameter; words by their index."""
    r, found = search.request.ranges[name], []
    for trial in trials:
        values = search.used_by(trial)
        if name in values:
            value = r.options.index(values[name]) if _is_words(r) else values[name]
            found.append((int(trial.trial_id), value, trial.score))
    return tuple(zip(*found, strict=True)) or ((), (), ())


def _shade_rounds(axis, search, name, trials):
    r, rounds = search.request.ranges[name], getattr(search.oracle, "rounds", [])
    if r.options:
        return
    for i, this in enumerate(rounds):
        end = rounds[i + 1]["first_trial"] if i + 1 < len(rounds) else trials
        low, high = map(r.value, this["ranges"][name])
        axis.fill_between([this["first_trial"] - 0.5, end - 0.5], low, high, color="0.9", lw=0)
