"""Whether a `.keras` file is a network that Keras may build: read from its configuration alone,
before a layer of it is made."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from .. import files
from ..arrays import directory_bytes

MOST_LAYERS = 2_000  # the largest of keras.applications has 1,039
MOST_BYTES_OF_CONFIG = 16 << 20
MOST_BYTES_OF_LIST = 1 << 20  # that names the members of the archive, of which Keras writes 3
MOST_BYTES_OF_WEIGHTS = 2 << 30
MOST_UNITS = 65_536  # of a dense layer, filters of a convolution
MOST_STEP = 1_024  # pixels of a window, a stride, a border; times that a picture is enlarged
MOST_VALUES = 1 << 26  # of a layer's output for one picture: 256 MB

MODELS = ("Functional", "Sequential", "Model")
# These run other programs' code, or read files that the configuration names
REFUSED = ("Lambda", "__lambda__", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper",
           "StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing",
           "FeatureSpace", "MelSpectrogram", "STFTSpectrogram")  # fmt: skip
_LAYERS = ("keras.layers", "keras.src.layers", "keras.src.models", "keras.models")
_MOST = {
    **dict.fromkeys(("units", "filters", "output_dim", "depth_multiplier"), MOST_UNITS),
    **dict.fromkeys(
        (
            "kernel_size",
            "pool_size",
            "strides",
            "size",
            "padding",
            "dilation_rate",
            "n",
            "target_height",
            "height",
            "width",
        ),
        MOST_STEP,
    ),  # fmt: skip
}


def check(content: bytes | Path) -> None:
    """ValueError, with the reason, where Keras is not to build what a file holds.

    content: of the file, or its path.
    """
    try:
        with files.opened(content) if isinstance(content, Path) else io.BytesIO(content) as file:
            if directory_bytes(file) > MOST_BYTES_OF_LIST:
                raise ValueError("it has too many members")
            with zipfile.ZipFile(file) as archive:
                config = _config(archive)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"it is damaged, or no .keras file: {error}") from None
    if not isinstance(config, dict) or config.get("class_name") not in MODELS:
        kind = config.get("class_name") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"it holds a {str(kind)[:60]}, must hold one of {', '.join(MODELS)}")
    inside = config.get("config")
    if not isinstance(inside, dict):
        raise ValueError("its model has no configuration")
    if config["class_name"] != "Sequential" and isinstance(inside.get("output_layers"), dict):
        raise ValueError("its model gives several outputs by name, must give one")
    _walk(config)


def _config(archive: zipfile.ZipFile) -> Any:
    """config.json of an archive. ValueError where a member is larger than may be."""
    members = archive.infolist()
    if len({m.filename for m in members}) != len(members):
        raise ValueError("it has two members of one name")
    sizes = {m.filename: m.file_size for m in members}
    if "config.json" not in sizes:
        raise ValueError("it has no config.json: it is damaged, or no .keras file")
    if sizes["config.json"] > MOST_BYTES_OF_CONFIG:
        raise ValueError(
            f"its config.json has {sizes['config.json']:,} bytes, may have {MOST_BYTES_OF_CONFIG:,}"
        )
    total = sum(sizes.values())
    if total > MOST_BYTES_OF_WEIGHTS:
        raise ValueError(f"it unpacks to {total:,} bytes, may to {MOST_BYTES_OF_WEIGHTS:,}")
    with archive.open("config.json") as file:
        text = file.read(MOST_BYTES_OF_CONFIG + 1)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its config.json is nested too deeply") from None


def _walk(config: Any) -> None:
    """Look at all that a configuration holds. ValueError for what may not be."""
    layers, waiting = 0, [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting.extend(v for v in value if isinstance(v, (dict, list)))
        if not isinstance(value, dict):
            continue
        waiting.extend(v for v in value.values() if isinstance(v, (dict, list)))
        name = value.get("class_name")
        if name is None:
            continue
        module = value.get("module")
        if name in REFUSED or value.get("registered_name") in REFUSED:
            raise ValueError(f"it has a {name}, which is not allowed")
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            raise ValueError(f"it has a {str(name)[:60]} of {module[:60]}, which is not Keras'")
        layers += isinstance(module, str) and module.startswith(_LAYERS) or "build_config" in value
        if layers > MOST_LAYERS:
            raise ValueError(f"it has more than {MOST_LAYERS:,} layers")
        settings = value.get("config")
        if isinstance(settings, dict):
            _check_settings(str(name), settings)


def _check_settings(name: str, settings: dict) -> None:
    for key, most in _MOST.items():
        for number in _numbers(settings.get(key)):
            if number > most:
                raise ValueError(f"its {name[:60]} has {key} {number:,}, may have {most:,}")
    for key in ("batch_shape", "batch_input_shape"):
        shape = settings.get(key)
        if isinstance(shape, (list, tuple)) and name == "InputLayer":
            check_input(shape[1:])


def _numbers(value: Any) -> list[int]:
    """The whole numbers of a number, a pair, or a pair of pairs."""
    if isinstance(value, int):
        return [value]
    if isinstance(value, (list, tuple)):
        return [n for v in value[:8] for n in _numbers(v)]
    return []


def check_input(shape: Any) -> None:
    """ValueError where pictures are larger than MOST_STEP pixels a side."""
    if any(isinstance(n, int) and n > MOST_STEP for n in shape):
        raise ValueError(f"it takes {list(shape)[:6]}, may take {MOST_STEP:,} pixels a side")


def check_built(model: Any) -> None:
    """ValueError where the layers of a built model give more than MOST_VALUES for a picture."""
    total = 0
    for layer in model._flatten_layers(include_self=False, recursive=True):
        for node in getattr(layer, "_inbound_nodes", []):
            for tensor in node.output_tensors:
                values = 1
                for n in tensor.shape[1:]:
                    values *= n or 1
                total = max(total, values)
                if values > MOST_VALUES:
                    raise ValueError(
                        f"its layer {layer.name[:60]!r} gives {list(tensor.shape[1:])}, may give "
                        f"{MOST_VALUES:,} values a picture"
                    )
