"""A network taken apart: a copy whose layers, scores and feature maps can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import ends, schema
from ..errors import InputError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Step:
    """A layer at work: the tensors (symbolic) that it takes, and the one that it gives."""

    layer: Any
    inputs: list
    output: Any


class Graph:
    """A copy of a network, with the layers of models inside it as its own. The network itself is
    left as it is: models that are cut out of the copy would leave traces in its layers.

    Args:
        model: keras.Model, functional or sequential, pixels 0-255 in, probabilities out.

    Attributes: model, the copy; steps, list of Step, each behind those whose outputs it takes.

    Raises:
        InputError: its layers are hidden in Python code, or its pictures may have any size.
    """

    def __init__(self, model: keras.Model):
        import keras

        if not hasattr(_functional(model), "_run_through_graph") or len(model.inputs) != 1:
            raise InputError(
                f"{model.name}: must be a functional or sequential network with one input"
            )
        self.name, shape = model.name, model.input_shape[1:]
        if len(shape) != 3 or not all(shape):
            raise InputError(
                f"{model.name}: must take pictures (height, width, channels), takes {shape}"
            )
        self.steps: list[Step] = []
        self._copies: dict[int, Any] = {}
        pixels = keras.Input(shape, dtype=model.inputs[0].dtype, name="pixels")
        self.model = keras.Model(pixels, self._through(model, pixels, ""), name=model.name)
        for layer, copy in self._copies.values():
            if getattr(layer, "weights", None):
                copy.set_weights(layer.get_weights())

    def _through(self, model, x, prefix):
        """The output of a model's copied layers for a tensor."""
        import keras

        def call(layer, *args, **kwargs):
            if isinstance(layer, keras.Model):
                return self._through(layer, args[0], f"{prefix}{layer.name}_")
            copy = self._copy(layer, prefix)
            output = copy(*args, **kwargs)
            tensors = keras.tree.flatten((args, kwargs))
            inputs = [t for t in tensors if isinstance(t, keras.KerasTensor)]
            self.steps.append(Step(copy, inputs, output))
            return output

        return _functional(model)._run_through_graph(x, lambda layer: layer, call)

    def _copy(self, layer, prefix):
        if id(layer) not in self._copies:
            config = {**layer.get_config(), "name": prefix + layer.name}
            self._copies[id(layer)] = layer, type(layer).from_config(config)
        return self._copies[id(layer)][1]

    def giver(self, tensor) -> Step:
        """The step that a tensor comes from."""
        return next(step for step in self.steps if step.output is tensor)

    def cut(self, inputs, outputs) -> keras.Model:
        """The part between two tensors, the first of which all that the second is made of goes
        through."""
        import keras

        return keras.Model(inputs, outputs)

    # --- the end ---

    def scores(self) -> Any:
        """What the softmax takes, (None, classes); of a neuron that tells two classes apart, whose
        sigmoid takes z, -z and z.

        Raises:
            InputError: the network does not end with a softmax that can be told.
        """
        import keras

        last = self.giver(self.model.outputs[0])
        neuron = ends.neuron_of_two(last.layer)
        if neuron is not None:
            z = self._without_activation(self.giver(last.inputs[1]))
            minus = keras.layers.Rescaling(-1.0, name="minus_scores")(z)
            return keras.layers.Concatenate(name="scores")([minus, z])
        if ends.has_softmax(last.layer):
            if hasattr(last.layer, "kernel"):
                return self._without_activation(last)
            return last.inputs[0]
        raise InputError(
            f"{self.name}: ends with {type(last.layer).__name__}, where a softmax is needed: the "
            "scores before it cannot be told"
        )

    def _without_activation(self, step):
        config = {**step.layer.get_config(), "activation": "linear"}
        linear = type(step.layer).from_config({**config, "name": f"{step.layer.name}_scores"})
        scores = linear(step.inputs[0])
        linear.set_weights(step.layer.get_weights())
        return scores

    # --- convolutions and their maps ---

    def convolutions(self) -> list[Step]:
        """The steps that are convolutions.

        Raises:
            InputError: there is none, or they take channels first.
        """
        import keras

        kinds = (
            keras.layers.Conv2D,
            keras.layers.Conv2DTranspose,
            keras.layers.DepthwiseConv2D,
            keras.layers.SeparableConv2D,
        )
        found = [step for step in self.steps if isinstance(step.layer, kinds)]
        if not found:
            raise InputError(f"{self.name}: has no convolution")
        if any(step.layer.data_format == "channels_first" for step in found):
            raise InputError(f"{self.name}: its convolutions take channels first, not last")
        return found

    def maps(self) -> list[Step]:
        """The steps behind the first convolution whose output is a feature map of more than 1 x 1
        pixels that the whole answer is made of, no way leading past it. Dropout and the like, which
        do nothing but while training, are left out.

        Raises:
            InputError: there is none.
        """
        place = {id(step.output): i for i, step in enumerate(self.steps)}
        # how far the ways reach that begin at each step or before
        reach = list(range(len(self.steps)))
        for i, step in enumerate(self.steps):
            for tensor in step.inputs:
                if id(tensor) in place:
                    start = place[id(tensor)]
                    reach[start] = max(reach[start], i)
        pixels_reach = max(
            i for i, step in enumerate(self.steps) if any(id(t) not in place for t in step.inputs)
        )
        first, furthest, found = self.steps.index(self.convolutions()[0]), pixels_reach, []
        for i, step in enumerate(self.steps):
            is_alone = furthest <= i
            furthest = max(furthest, reach[i])
            if i >= first and is_alone and side(step) > 1 and not is_of_training(step.layer):
                found.append(step)
        if not found:
            raise InputError(
                f"{self.name}: has no feature map of more than 1 x 1 pixels that its whole answer "
                "is made of"
            )
        return found

    def last_map(self) -> Step:
        """The last feature map at the size of the last convolution that gives more than 1 x 1
        pixels: with its normalisation and activation, or the sum or the bundle of maps that it is
        part of, and not what a pooling leaves of it.

        Raises:
            InputError: there is none.
        """
        found = self.maps()
        wide = [step for step in self.convolutions() if side(step) > 1]
        size = wide[-1].output.shape[1:3] if wide else ()
        alike = [step for step in found if step.output.shape[1:3] == size]
        return (alike or found)[-1]

    def layer_map(self, name: str) -> Step:
        """The feature map of a layer by its name. Raises InputError, which names what there is."""
        found = {step.layer.name: step for step in self.maps()}
        if name not in found:
            raise InputError(
                f"layer: must be one of {', '.join(found)}, received {name!r}"
                f"{schema.meant(name, found)}"
            )
        return found[name]


def side(step: Step) -> int:
    """The longer side of what a step gives, in pixels; 0 where that is no feature map."""
    shape = step.output.shape
    return max(shape[1:3]) if len(shape) == 4 and all(shape[1:]) else 0


def is_of_training(layer: Any) -> bool:
    """Whether a layer does nothing once the network is trained."""
    import keras

    layers = keras.layers
    kinds = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout)
    return isinstance(layer, (*kinds, layers.AlphaDropout, layers.ActivityRegularization))


def _functional(model):
    """A sequential model's graph; any other model itself."""
    import keras

    if not isinstance(model, keras.Sequential):
        return model
    if not model.built:
        raise InputError(f"{model.name}: is not built: it has not seen the shape of its pictures")
    return keras.Model(model.inputs, model.outputs, name=model.name)
