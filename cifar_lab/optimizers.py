"""Optimizers in the sense of Keras' own, where those leave speed on the table."""
import keras
from keras import ops


class FusedAdam(keras.optimizers.Adam):
    """keras.optimizers.Adam (Kingma and Ba 2015), each variable's step as one TensorFlow kernel.

    The formula is Keras' own. On the TensorFlow backend Keras runs it as a dozen operations, each a pass
    over all of a variable's memory, which on a CPU costs a third of the 74 network's training step. On
    other backends, whose compilers fuse the operations themselves, this is keras.optimizers.Adam.
    """

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        import tensorflow as tf
        if isinstance(gradient, tf.IndexedSlices):
            return super().update_step(gradient, variable, learning_rate)

        def handle(v):
            return getattr(v, "value", v).handle if isinstance(v, keras.Variable) else v.handle

        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = ops.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=handle(variable), m=handle(self._momentums[index]), v=handle(self._velocities[index]),
            beta1_power=ops.power(beta_1, step), beta2_power=ops.power(beta_2, step),
            lr=ops.cast(learning_rate, dtype), beta1=beta_1, beta2=beta_2,
            epsilon=ops.cast(self.epsilon, dtype), grad=ops.cast(gradient, dtype))
