"""Keras optimizers and learning-rate schedules of the recipes."""
import keras
from keras import ops


def build(recipe, steps):
    """The optimizer of a recipe for a training of `steps` steps: keras.optimizers.Optimizer."""
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif recipe.schedule == "triangular":
        rate = Triangular(rate, steps, recipe.warmup_fraction)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = NesterovSGD(rate, recipe.momentum, recipe.weight_decay, recipe.bias_rate_factor)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


class Triangular(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from peak / 5 up to peak in the first share of the steps, then linear down to 0 at the last.

    peak: learning rate.   steps: int.   warmup_fraction: share of the steps, 0 to 1.
    """

    def __init__(self, peak, steps, warmup_fraction=0.2):
        super().__init__()
        self.peak, self.steps, self.warmup_fraction = peak, steps, warmup_fraction

    def __call__(self, step):
        done = ops.cast(step, "float32") / self.steps
        up = 0.2 + 0.8 * done / self.warmup_fraction if self.warmup_fraction else 1.0
        down = (1 - done) / (1 - self.warmup_fraction) if self.warmup_fraction < 1 else 1.0
        return self.peak * ops.maximum(ops.minimum(up, down), 0.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "warmup_fraction": self.warmup_fraction}


class NesterovSGD(keras.optimizers.SGD):
    """SGD with Nesterov's momentum, decoupled weight decay, and a learning rate of their own for biases (Jordan 2024).

    bias_rate_factor: variables named "bias" or "beta" (of convolutions, dense layers, normalisation) learn at this many
    times the learning rate. Other arguments: keras.optimizers.SGD.
    """

    BIASES = ("bias", "beta")

    def __init__(self, learning_rate=0.01, momentum=0.9, weight_decay=0.0, bias_rate_factor=1.0, **kwargs):
        super().__init__(learning_rate, momentum=momentum, nesterov=True, weight_decay=weight_decay or None, **kwargs)
        self.bias_rate_factor = bias_rate_factor

    def build(self, variables):
        super().build(variables)
        self._rate_factors = [self.bias_rate_factor if v.name in self.BIASES else 1.0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        # by index: here TensorFlow's own variables come in, whose names are others
        factor = self._rate_factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate if factor == 1 else learning_rate * factor)

    def get_config(self):
        return {**super().get_config(), "bias_rate_factor": self.bias_rate_factor}
