"""Plain weights files of Keras (`model.save_weights`, *.weights.h5), looked at before they are
read.

Such a file names no network and no classes. What it declares is compared with what the network has,
layer by layer, before one number is read; a file that leads elsewhere, or declares more than it can
hold, is refused.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import bundles, networks
from .errors import InputError, reason
from .ladder import LADDER
from .recipe import Recipe

if TYPE_CHECKING:
    import keras

ENDING = ".weights.h5"
FILE = f"model{ENDING}"  # in a bundle
_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_ENTRIES, _DEEPEST = 20_000, 20  # of a file; a group may be its own member
_MOST_EXPANSION = 20  # times its size on disk: weights hardly compress


class _Layout(NamedTuple):
    """What a file declares.

    shapes: {"layers/conv2d/vars/0": shape, ...}.
    layers: {"layers/conv2d": the layer's name, ...}.
    """

    shapes: dict[str, tuple[int, ...]]
    layers: dict[str, str]


def check(file: str | os.PathLike) -> Path:
    """The absolute path of what looks like a weights file. Raises InputError; reads 8 bytes."""
    path = Path(os.path.abspath(os.path.expanduser(file)))
    if not str(file):
        raise InputError(f"`weights`: must be a {ENDING} file, received ''")
    if not os.path.lexists(path):
        raise InputError(f"`weights` {file}: there is no such file")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise InputError(f"`weights` {file}: is {what}, must be a {ENDING} file")
    if not path.name.endswith(ENDING):
        whole = "; a .keras file holds a whole network" if path.suffix == ".keras" else ""
        raise InputError(
            f"`weights` {file}: must end in {ENDING}, as model.save_weights writes it{whole}"
        )
    try:
        with open(path, "rb") as opened:
            start = opened.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"`weights` {file}: cannot be read ({reason(error)})") from None
    if start != _MAGIC:
        raise InputError(f"`weights` {file}: is not an HDF5 file, or damaged")
    return path


def named(name: str) -> tuple[str, Recipe]:
    """(label, recipe) of the network that a weights file is tested with: of a rung's name, or of
    "FILE.py:NAME". Raises InputError."""
    if name not in LADDER and not networks.is_own(name) and os.path.exists(name):
        raise InputError(
            f"`weights`: must be given with a rung or FILE.py:NAME, received {name}, which has "
            "weights of its own"
        )
    return networks.resolve(name)


def sha256(file: str | os.PathLike) -> str:
    """Hex digest of a weights file. Raises InputError."""
    try:
        return bundles.file_sha256(check(file))
    except OSError as error:
        raise InputError(f"`weights` {file}: cannot be read ({reason(error)})") from None


def network(
    recipe: Recipe, num_classes: int, file: str | os.PathLike, *, other_outputs: bool = False
) -> keras.Model:
    """The bare network of a recipe with the weights of a file.

    Args:
        recipe: whose network the file was saved from.
        num_classes: how many outputs the network is to have.
        file: as `model.save_weights` writes it, on any backend.
        other_outputs: whether the file's last layer may have another number of them, which the
            network then has.

    Returns:
        keras.Model, float32 (N, *input_shape) in 0-255 -> float32 (N, classes).

    Raises:
        InputError: there is no such file, it is damaged, or of another network; the line names the
            layer and both shapes.
    """
    path = check(file)
    given = _layout(path)
    found = networks.build(recipe, num_classes)
    wanted = _layout_of(found)
    if other_outputs:
        count = _outputs(given, wanted, num_classes)
        if count != num_classes:
            found = networks.build(recipe, count)
            wanted = _layout_of(found)
    _refuse_another(file, given, wanted, recipe.builder_name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.load_weights(path)
    except Exception as error:  # HDF5 and Keras raise nearly anything on a damaged file
        raise InputError(f"`weights` {file}: cannot be read ({reason(error)[:200]})") from None
    _refuse_no_numbers(file, found)
    return found


# --- what a file declares ---


def _layout(path: Path) -> _Layout:
    """The layout of a file. Raises InputError; no data are read."""
    import h5py

    found = _Layout({}, {})
    try:
        with h5py.File(path, "r") as file:
            if file.get("layers", getclass=True, getlink=True) is not h5py.HardLink:
                raise InputError(
                    f"`weights` {path}: holds no layers as Keras 3 saves them (model.save_weights)"
                )
            entries = _walk(path, file, "layers", found, 0, 0)
    except InputError:
        raise
    except Exception as error:  # h5py raises nearly anything on a damaged file
        raise InputError(
            f"`weights` {path}: is damaged, or not as Keras saves it ({reason(error)[:200]})"
        ) from None
    assert entries <= _MOST_ENTRIES
    return found


def _walk(path: Path, group: Any, name: str, found: _Layout, depth: int, entries: int) -> int:
    """Take note of a group's member, and of all below it: how many entries there were so far."""
    import h5py

    entries += 1
    if entries > _MOST_ENTRIES or depth > _DEEPEST:
        raise InputError(f"`weights` {path}: has too many entries, or too deep ones")
    place = f"{group.name.strip('/')}/{name}".strip("/")
    link = group.get(name, getclass=True, getlink=True)
    if link is not h5py.HardLink:
        raise InputError(f"`weights` {path}: {place[:80]!r} is a link to elsewhere")
    member = group[name]
    if isinstance(member, h5py.Group):
        if name == "vars" and "name" in member.attrs:
            found.layers[place.removesuffix("/vars")] = str(member.attrs["name"])
        for key in member:
            entries = _walk(path, member, key, found, depth + 1, entries)
        return entries
    if not isinstance(member, h5py.Dataset):
        raise InputError(f"`weights` {path}: {place[:80]!r} is not an array")
    if member.external or member.is_virtual:
        raise InputError(f"`weights` {path}: {place[:80]!r} has its data elsewhere")
    if member.shape is None or member.dtype.kind not in "fV":
        held = "nothing" if member.shape is None else member.dtype
        raise InputError(f"`weights` {path}: {place[:80]!r} must hold floats, holds {held}")
    size = path.stat().st_size
    declared = member.dtype.itemsize
    for length in member.shape:
        declared *= int(length)
    if declared > _MOST_EXPANSION * size:
        raise InputError(
            f"`weights` {path}: {place[:80]!r} declares {member.shape}, {declared:,} bytes, in a "
            f"file of {size:,}"
        )
    found.shapes[place] = tuple(int(n) for n in member.shape)
    return entries


def _layout_of(model: keras.Model) -> _Layout:
    """The layout that Keras gives the file of a network."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        model.save_weights(file)
        return _layout(file)


# --- comparing ---


def _outputs(given: _Layout, wanted: _Layout, num_classes: int) -> int:
    """How many outputs a file has of a network that it else fits; `num_classes` where it does
    not."""
    if set(given.shapes) != set(wanted.shapes):
        return num_classes
    counts = set()
    for name, shape in wanted.shapes.items():
        other = given.shapes[name]
        if other == shape:
            continue
        if not (shape and other) or (*other[:-1], num_classes) != shape:
            return num_classes
        counts.add(other[-1])
    return counts.pop() if len(counts) == 1 else num_classes


def _refuse_another(file: str | os.PathLike, given: _Layout, wanted: _Layout, builder: str) -> None:
    """InputError where a file is of another network: the first layer that differs."""
    start = f"`weights` {file}: is not of this network, {builder}:"
    for place, shape in wanted.shapes.items():
        layer = wanted.layers.get(place.rpartition("/vars/")[0], place)
        if place not in given.shapes:
            raise InputError(f"{start} layer {layer!r} has weights of {shape}, the file has none")
        if given.shapes[place] != shape:
            raise InputError(
                f"{start} layer {layer!r} has weights of {shape}, in the file {given.shapes[place]}"
            )
    for place, shape in given.shapes.items():
        if place not in wanted.shapes:
            group = place.rpartition("/vars/")[0]
            layer = given.layers.get(group, group)[:80]
            raise InputError(
                f"{start} the file has one more layer, {layer!r} with weights of {shape}"
            )


def _refuse_no_numbers(file: str | os.PathLike, model: keras.Model) -> None:
    import numpy as np

    for layer in model.layers:
        if not all(np.isfinite(values).all() for values in layer.get_weights()):
            raise InputError(f"`weights` {file}: layer {layer.name!r} has NaN or infinity")
