"""Famous networks, trained by one recipe each."""

from __future__ import annotations

from ..recipe import Augmentation, Recipe
from .rung import Rung

# The smallest residual network of He et al. (2016), who have 91.25 % with it after 64,000 steps of
# 128 images. Trained as the tiny rungs are, in a third of the steps: Muon on a triangular rate,
# three fifths of the epochs on small images. It was the first setting tried. Promises 91.0 %.
CIFAR10_RESNET20 = Recipe(
    promise=0.91,
    idea="ResNet-20: residual blocks (He et al. 2016), Muon, small images first",
    data="cifar10",
    input_shape=(32, 32, 3),
    builder="resnet",
    builder_options={"blocks": 3},
    augmentation=Augmentation(alternating_flip=True, crop_padding=4),
    small_images=((0.25, 20), (0.35, 24)),
    batch_size=128,
    epochs=60,
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

RUNGS = {
    "cifar10-resnet20": Rung(
        recipe=CIFAR10_RESNET20, parameters=271_098, accuracies=(0.915, 0.932)
    ),
}
