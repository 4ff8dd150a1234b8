"""The search rule of our own: random draws from ranges that narrow. Imports KerasTuner."""

import math

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Fixed

from .. import schema
from .surviving import RUNNING, STOPPED, Surviving


class Narrowing(Surviving, keras_tuner.Oracle):
    """Random draws from ranges that narrow, round by round, to where the good ones lie.

    The lecture's recipe for hyperparameters (draw at random on the right scale, train briefly,
    narrow the ranges, repeat; also Bergstra and Bengio 2012 for the drawing), with a rule that
    needs no eye:

    - A round is `trials_per_round` draws. Where a value lies in its first range is told by u, 0 to
      1, in proportion to its logarithm for a logarithmic range, to itself otherwise.
    - When a round begins, the best `best_fraction` of all completed trials so far are looked at, at
      least `least_best` of them (with fewer than twice that completed the ranges stay). The range
      of each hyperparameter becomes the span of u among these, widened on each side by `margin`
      times the span, and to at least `least_width` around its middle; it is cut off at 0 and 1.
      Options of a choice that no trial among these has are left out.
    - Each hyperparameter of a draw is from its full first range with the chance `explore`, and from
      the round's range otherwise; uniform in u either way. What that finds counts like any other
      trial, so a wrong early turn is undone when a better region turns up.

    The defaults are the best of some forty settings on 100 searches each of three functions
    (benchmarks/strategies.py; docs/experiments/search.md). Draw n of a search is a function of the
    seed, n, and the trials completed when its round began. `rounds` has each round's first trial
    and ranges.

    Args:
        space: {name: ranges.Range}.
        trials_per_round, best_fraction, least_best, margin, least_width, explore: the rule above.
        Others: keras_tuner.Oracle's.
    """

    def __init__(
        self,
        space,
        trials_per_round=6,
        best_fraction=0.05,
        least_best=3,
        margin=0.5,
        least_width=0.08,
        explore=0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.space = space
        self.trials_per_round, self.best_fraction, self.least_best = (
            trials_per_round,
            best_fraction,
            least_best,
        )
        self.margin, self.least_width, self.explore = margin, least_width, explore
        self.rounds = []

    def populate_space(self, trial_id):
        n = len(self.start_order)
        while len(self.rounds) <= n // self.trials_per_round:
            self.rounds.append({"first_trial": n, "ranges": self._narrowed()})
        fixed = {hp.name: hp.value for hp in self.hyperparameters.space if isinstance(hp, Fixed)}
        for attempt in range(
            2 * self._max_collisions
        ):  # what was tried is not tried again; at last anywhere
            explore = self.explore if attempt < self._max_collisions else 1.0
            rng = np.random.default_rng([self.seed, n, attempt])
            ranges = self.rounds[-1]["ranges"]
            values = {
                name: r.draw(rng, r.whole() if rng.random() < explore else ranges[name])
                for name, r in self.space.items()
            }
            if not self._duplicate({**fixed, **values}):
                return {"status": RUNNING, "values": {**fixed, **values}}
        return {"status": STOPPED}

    def _narrowed(self):
        """{name: (low, high) in u, or a list of options} for the next round."""
        ranges = (
            self.rounds[-1]["ranges"]
            if self.rounds
            else {name: r.whole() for name, r in self.space.items()}
        )
        done = [t for t in self.trials.values() if t.status == "COMPLETED"]
        count = max(self.least_best, math.ceil(self.best_fraction * len(done)))
        if len(done) < 2 * self.least_best:
            return ranges
        sign = -1 if self.objective.direction == "max" else 1
        best = sorted(done, key=lambda t: sign * t.score)[:count]
        return {
            name: r.narrowed(
                [t.hyperparameters.values[name] for t in best], self.margin, self.least_width
            )
            for name, r in self.space.items()
        }

    def get_state(self):
        return {**super().get_state(), "rounds": self.rounds}

    def check_state(self, state):
        for i, this in enumerate(state["rounds"]):
            for name, r in self.space.items():
                _check_within(r, this["ranges"].get(name), f"rounds[{i}].ranges.{name}")

    def set_state(self, state):
        super().set_state(state)
        self.rounds = state["rounds"]


def _check_within(r, within, key):
    """Raise schema.Wrong where a round's range, as `Narrowing` has it, is none of `r`."""
    ok = bool(within) and all(map(schema.is_number, within))
    ok = ok and len(within) == 2 and 0 <= within[0] <= within[1] <= 1
    if r.options:
        ok = bool(within) and all(option in r.options for option in within)
    if not ok:
        allowed = f"some of {r.as_text()}" if r.options else "[low, high] of 0 to 1"
        raise schema.Wrong(f"{key} must be {allowed}, is {schema.told(within)}")
