"""The networks of the ladder in plain numpy, forward and backward, to be read.

    from cifar_lab import scratch

    network = scratch.load("cifar10-90")            # a trained rung (Keras reads the file)
    network.predict(images)                         # probabilities, by numpy alone

    network = scratch.Network(scratch.Affine(w1, b1), scratch.Relu(), scratch.Affine(w2, b2))
    network.train_on(x, t, scratch.SoftmaxCrossEntropy(), scratch.Adam())   # one step

Read in this order: `layers` (what a layer is), `activations`, `losses`, `network`, `optimizers`,
`gradients` (the check), `initialisation`; then `windows`, `convolution`, `pooling`; `neighbours`, a
classifier without weights; last `folding` and `saving`, by which a trained network becomes a file
that runs without Keras. numpy is the only import. Each layer is equal to Keras', which
tests/test_scratch.py shows.
"""

from .activations import Elu, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Tanh, sigmoid, softmax
from .convolution import Convolution, DepthwiseConvolution, convolve_by_loops
from .folding import folded
from .gradients import numerical_gradient, relative_error
from .initialisation import (
    constant,
    fans,
    he_normal,
    he_uniform,
    normal,
    xavier_normal,
    xavier_uniform,
)
from .layers import (
    Add,
    Affine,
    BatchNormalization,
    Concatenate,
    Dropout,
    Flatten,
    GaussianNoise,
    Layer,
    Rescaling,
    ZeroPadding,
)
from .loading import load
from .losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Loss,
    MultiClassHinge,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    WorstHinge,
    one_hot,
)
from .neighbours import majority, nearest_neighbours
from .network import Network
from .optimizers import AdaGrad, Adam, GradientDescent, Momentum, Nesterov, Optimizer, RMSProp
from .pooling import AveragePooling, GlobalAveragePooling, GlobalMaxPooling, MaxPooling
from .saving import restore, save

__all__ = [
    "AdaGrad",
    "Adam",
    "Add",
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Concatenate",
    "Convolution",
    "DepthwiseConvolution",
    "Dropout",
    "Elu",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "GradientDescent",
    "Layer",
    "LeakyRelu",
    "Loss",
    "MaxPooling",
    "Momentum",
    "MultiClassHinge",
    "Nesterov",
    "Network",
    "Optimizer",
    "RMSProp",
    "Relu",
    "Rescaling",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Silu",
    "Softmax",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "Tanh",
    "WorstHinge",
    "ZeroPadding",
    "constant",
    "convolve_by_loops",
    "fans",
    "folded",
    "he_normal",
    "he_uniform",
    "load",
    "majority",
    "nearest_neighbours",
    "normal",
    "numerical_gradient",
    "one_hot",
    "relative_error",
    "restore",
    "save",
    "sigmoid",
    "softmax",
    "xavier_normal",
    "xavier_uniform",
]
