"""What can be searched of a builder, said beside it: `@searchable(dropout=Number(0.0, 0.95), ...)`.

Plain data. This module imports neither Keras nor anything of the package, so that a file with a
network of one's own may use it (`from cifar_lab.models.searchable import Number, searchable`) and
a command may read the declarations before it starts Keras.
"""

import inspect
from dataclasses import dataclass

# Keras' activations that work as a hidden layer's, need no argument and are saved by their name
ACTIVATIONS = ("relu", "silu", "gelu", "elu", "selu", "leaky_relu", "relu6", "tanh", "sigmoid")


@dataclass(frozen=True)
class Number:
    """A number, or as many equal ones as the argument is a list of (a rate for each stage).

    Fields:
        low, high: the bounds of what may be asked for, inclusive.
        usual: (low, high) searched when nothing is asked for; None to leave it out then.
        log: whether the usual range is drawn evenly in the logarithm.
        whole: whether only whole numbers make sense.
    """

    low: float
    high: float
    usual: tuple | None = None
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Widths:
    """Channels: of one layer (a whole number), or of each stage (a list of them).

    A range of the argument gives every stage the same value; `width` scales all of a builder's.

    Fields:
        low, high: the bounds of each, inclusive.
    """

    low: int = 1
    high: int = 4096


@dataclass(frozen=True)
class Choice:
    """One of some texts, or true or false.

    Fields:
        options: all that may be asked for.
        usual: those tried when nothing is asked for; None to leave it out then.
    """

    options: tuple
    usual: tuple | None = None


def searchable(**kinds):
    """Decorate a builder with what can be searched of it: `builder.searchable` is {argument: kind}.

    Raises:
        TypeError: a name that is no keyword argument of the builder, or one without a default.
    """

    def declare(builder):
        parameters = inspect.signature(builder).parameters
        for name in kinds:
            if name not in parameters or parameters[name].default is inspect.Parameter.empty:
                raise TypeError(
                    f"searchable: {builder.__name__} must have an argument {name!r} with a default"
                )
        builder.searchable = kinds
        return builder

    return declare
