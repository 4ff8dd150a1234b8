"""Which images a saved network is tested on: its own test images, never ones that it was trained on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import data as data_sets
from .data import Dataset
from .errors import InputError

OTHER_TEST_IMAGES = "note: these are not the test images that the card's figures were measured on"
Notice = Callable[[str], Any]


def _silent(line: str) -> None:
    pass


def data_of(card: dict, data: str | None, data_dir: str | None) -> tuple[str, dict]:
    """(name of the data to use, what the card says of the network's own).

    data: a set's name or a folder, None for the card's own. Raises InputError for data that cannot be
    used, as far as that shows without reading them.
    """
    own = card.get("data") if isinstance(card.get("data"), dict) else {}
    name = data or own.get("name")
    if not isinstance(name, str):
        what = card.get("rung", "this network")
        raise InputError(f"the card does not say what {what} was trained on; name the data")
    data_sets.check(name, data_dir, card.get("classes"))
    return name, own


def test_images(
    card: dict,
    input_shape: Sequence[int],
    data: str | None = None,
    data_dir: str | None = None,
    notice: Notice = _silent,
) -> tuple[np.ndarray, np.ndarray, str]:
    """(images, labels, name) of what a network is to be tested on.

    card: of its bundle or export.   data, data_dir: as in `data_of`.   Returns uint8
    (N, *input_shape), int64 (N,), and the set's name or folder. Raises InputError.
    """
    name, own = data_of(card, data, data_dir)
    if data_sets.is_folder(name):
        return _folder_images(os.path.abspath(name), own, card, input_shape, notice)
    dataset = data_sets.load(name, data_dir, tuple(input_shape), notice, test_only=True)
    _tell_other_images(dataset, name, own, notice)
    return dataset.test_images, dataset.test_labels, name


def data_for_export(
    card: dict,
    input_shape: Sequence[int],
    data: str | None = None,
    data_dir: str | None = None,
    notice: Notice = _silent,
) -> Dataset:
    """The data whose test images test an export, and whose train images calibrate it. Arguments and
    errors: as `test_images`."""
    name, own = data_of(card, data, data_dir)
    is_folder = data_sets.is_folder(name)
    name = os.path.abspath(name) if is_folder else name
    dataset = data_sets.load(name, data_dir, tuple(input_shape), notice)
    if is_folder and name == own.get("name"):
        if own.get("test_sha256") not in (None, dataset.test_sha256()):
            raise _changed_folder(name, card)
    _tell_other_images(dataset, name, own, notice)
    return dataset


def _tell_other_images(dataset: Dataset, name: str, own: dict, notice: Notice) -> None:
    measured = own.get("test_sha256")
    if name == own.get("name") and measured not in (None, dataset.test_sha256()):
        notice(OTHER_TEST_IMAGES)


def _folder_images(name, own, card, input_shape, notice):
    """(images, labels, name) of a folder: its test/ if it is split, else all, but for what was
    trained on."""
    trained_here = own.get("name") == name
    if {"train", "test"} <= {p.name for p in data_sets.class_folders(name)}:
        name = os.path.join(name, "test")
    elif own.get("note") and list(data_sets.folder_classes(name)) == card["classes"]:
        with contextlib.suppress(InputError):  # what is wrong with the folder is said below
            dataset = data_sets.load(name, None, tuple(input_shape))
            if dataset.test_sha256() == own.get("test_sha256"):  # what it was trained on
                notice(f"{name}: tested on the fifth of it that was kept from training")
                return dataset.test_images, dataset.test_labels, name
        if trained_here:
            raise _changed_folder(name, card)
    (images, labels), _ = data_sets.read_labelled_folder(
        name, input_shape, notice, classes=card["classes"]
    )
    return images, labels, name


def _changed_folder(name: str, card: dict) -> InputError:
    return InputError(
        f"{name}: has changed since {card['rung']} was trained on it, so what was kept for the test "
        "cannot be told; put pictures to test in a folder of their own and name that"
    )
