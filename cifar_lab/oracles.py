"""KerasTuner's oracles, one of our own beside them, and what makes them survive a kill. Imports KerasTuner (and so Keras).

An oracle decides what the next trial tries. KerasTuner 1.4.8's write their files in place, leave a trial RUNNING for ever when
they are killed between two of them, run a finished trial again when killed between two others, and wait for workers that
died: `Surviving` is their base class here.
"""
import json
import math
import os
import time
from pathlib import Path

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from . import bundles
from .errors import InputError, reason

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"
ENDED = ("COMPLETED", "FAILED")
LEASE_SECONDS = 60.0  # a worker that is not heard of for so long is dead, and its trial somebody else's
_MANY = 100_000  # KerasTuner's max_trials, which also decides how its trial ids are written: 000000, 000001, ...


def _read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Surviving:
    """Mixed into an Oracle: files whole or not at all, interrupted trials retried under their own id, limits that may change.

    limit: trials to begin at most.   deadline: a time.time() after which none is begun and running ones stop, or None.
    """

    limit, deadline, lease_seconds, exhausted = None, None, LEASE_SECONDS, False

    def configure(self, limit, deadline=None):
        self.limit, self.deadline, self._heard = limit, deadline, {}
        self.verbose = 0
        return self

    # --- files -------------------------------------------------------------------------------------

    def save(self):
        bundles.write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        bundles.write_json(os.path.join(self._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state())

    def reload(self):
        """Take up the files of a search, whatever the moment at which it was killed. InputError where one is damaged."""
        try:
            path = self._project_dir
            for path in sorted(p / "trial.json" for p in Path(path).iterdir() if p.name.startswith("trial_")):
                if path.is_file():
                    trial = Trial.from_state(_read_json(path))
                    self.trials[trial.trial_id] = trial
            path = self._get_oracle_fname()
            self.set_state(_read_json(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged ({type(error).__name__}: {reason(error)[:100]}); --overwrite starts the search over") from None
        self.ongoing_trials = {}  # they are in the queue below
        for trial_id in sorted(self.trials):
            status = self.trials[trial_id].status
            for order, wanted in ((self.start_order, True), (self.end_order, status in ENDED)):
                if wanted and trial_id not in order:
                    order.append(trial_id)
            if status not in ENDED and trial_id not in self._retry_queue:
                self._retry_queue.append(trial_id)
        self._retry_queue = sorted((i for i in set(self._retry_queue) if self.trials[i].status not in ENDED), reverse=True)
        self.tuner_ids.clear()

    # --- trials ------------------------------------------------------------------------------------

    def closed(self):
        """Whether no trial may begin."""
        return self.deadline is not None and time.time() >= self.deadline

    def finished(self):
        """Whether nothing is left to do: no trial may begin and none runs."""
        if self.closed():
            now = time.monotonic()  # a worker that died with its trial is not waited for
            return all(now - self._heard.get(t, now) > self.lease_seconds for t in list(self.ongoing_trials))
        return (self.exhausted or len(self.trials) >= self.limit) and not self._retry_queue and not self.ongoing_trials

    # Called by one thread alone, here and in `serve`: KerasTuner's locks, which an exception leaves locked, stay unused.

    def create_trial(self, tuner_id):
        self._give_back_lost()
        if self.closed() and tuner_id in self.ongoing_trials:  # stopped in the middle
            self._retry_queue.append(self.ongoing_trials.pop(tuner_id).trial_id)
            self.save()
        over = self.closed() or len(self.trials) >= self.limit and not self._retry_queue
        if tuner_id not in self.ongoing_trials and over:
            status = IDLE if self.ongoing_trials and not self.closed() else STOPPED  # IDLE: somebody may die yet
            trial = Trial(self.hyperparameters.copy(), trial_id="", status=status)
        else:
            trial = super().create_trial(tuner_id)
            if trial.status == STOPPED and self.ongoing_trials:
                trial.status = IDLE
            self.exhausted = trial.status == STOPPED
        self.tuner_ids.add(tuner_id)
        if trial.status == STOPPED:
            self.tuner_ids.discard(tuner_id)
        self._heard[tuner_id] = time.monotonic()
        return trial

    def get_trial(self, trial_id):
        """The trial; a sign of life of the worker that asks. Its status is STOPPED where it has to stop."""
        trial = self.trials[trial_id]
        for tuner_id, ongoing in self.ongoing_trials.items():
            if ongoing.trial_id == trial_id:
                self._heard[tuner_id] = time.monotonic()
        if self.closed() and trial.status == RUNNING:
            copy = Trial(trial.hyperparameters, trial_id, STOPPED)
            copy.metrics = trial.metrics
            return copy
        return trial

    def update_trial(self, trial_id, metrics, step=0):
        tracker = self.trials[trial_id].metrics
        for name in metrics:
            if name != self.objective.name and not tracker.exists(name):
                tracker.register(name, direction="max" if "accuracy" in name else "min")
        return super().update_trial(trial_id, metrics, step)

    def end_trial(self, trial):
        if trial.trial_id in self._retry_queue:  # a worker thought dead, or known to an earlier chief, that finished after all
            self._retry_queue.remove(trial.trial_id)
        if trial.trial_id not in self.end_order:
            super().end_trial(trial)
        for tuner_id in [t for t, ongoing in self.ongoing_trials.items() if ongoing.trial_id == trial.trial_id]:
            del self.ongoing_trials[tuner_id]

    def allow(self, tuner_id):
        """A worker is started again: it has the time of a lease to come back to its trial."""
        self._heard[tuner_id] = time.monotonic()

    def nobody_waits(self):
        """Whether no worker that lives still has to be told that the search is over."""
        now = time.monotonic()
        return all(now - self._heard.get(t, 0) > self.lease_seconds for t in list(self.tuner_ids))

    def _give_back_lost(self):
        """Queue the trials of workers that are not heard of any more."""
        now = time.monotonic()
        for tuner_id in [t for t in self.ongoing_trials if now - self._heard.setdefault(t, now) > self.lease_seconds]:
            self._retry_queue.append(self.ongoing_trials.pop(tuner_id).trial_id)
            self.tuner_ids.discard(tuner_id)


class Random(Surviving, RandomSearchOracle):
    """KerasTuner's random search."""


class Bayesian(Surviving, BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimisation (a Gaussian process, upper confidence bound; Snoek, Larochelle and Adams 2012)."""


class Hyperband(Surviving, HyperbandOracle):
    """KerasTuner's Hyperband (Li et al. 2018). Each of its trials begins anew with its number of epochs, as a recipe does."""


class Narrowing(Surviving, keras_tuner.Oracle):
    """Random draws from ranges that narrow, round by round, to where the good ones lie.

    The lecture's recipe for hyperparameters (draw at random on the right scale, train briefly, narrow the ranges, repeat; also
    Bergstra and Bengio 2012 for the drawing), with a rule that needs no eye:

    - A round is `trials_per_round` draws. Where a value lies in its first range is told by u, 0 to 1, in proportion to its
      logarithm for a logarithmic range, to itself otherwise.
    - When a round begins, the best `best_fraction` of all completed trials so far are looked at, at least `least_best` of them (with
      fewer than twice that completed the ranges stay). The range of each hyperparameter becomes the span of u among these,
      widened on each side by `margin` times the span, and to at least `least_width` around its middle; it is cut off at 0
      and 1. Options of a choice that no trial among these has are left out.
    - Each hyperparameter of a draw is from its full first range with the chance `explore`, and from the round's range otherwise;
      uniform in u either way. What that finds counts like any other trial, so a wrong early turn is undone when a better
      region turns up.

    The defaults are the best of some forty settings on 100 searches each of three functions (benchmarks/strategies.py; docs/log.md).
    Draw n of a search is a function of the seed, n, and the trials completed when its round began. `rounds` has each round's
    first trial and ranges.

    Args:
        space: {name: tuning.Range}.
        trials_per_round, best_fraction, least_best, margin, least_width, explore: the rule above.
        Others: keras_tuner.Oracle's.
    """

    def __init__(self, space, trials_per_round=6, best_fraction=0.05, least_best=3, margin=0.5, least_width=0.08, explore=0.1,
                 **kwargs):
        super().__init__(**kwargs)
        self.space = space
        self.trials_per_round, self.best_fraction, self.least_best = trials_per_round, best_fraction, least_best
        self.margin, self.least_width, self.explore = margin, least_width, explore
        self.rounds = []

    def populate_space(self, trial_id):
        n = len(self.start_order)
        while len(self.rounds) <= n // self.trials_per_round:
            self.rounds.append({"first_trial": n, "ranges": self._narrowed()})
        fixed = {hp.name: hp.value for hp in self.hyperparameters.space if isinstance(hp, keras_tuner.engine.hyperparameters.Fixed)}
        for attempt in range(2 * self._max_collisions):  # what was tried is not tried again; at last anywhere
            explore = self.explore if attempt < self._max_collisions else 1.0
            rng = np.random.default_rng([self.seed, n, attempt])
            ranges = self.rounds[-1]["ranges"]
            values = {name: r.draw(rng, r.whole() if rng.random() < explore else ranges[name]) for name, r in self.space.items()}
            if not self._duplicate({**fixed, **values}):
                return {"status": RUNNING, "values": {**fixed, **values}}
        return {"status": STOPPED}

    def _narrowed(self):
        """{name: (low, high) in u, or a list of options} for the next round."""
        ranges = self.rounds[-1]["ranges"] if self.rounds else {name: r.whole() for name, r in self.space.items()}
        done = [t for t in self.trials.values() if t.status == "COMPLETED"]
        count = max(self.least_best, math.ceil(self.best_fraction * len(done)))
        if len(done) < 2 * self.least_best:
            return ranges
        sign = -1 if self.objective.direction == "max" else 1
        best = sorted(done, key=lambda t: sign * t.score)[:count]
        return {name: r.narrowed([t.hyperparameters.values[name] for t in best], self.margin, self.least_width)
                for name, r in self.space.items()}

    def get_state(self):
        return {**super().get_state(), "rounds": self.rounds}

    def set_state(self, state):
        super().set_state(state)
        self.rounds = state["rounds"]


def build(strategy, space, objective, direction, seed, limit, deadline=None, max_epochs=None, digest=""):
    """The oracle of a strategy.

    strategy: "narrowing", "random", "bayesian" or "hyperband".   space: {name: tuning.Range}.   seed: 0 or more.
    max_epochs: hyperband's, of its longest trials.   digest: of the request, which chief and workers must share.
    """
    grows = strategy == "hyperband"  # by what it adds itself
    given = {"objective": keras_tuner.Objective(objective, direction), "hyperparameters": hyperparameters(space, digest),
             # KerasTuner draws with seed, seed + 1, ...: neighbours would be one search; and 0 is no seed to it
             "seed": int(np.random.SeedSequence(seed).generate_state(1)[0]) or 1,
             "allow_new_entries": grows, "tune_new_entries": grows, "max_consecutive_failed_trials": _MANY}
    if strategy == "hyperband":
        oracle = Hyperband(max_epochs=max_epochs, **given)
    else:
        kind, more = {"narrowing": (Narrowing, {"space": space}), "random": (Random, {}),
                      "bayesian": (Bayesian, {"num_initial_points": 3 * len(space)})}[strategy]
        oracle = kind(max_trials=_MANY, **given, **more)
    return oracle.configure(limit, deadline)


def hyperparameters(space, digest):
    """keras_tuner.HyperParameters of {name: tuning.Range}."""
    hp = keras_tuner.HyperParameters()
    hp.Fixed("search", digest)
    for name, r in space.items():
        if r.options:
            hp.Choice(name, list(r.options), ordered=True)
        elif r.whole_numbers:
            hp.Int(name, r.low, r.high, sampling="log" if r.log else "linear")
        else:
            hp.Float(name, r.low, r.high, sampling="log" if r.log else "linear")
    return hp


def serve(oracle, host, port, started=lambda port: None, watch=lambda: None):
    """Answer workers until the search is over and they know it.

    host: address to listen on; the service has no authentication.   port: 0 for any that is free.   started: called with the
    port once it listens.   watch: called about twice a second. Raises OSError where the address cannot be had.
    """
    from concurrent import futures

    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(98, "address cannot be listened on", f"{host}:{port}")
    server.start()
    try:
        started(port)
        while not (oracle.finished() and oracle.nobody_waits()):
            watch()
            time.sleep(0.5)
    finally:
        server.stop(grace=2).wait()
