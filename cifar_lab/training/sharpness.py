"""Sharpness-aware minimization (Foret et al. 2021): a step by the gradient at the worst weights
nearby."""

import contextlib

import keras
from keras import ops


class SharpnessAware(keras.Model):
    """A functional keras.Model each of whose training steps takes the gradient where the loss is
    higher.

    Before a step each convolution's kernel goes up along its own gradient by `radius` of its norm;
    the step is then taken by the gradient there, and the kernels go back by what they went up. So a
    step costs twice as much. What layers draw at random (augmentation, dropout) is drawn anew for
    the second gradient. The train figures of such a step are those of the raised weights, the
    moving statistics of batch normalisation those from before.

    Arguments: keras.Model's; `radius` is an attribute, a share of a kernel's norm, 0 to 1. On
        TensorFlow, JAX and PyTorch.
    """

    radius = 0.0

    def train_step(self, *args):
        return {
            "tensorflow": self._tensorflow_step,
            "jax": self._jax_step,
            "torch": self._torch_step,
        }[keras.backend.backend()](*args)

    def _places(self):
        """Where convolutions' kernels stand among the trainable variables."""
        return [i for i, v in enumerate(self.trainable_variables) if len(v.shape) == 4]

    def _ascent(self, kernel, gradient):
        """What is added to a kernel: `radius` of its norm along the gradient; nothing where that is
        0 or not finite."""
        gradient = ops.cast(gradient, kernel.dtype)
        factor = self.radius * _norm(kernel) / _norm(gradient)
        return ops.where(ops.isfinite(factor * gradient), factor * gradient, 0.0)

    def _moving(self):
        return [v for v in self.non_trainable_variables if v.name.startswith("moving_")]

    def _assigning_step(self, data, gradients, without_gradients):
        """A step where variables are assigned to: TensorFlow and PyTorch."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        kernels = [self.trainable_variables[i] for i in self._places()]
        uphill = gradients(
            lambda: self.optimizer.scale_loss(
                self.compute_loss(x, y, self(x, training=True), weights, training=True)
            ),
            kernels,
        )
        with without_gradients():
            ups = [self._ascent(v.value, g) for v, g in zip(kernels, uphill)]
            moving = [(v, ops.copy(v.value)) for v in self._moving()]
            for v, up in zip(kernels, ups):
                v.assign_add(up)
        logs = super().train_step(data)
        with without_gradients():
            for v, up in zip(kernels, ups):
                v.assign_sub(up)
            for v, value in moving:
                v.assign(value)
        return logs

    def _tensorflow_step(self, data):
        import tensorflow as tf

        def gradients(loss, kernels):
            with tf.GradientTape() as tape:
                value = loss()
            found = tape.gradient(value, [v.value for v in kernels])
            context = tf.distribute.get_replica_context()
            if context.num_replicas_in_sync > 1:  # of the whole batch, whose losses are their sum
                found = context.all_reduce(tf.distribute.ReduceOp.SUM, found)
            return found

        return self._assigning_step(data, gradients, contextlib.nullcontext)

    def _torch_step(self, data):
        import torch

        def gradients(loss, kernels):
            self.zero_grad()
            loss().backward()
            return [v.value.grad for v in kernels]

        return self._assigning_step(data, gradients, torch.no_grad)

    def _jax_step(self, state, data):
        import jax

        trainable, fixed, optimizer, metrics = state
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        gradients, (_, _, after, _) = jax.grad(self.compute_loss_and_updates, has_aux=True)(
            trainable, fixed, metrics, x, y, None, training=True, optimizer_variables=optimizer
        )
        ups = {i: self._ascent(trainable[i], gradients[i]) for i in self._places()}
        raised = [v + ups[i] if i in ups else v for i, v in enumerate(trainable)]
        logs, (trainable, fixed, optimizer, metrics) = super().train_step(
            (raised, after, optimizer, metrics), data
        )
        moving = {id(v) for v in self._moving()}
        return logs, (
            [v - ups[i] if i in ups else v for i, v in enumerate(trainable)],
            [
                a if id(v) in moving else f
                for v, a, f in zip(self.non_trainable_variables, after, fixed)
            ],
            optimizer,
            metrics,
        )


def _norm(x):
    return ops.sqrt(ops.sum(ops.square(x)))
