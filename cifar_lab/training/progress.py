"""What watches a training: progress lines, a bar, Ctrl-C, TensorBoard."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import keras

from .. import paths, phases
from ..errors import InputError, reason
from ..terminal import chosen, clock

LIVE_SECONDS = 0.5  # between two looks at the steps' figures


class OneRun(keras.callbacks.CallbackList):
    """Callbacks that see one training, though `fit` is called once an epoch.

    held: a dict that takes the figures of an epoch instead of the callbacks, who are told them
    later, with those of the validation; None: they are told at once.
    """

    held: dict | None = None
    rate: Callable[[int], float] | None = None

    def on_epoch_end(self, epoch, logs=None):
        if self.held is None:
            rate = {"learning_rate": self.rate(epoch)} if self.rate else {}
            super().on_epoch_end(epoch, {**(logs or {}), **rate})
        else:
            self.held.update(logs or {})

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C, obeyed before the next call of the compiled function, which takes several steps.

    A KeyboardInterrupt that Python raises wherever it happens to be can fall into a finalizer
    inside `fit`, where it is dropped and training goes on. So the signal is noted, and raised from
    here; a second one is raised at once.
    """

    def __init__(self):
        super().__init__()
        self.noted = False

    def __enter__(self):
        self.before = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, number, frame):
        if self.noted:
            raise KeyboardInterrupt
        self.noted = True

    def check(self, *_, **__):
        if self.noted:
            raise KeyboardInterrupt

    # not the ends of batches: Keras would then wait for each step's figures
    on_epoch_begin = on_train_batch_begin = on_test_batch_begin = check


class Progress(keras.callbacks.Callback):
    """A line an epoch. notice: called with it."""

    def __init__(self, trainer, notice):
        super().__init__()
        self.trainer, self.notice = trainer, notice

    def on_epoch_begin(self, epoch, logs=None):
        self.start = self.shown = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.start
        recipe = self.trainer.plan.recipe
        left = self._left(epoch, seconds)
        line = (
            f"epoch {epoch + 1:>3}/{recipe.epochs}  loss {logs['loss']:.4f}  "
            f"accuracy {logs['accuracy']:.4f}  val_loss {logs['val_loss']:.4f}  "
            f"val_accuracy {logs['val_accuracy']:.4f}  rate {logs['learning_rate']:.3g}  "
            f"{seconds:.1f} s  left {clock(left)}"
        )
        self.notice("  ".join([line, *phases.names_of(recipe, epoch)]))

    def _left(self, epoch, seconds):
        """Seconds until the last epoch ends, at the pace of this one and the four before it.

        seconds: that `epoch`, 0 the first, took.
        """
        recipe = self.trainer.plan.recipe
        past = [row["seconds"] for row in self.trainer.history[-4:]] + [seconds]
        work = [phases.work_of(recipe, e) for e in range(recipe.epochs)]
        done, to_do = work[epoch + 1 - len(past) : epoch + 1], work[epoch + 1 :]
        return sum(to_do) * sum(past) / sum(done)


class LiveProgress(Progress):
    """Also a line that counts the steps, for a terminal: notice.live draws it, the next replaces
    it. It fits into notice.columns."""

    # from a thread of Keras' own, where the backend has it, so that no step waits for its figures
    async_safe = True

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.training = True

    def on_train_batch_end(self, batch, logs=None):
        if self.training and time.perf_counter() - self.shown > LIVE_SECONDS:
            self.shown = time.perf_counter()
            steps = self.trainer.plan.steps_per_epoch
            done = min(
                batch + 1, steps
            )  # several steps a call: Keras names the last of a whole call
            left = (self.shown - self.start) / done * (steps - done)
            epoch, recipe = len(self.trainer.history), self.trainer.plan.recipe
            rate = self.trainer.rate_at(epoch, done - 1)
            names = [name.partition(" (")[0] for name in phases.names_of(recipe, epoch)]
            self._show(
                done / steps,
                (f"accuracy {float(logs['accuracy']):.4f}", 1),
                (f"loss {float(logs['loss']):.4f}", 5),
                (f"rate {rate:.2g}", 3),
                (f"step {done}/{steps}", 6),
                (f"left {clock(left)}", 2),
                (", ".join(names), 4),
            )

    def on_test_begin(self, logs=None):
        self.training = False  # a step whose figures come late is not shown any more
        self._show(1.0, ("validating ...", 1))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if self.trainer.plan.sets_after(epoch + 1) > 1:
            self._show(1.0, ("averaging weights ...", 1))

    def _show(self, share, *parts):
        """Draw the line of the epoch under way. share: of its steps that are done, 0 to 1."""
        epoch, epochs = len(self.trainer.history) + 1, self.trainer.plan.recipe.epochs
        columns = getattr(self.notice, "columns", 80) - 1
        self.notice.live(chosen([(f"epoch {epoch}/{epochs}", 0), *parts], columns, share))


def progress_of(trainer, notice) -> Progress:
    """The callback that suits `notice`, which has `live` where it writes to a terminal."""
    return (LiveProgress if hasattr(notice, "live") else Progress)(trainer, notice)


def tensorboard(folder) -> keras.callbacks.Callback:
    """Keras' callback that writes TensorBoard's logs. InputError where it cannot."""
    try:
        import tensorboard  # noqa: F401
        import tensorflow  # noqa: F401  (Keras' callback writes through tf.summary on every backend)
    except ImportError as error:
        hint = paths.install_hint("tensorboard")
        raise InputError(f"tensorboard: {error.name} is not installed: {hint}") from None
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise InputError(f"tensorboard {folder}: cannot be written ({reason(error)})") from None
    return keras.callbacks.TensorBoard(folder, write_graph=False)
