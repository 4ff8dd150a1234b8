"""Famous networks, all trained by one recipe."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .rung import Rung

# What they share. It is that of the tiny rungs at full size throughout, since the hidden layers of
# AlexNet and the poolings of VGG-16 do not take smaller images: Muon on a triangular rate, mirrored
# and shifted images, smoothed labels. It was the first setting tried, for ResNet-20, and no network
# has settings of its own. 20 epochs of ResNet-20 end within an hour on two cores with bfloat16.
SHARED = Recipe(
    data="cifar10",
    input_shape=(32, 32, 3),
    augmentation=Augmentation(alternating_flip=True, crop_padding=4),
    batch_size=128,
    epochs=20,
    learning_rate=0.1,
    schedule="triangular",
    warmup_fraction=0.1,
    optimizer="muon",
    momentum=0.9,
    kernel_rate=0.025,
    weight_decay=0.0005,
    label_smoothing=0.05,
    validation_fraction=0.05,
    keep="last",
    cpu_precision="mixed_bfloat16",
)


def _recipe(builder, options, promise, idea):
    """promise: half a point below the first seed's validation accuracy, rounded down to a half."""
    return replace(SHARED, builder=builder, builder_options=options, promise=promise, idea=idea)


# A 3 x 3 convolution stands for the published 11 x 11, which is for images of 227 pixels.
ALEXNET = _recipe(
    "alexnet",
    {},
    0.885,
    "AlexNet: five convolutions, hidden layers with dropout (Krizhevsky et al. 2012)",
)

# All 13 convolutions, at half their width, with batch normalisation and no hidden layers.
VGG16 = _recipe(
    "vgg",
    {
        "filters": [32, 64, 128, 256, 256],
        "convolutions": [2, 2, 3, 3, 3],
        "dropout": 0.0,
        "l2": 0.0,
    },
    0.905,
    "VGG-16: deeper, of 3 x 3 convolutions alone (Simonyan and Zisserman 2015)",
)

# As published for CIFAR-10.
NIN = _recipe(
    "nin", {}, 0.89, "Network in Network: 1 x 1 convolutions, means for outputs (Lin et al. 2014)"
)

# All nine modules, at half their width, with batch normalisation.
GOOGLENET = _recipe(
    "inception", {}, 0.915, "GoogLeNet: modules of four parallel branches (Szegedy et al. 2015)"
)

# As published for CIFAR-10, and their plain twins.
RESNET20 = _recipe("resnet", {"blocks": 3}, 0.91, "ResNet-20: residual blocks (He et al. 2016)")
RESNET32 = _recipe(
    "resnet", {"blocks": 5}, 0.9, "ResNet-32: five residual blocks a stage instead of three"
)
RESNET56 = _recipe(
    "resnet", {"blocks": 9}, 0.91, "ResNet-56: nine residual blocks a stage instead of three"
)
PLAIN20 = _recipe("resnet", {"blocks": 3, "skip": False}, 0.89, "ResNet-20 without its shortcuts")
PLAIN56 = _recipe("resnet", {"blocks": 9, "skip": False}, 0.735, "ResNet-56 without its shortcuts")

RUNGS = {
    "cifar10-alexnet": Rung(recipe=ALEXNET, parameters=1_788_810, accuracies=(0.885, 0.915)),
    "cifar10-vgg16": Rung(recipe=VGG16, parameters=3_689_066, accuracies=(0.907, 0.928)),
    "cifar10-nin": Rung(recipe=NIN, parameters=966_986, accuracies=(0.882, 0.903)),
    "cifar10-googlenet": Rung(recipe=GOOGLENET, parameters=1_473_930, accuracies=(0.914, 0.935)),
    "cifar10-plain20": Rung(recipe=PLAIN20, parameters=271_098, accuracies=(0.882, 0.903)),
    "cifar10-plain56": Rung(recipe=PLAIN56, parameters=857_082, accuracies=(0.72, 0.86)),
    "cifar10-resnet20": Rung(recipe=RESNET20, parameters=271_098, accuracies=(0.903, 0.924)),
    "cifar10-resnet32": Rung(recipe=RESNET32, parameters=466_426, accuracies=(0.909, 0.93)),
    "cifar10-resnet56": Rung(recipe=RESNET56, parameters=857_082, accuracies=(0.912, 0.933)),
}
