"""A network: layers, and which gives its output to which."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import pixels
from .layers import Array, Layer, Rescaling, Shape
from .losses import Loss
from .optimizers import Optimizer

INPUT = "input"


class Node(NamedTuple):
    """A layer, and the names of the nodes that it reads."""

    layer: Layer
    inputs: tuple[str, ...]


class Network:
    """A directed graph of layers without a cycle, built in the order in which they run.

    A chain needs no names:

        network = Network(Affine(w1, b1), Relu(), Affine(w2, b2))

    and a skip names what it reads:

        network = Network()
        network.add(Convolution(w1, padding="same"), "first")
        network.add(Relu())
        network.add(Convolution(w2, padding="same"), "second")
        network.add(Add(), "sum", ["second", "first"])

    Fields:
        nodes: {name: Node}, each after those that it reads; the last one's output is the network's.
    """

    def __init__(self, *layers: Layer) -> None:
        self.nodes: dict[str, Node] = {}
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer, name: str = "", inputs: list[str] | None = None) -> str:
        """Put a layer behind the last one, or behind those named.

        Args:
            layer: reads a list of arrays where there are several inputs.
            name: its number and class where not given.
            inputs: names of earlier nodes, or "input"; the last one where not given.

        Returns:
            The layer's name.

        Raises:
            ValueError: the name is taken, or an input is not there.
        """
        name = name or f"{len(self.nodes) + 1}_{type(layer).__name__.lower()}"
        if name in (INPUT, *self.nodes):
            raise ValueError(f"name: {name!r} is taken")
        if inputs is None:
            inputs = [next(reversed(self.nodes), INPUT)]
        missing = [i for i in inputs if i not in (INPUT, *self.nodes)]
        if missing or not inputs:
            raise ValueError(f"inputs: must be earlier nodes or 'input', received {inputs}")
        self.nodes[name] = Node(layer, tuple(inputs))
        return name

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """{name: the shape that comes out for one sample}, from the input's, both without N.

        Raises:
            ValueError: a layer does not take what it is given; the message begins with its name.
        """
        found = {INPUT: shape}
        for name, (layer, inputs) in self.nodes.items():
            try:
                found[name] = layer.output_shape(*(found[i] for i in inputs))
            except ValueError as error:
                raise ValueError(f"layer {name!r:.50}: {error}") from None
        return found

    @property
    def layers(self) -> dict[str, Layer]:
        """{name: layer}, in the order in which they run."""
        return {name: node.layer for name, node in self.nodes.items()}

    @property
    def weights(self) -> list[Array]:
        """All weights that are trained, layer by layer."""
        return [w for layer in self.layers.values() if layer.trainable for w in layer.weights]

    @property
    def gradients(self) -> list[Array]:
        """The gradient by each of `weights`, from the last `backward`."""
        return [g for layer in self.layers.values() if layer.trainable for g in layer.gradients]

    def forward(self, x: Array, training: bool = False) -> Array:
        """The output for a batch; every layer keeps what `backward` needs."""
        outputs = {INPUT: x}
        for name, (layer, inputs) in self.nodes.items():
            read: Any = [outputs[i] for i in inputs]
            outputs[name] = layer.forward(read if len(read) > 1 else read[0], training)
        return outputs[next(reversed(self.nodes), INPUT)]

    def infer(self, x: Array) -> Array:
        """As `forward`, but keeps nothing: an output is dropped when its last reader has run.

        Several threads may call it at once.
        """
        outputs = {INPUT: x}
        last_reader = {i: name for name, node in self.nodes.items() for i in node.inputs}
        for name, (layer, inputs) in self.nodes.items():
            read: Any = [outputs[i] for i in inputs]
            outputs[name] = layer.forward(read if len(read) > 1 else read[0])
            layer.forget()
            for i in inputs:
                if last_reader[i] == name:
                    outputs.pop(i, None)
        return outputs[next(reversed(self.nodes), INPUT)]

    def backward(self, gradient: Array) -> Array:
        """From the gradient by the output to all others; returns the one by the input.

        The layers run in reverse. What several layers read gets the sum of their gradients.
        """
        return self._back(gradient)[INPUT]

    def _back(self, gradient: Array, to_input: bool = True) -> dict[str, Array]:
        by_output = {next(reversed(self.nodes), INPUT): gradient}
        for name, (layer, inputs) in reversed(self.nodes.items()):
            if name not in by_output:  # nothing that counts reads it
                layer.gradients = [np.zeros_like(w) for w in layer.weights]
                continue
            if not to_input and set(inputs) == {INPUT}:
                layer.learn(by_output.pop(name))
                continue
            given = layer.backward(by_output.pop(name))
            for i, g in zip(inputs, given if len(inputs) > 1 else [given], strict=True):
                by_output[i] = by_output[i] + g if i in by_output else g
        return by_output

    def step(self, optimizer: Optimizer) -> None:
        """Let the optimizer change the weights by the gradients of the last `backward`."""
        optimizer.step(self.weights, self.gradients)

    def train_on(self, x: Array, t: Array, loss: Loss, optimizer: Optimizer) -> float:
        """One step on one batch; returns the loss before it."""
        y = self.forward(x, training=True)
        self._back(loss.gradient(y, t), to_input=False)
        self.step(optimizer)
        return loss.value(y, t)

    def _warn_of_divided(self, x: Array) -> None:
        first = next((n.layer for n in self.nodes.values() if INPUT in n.inputs), None)
        if isinstance(first, Rescaling) and np.max(np.abs(first.scale)) < 0.1:
            pixels.warn(x, "x", stacklevel=4)

    def predict(self, x: Array, batch_size: int = 32) -> Array:
        """The output for any number of samples, a batch at a time.

        Args:
            x: (N, ...), whole numbers too (pixels); computed in the weights' type.
            batch_size: samples at a time; more need more memory.

        A warning says where floats up to 1 are given to a network that divides pixels itself.
        """
        self._warn_of_divided(x)
        weights = [w for layer in self.layers.values() for w in layer.weights]
        dtype = weights[0].dtype if weights else np.dtype(np.float64)
        parts = [
            self.infer(x[i : i + batch_size].astype(dtype))
            for i in range(0, max(len(x), 1), batch_size)
        ]
        return np.concatenate(parts)
