"""DropConnect: weights that are left out while training (Wan et al. 2013, "Regularization of neural
networks using DropConnect")."""

import keras
from keras import layers, ops

from ..errors import InputError


class DropConnectDense(layers.Dense):
    """keras.layers.Dense that, while training, leaves out a share of its weights, drawn anew for
    each batch; those that are left count 1 / (1 - rate) times.

    rate: 0 to below 1. (The paper draws for each image, which takes a kernel an image, and takes a
    Gaussian's mean at the end; here a trained layer is a plain Dense with all weights.)
    """

    def __init__(self, *args, rate=0.0, seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        if not training or not self.rate:
            return super().call(inputs, training=training)
        kernel = keras.random.dropout(
            ops.cast(self.kernel, self.compute_dtype), self.rate, seed=self.seed_generator
        )
        x = ops.matmul(inputs, kernel)
        if self.use_bias:
            x = ops.add(x, ops.cast(self.bias, self.compute_dtype))
        return x if self.activation is None else self.activation(x)


def dropped(network, rate):
    """`network` with the layer above in place of each dense layer but the last; the same weights,
    in order.

    network: functional keras.Model. rate: 0 to below 1. Saved is a network without it. Raises
    InputError where there is no such layer.
    """
    dense = [layer for layer in network.layers if type(layer) is layers.Dense][:-1]
    if not dense:
        raise InputError(
            f"recipe field drop_connect: must be 0, since {network.name} has no dense layer but "
            f"the last, received {rate}"
        )

    def kept(layer):
        if layer not in dense:
            return type(layer).from_config(layer.get_config())
        return DropConnectDense(**_plain(layer.get_config()), rate=rate)

    clone = keras.models.clone_model(network, clone_function=kept)
    clone.set_weights(network.get_weights())
    return clone


def _plain(config):
    """A Dense layer's configuration without what Keras adds for its own reading."""
    return {k: v for k, v in config.items() if k != "quantization_config"}
