"""Linear classifiers: one layer of weights between pixels and classes."""

from .searchable import Choice, Number, searchable
from .standardized import regularizer, scaled


@searchable(
    standardize=Choice((False, True)),
    l1=Number(0.0, 1.0, usual=(1e-7, 1e-4), log=True),
    l2=Number(0.0, 1.0, usual=(1e-6, 1e-2), log=True),
    input_noise=Number(0.0, 10.0),
)
def linear(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    standardize=False,
    input_noise=0.0,
    l1=0.0,
    l2=0.0,
):
    """One dense layer: softmax regression; for two classes logistic regression (Cox 1958), one
    neuron with a sigmoid, whose output is the probability of the second class.

    Args:
        input_shape: (height, width, channels).
        num_classes: number of outputs.
        standardize: whether each channel is brought to mean 0 and variance 1 over the train images,
            see standardized.scaled; else pixels are brought to 0-1.
        input_noise: standard deviation of the noise on the scaled pixels while training.
        l1, l2: factors of the sum of the weights' sizes and of their squares in the loss.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        7,850 parameters at the defaults; 785 for two classes.
    """
    import keras
    from keras import layers

    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Flatten(name="flatten")(scaled(inputs, standardize, input_noise))
    two = num_classes == 2
    x = layers.Dense(
        1 if two else num_classes,
        activation="sigmoid" if two else "softmax",
        kernel_regularizer=regularizer(l1, l2),
        dtype="float32",  # whatever the precision of training
        name="output",
    )(x)
    if two:  # the neuron says p; the probabilities are 1 - p and p
        other = layers.Rescaling(-1.0, offset=1.0, dtype="float32", name="other")(x)
        x = layers.Concatenate(dtype="float32", name="both")([other, x])
    return keras.Model(inputs, x, name="linear")
