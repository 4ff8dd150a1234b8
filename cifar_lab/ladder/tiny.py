"""For boards: networks that fit, as int8 files, into a few dozen kilobytes."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .rung import Rung

# For boards: depthwise separable residual networks that fit, as int8 files, into 98 and 40 KB.
# Muon had 80.4 % on validation after five epochs where Adam had 76.5 %; its kernel_rate of then,
# 0.08, is too high for many epochs: at the peak the networks stayed at 62 and 63 % of their train
# images (docs/experiments/tiny.md). Most epochs see small images, which makes half as many again
# in the same time. The promises are those of the int8 files.
CIFAR10_TINY_91 = Recipe(
    promise=0.91,
    idea="a 98 KB file: depthwise separable residual blocks, Muon, small images first",
    data="cifar10",
    input_shape=(32, 32, 3),
    builder="edge",
    builder_options={"stem": 16, "widths": [16, 64, 120], "blocks": [1, 7, 3]},
    augmentation=Augmentation(alternating_flip=True, crop_padding=3),
    small_images=((0.25, 20), (0.35, 24)),
    batch_size=128,
    epochs=80,
    learning_rate=0.1,
    schedule="triangular",
    warmup_fraction=0.1,
    optimizer="muon",
    momentum=0.9,
    kernel_rate=0.02,
    weight_decay=0.0005,
    label_smoothing=0.05,
    validation_fraction=0.05,
    keep="last",
)

CIFAR10_TINY_88 = replace(
    CIFAR10_TINY_91,
    promise=0.88,
    idea="a 40 KB file: fewer and narrower blocks, more epochs",
    epochs=120,
    builder_options={"stem": 16, "widths": [16, 40, 72], "blocks": [1, 4, 3]},
)

RUNGS = {
    "cifar10-tiny-88": Rung(
        recipe=CIFAR10_TINY_88, parameters=26_106, accuracies=(0.885, 0.905), runs=3
    ),
    "cifar10-tiny-91": Rung(
        recipe=CIFAR10_TINY_91, parameters=76_698, accuracies=(0.91, 0.925), runs=3
    ),
}
