"""A whole training as one compiled program, on JAX: nothing returns to Python before its end.

`Scanned` compiles an epoch's steps; here the loop over epochs is compiled too, a `jax.lax.scan` a
phase, so that a GPU never waits for the processor. There is no line an epoch, no state is written,
and Ctrl-C waits for the end: for trainings that take seconds.

The steps, their order and their random numbers are those of `Trainer.run_epoch`.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
from keras import ops

from .. import backend
from ..errors import InputError
from ..recipe import Recipe
from . import averaging
from .scanned import Scanned
from .trainer import MANY_TO_VALIDATE, Trainer

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


def refuse(recipe: Recipe) -> None:
    """InputError where such a training cannot be one program."""
    if not backend.is_jax():
        raise InputError(
            "`one_program`: needs KERAS_BACKEND=jax, which compiles loops; a training on this "
            "backend goes epoch by epoch"
        )
    between = {
        "augmentation_engine": recipe.augmentation_engine != "compiled",
        "augmentation": recipe.augmentation.mixes,
        "swa_share": recipe.swa_cycles > 0,
        "patience": recipe.patience,
        "head_epochs": recipe.head_epochs,
    }
    found = [name for name, whether in between.items() if whether]
    if found:
        raise InputError(
            f"`one_program`: recipe field {found[0]} asks for work between epochs, so this recipe "
            "trains epoch by epoch"
        )


class OneProgram:
    """The epochs of a trainer that was not begun, as one program.

    Raises InputError where they cannot be one, see `refuse`.
    """

    def __init__(self, trainer: Trainer):
        refuse(trainer.plan.recipe)
        self.trainer, self.variables = trainer, trainer._variables()
        self._place = {id(v): i for i, v in enumerate(self.variables)}
        self.program: Any = None

    def compile(self) -> None:
        """Compile it, in its compile_seconds; nothing runs."""
        import jax

        start = time.perf_counter()
        self._given = self._arguments()
        self.program = jax.jit(self._whole, donate_argnums=0).lower(*self._given).compile()
        self.trainer.compile_seconds += time.perf_counter() - start

    def run(self) -> list[dict]:
        """Train: the history, of which each epoch has the same share of the seconds.

        Raises InputError where training diverged.
        """
        trainer, start = self.trainer, time.perf_counter()
        if self.program is None:
            self.compile()
            start = time.perf_counter()
        values, kept, found = self.program(*self._given)
        figures = {name: np.asarray(found[name], "float64") for name in FIGURES}
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        seconds = (time.perf_counter() - start + trainer.initial_seconds) / len(figures["loss"])
        rows = []
        for epoch in range(len(figures["loss"])):
            told = {name: float(figures[name][epoch]) for name in FIGURES}
            rate = trainer.rate_at(epoch + 1, 0)
            rows.append({"epoch": epoch + 1, **told, "learning_rate": rate, "seconds": seconds})
        self._refuse_divergence(rows)
        trainer.history = rows
        if trainer.plan.recipe.keep == "best":
            trainer.kept = [np.asarray(value) for value in kept]
        return rows

    def _refuse_divergence(self, rows: list[dict]) -> None:
        trainer = self.trainer
        finite = all(np.isfinite(w).all() for w in trainer.network.get_weights())
        for row in rows:
            losses = row["loss"], row["val_loss"]
            if not all(map(math.isfinite, losses)) or (row is rows[-1] and not finite):
                raise InputError(
                    f"training diverged: loss {losses[0]}, validation loss {losses[1]} in epoch "
                    f"{row['epoch']}; lower the recipe's learning_rate "
                    f"({trainer.plan.recipe.learning_rate})"
                )

    def _arguments(self) -> tuple:
        trainer = self.trainer
        epochs = range(trainer.plan.recipe.epochs)
        orders = np.stack([np.asarray(trainer.order(epoch), "int32") for epoch in epochs])
        values = [ops.copy(v.value) for v in self.variables]
        targets, one_hot = map(ops.convert_to_tensor, (trainer.targets, trainer.one_hot))
        # passed, not constants, so that another seed's program is found in JAX' cache
        held_out = np.asarray(trainer.plan.val_indices, "int32")
        return values, trainer.lookup.images.value, targets, one_hot, orders, held_out

    # --- the program ---

    def _whole(self, values, images, targets, one_hot, orders, held_out):
        import jax
        import jax.numpy as jnp

        trainer, found = self.trainer, []
        kept = [values[self._place[id(w)]] for w in trainer.network.weights]
        best = jnp.float32(-1), jnp.float32(jnp.inf)
        carry = values, kept, best
        epochs = range(trainer.plan.recipe.epochs)
        for phase, group in itertools.groupby(epochs, trainer.phase_of):
            span = list(group)
            scanned = trainer.scanned[phase]

            def body(carry, given, scanned=scanned):
                values, kept, best = carry
                epoch, order = given
                values, told = self._epoch(
                    scanned, values, epoch, order, (images, targets, one_hot, held_out)
                )
                kept, best = self._better(values, kept, best, told)
                return (values, kept, best), told

            first, last = span[0], span[-1] + 1
            carry, told = jax.lax.scan(body, carry, (jnp.arange(first, last), orders[first:last]))
            found.append(told)
        together = {name: jnp.concatenate([told[name] for told in found]) for name in FIGURES}
        return carry[0], carry[1], together

    def _epoch(self, scanned: Scanned, values, epoch, order, data):
        """(values, {figure: value}) after one epoch and its validation."""
        images, targets, one_hot, held_out = data
        trainer = self.trainer
        *parts, metrics = scanned._train_variables()
        state = [[values[self._place[id(v)]] for v in part] for part in parts]
        if trainer.augment:
            counter = trainer.augment.epoch
            place = [v is counter for v in parts[1]].index(True)
            state[1][place] = ops.cast(epoch, counter.dtype)
        fresh = [ops.zeros_like(v.value) for v in metrics]
        logs, state = self._steps(
            scanned._training, (*state, fresh), order, scanned.batch_size, images, targets
        )
        told = {name: ops.cast(logs[name], "float32") for name in FIGURES[:2]}
        if not trainer.settles:
            state = self._settled(scanned, state, order, images)

        def test(state, images, targets, rows):
            return scanned._testing(state, trainable, fixed, images, targets, rows)

        trainable, fixed, *_ = state
        size = scanned.validation_batch
        logs, _ = self._steps(test, fresh, held_out, size, images, one_hot)
        told |= {f"val_{name}": ops.cast(logs[name], "float32") for name in FIGURES[:2]}
        values = list(values)
        for part, after in zip(parts, state, strict=False):
            for variable, value in zip(part, after, strict=True):
                values[self._place[id(variable)]] = value
        return values, told

    def _settled(self, scanned: Scanned, state, order, images):
        """The state with the moving statistics of batch normalisation taken anew."""
        trainable, fixed, *others = state
        norms = averaging.learning_norms(self.trainer.network)
        indices = order[: averaging.STATISTICS_IMAGES]
        size = min(averaging.settling_size(self.trainer), len(indices))
        if norms:
            rows = indices[: len(indices) // size * size].reshape(-1, size)
            counts = np.arange(len(rows), dtype="float32")
            fixed = scanned._renewing(norms, fixed, trainable, images, counts, rows)
        return trainable, fixed, *others

    @staticmethod
    def _steps(program, state, indices, size, images, targets):
        """Batches of `size` images in one loop, then the rest: (figures, state)."""
        whole, logs = len(indices) // size * size, {}
        if whole:
            logs, state = program(state, images, targets, indices[:whole].reshape(-1, size))
        if len(indices) > whole:
            logs, state = program(state, images, targets, indices[whole:][None])
        return logs, state

    def _better(self, values, kept, best, told):
        """The weights of the best epoch so far, as Trainer.best has it, and its figures."""
        import jax.numpy as jnp

        trainer = self.trainer
        if trainer.plan.recipe.keep != "best":
            return kept, best
        accuracy, loss = told["val_accuracy"], told["val_loss"]
        better = accuracy > best[0]
        if len(trainer.plan.val_indices) < MANY_TO_VALIDATE:
            better |= (accuracy == best[0]) & (loss < best[1])
        now = [values[self._place[id(w)]] for w in trainer.network.weights]
        kept = [jnp.where(better, a, b) for a, b in zip(now, kept, strict=True)]
        return kept, (jnp.where(better, accuracy, best[0]), jnp.where(better, loss, best[1]))
