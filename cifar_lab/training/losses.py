"""The losses that networks are trained with."""

from __future__ import annotations

import keras
from keras import ops

from ..recipe import Recipe


def build(recipe: Recipe) -> keras.losses.Loss:
    """The loss of a recipe, of targets as `plan.Plan.targets` gives them."""
    loss = _plain(recipe)
    return Weighted(loss) if recipe.class_weight else loss


def _plain(recipe: Recipe) -> keras.losses.Loss:
    if recipe.loss == "categorical_crossentropy":
        return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    if recipe.loss == "binary_crossentropy":
        return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
    if recipe.loss == "multiclass_hinge":
        return MulticlassHinge()
    return keras.losses.CategoricalHinge()


def of_labels(recipe: Recipe, num_classes: int) -> keras.losses.Loss:
    """The same loss of labels that are whole numbers, (N,) or (N, 1); every image counts alike."""
    if recipe.loss == "categorical_crossentropy" and not recipe.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()
    return OfLabels(_plain(recipe), num_classes)


class OfLabels(keras.losses.Loss):
    """Another loss, of labels that are whole numbers, (N,) or (N, 1), in place of one-hot
    targets."""

    def __init__(self, loss: keras.losses.Loss, num_classes: int):
        super().__init__(name=loss.name)
        self.loss, self.num_classes = loss, num_classes

    def call(self, y_true, y_pred):
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        return self.loss.call(ops.one_hot(labels, self.num_classes, dtype=y_pred.dtype), y_pred)


class Weighted(keras.losses.Loss):
    """Another loss, of targets that sum to the weight of their image: its loss counts so much.

    One-hot targets give that loss itself.
    """

    def __init__(self, loss: keras.losses.Loss):
        super().__init__(name=loss.name)
        self.loss = loss

    def call(self, y_true, y_pred):
        weights = ops.sum(y_true, axis=-1)
        plain = y_true / ops.expand_dims(weights, -1)
        return ops.cast(weights, y_pred.dtype) * self.loss.call(plain, y_pred)


class MulticlassHinge(keras.losses.Loss):
    """The sum over the wrong classes of max(0, 1 + their score - the right class's) (Weston and
    Watkins 1999, "Support vector machines for multi-class pattern recognition"; CS231n).

    y_true: one-hot (N, classes). y_pred: the softmax of the scores, (N, classes): differences of
    its logarithms are differences of the scores, up to 69, beyond which float32 has no gradient.
    """

    SMALLEST = 1e-30

    def call(self, y_true, y_pred):
        scores = ops.log(ops.maximum(y_pred, self.SMALLEST))
        right = ops.sum(ops.cast(y_true, scores.dtype) * scores, axis=-1, keepdims=True)
        # the right class's own term is 1
        return ops.sum(ops.maximum(scores - right + 1.0, 0.0), axis=-1) - 1.0
