"""What lessons are run on: real data where a folder has them, else the embedded set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data import Dataset, sets, synthetic
from ..data.dataset import Incomplete
from ..data.pictures import fit_images
from ..errors import InputError

#: images of the embedded set that lessons take, from the front
EMBEDDED_TRAIN, EMBEDDED_TEST = 6000, 1000
#: dials of the plain shapes: about as hard as MNIST for a network of affine layers
PLAIN = synthetic.Dials(
    viewpoint=0.4, illumination=0, deformation=0.5, occlusion=0, clutter=0, variation=0.2
)


@dataclass
class Sources:
    """Where lessons get their data.

    Fields:
        data_dir: a folder with mnist/ and cifar-10-batches-bin/ as published, or None for the
            embedded set alone; a set that is not there is replaced by the embedded one.
        photo: a picture of the reader's own, or None.
        notice: takes a line that says what was left out or replaced.
    """

    data_dir: str | os.PathLike | None = None
    photo: str | os.PathLike | None = None
    notice: Callable[[str], None] = field(default=lambda line: None)

    def digits(self) -> Dataset:
        """MNIST, grey, uint8 (N, 28, 28, 1), or the embedded set's ten shapes in that form."""
        return self._found("mnist") or self._embedded((28, 28, 1))

    def easy_digits(self) -> Dataset:
        """MNIST, or the embedded set's shapes as plain as it, bright on black, in that form: for
        networks of affine layers, which learn next to nothing of `digits` in a minute."""
        return self._found("mnist") or plain_shapes()

    def pictures(self) -> Dataset:
        """CIFAR-10, uint8 (N, 32, 32, 3), or the embedded set."""
        return self._found("cifar10") or self._embedded((32, 32, 3))

    def one_photo(self, size: int = 256) -> np.ndarray:
        """One picture, uint8 (size, size, 3): the reader's own, else a drawn scene."""
        if self.photo is not None:
            from ..data.pictures import read_image

            return read_image(self.photo, (size, size, 3))
        return drawn_scene(size)

    def _found(self, name: str) -> Dataset | None:
        """The published set, where the folder has it. Nothing is downloaded."""
        if self.data_dir is None:
            return None
        root = Path(self.data_dir)
        if not root.is_dir():
            raise InputError(f"`data_dir` {root}: there is no such folder")
        try:
            found = sets.PUBLISHED[name].find(name, root)
        except Incomplete as error:
            self.notice(f"{error}: the embedded set takes its place")
            return None
        if found is None:
            self.notice(f"no {name} in {root}: the embedded set takes its place")
        return found

    @staticmethod
    def _embedded(shape: tuple[int, int, int]) -> Dataset:
        whole = sets.load("synthetic", input_shape=shape)
        return Dataset(
            "the embedded set",
            whole.classes,
            whole.train_images[:EMBEDDED_TRAIN],
            whole.train_labels[:EMBEDDED_TRAIN],
            whole.test_images[:EMBEDDED_TEST],
            whole.test_labels[:EMBEDDED_TEST],
        )


def ink(images: np.ndarray) -> np.ndarray:
    """How far each pixel is from its picture's background, 0-1: float64 (N, height * width).

    The background is the median of the border. On MNIST it is 0, so that only the scale changes;
    the embedded set's shapes are darker or lighter than theirs, and one neuron cannot say "either".

    Args:
        images: uint8 (N, height, width, 1).
    """
    grey = images[..., 0] / 255
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    return abs(grey - np.median(border, axis=1)[:, None, None]).reshape(len(grey), -1)


def named(data: Dataset) -> str:
    """A data set's name in a sentence."""
    return {"mnist": "MNIST", "cifar10": "CIFAR-10"}.get(data.name, data.name)


def plain_shapes() -> Dataset:
    """The ten shapes without clutter, bars and shadows, grey, stretched to 0-255: uint8 (N, 28, 28,
    1)."""
    train, train_labels, test, test_labels = synthetic.load(
        EMBEDDED_TRAIN, EMBEDDED_TEST, dials=PLAIN
    )
    grey = [_bright_on_black(fit_images(images, (28, 28, 1))) for images in (train, test)]
    return Dataset(
        "the embedded set's plain shapes",
        synthetic.CLASSES,
        grey[0],
        train_labels,
        grey[1],
        test_labels,
    )


def _bright_on_black(images: np.ndarray) -> np.ndarray:
    """The distance of each pixel from the upper left one, stretched to 0-255 in each picture."""
    apart = np.abs(images.astype(np.float32) - images[:, :1, :1])
    return np.round(255 * apart / apart.max((1, 2, 3), keepdims=True)).astype(np.uint8)


def drawn_scene(size: int) -> np.ndarray:
    """A scene with edges in all directions, textures and a shaded ball: uint8 (size, size, 3), the
    same each time."""
    y, x = np.mgrid[0:size, 0:size] / size
    scene = np.stack([0.55 + 0.35 * y, 0.7 + 0.1 * y, 0.95 - 0.3 * y], -1)  # a sky
    ground = y > 0.68
    checks = ((np.floor(10 * x / (0.3 + y)) + np.floor(14 * y)) % 2)[..., None]
    scene = np.where(ground[..., None], 0.25 + 0.3 * checks * [0.8, 1.0, 0.6], scene)
    house = (abs(x - 0.28) < 0.16) & (y > 0.42) & (y < 0.74)
    roof = (abs(x - 0.28) < 0.22 * (y - 0.24) / 0.18) & (y > 0.24) & (y <= 0.42)
    window = (abs(x - 0.28) < 0.05) & (abs(y - 0.54) < 0.05)
    bars = window & ((abs(x - 0.28) < 0.006) | (abs(y - 0.54) < 0.006))
    for where, colour in (
        (house, (0.85, 0.78, 0.62)),
        (roof, (0.65, 0.2, 0.15)),
        (window, (0.2, 0.25, 0.35)),
        (bars, (0.9, 0.9, 0.85)),
    ):
        scene[where] = colour
    dx, dy = (x - 0.7) / 0.17, (y - 0.6) / 0.17
    ball = dx**2 + dy**2 < 1
    light = np.clip(
        0.25 + 0.75 * (0.6 * np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1)) - 0.5 * dx - 0.6 * dy),
        0.1,
        1,
    )
    stripes = np.where(
        (np.floor(6 * (dx + dy)) % 2)[..., None] > 0, [0.95, 0.85, 0.3], [0.2, 0.35, 0.7]
    )
    scene = np.where(ball[..., None], stripes * light[..., None], scene)
    return np.round(255 * np.clip(scene, 0, 1)).astype(np.uint8)
