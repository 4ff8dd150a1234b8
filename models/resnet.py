"""The residual networks of He et al. (2016), "Deep Residual Learning for Image Recognition"."""

from .searchable import Choice, Number, Widths, searchable


@searchable(blocks=Number(1, 18, whole=True), widths=Widths(), skip=Choice((True, False)))
def resnet(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    blocks=3,
    widths=(16, 32, 64),
    skip=True,
):
    """The paper's networks for small images (section 4.2): 6 * blocks + 2 layers at three stages.

    A 3 x 3 convolution, then stages of residual blocks, all but the first beginning by halving the
    sides; a block is two 3 x 3 convolutions, each normalised, added to the block's input, and relu.
    Where a stage halves the sides and widens, the shortcut takes every second pixel and fills the
    new channels with zeros (the paper's option A): it has no parameters.

    Args:
        input_shape: (height, width, channels); both sides at least 2 ** (stages - 1).
        num_classes: number of outputs.
        blocks: residual blocks of each stage; 3, 5, 9 for 20, 32, 56 layers.
        widths: channels of each stage, not decreasing.
        skip: whether there are shortcuts; without, the plain network of the paper.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        271,098 parameters at the defaults, ResNet-20: 269,722 that are trained, and the moving
        statistics of its normalisation.

    Raises:
        ValueError: no stage or no block, widths that decrease, or images too small for the stages.
    """
    from keras import Input, Model, layers

    if not widths or blocks < 1:
        raise ValueError(
            "widths and blocks: must be at least one stage of one block, "
            f"received {list(widths)} and {blocks}"
        )
    if list(widths) != sorted(widths):
        raise ValueError(f"widths: must not decrease, received {list(widths)}")
    least = 2 ** (len(widths) - 1)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )

    def convolution(x, width, strides, name):
        # no bias: the normalisation that follows would take it out
        x = layers.Conv2D(
            width,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{name}",
        )(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"norm{name}")(x)

    def shortcut(x, width, strides, name):
        if strides > 1:
            x = layers.AveragePooling2D(1, strides=strides, name=f"subsample{name}")(x)
        if x.shape[-1] < width:
            # it pads the last two axes, which it takes for height and width: here width, channels
            x = layers.ZeroPadding2D(
                ((0, 0), (0, width - x.shape[-1])), data_format="channels_first", name=f"pad{name}"
            )(x)
        return x

    inputs = Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = layers.ReLU(name="relu")(convolution(x, widths[0], 1, ""))
    for stage, width in enumerate(widths, 1):
        for i in range(1, blocks + 1):
            name, before = f"{stage}_{i}", x
            strides = 2 if i == 1 and stage > 1 else 1
            x = layers.ReLU(name=f"relu{name}_1")(convolution(x, width, strides, f"{name}_1"))
            x = convolution(x, width, 1, f"{name}_2")
            if skip:
                x = layers.Add(name=f"add{name}")([x, shortcut(before, width, strides, name)])
            x = layers.ReLU(name=f"relu{name}_2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return Model(inputs, outputs, name="resnet")
