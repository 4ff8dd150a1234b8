"""train(): the one path by which every rung is trained, on every backend.

The data set lies on the device as uint8; `fit` is fed indices, in an order that is a function of seed
and epoch, and a lookup layer in front of the bare network turns them into pixels. After each epoch
everything that a later epoch depends on goes into one state file, so that a killed run goes on exactly
where it was.
"""
import contextlib
import csv
import datetime
import io
import json
import math
import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from . import __version__, backend, bundles, data, evaluation, fused, initialisation, optimizers, recipes, reporting, sharpness
from .augment import Augment
from .errors import InputError, reason

VALIDATION_BATCH = 500
STATISTICS_IMAGES = 8192  # train images, augmented, from which a mean of weights has its normalisation's statistics
# learning_rate is that of the step to come; at the end of a cycle (swa_share) the validation figures are those of the mean
HISTORY_FIELDS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")


def steps_per_execution(batch_size, input_shape):
    """Steps that Keras' compiled function takes before it returns to Python: about 1,000 images of 32 x 32 pixels' worth
    on TensorFlow (what it buys is in docs/log.md), and 1 elsewhere, where Keras loops in Python all the same. Callbacks
    see a batch's beginning and end only so often, and so does Ctrl-C."""
    images = 1024 * 32 * 32 // (input_shape[0] * input_shape[1])
    return max(1, images // batch_size) if keras.backend.backend() == "tensorflow" else 1


class DatasetLookup(layers.Layer):
    """Indices -> images, out of an array that stays on the device.

    images: uint8 (N, height, width, channels). Call: int32 (batch,) -> float32 (batch, height, width,
    channels), 0-255. The array is a variable that no state file and no saved model contains.
    """

    def __init__(self, images, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.images = self.add_weight(shape=images.shape, dtype="uint8", initializer="zeros", trainable=False,
                                      name="images")
        self.images.assign(images)

    def call(self, indices):
        return ops.cast(ops.take(self.images, indices, axis=0), "float32")


class _OneRun(keras.callbacks.CallbackList):
    """Callbacks that see one training, though `fit` is called once an epoch."""

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()


class _Interrupt(keras.callbacks.Callback):
    """Ctrl-C, obeyed before the next call of the compiled function, which takes steps_per_execution steps.

    A KeyboardInterrupt that Python raises wherever it happens to be can fall into a finalizer inside
    `fit`, where it is dropped and training goes on. So the signal is noted, and raised from here; a
    second one is raised at once.
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


class Trainer:
    """A recipe's network on one data set: the wrapper graph, its optimizer and the epochs done so far.

    Args:
        recipe: recipes.Recipe.
        dataset: data.Dataset whose images have the recipe's input shape; the test split is not looked at.
        seed: decides the initial weights, the validation split, dropout, augmentation and the order of images.
    """

    def __init__(self, recipe, dataset, seed):
        self.recipe, self.dataset, self.seed = recipe, dataset, seed
        self.train_indices, self.val_indices = (
            part.astype("int32")
            for part in data.stratified_split(dataset.train_labels, recipe.validation_fraction, seed))
        self.one_hot = np.eye(len(dataset.classes), dtype="float32")[dataset.train_labels]
        self.precision = backend.precision(recipe)

        keras.utils.set_random_seed(seed)
        with _dtype_policy(self.precision):
            self.network = fused.rebuilt(recipes.build(recipe, len(dataset.classes)))
            start = time.perf_counter()
            if recipe.whitening:
                some = np.random.default_rng(seed).permutation(self.train_indices)[:5000]
                initialisation.whiten(self.network, dataset.train_images[some])
            if recipe.dirac:
                initialisation.dirac(self.network)
            self.initial_seconds = time.perf_counter() - start  # part of the first epoch's
            self.lookup = DatasetLookup(dataset.train_images, name="lookup", dtype="float32")
            self.augment = None
            if recipe.augmentation.as_dict():
                self.augment = Augment(recipe.augmentation, len(dataset.train_labels), seed, name="augment")
        optimizer = optimizers.build(recipe, self.steps_per_epoch * recipe.epochs, self.precision)
        self.model = self._training_model(None, optimizer)
        self.model.optimizer.build(self.model.trainable_variables)
        # the same layers and the same optimizer, behind smaller images or in another step
        self.models = {(None, False): self.model}  # by image side and whether sharpness-aware
        for phase in map(self._phase, range(recipe.epochs)):
            if phase not in self.models:
                self.models[phase] = self._training_model(phase[0], self.model.optimizer, phase[1])
        self.history = []  # a dict an epoch, see HISTORY_FIELDS
        self.kept = None  # the weights to be saved, where they are not the last: those of the best epoch, or the mean so far
        self.compile_seconds = 0.0

    def _training_model(self, side, optimizer, sharpness_aware=False):
        """The compiled graph from indices to probabilities, at images of side x side (None: as they are)."""
        recipe = self.recipe
        with _dtype_policy(self.precision):
            indices = keras.Input((), dtype="int32", name="index")
            images, network = self.lookup(indices), self.network
            if self.augment:
                images = self.augment(images, indices)
            if side:
                images = layers.Resizing(side, side, antialias=True, dtype="float32")(images)
                network = self._network_for(side)
            # under the policy too: Keras scales the loss of a model that is itself mixed_float16
            model = (sharpness.SharpnessAware if sharpness_aware else keras.Model)(indices, network(images), name="training")
            model.radius = recipe.sharpness_radius
        model.compile(
            optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
            steps_per_execution=steps_per_execution(recipe.batch_size, recipe.input_shape),
            jit_compile=False if backend.is_tensorflow_on_cpu() else "auto")
        return model

    def _network_for(self, side):
        """The layers of the network behind an input of side x side pixels."""
        inputs = keras.Input((side, side, self.recipe.input_shape[2]))
        try:
            return keras.models.clone_model(self.network, input_tensors=inputs, clone_function=lambda layer: layer)
        except ValueError as error:
            raise InputError(f"recipe field small_images: {self.recipe.builder} does not take {side} x {side} pixels with the "
                             f"weights of {self.recipe.input_shape} ({reason(error)[:120]})") from None

    def _phase(self, epoch):
        """(side of the images or None, whether sharpness-aware) of an epoch, 0 the first."""
        recipe, share, side = self.recipe, 0.0, None
        for phase, small in recipe.small_images:
            share += phase
            if epoch < math.floor(share * recipe.epochs + 1e-9):
                side = small
                break
        aware = max(1, round(recipe.sharpness_share * recipe.epochs))
        return side, recipe.sharpness_radius > 0 and epoch >= recipe.epochs - aware

    def _model_of(self, epoch):
        """The training model of an epoch, 0 the first."""
        return self.models[self._phase(epoch)]

    @property
    def stopped(self):
        """Whether a callback asked for the end."""
        return any(m.stop_training for m in self.models.values())

    @property
    def steps_per_epoch(self):
        return math.ceil(len(self.train_indices) / self.recipe.batch_size)

    def _variables(self):
        """All that a later epoch depends on: weights, seed generators, and the optimizer's own."""
        mine = [v for v in self.model.variables if v is not self.lookup.images]
        seen = {id(v) for v in mine}
        return mine + [v for v in self.model.optimizer.variables if id(v) not in seen]

    def values(self):
        return [keras.ops.convert_to_numpy(v.value).copy() for v in self._variables()]

    def assign(self, values):
        variables = self._variables()
        if [tuple(v.shape) for v in variables] != [v.shape for v in values]:
            raise ValueError("values: must have the shapes of this network's variables")
        for variable, value in zip(variables, values):
            variable.assign(value)

    def compile_step(self):
        """Run one short epoch of each kind to come, so that training finds its steps compiled, and put everything back."""
        start, before = time.perf_counter(), self.values()
        size = min(len(self.train_indices),
                   self.recipe.batch_size + len(self.train_indices) % self.recipe.batch_size)
        coming = {self._phase(epoch) for epoch in range(len(self.history), self.recipe.epochs)}
        for model in reversed([model for phase, model in self.models.items() if phase in coming]):
            self.fit(self.train_indices[:size], 0, None, model=model)
        self.assign(before)
        self.compile_seconds += time.perf_counter() - start

    def fit(self, order, epoch, callbacks, validate=True, model=None):
        """One pass of Keras' `fit` over the images of these indices, int32 (N,), in this order: its History.

        model: by default the training model of that epoch."""
        given = backend.batched(order, self.one_hot[order], self.recipe.batch_size)
        if validate:
            held_out = self._held_out()
            given.update(validation_data=(held_out["x"], held_out["y"]) if "y" in held_out else held_out["x"],
                         validation_batch_size=held_out.get("batch_size"))
        model = model or self._model_of(epoch)
        if callbacks is not None and callbacks.model is not model:
            callbacks.set_model(model)
        return model.fit(**given, shuffle=False, verbose=0, initial_epoch=epoch, epochs=epoch + 1, callbacks=callbacks)

    def _held_out(self):
        """The validation part, as Keras' `fit` and `evaluate` take it."""
        return backend.batched(self.val_indices, self.one_hot[self.val_indices], VALIDATION_BATCH)

    def watchers(self, notice, *more):
        """The callbacks of a training: History, progress, and `more`; begin() and end() are the caller's."""
        progress = (LiveProgress if hasattr(notice, "live") else Progress)(self, notice)
        return _OneRun([keras.callbacks.History(), progress, *more], model=self.model)

    def order(self, epoch):
        """Indices of the train part in the order of an epoch (0 is the first): int32 (N,)."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.train_indices)

    def run_epoch(self, callbacks=None):
        """Train the next epoch, validate, and add a row to the history, which is returned."""
        epoch, start = len(self.history), time.perf_counter()
        if self.augment:
            self.augment.epoch.assign(epoch)
        logs = {k: float(v[-1]) for k, v in self.fit(self.order(epoch), epoch, callbacks).history.items()}
        row = {"epoch": epoch + 1, **{k: logs[k] for k in HISTORY_FIELDS[1:5]},
               "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))}
        # the weights too: kernels that take a maximum, or the loss that is clipped, can hide a NaN
        if not (math.isfinite(row["loss"]) and math.isfinite(row["val_loss"])
                and all(np.isfinite(w).all() for w in self.network.get_weights())):
            raise InputError(f"training diverged: loss {row['loss']}, validation loss {row['val_loss']} in epoch "
                             f"{epoch + 1}; lower the recipe's learning_rate ({self.recipe.learning_rate})")
        best = max((r["val_accuracy"] for r in self.history), default=-1.0)
        if self.recipe.keep == "best" and row["val_accuracy"] > best:
            self.kept = self.network.get_weights()
        if self.sets_after(epoch + 1):
            row.update(self._take_mean(epoch))
        row["seconds"] = time.perf_counter() - start + (0 if self.history else self.initial_seconds)
        self.history.append(row)
        return row

    def sets_after(self, epochs):
        """How many sets of weights the mean is of that is taken after so many epochs; 0 where none is taken."""
        recipe, past = self.recipe, epochs - self.recipe.main_epochs
        return past // recipe.swa_epochs + 1 if recipe.swa_cycles and past >= 0 and past % recipe.swa_epochs == 0 else 0

    def _take_mean(self, epoch):
        """Take the weights of the end of an epoch, 0 the first, into the mean: its validation figures, dict."""
        count, weights = self.sets_after(epoch + 1), self.network.get_weights()
        if count == 1:
            self.kept = weights
            return {}
        before, model = self.values(), self._model_of(epoch)
        self.network.set_weights([mean + (new - mean) / count for mean, new in zip(self.kept, weights)])
        self._renew_statistics(model, self.order(epoch)[:STATISTICS_IMAGES])
        self.kept = self.network.get_weights()
        found = model.evaluate(**self._held_out(), verbose=0, return_dict=True)
        self.assign(before)
        return {"val_loss": found["loss"], "val_accuracy": found["accuracy"]}

    def _renew_statistics(self, model, indices):
        """Give batch normalisation the mean over these images' batches, whole ones, as its moving statistics."""
        norms = [layer for layer in self.network.layers if isinstance(layer, layers.BatchNormalization)]
        momenta, size = [layer.momentum for layer in norms], self.recipe.batch_size
        for n in range(max(1, len(indices) // size) if norms else 0):
            for layer in norms:
                layer.momentum = n / (n + 1)
            model(ops.convert_to_tensor(indices[n * size:(n + 1) * size]), training=True)
        for layer, momentum in zip(norms, momenta):
            layer.momentum = momentum

    def chosen_epoch(self):
        """The row of the history whose weights, or the mean up to which, are saved."""
        if self.recipe.keep == "best":
            return max(self.history, key=lambda row: row["val_accuracy"])  # the first of equals
        return ([row for row in self.history if self.sets_after(row["epoch"])] or self.history)[-1]

    def bare_network(self):
        """The network to be saved: float32, uncompiled, with the chosen weights.

        A layer that computed in 16 bits has its kernel as it computed with it, rounded to them (the optimizer's has 32): nothing
        is lost, and the saved file packs into half the size.
        """
        with _dtype_policy("float32"):
            network = recipes.build(self.recipe, len(self.dataset.classes))
        network.set_weights(self.network.get_weights() if self.kept is None else self.kept)
        for layer in network.layers:
            for variable in layer.weights:
                if variable.name in ("kernel", "depthwise_kernel"):
                    variable.assign(ops.cast(ops.cast(variable, self.network.get_layer(layer.name).compute_dtype), "float32"))
        return network

    # --- the state file ---------------------------------------------------------------------------

    def save_state(self, path, run):
        """Write everything to `path`, whole or not at all. `run`: dict that identifies the run."""
        values, kept = self.values(), self.kept or []
        meta = {"run": run, "history": self.history, "compile_seconds": self.compile_seconds,
                "arrays": [len(values), len(kept)]}
        arrays = {f"v{i:04d}": v for i, v in enumerate(values)} | {f"k{i:04d}": v for i, v in enumerate(kept)}
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        bundles.write_file(path, lambda file: np.savez(file, meta=text, **arrays))

    def load_state(self, path):
        """Take up what `save_state` wrote. InputError where the file is damaged or does not fit."""
        meta, values, kept = _read_state(path)
        try:
            self.assign(values)
        except ValueError:
            raise InputError(f"{path}: the state is not of this network; --overwrite starts over") from None
        self.history, self.kept = meta["history"], kept or None
        self.compile_seconds = meta["compile_seconds"]


def history_of_unfinished(output):
    """Rows of the epochs done so far of an unfinished training whose bundle will be `output`; [] where there is none."""
    path = bundles.state_path(output)
    try:
        return _read_state(path)[0]["history"] if path.exists() else []
    except InputError:
        return []


def _read_state(path):
    try:
        with np.load(path, allow_pickle=False) as file:  # every member has a checksum, tested on reading
            meta = json.loads(file["meta"].tobytes())
            return meta, *([file[f"{first}{i:04d}"] for i in range(n)] for first, n in zip("vk", meta["arrays"]))
    except Exception as error:  # a damaged archive raises nearly anything
        raise InputError(f"{path}: damaged state file ({reason(error)[:150]}); --overwrite starts over") from None


class _dtype_policy:
    """The global dtype policy within a `with`."""

    def __init__(self, policy):
        self.policy = policy

    def __enter__(self):
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_):
        keras.config.set_dtype_policy(self.before)


def train(recipe, dataset, output, *, rung, seed=0, limit=None, overwrite=False, resume=False,
          tensorboard=None, command="", notice=lambda line: None, callbacks=(), test=True):
    """Train a recipe on a data set and leave a bundle.

    Args:
        recipe: recipes.Recipe.
        dataset: data.Dataset, whole; its images have the recipe's input shape.
        output: folder of the bundle.
        rung: the name that goes into the card.
        seed: 0 to 2**32 - 1.
        limit: number of train images to use, stratified; None for all.
        overwrite: replace a bundle, or an unfinished run, that is at `output`.
        resume: go on with the unfinished run at `output`; start where there is none.
        tensorboard: folder for TensorBoard's logs, or None.
        command: what the user typed, for the card.
        notice: called with lines for the user.
        callbacks: further keras.callbacks.Callback objects. What they are told at the end of a cycle (swa_share) are the figures of its
            own weights, not of the mean. Counters of theirs are not in the state file: a
            resumed run starts them anew.
        test: whether the test images are looked at, once, at the end. Without, the card has no test figures.

    Returns:
        (card, finished_before): the card as a dict, and whether the bundle was there already.

    Raises:
        InputError: the request, the data or the disk does not allow it.
    """
    output = Path(output)
    if limit is not None:
        dataset = data.limited(dataset, limit, seed)
    run = {"rung": rung, "recipe": recipe.as_dict(), "seed": seed, "limit": limit,
           "data_sha256": dataset.train_sha256(), "backend": keras.backend.backend(), "precision": backend.precision(recipe),
           "version": __version__}
    bundles.prepare(output, bytes_needed=0)
    with bundles.locked(output):
        bundles.recover(output)
        return _train(recipe, dataset, output, run, overwrite, resume, tensorboard, command, notice, callbacks, test)


def _train(recipe, dataset, output, run, overwrite, resume, tensorboard, command, notice, callbacks, test):
    state = bundles.state_path(output)
    earlier = None
    if resume:
        try:
            earlier, card = _resumable(state, output, run)
            if card:
                bundles.load(output)
                state.unlink(missing_ok=True)
                return card, True
        except InputError:
            if not overwrite:
                raise
    elif not overwrite:
        bundles.refuse_existing(output)

    board = [_tensorboard(tensorboard)] if tensorboard else []
    device = backend.device()[1]
    trainer = Trainer(recipe, dataset, run["seed"])
    # twice the state (the new one is written beside the old), and the model
    size = sum(v.nbytes for v in trainer.values())
    if recipe.keep == "best" or recipe.swa_cycles:
        size += sum(v.nbytes for v in trainer.network.get_weights())
    bundles.prepare(output, 2.5 * size + 8e6)
    notice(f"{run['rung']} on {dataset.name}: {len(trainer.train_indices):,} train, {len(trainer.val_indices):,} validation, "
           f"{len(dataset.test_labels):,} test images; {trainer.network.count_params():,} parameters")
    if recipe.swa_share and not recipe.swa_cycles:
        notice(f"no weights are averaged: {recipe.epochs} epochs have no cycle of {recipe.swa_epochs} in their share of "
               f"{recipe.swa_share:g}")
    notice(f"backend {keras.backend.backend()}, device {device}, precision {trainer.precision}, seed {run['seed']}")

    if earlier:
        trainer.load_state(state)
        run = earlier
        notice(f"resuming after epoch {len(trainer.history)} of {recipe.epochs}")
    else:
        run = {**run, "started": _now()}
    try:
        with _Interrupt() as interrupt:
            trainer.compile_step()
            if not earlier:
                trainer.save_state(state, run)
            notice(f"compiled in {trainer.compile_seconds:.1f} s")
            watchers = trainer.watchers(notice, interrupt, *board, *callbacks)
            watchers.begin()
            while len(trainer.history) < recipe.epochs and not trainer.stopped:
                row = trainer.run_epoch(watchers)
                trainer.save_state(state, run)
                if trainer.sets_after(row["epoch"]) > 1:
                    notice(f"mean of {trainer.sets_after(row['epoch'])} sets of weights  val_loss {row['val_loss']:.4f}  "
                           f"val_accuracy {row['val_accuracy']:.4f}")
                interrupt.check()
            watchers.end()
        network = trainer.bare_network()
        card = bundles.write(output, lambda folder: _fill(folder, trainer, network, run, device, command, notice, test))
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({reason(error)}); epochs up to the last saved one are kept, "
                         "--resume goes on") from None
    state.unlink(missing_ok=True)
    return card, False


def _resumable(state, output, run):
    """(the unfinished run at `output`, the card of the finished one), None for what is not there.

    Raises InputError where what is there has other settings than `run`, or is damaged.
    """
    if state.exists():
        earlier = _read_state(state)[0]["run"]
        _refuse_changes(state, earlier, run)
        with contextlib.suppress(InputError):  # no bundle, or an older one that this run replaces
            card = bundles.read_card(output)
            if card.get("started") == earlier["started"]:  # killed after the bundle was written
                return None, card
        return earlier, None
    if bundles.occupied(output):
        card = bundles.read_card(output)
        _refuse_changes(output, _run_of(card), run)
        return None, card
    return None, None


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def _run_of(card):
    """What identifies the run that left a card, in the form of a state's."""
    return {"rung": card["rung"], "recipe": card["recipe"], "seed": card["seed"],
            "limit": card.get("data", {}).get("limit"), "data_sha256": card["data_sha256"]}


def _refuse_changes(path, before, now):
    """InputError where a run to be resumed was started with other settings."""
    words = ("promise", "idea")  # about a recipe: they decide nothing
    before, now = ({**r, "recipe": {k: v for k, v in recipes.completed(r["recipe"]).items() if k not in words}}
                   for r in (before, now))
    for key in ("rung", "seed", "limit", "backend", "precision", "version", "recipe", "data_sha256"):
        if key not in before or before[key] == now[key]:
            continue
        if key == "recipe":
            field = next((f for f in now[key] if before[key].get(f) != now[key][f]), "fields")
            raise InputError(f"{path}: --resume with another recipe: {field} was {before[key].get(field)!r}, "
                             f"is now {now[key].get(field)!r}; --overwrite starts over")
        raise InputError(f"{path}: --resume with other settings: {key} was {before[key]!r}, is now {now[key]!r}; "
                         "--overwrite starts over")


def _fill(folder, trainer, network, run, device, command, notice, test):
    """Save the network, test it from the saved file, write the card: everything of a bundle."""
    network.save(folder / "model.keras")
    bundles.pack(folder / "model.keras")
    chosen, dataset = trainer.chosen_epoch(), trainer.dataset
    card = {
        "rung": run["rung"],
        "recipe": run["recipe"],
        "recipe_sha256": trainer.recipe.sha256(),
        "seed": run["seed"],
        "classes": list(dataset.classes),
        "parameters": network.count_params(),
        "epoch": chosen["epoch"],
        "val_accuracy": chosen["val_accuracy"],
        "test_accuracy": None,
        "test_loss": None,
        "seconds": sum(row["seconds"] for row in trainer.history),
        "compile_seconds": trainer.compile_seconds,
        "backend": run["backend"],
        "device": device,
        "precision": trainer.precision,
        "versions": backend.versions(),
        "started": run["started"],
        "date": _now()[:10],
        "command": command,
        "data": {"name": dataset.name, "limit": run["limit"], "train_images": len(trainer.train_indices),
                 "validation_images": len(trainer.val_indices), "test_images": len(dataset.test_labels),
                 "test_sha256": dataset.test_sha256(), "note": dataset.note},
        "data_sha256": run["data_sha256"],
        "model_sha256": bundles.file_sha256(folder / "model.keras"),
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2))
    if test:
        model, _ = bundles.load(folder)  # what is tested is the file, not the network in memory
        result = evaluation.evaluate(model, dataset.test_images, dataset.test_labels, dataset.classes)
        card.update(test_accuracy=result["accuracy"], test_loss=result["loss"])
        (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(trainer.history)
    (folder / "history.csv").write_text(text.getvalue())
    if test and not reporting.draw_learning_curve(trainer.history, folder / "learning_curve.png", f"{run['rung']}, seed {run['seed']}",
                                         chosen["epoch"]):
        notice("matplotlib is not installed: no learning_curve.png")
    return card


def _tensorboard(folder):
    try:
        import tensorboard  # noqa: F401
        import tensorflow  # noqa: F401  (Keras' callback writes through tf.summary on every backend)
    except ImportError as error:
        raise InputError(f"--tensorboard: {error.name} is not installed: pip install 'cifar_lab[tensorboard]'") from None
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise InputError(f"--tensorboard {folder}: cannot be written ({reason(error)})") from None
    return keras.callbacks.TensorBoard(folder, write_graph=False)


class Progress(keras.callbacks.Callback):
    """A line an epoch. notice: called with it; `notice.live`, where there is one, draws a line that the next replaces."""

    def __init__(self, trainer, notice):
        super().__init__()
        self.trainer, self.notice = trainer, notice

    def on_epoch_begin(self, epoch, logs=None):
        self.start = self.shown = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.start
        past = [row["seconds"] for row in self.trainer.history[-4:]] + [seconds]
        total = self.trainer.recipe.epochs
        left = (total - epoch - 1) * sum(past) / len(past)
        self.notice(f"epoch {epoch + 1:>3}/{total}  loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.4f}  "
                    f"val_loss {logs['val_loss']:.4f}  val_accuracy {logs['val_accuracy']:.4f}  "
                    f"{seconds:.1f} s  left {_clock(left)}")


class LiveProgress(Progress):
    """Also a line that counts the steps, for a terminal."""

    async_safe = True  # from a thread of Keras' own, where the backend has it, so that no step waits for its figures

    def on_train_batch_end(self, batch, logs=None):
        if time.perf_counter() - self.shown > 0.5:
            self.shown = time.perf_counter()
            steps = self.trainer.steps_per_epoch
            done = min(batch + 1, steps)  # several steps a call: Keras names the last of a whole call
            left = (self.shown - self.start) / done * (steps - done)
            self.notice.live(
                f"epoch {len(self.trainer.history) + 1:>3}/{self.trainer.recipe.epochs}  step {done}/{steps}  "
                f"loss {float(logs['loss']):.4f}  accuracy {float(logs['accuracy']):.4f}  epoch ends in {_clock(left)}")


def _clock(seconds):
    seconds = round(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" if seconds >= 3600 else f"{seconds // 60}:{seconds % 60:02d}"
