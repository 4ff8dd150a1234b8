"""A small network in the manner of VGG: stages of 3 x 3 convolutions, a pooling after each."""

from .searchable import ACTIVATIONS, Choice, Number, Widths, searchable


@searchable(
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    l2=Number(0.0, 1e3, usual=(1e-6, 1e-2), log=True),
    filters=Widths(),
    convolutions=Number(1, 6, whole=True),
    activation=Choice(ACTIVATIONS),
    batch_normalization=Choice((True, False)),
)
def vgg(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    filters=(32, 64, 128),
    convolutions=2,
    dropout=(0.2, 0.3, 0.4),
    l2=1e-4,
    activation="relu",
    batch_normalization=True,
    hidden=(),
    hidden_dropout=0.5,
):
    """Stages of convolution, batch normalisation and relu; by default without hidden layers.

    As in Simonyan and Zisserman (2015), "Very deep convolutional networks for large-scale image
    recognition", but for the normalisation (Ioffe and Szegedy 2015). VGG-16 as published, and
    VGG-19 with convolutions=(2, 2, 4, 4, 4):

        vgg((224, 224, 3), 1000, filters=(64, 128, 256, 512, 512), convolutions=(2, 2, 3, 3, 3),
            dropout=0, batch_normalization=False, hidden=(4096, 4096))

    Args:
        input_shape: (height, width, channels); both sides at least 2 ** number of stages.
        num_classes: number of outputs.
        filters: channels of each stage.
        convolutions: convolutions in each stage; one number for all, or one a stage.
        dropout: rate after each stage's pooling, 0 <= rate < 1; one for all, or one a stage.
        l2: factor of the L2 regularisation of every convolution's kernel, which adds
            l2 * sum(kernel ** 2) to the loss (Keras' convention: twice this is the weight decay of
            plain SGD).
        activation: name of a Keras activation.
        batch_normalization: whether each convolution is normalised, before its activation.
        hidden: units of each hidden dense layer.
        hidden_dropout: rate after each hidden layer, 0 <= rate < 1.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum
        to 1. 308,842 parameters at the defaults; VGG-16 has 138,357,544, VGG-19 143,667,240.

    Raises:
        ValueError: the images are too small for the poolings, or a stage lacks its dropout or its
            convolutions.
    """
    import keras
    from keras import layers, regularizers

    counts = (
        list(convolutions)
        if isinstance(convolutions, (list, tuple))
        else [convolutions] * len(filters)
    )
    if not filters or min(counts) < 1:
        raise ValueError(
            "filters and convolutions: must be at least one stage of one convolution, "
            f"received {list(filters)} and {convolutions}"
        )
    rates = list(dropout) if isinstance(dropout, (list, tuple)) else [dropout] * len(filters)
    if not all(0 <= rate < 1 for rate in rates):
        raise ValueError(f"dropout: must be rates from 0 to below 1, received {rates}")
    if len(rates) != len(filters):
        raise ValueError(f"dropout: must have a rate a stage ({len(filters)}), received {rates}")
    if len(counts) != len(filters):
        raise ValueError(
            f"convolutions: must have a number a stage ({len(filters)}), received {counts}"
        )
    least = 2 ** len(filters)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )

    def activated(x, name):
        if activation == "relu":  # the layer that the committed models have
            return layers.ReLU(name=f"relu{name}")(x)
        return layers.Activation(activation, name=f"act{name}")(x)

    inputs = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for stage, (channels, count, rate) in enumerate(zip(filters, counts, rates, strict=True), 1):
        for i in range(1, count + 1):
            # no bias where a normalisation follows: it would take it out
            x = layers.Conv2D(
                channels,
                3,
                padding="same",
                use_bias=not batch_normalization,
                name=f"conv{stage}_{i}",
                kernel_regularizer=regularizers.L2(l2) if l2 else None,
                **({} if batch_normalization else {"kernel_initializer": "he_normal"}),
            )(x)
            if batch_normalization:
                x = layers.BatchNormalization(name=f"norm{stage}_{i}")(x)
            x = activated(x, f"{stage}_{i}")
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
        x = layers.Dropout(rate, name=f"dropout{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(hidden, 1):
        x = activated(
            layers.Dense(units, kernel_initializer="he_normal", name=f"hidden{i}")(x), f"_hidden{i}"
        )
        x = layers.Dropout(hidden_dropout, name=f"dropout_hidden{i}")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(inputs, outputs, name="vgg")
