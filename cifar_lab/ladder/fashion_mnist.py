"""Fashion-MNIST: the lecture's second network, and what else it can do."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .beyond import CIFAR10_90
from .rung import Rung

# The lecture's second data set and network. It does not give the epochs: at a constant rate ten
# give 90.8 %; chosen on validation data: 40 epochs of a cosine to zero, batches of 64. Promises
# 92.0 %.
FASHION_MNIST_92 = Recipe(
    promise=0.92,
    idea="grey images of clothes, small kernels, strong dropout",
    data="fashion-mnist",
    input_shape=(28, 28, 1),
    builder="fashion_mnist_cnn",
    batch_size=64,
    epochs=40,
    schedule="cosine",
)

# The same network trained as well as we know how: mirrored images, with them less dropout in the
# convolutions, smoothed labels, Adam from 0.002 down a cosine, 60 epochs. With shifted images too
# (2 pixels, dropout 0.1 and 0.4, 45 epochs) it underfitted: 92.7 % on validation, 92.5 % on test;
# with this 93.2 and 93.4 %. Promises 93 %.
FASHION_MNIST_93 = replace(
    FASHION_MNIST_92,
    promise=0.93,
    idea="the same 412,778 parameters, images mirrored, labels smoothed, 60 epochs",
    builder_options={"conv_dropout": 0.15, "hidden_dropout": 0.5},
    batch_size=128,
    epochs=60,
    learning_rate=0.002,
    label_smoothing=0.1,
    augmentation=Augmentation(horizontal_flip=True),
    validation_fraction=0.05,
    keep="last",
    cpu_precision="mixed_bfloat16",
)

# Fashion-MNIST with the means of cifar10-90, Muon, cutout, many epochs, and at most 800,000
# parameters: two stages of four convolutions, residual, so that half of them see 13 x 13 pixels.
# Promises 95.0 %: the first seed has 95.1, the mean of four is a tenth below.
FASHION_MNIST_95 = replace(
    CIFAR10_90,
    promise=0.95,
    idea="two residual stages of four convolutions, Muon, images shifted and cut out",
    data="fashion-mnist",
    input_shape=(28, 28, 1),
    builder_options={
        "widths": [64, 128],
        "convolutions": 4,
        "residual": True,
        "activation": "silu",
    },
    epochs=70,
    small_images=((0.4, 20),),
    validation_fraction=0.03,
    optimizer="muon",
    kernel_rate=0.04,
    augmentation=Augmentation(alternating_flip=True, crop_padding=2, cutout_size=8),
)

RUNGS = {
    "fashion-mnist-92": Rung(
        recipe=FASHION_MNIST_92, parameters=412_778, accuracies=(0.915, 0.935), times=3
    ),
    "fashion-mnist-93": Rung(
        recipe=FASHION_MNIST_93, parameters=412_778, accuracies=(0.925, 0.943)
    ),
    "fashion-mnist-95": Rung(
        recipe=FASHION_MNIST_95,
        parameters=634_920,
        accuracies=(0.943, 0.956),
        reached=False,
        runs=3,
    ),
}
