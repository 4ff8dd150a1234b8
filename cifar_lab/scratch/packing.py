"""A network as text, for a page: its graph as JSON, the bytes of its weights in base64.

A small network's weights are stored as they are, in float32. The kernels of a larger one are stored
as whole numbers of 16 bits, times one number a filter, the largest weight's share. That takes the
bytes of float16 and is about ten times as exact, for the weights of a filter are of one size: all
16 bits are digits, where float16 spends five on the exponent.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import saving
from .layers import Array, Shape
from .network import Network

FORMAT, VERSION = "cifar_lab.web", 1
MOST_EXACT = 1 << 22  # bytes of weights up to which they are stored as they are
HIGHEST = 2**15 - 1  # of a whole number
ALIGNED = 4  # bytes: where typed arrays of 32 bits can begin
NETWORK, WEIGHTS = "network", "weights"  # the ids of a page's two blocks of data
_BLOCK = rb'<script type="[a-z/]+" id="%s"([^>]*)>([^<]*)</script>'


def pack(
    network: Network, input_shape: Shape, most_exact: int = MOST_EXACT
) -> tuple[dict[str, Any], bytes]:
    """A network without what training needs, as a page holds it.

    Args:
        network: folded.
        input_shape: (height, width, channels).
        most_exact: bytes of float32 weights up to which kernels are stored in float32.

    Returns:
        ({"graph": as `saving.described` has it, "arrays": {"LAYER/PART": {"shape", "type"
        ("int16" or "float32"), "offset" in bytes, and of int16 "scale": {"offset", "size"}}}},
        the bytes of all arrays, little-endian).

    Raises:
        ValueError: as `saving.save`.
    """
    graph, arrays = saving.described(network, input_shape)
    kinds = {node["name"]: node["kind"] for node in graph["nodes"]}
    is_exact = sum(values.nbytes for values in arrays.values()) <= most_exact
    content, listed = bytearray(), {}

    def appended(values: Array) -> int:
        offset = len(content)
        content.extend(values.tobytes())
        content.extend(bytes(-len(content) % ALIGNED))
        return offset

    for name, values in arrays.items():
        layer, _, part = name.rpartition("/")
        entry: dict[str, Any] = {"shape": values.shape, "type": "float32"}
        if part == "kernel" and not is_exact:
            # the filters of a depthwise kernel are its last two axes
            filters = (
                values.shape[2:] if kinds[layer] == "DepthwiseConvolution" else values.shape[-1:]
            )
            rows = values.reshape(-1, int(np.prod(filters)))
            scale = (abs(rows).max(0) / HIGHEST).astype("<f4")
            scale[scale == 0] = 1
            whole = np.round(rows / scale).clip(-HIGHEST, HIGHEST).astype("<i2")
            entry.update(type="int16", offset=appended(whole))
            entry["scale"] = {"offset": appended(scale), "size": len(scale)}
        else:
            entry["offset"] = appended(values.astype("<f4"))
        listed[name] = entry
    return {"graph": graph, "arrays": listed}, bytes(content)


def unpack(described: Mapping[str, Any], content: bytes) -> tuple[Network, Shape]:
    """The network that `pack` described, with its weights as they are stored, and its input shape.

    Raises:
        ValueError: they do not belong together, or are no network.
    """
    arrays = {}
    try:
        for name, entry in described["arrays"].items():
            size = int(np.prod(entry["shape"]))
            values = np.frombuffer(content, f"<{_TYPES[entry['type']]}", size, entry["offset"])
            if entry["type"] == "int16":
                scale = entry["scale"]
                factors = np.frombuffer(content, "<f4", scale["size"], scale["offset"])
                values = values.astype(np.float32).reshape(-1, len(factors)) * factors
            arrays[name] = values.reshape(entry["shape"]).astype(np.float32)
        graph = np.frombuffer(json.dumps(described["graph"]).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{saving.GRAPH: graph}, **arrays)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"is damaged ({type(error).__name__}: {error!s:.80})") from None
    return saving.restore(file.getvalue())


_TYPES = {"int16": "i2", "float32": "f4"}


def blocks(described: Mapping[str, Any], content: bytes) -> str:
    """The two blocks of HTML that hold a network, and a checksum of both.

    Args:
        described: what `pack` gives and whatever else the page is told, ready for JSON.
        content: the bytes of the arrays.
    """
    # "<" cannot end the block, nor can a name open another
    text = json.dumps({"format": FORMAT, "version": VERSION, **described}, allow_nan=False)
    text = text.replace("<", "\\u003c")
    weights = base64.b64encode(content).decode()
    checksum = zlib.crc32((text + weights).encode())
    return (
        f'<script type="application/json" id="{NETWORK}">{text}</script>\n'
        f'<script type="text/plain" id="{WEIGHTS}" data-crc32="{checksum:08x}">{weights}</script>'
    )


def from_page(page: bytes) -> tuple[dict[str, Any], bytes]:
    """What `blocks` wrote, out of a page's bytes: (described, content).

    Raises:
        ValueError: the page has no such blocks, or they are damaged.
    """
    found = [re.search(_BLOCK % name.encode(), page) for name in (NETWORK, WEIGHTS)]
    if found[0] is None or found[1] is None:
        raise ValueError("holds no network: no page of `python export.py --format web`")
    text, weights = found[0][2], found[1][2]
    checksum = f'data-crc32="{zlib.crc32(weights, zlib.crc32(text)):08x}"'
    if checksum.encode() not in found[1][1]:
        raise ValueError("is damaged: its checksum is wrong")
    try:
        described = json.loads(text)
        content = base64.b64decode(weights, validate=True)
    except (ValueError, RecursionError, binascii.Error) as error:
        raise ValueError(f"is damaged ({error!s:.80})") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ValueError(f"is not of the format {FORMAT!r}")
    if described.get("version") != VERSION:
        raise ValueError(
            f"is of version {described.get('version')!r:.20}, this program reads {VERSION}"
        )
    return described, content
