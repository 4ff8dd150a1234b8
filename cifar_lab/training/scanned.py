"""Epochs as compiled programs: on JAX, all the steps between two looks of the callbacks are one
call.

Keras takes each step of `fit` from Python on JAX, 1 to 3 ms, for which a GPU that needs 0.3 ms for
the step waits. Here the model's own stateless `train_step` is the body of a `jax.lax.scan` over the
indices of many batches (Keras' guide "Customizing what happens in `fit()` with JAX" documents the
step and its state).

The number of steps is part of a program: a loop whose end the GPU decides would make the host wait
for each step's decision, and so undo what is won here. Programs are compiled from shapes, before
they run, and are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops


class Scanned:
    """What `fit` and `evaluate` do for a training model, many steps a call. JAX only.

    Arguments:
        model: compiled keras.Model, int32 indices (batch,) -> probabilities.
        images: keras.Variable, the one of the model that holds the data set. It is an argument of
            every program and a constant of its loop: no step and no epoch copies it.
        targets, one_hot: float32 (N, classes) on the device, for training and for validation.
        batch_size, validation_batch: images of a step; the last of a pass takes what is left.
        images_per_call: that a program takes at most.
        parallel: a DataParallel among whose devices batches are divided, or None.
    """

    def __init__(
        self,
        model,
        images,
        targets,
        one_hot,
        *,
        batch_size,
        validation_batch,
        images_per_call,
        parallel=None,
    ):
        self.model, self.images, self.targets, self.one_hot = model, images, targets, one_hot
        self.parallel = parallel
        self.batch_size, self.validation_batch = batch_size, validation_batch
        self.images_per_call = images_per_call
        self._programs: dict[tuple, Callable] = {}
        # Keras makes the variables of compiled metrics when it first sees targets
        nothing = ops.zeros((1, targets.shape[1]))
        model.compute_metrics(None, nothing, nothing)
        model.reset_metrics()

    def exchange_targets(self, targets: np.ndarray) -> None:
        """Train towards others from here on: float32 (N, classes)."""
        several = self.parallel
        self.targets = several.everywhere(targets) if several else ops.convert_to_tensor(targets)

    def compile(self, order: np.ndarray, held_out: np.ndarray) -> None:
        """Compile what `fit` with these indices, int32 (N,), will call. Nothing runs."""
        for rows in self._calls(order, self.batch_size):
            self._train_program(rows)
        for rows in self._calls(held_out, self.validation_batch):
            self._test_program(rows)

    def fit(self, order, epoch: int, callbacks, held_out=None) -> keras.callbacks.History:
        """One pass over the images of these indices, int32 (N,), in this order; then validation on
        those of held_out, int32 (M,): as keras.Model.fit, but callbacks see a batch's beginning and
        end only where a call begins and ends."""
        model = self.model
        if callbacks is None:
            callbacks = keras.callbacks.CallbackList(add_history=True, model=model)
        model.stop_training = False
        callbacks.on_train_begin()
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        done, before = 0, {}
        for rows in self._calls(order, self.batch_size):
            callbacks.on_train_batch_begin(done)
            logs = self._train(rows)
            done += len(rows)
            callbacks.on_train_batch_end(done - 1, logs)
            if model.stop_training:
                break
            # one call ahead of the device, no more: Ctrl-C is obeyed between calls
            self._await(before)
            before = logs
        found = self._figures()
        if held_out is not None:
            figures = self.evaluate(held_out, callbacks)
            found.update({f"val_{name}": value for name, value in figures.items()})
        callbacks.on_epoch_end(epoch, found)
        callbacks.on_train_end(found)
        return model.history

    def evaluate(self, indices, callbacks=None) -> dict[str, float]:
        """{"loss", "accuracy"} on the images of these indices, int32 (N,)."""
        model = self.model
        if callbacks is None:
            callbacks = keras.callbacks.CallbackList(model=model)
        callbacks.on_test_begin()
        model.reset_metrics()
        done = 0
        for rows in self._calls(indices, self.validation_batch):
            callbacks.on_test_batch_begin(done)
            logs = self._test(rows)
            done += len(rows)
            callbacks.on_test_batch_end(done - 1, logs)
        found = self._figures()
        callbacks.on_test_end(found)
        return found

    def renew(self, norms: list, indices: np.ndarray, size: int) -> None:
        """Give batch normalisation the mean over batches of `size` images, whole ones, as its
        moving statistics. norms: the layers; indices: int32 (N,)."""
        done = 0
        for rows in self._calls(indices[: len(indices) // size * size], size):
            self._renew(norms, rows, done)
            done += len(rows)

    def compile_renewal(self, norms: list, indices: np.ndarray, size: int) -> None:
        """Compile what `renew` with these arguments will call. Nothing runs."""
        for rows in self._calls(indices[: len(indices) // size * size], size):
            self._renewal_program(norms, rows, 0)

    # --- calls ---

    def _calls(self, indices, size: int) -> Iterator[np.ndarray]:
        """int32 (steps, size) for each call, of about equally many steps, so that two programs at
        most are compiled; then (1, fewer) for the rest."""
        indices = np.asarray(indices, "int32")
        steps = len(indices) // size
        if steps:
            whole = indices[: steps * size].reshape(steps, size)
            yield from np.array_split(whole, -(-steps // max(1, self.images_per_call // size)))
        if len(indices) % size:
            yield indices[steps * size :][None]

    def _train(self, rows) -> dict:
        """Take these steps; {name: figure so far}, on the device."""
        program, state, fixed = self._train_program(rows)
        logs, state = program(state, *fixed)
        for variables, values in zip(self._train_variables(), state, strict=True):
            _write(variables, values)
        return logs

    def _test(self, rows) -> dict:
        """Test on these batches; {name: figure so far}, on the device."""
        program, state, fixed = self._test_program(rows)
        logs, after = program(state, *fixed)
        _write(self.model.metrics_variables, after)
        return logs

    def _renew(self, norms, rows, done: int) -> None:
        """Take these batches into the statistics of batch normalisation. done: batches before."""
        program, state, fixed = self._renewal_program(norms, rows, done)
        _write(self._fixed_variables(), program(state, *fixed))

    def _await(self, logs: dict) -> None:
        """Wait for the call that told these figures."""
        import jax

        jax.block_until_ready(logs)

    def _figures(self) -> dict[str, float]:
        found = self.model.get_metrics_result()
        return {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}

    # --- state ---

    def _fixed_variables(self) -> list:
        """Those that are not trained, without the images."""
        return [v for v in self.model.non_trainable_variables if v is not self.images]

    def _fixed(self) -> list:
        return _values(self._fixed_variables())

    def _train_variables(self) -> tuple[list, ...]:
        """In the order of a training step's state."""
        model = self.model
        fixed = self._fixed_variables()
        return (
            model.trainable_variables,
            fixed,
            model.optimizer.variables,
            model.metrics_variables,
        )

    def _with_images(self, fixed, images) -> list:
        """The values of all that is not trained, in Keras' order."""
        rest = iter(fixed)
        return [
            images if v is self.images else next(rest) for v in self.model.non_trainable_variables
        ]

    def _without_images(self, fixed) -> list:
        pairs = zip(self.model.non_trainable_variables, fixed, strict=True)
        return [value for v, value in pairs if v is not self.images]

    # --- programs ---

    def _compiled(self, name: str, function: Callable, arguments: tuple) -> Callable:
        """The program of a function, whose name stands for it, at these arguments' shapes: only the
        last one's differ from call to call. The memory of the first is given up to it."""
        import jax

        key = name, arguments[-1].shape
        if key not in self._programs:
            where = {"out_shardings": self.parallel.replicated} if self.parallel else {}
            jitted = jax.jit(function, donate_argnums=0, **where)
            self._programs[key] = jitted.lower(*arguments).compile()
        return self._programs[key]

    def _divided(self, indices):
        """The indices of a batch, divided among the devices where there are several."""
        return self.parallel.divided(indices) if self.parallel else indices

    def _train_program(self, rows) -> tuple:
        """(program, state, its other arguments)."""
        state = tuple(_values(variables) for variables in self._train_variables())
        fixed = self.images.value, self.targets, rows
        return self._compiled("train", self._training, (state, *fixed)), state, fixed

    def _test_program(self, rows) -> tuple:
        model = self.model
        state = _values(model.metrics_variables)
        weights = _values(model.trainable_variables), self._fixed()
        fixed = *weights, self.images.value, self.one_hot, rows
        return self._compiled("test", self._testing, (state, *fixed)), state, fixed

    def _renewal_program(self, norms, rows, done: int) -> tuple:
        """done: batches that the statistics are of already."""
        state, weights = self._fixed(), _values(self.model.trainable_variables)
        counts = np.arange(done, done + len(rows), dtype="float32")
        fixed = weights, self.images.value, counts, rows
        function = functools.partial(self._renewing, norms)
        return self._compiled("renewal", function, (state, *fixed)), state, fixed

    def _training(self, state, images, targets, rows):
        import jax

        def step(state, indices):
            trainable, fixed, *others = state
            indices = self._divided(indices)
            data = indices, ops.take(targets, indices, axis=0)
            state = trainable, self._with_images(fixed, images), *others
            logs, (trainable, fixed, *others) = self.model.train_step(state, data)
            state = trainable, self._without_images(fixed), *others
            return tuple(list(part) for part in state), logs

        state, logs = jax.lax.scan(step, state, rows)
        return _last(logs), state

    def _testing(self, metrics, trainable, fixed, images, targets, rows):
        import jax

        fixed = self._with_images(fixed, images)

        def step(metrics, indices):
            indices = self._divided(indices)
            data = indices, ops.take(targets, indices, axis=0)
            logs, (*_, metrics) = self.model.test_step((trainable, fixed, metrics), data)
            return list(metrics), logs

        metrics, logs = jax.lax.scan(step, metrics, rows)
        return _last(logs), metrics

    def _renewing(self, norms, fixed, trainable, images, counts, rows):
        import jax

        def step(fixed, given):
            indices, count = given
            for layer in norms:
                layer.momentum = count / (count + 1)
            _, fixed = self.model.stateless_call(
                trainable,
                self._with_images(fixed, images),
                self._divided(indices),
                training=True,
            )
            return self._without_images(fixed), None

        momenta = [layer.momentum for layer in norms]
        try:
            return jax.lax.scan(step, fixed, (rows, counts))[0]
        finally:
            for layer, momentum in zip(norms, momenta, strict=True):
                layer.momentum = momentum


def _values(variables) -> list:
    return [v.value for v in variables]


def _write(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _last(logs: dict) -> dict:
    return {name: values[-1] for name, values in logs.items()}
