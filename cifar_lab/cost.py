"""What a network costs to compute: multiply-adds, by layer."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def multiply_adds(network: "keras.Model") -> dict[str, int]:
    """Multiplications (each with its addition) of convolutions and dense layers, for one image.

    Normalisation, pooling and activations are not counted, as is usual.

    Args:
        network: built, of one input size. The layers of a model inside it count too, under
            "MODEL/LAYER".

    Returns:
        {layer name: count}, in the order of the layers.
    """
    import keras

    counts: dict[str, int] = {}
    for layer in network.layers:
        calls = max(1, len(layer._inbound_nodes))  # a layer may stand in a graph more than once
        if isinstance(layer, keras.Model):
            for name, count in multiply_adds(layer).items():
                counts[f"{layer.name}/{name}"] = calls * count
        elif hasattr(layer, "depthwise_kernel"):  # separable: both at the output's positions
            kernels = layer.depthwise_kernel, layer.pointwise_kernel
            weights = sum(math.prod(kernel.shape) for kernel in kernels)
            counts[layer.name] = calls * _positions(layer, layer.output.shape) * weights
        elif hasattr(layer, "kernel"):
            # a transposed convolution lays its kernel at each position of the input; a depthwise
            # kernel has no sum over the channels, and its shape says so
            ends = layer.input if "Transpose" in type(layer).__name__ else layer.output
            weights = math.prod(layer.kernel.shape)
            counts[layer.name] = calls * _positions(layer, ends.shape) * weights
    return counts


def training_multiply_adds(network: "keras.Model") -> int:
    """Multiply-adds of a training step for one image.

    Forward, and the gradients by kernels and by inputs, each as much again; the first layer's
    input needs none. `network` is as for `multiply_adds`.
    """
    counts = list(multiply_adds(network).values())
    return 3 * sum(counts) - counts[0]


def _positions(layer, shape: tuple) -> int:
    """How often a kernel is applied: the size of a tensor without its batch and its channels."""
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(shape[2:] if channels_first else shape[1:-1])
