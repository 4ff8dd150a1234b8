"""Layers that compute what Keras' own do with fewer or cheaper kernels, for training with TensorFlow.

A saved network has Keras' layers; only the graph that trains is rebuilt with these. What they save on two CPU cores is
in docs/log.md.
"""
import keras
from keras import layers

from . import backend


class FusedBatchNormalization(layers.BatchNormalization):
    """keras.layers.BatchNormalization over the last axis of 4-D inputs, the same up to rounding, as one kernel.

    Keras composes it of a dozen operations, in float32 whatever the precision. XLA fuses them; where it is off, as on
    TensorFlow's CPU, they cost a third of a small network's training step.

    Call: (N, height, width, channels), float32, float16 or bfloat16 -> the same shape and dtype; statistics are
    float32. Other inputs take Keras' own path.
    """

    def call(self, inputs, training=None, mask=None):
        fits = (len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None and not (self.renorm or self.synchronized)
                and self.variable_dtype == "float32")
        if not fits or keras.backend.standardize_dtype(inputs.dtype) not in ("float32", "float16", "bfloat16"):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf
        training = bool(training and self.trainable)
        # statistics are inputs of the kernel where it does not compute them
        given = (0.0 * self.moving_mean.value[:0],) * 2 if training else (self.moving_mean.value, self.moving_variance.value)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=tf.convert_to_tensor(self.gamma.value) if self.scale else tf.ones_like(self.moving_mean.value),
            offset=tf.convert_to_tensor(self.beta.value) if self.center else tf.zeros_like(self.moving_mean.value),
            mean=given[0], variance=given[1], epsilon=self.epsilon, is_training=training)
        if training:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            variance = variance * ((count - 1) / count)  # the kernel's is the unbiased one, Keras' is not
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


class CheapDropout(layers.Dropout):
    """keras.layers.Dropout that draws 16 random bits an element, where Keras draws 32 and makes floats of them.

    The rate is rounded to a multiple of 1 / 65,536, and the scale is that of the rounded rate, so that the mean is kept
    (as exactly as the dtype holds the scale).
    Seeded and stepped like Keras' own, with other draws.
    """

    def call(self, inputs, training=False):
        threshold = round(self.rate * 65536)
        if not training or not 0 < threshold < 65536:
            return super().call(inputs, training=training)
        import tensorflow as tf
        shape = tf.shape(inputs)
        seed = tf.cast(self.seed_generator.next(), "int32")
        words = tf.random.stateless_uniform([(tf.size(inputs) + 3) // 4], seed, minval=None, maxval=None, dtype="uint64")
        bits = tf.reshape(tf.reshape(tf.bitcast(words, "uint16"), [-1])[:tf.size(inputs)], shape)
        scale = tf.cast(65536 / (65536 - threshold), inputs.dtype)
        return tf.where(bits >= threshold, inputs * scale, tf.zeros([], inputs.dtype))


def rebuilt(network):
    """`network` with its batch normalisation and dropout replaced by the above; the same weights, in the same order.

    network: functional keras.Model; models nested in it stay as they are. Returned as it is but on TensorFlow on a CPU, and
    where there is nothing to replace.
    """
    replacements = {layers.BatchNormalization: FusedBatchNormalization, layers.Dropout: CheapDropout}
    if not backend.is_tensorflow_on_cpu() or not any(type(l) in replacements for l in network.layers):
        return network

    def again(layer):
        kind = replacements.get(type(layer), type(layer))
        if kind is CheapDropout and layer.noise_shape is not None:
            kind = type(layer)
        return kind.from_config(layer.get_config())
    clone = keras.models.clone_model(network, clone_function=again)
    clone.set_weights(network.get_weights())
    return clone
