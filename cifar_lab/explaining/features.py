"""Feature maps: what the layers of a network make of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import subject
from .graph import Graph, Step

if TYPE_CHECKING:
    from .subject import Network


@dataclass(frozen=True)
class FeatureMaps:
    """The strongest channels of N pictures behind one layer.

    Fields:
        layer: its name.
        maps: float32 (N, channels, height, width), as the layer gives them, the strongest first.
        channels: int64 (N, channels), which ones they are.
        total: how many channels the layer has.
    """

    layer: str
    maps: np.ndarray
    channels: np.ndarray
    total: int


def feature_maps(
    model: Network, images: Any, *, channels: int = 8, layers: list[str] | None = None
) -> list[FeatureMaps]:
    """What the layers make of pictures.

    Args:
        model: a rung's name, a bundle's folder or a `.keras` file, a Classifier of one, or a
            keras.Model; with a convolution.
        images: uint8 (N, height, width, channels), 0-255, or a list of picture files.
        channels: how many of each layer: those that differ the most from place to place (by their
            standard deviation over the picture), for each picture its own.
        layers: names of layers; by default the first convolution with its activation, and the last
            map of each size on the way to the answer.

    Returns:
        A FeatureMaps a layer, from the pixels to the answer.

    Raises:
        InputError: no such network or layer, an exported file, no convolution, or wrong pictures.
    """
    import keras

    network = subject.opened(model)
    subject.require_whole("channels", channels, 1)
    graph = Graph(subject.keras_model(network))
    images = subject.pictures(images, network)
    steps = _shown(graph) if layers is None else [graph.layer_map(name) for name in layers]
    body = graph.cut(graph.model.inputs[0], [step.output for step in steps])
    outputs = body(images.astype(np.float32), training=False)
    found = []
    for step, output in zip(steps, outputs, strict=True):
        values = np.asarray(keras.ops.convert_to_numpy(output), np.float32).transpose(0, 3, 1, 2)
        order = np.argsort(-values.std((2, 3)), axis=1, kind="stable")[:, :channels]
        strongest = np.take_along_axis(values, order[:, :, None, None], 1)
        found.append(FeatureMaps(step.layer.name, strongest, order, values.shape[1]))
    return found


def _shown(graph: Graph) -> list[Step]:
    """The steps whose maps tell the way from the pixels to the answer."""
    steps = graph.maps()
    finished = [step for step in steps if _is_finished(step.layer)] or steps
    last_of_size = {step.output.shape[1:3]: step for step in finished}
    kept = [finished[0], *last_of_size.values()]
    return [step for step in steps if any(step is other for other in kept)]


def _is_finished(layer: Any) -> bool:
    """Whether a layer's output is more than what a normalisation or an activation waits for."""
    import keras

    is_linear = getattr(layer, "activation", None) is keras.activations.linear
    layers = keras.layers
    passing = (layers.BatchNormalization, layers.LayerNormalization, layers.Rescaling)
    return not is_linear and not isinstance(layer, (*passing, layers.ZeroPadding2D))
