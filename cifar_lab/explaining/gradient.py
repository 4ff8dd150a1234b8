"""Gradients on every backend of Keras, by its own training step.

`keras.ops` cannot differentiate, and each backend does it in its own way; Keras' trainers know all
of them. So the gradient by a tensor is taken as a trainer takes that by a weight: a weight of zeros
is added to the tensor, and one step of plain gradient descent at a rate of 1, down the negative of
the sum, leaves the gradient in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def of_scores(head: keras.Model, maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The gradient of sum(weights * head(maps)) by the maps; the network does not train.

    Args:
        head: float32 (N, ...) -> float32 (N, classes), each row by itself.
        maps: float32 (N, ...).
        weights: float32 (N, classes); one-hot rows give the gradient of a class' score.

    Returns:
        float32, the shape of maps.
    """
    import keras

    class Moved(keras.Model):
        """head(maps + a weight); the head's own weights are none of this model's."""

        def __init__(self):
            super().__init__()
            self.move = self.add_weight(shape=maps.shape, initializer="zeros", dtype="float32")
            self.scores = lambda moved: head(moved, training=False)

        def call(self, x):
            return self.scores(x + self.move)

    class NegativeSum(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return -keras.ops.sum(y_true * y_pred, axis=-1)

    model = Moved()
    model.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss=NegativeSum(reduction="sum"),
        run_eagerly=True,  # one step does not pay for a compilation
        jit_compile=False,
    )
    model.train_on_batch(maps, weights)
    return keras.ops.convert_to_numpy(model.move)
