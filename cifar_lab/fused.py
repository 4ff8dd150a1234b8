"""Batch normalisation as one TensorFlow kernel, for training.

Keras composes batch normalisation of a dozen operations, in float32 whatever the precision. XLA fuses them; where it
is off, as on TensorFlow's CPU, they cost a third of a small network's training step. A saved network has Keras' own
layer; only the graph that trains is rebuilt with this one.
"""
import keras
from keras import layers


class FusedBatchNormalization(layers.BatchNormalization):
    """keras.layers.BatchNormalization over the last axis of 4-D inputs, the same up to rounding, on TensorFlow.

    Call: (N, height, width, channels), float32, float16 or bfloat16 -> the same shape and dtype; statistics are
    float32. Other inputs take Keras' own path.
    """

    def call(self, inputs, training=None, mask=None):
        fits = (len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None and not (self.renorm or self.synchronized)
                and self.scale and self.center and self.variable_dtype == "float32")
        if not fits or keras.backend.standardize_dtype(inputs.dtype) not in ("float32", "float16", "bfloat16"):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf
        training = bool(training and self.trainable)
        # statistics are inputs of the kernel where it does not compute them
        given = (0.0 * self.moving_mean.value[:0],) * 2 if training else (self.moving_mean.value, self.moving_variance.value)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=tf.convert_to_tensor(self.gamma.value), offset=tf.convert_to_tensor(self.beta.value),
            mean=given[0], variance=given[1], epsilon=self.epsilon, is_training=training)
        if training:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            variance = variance * ((count - 1) / count)  # the kernel's is the unbiased one, Keras' is not
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


def with_fused_normalization(network):
    """`network` rebuilt so that its batch normalisation is fused; the same weights, in the same order.

    network: keras.Model. Returned as it is on another backend than TensorFlow, and where there is nothing to fuse.
    """
    if keras.backend.backend() != "tensorflow" or not any(type(l) is layers.BatchNormalization for l in network.layers):
        return network

    def rebuilt(layer):
        if type(layer) is layers.BatchNormalization:
            return FusedBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())
    clone = keras.models.clone_model(network, clone_function=rebuilt)
    clone.set_weights(network.get_weights())
    return clone
