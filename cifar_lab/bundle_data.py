"""Which data a saved network is tested on: its card's, or what is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from .data import Dataset

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

    name = name or own(card).get("name")
    if not isinstance(name, str):
        raise InputError(
            f"the card does not say what {card.get('rung', 'this network')} was trained on; "
            "name the data"
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
    """As `test_images`: a folder's test/ if it is split, else all but what was trained on."""
    from . import data

    splits = data.splits_of(name)
    if splits:
        source = str(splits.test)
    else:
        source, kept = name, None
        if own(card).get("note") and data.same_classes(data.folder_classes(name), card["classes"]):
            with contextlib.suppress(InputError):  # what is wrong with the folder is said below
                kept = data.load(name, None, input_shape)
            if kept and kept.test_sha256() == own(card).get("test_sha256"):
                notice(f"{name}: tested on the fifth of it that was kept from training")
                return kept.test_images, kept.test_labels, name
            if own(card).get("name") == name:
                raise changed_folder(card, name)
    (images, labels), _ = data.read_labelled_folder(
        source, input_shape, notice, classes=card["classes"]
    )
    return images, labels, source


def changed_folder(card: dict[str, Any], name: str) -> InputError:
    """The error for a folder that is not what the network was trained on any more."""
    return InputError(
        f"{name}: has changed since {card.get('rung', 'this network')} was trained on it, so "
        "the images that were kept "
        "for the test can no longer be told; put pictures to test in a folder of their own and "
        "name it"
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

    dataset = data.load(name, data_dir, input_shape, notice)
    if is_other(card, name, dataset.test_sha256()):
        if data.is_folder(name):
            raise changed_folder(card, name)
        notice(OTHER_TEST_IMAGES)
    return dataset
