"""The lecture's Fashion-MNIST network."""
import keras
from keras import layers


def fashion_mnist_cnn(input_shape=(28, 28, 1), num_classes=10, *, conv_dropout=0.3, hidden_dropout=0.5):
    """Two 2x2 convolutions with pooling, one hidden layer of 256.

    Args:
        input_shape: (height, width, channels), at least 4 x 4.
        num_classes: number of outputs.
        conv_dropout: rate after each pooling, 0 <= rate < 1.
        hidden_dropout: rate after the hidden layer.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum
        to 1. 412,778 parameters at the defaults.

    Raises:
        ValueError: the images are too small for two poolings.
    """
    if min(input_shape[:2]) < 4:
        raise ValueError(f"input_shape: height and width must be at least 4, received {input_shape}")
    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(64, 2, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Dropout(conv_dropout, name="dropout1")(x)
    x = layers.Conv2D(32, 2, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Dropout(conv_dropout, name="dropout2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="poolhidden")(x)
    x = layers.Dropout(hidden_dropout, name="dropout3")(x)
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="fashion_mnist_cnn")
