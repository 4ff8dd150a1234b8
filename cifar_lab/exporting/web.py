"""One HTML file in which the network itself runs: no server, no network, no package.

The page holds the graph and the weights of `cifar_lab.scratch`, folded, and the program in `page/`
that runs them, which does to a picture what `cifar_lab.data.pictures` does. Its policy allows this
program alone and no request. Before it answers, it checks its bytes, and ten pictures against the
probabilities that were found here.
"""

from __future__ import annotations

import base64
import hashlib
import html
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import PIL

from ..data import fit_images, synthetic

PACKAGES = ()
VERSIONS = ("numpy",)
GOLDEN = 10  # pictures that the page runs first
TOLERANCE = 1e-4  # of their probabilities: float32 in another order
FOLDER = Path(__file__).with_name("page")
PROGRAM = ("picture.js", "jpeg.js", "png.js", "network.js", "engine.js")
UNNAMED = "network"


def write(model, path: Path, calibration: np.ndarray | None, card: dict[str, Any]) -> None:
    """Write keras.Model `model` as a page to `path`; calibration images are not used.

    Args:
        model: float32 pixels (N, height, width, channels) in, probabilities out.
        path: of the file.
        card: of the bundle: rung, classes, test_accuracy, calibration, model_sha256.

    Raises:
        ValueError: the model has a layer, or a setting of one, that `cifar_lab.scratch` has not.
    """
    from .. import scratch
    from ..scratch import packing

    shape = tuple(model.input_shape[1:])
    described, weights = packing.pack(scratch.folded(scratch.load(model)), shape)
    network, _ = packing.unpack(described, weights)
    images = golden(shape)
    told = {
        **described,
        "rung": card.get("rung"),
        "classes": card["classes"],
        "source_sha256": card.get("model_sha256"),
        "pillow": int(PIL.__version__.split(".")[0]),
        "golden": {
            "pixels": base64.b64encode(images.tobytes()).decode(),
            "probabilities": [[round(float(p), 8) for p in row] for row in network.predict(images)],
            "tolerance": TOLERANCE,
        },
    }
    path.write_text(page(told, packing.blocks(told, weights), card), encoding="utf-8")


def golden(shape: tuple[int, ...]) -> np.ndarray:
    """The pictures that a page runs first, of the embedded set: uint8 (10, *shape), 0-255."""
    return fit_images(synthetic.generate(GOLDEN, 0)[0], shape)


def program() -> str:
    """The JavaScript that reads pictures and runs the network; it touches no document."""
    return "\n".join(map(_read, PROGRAM))


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def page(told: dict[str, Any], blocks: str, card: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        told: what it holds beside its weights.
        blocks: as `packing.blocks` gives them.
        card: of the bundle.
    """
    engine, own, style = program(), _read("page.js"), _read("style.css")
    height, width, channels = told["graph"]["input_shape"]
    return Template(_read("page.html")).substitute(
        policy=html.escape(_policy((engine, own), style)),
        title=html.escape(str(told["rung"] or UNNAMED)),
        facts=html.escape(_facts(told, card)),
        size=f"{height} × {width}",
        colours="grey" if channels == 1 else "colour",
        style=style,
        blocks=blocks,
        program=engine,
        page=own,
    )


def _policy(scripts: tuple[str, ...], style: str) -> str:
    """The content security policy: these scripts and this style, and not one request."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_source, scripts))}",
            f"style-src {_source(style)}",
            "img-src data: blob:",
            "media-src blob: mediastream:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _facts(told: dict[str, Any], card: dict[str, Any]) -> str:
    """A line on the network: classes, what it takes, how often it is right."""
    accuracy = card.get("test_accuracy")
    parts = [f"Tells {len(told['classes']):,} classes apart."]
    if isinstance(accuracy, (int, float)) and not isinstance(accuracy, bool):
        parts.append(f"Right on {accuracy:.2%} of its test images.")
    if card.get("calibration"):
        parts.append("Its probabilities are calibrated.")
    return " ".join(parts)
