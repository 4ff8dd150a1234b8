"""A small network for boards: depthwise separable residual blocks.

Howard et al. 2017 (MobileNets), He et al. 2016 (residual learning).
"""

from .searchable import Number, Widths, searchable


# No choice of the activation: relu is the one that every board's int8 kernels have.
@searchable(
    stem=Widths(),
    widths=Widths(),
    blocks=Number(1, 16, whole=True),
    kernel_size=Number(1, 9, whole=True),
)
def edge(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    stem=24,
    widths=(24, 56, 96),
    blocks=(2, 4, 4),
    kernel_size=3,
):
    """A 3 x 3 convolution, then stages of blocks; all but the first begin by halving the sides.

    A block is a depthwise convolution, normalised, a 1 x 1 convolution, normalised, added to the
    block's input where the two have one shape, and relu. All of it has int8 kernels on
    microcontrollers.

    Args:
        input_shape: (height, width, channels); both sides at least 2 ** (stages - 1).
        num_classes: number of outputs.
        stem: channels of the first convolution.
        widths: channels of each stage.
        blocks: blocks of each stage, at least 1.
        kernel_size: of the depthwise convolutions.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        56,858 parameters at the defaults.

    Raises:
        ValueError: widths and blocks of different lengths, or the images are too small for the
            stages.
    """
    import keras
    from keras import layers

    if not widths or len(widths) != len(blocks) or min(blocks) < 1:
        raise ValueError(
            "widths and blocks: must be as many, each stage of at least one block, received "
            f"{list(widths)} and {list(blocks)}"
        )
    least = 2 ** (len(widths) - 1)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )
    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(stem, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), 1):
        for i in range(1, count + 1):
            name, before = f"{stage}_{i}", x
            x = layers.DepthwiseConv2D(
                kernel_size,
                strides=2 if i == 1 and stage > 1 else 1,
                padding="same",
                use_bias=False,
                name=f"depthwise{name}",
            )(x)
            x = layers.BatchNormalization(name=f"norm{name}_1")(x)
            x = layers.Conv2D(width, 1, use_bias=False, name=f"pointwise{name}")(x)
            x = layers.BatchNormalization(name=f"norm{name}_2")(x)
            if x.shape == before.shape:
                x = layers.Add(name=f"add{name}")([x, before])
            x = layers.ReLU(name=f"relu{name}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="edge")
