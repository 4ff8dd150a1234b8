"""The ladder: every rung is a frozen Recipe, and each is the rung below with something changed.

Recipes are plain data: this module imports no Keras, and a card stores a recipe as JSON.
"""
import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace

from .errors import InputError

BUILDERS = ("cifar10_cnn", "fashion_mnist_cnn")  # the functions of cifar_lab.models
SCHEDULES = ("constant", "cosine")
KEEPS = ("last", "best")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but its seed and its machine.

    Fields:
        promise: test accuracy, a fraction; the mean over seeds rounds to this figure or more
            at its own number of digits.
        idea: the one thing that separates this rung from the one below.
        data: the name of the data set.
        input_shape: (height, width, channels) that images are brought to.
        builder: a function of cifar_lab.models; builder_options are its keyword arguments.
        batch_size: images a step.   epochs: passes over the training part.
        learning_rate: Adam's (Kingma and Ba 2015), at the start.
        schedule: "constant", or "cosine": from learning_rate to 0 at the last step
            (Loshchilov and Hutter 2017, without restarts).
        validation_fraction: the stratified share of the train split that is not trained on.
        keep: whose weights are saved: those of the "last" epoch, or of the "best", the one with
            the highest validation accuracy (the first of equals).
        gpu_precision: the dtype policy on a GPU; on a CPU it is float32, and so is what is saved.
    """

    promise: float
    idea: str
    data: str
    input_shape: tuple
    builder: str
    builder_options: dict = field(default_factory=dict)
    batch_size: int = 32
    epochs: int = 25
    learning_rate: float = 0.001
    schedule: str = "constant"
    validation_fraction: float = 0.1
    keep: str = "best"
    gpu_precision: str = "mixed_float16"

    def __post_init__(self):
        def check(name, ok, allowed):
            if not ok:
                raise InputError(f"recipe field {name}: must be {allowed}, received {getattr(self, name)!r}")

        def number(name):
            value = getattr(self, name)
            return isinstance(value, (int, float)) and not isinstance(value, bool)

        def whole(value):
            return isinstance(value, int) and not isinstance(value, bool) and value >= 1

        check("promise", number("promise") and 0 <= self.promise <= 1, "a number from 0 to 1")
        for name in ("idea", "data"):
            check(name, isinstance(getattr(self, name), str), "a string")
        check("input_shape", isinstance(self.input_shape, (list, tuple)) and len(self.input_shape) == 3
              and all(map(whole, self.input_shape)) and self.input_shape[2] in (1, 3),
              "[height, width, channels] with 1 or 3 channels")
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        check("builder", self.builder in BUILDERS, f"one of {', '.join(BUILDERS)}")
        check("builder_options", isinstance(self.builder_options, dict), "an object")
        for name in ("batch_size", "epochs"):
            check(name, whole(getattr(self, name)), "a whole number of at least 1")
        check("learning_rate", number("learning_rate") and 0 < self.learning_rate < float("inf"),
              "a number greater than 0")
        check("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        check("validation_fraction", number("validation_fraction") and 0 < self.validation_fraction < 1,
              "a number between 0 and 1")
        check("keep", self.keep in KEEPS, f"one of {', '.join(KEEPS)}")
        check("gpu_precision", self.gpu_precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")

    def as_dict(self):
        """The fields as JSON types."""
        return {**dataclasses.asdict(self), "input_shape": list(self.input_shape)}

    def sha256(self):
        """Hex digest of what decides a run (promise and idea are words about it, and left out)."""
        decides = {k: v for k, v in self.as_dict().items() if k not in ("promise", "idea")}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


# As the lecture has it: Adam at its default rate, batches of 32, 25 epochs, a tenth for validation.
# The weights kept are those of the best validation epoch, because from about the tenth epoch on
# the network learns its train images by heart. Promises 74 %.
CIFAR10_74 = Recipe(
    promise=0.74, idea="the first CNN: three convolutions, pooling, dropout",
    data="cifar10", input_shape=(32, 32, 3), builder="cifar10_cnn")

# + batch normalisation, which learns faster and so overfits sooner: at a constant rate and dropout
# 0.2 it stays near 77 %. What it took, chosen on validation accuracy: no normalisation after the
# flattening (it speeds up the overfitting of the hidden layer), a cosine to zero over 24 epochs, and
# dropout 0.35. The trials are in docs/log.md. Promises 79 %.
CIFAR10_79 = replace(
    CIFAR10_74, promise=0.79, idea="batch normalisation (and a rate that falls to zero, dropout 0.35)",
    builder_options={"batch_normalization": True, "dropout": 0.35}, epochs=24, schedule="cosine")

# The lecture's second data set and network. It does not give the epochs: at a constant rate ten give
# 90.8 %; chosen on validation data: 40 epochs of a cosine to zero, batches of 64. Promises 92.0 %.
FASHION_MNIST_92 = Recipe(
    promise=0.92, idea="grey images of clothes, small kernels, strong dropout",
    data="fashion-mnist", input_shape=(28, 28, 1), builder="fashion_mnist_cnn",
    batch_size=64, epochs=40, schedule="cosine")

LADDER = {
    "cifar10-74": CIFAR10_74,
    "cifar10-79": CIFAR10_79,
    "fashion-mnist-92": FASHION_MNIST_92,
}


def get(rung):
    """The recipe of a rung. Raises InputError naming the rungs there are."""
    try:
        return LADDER[rung]
    except KeyError:
        raise InputError(f"unknown rung {rung!r}: must be one of {', '.join(LADDER)}") from None


def changed(recipe, fields, source):
    """`recipe` with `fields` replaced; `source` names where they came from in an error."""
    if not isinstance(fields, dict):
        raise InputError(f"{source}: must hold a JSON object of recipe fields")
    names = [f.name for f in dataclasses.fields(Recipe)]
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise InputError(f"{source}: unknown recipe field {unknown[0]!r}: must be one of {', '.join(names)}")
    try:
        return replace(recipe, **fields)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def build(recipe, num_classes):
    """The bare network of a recipe, keras.Model (imports Keras). InputError for options it refuses."""
    from . import models
    try:
        return getattr(models, recipe.builder)(recipe.input_shape, num_classes, **recipe.builder_options)
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe: {recipe.builder}({recipe.input_shape}, {num_classes}, "
                         f"{recipe.builder_options}): {' '.join(str(error).split())[:300]}") from None
