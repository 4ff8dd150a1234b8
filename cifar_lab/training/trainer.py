"""Trainer: a planned network on its data set, an epoch at a time, on every backend.

The data set lies on the device as uint8; training is fed indices, in an order that is a function of
seed and epoch, and a lookup layer in front of the bare network turns them into pixels. A data set
that is too large for that is streamed: training is fed the pixels, in the same order.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import keras
import numpy as np
from keras import layers, ops

from .. import backend, networks, schema
from ..data.on_disk import only
from ..errors import InputError, reason
from ..history import FIELDS
from ..phases import Phase
from . import (
    averaging,
    connections,
    fused,
    generated,
    initialisation,
    losses,
    mirrored,
    mixing,
    optimizers,
    sharpness,
    state,
    streamed,
    transfer,
)
from .augment import Augment
from .plan import Plan
from .progress import OneRun, progress_of
from .scanned import Scanned

VALIDATION_BATCH = 500


class DatasetLookup(layers.Layer):
    """Indices -> images, out of an array that stays on the device.

    images: uint8 (N, height, width, channels). Call: int32 (batch,) -> float32 (batch, height,
    width, channels), 0-255. The array is a variable that no state file and no saved model
    contains.
    """

    def __init__(self, images, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.images = self.add_weight(
            shape=images.shape,
            dtype="uint8",
            # made of the images: zeros to assign them to would take the same memory again
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(images, dtype),
            trainable=False,
            name="images",
        )

    def call(self, indices):
        return ops.cast(ops.take(self.images, indices, axis=0), "float32")


class Pixels(layers.Layer):
    """Images as a data set holds them -> as networks take them: uint8 -> float32, 0-255."""

    def call(self, images):
        return ops.cast(images, "float32")


@contextlib.contextmanager
def dtype_policy(policy: str) -> Iterator[None]:
    """The global dtype policy within a `with`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


MANY_TO_VALIDATE = 1000  # images that tell one epoch from another


class Trainer:
    """The wrapper graph around a plan's network, its optimizer, and the epochs done so far.

    Attributes:
        plan: a Plan.
        core: the bare network that trains, keras.Model; its layers may be `fused` ones.
        network: the same behind what standardises raw pixels, where ImageDataGenerator does; else
            core itself.
        generated: a Generated, where ImageDataGenerator draws the images; else None.
        model: the compiled graph from indices to probabilities; where images are streamed, from
            pixels (and indices); where ImageDataGenerator draws them, from its images. models has
            one for each Phase.
        scanned: a Scanned for each Phase; empty where Keras' `fit` trains.
        settles: whether an epoch has steps enough for the moving statistics of batch normalisation
            to follow the weights; where not, they are taken anew at its end.
        history: a dict an epoch, see history.FIELDS.
        begun: a line on the weights that it began with, or "".
        kept: the weights to be saved, where they are not the last: those of the best epoch, or the
            mean so far; else None.
        compile_seconds: spent on compilation so far.
    """

    def __init__(self, plan: Plan):
        with plan.parallel.scope() if plan.parallel else contextlib.nullcontext():
            self._build(plan)

    def _build(self, plan: Plan) -> None:
        self.plan, recipe, dataset = plan, plan.recipe, plan.dataset
        keras.utils.set_random_seed(plan.seed)
        with dtype_policy(plan.precision):
            network = plan.build()
            networks.require_memory(network, min(recipe.batch_size, len(plan.train_indices)))
            if recipe.drop_connect:
                network = connections.dropped(network, recipe.drop_connect)
            self.core = fused.rebuilt(network) if plan.fused else network
            if plan.parallel and backend.is_tensorflow():
                mirrored.prepare(self.core, plan.parallel.words)
            start = time.perf_counter()
            generated.refuse_own_standardization(self.core, recipe)
            if recipe.initializer:
                initialisation.draw(self.core, recipe.initializer, plan.seed)
            initialisation.standardize(self.core, only(dataset.train_images, plan.train_indices))
            if recipe.whitening:
                shuffled = np.random.default_rng(plan.seed).permutation(plan.train_indices)
                initialisation.whiten(self.core, only(dataset.train_images, shuffled[:5000]))
            if recipe.dirac:
                initialisation.dirac(self.core)
            self.begun = ""
            if recipe.start:
                self.begun = transfer.begin(self.core, recipe, dataset.classes)
            self.lookup: DatasetLookup | None = None
            self.augment: Augment | None = None
            self.generated: generated.Generated | None = None
            self.network = self.core
            if recipe.augmentation_engine != "compiled":
                self.generated = generated.Generated(plan)
                self.network = self.generated.prefixed(self.core)
            self.initial_seconds = time.perf_counter() - start  # part of the first epoch's
            self.mix: mixing.Mix | None = None
            if not self.generated:
                size = len(dataset.train_labels)
                if plan.streamed:
                    streamed.start()
                else:
                    images = dataset.train_images
                    self.lookup = DatasetLookup(images, name="lookup", dtype="float32")
                if recipe.augmentation.as_dict():
                    self.augment = Augment(recipe.augmentation, size, plan.seed, name="augment")
                if recipe.augmentation.mixes:
                    self.mix = mixing.Mix(size, name="mix")
        self.settles = plan.steps_per_epoch >= averaging.settling_steps(self.network)
        self._fine = transfer.layers_of_fine_tuning(self.core)
        self._early = transfer.layers_that_freeze(self.core, recipe)
        steps = plan.steps_per_epoch * recipe.epochs
        self.model = self._training_model(Phase(), optimizers.build(recipe, steps, plan.precision))
        self.model.optimizer.build(self.model.trainable_variables)
        self.head_optimizer = None
        if recipe.head_epochs:
            self._train(Phase(head_alone=True))
            self.head_optimizer = optimizers.build(recipe, steps, plan.precision, head=True)
            self.head_optimizer.build(self.model.trainable_variables)
        # the same layers and the same optimizer, behind smaller images or in another step
        self.models = {Phase(): self.model}
        for phase in plan.phases:
            if phase not in self.models:
                optimizer = self.head_optimizer if phase.head_alone else self.model.optimizer
                self.models[phase] = self._training_model(phase, optimizer)
        self.scanned = self._scanned() if plan.scanned else {}
        self.history: list[dict] = []
        self.kept: list | None = None
        self.compile_seconds = 0.0
        self._compiled: set[Phase] = set()

    @functools.cached_property
    def one_hot(self) -> np.ndarray:
        """The classes of all train images: float32 (N, classes)."""
        return self.plan.one_hot_of(slice(None))

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """As Plan.targets."""
        return self.plan.targets

    def _train(self, phase: Phase) -> None:
        """Let the layers learn that learn in a phase."""
        for layer in self._fine if self.plan.recipe.head_epochs else self._early:
            layer.trainable = not (phase.head_alone or phase.frozen and layer in self._early)

    def _training_model(self, phase: Phase, optimizer) -> keras.Model:
        plan, recipe = self.plan, self.plan.recipe
        with dtype_policy(plan.precision):
            network = self.core
            if self.generated:
                images = given = keras.Input(recipe.input_shape, dtype="float32", name="image")
            else:
                index = given = keras.Input((), dtype="int32", name="index")
                if self.lookup:
                    images = self.lookup(index)
                else:
                    pixels = keras.Input(recipe.input_shape, dtype="uint8", name="pixels")
                    given = {"index": index, "pixels": pixels} if self._indexed else pixels
                    images = Pixels(name="lookup", dtype="float32")(pixels)
                if self.augment:
                    images = self.augment(images, index)
                if self.mix:
                    images = self.mix(images, index)
            if phase.side:
                images = fused.resizing(phase.side, plan.fused)(images)
                network = self._network_for(phase.side)
            kind = sharpness.SharpnessAware if phase.sharpness_aware else keras.Model
            # under the policy too: Keras scales the loss of a model that is itself mixed_float16
            model = kind(given, network(images), name="training")
            model.radius = recipe.sharpness_radius
        model.compile(
            optimizer,
            losses.build(recipe),
            metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
            steps_per_execution=plan.steps_per_execution,
            jit_compile=False if plan.parallel or backend.is_tensorflow_on_cpu() else "auto",
        )
        return model

    @property
    def _indexed(self) -> bool:
        """Whether streamed batches say which images they are of."""
        return bool(self.augment or self.mix)

    def _scanned(self) -> dict[Phase, Scanned]:
        targets, one_hot = map(self._on_devices, (self.targets, self.one_hot))
        batch_size, found = self.plan.recipe.batch_size, {}
        kind = Scanned if backend.is_jax() else mirrored.Mirrored
        for phase, model in self.models.items():
            self._train(phase)
            found[phase] = kind(
                model,
                self.lookup.images,
                targets,
                one_hot,
                batch_size=batch_size,
                validation_batch=VALIDATION_BATCH,
                images_per_call=self.plan.steps_per_execution * batch_size,
                parallel=self.plan.parallel,
            )
        return found

    def _on_devices(self, array: np.ndarray):
        """An array where training takes it from."""
        parallel = self.plan.parallel
        return parallel.everywhere(array) if parallel else ops.convert_to_tensor(array)

    def _network_for(self, side: int) -> keras.Model:
        """The layers of the network behind an input of side x side pixels."""
        recipe = self.plan.recipe
        inputs = keras.Input((side, side, recipe.input_shape[2]))
        try:
            return keras.models.clone_model(
                self.core, input_tensors=inputs, clone_function=lambda layer: layer
            )
        except ValueError as error:
            raise InputError(
                f"recipe field small_images: {recipe.builder_name} does not take {side} x {side} "
                f"pixels with the weights of {recipe.input_shape} ({reason(error)[:120]})"
            ) from None

    def phase_of(self, epoch: int) -> Phase:
        """The Phase of an epoch, 0 the first; beyond the recipe's own, of its last."""
        phases = self.plan.phases
        return phases[min(epoch, len(phases) - 1)]

    def model_of(self, epoch: int) -> keras.Model:
        """The training model of an epoch, as `phase_of` counts them."""
        return self.models[self.phase_of(epoch)]

    @property
    def stopped(self) -> bool:
        """Whether a callback asked for the end."""
        return any(model.stop_training for model in self.models.values())

    @property
    def done(self) -> bool:
        """Whether all epochs are trained, or no more are worth it."""
        return len(self.history) >= self.plan.recipe.epochs or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` epochs, where the recipe has some, were none the best."""
        patience = self.plan.recipe.patience
        if not (patience and self.history):
            return False
        return len(self.history) - self.best(self.history)["epoch"] >= patience

    def _variables(self) -> list:
        """All that a later epoch depends on: weights, seed generators, and the optimizer's own."""
        given = [self.lookup.images] if self.lookup else []
        given += [self.mix.table] if self.mix else []
        mine = [v for v in self.model.variables if all(v is not other for other in given)]
        seen = {id(v) for v in mine}
        theirs = list(self.model.optimizer.variables)
        theirs += self.head_optimizer.variables if self.head_optimizer else []
        return mine + [v for v in theirs if id(v) not in seen]

    def values(self) -> list[np.ndarray]:
        """A copy of all that a later epoch depends on."""
        return [ops.convert_to_numpy(v.value).copy() for v in self._variables()]

    def assign(self, values: list[np.ndarray]) -> None:
        """Take up what `values` gave. ValueError where the shapes are another network's."""
        variables = self._variables()
        if [tuple(v.shape) for v in variables] != [v.shape for v in values]:
            raise ValueError("values: must have the shapes of this network's variables")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    @property
    def compiled(self) -> bool:
        """Whether the next epoch finds its steps compiled."""
        return self.phase_of(len(self.history)) in self._compiled

    def compile_step(self) -> None:
        """Run one short epoch of the next one's kind, so that it finds its steps compiled, and put
        everything back. An epoch of another kind compiles its own before it begins: nobody waits
        for all of them at the start."""
        if self.compiled:
            return
        start, before, plan = time.perf_counter(), self.values(), self.plan
        batch, count = plan.recipe.batch_size, len(plan.train_indices)
        phase = self.phase_of(len(self.history))
        if self.scanned:  # a whole epoch's programs; what runs is the last batch, if it is less
            self._train(phase)
            self.scanned[phase].compile(plan.train_indices, plan.val_indices)
            averaging.compile_renewals(self, phase)
            size = count % batch
        else:
            size = min(count, batch + count % batch)
        held_out = len(plan.val_indices)  # a whole batch of it, and the last
        held_out = min(held_out, VALIDATION_BATCH + held_out % VALIDATION_BATCH)
        self.fit(plan.train_indices[:size], 0, None, phase=phase, validate=held_out)
        self._learning_rate(len(self.history))  # JAX compiles a schedule's dozen operations too
        self.assign(before)
        self._compiled.add(phase)
        self.compile_seconds += time.perf_counter() - start

    def fit(self, order, epoch: int, callbacks, validate: bool | int = True, phase=None):
        """One pass of Keras' `fit`, or what is equal to it, over the images of these indices, int32
        (N,), in this order: its History.

        validate: whether it then validates, or on how many of the validation images. phase: by
        default that of the epoch.
        """
        phase = phase or self.phase_of(epoch)
        self._train(phase)
        model = self.models[phase]
        if callbacks is not None and callbacks.model is not model:
            callbacks.set_model(model)
        targets = self._mixed(order, epoch) if self.mix else None
        if self.scanned:
            held_out = self.plan.val_indices if validate else None
            if self.mix:
                self.scanned[phase].exchange_targets(targets)
            return self.scanned[phase].fit(order, epoch, callbacks, held_out)
        with contextlib.ExitStack() as opened:
            given = self._given(order, epoch, targets, opened)
            if validate:
                held_out = self._held_out(opened, None if validate is True else validate)
                pairs = (held_out["x"], held_out["y"]) if "y" in held_out else held_out["x"]
                size = held_out.get("batch_size")
                given.update(validation_data=pairs, validation_batch_size=size)
            return model.fit(
                **given,
                shuffle=False,
                verbose=0,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=callbacks,
            )

    def _given(self, order, epoch: int, targets, opened: contextlib.ExitStack) -> dict:
        """The images of these indices, as Keras' `fit` takes them. targets: of all, where they are
        the epoch's own; else None. opened: what is in use until its end."""
        plan = self.plan
        if self.generated:
            opened.enter_context(generated.numpys_state())
            return self.generated.epoch(order, epoch)
        if plan.streamed:
            of = plan.targets_of if targets is None else targets.__getitem__
            return {"x": self._feed(order, plan.recipe.batch_size, of, opened)}
        targets = self.targets if targets is None else targets
        return backend.batched(order, targets[order], plan.recipe.batch_size)

    def _feed(self, order, size: int, targets, opened: contextlib.ExitStack):
        images = self.plan.dataset.train_images
        feed = streamed.Feed(images, order, size, targets, self._indexed)
        return opened.enter_context(feed).given()

    def _mixed(self, order, epoch: int) -> np.ndarray:
        """Let the images be mixed as an epoch's are, and give their targets, float32 (N,
        classes)."""
        recipe = self.plan.recipe
        seed = self.plan.seed, epoch, 1  # `Plan.order` has the first two
        table, targets = mixing.drawn(
            recipe.augmentation,
            order,
            recipe.batch_size,
            self.targets,
            recipe.input_shape[:2],
            seed,
        )
        self.mix.table.assign(table)
        return targets

    def _held_out(self, opened: contextlib.ExitStack, count: int | None = None) -> dict:
        """The validation part, or the first of it, as Keras' `fit` and `evaluate` take it. opened:
        what is in use until its end."""
        indices = self.plan.val_indices[:count]
        if self.plan.streamed:
            return {"x": self._feed(indices, VALIDATION_BATCH, self.plan.one_hot_of, opened)}
        given = self.generated.held_out()[:count] if self.generated else indices
        return backend.batched(given, self.one_hot[indices], VALIDATION_BATCH)

    def seen(self, indices: np.ndarray, epoch: int):
        """What the training model is given for train images, int32 (N,), in an epoch: an array, or
        a dict of arrays."""
        if self.plan.streamed:
            images = self.plan.dataset.train_images
            feed = streamed.Feed(images, indices, len(indices), self.plan.one_hot_of, self._indexed)
            return feed.batch(0)[0]
        return self.generated.drawn(indices, epoch) if self.generated else indices

    def validate(self, epoch: int) -> dict[str, float]:
        """{"loss", "accuracy"} on the validation part, at the size of an epoch's images."""
        if self.scanned:
            return self.scanned[self.phase_of(epoch)].evaluate(self.plan.val_indices)
        model = self.model_of(epoch)
        with contextlib.ExitStack() as opened:
            return model.evaluate(**self._held_out(opened), verbose=0, return_dict=True)

    def watchers(self, notice, *more) -> OneRun:
        """The callbacks of a training: History, progress, and `more`; begin() and end() are the
        caller's."""
        watching = [keras.callbacks.History(), progress_of(self, notice), *more]
        epochs, steps = self.plan.recipe.epochs, self.plan.steps_per_epoch
        watchers = OneRun(watching, model=self.model, verbose=0, epochs=epochs, steps=steps)
        watchers.rate = self._learning_rate
        return watchers

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the train part in the order of an epoch, 0 the first: int32 (N,)."""
        return self.plan.order(epoch)

    def run_epoch(self, callbacks=None) -> dict:
        """Train the next epoch, validate, and add a row to the history, which is returned.

        Raises InputError where training diverged.
        """
        self.compile_step()
        epoch, start, recipe = len(self.history), time.perf_counter(), self.plan.recipe
        if self.augment:
            self.augment.epoch.assign(epoch)
        if self.settles:
            history = self.fit(self.order(epoch), epoch, callbacks).history
            found = {name: history[name][-1] for name in FIELDS[1:5]}
        else:
            found = self._fit_and_settle(epoch, callbacks)
        rate = self._learning_rate(epoch)
        row = {"epoch": epoch + 1, **{name: float(found[name]) for name in FIELDS[1:5]}}
        row["learning_rate"] = rate
        # the weights too: kernels that take a maximum, or the loss that is clipped, can hide a NaN
        losses = row["loss"], row["val_loss"]
        finite = all(np.isfinite(w).all() for w in self.network.get_weights())
        if not (finite and all(map(math.isfinite, losses))):
            raise InputError(
                f"training diverged: loss {losses[0]}, validation loss {losses[1]} in epoch "
                f"{epoch + 1}; lower the recipe's learning_rate ({recipe.learning_rate})"
            )
        if recipe.keep == "best" and self.best([*self.history, row]) is row:
            self.kept = self.network.get_weights()
        if self.plan.sets_after(epoch + 1):
            row.update(averaging.take_mean(self, epoch))
        seconds = time.perf_counter() - start
        row["seconds"] = seconds + (0 if self.history else self.initial_seconds)
        self.history.append(row)
        return row

    def _fit_and_settle(self, epoch: int, callbacks) -> dict:
        """Train an epoch, renew the statistics, validate: {name: figure}."""
        if callbacks is None:
            callbacks = OneRun([keras.callbacks.History()], model=self.model)
            callbacks.begin()
        callbacks.held = {}
        order = self.order(epoch)
        self.fit(order, epoch, callbacks, validate=False)
        found, callbacks.held = callbacks.held, None
        indices = order[: averaging.STATISTICS_IMAGES]
        averaging.renew_statistics(self, epoch, indices, averaging.settling_size(self))
        figures = self.validate(epoch)
        found.update({f"val_{name}": value for name, value in figures.items()})
        callbacks.on_epoch_end(epoch, dict(found))
        return found

    def _learning_rate(self, epoch: int) -> float:
        return float(ops.convert_to_numpy(self.model_of(epoch).optimizer.learning_rate))

    def rate_at(self, epoch: int, step: int) -> float:
        """The learning rate of a step of an epoch, both 0 the first, by the recipe alone: nothing
        waits for the optimizer, and any thread may ask."""
        recipe, steps = self.plan.recipe, self.plan.steps_per_epoch
        head = epoch < recipe.head_epochs
        rate = optimizers.rate_of(recipe, steps * recipe.epochs, head)
        if not callable(rate):
            return float(rate)
        done = (epoch - (0 if head else recipe.head_epochs)) * steps + step
        return float(ops.convert_to_numpy(rate(done)))

    def best(self, rows: list[dict]) -> dict:
        """The row of the highest validation accuracy; of equals the first, or where few images
        validate, so that many epochs are equal, the one of the lowest validation loss."""
        if len(self.plan.val_indices) >= MANY_TO_VALIDATE:
            return max(rows, key=lambda row: row["val_accuracy"])
        return max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))

    def chosen_epoch(self) -> dict:
        """The row of the history whose weights, or the mean up to which, are saved."""
        if self.plan.recipe.keep == "best":
            return self.best(self.history)
        averaged = [row for row in self.history if self.plan.sets_after(row["epoch"])]
        return (averaged or self.history)[-1]

    def bare_network(self) -> keras.Model:
        """The network to be saved: float32, uncompiled, with the chosen weights.

        A layer that computed in 16 bits has its kernel as it computed with it, rounded to them (the
        optimizer's has 32): nothing is lost, and the saved file packs into half the size.
        """
        with dtype_policy("float32"):
            network = self.plan.build()
            if self.generated:
                network = self.generated.prefixed(network)
        network.set_weights(self.network.get_weights() if self.kept is None else self.kept)
        # layer by layer in order: those without a name of their own are called otherwise here
        for layer, trained in zip(network.layers, self.network.layers, strict=True):
            dtype = getattr(trained, "compute_dtype", None)
            for variable in getattr(layer, "weights", ()):
                if variable.name in ("kernel", "depthwise_kernel"):
                    variable.assign(ops.cast(ops.cast(variable, dtype), "float32"))
        return network

    def save_state(self, path: Path, run: dict) -> None:
        """Write all that a later epoch depends on, whole or not at all. run: what identifies it."""
        seconds = self.compile_seconds
        meta = {"run": run, "history": self.history, "compile_seconds": seconds}
        state.write(path, meta, self.values(), self.kept or [])

    def load_state(self, path: Path | IO[bytes]) -> None:
        """Take up what `save_state` wrote, once all of it is known to be of this training.

        Raises InputError where the file is damaged or does not fit; nothing is changed then.
        """
        meta, values, kept = state.read(path)
        try:
            self._check_state(meta["history"], values, kept)
        except schema.Wrong as error:
            raise InputError(
                f"{path}: the state is not of this network and training: {error}{state.HINT}"
            ) from None
        self.assign(values)
        self.history, self.kept = meta["history"], kept or None
        self.compile_seconds = meta["compile_seconds"]

    def _check_state(self, history: list[dict], values: list, kept: list) -> None:
        """Raise schema.Wrong for a state that this training would not have written."""
        recipe, done = self.plan.recipe, len(history)
        if done > recipe.epochs:
            raise schema.Wrong(f"history must have at most {recipe.epochs} epochs, has {done}")
        state.check(values, self.values(), "values")
        variables = self._variables()
        weights = {id(v) for v in self.network.weights}
        of_network = [a for v, a in zip(variables, values, strict=True) if id(v) in weights]
        state.check_finite(of_network, "values")
        steps = done * self.plan.steps_per_epoch
        for optimizer in filter(None, (self.model.optimizer, self.head_optimizer)):
            for i, variable in enumerate(variables):
                if variable is optimizer.iterations and not 0 <= values[i] <= steps:
                    raise schema.Wrong(
                        f"values: array {i} counts the optimizer's steps, must be from 0 to "
                        f"{steps} after {done} epochs, is {int(values[i])}"
                    )
        wanted = self.network.get_weights() if self._keeps_after(done) else []
        state.check(kept, wanted, "kept weights")
        state.check_finite(kept, "kept weights")

    def _keeps_after(self, epochs: int) -> bool:
        """Whether weights beside the last are kept after so many epochs."""
        if self.plan.recipe.keep == "best":
            return epochs > 0
        return any(self.plan.sets_after(n) for n in range(1, epochs + 1))
