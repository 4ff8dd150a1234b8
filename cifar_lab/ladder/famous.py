"""Famous networks, all trained by one recipe."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .rung import Rung

# What they share. It is that of the tiny rungs at full size throughout, since the hidden layers of
# AlexNet and the poolings of VGG-16 do not take smaller images: Muon on a triangular rate, mirrored
# and shifted images, smoothed labels. It was the first setting tried, for ResNet-20, and no network
# has settings of its own. 20 epochs bring the slowest, ResNet-56, to the end within an hour on two
# cores that have bfloat16.
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


def _recipe(builder, options, idea):
    return replace(SHARED, builder=builder, builder_options=options, idea=idea)


# A 3 x 3 convolution stands for the published 11 x 11, which is for images of 227 pixels.
ALEXNET = _recipe(
    "alexnet", {}, "AlexNet: five convolutions, hidden layers with dropout (Krizhevsky et al. 2012)"
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
    "VGG-16: deeper, of 3 x 3 convolutions alone (Simonyan and Zisserman 2015)",
)

# As published for CIFAR-10.
NIN = _recipe(
    "nin", {}, "Network in Network: 1 x 1 convolutions, means for outputs (Lin et al. 2014)"
)

# All nine modules, at half their width, with batch normalisation.
GOOGLENET = _recipe(
    "inception", {}, "GoogLeNet: modules of four parallel branches (Szegedy et al. 2015)"
)

# As published for CIFAR-10, and its plain twins.
RESNETS = {
    f"cifar10-{kind}{6 * blocks + 2}": _recipe(
        "resnet", {"blocks": blocks} if skip else {"blocks": blocks, "skip": False}, idea
    )
    for kind, blocks, skip, idea in (
        ("resnet", 3, True, "ResNet-20: residual blocks (He et al. 2016)"),
        ("resnet", 5, True, "ResNet-32: two more blocks in each stage"),
        ("resnet", 9, True, "ResNet-56: four more blocks in each stage"),
        ("plain", 3, False, "ResNet-20 without its shortcuts"),
        ("plain", 9, False, "ResNet-56 without its shortcuts"),
    )
}

_UNDER_WAY = "its first run is under way"

RUNGS = {
    "cifar10-alexnet": Rung(
        recipe=ALEXNET, parameters=1_788_810, accuracies=(0.8, 0.9), weights=_UNDER_WAY
    ),
    "cifar10-vgg16": Rung(
        recipe=VGG16, parameters=3_689_066, accuracies=(0.9, 0.95), weights=_UNDER_WAY
    ),
    "cifar10-nin": Rung(recipe=NIN, parameters=966_986, accuracies=(0.8, 0.95), weights=_UNDER_WAY),
    "cifar10-googlenet": Rung(
        recipe=GOOGLENET, parameters=1_473_930, accuracies=(0.9, 0.95), weights=_UNDER_WAY
    ),
    **{
        name: Rung(
            recipe=recipe,
            parameters={"20": 271_098, "32": 466_426, "56": 857_082}[name[-2:]],
            accuracies=(0.8, 0.95),
            weights=_UNDER_WAY,
        )
        for name, recipe in RESNETS.items()
    },
}
