"""The lectures' first networks, from one neuron to LeNet: what convolution and depth are measured
against."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Augmentation, Recipe
from .rung import Rung

# One neuron: a weighted sum of the pixels, and a sigmoid says how likely it is the second digit of
# two. Any two with `--classes 3,8`. Promises 99.8 % on 0 and 1.
MNIST_LOGISTIC = Recipe(
    promise=0.998,
    idea="one neuron: two digits, a sigmoid (`--classes 3,8` for others)",
    data="mnist:0,1",
    input_shape=(28, 28, 1),
    builder="linear",
    loss="binary_crossentropy",
    batch_size=128,
    epochs=20,
    learning_rate=0.001,
    schedule="cosine",
    keep="last",
)

# Ten neurons and a softmax. Promises 92 %.
MNIST_SOFTMAX = replace(
    MNIST_LOGISTIC,
    promise=0.92,
    idea="ten neurons: one linear layer, a softmax",
    data="mnist",
    loss="categorical_crossentropy",
    learning_rate=0.003,
)

# + a hidden layer of 100, which is what the lecture promises 98 % of.
MNIST_MLP = replace(
    MNIST_SOFTMAX,
    promise=0.98,
    idea="a hidden layer of 100",
    builder="mlp",
    epochs=40,
)

# LeNet-5 as published, as the lectures draw it: tanh and average pooling. Promises 99 %.
MNIST_LENET5 = replace(
    MNIST_SOFTMAX,
    promise=0.99,
    idea="LeNet-5: two convolutions, average pooling, tanh",
    builder="lenet5",
    epochs=20,
)

FASHION_MNIST_MLP = replace(
    MNIST_MLP,
    promise=0.9,
    idea="hidden layers of 512 and 256",
    data="fashion-mnist",
    builder_options={"hidden_units": [512, 256], "dropout": 0.3, "standardize": True},
)

CIFAR10_SOFTMAX = Recipe(
    promise=0.39,
    idea="one linear layer, cross-entropy",
    data="cifar10",
    input_shape=(32, 32, 3),
    builder="linear",
    builder_options={"standardize": True},
    batch_size=128,
    epochs=15,
    learning_rate=0.001,
    schedule="cosine",
    keep="last",
)
CIFAR10_HINGE = replace(
    CIFAR10_SOFTMAX, promise=0.38, idea="one linear layer, the hinge loss", loss="multiclass_hinge"
)
CIFAR10_MLP = replace(
    CIFAR10_SOFTMAX,
    promise=0.55,
    idea="hidden layers",
    builder="mlp",
    builder_options={"hidden_units": [512, 256], "standardize": True, "dropout": 0.3},
    epochs=30,
    augmentation=Augmentation(horizontal_flip=True),
)
CIFAR10_LENET5 = replace(
    CIFAR10_MLP, promise=0.66, idea="LeNet-5", builder="lenet5", builder_options={}
)

RUNGS = {
    "mnist-logistic": Rung(recipe=MNIST_LOGISTIC, parameters=785, accuracies=(0.995, 1)),
    "mnist-softmax": Rung(recipe=MNIST_SOFTMAX, parameters=7_850, accuracies=(0.915, 0.935)),
    "mnist-mlp": Rung(recipe=MNIST_MLP, parameters=79_510, accuracies=(0.97, 0.99)),
    "mnist-lenet5": Rung(recipe=MNIST_LENET5, parameters=61_706, accuracies=(0.98, 0.995)),
    "fashion-mnist-mlp": Rung(
        recipe=FASHION_MNIST_MLP, parameters=535_820, accuracies=(0.88, 0.92)
    ),
    "cifar10-softmax": Rung(recipe=CIFAR10_SOFTMAX, parameters=30_736, accuracies=(0.36, 0.43)),
    "cifar10-hinge": Rung(recipe=CIFAR10_HINGE, parameters=30_736, accuracies=(0.35, 0.42)),
    "cifar10-mlp": Rung(recipe=CIFAR10_MLP, parameters=0, accuracies=(0.5, 0.65)),
    "cifar10-lenet5": Rung(recipe=CIFAR10_LENET5, parameters=62_006, accuracies=(0.6, 0.75)),
}
