"""A network as one file, `.npz`: its graph as JSON, its weights as plain float32 arrays.

    np.load("model.npz")["conv1_1/kernel"]                    # (3, 3, 3, 32), without this package
    json.loads(bytes(np.load("model.npz")["graph"]))          # what the layers are, who reads whom

Nothing in the file is code, and reading it runs none. Arrays are stored, not compressed, so that no
file asks for more memory than its own size to be read; a graph that asks for more to be run is
refused by its shapes, before anything is computed.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ..arrays import directory_bytes, header
from . import activations, convolution, layers, pooling
from .layers import Array, Layer, Shape
from .network import Network
from .windows import borders

FORMAT, VERSION = "cifar_lab.scratch", 1
GRAPH = "graph"
MOST_BYTES_OF_GRAPH = 1 << 20
MOST_BYTES_OF_LIST = 4 << 20  # that names the members of an archive
MOST_VALUES = 1 << 26  # of all outputs for one sample, or of one layer's windows: 256 MB
MOST_PIXELS = 256  # of a window, or of a border, on a side


# --- what a layer of each kind has beside its inputs ----------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """How the layers of a class are written and made again.

    Fields:
        make: the class, called with settings and arrays by their names.
        settings: {attribute: the check of its value, which returns it or raises ValueError}.
        arrays: {name: the numbers of dimensions that it can have}.
        optional: names of arrays that may be missing.
    """

    make: Callable[..., Layer]
    settings: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise ValueError(f"must be a number, received {value!r:.50}")
    return float(value)


def _positive_or_none(value: Any) -> float | None:
    if value is not None and not _number(value) > 0:
        raise ValueError(f"must be a number above 0 or null, received {value!r:.50}")
    return value


def _share(value: Any) -> float:
    if not 0 <= _number(value) < 1:
        raise ValueError(f"must be from 0 to below 1, received {value!r:.50}")
    return float(value)


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"must be a whole number from {low} to {high}, received {value!r:.50}")
    return value


def _sides(value: Any, low: int = 1) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"must be two whole numbers, received {value!r:.50}")
    return _whole(value[0], low, MOST_PIXELS), _whole(value[1], low, MOST_PIXELS)


def _three_sides(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError(f"must be three pairs, received {value!r:.50}")
    return tuple(_sides(pair, 0) for pair in value)


def _padding(value: Any) -> str:
    if value not in ("valid", "same"):
        raise ValueError(f"must be 'valid' or 'same', received {value!r:.50}")
    return value


def _normalization(**parts: Any) -> Layer:
    return layers.BatchNormalization(len(parts["moving_mean"]), **parts)


_Sliding = (
    convolution.Convolution,
    convolution.DepthwiseConvolution,
    pooling.MaxPooling,
    pooling.AveragePooling,
)
_WINDOW: dict[str, Callable[[Any], Any]] = {"strides": _sides, "padding": _padding}
_KERNEL = {"kernel": (4,), "bias": (1,)}
_LINE = {"scale": (0, 1, 3), "offset": (0, 1, 3)}
_CHANNELS = {name: (1,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}

KINDS = {
    "Affine": _Kind(layers.Affine, {}, {"kernel": (2,), "bias": (1,)}, ("bias",)),
    "Convolution": _Kind(convolution.Convolution, _WINDOW, _KERNEL, ("bias",)),
    "DepthwiseConvolution": _Kind(convolution.DepthwiseConvolution, _WINDOW, _KERNEL, ("bias",)),
    "MaxPooling": _Kind(pooling.MaxPooling, {"window": _sides, **_WINDOW}),
    "AveragePooling": _Kind(pooling.AveragePooling, {"window": _sides, **_WINDOW}),
    "GlobalAveragePooling": _Kind(pooling.GlobalAveragePooling),
    "GlobalMaxPooling": _Kind(pooling.GlobalMaxPooling),
    "Flatten": _Kind(layers.Flatten),
    "Rescaling": _Kind(layers.Rescaling, {}, _LINE),
    "ZeroPadding": _Kind(layers.ZeroPadding, {"padding": _three_sides}),
    "Add": _Kind(layers.Add),
    "Concatenate": _Kind(layers.Concatenate),
    "Dropout": _Kind(layers.Dropout, {"rate": _share}),
    "BatchNormalization": _Kind(
        _normalization, {"momentum": _number, "epsilon": _number}, _CHANNELS, ("gamma", "beta")
    ),
    "Relu": _Kind(activations.Relu, {"max_value": _positive_or_none}),
    "LeakyRelu": _Kind(activations.LeakyRelu, {"slope": _number}),
    "Elu": _Kind(activations.Elu, {"alpha": _number}),
    "Silu": _Kind(activations.Silu),
    "Sigmoid": _Kind(activations.Sigmoid),
    "Tanh": _Kind(activations.Tanh),
    "Softmax": _Kind(activations.Softmax),
}


def _arrays(layer: Layer) -> dict[str, Array]:
    """What a layer's kind says that it has."""
    if isinstance(layer, layers.BatchNormalization):
        names = [n for n, has in (("gamma", layer.has_gamma), ("beta", layer.has_beta)) if has]
        learned = dict(zip(names, layer.weights, strict=True))
        return {
            **learned,
            "moving_mean": layer.moving_mean,
            "moving_variance": layer.moving_variance,
        }
    if isinstance(layer, layers.Rescaling):
        return {"scale": np.asarray(layer.scale), "offset": np.asarray(layer.offset)}
    return dict(zip(("kernel", "bias"), layer.weights, strict=False))


# --- writing --------------------------------------------------------------------------------------


def save(network: Network, input_shape: Shape, file: BinaryIO) -> None:
    """Write a network to an open binary file: the same network, the same bytes.

    Args:
        network: its weights are written in float32.
        input_shape: of one sample: (height, width, channels), or (values,).
        file: of the caller, `open("model.npz", "wb")`.

    Raises:
        ValueError: a layer is of a class that the format does not have, or does not take what it is
            given.
    """
    graph, arrays = described(network, input_shape)
    text = np.frombuffer(json.dumps(graph).encode(), np.uint8)
    np.savez(file, allow_pickle=False, **{GRAPH: text}, **arrays)


def described(network: Network, input_shape: Shape) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file holds of a network: its graph, ready for JSON, and {"LAYER/PART": its arrays} in
    float32. Arguments and errors as of `save`."""
    network.shapes(input_shape)
    arrays: dict[str, Array] = {}
    nodes = []
    for name, (layer, inputs) in network.nodes.items():
        kind = type(layer).__name__
        if kind not in KINDS:
            raise ValueError(f"layer {name!r}: is a {kind}; there are {', '.join(KINDS)}")
        of_layer = _arrays(layer)
        arrays |= {f"{name}/{part}": value.astype(np.float32) for part, value in of_layer.items()}
        settings = {setting: getattr(layer, setting) for setting in KINDS[kind].settings}
        nodes.append(
            {
                "name": name,
                "kind": kind,
                "inputs": inputs,
                "settings": settings,
                "arrays": [*of_layer],
            }
        )
    graph = {"format": FORMAT, "version": VERSION, "input_shape": input_shape, "nodes": nodes}
    return graph, arrays


# --- reading --------------------------------------------------------------------------------------


def restore(content: bytes) -> tuple[Network, Shape]:
    """The network of a file that `save` wrote, and the shape of its input.

    Args:
        content: of the file. It may come from anywhere: every part of it is checked.

    Raises:
        ValueError: it is no such file, or damaged; the message says what is wrong with which layer.
    """
    members = _members(content)
    graph = _graph(members.pop(GRAPH, None))
    shape = _input_shape(graph["input_shape"])
    network = Network()
    for number, node in enumerate(graph["nodes"], 1):
        if not isinstance(node, dict) or set(node) != _NODE:
            raise ValueError(f"layer {number}: must have {', '.join(sorted(_NODE))}")
        if not isinstance(node["name"], str) or not node["name"]:
            raise ValueError(f"layer {number}: name must be a text, received {node['name']!r:.50}")
        try:
            inputs = node["inputs"]
            if not isinstance(inputs, list) or not all(isinstance(i, str) for i in inputs):
                raise ValueError(f"inputs must be names, received {inputs!r:.50}")
            network.add(_layer(node, members), node["name"], inputs)
        except ValueError as error:
            raise ValueError(f"layer {node['name']!r:.50}: {error}") from None
    if members:
        raise ValueError(f"holds {min(members)!r:.50}, which belongs to no layer")
    if not network.nodes:
        raise ValueError("its graph has no layer")
    _refuse_large(network, shape)
    return network, shape


_NODE = {"name", "kind", "inputs", "settings", "arrays"}


def _members(content: bytes) -> dict[str, bytes]:
    """{name: the bytes of its .npy} of an archive whose members are stored as they are."""
    try:
        file = io.BytesIO(content)
        if directory_bytes(file) > MOST_BYTES_OF_LIST:
            raise ValueError("it has too many members")
        archive = zipfile.ZipFile(file)
    except Exception as error:  # zipfile has many for what is no archive
        raise ValueError(f"is no .npz archive, or damaged ({error!s:.100})") from None
    infos = archive.infolist()
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"its member {info.filename!r:.50} is compressed or encrypted")
    if sum(info.file_size for info in infos) > len(content):
        raise ValueError("its members are larger than the file")
    names = [info.filename.removesuffix(".npy") for info in infos]
    if len(set(names)) < len(names):
        raise ValueError("two of its members have one name")
    try:
        return {name: archive.read(info) for name, info in zip(names, infos, strict=True)}
    except Exception as error:  # checksums among them
        raise ValueError(f"is no .npz archive, or damaged ({error!s:.100})") from None


def _array(member: bytes, dtype: str) -> Array:
    """The array of a .npy file of this one type, its size told by what there is of it."""
    try:
        shape, found, is_fortran, start = header(member)
    except ValueError as error:
        raise ValueError(f"is no array ({error!s:.80})") from None
    if found != np.dtype(dtype) or is_fortran:
        raise ValueError(f"must be {dtype} in C order, is {found!s:.30}")
    size = len(member) - start
    if math.prod(shape) * found.itemsize != size or any(n < 1 for n in shape):
        raise ValueError(f"has {size} bytes, not those of {shape!s:.50}")
    return np.frombuffer(member, found, offset=start).reshape(shape).copy()


def _graph(member: bytes | None) -> dict[str, Any]:
    if member is None:
        raise ValueError(f"holds no {GRAPH!r}: no file of `python export.py --format numpy`")
    if len(member) > MOST_BYTES_OF_GRAPH:
        raise ValueError(f"{GRAPH!r}: is larger than {MOST_BYTES_OF_GRAPH:,} bytes")
    try:
        graph = json.loads(_array(member, "uint8").tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{GRAPH!r}: {error!s:.80}") from None
    if not isinstance(graph, dict) or graph.get("format") != FORMAT:
        raise ValueError(f"{GRAPH!r}: is not of the format {FORMAT!r}")
    if graph.get("version") != VERSION:
        raise ValueError(
            f"is of version {graph.get('version')!r:.20}, this program reads {VERSION}"
        )
    if set(graph) != {"format", "version", "input_shape", "nodes"} or not isinstance(
        graph["nodes"], list
    ):
        raise ValueError(f"{GRAPH!r}: must have format, version, input_shape and a list of nodes")
    return graph


def _input_shape(value: Any) -> Shape:
    if not isinstance(value, list) or len(value) not in (1, 3):
        raise ValueError(f"input_shape: must be 1 or 3 whole numbers, received {value!r:.50}")
    try:
        return tuple(_whole(n, 1, MOST_VALUES) for n in value)
    except ValueError as error:
        raise ValueError(f"input_shape: {error}") from None


def _layer(node: dict[str, Any], members: dict[str, bytes]) -> Layer:
    """The layer of a node of the graph; takes its arrays out of the members."""
    kind = KINDS.get(node["kind"]) if isinstance(node["kind"], str) else None
    if kind is None:
        raise ValueError(f"is a {node['kind']!r:.50}; there are {', '.join(KINDS)}")
    settings, names = node["settings"], node["arrays"]
    if not isinstance(settings, dict) or set(settings) != set(kind.settings):
        raise ValueError(f"must have the settings {', '.join(kind.settings) or 'none'}")
    required = [name for name in kind.arrays if name not in kind.optional]
    if not isinstance(names, list) or not set(required) <= set(map(str, names)) <= set(kind.arrays):
        raise ValueError(f"must have the arrays {', '.join(kind.arrays) or 'none'}")
    parts: dict[str, Any] = {}
    for name, check in kind.settings.items():
        try:
            parts[name] = check(settings[name])
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    for name in names:
        member = members.pop(f"{node['name']}/{name}", None)
        if member is None:
            raise ValueError(f"its array {name!r:.50} is missing")
        try:
            parts[name] = value = _array(member, "float32")
        except ValueError as error:
            raise ValueError(f"its array {name!r} {error}") from None
        if value.ndim not in kind.arrays[name]:
            raise ValueError(f"its array {name!r} has the shape {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"its array {name!r} has NaN or infinity")
    _refuse_other_sizes(node["kind"], parts)
    return kind.make(**parts)


def _refuse_other_sizes(kind: str, parts: dict[str, Any]) -> None:
    """ValueError where a layer's arrays do not belong together."""
    if "kernel" in parts:
        *_, last, units = parts["kernel"].shape
        outputs = last * units if kind == "DepthwiseConvolution" else units
        lengths = {"bias": outputs}
    elif kind == "BatchNormalization":
        lengths = dict.fromkeys(_CHANNELS, len(parts["moving_mean"]))
        if parts["moving_variance"].min() + parts["epsilon"] <= 0:
            raise ValueError("its moving_variance must be above 0")
    else:
        return
    for name, length in lengths.items():
        if name in parts and len(parts[name]) != length:
            raise ValueError(
                f"its array {name!r} has {len(parts[name])} values, must have {length}"
            )


def _refuse_large(network: Network, input_shape: Shape) -> None:
    """ValueError where a layer does not take what it is given, or too much is made of it."""
    total = sum(math.prod(shape) for shape in network.shapes(input_shape).values())
    if max(total, widest(network, input_shape)) > MOST_VALUES:
        raise ValueError(f"its layers take more than {MOST_VALUES:,} values a picture")


def widest(network: Network, input_shape: Shape) -> int:
    """How many values the largest array has that a layer makes of one sample: its output, its
    padded input, or the windows of a convolution.
    """
    shapes = network.shapes(input_shape)
    most = max(math.prod(shape) for shape in shapes.values())
    for name, (layer, inputs) in network.nodes.items():
        if isinstance(layer, _Sliding):
            height, width, channels = shapes[inputs[0]]
            rows = borders(height, layer.window[0], layer.strides[0], layer.padding)
            columns = borders(width, layer.window[1], layer.strides[1], layer.padding)
            most = max(most, (height + sum(rows)) * (width + sum(columns)) * channels)
        if isinstance(layer, convolution.Convolution):
            down, across, _ = shapes[name]
            most = max(most, down * across * math.prod(layer.window) * channels)
    return most
