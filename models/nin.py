"""Network in Network."""

from .searchable import Choice, Number, Widths, searchable


@searchable(
    widths=Widths(),
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    batch_normalization=Choice((False, True)),
)
def nin(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    widths=((192, 160, 96), (192, 192, 192), (192, 192)),
    dropout=0.5,
    batch_normalization=False,
):
    """Lin, Chen and Yan 2014, "Network in network": behind each convolution a small perceptron that
    slides over the image, two convolutions of 1 x 1, and averages of the last maps for outputs.

    At the defaults it is the authors' network for CIFAR-10. The paper has no hidden dense layers:
    the last block ends in a map for each class, whose mean over the image is the class' score.

    Args:
        input_shape: (height, width, channels); at least 4 x 4.
        num_classes: number of outputs.
        widths: the channels of each block's convolutions; the first of a block is 5 x 5, 3 x 3 in
            the last block, all others 1 x 1. One more, with num_classes channels, ends the network.
        dropout: rate between the blocks, 0 <= rate < 1.
        batch_normalization: whether all convolutions but the last are normalised, before their
            relu (Ioffe and Szegedy 2015).

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        966,986 parameters at the defaults.

    Raises:
        ValueError: no block or an empty one, or the images are too small for the poolings.
    """
    from keras import Input, Model, layers

    blocks = [list(block) if isinstance(block, (list, tuple)) else [block] for block in widths]
    if not blocks or not all(blocks):
        raise ValueError(
            f"widths: must be at least one block of one convolution, received {list(widths)}"
        )
    least = 2 ** (len(blocks) - 1)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )

    def convolution(x, width, side, name, last=False):
        normalised = batch_normalization and not last
        x = layers.Conv2D(
            width,
            side,
            padding="same",
            use_bias=not normalised,
            kernel_initializer="he_normal",
            name=f"conv{name}",
        )(x)
        if normalised:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{name}")(x)
        return x if last else layers.ReLU(name=f"relu{name}")(x)

    inputs = Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for i, block in enumerate(blocks, 1):
        if i > 1:
            # the authors' first pooling takes maxima, those that follow means
            kind = layers.MaxPooling2D if i == 2 else layers.AveragePooling2D
            x = kind(3, strides=2, padding="same", name=f"pool{i - 1}")(x)
            x = layers.Dropout(dropout, name=f"dropout{i - 1}")(x)
        for j, width in enumerate(block, 1):
            side = 1 if j > 1 else 3 if i == len(blocks) > 1 else 5
            x = convolution(x, width, side, f"{i}_{j}")
    x = convolution(x, num_classes, 1, "_output", last=True)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Softmax(dtype="float32", name="probabilities")(x)
    return Model(inputs, outputs, name="nin")
