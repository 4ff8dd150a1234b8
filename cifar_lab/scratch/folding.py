"""A trained network with fewer layers that computes the same: what a runtime gets.

Outside training, normalisation multiplies each channel by a number and adds another. So does the
convolution before it, for every filter: the two are one convolution (Jacob et al. 2018, section
3.2). Dropout and noise do nothing, and what the output does not hang on is not needed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .convolution import Convolution, DepthwiseConvolution
from .layers import Affine, Array, BatchNormalization, Dropout, GaussianNoise, Layer, Rescaling
from .network import INPUT, Network, Node

_Linear = (Affine, Convolution, DepthwiseConvolution)


def folded(network: Network) -> Network:
    """A network with the same output outside training, its weights in float32.

    Normalisation goes into the convolution or affine layer before it, and a scale of the pixels
    into the one behind it, where nothing else reads what is between the two. Other normalisation
    becomes a `Rescaling`.

    Args:
        network: stays as it is; the two share the layers without weights.
    """
    nodes = _without_chance(network)
    readers = Counter(i for node in nodes.values() for i in node.inputs)
    out = Network()
    gives = {INPUT: INPUT}  # {node of `nodes`: the node that has its output in `out`}
    for name, (layer, inputs) in nodes.items():
        read = [gives[i] for i in inputs]
        before = out.nodes[read[0]] if read[0] != INPUT and readers[inputs[0]] == 1 else None
        if isinstance(layer, BatchNormalization):
            scale, offset = _as_line(layer)
            if before and isinstance(before.layer, _Linear):
                out.nodes[read[0]] = Node(_and_then(before.layer, scale, offset), before.inputs)
                gives[name] = read[0]
                continue
            layer = Rescaling(scale.astype(np.float32), offset.astype(np.float32))
        if isinstance(layer, _Linear):
            kernel, bias = layer.weights[0], layer.weights[1] if len(layer.weights) > 1 else None
            if before and isinstance(before.layer, Rescaling) and _is_scale(before.layer):
                kernel = kernel * np.reshape(before.layer.scale, (-1, 1))
                del out.nodes[read[0]]
                read = list(before.inputs)
            layer = _like(layer, kernel, bias)
        gives[name] = out.add(layer, name, read)
    return out


def _without_chance(network: Network) -> dict[str, Node]:
    """The nodes that the output hangs on; who read a dropout or noise reads what it read."""
    wanted = {next(reversed(network.nodes), INPUT)}
    for name, node in reversed(network.nodes.items()):
        if name in wanted:
            wanted.update(node.inputs)
    nodes, gives = {}, {INPUT: INPUT}
    for name, (layer, inputs) in network.nodes.items():
        gives[name] = gives[inputs[0]] if isinstance(layer, (Dropout, GaussianNoise)) else name
        if name in wanted and gives[name] == name:
            nodes[name] = Node(layer, tuple(gives[i] for i in inputs))
    return nodes


def _as_line(layer: BatchNormalization) -> tuple[Array, Array]:
    """(scale, offset), float64 (channels,): what the layer does outside training."""
    scale = 1 / np.sqrt(layer.moving_variance.astype(np.float64) + layer.epsilon)
    if layer.has_gamma:
        scale = scale * layer.weights[0]
    offset = -layer.moving_mean * scale
    return scale, offset + layer.weights[-1] if layer.has_beta else offset


def _and_then(layer: Layer, scale: Array, offset: Array) -> Layer:
    """A layer that gives scale * y + offset, where `layer` gives y."""
    kernel, bias = layer.weights[0], layer.weights[1] if len(layer.weights) > 1 else 0
    is_depthwise = isinstance(layer, DepthwiseConvolution)
    by_filter = scale.reshape(kernel.shape[2:]) if is_depthwise else scale
    return _like(layer, kernel * by_filter, bias * scale + offset)


def _is_scale(layer: Rescaling) -> bool:
    """Whether it only multiplies, and each channel by one number."""
    return np.ndim(layer.scale) <= 1 and not np.any(layer.offset)


def _like(layer: Layer, kernel: Array, bias: Array | None) -> Layer:
    """A layer of the same kind and settings with other weights, in float32."""
    kernel = np.ascontiguousarray(kernel, np.float32)
    bias = None if bias is None else np.asarray(bias, np.float32)
    if isinstance(layer, (Convolution, DepthwiseConvolution)):
        return type(layer)(kernel, bias, layer.strides, layer.padding)
    return Affine(kernel, bias)
