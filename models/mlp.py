"""Multi-layer perceptrons: hidden layers between pixels and classes."""

from .searchable import ACTIVATIONS, Choice, Number, Widths, searchable
from .standardized import regularizer, scaled


@searchable(
    hidden_units=Widths(),
    activation=Choice(ACTIVATIONS),
    batch_normalization=Choice((False, True)),
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    input_dropout=Number(0.0, 0.95),
    standardize=Choice((False, True)),
    input_noise=Number(0.0, 10.0),
    l1=Number(0.0, 1.0),
    l2=Number(0.0, 1.0, usual=(1e-7, 1e-3), log=True),
)
def mlp(
    input_shape=(28, 28, 1),
    num_classes=10,
    *,
    hidden_units=(100,),
    activation="relu",
    batch_normalization=False,
    dropout=0.0,
    input_dropout=0.0,
    standardize=False,
    input_noise=0.0,
    l1=0.0,
    l2=0.0,
):
    """Dense layers, each after the other (Rumelhart, Hinton and Williams 1986).

    Args:
        input_shape: (height, width, channels).
        num_classes: number of outputs.
        hidden_units: outputs of each hidden layer; () makes the network linear.
        activation: name of a Keras activation, of the hidden layers.
        batch_normalization: whether it stands before each activation.
        dropout: rate after each hidden layer, 0 <= rate < 1.
        input_dropout: rate at which pixels are dropped.
        standardize: whether each channel is brought to mean 0 and variance 1 over the train images,
            see standardized.scaled; else pixels are brought to 0-1.
        input_noise: standard deviation of the noise on the scaled pixels while training.
        l1, l2: factors of the sum of the weights' sizes and of their squares in the loss.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        79,510 parameters at the defaults.

    Raises:
        ValueError: hidden_units is not a list.
    """
    import keras
    from keras import layers

    if not isinstance(hidden_units, (list, tuple)):
        raise ValueError(f"hidden_units: must be a list, one a layer, received {hidden_units!r}")
    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Flatten(name="flatten")(scaled(inputs, standardize, input_noise))
    if input_dropout:
        x = layers.Dropout(input_dropout, name="dropout0")(x)
    for i, units in enumerate(hidden_units, 1):
        x = layers.Dense(
            units,
            use_bias=not batch_normalization,
            kernel_regularizer=regularizer(l1, l2),
            name=f"hidden{i}",
        )(x)
        if batch_normalization:
            x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.Activation(activation, name=f"act{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_regularizer=regularizer(l1, l2),
        dtype="float32",
        name="output",
    )(x)
    return keras.Model(inputs, outputs, name="mlp")
