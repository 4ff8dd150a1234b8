"""The networks of keras.applications, from pixels 0-255."""

from .searchable import Number, searchable

# how each family wants its pixels: Keras' own `preprocess_input`, as one layer
_TO_ONE = {"scale": 1 / 127.5, "offset": -1.0}
_STANDARDIZED = {
    "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)],
    "offset": [-m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)],
}
_CENTRED = {"scale": 1.0, "offset": [-123.68, -116.779, -103.939]}
_WITHIN = None  # the network does it itself
_PREPROCESSING = {
    "MobileNet": _TO_ONE,
    "MobileNetV2": _TO_ONE,
    "MobileNetV3Small": _WITHIN,
    "MobileNetV3Large": _WITHIN,
    "NASNetMobile": _TO_ONE,
    "Xception": _TO_ONE,
    "InceptionV3": _TO_ONE,
    "InceptionResNetV2": _TO_ONE,
    "ResNet50V2": _TO_ONE,
    "ResNet101V2": _TO_ONE,
    "DenseNet121": _STANDARDIZED,
    "DenseNet169": _STANDARDIZED,
    "DenseNet201": _STANDARDIZED,
    "VGG16": _CENTRED,
    "VGG19": _CENTRED,
    "ResNet50": _CENTRED,
    "ResNet101": _CENTRED,
    "EfficientNetB0": _WITHIN,
    "EfficientNetB1": _WITHIN,
    "EfficientNetB2": _WITHIN,
    "EfficientNetV2B0": _WITHIN,
    "EfficientNetV2B1": _WITHIN,
    "EfficientNetV2B2": _WITHIN,
    "ConvNeXtTiny": _WITHIN,
}
NETWORKS = tuple(_PREPROCESSING)
LEAST_SIDE = 20


@searchable(dropout=Number(0.0, 0.9))
def application(
    input_shape=(96, 96, 3), num_classes=10, *, network="MobileNetV2", dropout=0.2, **options
):
    """A network of keras.applications without its top: average pooling, dropout, one dense layer.

    Args:
        input_shape: (height, width, channels), at least 20 pixels a side; grey images are given to
            the network as three equal channels. The files of a few networks need 71 or 75 pixels.
        num_classes: number of outputs.
        network: its name in keras.applications, one of NETWORKS.
        dropout: before the last layer, 0 to below 1.
        options: of the network itself, such as alpha (MobileNet's width).

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        Keras' `preprocess_input` is its first layer. 2,270,794 parameters at the defaults.

    Raises:
        ValueError: no such network, or it does not take these images or options.
    """
    import keras
    from keras import layers

    inputs = keras.Input(input_shape, name="pixels")
    x = layers.GlobalAveragePooling2D(name="pool")(_features(inputs, network, None, options))
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.Dense(num_classes, name="output")(x)
    outputs = layers.Softmax(dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name=network.lower())


def features(network, input_shape, weights, options):
    """The layers of `application` up to the pooling, with trained weights, as Keras has them.

    Args:
        network, input_shape, options: as for `application`.
        weights: "imagenet", which Keras downloads, or a file of weights without the top.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> its last feature maps.
    """
    import keras

    inputs = keras.Input(input_shape)
    model = keras.Model(inputs, _features(inputs, network, weights, options))
    if _PREPROCESSING[network] is _CENTRED:  # their weights are for blue, green, red
        first = next(layer for layer in model.layers if layer.weights)
        kernel, *others = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], *others])
    return model


def _features(inputs, network, weights, options):
    import keras
    from keras import layers

    if network not in _PREPROCESSING:
        raise ValueError(f"network: must be one of {', '.join(NETWORKS)}, received {network!r}")
    if min(inputs.shape[1:3]) < LEAST_SIDE:
        raise ValueError(
            f"input_shape: height and width must be at least {LEAST_SIDE}, received "
            f"{inputs.shape[1:]}"
        )
    preprocessing, x = _PREPROCESSING[network], inputs
    if inputs.shape[-1] == 1:
        x = layers.Concatenate(name="colours")([x, x, x])
    if preprocessing:
        x = layers.Rescaling(**preprocessing, name="rescale")(x)
    build = getattr(keras.applications, network)
    return build(include_top=False, weights=weights, input_tensor=x, **options).output
