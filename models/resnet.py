"""The residual networks of He et al. (2016), "Deep Residual Learning for Image Recognition"."""

from .searchable import Choice, Number, Widths, searchable


@searchable(
    blocks=Number(1, 18, whole=True),
    widths=Widths(),
    skip=Choice((True, False)),
    preactivation=Choice((False, True)),
    projection=Choice((False, True)),
    wide=Number(1, 16, whole=True),
)
def resnet(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    blocks=3,
    widths=(16, 32, 64),
    skip=True,
    preactivation=False,
    projection=False,
    wide=1,
):
    """The paper's networks for small images (section 4.2): 6 * blocks + 2 layers at three stages.

    A 3 x 3 convolution, then stages of residual blocks, all but the first beginning by halving the
    sides; a block is two 3 x 3 convolutions, each normalised, added to the block's input, and relu.
    Where a stage halves the sides and widens, the shortcut takes every second pixel and fills the
    new channels with zeros (the paper's option A): it has no parameters.

    A wide residual network (Zagoruyko and Komodakis 2016, "Wide residual networks") is
    resnet(blocks=4, wide=10, preactivation=True, projection=True), their WRN-28-10.

    Args:
        input_shape: (height, width, channels); both sides at least 2 ** (stages - 1).
        num_classes: number of outputs.
        blocks: residual blocks of each stage; 3, 5, 9 for 20, 32, 56 layers.
        widths: channels of each stage, not decreasing; the first convolution has those of the
            first.
        skip: whether there are shortcuts; without, the plain network of the paper.
        preactivation: whether normalisation and relu come before each convolution instead of after,
            so that nothing but the sum is on the way from block to block (He et al. 2016, "Identity
            mappings in deep residual networks").
        projection: whether a shortcut that changes the shape is a 1 x 1 convolution (option B).
        wide: factor of the widths behind the first convolution.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        271,098 parameters at the defaults, ResNet-20: 269,722 that are trained, and the moving
        statistics of its normalisation. ResNet-32 has 464,154 that are trained, ResNet-56 853,018,
        WRN-28-10 36,479,194.

    Raises:
        ValueError: no stage or no block, widths that decrease, or images too small for the stages.
    """
    from keras import Input, Model, layers

    if not widths or blocks < 1 or wide < 1:
        raise ValueError(
            "widths, blocks and wide: must be at least one stage of one block, and 1, "
            f"received {list(widths)}, {blocks} and {wide}"
        )
    if list(widths) != sorted(widths):
        raise ValueError(f"widths: must not decrease, received {list(widths)}")
    least = 2 ** (len(widths) - 1)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )

    def convolution(x, width, strides, name, side=3):
        # no bias: a normalisation follows, here or in the next block, and would take it out
        return layers.Conv2D(
            width,
            side,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{name}",
        )(x)

    def normalised(x, name):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"norm{name}")(x)

    def activated(x, name):
        return layers.ReLU(name=f"relu{name}")(x)

    def shortcut(x, width, strides, name):
        if projection and (strides > 1 or x.shape[-1] != width):
            x = convolution(x, width, strides, f"{name}_0", side=1)
            return x if preactivation else normalised(x, f"{name}_0")
        if strides > 1:
            x = layers.AveragePooling2D(1, strides=strides, name=f"subsample{name}")(x)
        if x.shape[-1] < width:
            # it pads the last two axes, which it takes for height and width: here width, channels
            x = layers.ZeroPadding2D(
                ((0, 0), (0, width - x.shape[-1])), data_format="channels_first", name=f"pad{name}"
            )(x)
        return x

    def block(x, width, strides, name):
        before = x
        x = convolution(x, width, strides, f"{name}_1")
        x = activated(normalised(x, f"{name}_1"), f"{name}_1")
        x = normalised(convolution(x, width, 1, f"{name}_2"), f"{name}_2")
        if skip:
            x = layers.Add(name=f"add{name}")([x, shortcut(before, width, strides, name)])
        return activated(x, f"{name}_2")

    def preactivated_block(x, width, strides, name):
        before = x
        x = activated(normalised(x, f"{name}_1"), f"{name}_1")
        if projection and (strides > 1 or before.shape[-1] != width):
            before = x  # the paper's projections see the activations
        x = convolution(x, width, strides, f"{name}_1")
        x = activated(normalised(x, f"{name}_2"), f"{name}_2")
        x = convolution(x, width, 1, f"{name}_2")
        if skip:
            x = layers.Add(name=f"add{name}")([x, shortcut(before, width, strides, name)])
        return x

    inputs = Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = convolution(x, widths[0], 1, "")
    if not preactivation:
        x = activated(normalised(x, ""), "")
    for stage, width in enumerate(widths, 1):
        for i in range(1, blocks + 1):
            strides = 2 if i == 1 and stage > 1 else 1
            kind = preactivated_block if preactivation else block
            x = kind(x, wide * width, strides, f"{stage}_{i}")
    if preactivation:
        x = activated(normalised(x, ""), "")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return Model(inputs, outputs, name="resnet")
