"""The mean of the weights at the ends of short cycles (stochastic weight averaging; Izmailov et al.
2018), as a trainer's epochs go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from ..phases import Phase
    from .trainer import Trainer

#: Train images, augmented, from which a mean of weights has its normalisation's statistics.
STATISTICS_IMAGES = 8192

#: Images of a batch, at least, where statistics are taken anew after an epoch of few steps: each
#: batch is a call without a compiled function, whose cost is that of the call.
SETTLING_BATCH = 256


#: Steps an epoch below which the moving statistics of any network do not count as settled.
FEW_STEPS = 50


def settling_steps(network: keras.Model) -> float:
    """Steps that batch normalisation's moving statistics need to follow the weights: twice the time
    in which the old ones fade to 1 / e, at least FEW_STEPS; 0 for a network without it."""
    momenta = [layer.momentum for layer in learning_norms(network)]
    return max([FEW_STEPS, *(2 / (1 - m + 1e-9) for m in momenta)]) if momenta else 0


def learning_norms(network: keras.Model) -> list:
    """Its batch normalisation, as far as it learns: a frozen one keeps its statistics."""
    norms = [x for x in network.layers if isinstance(x, layers.BatchNormalization)]
    return [layer for layer in norms if layer.trainable]


def take_mean(trainer: Trainer, epoch: int) -> dict:
    """Take the weights of the end of an epoch, 0 the first, into trainer.kept, the mean so far.

    Returns its validation figures, {"val_loss", "val_accuracy"}; {} for the first set, whose
    figures are the epoch's own. The training itself goes on as if nothing had been taken.
    """
    count, weights = trainer.plan.sets_after(epoch + 1), trainer.network.get_weights()
    if count == 1 or trainer.kept is None:
        trainer.kept = weights
        return {}
    before = trainer.values()
    pairs = zip(trainer.kept, weights, strict=True)
    trainer.network.set_weights([mean + (new - mean) / count for mean, new in pairs])
    indices = trainer.order(epoch)[:STATISTICS_IMAGES]
    renew_statistics(trainer, epoch, indices, trainer.plan.recipe.batch_size)
    trainer.kept = trainer.network.get_weights()
    found = trainer.validate(epoch)
    trainer.assign(before)
    return {"val_loss": found["loss"], "val_accuracy": found["accuracy"]}


def settling_size(trainer: Trainer) -> int:
    """Images of a batch where statistics are taken anew after an epoch of few steps."""
    return max(trainer.plan.recipe.batch_size, SETTLING_BATCH)


def compile_renewals(trainer: Trainer, phase: Phase) -> None:
    """Compile what takes statistics anew in a phase, where its epochs are scanned."""
    plan, norms = trainer.plan, learning_norms(trainer.network)
    means = (plan.sets_after(epoch + 1) > 1 for epoch, p in enumerate(plan.phases) if p == phase)
    sizes = set() if trainer.settles else {settling_size(trainer)}
    sizes |= {plan.recipe.batch_size} if any(means) else set()
    indices = plan.train_indices[:STATISTICS_IMAGES]
    for size in sizes if norms else ():
        trainer.scanned[phase].compile_renewal(norms, indices, min(size, len(indices)))


def renew_statistics(trainer: Trainer, epoch: int, indices: np.ndarray, batch_size: int) -> None:
    """Give batch normalisation the mean over these images' batches, whole ones, as its moving
    statistics, at the size of an epoch's images. indices: int32 (N,) of train images."""
    norms, size = learning_norms(trainer.network), min(batch_size, len(indices))
    if norms and trainer.scanned:
        trainer.scanned[trainer.phase_of(epoch)].renew(norms, indices, size)
        return
    model, momenta = trainer.model_of(epoch), [layer.momentum for layer in norms]
    for n in range(len(indices) // size if norms else 0):
        for layer in norms:
            layer.momentum = n / (n + 1)
        given = trainer.seen(indices[n * size : (n + 1) * size], epoch)
        model(keras.tree.map_structure(ops.convert_to_tensor, given), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
