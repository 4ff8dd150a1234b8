"""Epochs on several devices of TensorFlow, by `tf.distribute.MirroredStrategy`.

Each device has the weights and takes its part of a batch. For the result to be that of one device,
up to the order of sums, whatever looks at a batch looks at the whole of it: batch normalisation
takes its statistics over all devices, what layers draw at random is drawn for the whole batch on
each device and the device's part of it used, and a part of the images has its share of the loss,
however a batch divides. The gradients are summed over the devices by Keras' optimizers.
"""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..errors import InputError
from . import parallel
from .augment import Augment
from .connections import DropConnectDense
from .scanned import Scanned

_strategies: dict[tuple[str, ...], Any] = {}  # of this process


class MirroredDevices:
    """Devices of TensorFlow that share each batch: what parallel.DataParallel is on JAX.

    Attributes:
        size: how many.   words: the devices, for a card.
        strategy: the tf.distribute.MirroredStrategy.
    """

    def __init__(self, names: list[str], words: str):
        import tensorflow as tf

        self.size, self.words = len(names), words
        if tuple(names) not in _strategies:
            if _strategies:  # TensorFlow's collective operations have one group in a process
                raise InputError(
                    f"`devices`: TensorFlow trained on {len(next(iter(_strategies)))} devices in "
                    f"this program already, and on {len(names)} it can in another one alone"
                )
            _strategies[tuple(names)] = tf.distribute.MirroredStrategy(names)
        self.strategy = _strategies[tuple(names)]

    def scope(self) -> contextlib.AbstractContextManager:
        """Variables that are made within lie on every device."""
        return self.strategy.scope()

    def everywhere(self, array: np.ndarray) -> Any:
        """An array, on every device."""
        import tensorflow as tf

        with self.strategy.scope():
            return tf.Variable(array, trainable=False)


class Mirrored(Scanned):
    """What `fit` and `evaluate` do for a training model, many steps a call, on several devices."""

    def __init__(self, model, images, targets, one_hot, **options):
        super().__init__(model, images, targets, one_hot, **options)
        self._functions: dict[str, Any] = {}
        tracker = next(metric for metric in model.metrics if metric.name == "loss")
        update, size = tracker.update_state, self.parallel.size

        def update_state(value, sample_weight=None):
            # a part's loss has the part's share in it already
            part = parallel.part()
            each = sample_weight if part is None else ops.cast(part.total, "float32") / size
            return update(value, sample_weight=each)

        tracker.update_state = update_state
        for metric in model._compile_metrics.metrics:
            self._count_once(metric)

    def _count_once(self, metric) -> None:
        """Let an image of a batch that every device takes whole, for want of images, count once."""
        update, size = metric.update_state, self.parallel.size

        def update_state(y_true, y_pred, sample_weight=None):
            part = parallel.part()
            if part is not None:
                each = ops.where(part.total < size, 1.0 / size, 1.0)
                sample_weight = ops.broadcast_to(each, (part.stop - part.start,))
            return update(y_true, y_pred, sample_weight=sample_weight)

        metric.update_state = update_state

    def exchange_targets(self, targets: np.ndarray) -> None:
        self.targets.assign(targets)

    def compile(self, order, held_out) -> None:
        """Trace what `fit` will call. Nothing runs."""
        self._function("train", self._training_part)
        self._function("test", self._testing_part)

    def compile_renewal(self, norms, indices, size) -> None:
        pass  # traced where it is called

    # --- calls ---

    def _train(self, rows) -> dict:
        self._function("train", self._training_part)(rows)
        return self.model.get_metrics_result()

    def _test(self, rows) -> dict:
        self._function("test", self._testing_part)(rows)
        return self.model.get_metrics_result()

    def _renew(self, norms, rows, done) -> None:
        momenta = [layer.momentum for layer in norms]

        def renewing_part(indices, weights, step):
            for layer in norms:
                layer.momentum = step / (step + 1)
            self.model(indices, training=True)

        try:
            self._function("renewal", renewing_part)(rows, done)
        finally:
            for layer, momentum in zip(norms, momenta, strict=True):
                layer.momentum = momentum

    def _await(self, logs) -> None:
        for value in logs.values():
            ops.convert_to_numpy(value)

    # --- graphs ---

    def _function(self, name: str, of_part):
        """A function of int32 (steps, batch) and of the number of steps before, that calls
        of_part(indices, weights, step) for each step on every device with its part of the batch."""
        import tensorflow as tf

        if name in self._functions:
            return self._functions[name]
        strategy = self.parallel.strategy

        def on_device(indices, step):
            with parallel.taking_part(indices) as part:
                of_part(indices[part.start : part.stop], part.weights(), step)

        signature = tf.TensorSpec((None, None), "int32"), tf.TensorSpec((), "float32")

        @tf.function(input_signature=signature, autograph=False)
        def steps(rows, done):
            def body(i):
                step = done + tf.cast(i, "float32")
                strategy.run(on_device, args=(rows[i], step))
                return i + 1

            tf.while_loop(lambda i: i < tf.shape(rows)[0], body, [0], parallel_iterations=1)

        steps.get_concrete_function()

        def call(rows, done=0):
            steps(tf.constant(rows, "int32"), tf.constant(done, "float32"))

        self._functions[name] = call
        return call

    def _training_part(self, indices, weights, step) -> None:
        self.model.train_step((indices, ops.take(self.targets, indices, axis=0), weights))

    def _testing_part(self, indices, weights, step) -> None:
        self.model.test_step((indices, ops.take(self.one_hot, indices, axis=0), weights))


def prepare(network: keras.Model, words: str) -> None:
    """Let layers of a network that look at a batch look at the whole of it.

    words: the devices as the user named them, for the error.

    Raises InputError where a layer draws at random what cannot be divided.
    """
    for layer in network._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True
        elif isinstance(layer, (layers.Dropout, layers.GaussianDropout)):
            _draw_for_all(layer, ops.ones, ops.multiply)
        elif isinstance(layer, layers.GaussianNoise):
            _draw_for_all(layer, ops.zeros, ops.add)
        elif getattr(layer, "seed_generator", None) is not None and not isinstance(
            layer, (DropConnectDense, Augment)
        ):
            raise InputError(
                f"`devices` {words}: the layer {layer.name} ({type(layer).__name__}) draws at "
                "random for each device's images alone; KERAS_BACKEND=jax trains it on several"
            )


def _draw_for_all(layer, neutral, joined) -> None:
    """Let a layer draw for the whole batch, on inputs that show what it drew and nothing else, and
    join its part of that with the part's inputs."""
    own = layer.call

    def call(inputs, training=False):
        part = parallel.part()
        if part is None or not training:
            return own(inputs, training=training)
        drawn = own(neutral((part.total, *inputs.shape[1:]), inputs.dtype), training=True)
        return joined(inputs, drawn[part.start : part.stop])

    layer.call = call
