"""LeNet-5."""

from .searchable import ACTIVATIONS, Choice, Number, searchable
from .standardized import regularizer, scaled


@searchable(
    activation=Choice(ACTIVATIONS),
    pooling=Choice(("average", "max")),
    dropout=Number(0.0, 0.95, usual=(0.0, 0.5)),
    standardize=Choice((False, True)),
    input_noise=Number(0.0, 10.0),
    l2=Number(0.0, 1.0, usual=(1e-6, 1e-3), log=True),
)
def lenet5(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    activation="tanh",
    pooling="average",
    dropout=0.0,
    standardize=False,
    input_noise=0.0,
    l1=0.0,
    l2=0.0,
):
    """LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document
    recognition": two 5 x 5 convolutions of 6 and 16 channels with pooling, dense layers of 120 and
    84.

    As the lectures draw it: the second convolution sees all 6 maps, pooling has no weights, and the
    outputs are a softmax; the paper has a table of connections there, trained pooling, and radial
    basis functions.

    Args:
        input_shape: (height, width, channels), at least 16 x 16. Images of less than 32 pixels a
            side are padded by 2 on each side, as the paper brings MNIST's 28 to 32.
        num_classes: number of outputs.
        activation: name of a Keras activation, after each layer with weights but the last.
        pooling: "average" or "max", 2 x 2.
        dropout: rate after each of the two hidden dense layers, 0 <= rate < 1.
        standardize: whether each channel is brought to mean 0 and variance 1 over the train images,
            see standardized.scaled; else pixels are brought to 0-1.
        input_noise: standard deviation of the noise on the scaled pixels while training.
        l1, l2: factors of the sum of the weights' sizes and of their squares in the loss.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        61,706 parameters at the defaults; 62,006 for (32, 32, 3).

    Raises:
        ValueError: the images are too small, or there is no such pooling.
    """
    import keras
    from keras import layers

    if min(input_shape[:2]) < 16:
        raise ValueError(
            f"input_shape: height and width must be at least 16, received {input_shape}"
        )
    if pooling not in ("average", "max"):
        raise ValueError(f"pooling: must be average or max, received {pooling!r}")
    pool = layers.AveragePooling2D if pooling == "average" else layers.MaxPooling2D
    weights = {"kernel_regularizer": regularizer(l1, l2)}
    inputs = keras.Input(input_shape, name="pixels")
    x = scaled(inputs, standardize, input_noise)
    padding = "same" if min(input_shape[:2]) < 32 else "valid"
    for i, (channels, pad) in enumerate(((6, padding), (16, "valid")), 1):
        x = layers.Conv2D(channels, 5, padding=pad, name=f"conv{i}", **weights)(x)
        x = layers.Activation(activation, name=f"act{i}")(x)
        x = pool(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate((120, 84), 3):
        x = layers.Dense(units, name=f"hidden{i - 2}", **weights)(x)
        x = layers.Activation(activation, name=f"act{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i - 2}")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_regularizer=regularizer(l1, l2),
        dtype="float32",
        name="output",
    )(x)
    return keras.Model(inputs, outputs, name="lenet5")
