"""What makes KerasTuner's oracles survive a kill. Imports KerasTuner (and so Keras).

KerasTuner 1.4.8's write their files in place, leave a trial RUNNING for ever when they are killed
between two of them, run a finished trial again when killed between two others, and wait for workers
that died: `Surviving` is their base class here.
"""

import os
import re
import time
from pathlib import Path

from keras_tuner.engine.trial import Trial

from .. import bundles, documents, schema
from ..errors import InputError, reason
from . import table

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"
ENDED = ("COMPLETED", "FAILED")
# a worker that is not heard of for so long is dead, and its trial somebody else's
LEASE_SECONDS = 60.0
NAME_SECONDS = 15.0  # and for so long, its name is free for another process
OVER = "; `overwrite` starts the search over"
#: What KerasTuner sets of a trial beside what is searched
_TUNERS = {
    "search": schema.Text(),
    "tuner/trial_id": documents.TRIAL_ID,
    "tuner/epochs": schema.Whole(1, 10**6),
    **dict.fromkeys(("tuner/initial_epoch", "tuner/bracket", "tuner/round"), schema.Whole()),
}


class Surviving:
    """Mixed into an Oracle: files whole or not at all, interrupted trials retried under their own
    id, limits that may change.

    ranges: {name: ranges.Range} of what is searched.
    limit: trials to begin at most.
    deadline: a time.time() after which none is begun and running ones stop, or None.
    """

    limit, deadline, lease_seconds, exhausted = None, None, LEASE_SECONDS, False

    def configure(self, ranges, limit, deadline=None):
        self.ranges = ranges
        self.limit, self.deadline, self._heard, self._holders = limit, deadline, {}, {}
        self.verbose = 0
        return self

    # --- files ---

    def save(self):
        bundles.write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        bundles.write_json(
            os.path.join(self._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state()
        )

    def reload(self):
        """Take up the files of a search, whatever the moment at which it was killed.

        What this oracle knows itself, its space and its settings, is not taken from a file.

        Raises:
            InputError: one is damaged, or not of this search.
        """
        path = self._project_dir
        try:
            folders = sorted(p for p in Path(path).iterdir() if p.name.startswith("trial_"))
            for folder in folders:
                path = folder / "trial.json"
                if path.is_file():
                    trial = Trial.from_state(self._trial_state(path))
                    self.trials[trial.trial_id] = trial
            path = self._get_oracle_fname()
            self.set_state(self._own_state(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({reason(error)}){OVER}") from None
        except schema.Wrong as error:
            raise InputError(f"{path}: {error}{OVER}") from None
        folder = Path(self._project_dir).parent
        for trial in self.trials.values():
            if table.is_machines(folder, trial):  # another time it may do
                trial.status, trial.message = RUNNING, None
                self.end_order = [i for i in self.end_order if i != trial.trial_id]
        self.ongoing_trials = {}  # they are in the queue below
        for trial_id in sorted(self.trials):
            status = self.trials[trial_id].status
            for order, wanted in ((self.start_order, True), (self.end_order, status in ENDED)):
                if wanted and trial_id not in order:
                    order.append(trial_id)
            if status not in ENDED and trial_id not in self._retry_queue:
                self._retry_queue.append(trial_id)
        self._retry_queue = sorted(
            (i for i in set(self._retry_queue) if self.trials[i].status not in ENDED), reverse=True
        )
        self.tuner_ids.clear()

    def _trial_state(self, path):
        """A trial's file, checked, as KerasTuner takes it."""
        state = schema.read_json(path, documents.TRIAL, OVER)
        if not re.fullmatch("[0-9]{1,9}", state["trial_id"]):
            raise schema.Wrong(f"trial_id must be a number, is {schema.shown(state['trial_id'])}")
        if path.parent.name != f"trial_{state['trial_id']}":
            raise schema.Wrong(f"is of trial {state['trial_id']}, not of {path.parent.name}")
        if state["status"] == "COMPLETED" and state["score"] is None:
            raise schema.Wrong("score must be a number where status is COMPLETED")
        values = state["hyperparameters"]["values"]
        for name, value in values.items():
            if name in _TUNERS:
                _TUNERS[name].check(value, f"hyperparameters.values.{name}")
            elif name not in self.ranges:
                raise schema.Wrong(f"sets {schema.shown(name)}, which is not searched")
        for name, r in self.ranges.items():
            value = values.get(name)
            if not r.holds(value) or r.options and value not in r.options:
                given = schema.shown(value)
                raise schema.Wrong(f"{name} must be in {r.as_text()}, is {given}")
        own = {**self.hyperparameters.get_config(), "values": values}
        metrics = {
            name: {
                "direction": history["direction"],
                "observations": [
                    {key: seen[key] for key in ("value", "step")}
                    for seen in history["observations"]
                ],
            }
            for name, history in state["metrics"]["metrics"].items()
        }
        return {
            **state,
            "hyperparameters": own,
            "metrics": {"metrics": metrics},
        }

    def _own_state(self, path):
        """The oracle's file, checked, as KerasTuner takes it."""
        state, own = schema.read_json(path, documents.ORACLE, OVER), self.get_state()
        moving = [name for name in documents.ORACLE.kinds if name in own]
        lacking = [name for name in moving if name not in state]
        if lacking:
            raise schema.Wrong(f"lacks {', '.join(lacking)}")
        named = [*state["ongoing_trials"].values(), *state["start_order"], *state["end_order"]]
        named += state["retry_queue"]
        for bracket in state.get("brackets", ()):
            for infos in bracket["rounds"]:
                named += [info[key] for info in infos for key in ("id", "past_id")]
        strange = next((i for i in named if i is not None and i not in self.trials), None)
        if strange is not None:
            raise schema.Wrong(f"names trial {schema.shown(strange)}, which has no trial.json")
        self.check_state(state)
        return {**own, **{name: state[name] for name in moving}}

    def check_state(self, state):
        """Raise schema.Wrong for what a strategy's own part of oracle.json does not allow."""

    # --- trials ---

    def closed(self):
        """Whether no trial may begin."""
        return self.deadline is not None and time.time() >= self.deadline

    def finished(self):
        """Whether nothing is left to do: no trial may begin and none runs."""
        if self.closed():
            now = time.monotonic()  # a worker that died with its trial is not waited for
            return all(
                now - self._heard.get(t, now) > self.lease_seconds
                for t in list(self.ongoing_trials)
            )
        return (
            (self.exhausted or len(self.trials) >= self.limit)
            and not self._retry_queue
            and not self.ongoing_trials
        )

    # Called by one thread alone, here and in `chief.serve`: KerasTuner's locks, which an exception
    # leaves locked, stay unused.

    def create_trial(self, tuner_id):
        self._give_back_lost()
        if self.closed() and tuner_id in self.ongoing_trials:  # stopped in the middle
            self._retry_queue.append(self.ongoing_trials.pop(tuner_id).trial_id)
            self.save()
        over = self.closed() or len(self.trials) >= self.limit and not self._retry_queue
        if tuner_id not in self.ongoing_trials and over:
            status = (
                IDLE if self.ongoing_trials and not self.closed() else STOPPED
            )  # IDLE: somebody may die yet
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
        """The trial; a sign of life of the worker that asks.

        Its status is STOPPED where it has to stop.
        """
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
        if (
            trial.trial_id in self._retry_queue
        ):  # a worker thought dead, or known to an earlier chief, that finished after all
            self._retry_queue.remove(trial.trial_id)
        if trial.trial_id not in self.end_order:
            super().end_trial(trial)
        for tuner_id in [
            t for t, ongoing in self.ongoing_trials.items() if ongoing.trial_id == trial.trial_id
        ]:
            del self.ongoing_trials[tuner_id]

    def hold(self, tuner_id, client):
        """Whether this process may call itself so: nobody else does who is at work."""
        holder, heard = self._holders.get(tuner_id), self._heard.get(tuner_id)
        if holder not in (None, client) and heard is not None:
            if time.monotonic() - heard <= NAME_SECONDS and tuner_id in self.tuner_ids:
                return False
        self._holders[tuner_id] = client
        return True

    def allow(self, tuner_id):
        """A worker is started again: it has the time of a lease to come back to its trial."""
        self._heard[tuner_id] = time.monotonic()
        self._holders.pop(tuner_id, None)

    def nobody_waits(self):
        """Whether no worker that lives still has to be told that the search is over."""
        now = time.monotonic()
        return all(now - self._heard.get(t, 0) > self.lease_seconds for t in list(self.tuner_ids))

    def _give_back_lost(self):
        """Queue the trials of workers that are not heard of any more."""
        now = time.monotonic()
        for tuner_id in [
            t
            for t in self.ongoing_trials
            if now - self._heard.setdefault(t, now) > self.lease_seconds
        ]:
            self._retry_queue.append(self.ongoing_trials.pop(tuner_id).trial_id)
            self.tuner_ids.discard(tuner_id)
