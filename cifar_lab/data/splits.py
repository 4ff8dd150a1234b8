"""Parts of a labelled set: a stratified split, a smaller train set in proportion."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from .dataset import Dataset
from .on_disk import only


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int, classes: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide a set in two so that each class is divided alike.

    Args:
        labels: int (N,).
        fraction: the share of each class that goes to the part, 0 to 1; at least one image does.
        seed: whole number from 0; the same one gives the same split.
        classes: class names, for the error.

    Returns:
        (rest, part): indices into labels, int64, each sorted; disjoint, together all of them.

    Raises:
        InputError: a class has fewer than two examples.
    """
    rng = np.random.default_rng([seed, 0x5B1])  # its own stream, apart from the order of epochs
    chosen = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            name = classes[label] if classes else int(label)
            raise InputError(
                f"class {name} has {len(members)} image: a split needs at least two of each class"
            )
        chosen.append(members[: min(max(1, round(len(members) * fraction)), len(members) - 1)])
    part = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), part), part


def _to_train_on(dataset: Dataset) -> np.ndarray:
    """Indices of the train images that are not the folder's own validation set: int64, sorted."""
    everything = np.arange(len(dataset.train_labels))
    return (
        everything if dataset.val_indices is None else np.setdiff1d(everything, dataset.val_indices)
    )


def check_limit(dataset: Dataset, limit: int, argument: str = "limit") -> None:
    """InputError where so few or so many train images cannot be taken, without those of the
    folder's own validation set.

    Args:
        dataset: the whole set.
        limit: number of train images; at least two a class, at most all there are.
        argument: what the error calls the limit.
    """
    size, classes = len(_to_train_on(dataset)), len(dataset.classes)
    if not 2 * classes <= limit <= size:
        raise InputError(
            f"`{argument}`: must be {2 * classes} to {size:,} ({dataset.name} has {size:,} train "
            f"images of {classes} classes), received {limit}"
        )


def limited(dataset: Dataset, limit: int, seed: int) -> Dataset:
    """Take some of the train images, classes in proportion; the test set stays whole, and so does
    a validation set that the folder has, which does not count.

    Args:
        dataset: the whole set.
        limit: number of train images to keep.
        seed: whole number from 0; the same one keeps the same images.

    Returns:
        Dataset, its train images in the order of the whole set (those that validate last).

    Raises:
        InputError: as `check_limit`.
    """
    check_limit(dataset, limit)
    classes = len(dataset.classes)
    rng = np.random.default_rng([seed, 0x11A])
    members = _to_train_on(dataset)
    labels = dataset.train_labels[members]
    groups = [rng.permutation(members[labels == c]) for c in range(classes)]
    # two of each class, then the image whose class has the smallest share so far
    ranks = [
        np.where(np.arange(len(g)) < 2, -1, (np.arange(len(g)) + 0.5) / len(g)) for g in groups
    ]
    order = np.argsort(np.concatenate(ranks), kind="stable")
    kept = np.sort(np.concatenate(groups)[order[:limit]])
    val = dataset.val_indices
    if val is not None:
        kept = np.concatenate([kept, val])
    return replace(
        dataset,
        train_images=only(dataset.train_images, kept),
        train_labels=dataset.train_labels[kept],
        val_indices=None if val is None else np.arange(limit, len(kept), dtype=np.int64),
    )
