"""Layers that compute what Keras' own do with fewer or cheaper kernels, for training with
TensorFlow.

A saved network has Keras' layers; only the graph that trains is rebuilt with these. What they save
on two CPU cores is in docs/experiments/engine.md.
"""

import keras
from keras import layers

from .. import backend


class FusedBatchNormalization(layers.BatchNormalization):
    """keras.layers.BatchNormalization over the last axis of 4-D inputs, the same up to rounding, as
    one kernel.

    Keras composes it of a dozen operations, in float32 whatever the precision. XLA fuses them;
    where it is off, as on TensorFlow's CPU, they cost a third of a small network's training step.

    Call: (N, height, width, channels), float32, float16 or bfloat16 -> the same shape and dtype;
    statistics are float32. Other inputs take Keras' own path.
    """

    def call(self, inputs, training=None, mask=None):
        fits = (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and mask is None
            and not (self.renorm or self.synchronized)
            and self.variable_dtype == "float32"
        )
        if not fits or keras.backend.standardize_dtype(inputs.dtype) not in (
            "float32",
            "float16",
            "bfloat16",
        ):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        training = bool(training and self.trainable)
        # statistics are inputs of the kernel where it does not compute them
        given = (
            (0.0 * self.moving_mean.value[:0],) * 2
            if training
            else (self.moving_mean.value, self.moving_variance.value)
        )
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma.value)
            if self.scale
            else tf.ones_like(self.moving_mean.value),
            offset=tf.convert_to_tensor(self.beta.value)
            if self.center
            else tf.zeros_like(self.moving_mean.value),
            mean=given[0],
            variance=given[1],
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            variance = variance * (
                (count - 1) / count
            )  # the kernel's is the unbiased one, Keras' is not
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


class CheapDropout(layers.Dropout):
    """keras.layers.Dropout that draws 16 random bits an element, where Keras draws 32 and makes
    floats of them.

    The rate is rounded to a multiple of 1 / 65,536, and the scale is that of the rounded rate, so
    that the mean is kept (as exactly as the dtype holds the scale).
    Seeded and stepped like Keras' own, with other draws.
    """

    def call(self, inputs, training=False):
        threshold = round(self.rate * 65536)
        if not training or not 0 < threshold < 65536:
            return super().call(inputs, training=training)
        import tensorflow as tf

        shape = tf.shape(inputs)
        seed = tf.cast(self.seed_generator.next(), "int32")
        words = tf.random.stateless_uniform(
            [(tf.size(inputs) + 3) // 4], seed, minval=None, maxval=None, dtype="uint64"
        )
        bits = tf.reshape(tf.reshape(tf.bitcast(words, "uint16"), [-1])[: tf.size(inputs)], shape)
        scale = tf.cast(65536 / (65536 - threshold), inputs.dtype)
        return tf.where(bits >= threshold, inputs * scale, tf.zeros([], inputs.dtype))


class TransposedGradientConv2D(layers.Conv2D):
    """keras.layers.Conv2D whose gradient by the kernel, on small feature maps in bfloat16, is a
    matrix product for each of its taps.

    oneDNN's kernel for that gradient reaches half the arithmetic rate of the one that goes forward.
    With the images last in memory a tap's inputs are one matrix, and those that padding would fill
    are left out: a third and more of the time less up to 8 x 8 positions, nothing gained beyond
    (docs/experiments/engine.md).

    Takes this way where the strides and dilations are 1, there is one group, the padding is "same",
    the kernel's sides are odd and above 1, the inputs bfloat16 (N, height, width, channels) with at
    most 64 positions; Keras' own elsewhere.
    """

    MOST_POSITIONS = 64

    def convolution_op(self, inputs, kernel):
        height, width = inputs.shape[1:3]
        if not (
            self.data_format == "channels_last"
            and self.padding == "same"
            and self.groups == 1
            and set(self.strides) == set(self.dilation_rate) == {1}
            and all(side % 2 and side > 1 for side in self.kernel_size)
            and keras.backend.standardize_dtype(inputs.dtype) == "bfloat16"
            and height
            and width
            and height * width <= self.MOST_POSITIONS
        ):
            return super().convolution_op(inputs, kernel)
        return _convolved(inputs, kernel)


def _convolved(inputs, kernel):
    """The convolution, stride 1 and padding "same". inputs: (N, height, width, channels); kernel:
    (odd, odd, channels, filters)."""
    import tensorflow as tf

    height, width = inputs.shape[1:3]
    sides, options = kernel.shape[:2], {"strides": [1, 1, 1, 1], "padding": "SAME"}

    def taps(size, side):
        """For each tap the slices of inputs and of outputs that it connects."""
        for offset in range(-(side // 2), side // 2 + 1):
            first, last = max(0, -offset), max(0, min(size, size - offset))
            if first < last:
                yield slice(first + offset, last + offset), slice(first, last)
            else:
                yield (
                    slice(0, 0),
                    slice(0, 0),
                )  # a kernel larger than the image: this tap meets nothing but padding

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            by_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, **options
            )
            columns = tf.transpose(inputs, (3, 1, 2, 0))  # channels, height, width, N
            rows = tf.transpose(upstream, (1, 2, 0, 3))  # height, width, N, filters
            products = [
                tf.matmul(
                    tf.reshape(columns[:, i0, j0], (columns.shape[0], -1)),
                    tf.reshape(rows[i1, j1], (-1, rows.shape[3])),
                )
                for i0, i1 in taps(height, sides[0])
                for j0, j1 in taps(width, sides[1])
            ]
            return by_inputs, tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(inputs, kernel, **options), gradient

    return convolve(
        inputs, tf.convert_to_tensor(kernel)
    )  # outside a graph it is a variable of Keras'


class QuotientSilu(layers.Activation):
    """keras.layers.Activation("silu") whose gradient, in bfloat16, finds the sigmoid by dividing
    the output by the input.

    TensorFlow computes it anew, in a kernel that takes ten times as long as the one that goes
    forward. 2 ** -100 is added to the inputs so that 0 divided by 0 is 1 / 2. Inputs of other
    dtypes take Keras' own path.
    """

    def call(self, inputs):
        if keras.backend.standardize_dtype(inputs.dtype) != "bfloat16":
            return super().call(inputs)
        return _silu(inputs)


def _silu(inputs):
    """inputs * sigmoid(inputs), any shape."""
    import tensorflow as tf

    @tf.custom_gradient
    def silu(inputs):
        inputs = inputs + tf.constant(2.0**-100, inputs.dtype)
        outputs = inputs * tf.sigmoid(inputs)

        def gradient(upstream):
            sigmoid = tf.math.divide_no_nan(outputs, inputs)
            return upstream * (sigmoid + (outputs - sigmoid * outputs))

        return outputs, gradient

    return silu(inputs)


class ProductResizing(layers.Resizing):
    """keras.layers.Resizing, bilinear with antialiasing, as two matrix products: the same up to
    rounding (5e-5 of 255), in a fifth of the time that TensorFlow's kernel takes on two cores.

    Call: float32 (N, height, width, channels), of a known size -> float32 (N, self.height,
    self.width, channels).
    """

    def call(self, inputs):
        import tensorflow as tf

        height, width, channels = inputs.shape[1:]
        # the resized identity: (self.height, height) and (self.width, width)
        down, across = (
            tf.image.resize(tf.eye(before)[..., None], (after, before), antialias=True)[..., 0]
            for before, after in ((height, self.height), (width, self.width))
        )
        rows = tf.matmul(down, tf.reshape(inputs, (-1, height, width * channels)))
        rows = tf.reshape(rows, (-1, self.height, width, channels))
        columns = tf.reshape(tf.transpose(rows, (0, 1, 3, 2)), (-1, width))
        images = tf.matmul(columns, across, transpose_b=True)
        images = tf.reshape(images, (-1, self.height, channels, self.width))
        return tf.transpose(images, (0, 1, 3, 2))


def resizing(side, faster=True):
    """A layer that brings images to side x side pixels: bilinear, with antialiasing; where it is
    faster and wanted, a ProductResizing."""
    faster = faster and backend.is_tensorflow_on_cpu()
    kind = ProductResizing if faster else layers.Resizing
    return kind(side, side, antialias=True, dtype="float32")


def rebuilt(network):
    """`network` with the layers above in place of Keras' convolution, normalisation, dropout and
    silu; the same weights, in order.

    network: functional keras.Model; models nested in it stay as they are. Returned as it is but on
    TensorFlow on a CPU, and where there is nothing to replace.
    """
    if not backend.is_tensorflow_on_cpu() or not any(
        _replacement(layer) for layer in network.layers
    ):
        return network
    clone = keras.models.clone_model(
        network,
        clone_function=lambda layer: (_replacement(layer) or type(layer)).from_config(
            layer.get_config()
        ),
    )
    clone.set_weights(network.get_weights())
    return clone


def _replacement(layer):
    """The class above that stands in for this layer, or None."""
    if type(layer) is layers.Dropout and layer.noise_shape is not None:
        return None
    if type(layer) is layers.Activation:
        return QuotientSilu if layer.activation is keras.activations.silu else None
    return {
        layers.Conv2D: TransposedGradientConv2D,
        layers.BatchNormalization: FusedBatchNormalization,
        layers.Dropout: CheapDropout,
    }.get(type(layer))
