"""The network of Jordan (2024), "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"."""

from .searchable import ACTIVATIONS, Choice, Number, Widths, searchable


@searchable(
    widths=Widths(),
    convolutions=Number(1, 6, whole=True),
    residual=Choice((False, True)),
    activation=Choice(ACTIVATIONS),
)
def airbench(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    widths=(64, 256, 256),
    convolutions=2,
    residual=False,
    activation="gelu",
):
    """A 2 x 2 convolution, then stages of convolution, pooling, normalisation, more convolutions.

    Args:
        input_shape: (height, width, channels); both sides at least 1 + 2 ** number of stages.
        num_classes: number of outputs.
        widths: channels of each stage.
        convolutions: convolutions in each stage, the first before the pooling.
        residual: whether the activations behind the first convolution of a stage are added to what
            its last gives, before its activation; with 3 convolutions and widths 128, 384, 512 the
            network of Jordan's airbench96_faster.
        activation: name of a Keras activation.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        The first layer, "whiten", is an ordinary one until `initialisation.whiten` sets it from
        train images and freezes it; unlike in the paper, its bias is frozen too. Normalisation has
        no scale, as there. 1,973,944 parameters at the defaults.

    Raises:
        ValueError: no stage or no convolution, residual with one convolution, or the images are too
            small for the poolings.
    """
    import keras
    from keras import layers

    if not widths or convolutions < 1:
        raise ValueError(
            "widths and convolutions: must be at least one stage of one convolution, "
            f"received {list(widths)} and {convolutions}"
        )
    if residual and convolutions < 2:
        raise ValueError(
            f"residual: needs at least two convolutions in a stage, received {convolutions}"
        )
    least = 2 ** len(widths) + 1
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )
    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    # each eigenvector of a 2 x 2 patch, and its negative
    x = layers.Conv2D(2 * 4 * input_shape[2], 2, name="whiten")(x)
    x = layers.Activation(activation, name="act0")(x)
    for stage, width in enumerate(widths, 1):
        first = None
        for i in range(1, convolutions + 1):
            name = f"{stage}_{i}"
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{name}")(x)
            if i == 1:
                x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
            x = layers.BatchNormalization(
                momentum=0.6, epsilon=1e-5, scale=False, name=f"norm{name}"
            )(x)
            if residual and i == convolutions:
                x = layers.Add(name=f"add{stage}")([x, first])
            x = layers.Activation(activation, name=f"act{name}")(x)
            if i == 1:
                first = x
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    x = layers.Dense(num_classes, use_bias=False, name="output")(x)
    x = layers.Rescaling(1 / 9, dtype="float32", name="temperature")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Softmax(dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="airbench")
