"""Keras optimizers and learning-rate schedules of recipes."""

import keras
from keras import ops

#: {name: (rate, recipe, options) -> keras.optimizers.Optimizer} of those that are Keras' own.
KERAS_OWN = {
    "adam": lambda rate, recipe, options: keras.optimizers.Adam(rate, **options),
    "momentum": lambda rate, recipe, options: keras.optimizers.SGD(
        rate, momentum=recipe.momentum, **options
    ),
    "adagrad": lambda rate, recipe, options: keras.optimizers.Adagrad(rate, **options),
    "rmsprop": lambda rate, recipe, options: keras.optimizers.RMSprop(rate, **options),
}


def build(recipe, steps, precision="float32", head=False):
    """The optimizer of a recipe for a training of `steps` steps under the dtype policy `precision`:
    keras.optimizers.Optimizer.

    head: that of the epochs that train the last layer alone, instead of the one for all others.
    """
    rate = rate_of(recipe, steps, head)
    if recipe.optimizer in KERAS_OWN:
        decay = {"weight_decay": recipe.weight_decay or None}
        optimizer = KERAS_OWN[recipe.optimizer](rate, recipe, decay)
        if recipe.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        return optimizer
    options = rate, recipe.momentum, recipe.weight_decay, recipe.bias_rate_factor
    if recipe.optimizer == "muon":
        optimizer = Muon(
            *options,
            kernel_rate_factor=recipe.kernel_rate / recipe.learning_rate,
            bfloat16=precision == "mixed_bfloat16",
        )
    else:
        optimizer = NesterovSGD(*options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def rate_of(recipe, steps, head=False):
    """The learning rate of an optimizer of `build`, with the same arguments: a
    LearningRateSchedule of the steps that it has taken, or a float."""
    head_steps, main, cycle = (
        steps * epochs // recipe.epochs
        for epochs in (recipe.head_epochs, recipe.main_epochs, recipe.swa_epochs)
    )
    peak = recipe.learning_rate * (1 if head else recipe.fine_rate)
    main = head_steps if head else main - head_steps
    rate = _schedule(recipe, peak, main)
    if recipe.swa_cycles and not head:
        return Cycles(rate, main, _schedule(recipe, recipe.swa_rate * peak, cycle), cycle)
    return rate


def _schedule(recipe, rate, steps):
    """The recipe's schedule from or to `rate` over `steps`: a LearningRateSchedule, or the rate
    where it is constant."""
    if recipe.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    if recipe.schedule == "triangular":
        return Triangular(rate, steps, recipe.warmup_fraction)
    return rate


@keras.saving.register_keras_serializable("cifar_lab")
class Triangular(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from peak / 5 up to peak in the first share of the steps, then linear down to 0 at the
    last.

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


@keras.saving.register_keras_serializable("cifar_lab")
class Cycles(keras.optimizers.schedules.LearningRateSchedule):
    """One schedule for the first steps, then a short one over and over.

    main, cycle: float, or keras LearningRateSchedule, called with the step since its own beginning.
          main_steps, cycle_steps: int.
    """

    def __init__(self, main, main_steps, cycle, cycle_steps):
        super().__init__()
        self.main, self.main_steps, self.cycle, self.cycle_steps = (
            main,
            main_steps,
            cycle,
            cycle_steps,
        )

    def __call__(self, step):
        def rate(schedule, step):
            return ops.cast(schedule(step) if callable(schedule) else schedule, "float32")

        step = ops.cast(step, "int32")
        return ops.where(
            step < self.main_steps,
            rate(self.main, step),
            rate(self.cycle, (step - self.main_steps) % self.cycle_steps),
        )

    def get_config(self):
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("main", "main_steps", "cycle", "cycle_steps")
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()}
        )


class NesterovSGD(keras.optimizers.SGD):
    """SGD with Nesterov's momentum, decoupled weight decay, and a learning rate of their own for
    biases (Jordan 2024).

    bias_rate_factor: variables named "bias" or "beta" (of convolutions, dense layers,
    normalisation) learn at this many times the learning rate. Other arguments:
    keras.optimizers.SGD.
    """

    BIASES = ("bias", "beta")

    def __init__(
        self, learning_rate=0.01, momentum=0.9, weight_decay=0.0, bias_rate_factor=1.0, **kwargs
    ):
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=True,
            weight_decay=weight_decay or None,
            **kwargs,
        )
        self.bias_rate_factor = bias_rate_factor

    def build(self, variables):
        super().build(variables)
        self._rate_factors = [
            self.bias_rate_factor if v.name in self.BIASES else 1.0 for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        # by index: here TensorFlow's own variables come in, whose names are others
        factor = self._rate_factors[self._get_variable_index(variable)]
        super().update_step(
            gradient, variable, learning_rate if factor == 1 else learning_rate * factor
        )

    def get_config(self):
        return {**super().get_config(), "bias_rate_factor": self.bias_rate_factor}


class Muon(NesterovSGD):
    """NesterovSGD but for the kernels of convolutions, whose steps are orthogonal matrices (Jordan
    et al. 2024).

    A kernel is the matrix of its (height x width x inputs) rows and its outputs. Each step scales
    it to the norm sqrt(outputs), then takes from it rate * kernel_rate_factor times the orthogonal
    matrix nearest to Nesterov's momentum, as `orthogonalized` finds it: all directions learn at one
    pace, whatever the gradient's length. Such kernels have no weight decay. (keras.optimizers.Muon
    does this for matrices alone, and leaves kernels of four axes to AdamW.)

    kernel_rate_factor: the kernels' rate as a multiple of the learning rate.   bfloat16: whether to
        orthogonalize in it.
    Other arguments: NesterovSGD.
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0,
        bias_rate_factor=1.0,
        kernel_rate_factor=1.0,
        bfloat16=False,
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, weight_decay, bias_rate_factor, **kwargs)
        self.kernel_rate_factor, self.bfloat16 = kernel_rate_factor, bfloat16

    @staticmethod
    def _is_matrix(variable):
        return len(variable.shape) == 4 and variable.shape[-1] > 1  # 1: a depthwise kernel

    def _use_weight_decay(self, variable):
        return not self._is_matrix(variable) and super()._use_weight_decay(variable)

    def update_step(self, gradient, variable, learning_rate):
        if not self._is_matrix(variable):
            return super().update_step(gradient, variable, learning_rate)
        step = gradient = ops.cast(gradient, variable.dtype)
        if self.momentum:
            velocity = self.momentums[self._get_variable_index(variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            step = gradient + self.momentum * velocity
        step = orthogonalized(ops.reshape(step, (-1, variable.shape[-1])), bfloat16=self.bfloat16)
        rate = ops.cast(learning_rate * self.kernel_rate_factor, variable.dtype)
        norm = ops.sqrt(ops.sum(ops.square(variable))) + 1e-7
        self.assign(
            variable,
            variable * (variable.shape[-1] ** 0.5 / norm)
            - rate * ops.reshape(step, variable.shape),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_rate_factor": self.kernel_rate_factor,
            "bfloat16": self.bfloat16,
        }


def orthogonalized(matrix, steps=3, bfloat16=False):
    """About the nearest (semi-)orthogonal matrix: the same singular vectors, singular values near
    1.

    `steps` times the polynomial 3.4445 x - 4.775 x^3 + 2.0315 x^5 of the singular values (a
    Newton-Schulz iteration; Jordan et al. 2024), beginning from the matrix over its Frobenius norm:
    after 3 steps, which is enough to train with, those that began above 0.05 are within 0.68 and
    1.21; after 5 those above 0.01 are.

    matrix: float (N, M).   bfloat16: the dtype to compute in. Returns float (N, M).
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-7)
    if bfloat16:
        x = ops.cast(x, "bfloat16")
    if not wide:
        x = ops.transpose(x)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.775 * square + 2.0315 * ops.matmul(square, square), x)
    return ops.cast(x if wide else ops.transpose(x), matrix.dtype)
