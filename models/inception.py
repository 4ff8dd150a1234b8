"""GoogLeNet and smaller networks of its modules."""

from .searchable import Choice, Number, searchable

#: Szegedy et al. 2015, table 1: the modules of each stage, and the channels of each: of the 1 x 1;
#: the 1 x 1 before the 3 x 3, the 3 x 3; the 1 x 1 before the 5 x 5, the 5 x 5; behind the pooling.
GOOGLENET = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


@searchable(
    width=Number(0.03, 4.0),
    dropout=Number(0.0, 0.95, usual=(0.0, 0.6)),
    batch_normalization=Choice((True, False)),
)
def inception(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    width=0.5,
    modules=GOOGLENET,
    dropout=0.0,
    batch_normalization=True,
    stem="small",
):
    """Szegedy et al. 2015, "Going deeper with convolutions": modules that look at a map through
    1 x 1, 3 x 3 and 5 x 5 windows and a pooling at once, and lay the results behind each other.

    As published, at test time: the two auxiliary classifiers are left out, and so are the local
    response normalisations, for which Keras has no layer:

        inception((224, 224, 3), 1000, width=1, dropout=0.4, batch_normalization=False,
                  stem="published")

    Args:
        input_shape: (height, width, channels); both sides at least 2 ** number of stages, eight
            times that behind the published stem.
        num_classes: number of outputs.
        width: factor of all channels, rounded to whole ones.
        modules: the modules of each stage, each (1 x 1, before 3 x 3, 3 x 3, before 5 x 5, 5 x 5,
            behind the pooling); a pooling of 3 x 3 with steps of 2 comes before each stage.
        dropout: rate before the last layer, 0 <= rate < 1.
        batch_normalization: whether each convolution is normalised, before its relu (Ioffe and
            Szegedy 2015).
        stem: "small": one 3 x 3 convolution of 64 * width channels; "published": 7 x 7 with steps
            of 2, a pooling, 1 x 1, and 3 x 3, of 64, 64 and 192.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, num_classes) that sum to 1.
        1,473,930 parameters at the defaults, 6,998,552 as published.

    Raises:
        ValueError: no stage or an empty one, a module that is not of six widths, a width or their
            factor that is not positive, the images are too small, or there is no such stem.
    """
    from keras import Input, Model, layers

    if not modules or not all(stage and all(len(m) == 6 for m in stage) for stage in modules):
        raise ValueError(
            "modules: must be at least one stage of one module of six widths, received "
            f"{list(modules)}"
        )
    if not width > 0 or any(n < 1 for stage in modules for module in stage for n in module):
        raise ValueError(
            f"width and modules: must be a factor greater than 0 of widths of at least 1, received "
            f"{width} and {list(modules)}"
        )
    if stem not in ("small", "published"):
        raise ValueError(f"stem: must be small or published, received {stem!r}")
    least = 2 ** len(modules) * (8 if stem == "published" else 1)
    if min(input_shape[:2]) < least:
        raise ValueError(
            f"input_shape: height and width must be at least {least}, received {input_shape}"
        )

    def convolution(x, channels, side, name, strides=1):
        x = layers.Conv2D(
            max(1, round(channels * width)),
            side,
            strides=strides,
            padding="same",
            use_bias=not batch_normalization,
            kernel_initializer="he_normal",
            name=f"conv{name}",
        )(x)
        if batch_normalization:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{name}")(x)
        return layers.ReLU(name=f"relu{name}")(x)

    def pooling(x, name, strides=2):
        return layers.MaxPooling2D(3, strides=strides, padding="same", name=f"pool{name}")(x)

    def module(x, one, before_three, three, before_five, five, behind, name):
        branches = [
            convolution(x, one, 1, f"{name}_1"),
            convolution(convolution(x, before_three, 1, f"{name}_3_1"), three, 3, f"{name}_3"),
            convolution(convolution(x, before_five, 1, f"{name}_5_1"), five, 5, f"{name}_5"),
            convolution(pooling(x, name, strides=1), behind, 1, f"{name}_pool"),
        ]
        return layers.Concatenate(name=f"concat{name}")(branches)

    inputs = Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    if stem == "published":
        x = pooling(convolution(x, 64, 7, "1", strides=2), "1")
        x = convolution(convolution(x, 64, 1, "2_1"), 192, 3, "2")
    else:
        x = convolution(x, 64, 3, "1")
    for i, stage in enumerate(modules, 3):
        x = pooling(x, i - 1)
        for j, widths in enumerate(stage, 1):
            x = module(x, *widths, name=f"{i}_{j}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32", name="output")(x)
    return Model(inputs, outputs, name="inception")
