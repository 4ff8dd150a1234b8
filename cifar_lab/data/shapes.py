"""The ten shapes of the embedded data set, as outlines."""

from __future__ import annotations  # a generator imports numpy.random

import numpy as np

CLASSES = (
    "disc",
    "ring",
    "crescent",
    "triangle",
    "square",
    "cross",
    "star",
    "arrow",
    "heart",
    "hourglass",
)


def outlines(
    name: str, rng: np.random.Generator, variation: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The polygons of a shape, its proportions drawn.

    Args:
        name: one of CLASSES.
        rng: what proportions are drawn from.
        variation: 0 (always the same) to 1.

    Returns:
        (filled, holes): polygons, float (points, 2), in about -1..1, y down.
    """

    def amount(low, usual, high):
        return usual + variation * (rng.uniform(low, high) - usual)

    def circle(radius, center=(0, 0), n=48):
        t = np.linspace(0, 2 * np.pi, n, endpoint=False)
        return np.stack([np.cos(t), np.sin(t)], 1) * radius + center

    def path(*corners, pieces=8):
        """A closed polygon with points along its edges, so that it can bend."""
        starts = np.array(corners, float)
        ends = np.roll(starts, -1, 0)
        steps = np.linspace(0, 1, pieces, endpoint=False)[:, None]
        return np.concatenate([a + (b - a) * steps for a, b in zip(starts, ends, strict=True)])

    if name == "disc":
        return [circle(0.85)], []
    if name == "ring":
        return [circle(0.95)], [circle(amount(0.4, 0.5, 0.65))]
    if name == "crescent":
        return [circle(0.95)], [circle(amount(0.7, 0.8, 0.85), (amount(0.4, 0.45, 0.55), 0))]
    if name == "triangle":
        return [path((0, -1), (0.95, 0.8), (-0.95, 0.8))], []
    if name == "square":
        return [path((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8))], []
    if name == "cross":
        w = amount(0.2, 0.3, 0.4)
        return [
            path((-1, -w), (1, -w), (1, w), (-1, w)),
            path((-w, -1), (w, -1), (w, 1), (-w, 1)),
        ], []
    if name == "star":
        inner = amount(0.35, 0.42, 0.5)
        t = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2, inner, 1.05)
        return [path(*np.stack([np.cos(t) * radius, np.sin(t) * radius], 1), pieces=4)], []
    if name == "arrow":
        w, neck = amount(0.15, 0.22, 0.3), amount(-0.2, 0.0, 0.2)
        return [
            path(
                (0, -1), (0.8, neck), (w, neck), (w, 1), (-w, 1), (-w, neck), (-0.8, neck), pieces=5
            )
        ], []
    if name == "heart":
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        x = np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
        return [np.stack([x, y], 1) * amount(0.85, 0.95, 1.0)], []
    waist = amount(0.02, 0.1, 0.2)
    return [
        path((-0.8, -0.95), (0.8, -0.95), (waist, 0), (0.8, 0.95), (-0.8, 0.95), (-waist, 0))
    ], []
