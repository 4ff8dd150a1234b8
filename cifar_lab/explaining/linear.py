"""The templates of a linear network: a picture a class, which it compares each picture with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import ends
from ..errors import InputError
from . import subject
from .filters import stretched
from .graph import Graph, Step, is_of_training

if TYPE_CHECKING:
    from .subject import Network


@dataclass(frozen=True)
class Templates:
    """What a linear network adds to each class' score for each pixel.

    Fields:
        weights: float32 (classes, height, width, channels): a class' score is the sum of these
            times the pixels, 0-255, and a number for each class. Of one neuron that tells two
            classes apart, the weights of the second class, and before them their negative.
        tiles: float32, the same shape, each class brought to 0-1 by itself, to be shown.
    """

    weights: np.ndarray
    tiles: np.ndarray


def templates(model: Network) -> Templates:
    """The templates of a network of one dense layer on pixels that are at most scaled.

    Args:
        model: a rung's name, a bundle's folder or a `.keras` file, a Classifier of one, or a
            keras.Model.

    Raises:
        InputError: no such network, an exported file, or a network that is not linear.
    """
    import keras

    network = subject.opened(model)
    graph = Graph(subject.keras_model(network))
    dense = [step for step in graph.steps if isinstance(step.layer, keras.layers.Dense)]
    end = graph.giver(graph.model.outputs[0]).layer
    is_linear = len(dense) == 1 and (
        ends.neuron_of_two(end) is dense[0].layer
        or ends.has_softmax(end)
        and (end is dense[0].layer or dense[0].layer.activation is keras.activations.linear)
    )
    before = graph.steps[: graph.steps.index(dense[0])] if is_linear else []
    after = graph.steps[graph.steps.index(dense[0]) + 1 :] if is_linear else []
    if not is_linear or not all(map(_only_scales, before)) or _works_on(after, end):
        raise InputError(
            f"{network.name}: is not linear, one dense layer on the pixels, so it has no templates"
        )
    scaled = graph.cut(graph.model.inputs[0], dense[0].inputs[0])
    shape = network.input_shape
    # a scaling of each pixel by itself: what it makes of 1, less what it makes of 0
    ends_of_scale = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
    zero, one = keras.ops.convert_to_numpy(scaled(ends_of_scale, training=False))
    kernel = np.asarray(dense[0].layer.get_weights()[0], np.float32) * (one - zero)[:, None]
    weights = kernel.T.reshape(-1, *shape)
    if len(weights) == 1:
        weights = np.concatenate([-weights, weights])
    return Templates(weights, np.stack([stretched(w) for w in weights]))


def _only_scales(step: Step) -> bool:
    import keras

    layers = keras.layers
    kinds = (layers.Rescaling, layers.Normalization, layers.BatchNormalization, layers.Flatten)
    return isinstance(step.layer, kinds) or is_of_training(step.layer)


def _works_on(steps: list[Step], end) -> bool:
    """Whether anything but the end of a network, which the scores are read before, comes last."""
    return len(steps) > (2 if ends.neuron_of_two(end) is not None else 1)
