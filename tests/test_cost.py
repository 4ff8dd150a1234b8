"""Multiply-adds, counted by hand."""

import keras

from cifar_lab import cost
from cifar_lab.models import cifar10_cnn


def test_multiply_adds_of_the_first_network():
    network = cifar10_cnn()
    counts = cost.multiply_adds(network)
    assert counts == {
        "conv1": 30 * 30 * 27 * 32,
        "conv2": 30 * 30 * 288 * 32,
        "conv3": 15 * 15 * 288 * 64,
        "poolhidden": 3136 * 512,
        "output": 5120,
    }
    assert cost.training_multiply_adds(network) == 3 * sum(counts.values()) - counts["conv1"]


def test_multiply_adds_of_depthwise_and_separable_convolutions():
    inputs = keras.Input((8, 8, 4))
    # 4 x 4 positions, 9 for each of 4 channels
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise")(inputs)
    x = keras.layers.Conv2D(5, 1, name="pointwise")(x)  # 16 positions of 4 x 5
    x = keras.layers.SeparableConv2D(6, 3, padding="same", name="both")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="output")(x))
    assert cost.multiply_adds(model) == {
        "depthwise": 16 * 36,
        "pointwise": 16 * 20,
        "both": 16 * (9 * 5 + 5 * 6),
        "output": 18,
    }


def test_multiply_adds_where_channels_come_first():
    inputs = keras.Input((4, 8, 8))
    convolved = keras.layers.Conv2D(5, 3, data_format="channels_first", name="conv")(inputs)
    assert cost.multiply_adds(keras.Model(inputs, convolved)) == {"conv": 6 * 6 * 9 * 4 * 5}


def test_multiply_adds_of_what_lies_in_a_model_inside_and_of_what_is_called_twice():
    half = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, padding="same", name="conv")],
        name="half",
    )
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(half(half(inputs)))
    shared = keras.layers.Dense(3, name="shared")
    counts = cost.multiply_adds(keras.Model(inputs, shared(shared(x))))
    assert counts == {"half/conv": 2 * 64 * 27 * 3, "shared": 2 * 9}
