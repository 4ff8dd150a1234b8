"""The lecture's CIFAR-10 network, without and with batch normalisation."""
import keras
from keras import layers


def cifar10_cnn(input_shape=(32, 32, 3), num_classes=10, *, dropout=0.2, batch_normalization=False):
    """Three convolutions, two poolings, one hidden layer of 512.

    Args:
        input_shape: (height, width, channels), at least 10 x 10.
        num_classes: number of outputs.
        dropout: rate of all three dropout layers, 0 <= rate < 1.
        batch_normalization: normalise the input, and the input of conv2 and conv3.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum
        to 1. 1,639,914 parameters at the defaults; with batch normalisation 1,640,182.

    Raises:
        ValueError: the images are too small for two poolings.
    """
    if min(input_shape[:2]) < 10:
        raise ValueError(f"input_shape: height and width must be at least 10, received {input_shape}")

    def normalized(x, name):
        return layers.BatchNormalization(name=name)(x) if batch_normalization else x

    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = normalized(x, "norm_input")
    x = layers.Conv2D(32, 3, activation="relu", name="conv1")(x)
    x = layers.Dropout(dropout, name="dropout1")(x)
    x = normalized(x, "norm2")
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = normalized(x, "norm3")
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="conv3")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, name="dropout2")(x)
    x = layers.Dense(512, activation="relu", name="poolhidden")(x)
    x = layers.Dropout(dropout, name="dropout3")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="cifar10_cnn")
