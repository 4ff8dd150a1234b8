"""What a training will do, resolved once from recipe, data set, seed and machine, and handed
down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import backend, networks
from ..data import Dataset, stratified_split
from ..phases import Phase, phase_of
from ..recipe import Recipe

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
    ) -> Plan:
        """Resolve a recipe, on this machine.

        Args:
            recipe: what to train.
            dataset: its images have the recipe's input shape.
            seed: decides the initial weights, the validation split, dropout, augmentation and the
                order of images.
            precision, steps_per_execution, fused, scanned: for measurements; by default what suits
                the recipe and the device: scanned on a GPU with JAX, but for ImageDataGenerator.
        """
        generated = recipe.augmentation_engine != "compiled"
        if scanned is None:
            scanned = backend.is_jax_on_gpu() and not generated
        elif scanned and generated:
            raise ValueError("scanned: must be False where ImageDataGenerator draws the images")
        elif scanned and not backend.is_jax():
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
            backend.device()[1],
            tuple(phase_of(recipe, epoch) for epoch in range(recipe.epochs)),
            steps,
            fused,
            scanned,
        )

    @property
    def num_classes(self) -> int:
        return len(self.dataset.classes)

    @property
    def targets(self) -> np.ndarray:
        """What the network is to say of each train image: float32 (N, classes), one-hot times the
        weight of its class."""
        one_hot = np.eye(self.num_classes, dtype="float32")[self.dataset.train_labels]
        if self.recipe.class_weight != "balanced":
            return one_hot
        counts = np.bincount(self.dataset.train_labels[self.train_indices])
        weights = len(self.train_indices) / (self.num_classes * counts)
        return one_hot * weights[self.dataset.train_labels, None].astype("float32")

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


def default_steps_per_execution(recipe: Recipe, scanned: bool) -> int:
    """SCANNED_IMAGES' worth where epochs are scanned, about 1,000 images of 32 x 32 pixels' worth
    on TensorFlow (what it buys is in docs/experiments/engine.md), and 1 elsewhere, where Keras
    loops in Python all the same.

    Callbacks see a batch's beginning and end only so often, and so does Ctrl-C.
    """
    if not scanned and not backend.is_tensorflow():
        return 1
    images = SCANNED_IMAGES if scanned else 1024
    images = images * 32 * 32 // (recipe.input_shape[0] * recipe.input_shape[1])
    return max(1, images // recipe.batch_size)
