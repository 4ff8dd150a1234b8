"""KerasTuner's loop over trials, each in its own process. Imports KerasTuner (and so Keras)."""

import contextlib
import io
import math
import os
import time
from pathlib import Path

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner

from ..errors import InputError, reason
from ..terminal import printable
from . import process
from .request import OBJECTIVES

REFUSALS = ("INVALID_ARGUMENT", "UNAUTHENTICATED", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED")


class TimeIsUp(keras_tuner.errors.FatalError):
    """The running trial had to stop."""


class Strange(keras_tuner.errors.FatalError):
    """A trial that is none of this search."""


class ChiefGone(keras_tuner.errors.FatalError):
    """The chief does not answer."""


class MachineFailed(keras_tuner.errors.FatalError):
    """What the search itself writes cannot be written."""


def said(error):
    """In words, what a chief answered, or why it did not: of a grpc.RpcError or any other."""
    code = getattr(error, "code", lambda: None)()
    name = getattr(code, "name", "")
    if name in REFUSALS:
        return f"refused: {printable(str(error.details()))[:200]}"
    return f"does not answer ({name or printable(str(error))[:200]})"


class Tuner(BaseTuner):
    """Runs an oracle's trials; `owner`, a search.Search, says what a trial is and is told of it."""

    owner = None

    def reload(self):
        if not self._is_worker():
            self.oracle.reload()

    def _get_tuner_fname(self):  # so that there is something to reload from the first trial on
        return os.path.join(str(self.project_dir), "oracle.json")

    def save(self):
        if not self._is_worker():
            self.oracle.save()

    def pre_create_trial(self):
        time.sleep(0.1)  # an oracle that is IDLE would be asked without end

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        self.owner.ended(trial)

    def search(self, *args, **kwargs):
        try:
            super().search(*args, **kwargs)
        except TimeIsUp:
            self.oracle.create_trial(self.tuner_id)  # which takes note of it
        except Strange as error:
            raise InputError(str(error)) from None

    def _try_run_and_update_trial(self, trial, *args, **kwargs):
        # KerasTuner's blames the trial for whatever happens, and prints tracebacks
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)
        except OSError as error:  # of the search's own files
            raise MachineFailed(f"{error.filename or trial.trial_id}: {reason(error)}") from None

    def run_trial(self, trial, *args, **kwargs):
        why = self.owner.strange(trial)
        if why:
            raise Strange(why)
        folder = Path(self.get_trial_dir(trial.trial_id))
        request = self.owner.trial_request(trial)
        result = process.run(folder, request, lambda: self._stopped(trial.trial_id))
        if result is None:
            raise TimeIsUp
        if result["status"] == "failed":
            raise keras_tuner.errors.FailedTrialError(result["reason"])
        told = {name: result[name] for name in (*OBJECTIVES, "epochs", "seconds")}
        told["memory_mb"] = process.resident_mb()
        return {name: value for name, value in told.items() if math.isfinite(value)}

    def _stopped(self, trial_id):
        self.owner.tick()
        try:
            return self.oracle.get_trial(trial_id).status == "STOPPED"
        except Exception as error:
            if self._is_worker():  # not the trial's fault
                raise ChiefGone(said(error)) from None
            raise


def make(oracle, folder, owner):
    """The Tuner of a search's folder, which takes up what is there."""
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = Tuner(oracle, directory=str(folder), project_name="trials")
    tuner.owner = owner
    return tuner
