"""First weights that are computed rather than drawn."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from .. import backend
from ..errors import InputError


def draw(network, name, seed):
    """Draw every kernel anew from the Keras initializer of this name, each with a seed of its own.

    network: keras.Model; a frozen layer keeps its weights.   seed: int.
    """
    layers = [layer for layer in network.layers if layer.trainable]
    kernels = [
        weight
        for layer in layers
        for weight in layer.trainable_weights
        if weight.name.endswith("kernel")
    ]
    for place, kernel in enumerate(kernels):
        own = int(np.random.default_rng([seed, place]).integers(2**31))
        config = {} if name == "zeros" else {"seed": own}
        drawn = keras.initializers.get({"class_name": name, "config": config})
        kernel.assign(drawn(tuple(kernel.shape), dtype=kernel.dtype))


def standardize(network, images):
    """Give the frozen layer "standardize", where a network has one, the mean and variance of each
    channel of the train images.

    network: keras.Model with that layer after a division by 255.
    images: uint8 (N, height, width, channels).
    """
    found = [layer for layer in network.layers if layer.name == "standardize"]
    if not found:
        return
    size = _at_once(images, 1000)

    def sums(start):
        x = images[start : start + size].astype("float64").reshape(-1, images.shape[-1]) / 255
        return x.sum(0), (x**2).sum(0), len(x)

    total, squares, count = 0.0, 0.0, 0
    with ThreadPoolExecutor(min(4, backend.cores())) as pool:  # added in order, whoever is first
        for part in pool.map(sums, range(0, len(images), size)):
            total, squares, count = total + part[0], squares + part[1], count + part[2]
    mean = total / count
    found[0].set_weights([mean, np.maximum(squares / count - mean**2, 1e-6)])


def _at_once(images, most):
    """How many images are taken at a time: `most` of 32 x 32 pixels in colour or smaller ones, of
    larger ones as many as take the same memory."""
    return max(1, most * 32 * 32 * 3 // max(32 * 32 * 3, int(np.prod(images.shape[1:]))))


def whiten(network, images, epsilon=3e-5):
    """Set the layer "whiten" so that its outputs are uncorrelated and of unit variance on train
    patches, with both signs (Page 2019, "How to train your ResNet 8"; Jordan 2024), and freeze it.

    network: keras.Model with a Conv2D "whiten" of 2 * kernel area * channels filters after a
        division by 255.
    images: uint8 (N, height, width, channels).   epsilon: added to the variances (pixels 0-1).
    Raises InputError where the network has no such layer.
    """
    try:
        layer = network.get_layer("whiten")
    except ValueError:
        raise InputError(
            f'recipe field whitening: the network {network.name} has no layer "whiten"'
        ) from None
    height, width, channels, filters = layer.kernel.shape
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    total, products, count = 0.0, 0.0, 0
    size = _at_once(images, 250)
    for start in range(0, len(images), size):
        x = images[start : start + size].astype("float64") / 255
        patches = np.stack(
            [x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)], 3
        )
        patches = patches.reshape(-1, height * width * channels)
        total, products, count = (
            total + patches.sum(0),
            products + patches.T @ patches,
            count + len(patches),
        )
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    kernel = vectors / np.sqrt(values + epsilon)  # a column an output
    kernel = np.concatenate([kernel, -kernel], 1)
    layer.set_weights(
        [
            kernel.reshape(height, width, channels, filters).astype("float32"),
            (-mean @ kernel).astype("float32"),
        ]
    )
    layer.trainable = False


def dirac(network):
    """Let each convolution but "whiten" pass its first channels on: output i is input i, for as
    many as it has of both (Zagoruyko and Komodakis 2017, "DiracNets"; as Jordan 2024 has it). The
    other outputs stay as they were drawn."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name != "whiten":
            kernel = np.array(layer.get_weights()[0])
            height, width, inputs, outputs = kernel.shape
            n = min(inputs, outputs)
            kernel[..., :n] = 0
            kernel[(height - 1) // 2, (width - 1) // 2, range(n), range(n)] = 1
            layer.set_weights([kernel, *layer.get_weights()[1:]])
