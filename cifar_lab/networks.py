"""From a name to a recipe, and from a recipe to its network: the package's builders, and those of
files that users write."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from . import backend, bundles, ladder, memory, schema
from .errors import InputError, is_memory, reason
from .recipe import Recipe, split_own, split_start, weights_file

# Builders whose dense layers take every pixel: their weights fit no other size of images
OF_ONE_SIZE = ("alexnet", "cifar10_cnn", "fashion_mnist_cnn", "lenet5", "linear", "mlp", "vgg")
MOST_PARAMETERS = 1 << 28  # 1 GB of weights; VGG-19 has 144 million
MOST_ARRAYS = 10_000  # of weights; a residual network of 1,202 layers has 6,000


def is_own(name: str) -> bool:
    """Whether a name is that of a file's network or recipe, "FILE.py:NAME" or "FILE.py"."""
    return name.endswith(".py") or split_own(name) is not None


def resolve(name: str) -> tuple[str, Recipe]:
    """(label, recipe) of a rung's name, or of "FILE.py:NAME" with NAME a Recipe or a builder.

    FILE.py alone will do where the file defines one Recipe. A builder is trained by the default
    recipe. Runs the file. Raises InputError for what is not there, or not one of these.
    """
    if not is_own(name):
        return name, ladder.get(name).recipe
    own = split_own(name)
    file, attribute = own if own else (Path(name), "")
    module = load_file(file)
    if not attribute:
        found = [key for key, value in vars(module).items() if isinstance(value, Recipe)]
        if len(found) != 1:
            raise InputError(
                f"{file}: defines {len(found)} recipes; name one: "
                f"{file}:{found[0] if found else 'NAME'}"
            )
        attribute = found[0]
    value = _attribute(module, file, attribute)
    if isinstance(value, Recipe):
        if isinstance(value.builder, str) and split_own(value.builder):
            value = located(value, file.parent)
        return attribute, value
    if not _is_builder(value):
        kind = type(value).__name__
        raise InputError(f"{file}:{attribute}: must be a Recipe or a builder function, is a {kind}")
    return attribute, Recipe(builder=f"{file}:{attribute}", idea=f"{attribute} of {file.name}")


def portable(name: str) -> str:
    """A name that `resolve` takes from any working folder."""
    if not is_own(name):
        return name
    own = split_own(name)
    file, attribute = own if own else (Path(name), "")
    return f"{file.expanduser().resolve()}{':' if attribute else ''}{attribute}"


def located(recipe: Recipe, folder: Path) -> Recipe:
    """`recipe` with the file of its own builder, where it has one, found from `folder`."""
    own = split_own(recipe.builder) if isinstance(recipe.builder, str) else None
    return replace(recipe, builder=f"{folder / own[0]}:{own[1]}") if own else recipe


def begun_from(recipe: Recipe, start: str) -> Recipe:
    """`recipe` for a network that begins with the weights of a trained one.

    Args:
        recipe: how to train.
        start: a rung, the folder of a bundle, "keras:NAME", "keras:NAME:FILE", or "weights:FILE".

    Returns:
        The recipe with the trained network's builder and options, and its channels. A network of a
        user's own file stays: its builder must be the recipe's. Of a weights file, which names no
        network, all stays: a layer "whiten" is set from train images, and then by the file.

    Raises:
        InputError: there is no such network, or none of that name in keras.applications.
    """
    from .models import keras_applications

    kind, _, _ = start.partition(":")
    if kind == "weights":
        from . import weights

        path = weights.check(weights_file(start))
        return replace(recipe, start=f"weights:{path}", initializer="")
    name, file = split_start(start)
    if kind == "keras":
        if name not in keras_applications.NETWORKS:
            known = ", ".join(keras_applications.NETWORKS)
            raise InputError(f"`start` {start}: must be keras:NAME with NAME one of {known}")
        if file and not Path(file).is_file():
            raise InputError(f"`start` {start}: there is no file {file}")
        where = f":{Path(file).absolute()}" if file else ""
        options = {} if recipe.builder != "application" else recipe.builder_options
        fields: dict[str, Any] = {
            "start": f"keras:{name}{where}",
            "builder": "application",
            "builder_options": {**options, "network": name},
        }
    else:
        folder = bundles.find(start)
        base = bundles.stored_recipe(bundles.read_card(folder))
        place = start if start in ladder.LADDER else str(folder)
        fields = {"start": place, "input_shape": recipe.input_shape[:2] + (_channels(base, start),)}
        if split_own(base["builder"]) is None and not base["builder"].startswith("notebook:"):
            fields |= {
                "builder": base["builder"],
                "builder_options": base.get("builder_options", {}),
            }
    return replace(recipe, **fields, whitening=False, dirac=False)


def check_start_size(recipe: Recipe) -> None:
    """InputError where the weights that a recipe begins with fit no images of its shape."""
    if not recipe.start or split_start(recipe.start)[0] or weights_file(recipe.start):
        return
    theirs = bundles.stored_recipe(bundles.read_card(bundles.find(recipe.start))).get("input_shape")
    ours = list(recipe.input_shape)
    if theirs in (None, ours):
        return
    if theirs[2] != ours[2]:
        colours = "grey images" if theirs[2] == 1 else "images in colour"
        raise InputError(f"`start` {recipe.start}: takes {colours}, the recipe's are others")
    if recipe.builder in OF_ONE_SIZE:
        raise InputError(
            f"`start` {recipe.start}: takes images of {theirs[0]} x {theirs[1]} pixels only, "
            f"the recipe's have {ours[0]} x {ours[1]}; set `size` to {theirs[0]}"
        )


def _channels(base: dict[str, Any], start: str) -> int:
    if not {"builder", "input_shape"} <= base.keys():
        raise InputError(f"`start` {start}: its card does not say which network it is")
    return base["input_shape"][2]


def builder_of(recipe: Recipe) -> Callable:
    """The function that a recipe names. Raises InputError, for one of a file only."""
    if not isinstance(recipe.builder, str):
        return recipe.builder
    own = split_own(recipe.builder)
    if own is None:
        from . import models

        return getattr(models, recipe.builder)
    value = _attribute(load_file(own[0]), *own)
    if not _is_builder(value):
        kind = type(value).__name__
        raise InputError(f"{recipe.builder}: must be a builder function, is a {kind}")
    return value


def is_packaged(recipe: Recipe) -> bool:
    """Whether a recipe's builder is one of cifar_lab.models."""
    return isinstance(recipe.builder, str) and split_own(recipe.builder) is None


def build(recipe: Recipe, num_classes: int) -> Any:
    """The bare network of a recipe, keras.Model: pixels 0-255 in, probabilities out.

    Raises InputError for options that the builder refuses, and for a user's network that would
    not train here, or could not be read without its file.
    """
    backend.start()
    builder, name = builder_of(recipe), recipe.builder_name
    options = schema.told(recipe.builder_options)
    call = f"{name}({recipe.input_shape}, {num_classes}, {options})"
    try:
        with bounded():
            network = builder(recipe.input_shape, num_classes, **recipe.builder_options)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # of a file that a user wrote: anything, SystemExit too
        is_ours = is_packaged(recipe) and not recipe.builder_options
        if is_memory(error) or (is_ours and not isinstance(error, (TypeError, ValueError))):
            raise
        text = reason(error)[:300]
        kind = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
        raise InputError(f"recipe: {call}: {kind}{text}") from None
    if not is_packaged(recipe):
        _check_own(network, recipe, num_classes, name)
    return network


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """While a network is built inside: ValueError before the weights are made with which it has
    more than MOST_PARAMETERS, or MOST_ARRAYS. What is made lies in memory at once."""
    import keras

    parameters, arrays = 0, 0
    add_weight = keras.layers.Layer.add_weight

    def counted(layer: Any, *given: Any, **options: Any) -> Any:
        nonlocal parameters, arrays
        shape = options.get("shape", given[0] if given else None) or ()
        parameters, arrays = parameters + math.prod(shape), arrays + 1
        if parameters > MOST_PARAMETERS:
            raise ValueError(
                f"has {parameters:,} parameters or more, of which layer {layer.name!r} has "
                f"{math.prod(shape):,}: may have {MOST_PARAMETERS:,}"
            )
        if arrays > MOST_ARRAYS:
            raise ValueError(f"has more than {MOST_ARRAYS:,} arrays of weights, a layer has 1 to 4")
        return add_weight(layer, *given, **options)

    keras.layers.Layer.add_weight = counted
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def require_memory(network: Any, batch_size: int) -> None:
    """InputError where the values that a step of training keeps of a batch do not fit into the
    memory of this machine: half of what the layers give, at the least. Of the processor alone: a
    GPU says it itself."""
    nodes = (node for layer in network.layers for node in layer._inbound_nodes)
    shapes = (tensor.shape[1:] for node in nodes for tensor in node.output_tensors)
    values = sum(math.prod(side or 1 for side in shape) for shape in shapes)
    if backend.device()[0] == "CPU":
        what = f"recipe: the layers' values for a batch of {batch_size:,} images"
        memory.require(2 * values * batch_size, what)


def description_sha256(network: Any) -> str:
    """Hex digest of a network's layers in order, names and weights apart."""
    layers = [
        [type(layer).__name__, {k: v for k, v in layer.get_config().items() if k != "name"}]
        for layer in network.layers
    ]
    shapes = [list(w.shape) for w in network.weights]
    return hashlib.sha256(json.dumps([layers, shapes], default=str).encode()).hexdigest()


def _is_builder(value: Any) -> bool:
    return callable(value) and not inspect.isclass(value)


_loaded: dict[Path, ModuleType] = {}


def load_file(file: Path) -> ModuleType:
    """A user's file as a module, run once. Its folder comes last on sys.path, so that what it
    imports from beside it is found and nothing there stands before a standard module."""
    path = file.expanduser().resolve()
    if path in _loaded:
        return _loaded[path]
    if not path.is_file():
        raise InputError(f"{file}: there is no such file")
    backend.start()  # the file imports Keras
    name = f"cifar_lab_own_{path.stem}_{len(_loaded)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{file}: cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the file does, SystemExit too
        del sys.modules[name]
        line = _line_in(path, error)
        text = f"{type(error).__name__}: {reason(error)[:200]}"
        raise InputError(f"{file}{line}: cannot be run ({text})") from None
    _loaded[path] = module
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """ ", line N" where an error points into a file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    trace, line = error.__traceback__, 0
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


def _attribute(module: ModuleType, file: Path, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        there = [
            key
            for key, value in vars(module).items()
            if isinstance(value, Recipe)
            or inspect.isfunction(value)
            and value.__module__ == module.__name__
        ]
        known = f"; it has {', '.join(there)}" if there else ""
        raise InputError(f"{file}: has no {name!r}{known}") from None


def _check_own(network: Any, recipe: Recipe, num_classes: int, name: str) -> None:
    """InputError where an own builder gave what cannot be trained and saved."""
    import keras
    import numpy as np

    if not isinstance(network, keras.Model):
        raise InputError(f"{name}: must return a keras.Model, returned {type(network).__name__}")
    if not network.built or len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise InputError(
            f"{name}: must return a functional or sequential model with one input and one output"
        )
    wanted, given = (None, *recipe.input_shape), tuple(network.input_shape)
    if given != wanted:
        raise InputError(f"{name}: must take images of {wanted}, takes {given}")
    if tuple(network.output_shape) != (None, num_classes):
        raise InputError(
            f"{name}: must give (None, {num_classes}), a probability a class, "
            f"gives {tuple(network.output_shape)}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of what is refused here
        text = network.to_json()
    stranger = _stranger(json.loads(text))
    if not stranger:
        try:
            keras.models.model_from_json(text)
        except Exception as error:  # what Keras cannot read raises nearly anything
            stranger = reason(error)[:120]
    if stranger:
        raise InputError(
            f"{name}: must be made of Keras' own layers and functions, or the saved model could "
            f"not be read without its file: {stranger}"
        )
    images = np.random.default_rng(0).integers(0, 256, (2, *recipe.input_shape))
    outputs = keras.ops.convert_to_numpy(network(images.astype("float32"), training=False))
    outputs = outputs.astype("float64")
    sums = outputs.sum(-1)
    if not (np.isfinite(outputs).all() and outputs.min() >= 0 and abs(sums - 1).max() < 1e-2):
        raise InputError(
            f"{name}: its outputs must be probabilities that sum to 1 (end with a softmax), "
            f"sum to {sums[0]:.3g} for an image of noise"
        )


def _stranger(value: Any) -> str:
    """The first class in a model's JSON that is not Keras' own, "" without one."""
    if isinstance(value, list):
        return next((found for item in value if (found := _stranger(item))), "")
    if not isinstance(value, dict):
        return ""
    if value.get("class_name") in ("Lambda", "__lambda__"):
        return "a lambda"
    module, name = value.get("module"), value.get("registered_name")
    known = module is None or module.partition(".")[0] in ("keras", "builtins")
    if "class_name" in value and (not known or isinstance(name, str) and ">" in name):
        return str(name or value["class_name"])
    return next((found for item in value.values() if (found := _stranger(item))), "")
