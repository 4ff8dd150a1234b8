"""A network and a recipe of your own, outside the package.

    python examples/own_network.py
    python train.py examples/own_network.py:recipe --data photos/   # every command takes it

The bundle is written into runs/ in the working folder.
"""

import cifar_lab
from cifar_lab.models.searchable import Number, Widths, searchable


@searchable(width=Widths(), dropout=Number(0.0, 0.9, usual=(0.0, 0.5)))
def small(input_shape, num_classes, *, width=16, dropout=0.1):
    """Two convolutions and an average: pixels 0-255 in, probabilities out."""
    import keras  # here, so that reading this file is quick
    from keras import layers

    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(width, 3, strides=2, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(2 * width, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    # float32 whatever the precision of training: a softmax in 16 bits loses small probabilities
    return keras.Model(inputs, layers.Dense(num_classes, "softmax", dtype="float32")(x))


recipe = cifar_lab.Recipe(
    builder=small, data="synthetic", epochs=3, batch_size=64, learning_rate=0.003, schedule="cosine"
)

if __name__ == "__main__":
    card = cifar_lab.train(
        recipe, limit=1000, output="runs/own-network-example", overwrite=True, notice=print
    )
    print(f"test accuracy {card['test_accuracy']:.2%}")
