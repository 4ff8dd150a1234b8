"""The lecture's CIFAR-10 network, without and with batch normalisation."""

from .searchable import ACTIVATIONS, Choice, Number, Widths, searchable


@searchable(
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    batch_normalization=Choice((False, True)),
    filters=Widths(),
    hidden_layers=Number(0, 8, whole=True),
    hidden_units=Number(1, 8192, whole=True),
    activation=Choice(ACTIVATIONS),
)
def cifar10_cnn(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    dropout=0.2,
    batch_normalization=False,
    filters=(32, 32, 64),
    hidden_layers=1,
    hidden_units=512,
    activation="relu",
):
    """Three convolutions, two poolings, hidden layers.

    Args:
        input_shape: (height, width, channels), at least 10 x 10.
        num_classes: number of outputs.
        dropout: rate of all dropout layers, 0 <= rate < 1.
        batch_normalization: normalise the input, and the input of conv2 and conv3.
        filters: channels of the three convolutions.
        hidden_layers: dense layers before the output, 0 or more, each with dropout after it.
        hidden_units: outputs of each of these.
        activation: name of a Keras activation.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum
        to 1. 1,639,914 parameters at the defaults; with batch normalisation 1,640,182.

    Raises:
        ValueError: not three filters, or the images are too small for two poolings.
    """
    import keras
    from keras import layers

    if len(filters) != 3:
        raise ValueError(f"filters: must be of three convolutions, received {list(filters)}")
    if min(input_shape[:2]) < 10:
        raise ValueError(
            f"input_shape: height and width must be at least 10, received {input_shape}"
        )

    def normalized(x, name):
        return layers.BatchNormalization(name=name)(x) if batch_normalization else x

    def convolution(x, i, **options):
        return layers.Conv2D(filters[i], 3, activation=activation, name=f"conv{i + 1}", **options)(
            x
        )

    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = normalized(x, "norm_input")
    x = convolution(x, 0)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = normalized(x, "norm2")
    x = convolution(x, 1, padding="same")
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = normalized(x, "norm3")
    x = convolution(x, 2, padding="same")
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, name="dropout2")(x)
    for i in range(1, hidden_layers + 1):
        name = "poolhidden" if i == 1 else f"hidden{i}"
        x = layers.Dense(hidden_units, activation=activation, name=name)(x)
        x = layers.Dropout(dropout, name=f"dropout{i + 2}")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="cifar10_cnn")
