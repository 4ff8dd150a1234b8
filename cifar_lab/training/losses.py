"""The loss that networks are trained with."""

from __future__ import annotations

import keras
from keras import ops

from ..recipe import Recipe


def build(recipe: Recipe) -> keras.losses.Loss:
    """The loss of a recipe, of targets as `plan.Plan.targets` gives them."""
    if recipe.class_weight:
        return WeightedCrossentropy(label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)


class WeightedCrossentropy(keras.losses.CategoricalCrossentropy):
    """keras.losses.CategoricalCrossentropy of targets that sum to the weight of their image: its
    loss counts so much. One-hot targets give Keras' own."""

    def call(self, y_true, y_pred):
        weights = ops.sum(y_true, axis=-1)
        plain = y_true / ops.expand_dims(weights, -1)
        return ops.cast(weights, y_pred.dtype) * super().call(plain, y_pred)
