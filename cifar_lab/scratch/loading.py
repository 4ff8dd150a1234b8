"""A trained network as a scratch `Network`: `load("cifar10-90")`, `load("model.npz")`.

Keras is imported to read a bundle, and only inside `load`; the network that comes back is numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from . import activations, convolution, layers, pooling
from .layers import Array, Layer
from .network import INPUT, Network
from .saving import restore

if TYPE_CHECKING:
    import keras

MOST_BYTES = 2 << 30  # of an .npz file


def load(model: str | Path | keras.Model) -> Network:
    """The network of a rung, of a bundle's folder, of an `.npz` file, or of a Keras model.

    Args:
        model: a rung's name, a folder, a file of `python export.py --format numpy`, or a model in
            memory with one input and one output.

    Returns:
        Network with copies of the weights, in their type: pixels 0-255 in, probabilities out. A
        Keras layer with an activation becomes two, "NAME" and "NAME_activation". Dropout draws
        from a generator with seed 0.

    Raises:
        ValueError: the model has a layer, or a setting of one, that there is no scratch layer for;
            the file is damaged, or cannot be read.
        InputError: there is no such bundle (a ValueError too).
    """
    if isinstance(model, (str, Path)) and str(model).endswith(".npz"):
        return _restored(Path(model))
    if isinstance(model, (str, Path)):
        from cifar_lab import bundles

        model = bundles.load(bundles.find(model))[0]
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model: must have one input and one output, has {len(model.inputs)} and "
            f"{len(model.outputs)}"
        )
    network, gives = Network(), {}  # gives: {Keras layer: the node that has its output}
    last = INPUT
    for saved in model.get_config()["layers"]:
        name, kind, settings = _name(saved), saved["class_name"], saved["config"]
        if kind == "InputLayer":
            gives[name] = INPUT
            continue
        nodes = saved.get("inbound_nodes", [None])  # a Sequential has none: a chain
        if len(nodes) != 1:
            raise ValueError(f"model: its layer {name!r} is used {len(nodes)} times")
        if kind != "Activation" and kind not in _LAYERS:  # a Keras function too
            raise ValueError(
                f"model: its layer {name!r} is a {kind}; there are {', '.join(sorted(_LAYERS))}"
            )
        read = [gives[i] for i in _inputs(nodes[0])] if nodes[0] else [last]
        keras_layer = model.get_layer(name)
        weights = [np.array(w) for w in keras_layer.get_weights()]
        if kind == "Normalization":  # as it divides pictures, whatever its axes
            weights = [np.array(w)[0] for w in (keras_layer.mean, keras_layer.variance)]
        layer = _translate(name, kind, settings, weights)
        layer.trainable = keras_layer.trainable
        last = network.add(layer, name, read)
        activation = settings.get("activation", "linear")
        if kind != "Activation" and activation != "linear":
            last = network.add(_activation(name, activation), f"{name}_activation")
        gives[name] = last
    return network


def _restored(path: Path) -> Network:
    try:
        return restore(files.read(path, MOST_BYTES))[0]
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _name(saved: dict[str, Any]) -> str:
    return saved.get("name") or saved["config"]["name"]


def _inputs(node: Any) -> Iterator[str]:
    """The names of the layers that a saved call of a layer reads, in order."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"][0]
        else:
            for value in node.values():
                yield from _inputs(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _inputs(value)


# --- a Keras layer's class, settings and weights -> a layer ---------------------------------------

_ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": activations.Relu,
    "relu6": lambda: activations.Relu(6),
    "sigmoid": activations.Sigmoid,
    "tanh": activations.Tanh,
    "elu": activations.Elu,
    "leaky_relu": lambda: activations.LeakyRelu(0.2),
    "silu": activations.Silu,
    "softmax": activations.Softmax,
}


def _activation(name: str, activation: Any) -> Layer:
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"model: its layer {name!r} has the activation {activation!r}; there are "
            f"{', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[activation]()


def _convolution(kind: type, s: dict[str, Any], weights: list[Array]) -> Layer:
    return kind(*weights, strides=tuple(s["strides"]), padding=s["padding"])


def _pooling(kind: type, s: dict[str, Any], weights: list[Array]) -> Layer:
    return kind(tuple(s["pool_size"]), tuple(s["strides"]), s["padding"])


def _batch_normalization(s: dict[str, Any], weights: list[Array]) -> Layer:
    gamma = weights.pop(0) if s["scale"] else None
    beta = weights.pop(0) if s["center"] else None
    mean, variance = weights
    return layers.BatchNormalization(
        len(mean),
        momentum=s["momentum"],
        epsilon=s["epsilon"],
        gamma=gamma,
        beta=beta,
        moving_mean=mean,
        moving_variance=variance,
    )


def _normalization(s: dict[str, Any], weights: list[Array]) -> Layer:
    mean, variance = weights
    deviation = np.maximum(np.sqrt(variance), 1e-7)  # Keras' epsilon, where all pixels are equal
    return layers.Rescaling(1 / deviation, -mean / deviation)


def _relu(s: dict[str, Any], weights: list[Array]) -> Layer:
    slope = s.get("negative_slope", 0)
    return activations.LeakyRelu(slope) if slope else activations.Relu(s.get("max_value"))


def _zero_padding(s: dict[str, Any], weights: list[Array]) -> Layer:
    first, second = (tuple(pair) for pair in s["padding"])
    # "channels_first" pads the last two axes, which here are columns and channels
    behind = s["data_format"] == "channels_first"
    return layers.ZeroPadding(((0, 0), first, second) if behind else (first, second, (0, 0)))


_LAYERS: dict[str, Callable[[dict[str, Any], list[Array]], Layer]] = {
    "Dense": lambda s, w: layers.Affine(*w),
    "Conv2D": lambda s, w: _convolution(convolution.Convolution, s, w),
    "DepthwiseConv2D": lambda s, w: _convolution(convolution.DepthwiseConvolution, s, w),
    "MaxPooling2D": lambda s, w: _pooling(pooling.MaxPooling, s, w),
    "AveragePooling2D": lambda s, w: _pooling(pooling.AveragePooling, s, w),
    "GlobalAveragePooling2D": lambda s, w: pooling.GlobalAveragePooling(),
    "GlobalMaxPooling2D": lambda s, w: pooling.GlobalMaxPooling(),
    "BatchNormalization": _batch_normalization,
    "Normalization": _normalization,
    "Dropout": lambda s, w: layers.Dropout(s["rate"]),
    "Rescaling": lambda s, w: layers.Rescaling(s["scale"], s["offset"]),
    "Flatten": lambda s, w: layers.Flatten(),
    "Add": lambda s, w: layers.Add(),
    "Concatenate": lambda s, w: layers.Concatenate(),
    "GaussianNoise": lambda s, w: layers.GaussianNoise(s["stddev"], np.random.default_rng(0)),
    "ZeroPadding2D": _zero_padding,
    "ReLU": _relu,
    "LeakyReLU": lambda s, w: activations.LeakyRelu(s["negative_slope"]),
    "ELU": lambda s, w: activations.Elu(s["alpha"]),
    "Softmax": lambda s, w: activations.Softmax(),
}

# {setting: the one value that the layers above have}
_FIXED = {
    "data_format": "channels_last",
    "dilation_rate": [1, 1],
    "groups": 1,
    "axis": -1,
    "threshold": 0,
    "keepdims": False,
    "noise_shape": None,
    "renorm": False,
    "invert": False,
}
# {(class, setting)}: these classes have layers for other values too
_FREE = {("ZeroPadding2D", "data_format"), ("Normalization", "axis")}


def _translate(name: str, kind: str, settings: dict[str, Any], weights: list[Array]) -> Layer:
    if kind == "Activation":
        return _activation(name, settings["activation"])
    for setting, value in _FIXED.items():
        has = settings.get(setting, value)
        has = list(has) if isinstance(has, tuple) else has
        if has != value and (kind, setting) not in _FREE:
            raise ValueError(f"model: its layer {name!r} has {setting} {has!r}, not {value!r}")
    return _LAYERS[kind](settings, weights)
