"""Which values a trial tries next: each strategy's oracle. Imports KerasTuner (and so Keras)."""

import keras_tuner
import numpy as np
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from .. import schema
from .narrowing import Narrowing
from .surviving import Surviving

# KerasTuner's max_trials, which also decides how its trial ids are written: 000000, 000001, ...
_MANY = 100_000


class Random(Surviving, RandomSearchOracle):
    """KerasTuner's random search."""


class Bayesian(Surviving, BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimisation: a Gaussian process, upper confidence bound.

    Snoek, Larochelle and Adams 2012.
    """


class Hyperband(Surviving, HyperbandOracle):
    """KerasTuner's Hyperband (Li et al. 2018).

    Each of its trials begins anew with its number of epochs, as a recipe does.
    """

    def check_state(self, state):
        last = self._get_num_brackets() - 1
        schema.Whole(0, last).check(state["current_bracket"], "current_bracket")
        for i, bracket in enumerate(state["brackets"]):
            number, rounds = bracket["bracket_num"], len(bracket["rounds"])
            schema.Whole(0, last).check(number, f"brackets[{i}].bracket_num")
            if rounds != self._get_num_rounds(number):
                raise schema.Wrong(f"brackets[{i}] must have {number + 1} rounds, has {rounds}")


def build(
    strategy, space, objective, direction, seed, limit, deadline=None, max_epochs=None, digest=""
):
    """The oracle of a strategy.

    strategy: "narrowing", "random", "bayesian" or "hyperband".
    space: {name: ranges.Range}.
    objective, direction: what a trial is scored by, and "max" or "min".
    seed: 0 or more.
    limit, deadline: see surviving.Surviving.
    max_epochs: hyperband's, of its longest trials.
    digest: of the request, which chief and workers must share.
    """
    grows = strategy == "hyperband"  # by what it adds itself
    given = {
        "objective": keras_tuner.Objective(objective, direction),
        "hyperparameters": hyperparameters(space, digest),
        # KerasTuner draws with seed, seed + 1, ...: neighbours would be one search; 0 is none to it
        "seed": int(np.random.SeedSequence(seed).generate_state(1)[0]) or 1,
        "allow_new_entries": grows,
        "tune_new_entries": grows,
        "max_consecutive_failed_trials": _MANY,
    }
    if strategy == "hyperband":
        oracle = Hyperband(max_epochs=max_epochs, **given)
    else:
        kind, more = {
            "narrowing": (Narrowing, {"space": space}),
            "random": (Random, {}),
            "bayesian": (Bayesian, {"num_initial_points": 3 * len(space)}),
        }[strategy]
        oracle = kind(max_trials=_MANY, **given, **more)
    return oracle.configure(space, limit, deadline)


def hyperparameters(space, digest):
    """keras_tuner.HyperParameters of {name: ranges.Range}."""
    hp = keras_tuner.HyperParameters()
    hp.Fixed("search", digest)
    for name, r in space.items():
        if set(r.options) == {False, True} and isinstance(r.options[0], bool):
            hp.Boolean(name)  # a Choice would make 0 and 1 of them
        elif r.options:
            hp.Choice(name, list(r.options), ordered=not isinstance(r.options[0], str))
        elif r.whole_numbers:
            hp.Int(name, r.low, r.high, sampling="log" if r.log else "linear")
        else:
            hp.Float(name, r.low, r.high, sampling="log" if r.log else "linear")
    return hp
