"""What a training will do, resolved once from recipe, data set, seed and machine, and handed
down."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend, memory, networks
from ..data import Dataset, stratified_split
from ..data.on_disk import is_on_disk
from ..devices import Devices
from ..errors import InputError
from ..image_data_generator import ENGINE
from ..phases import Phase, phase_of
from ..recipe import Recipe
from . import parallel

#: Of 32 x 32 pixels, in one call where epochs are scanned: a second or so of a GPU.
SCANNED_IMAGES = 65_536


@dataclass(frozen=True)
class Plan:
    """A training, resolved. Make one with `Plan.of`.

    Fields:
        recipe, dataset, seed: what was asked for; the test split is not looked at.
        train_indices, val_indices: int32, images of the train split that are trained on and that
            validate.
        precision: dtype policy, "float32", "mixed_bfloat16" or "mixed_float16".
        device: in words, "CPU: AMD EPYC, 2 cores".
        phases: a Phase an epoch.
        steps_per_execution: steps that the compiled function takes before it returns to Python.
        fused: whether the network trains with the faster layers of `fused`, where they fit.
        scanned: whether an epoch is a compiled program, see scanned.Scanned, or Keras' `fit`.
        streamed: whether batches of images are sent to the device as they are needed, see
            streamed.Feed, where they are on disk or too many for it; or all lie there.
        parallel: what divides batches among several devices, see parallel.of; None on one.
    """

    recipe: Recipe
    dataset: Dataset
    seed: int
    train_indices: np.ndarray
    val_indices: np.ndarray
    precision: str
    device: str
    phases: tuple[Phase, ...]
    steps_per_execution: int
    fused: bool
    scanned: bool
    streamed: bool
    parallel: Any = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        seed: int = 0,
        *,
        precision: str | None = None,
        steps_per_execution: int | None = None,
        fused: bool = True,
        scanned: bool | None = None,
        streamed: bool | None = None,
        devices: Devices | None = None,
    ) -> Plan:
        """Resolve a recipe, on this machine.

        Args:
            recipe: what to train.
            dataset: its images have the recipe's input shape.
            seed: decides the initial weights, the validation split, dropout, augmentation and the
                order of images.
            precision, steps_per_execution, fused, scanned, streamed: for measurements; by default
                what suits the recipe and the device: scanned on several devices, and on a GPU with
                JAX, but for ImageDataGenerator and for images that are streamed.
            devices: a devices.Devices; None for one.

        Raises:
            InputError: the images are on disk, and the recipe needs them in memory; several devices
                cannot share this training, or the backend cannot do it.
        """
        generated = recipe.augmentation_engine != "compiled"
        if recipe.freezeout_layers and (backend.is_jax() or devices is not None):
            raise InputError(
                "recipe field freezeout_layers: works on KERAS_BACKEND=tensorflow and torch, and "
                "on one device; elsewhere an optimizer takes all weights or none"
            )
        if streamed is None:
            streamed = _is_streamed(recipe, dataset)
        shared = parallel.of(devices)
        if shared and generated:
            raise InputError(
                f"`devices` {devices.text}: recipe field augmentation_engine: ImageDataGenerator "
                "draws images for one device alone, compiled for several"
            )
        if streamed and (shared or scanned):
            what = f"`devices` {devices.text}" if shared else "`one_program`"
            why = "is on disk; `data_in` memory holds it in memory"
            if not is_on_disk(dataset.train_images):
                why = "takes over a quarter of its memory"
            raise InputError(f"{what}: needs all images on the device, and {dataset.name} {why}")
        if scanned is None:
            on_gpu = backend.is_jax_on_gpu() and not (generated or streamed)
            scanned = shared is not None or on_gpu
        elif scanned and generated:
            raise ValueError("scanned: must be False where ImageDataGenerator draws the images")
        elif scanned and not (shared or backend.is_jax()):
            raise ValueError("scanned: must be False on a backend that is not JAX")
        if dataset.val_indices is None:
            train, val = stratified_split(
                dataset.train_labels, recipe.validation_fraction, seed, dataset.classes
            )
        else:  # the data set's own
            val = dataset.val_indices
            train = np.setdiff1d(np.arange(len(dataset.train_labels)), val)
        steps = steps_per_execution or default_steps_per_execution(recipe, scanned)
        return cls(
            recipe,
            dataset,
            seed,
            train.astype("int32"),
            val.astype("int32"),
            precision or backend.precision(recipe),
            shared.words if shared else backend.device()[1],
            tuple(phase_of(recipe, epoch) for epoch in range(recipe.epochs)),
            steps,
            fused,
            scanned,
            streamed,
            shared,
        )

    @property
    def num_classes(self) -> int:
        return len(self.dataset.classes)

    @property
    def targets(self) -> np.ndarray:
        """What the network is to say of each train image: float32 (N, classes), one-hot times the
        weight of its class."""
        return self.targets_of(slice(None))

    def targets_of(self, indices) -> np.ndarray:
        """The same of some train images."""
        one_hot = self.one_hot_of(indices)
        weights = self._class_weights
        if weights is None:
            return one_hot
        return one_hot * weights[self.dataset.train_labels[indices], None]

    def one_hot_of(self, indices) -> np.ndarray:
        """The classes of some train images: float32 (n, classes)."""
        return np.eye(self.num_classes, dtype="float32")[self.dataset.train_labels[indices]]

    @functools.cached_property
    def _class_weights(self) -> np.ndarray | None:
        """float32 (classes,), None where all count alike."""
        if self.recipe.class_weight != "balanced":
            return None
        counts = np.bincount(self.dataset.train_labels[self.train_indices])
        return (len(self.train_indices) / (self.num_classes * counts)).astype("float32")

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train_indices) / self.recipe.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the train part in the order of an epoch, 0 the first: int32 (N,)."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.train_indices)

    def sets_after(self, epochs: int) -> int:
        """How many sets of weights the mean is of that is taken after so many epochs; 0: none
        is."""
        recipe, past = self.recipe, epochs - self.recipe.main_epochs
        if not recipe.swa_cycles or past < 0 or past % recipe.swa_epochs:
            return 0
        return past // recipe.swa_epochs + 1

    def build(self):
        """The bare network, keras.Model, with weights that the global seed decides."""
        return networks.build(self.recipe, self.num_classes)


def _is_streamed(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether images are on disk, or take over a quarter of the GPU's memory. Raises InputError."""
    images = dataset.train_images
    generated = recipe.augmentation_engine != "compiled"
    if is_on_disk(images):
        if generated:
            raise InputError(
                f"recipe field augmentation_engine: {ENGINE} needs all images in memory, and as "
                f"float32 ({memory.in_words(4 * images.nbytes)}); `data_in` memory holds them "
                "there, the compiled step's augmentation reads them from disk"
            )
        return True
    room = None if generated else memory.of_gpu()
    return room is not None and images.nbytes > memory.SHARE * room


def default_steps_per_execution(recipe: Recipe, scanned: bool) -> int:
    """SCANNED_IMAGES' worth where epochs are scanned, about 1,000 images of 32 x 32 pixels' worth
    on TensorFlow (what it buys is in docs/experiments/engine.md), and 1 elsewhere, where Keras
    loops in Python all the same.

    Callbacks see a batch's beginning and end only so often, and so does Ctrl-C.
    """
    if not scanned and not backend.is_tensorflow():
        return 1
    images = SCANNED_IMAGES if scanned and backend.is_jax() else 1024
    images = images * 32 * 32 // (recipe.input_shape[0] * recipe.input_shape[1])
    return max(1, images // recipe.batch_size)
