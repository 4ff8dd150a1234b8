"""Keras functional-API builders: builder(input_shape, num_classes, ...) -> keras.Model.

Every network takes raw pixels, float32 (N, height, width, channels) in 0-255, and returns
class probabilities, float32 (N, num_classes). Nothing here knows a recipe or a data set.

Each builder imports Keras inside its function: Keras takes seconds to import, and what the
commands need before that (which builders there are, their arguments, what can be searched of them)
must not wait for it. `searchable.py` has the declarations.
"""

from .airbench import airbench
from .alexnet import alexnet
from .cifar10_cnn import cifar10_cnn
from .edge import edge
from .fashion_mnist_cnn import fashion_mnist_cnn
from .inception import inception
from .keras_applications import application
from .lenet5 import lenet5
from .linear import linear
from .mlp import mlp
from .nin import nin
from .resnet import resnet
from .vgg import vgg

__all__ = [
    "airbench",
    "alexnet",
    "application",
    "cifar10_cnn",
    "edge",
    "fashion_mnist_cnn",
    "inception",
    "lenet5",
    "linear",
    "mlp",
    "nin",
    "resnet",
    "vgg",
]
