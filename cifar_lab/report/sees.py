"""What a network sees: its first filters, feature maps, and which places of a picture count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, explaining
from ..errors import InputError
from . import page as html
from . import thumbnails
from .page import Html
from .study import Study

RIGHT, WRONG = 6, 6  # pictures that are explained
CHANNELS = 8  # feature maps of a layer
FILTERS = 64
TILE = 32  # pixels a side that a filter is drawn with, or more


def blocks(study: Study, part: Callable[[str, Callable[[], Sequence[Any]]], Html]) -> list[Html]:
    """The section. Arguments as `mistakes.blocks`."""
    found = []
    if study.is_export:
        found.append(
            html.note(
                "The layers of an exported file cannot be looked into: filters, feature maps and "
                "Grad-CAM are on the page of the bundle that it was made from."
            )
        )
    else:
        templates = _templates(study)
        if templates:
            found.append(part("Its templates", lambda: templates))
        found.append(part("The first filters", lambda: _filters(study)))
        found.append(part("Feature maps", lambda: _maps(study)))
    return [*found, part("Which places count", lambda: _places(study))]


# --- weights ---


def _pixels(tile: np.ndarray) -> np.ndarray:
    """float (height, width, channels), 0 to 1, as uint8, each value a square of pixels; more than
    three channels as their mean."""
    if tile.shape[-1] not in (1, 3):
        tile = explaining.stretched(tile.mean(-1, keepdims=True))
    factor = max(1, -(-TILE // max(tile.shape[:2])))
    return np.round(255 * tile).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)


def _templates(study: Study) -> list[Html]:
    """[] for a network that is not linear."""
    try:
        with backend.quiet_stderr():
            found = explaining.templates(study.subject.model)
    except InputError:
        return []
    items = [
        (_pixels(tile), f"the template of {name}", name)
        for name, tile in zip(study.classes, found.tiles, strict=True)
    ]
    return [
        html.paragraph(
            "The network is linear: it compares a picture with one template a class. Each is "
            "stretched from its darkest to its brightest value."
        ),
        html.gallery(items),
    ]


def _filters(study: Study) -> list[Html]:
    found = explaining.first_filters(study.subject.model)
    count, rows, columns, channels = found.kernels.shape
    tiles = [_framed(tile) for tile in found.tiles[:FILTERS]]
    shown = f"{len(tiles)} of {count}" if count > len(tiles) else f"{count}"
    colours = "in colour, as weights of red, green and blue" if channels == 3 else "in grey"
    sheet = thumbnails.sheet(tiles, columns=min(len(tiles), 16), gap=4)
    blocks = [
        html.paragraph(
            f"The first convolution, {found.layer}: {shown} filters of {rows} x {columns} pixels, "
            f"{colours}. Each is stretched to the whole range by itself."
        ),
        html.picture(sheet, f"{shown} filters of {rows} x {columns} pixels of {found.layer}"),
    ]
    try:
        edges = explaining.likest_edges(found)
    except InputError:
        return blocks  # of one pixel, or not square: no edge to be compared with
    items = []
    for edge in edges:
        hand = explaining.stretched(edge.kernel[..., None])
        both = [_framed(hand), _framed(_grey(found.tiles[edge.filter]))]
        name = f"{edge.name}, {edge.direction}"
        words = f"{name}: filter {edge.filter}, cosine {edge.cosine:+.2f}"
        items.append(
            (thumbnails.sheet(both, 2, 4), f"{name}, and the likest learned filter", words)
        )
    blocks += [
        html.paragraph(
            "Filters made by hand find edges; beside each the learned one that is most like it "
            "(cosine 1: the same, -1: the same edge from bright to dark, 0: nothing in common)."
        ),
        html.gallery(items),
    ]
    return blocks


def _framed(tile: np.ndarray) -> np.ndarray:
    """As `_pixels`, in a grey frame: a white tile shows on a white page."""
    return np.pad(_pixels(tile), ((1, 1), (1, 1), (0, 0)), constant_values=128)


def _grey(tile: np.ndarray) -> np.ndarray:
    return explaining.stretched(tile.mean(-1, keepdims=True))


# --- pictures ---


def _maps(study: Study) -> list[Html]:
    if not study.pictures:
        return [html.note(thumbnails.LEFT_OUT)]
    i = _recognised(study, 1)[0]
    blocks = [
        html.paragraph(
            "What the layers make of one picture, from the pixels to the answer: of each layer the "
            f"{CHANNELS} channels that differ most from place to place, dark to bright."
        ),
        thumbnails.gallery(study, [(study.images[i], study.alt(i), study.answer(i))]),
    ]
    for found in explaining.feature_maps(
        study.subject.model, study.images[i : i + 1], channels=CHANNELS
    ):
        maps = found.maps[0]
        height, width = maps.shape[1:]
        tiles = [_pixels(explaining.stretched(m[..., None])) for m in maps]
        words = f"{found.layer}: {len(maps)} of {found.total} maps of {height} x {width}"
        sheet = thumbnails.sheet(tiles, len(tiles), 4)
        blocks.append(html.picture(sheet, words, words, width=2 * sheet.shape[1]))
    return blocks


def _places(study: Study) -> list[Html]:
    if not study.pictures:
        return [html.note(thumbnails.LEFT_OUT)]
    groups = {
        "Recognised": _recognised(study, RIGHT),
        "Taken for another class": study.worst[:WRONG],
    }
    chosen = np.concatenate([*groups.values()]).astype(int)
    images = study.images[chosen]
    heats, words = [], []
    if not study.is_export:
        try:
            heats.append(explaining.grad_cam(study.subject.model, images))
            words.append(
                "Grad-CAM: where the last feature maps speak for the answer. Bright places count."
            )
        except InputError as error:
            words.append(f"There is no Grad-CAM: {error}.")
    side = min(images.shape[1:3])
    size, stride = max(1, side // 4), max(1, side // 8)
    heats.append(explaining.occlusion(study.subject.model, images, size=size, stride=stride))
    words.append(
        f"Occlusion: where a grey square of {size} x {size} pixels costs the answer the most "
        "probability."
    )
    legend = "picture, Grad-CAM, occlusion" if len(heats) == 2 else "picture, occlusion"
    overlays = [heat.over(images) for heat in heats]
    blocks = [*map(html.paragraph, words), html.note(f"From left to right: {legend}.")]
    at = 0
    for heading, members in groups.items():
        if not len(members):
            continue
        figures = []
        for i in members:
            shown = [_colour(study.images[i]), *(overlay[at] for overlay in overlays)]
            alt = f"{study.alt(i)}: {legend}"
            sheet = thumbnails.sheet(shown, len(shown))
            figures.append(html.picture(sheet, alt, study.answer(i), width=80 * len(shown)))
            at += 1
        blocks += [html.paragraph(html.element("b", heading)), html.row(*figures)]
    return blocks


def _recognised(study: Study, count: int) -> np.ndarray:
    """Indices of test images of different classes that are classified correctly, the first of each;
    where there is none, the first image."""
    right = np.flatnonzero(study.predicted == study.labels)
    _, first = np.unique(study.labels[right], return_index=True)
    found = right[np.sort(first)][:count]
    return found if len(found) or count > 1 else np.zeros(1, int)


def _colour(image: np.ndarray) -> np.ndarray:
    return image.repeat(3, 2) if image.shape[2] == 1 else image
