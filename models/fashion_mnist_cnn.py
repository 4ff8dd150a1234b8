"""The lecture's Fashion-MNIST network."""

from .searchable import ACTIVATIONS, Choice, Number, Widths, searchable


@searchable(
    conv_dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    hidden_dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    filters=Widths(),
    hidden_layers=Number(0, 8, whole=True),
    hidden_units=Number(1, 8192, whole=True),
    activation=Choice(ACTIVATIONS),
)
def fashion_mnist_cnn(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    conv_dropout=0.3,
    hidden_dropout=0.5,
    filters=(64, 32),
    hidden_layers=1,
    hidden_units=256,
    activation="relu",
):
    """Two 2 x 2 convolutions with pooling, hidden layers.

    Args:
        input_shape: (height, width, channels), at least 4 x 4.
        num_classes: number of outputs.
        conv_dropout: rate after each pooling, 0 <= rate < 1.
        hidden_dropout: rate after each hidden layer.
        filters: channels of the two convolutions.
        hidden_layers: dense layers before the output, 0 or more.
        hidden_units: outputs of each of these.
        activation: name of a Keras activation.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum
        to 1. 412,778 parameters at the defaults.

    Raises:
        ValueError: not two filters, or the images are too small for two poolings.
    """
    import keras
    from keras import layers

    if len(filters) != 2:
        raise ValueError(f"filters: must be of two convolutions, received {list(filters)}")
    if min(input_shape[:2]) < 4:
        raise ValueError(
            f"input_shape: height and width must be at least 4, received {input_shape}"
        )
    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for i, channels in enumerate(filters, 1):
        x = layers.Conv2D(channels, 2, padding="same", activation=activation, name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        x = layers.Dropout(conv_dropout, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i in range(1, hidden_layers + 1):
        name = "poolhidden" if i == 1 else f"hidden{i}"
        x = layers.Dense(hidden_units, activation=activation, name=name)(x)
        x = layers.Dropout(hidden_dropout, name=f"dropout{i + 2}")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="fashion_mnist_cnn")
