"""A network whose probabilities are at another temperature: what goes into its softmax, divided.

An exported file holds one number less than two files and one operation less than a division: the
temperature goes into the weights of the last layer wherever that can be done.
"""

from __future__ import annotations

from typing import Any

from .. import ends


def folded(model, temperature: float) -> Any:
    """A copy of a network that gives softmax(logits / temperature).

    The last Dense layer's kernel and bias, those of a convolution whose means are the logits, or a
    Rescaling before the softmax are divided; before a softmax that follows anything else, a
    Rescaling is put. So it is where one sigmoid tells two
    classes apart: 1 - p and p are the softmax of 0 and its logit.

    Args:
        model: keras.Model, built, with one input and one output.
        temperature: greater than 0.

    Returns:
        keras.Model; `model` itself where the temperature is 1, None where the network does not end
        with a softmax that can be told.
    """
    import keras

    if temperature == 1:
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    last = ends.producer(copy)
    neuron = ends.neuron_of_two(last)
    if neuron is not None:
        _divide(neuron, temperature)
        return copy
    if ends.is_used_once(last) and ends.has_softmax(last) and hasattr(last, "kernel"):
        return copy if _divided(last, temperature) else None
    if not (isinstance(last, keras.layers.Softmax) or type(last).__name__ == "Activation"):
        return None
    if not ends.has_softmax(last) or not ends.is_used_once(last):
        return None
    logits = last.input
    before = logits._keras_history.operation
    # nothing but the softmax takes what comes before it
    alone = len(getattr(before, "_outbound_nodes", [0, 0])) == 1
    if alone and ends.is_used_once(before) and _divided(before, temperature):
        return copy
    if copy.outputs[0] is not last.output:  # the softmax is inside a model inside
        return None
    x = keras.layers.Rescaling(1 / temperature, dtype="float32")(logits)
    x = keras.layers.Softmax(dtype="float32")(x)
    return keras.Model(copy.inputs[0], x, name=model.name)


def _divide(layer, temperature: float) -> None:
    for weight in [layer.kernel] + ([layer.bias] if layer.use_bias else []):
        weight.assign(weight / temperature)


def _divided(layer, temperature: float) -> bool:
    """Whether what a layer gives before its activation could be divided by dividing its numbers."""
    import keras

    if getattr(layer, "quantization_mode", None):  # whole numbers, which cannot be divided
        return False
    if type(layer) is keras.layers.Dense and (
        layer.activation is keras.activations.linear or ends.has_softmax(layer)
    ):
        _divide(layer, temperature)
        return True
    if type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear:
        _divide(layer, temperature)
        return True
    if type(layer) is keras.layers.GlobalAveragePooling2D:  # a mean of what can be divided
        before = layer.input._keras_history.operation
        alone = len(getattr(before, "_outbound_nodes", [0, 0])) == 1
        return alone and ends.is_used_once(before) and _divided(before, temperature)
    if type(layer) is keras.layers.Rescaling and isinstance(layer.scale, (int, float)):
        if isinstance(layer.offset, (int, float)):
            layer.scale, layer.offset = layer.scale / temperature, layer.offset / temperature
            return True
    return False
