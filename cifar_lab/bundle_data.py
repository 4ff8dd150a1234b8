"""Which data a saved network is tested on: its card's, or what is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from .data import Dataset
    from .recipe import Recipe

OTHER_TEST_IMAGES = "note: these are not the test images that the card's figures were measured on"


def chosen(card: dict[str, Any], name: str | None, data_dir: str | None) -> str:
    """The name or folder of the data to use, absolute for a folder.

    Args:
        card: of the network.
        name: what is asked for, or None for the card's own.
        data_dir: folder with real data as published, or None.

    Raises:
        InputError: the card names no data, or they cannot be used, as far as that shows without
            reading them.
    """
    from . import data

    given, name = name, name or own(card).get("name")
    if not isinstance(name, str):
        raise InputError(
            f"the card does not say what {card.get('rung', 'this network')} was trained on; "
            "name the data"
        )
    if not given and os.path.isabs(name) and not os.path.isdir(name):
        raise InputError(
            f"{name}: the folder that {card.get('rung', 'this network')} was trained on is gone; "
            "say with `data` where it is now"
        )
    data.check(name, data_dir, card.get("classes"))
    return os.path.abspath(name) if data.is_folder(name) else name


def own(card: dict[str, Any]) -> dict[str, Any]:
    """What a card says of the data that the network was trained on, {} where it does not."""
    found = card.get("data")
    return found if isinstance(found, dict) else {}


def is_other(card: dict[str, Any], name: str, test_sha256: str) -> bool:
    """Whether the network's own data, by their name, have other test images than its card says."""
    expected = own(card).get("test_sha256")
    return name == own(card).get("name") and expected not in (None, test_sha256)


def test_images(
    card: dict[str, Any],
    name: str,
    data_dir: str | None,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any],
) -> tuple[np.ndarray, np.ndarray, str]:
    """(images, labels, where they are from) of the data `name`, as `chosen` gives it.

    uint8 (N, height, width, channels), 0-255, and int64 (N,).
    """
    from . import data

    if data.is_folder(name):
        return _folder_images(card, name, input_shape, notice)
    dataset = data.load(name, data_dir, input_shape, notice, test_only=True)
    if is_other(card, name, dataset.test_sha256()):
        notice(OTHER_TEST_IMAGES)
    return dataset.test_images, dataset.test_labels, name


def _folder_images(
    card: dict[str, Any],
    name: str,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any],
) -> tuple[np.ndarray, np.ndarray, str]:
    """As `test_images`: a folder's test/ if it is split, else all, but what was trained on."""
    from . import data

    splits = data.splits_of(name)
    expected, is_own = own(card).get("test_sha256"), own(card).get("name") == name
    if expected and not splits and (is_own or _may_be_own(card, name)):
        whole = None
        with contextlib.suppress(InputError):  # what is wrong with the folder is said below
            whole = load(card, name, None, input_shape)
        if whole and whole.test_sha256() == expected:
            notice(f"{name}: tested on the fifth of it that was kept from training")
            return whole.test_images, whole.test_labels, name
        if is_own:
            raise changed_folder(card, name)
    source = str(splits.test) if splits else name
    if splits and own(card).get("skipped"):  # as in the training, without the damaged files
        dataset = load(card, name, None, input_shape, notice)
        images, labels = dataset.test_images, dataset.test_labels
    else:
        (images, labels), _ = data.read_labelled_folder(
            source, input_shape, notice, classes=card["classes"]
        )
    if splits and is_own and expected not in (None, sha256(card["classes"], images, labels)):
        notice(OTHER_TEST_IMAGES)
    kept = _unseen(card, images, source, notice)
    return data.only(images, kept), labels[kept], source


def _unseen(
    card: dict[str, Any], images: np.ndarray, source: str, notice: Callable[[str], Any]
) -> np.ndarray:
    """Which images, uint8 (N, height, width, channels), the network was not trained on: bool (N,).

    A line says how many it was trained on. InputError where it was on all.
    """
    import numpy as np

    from . import data

    trained = set(str(own(card).get("train_pictures", "")).split())
    kept = np.array([d not in trained for d in data.picture_digests(images)], bool)
    if not kept.any():
        raise InputError(f"{source}: {card.get('rung')} was trained on all of these pictures")
    if not kept.all():
        count, rung = int((~kept).sum()), card.get("rung")
        notice(f"{source}: left out {count} of {len(kept)} pictures, which {rung} was trained on")
    return kept


def check_start(recipe: Recipe, dataset: Dataset, notice: Callable[[str], Any]) -> None:
    """Refuse to test a network on pictures that the one it begins with was trained on.

    Args:
        recipe: of the training; only one that begins with a bundle is looked at.
        dataset: what it is to be trained on; only a folder is looked at.
        notice: called with a line where such pictures may validate.

    Raises:
        InputError: such pictures are among the test images.
    """
    from . import bundles, data
    from .ladder import LADDER
    from .recipe import split_start, weights_file

    of_file = split_start(recipe.start)[0] or weights_file(recipe.start)
    is_bundle = recipe.start and recipe.start not in LADDER and not of_file
    if not is_bundle or not os.path.isabs(dataset.name):
        return
    card = bundles.read_card(bundles.find(recipe.start))
    trained = set(str(own(card).get("train_pictures", "")).split())
    shape = tuple(bundles.stored_recipe(card).get("input_shape", recipe.input_shape))
    if trained and shape != tuple(recipe.input_shape):  # a digest is of the pixels at one size
        dataset = data.load(dataset.name, None, shape, skip_damaged=bool(dataset.skipped))
    seen = [d for d in data.picture_digests(dataset.test_images) if d in trained]
    if seen:
        raise InputError(
            f"`start` {recipe.start}: was trained on {len(seen)} of the {len(dataset.test_labels)} "
            "pictures that are to test: begin with another network, or keep the pictures for the "
            "test in a folder test/"
        )
    if trained.intersection(data.picture_digests(dataset.train_images)):
        notice(
            f"note: {recipe.start} was trained on pictures of this folder, so the validation "
            "figures flatter; those of the test do not"
        )


def _may_be_own(card: dict[str, Any], name: str) -> bool:
    """Whether a folder can be, at another place, the one that the network was trained on."""
    from . import data

    of_folder = os.path.isabs(str(own(card).get("name", "")))
    return of_folder and data.same_classes(data.folder_classes(name), card["classes"])


def load(
    card: dict[str, Any],
    name: str,
    data_dir: str | None,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any] = lambda line: None,
) -> Dataset:
    """The data `name`, read as for the training: where damaged files were skipped, they are."""
    from . import data

    skip = bool(own(card).get("skipped"))
    return data.load(name, data_dir, input_shape, notice, skip_damaged=skip)


def sha256(classes: Sequence[str], images: np.ndarray, labels: np.ndarray) -> str:
    """Hex digest of images, labels and class names, as `Dataset.test_sha256` has it."""
    from . import data

    return data.Dataset("", tuple(classes), images, labels, images, labels).test_sha256()


def without_card(
    name: str,
    data_dir: str | None,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any],
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], str]:
    """(images, labels, classes, where they are from) of the data `name`, for a network that nothing
    is known of: of a folder its test/, else all of it."""
    from . import data

    if not data.is_folder(name):
        dataset = data.load(name, data_dir, input_shape, notice, test_only=True)
        return dataset.test_images, dataset.test_labels, dataset.classes, name
    splits = data.splits_of(name)
    source = str(splits.test) if splits else name
    (images, labels), classes = data.read_labelled_folder(source, input_shape, notice)
    return images, labels, classes, source


def trained_part(card: dict[str, Any], dataset: Dataset) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Which train images a bundle learnt from, and which validated it, drawn again.

    Args:
        card: of the bundle.
        dataset: its data, as `load` reads them.

    Returns:
        Dataset with the train images that the training was given; indices of those that it learnt
        from and of those that validated: int64 (N,) and (M,), sorted.

    Raises:
        InputError: the card does not say how they were drawn, or its data are not those that it was
            trained on any more.
    """
    import numpy as np

    from . import data

    fraction = _validation_fraction(card)
    limit, seed = own(card).get("limit"), card["seed"]
    if limit is not None:
        dataset = data.limited(dataset, limit, seed)
    if dataset.train_sha256() != card["data_sha256"]:
        raise InputError(
            f"{dataset.name}: its train images are not those that {card['rung']} was trained on, "
            "so the images that validated it can no longer be told"
        )
    part = dataset.val_indices  # of a folder that has its own val/
    if part is None:
        return dataset, *data.stratified_split(dataset.train_labels, fraction, seed)
    return dataset, np.setdiff1d(np.arange(len(dataset.train_labels)), part), part


def _validation_fraction(card: dict[str, Any]) -> float:
    """InputError where a card does not say how its validation images were drawn."""
    recipe, seed = card["recipe"], card["seed"]
    fraction = recipe.get("validation_fraction") if isinstance(recipe, dict) else None
    if not (isinstance(fraction, float) and 0 < fraction < 1 and isinstance(seed, int)):
        raise InputError(f"the card of {card['rung']} does not say which images validated it")
    return fraction


def validation_images(
    card: dict[str, Any],
    data_dir: str | None,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any],
) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) that a bundle's training was validated on, drawn again.

    Args:
        card: of the bundle.
        data_dir: folder with real data as published, or None.
        input_shape: (height, width, channels) of the network.
        notice: called with lines for the user.

    Returns:
        uint8 (N, height, width, channels), 0-255, and int64 (N,).

    Raises:
        InputError: as `trained_part`, or there are no such data.
    """
    from . import data

    _validation_fraction(card)  # before anything is read
    dataset = load(card, chosen(card, None, data_dir), data_dir, input_shape, notice)
    dataset, _, part = trained_part(card, dataset)
    return data.only(dataset.train_images, part), dataset.train_labels[part]


def changed_folder(card: dict[str, Any], name: str) -> InputError:
    """The error for a folder that is not what the network was trained on any more."""
    return InputError(
        f"{name}: has changed since {card.get('rung', 'this network')} was trained on it, so the "
        "images kept for the test can no longer be told; put pictures to test in a folder of "
        "their own and name it"
    )


def for_export(
    card: dict[str, Any],
    name: str,
    data_dir: str | None,
    input_shape: tuple[int, int, int],
    notice: Callable[[str], Any],
) -> Dataset:
    """The data `name`, as `chosen` gives it, whose test images test an export and whose train
    images calibrate it. Raises InputError for a folder that has changed since the training."""
    from . import data

    dataset = load(card, name, data_dir, input_shape, notice)
    if is_other(card, name, dataset.test_sha256()):
        if data.is_folder(name) and not data.splits_of(name):
            raise changed_folder(card, name)
        notice(OTHER_TEST_IMAGES)
    if data.is_folder(name):
        kept = _unseen(card, dataset.test_images, name, notice)
        dataset = replace(
            dataset,
            test_images=data.only(dataset.test_images, kept),
            test_labels=dataset.test_labels[kept],
        )
    return dataset
