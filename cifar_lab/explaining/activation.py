"""Class activation maps: which places of the last feature maps raise a class' score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import gradient, heat, subject
from .graph import Graph

if TYPE_CHECKING:
    from .subject import Network


def grad_cam(
    model: Network,
    images: Any,
    classes: Any = None,
    *,
    layer: str | None = None,
    batch_size: int = 64,
) -> heat.Heat:
    """Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via
    gradient-based localization").

    Each channel of a feature map is weighted with the mean gradient of the class' score, before the
    softmax, by it; the weighted channels are added, and what speaks for the class is kept. The same
    on TensorFlow, JAX and PyTorch.

    Args:
        model: a rung's name, a bundle's folder or a `.keras` file, a Classifier of one, or a
            keras.Model, pixels 0-255 in, probabilities out; with a convolution.
        images: uint8 (N, height, width, channels), 0-255, or a list of picture files.
        classes: of which class: a whole number, or one a picture; None for what is predicted.
        layer: whose map; by default the last at the size of the last convolution with more than
            1 x 1 pixels.
        batch_size: pictures at a time, which bounds the memory.

    Returns:
        Heat, with the map's layer.

    Raises:
        InputError: no such network, an exported file, no convolution, no softmax at the end, no
            such class or layer, or wrong pictures.
    """
    import keras

    network = subject.opened(model)
    subject.require_whole("batch_size", batch_size, 1)
    graph = Graph(subject.keras_model(network))
    images = subject.pictures(images, network)
    asked = subject.chosen(classes, len(images), network.outputs)
    step = graph.last_map() if layer is None else graph.layer_map(layer)
    scores = graph.scores()
    body = graph.cut(graph.model.inputs[0], step.output)
    head = graph.cut(step.output, scores)

    raw, predicted = [], []
    for i in range(0, len(images), batch_size):
        batch = images[i : i + batch_size].astype(np.float32)
        features = body(batch, training=False)
        if asked is None:
            found = keras.ops.convert_to_numpy(head(features, training=False)).argmax(1)
        else:
            found = asked[i : i + batch_size]
        values = keras.ops.convert_to_numpy(keras.ops.cast(features, "float32"))
        one_hot = np.eye(network.outputs, dtype=np.float32)[found]
        weights = gradient.of_scores(head, values, one_hot).mean((1, 2))
        raw.append(np.einsum("nhwc,nc->nhw", values, weights))
        predicted.append(found)
    places = np.concatenate(raw)
    maps = heat.of_places(places, network.input_shape[:2])
    return heat.Heat(maps, places, np.concatenate(predicted).astype(np.int64), step.layer.name)
