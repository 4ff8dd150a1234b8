"""What the lectures' first networks share: pixels brought to a common scale, and regularisers."""


def scaled(inputs, standardize, input_noise=0.0):
    """Pixels 0-255 -> 0-1, or with mean 0 and variance 1; while training, with noise.

    inputs: keras tensor (N, height, width, channels).
    standardize: by each channel's mean and variance over the train images. They are the statistics
        of a frozen layer "standardize", which the training sets before its first step; until then
        they are 0 and 1.
    input_noise: standard deviation of Gaussian noise that is added to the scaled pixels.
    """
    from keras import layers

    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    if standardize:
        x = layers.BatchNormalization(
            center=False, scale=False, epsilon=1e-7, trainable=False, name="standardize"
        )(x)
    if input_noise:
        x = layers.GaussianNoise(input_noise, name="noise")(x)
    return x


def regularizer(l1, l2):
    """l1 times the sum of |w| plus l2 times the sum of w squared; None for neither."""
    import keras

    return keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
