"""How a network ends: the layer that its probabilities are of, and what stands before it."""

from __future__ import annotations

from typing import Any


def producer(model) -> Any:
    """The layer that the output of a model is of, also of a model inside it."""
    import keras

    last = model.outputs[0]._keras_history.operation
    return producer(last) if isinstance(last, keras.Model) else last


def is_used_once(layer) -> bool:
    return len(getattr(layer, "_inbound_nodes", [])) == 1


def has_softmax(layer) -> bool:
    import keras

    if isinstance(layer, keras.layers.Softmax):
        return layer.axis in (-1, len(layer.output.shape) - 1)
    return getattr(layer, "activation", None) is keras.activations.softmax


def neuron_of_two(last) -> Any:
    """The dense layer with one sigmoid p of a network that ends with [1 - p, p]; None for another
    end."""
    import keras

    if type(last) is not keras.layers.Concatenate or not is_used_once(last):
        return None
    inputs = last.input
    if len(inputs) != 2:
        return None
    other, neuron = (tensor._keras_history.operation for tensor in inputs)
    is_other = (
        type(other) is keras.layers.Rescaling
        and (other.scale, other.offset) == (-1, 1)
        and other.input is inputs[1]
    )
    is_neuron = (
        type(neuron) is keras.layers.Dense
        and neuron.activation is keras.activations.sigmoid
        and not getattr(neuron, "quantization_mode", None)
    )
    return neuron if is_other and is_neuron and is_used_once(neuron) else None
