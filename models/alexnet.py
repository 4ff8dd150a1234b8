"""AlexNet."""

from .searchable import Choice, Number, Widths, searchable


@searchable(
    widths=Widths(),
    hidden=Widths(),
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    batch_normalization=Choice((False, True)),
)
def alexnet(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    widths=(64, 128, 192, 192, 128),
    hidden=(384, 384),
    dropout=0.5,
    batch_normalization=False,
    stem="small",
):
    """Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional
    neural networks": five convolutions, poolings of 3 x 3 that overlap after the first, second and
    fifth, and hidden layers with dropout.

    As published, on one GPU (its two groups see each other's maps) and without its local response
    normalisation, for which Keras has no layer:

        alexnet((227, 227, 3), 1000, widths=(96, 256, 384, 384, 256), hidden=(4096, 4096),
                stem="published")

    Args:
        input_shape: (height, width, channels); at least 8 x 8, and 67 x 67 behind the published
            stem.
        num_classes: number of outputs.
        widths: channels of the five convolutions.
        hidden: units of each hidden dense layer.
        dropout: rate in front of each hidden layer, 0 <= rate < 1.
        batch_normalization: whether each convolution is normalised, before its relu (Ioffe and
            Szegedy 2015).
        stem: "small": all convolutions are 3 x 3 and keep the size; "published": the first is
            11 x 11 with steps of 4 and unpadded, the second 5 x 5, and poolings are unpadded.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        1,788,810 parameters at the defaults, 62,378,344 as published.

    Raises:
        ValueError: the images are too small, not five widths, or there is no such stem.
    """
    from keras import Input, Model, layers

    if len(widths) != 5 or not hidden:
        raise ValueError(
            "widths and hidden: must be five widths and at least one hidden layer, received "
            f"{list(widths)} and {list(hidden)}"
        )
    if stem not in ("small", "published"):
        raise ValueError(f"stem: must be small or published, received {stem!r}")
    published = stem == "published"
    least = 67 if published else 8
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )
    inputs = Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for i, width in enumerate(widths, 1):
        first = published and i == 1
        x = layers.Conv2D(
            width,
            11 if first else 5 if published and i == 2 else 3,
            strides=4 if first else 1,
            padding="valid" if first else "same",
            use_bias=not batch_normalization,
            kernel_initializer="he_normal",
            name=f"conv{i}",
        )(x)
        if batch_normalization:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i in (1, 2, 5):
            padding = "valid" if published else "same"
            x = layers.MaxPooling2D(3, strides=2, padding=padding, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(hidden, 1):
        x = layers.Dropout(dropout, name=f"dropout{i}")(x)
        x = layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", name=f"hidden{i}"
        )(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return Model(inputs, outputs, name="alexnet")
