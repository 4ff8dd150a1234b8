"""Epochs whose images Keras' own ImageDataGenerator draws, outside the compiled step.

It draws from numpy's global state, which it seeds anew for each batch. Here the seed follows from
the plan's and the epoch, so that a resumed run sees what a run that was never stopped sees.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from .. import backend
from ..errors import InputError, reason
from ..image_data_generator import ENGINE, GeneratorAugmentation, refuse_missing
from . import streamed

if TYPE_CHECKING:
    from ..recipe import Recipe
    from .plan import Plan

_CHUNK = 500  # images that are standardised at once
_SMALL = 1e-6  # what ImageDataGenerator.standardize adds to standard deviations


class Generated:
    """What ImageDataGenerator makes of a plan's images.

    Attributes:
        settings: GeneratorAugmentation.
        generator: the ImageDataGenerator, whose statistics are those of the train part.

    Raises InputError where TensorFlow, or SciPy where it is needed, is not installed.
    """

    def __init__(self, plan: Plan):
        refuse_missing(plan.recipe)
        with backend.quiet_stderr():  # TensorFlow's C++, where another backend computes
            from tensorflow.keras.preprocessing.image import ImageDataGenerator

        self.plan, self.settings = plan, plan.recipe.augmentation
        assert isinstance(self.settings, GeneratorAugmentation)
        self.generator = ImageDataGenerator(
            **self.settings.arguments(), data_format="channels_last", dtype="float32"
        )
        if self.settings.featurewise_center:
            self.generator.fit(plan.dataset.train_images[plan.train_indices])
        self._held_out: np.ndarray | None = None
        streamed.start()

    def flow(self, indices: np.ndarray, batch_size: int, *where: int) -> Any:
        """Keras' iterator over train images and their targets in this order. Its seed is a function
        of the plan's and of `where`, integers: the epoch, and more for draws beside training."""
        words = np.random.SeedSequence([self.plan.seed, *where]).generate_state(1)
        return self.generator.flow(
            self.plan.dataset.train_images[indices],
            self.plan.targets[indices],
            batch_size=batch_size,
            shuffle=False,
            seed=int(words[0] >> 1),  # it counts on from here, and numpy takes 32 bits
        )

    def epoch(self, order: np.ndarray, epoch: int) -> dict:
        """Arguments for Keras' `fit`: one pass over the images of these indices, int32 (N,).

        On TensorFlow the iterator's batches, two ahead, through a data set that does not tune
        itself (see backend.batched); elsewhere the iterator, which is a keras.utils.PyDataset.
        """
        flow = self.flow(order, self.plan.recipe.batch_size, epoch)
        if not backend.is_tensorflow():
            return {"x": flow}
        import tensorflow as tf

        shapes = (None, *self.plan.recipe.input_shape), (None, self.plan.num_classes)
        signature = tuple(map(tf.TensorSpec, shapes))
        batches = streamed.data_set_of(
            lambda: (flow[i] for i in range(len(flow))), len(flow), signature
        )
        return {"x": batches}

    def drawn(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Train images as an epoch might see them: float32 (N, height, width, channels)."""
        with numpys_state():
            return self.flow(indices, len(indices), epoch, 1, int(indices[0]))[0][0]

    def held_out(self) -> np.ndarray:
        """The validation part, standardised."""
        if self._held_out is None:
            images = self.plan.dataset.train_images[self.plan.val_indices]
            self._held_out = self.standardized(images)
        return self._held_out

    def standardized(self, images: np.ndarray) -> np.ndarray:
        """Images as ImageDataGenerator gives them at test time.

        images: uint8 (N, height, width, channels).   Returns float32, the same shape.
        """
        found = images.astype("float32")
        one_by_one = self.settings.samplewise_center  # its figures are those of what it is given
        size = 1 if one_by_one else _CHUNK
        for start in range(0, len(found), size):
            part = found[start : start + size]
            found[start : start + size] = self.generator.standardize(part)
        return found

    def prefixed(self, network: keras.Model) -> keras.Model:
        """`network`, its layers shared, behind layers that standardise raw pixels as
        ImageDataGenerator does; as it is where nothing is standardised.

        Built-in layers and functions, all float32 and frozen. Only the matrix of zca_whitening is a
        weight.
        """
        if not self.settings.normalises:
            return network
        inputs = keras.Input(network.input_shape[1:], name=network.inputs[0].name)
        ready = self._standardized_tensor(inputs)
        try:
            if isinstance(network, keras.Sequential):
                outputs = ready
                for layer in network.layers:
                    outputs = layer(outputs)
                return keras.Model(inputs, outputs, name=network.name)

            def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
                args = keras.tree.map_structure(lambda x: ready if x is inputs else x, args)
                return layer(*args, **kwargs)

            return keras.models.clone_model(
                network,
                input_tensors=inputs,
                clone_function=lambda layer: layer,
                call_function=call,
            )
        except ValueError as error:
            raise InputError(
                f"recipe field augmentation: {self.plan.recipe.builder_name} does not stand behind "
                f"{', '.join(self.settings.normalises)} ({reason(error)[:120]})"
            ) from None

    def _standardized_tensor(self, x: Any) -> Any:
        """ImageDataGenerator.standardize, in its order, of a batch, float32."""
        s, generator = self.settings, self.generator
        if s.rescale:
            x = layers.Rescaling(s.rescale, dtype="float32", name="generator_rescale")(x)
        if s.samplewise_center:
            x = x - ops.mean(x, axis=(1, 2, 3), keepdims=True)
        if s.samplewise_std_normalization:
            x = x / (ops.std(x, axis=(1, 2, 3), keepdims=True) + _SMALL)
        if s.featurewise_center:
            mean = generator.mean.reshape(-1).astype("float64")
            deviation = np.ones_like(mean)
            if s.featurewise_std_normalization:
                deviation = generator.std.reshape(-1).astype("float64") + _SMALL
            x = layers.Normalization(
                mean=mean.tolist(),
                variance=(deviation**2).tolist(),
                dtype="float32",
                name="generator_normalization",
            )(x)
        if s.zca_whitening:
            shape, matrix = x.shape[1:], generator.zca_whitening_matrix
            whiten = layers.Dense(
                len(matrix), use_bias=False, trainable=False, dtype="float32", name="generator_zca"
            )
            x = whiten(layers.Flatten(dtype="float32", name="generator_flat")(x))
            whiten.set_weights([matrix])
            x = layers.Reshape(shape, dtype="float32", name="generator_image")(x)
        return x


def refuse_own_standardization(network: keras.Model, recipe: Recipe) -> None:
    """InputError where both the generator and a layer of the network standardise."""
    settings = recipe.augmentation
    found = isinstance(settings, GeneratorAugmentation) and settings.normalises
    if found and any(layer.name == "standardize" for layer in network.layers):
        raise InputError(
            f"recipe field augmentation: {found[0]}: must not be set with {ENGINE} for a network "
            "that standardises its pixels itself"
        )


def divided_twice(network: keras.Model, recipe: Recipe) -> str:
    """A line where what the generator has brought to small numbers is then divided by 255 in the
    network, "" where it is not."""
    settings = recipe.augmentation
    if not isinstance(settings, GeneratorAugmentation):
        return ""
    found = [n for n in settings.normalises if n not in ("samplewise_center", "featurewise_center")]
    divides = any(
        isinstance(layer, layers.Rescaling) and np.max(np.abs(layer.scale)) < 0.1
        for layer in network.layers
    )
    if not (found and divides):
        return ""
    return (
        f"note: {recipe.builder_name} divides pixels by 255 itself, after augmentation's "
        f"{', '.join(found)}: its inputs are small numbers"
    )


@contextlib.contextmanager
def numpys_state() -> Iterator[None]:
    """numpy's global random state within a `with`, put back afterwards."""
    before = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(before)
