"""A data set, and the checks that every reader of one makes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, reason
from .on_disk import pieces


@dataclass(frozen=True)
class Dataset:
    """Images and labels in two splits. Images too many for memory are `OnDisk`, which reads as an
    array does.

    Fields:
        name: a name of `data.NAMES` or the path of a folder, as it was asked for.
        classes: class names; a label is an index into them.
        train_images: uint8 (N, height, width, channels), 0-255.
        train_labels: int64 (N,).
        test_images: uint8 (M, height, width, channels), 0-255.
        test_labels: int64 (M,).
        note: what a reader of a figure must know of the data, or "".
        val_indices: int64 (V,), sorted, the train images that a folder's own validation set gave;
            None where validation is to be drawn.
        skipped: names of damaged files, below the folder, that were left out.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    note: str = ""
    val_indices: np.ndarray | None = None
    skipped: tuple[str, ...] = ()

    def train_sha256(self) -> str:
        """Hex digest of the train images, labels and class names, and of what validates."""
        digest = _digest(self.classes, self.train_images, self.train_labels)
        if self.val_indices is not None:
            digest.update(self.val_indices.astype("<i8").tobytes())
        return digest.hexdigest()

    def test_sha256(self) -> str:
        """Hex digest of the test images, labels and class names."""
        return _digest(self.classes, self.test_images, self.test_labels).hexdigest()


def picture_digests(images: np.ndarray) -> list[str]:
    """12 hex digits for each image, uint8 (N, height, width, channels): equal ones for equal
    pixels."""
    return [
        hashlib.blake2b(image.tobytes(), digest_size=6).hexdigest()
        for piece in pieces(images)
        for image in piece
    ]


def _digest(classes: Sequence[str], images: np.ndarray, labels: np.ndarray) -> "hashlib._Hash":
    digest = hashlib.sha256("\n".join(classes).encode())
    digest.update(str(images.shape).encode())
    for piece in pieces(images):
        digest.update(np.ascontiguousarray(piece).data)
    digest.update(labels.astype("<i8").tobytes())
    return digest


# --- what readers share ---------------------------------------------------------------------------


class Incomplete(InputError):
    """A file of a set is missing."""


def read_bytes(path: Path, most: int) -> bytes:
    """The contents of a file. InputError where it has more than `most` bytes, or cannot be read."""
    try:
        return files.read(path, most)
    except files.TooLarge as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None


def check_labels(path: Path, labels: np.ndarray, num_classes: int) -> None:
    """InputError where a label is not one of 0 to num_classes - 1.

    Args:
        path: the file to name in the error.
        labels: int (N,).
        num_classes: number of classes.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise InputError(
            f"{path}: label {int(labels[wrong[0]])} at record {int(wrong[0])}, "
            f"must be 0 to {num_classes - 1} ({len(wrong):,} such)"
        )


def check_classes_present(where: Path, labels: np.ndarray, classes: Sequence[str]) -> None:
    """InputError where a class has no train image.

    Args:
        where: the file or folder to name in the error.
        labels: int (N,), each an index into `classes`.
        classes: class names.
    """
    present = np.bincount(labels.astype(np.int64), minlength=len(classes)) > 0
    if not present.all():
        missing = [c for c, p in zip(classes, present, strict=True) if not p]
        raise InputError(
            f"{where}: train labels name only {int(present.sum())} of {len(classes)} classes "
            f"(none is {', '.join(missing[:3])}): mislabelled"
        )
