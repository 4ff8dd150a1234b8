"""The recommended way to train on one's own pictures: what `train.py FOLDER` does."""

from __future__ import annotations

from .recipe import Augmentation, Recipe

#: What cards call it, where a rung has its name.
LABEL = "own-pictures"

# The evidence is in docs/measurements/transfer.md: on a few hundred photos trained weights are
# worth more than anything else here, and 64 pixels more than 32. The last layer is trained alone
# first: what an untrained one asks of the others would spoil them (Kumar et al. 2022).
RECIPE = Recipe(
    idea="one's own pictures, few of them, as serves them best",
    data="",
    input_shape=(64, 64, 3),
    builder="airbench",
    builder_options={
        "widths": [64, 256, 256],
        "convolutions": 3,
        "residual": True,
        "activation": "silu",
    },
    start="cifar100-70",
    head_share=1 / 3,
    fine_rate=0.05,
    augmentation=Augmentation(
        rotation_range=10,
        width_shift_range=0.08,
        height_shift_range=0.08,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="reflect",
    ),
    batch_size=32,
    epochs=30,
    learning_rate=0.02,
    schedule="triangular",
    label_smoothing=0.1,
    class_weight="balanced",
    keep="last",
    cpu_precision="mixed_bfloat16",
)
