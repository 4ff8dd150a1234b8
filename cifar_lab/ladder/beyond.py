"""Beyond the lecture: more accuracy in less time, after Jordan (2024)."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .rung import Rung

# Beyond the lecture: what Jordan's "94% on CIFAR-10 in 3.29 Seconds" (2024) does to a network of
# its shape, at half the width (a quarter of the arithmetic). Chosen on validation accuracy over 5
# to 8 epochs (docs/experiments/cifar10-90.md): batches of 256, relu (gelu costs a quarter of the
# speed at this width), the first half of the epochs at 24 x 24 pixels. Promises 90 % in less than
# ten minutes on two CPU cores.
CIFAR10_90 = Recipe(
    promise=0.90,
    idea="a whitened network, one short triangular cycle of Nesterov SGD, small images first",
    data="cifar10",
    input_shape=(32, 32, 3),
    builder="airbench",
    builder_options={"widths": [32, 128, 128], "activation": "relu"},
    augmentation=Augmentation(alternating_flip=True, crop_padding=2),
    small_images=((0.5, 24),),
    batch_size=256,
    epochs=12,
    learning_rate=0.4,
    schedule="triangular",
    optimizer="sgd",
    momentum=0.85,
    weight_decay=0.0088,
    bias_rate_factor=8.0,
    label_smoothing=0.2,
    whitening=True,
    dirac=True,
    keep="last",
    cpu_precision="mixed_bfloat16",
)

# The same at the widths that half an hour on two cores affords and three convolutions a stage,
# residual, with Muon for the convolutions, batches of 512, silu (whose cost hardly shows beside
# these convolutions), crops of 4 pixels and cutout, the last three epochs sharpness-aware
# (docs/experiments/cifar10-94.md). Promises 94.0 % without test-time views, within 64 epochs' time
# of the 74 network.
CIFAR10_94 = replace(
    CIFAR10_90,
    promise=0.94,
    idea="wider, three convolutions a stage, Muon, cutout, sharpness-aware at the end",
    builder_options={
        "widths": [64, 256, 192],
        "convolutions": 3,
        "residual": True,
        "activation": "silu",
    },
    epochs=21,
    validation_fraction=0.02,
    batch_size=512,
    learning_rate=0.8,
    optimizer="muon",
    kernel_rate=0.06,
    momentum=0.8,
    dirac=False,
    sharpness_radius=0.02,
    sharpness_share=0.15,
    small_images=((0.25, 20), (0.35, 24)),
    augmentation=Augmentation(alternating_flip=True, crop_padding=4, cutout_size=8),
)

# The network of Jordan's airbench96_faster (without its filtering of easy images), and
# cifar10-94's training for nearly twice the epochs, every whole one sharpness-aware, and the mean
# of the weights over six short cycles after them: four and a half hours on two cores. Promises
# 96.0 %.
CIFAR10_96 = replace(
    CIFAR10_94,
    promise=0.96,
    idea="128, 384, 512 channels, the mean of six short cycles' ends, stronger cutout",
    builder_options={
        "widths": [128, 384, 512],
        "convolutions": 3,
        "residual": True,
        "activation": "silu",
    },
    epochs=56,
    small_images=((0.143, 20), (0.25, 24)),
    sharpness_share=0.607,
    swa_share=0.321,
    swa_epochs=3,
    swa_rate=0.25,
    kernel_rate=0.05,
    dirac=True,
    augmentation=Augmentation(alternating_flip=True, crop_padding=4, cutout_size=12),
)

# cifar10-94's training on CIFAR-100, its last stage as wide as the second. The base that own
# pictures are best begun from (docs/guide/own-pictures.md). Promises 70 %.
CIFAR100_70 = replace(
    CIFAR10_94,
    promise=0.70,
    idea="a hundred classes: cifar10-94's training, 64, 256, 256 channels",
    data="cifar100",
    builder_options={
        "widths": [64, 256, 256],
        "convolutions": 3,
        "residual": True,
        "activation": "silu",
    },
)

RUNGS = {
    "cifar10-90": Rung(recipe=CIFAR10_90, parameters=498_680, accuracies=(0.896, 0.91), times=3),
    "cifar10-94": Rung(
        recipe=CIFAR10_94, parameters=2_527_416, accuracies=(0.935, 0.946), runs=3, times=3
    ),
    "cifar10-96": Rung(
        recipe=CIFAR10_96,
        parameters=9_921_848,
        accuracies=(0.955, 0.966),
        weights="18.7 MB, too large for the repository",
        runs=3,
        times=1,
    ),
    "cifar100-70": Rung(recipe=CIFAR100_70, parameters=3_192_184, accuracies=(0.69, 0.76)),
}
