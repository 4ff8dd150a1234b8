"""Callbacks of a user's own, which see a training and do not change what comes of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..errors import reason

if TYPE_CHECKING:
    from .trainer import Trainer

_EPOCHS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")
_OTHERS = (
    *("on_test_begin", "on_test_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_batch_begin", "on_batch_end", "on_test_batch_begin", "on_test_batch_end"),
)


class Guarded(keras.callbacks.Callback):
    """A Keras callback that watches: what goes wrong in it costs a line and the callback, not the
    training; a stop that it asks for is not heard, and what it writes to the network or the
    optimizer between epochs is undone.

    Between batches nothing is compared, since each step would then wait for its figures.

    Arguments:
        callback: keras.callbacks.Callback.
        label: what lines call it.
        trainer: the Trainer that it watches.
        notice: called with lines for the user.
        compared: whether what it writes to the network is looked for; not needed of our own.
    """

    def __init__(
        self,
        callback: keras.callbacks.Callback,
        label: str,
        trainer: Trainer,
        notice,
        compared: bool = True,
    ):
        super().__init__()
        self._compared = compared
        self.callback, self.label, self.trainer, self.notice = callback, label, trainer, notice
        self.async_safe = getattr(callback, "async_safe", False)
        self._said: set[str] = set()
        self._dropped = False
        # hooks that it has, and no others: Keras waits for a step's figures where one wants them
        for name in (*_EPOCHS, *_OTHERS):
            method = getattr(callback, name)
            if not getattr(method, "_is_default", False):
                setattr(self, name, self._hook(name))

    def set_model(self, model):
        super().set_model(model)
        self._call("set_model", model)

    def set_params(self, params):
        super().set_params(params)
        self._call("set_params", params)

    def _hook(self, name: str):
        def hook(*args: Any, logs=None) -> None:
            # the last positional argument may be the logs: each callback gets its own
            own = [dict(a) if isinstance(a, dict) else a for a in args]
            if logs is not None:
                own.append(dict(logs))
            with self._undoing(self._compared and name in _EPOCHS):
                self._call(name, *own)

        return hook

    def _call(self, name: str, *args: Any) -> None:
        if self._dropped:
            return
        try:
            getattr(self.callback, name)(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: it is only an ornament
            self._dropped = True
            text = f"{type(error).__name__}: {reason(error)[:300]}"
            self.notice(
                f"callback {self.label}: {name} failed ({text}); it is dropped, training goes on"
            )

    @contextlib.contextmanager
    def _undoing(self, compare: bool):
        if self._dropped:
            yield
            return
        stopped = self._model.stop_training
        before = self.trainer.values() if compare else None
        yield
        if self._model.stop_training and not stopped:
            self._model.stop_training = False
            self._say("asked for the end of training: not heard; the recipe's patience stops early")
        if before is None:
            return
        after = self.trainer.values()
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after)):
            self.trainer.assign(before)
            self._say("changed the network or its optimizer: undone; the recipe decides the result")

    def _say(self, what: str) -> None:
        """A line, once."""
        if what not in self._said:
            self._said.add(what)
            self.notice(f"callback {self.label}: {what}")
