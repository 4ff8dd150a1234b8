"""A folder of images with one subfolder a class, whole or divided by its owner."""

import functools
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import memory
from ..errors import InputError
from . import cache
from .dataset import Dataset
from .layout import (
    Splits,
    class_folders,
    images_below,
    left_out,
    own_images,
    splits_of,
)
from .names import counted, listed, one_form, shown
from .on_disk import only, together
from .reading import read_all
from .splits import stratified_split

TEST_FRACTION = 0.2  # of a folder without splits
MAX_ERROR = 500  # characters of the error that lists damaged files


def folder_classes(name: str | os.PathLike) -> tuple[str, ...]:
    """Class names of a folder of images, without reading the images. InputError as `splits_of`."""
    splits = splits_of(name)
    return tuple(
        sorted({one_form(f.name) for f in class_folders(splits.train if splits else name)})
    )


def load_folder(
    name: str,
    input_shape: Sequence[int] | None,
    notice: Callable[[str], None],
    skip_damaged: bool = False,
    data_in: str | None = None,
) -> Dataset:
    """Read a folder of images whole, into memory or into a file that is then read piece by piece.

    Pictures that are the same, by their pixels as they are read, are there once: of a class the
    first, of two splits that in the test set, or in validation rather than train. What a network
    was trained on tests nothing.

    Args:
        name: the folder: class folders inside, or splits with the same class folders, see
            `splits_of`.
        input_shape: (height, width, channels) that images are brought to.
        notice: called with a line for the user: what was skipped, a split that was drawn, pictures
            that are there twice.
        skip_damaged: leave damaged files out, with a line, and name them in the result.
        data_in: as for `sets.load`.

    Returns:
        Dataset; without splits a stratified fifth is its test set.

    Raises:
        InputError: a class is missing, empty or too small, files are damaged, or as `splits_of`.
        ValueError: input_shape is None.
    """
    if input_shape is None:
        raise ValueError("input_shape: must be given for a folder of images, received None")
    root, splits = Path(name), splits_of(name)
    folders = [f for f in (splits.train, splits.test, splits.val) if f] if splits else [root]
    if splits:
        _tell_splits(root, splits, notice)
    listings = [_list(root, folder, notice) for folder in folders]
    on_disk = _stay_on_disk(root, listings, input_shape, notice, data_in)
    parts = [_read(listing, input_shape, notice, on_disk) for listing in listings]
    skipped = _judge_damage(root, parts, skip_damaged, notice)
    classes = parts[0].classes
    for folder, part in zip(folders[1:], parts[1:]):
        if part.classes != classes:
            differ = sorted(set(classes) ^ set(part.classes))
            both = f"{folders[0].relative_to(root)}/ and {folder.relative_to(root)}/"
            raise InputError(f"{name}: {both} have different classes ({listed(differ)})")
    _tell_two_classes(root, parts, notice)
    parts = [_without_twins(root, part, notice) for part in parts]
    if splits is None:
        return replace(_drawn(root, parts[0], skipped, notice), name=name)
    train, test, val = parts[0], parts[1], parts[2] if len(parts) > 2 else None
    if val:
        val = _without_copies(root, val, test, notice, "validation", "test")
        train = _without_copies(root, train, val, notice, "train", "validation")
    train = _without_copies(root, train, test, notice, "train", "test")
    note = f"{folders[1].relative_to(root)}/ is the test set" if splits.test_is_val else ""
    dataset = Dataset(
        name, classes, train.images, train.labels, test.images, test.labels, note, None, skipped
    )
    if val is None:
        return dataset
    return replace(
        dataset,
        train_images=together(train.images, val.images),
        train_labels=np.concatenate([train.labels, val.labels]),
        val_indices=len(train.labels) + np.arange(len(val.labels), dtype=np.int64),
    )


def read_labelled_folder(
    folder: str | os.PathLike,
    input_shape: Sequence[int],
    notice: Callable[[str], None] = lambda line: None,
    classes: Sequence[str] | None = None,
    data_in: str | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[str, ...]]:
    """Read a folder with one subfolder a class.

    Args:
        folder: its path.
        input_shape: (height, width, channels) that images are brought to.
        notice: called with a line for the user where files are skipped.
        classes: class names that the subfolders must be among ("/" in a class is "-" in its
            folder's name); default: the sorted names of the subfolders, at least two.
        data_in: as for `load_folder`.

    Returns:
        ((images, labels), classes): uint8 (N, height, width, channels), 0-255; int64 (N,), indices
        into the classes; the class names.

    Raises:
        InputError: a class is missing, unknown or empty, or a file is no whole image.
    """
    root = Path(folder)
    listing = _list(root, root, notice, classes)
    on_disk = _stay_on_disk(root, [listing], input_shape, notice, data_in)
    part = _read(listing, input_shape, notice, on_disk)
    _judge_damage(root, [part], None, notice)
    return (part.images, part.labels), part.classes


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Listing:
    """The files of a folder with one subfolder a class.

    Fields:
        folder: its path.
        classes: class names.
        files: N paths.
        labels: of each, N indices.
    """

    folder: Path
    classes: tuple[str, ...]
    files: list[Path]
    labels: list[int]


@dataclass(frozen=True)
class _Part:
    """The pictures of a folder with one subfolder a class.

    Fields:
        classes: class names.
        images: uint8 (N, height, width, channels), 0-255, without the damaged ones; may be OnDisk.
        labels: int64 (N,).
        files: N paths.
        damaged: (path, label, why) of those that cannot be read.
    """

    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    files: tuple[Path, ...]
    damaged: tuple[tuple[Path, int, str], ...]

    def only(self, kept: np.ndarray) -> "_Part":
        """The pictures that a mask keeps, bool (N,)."""
        found = replace(
            self,
            images=only(self.images, kept),
            labels=self.labels[kept],
            files=tuple(f for f, k in zip(self.files, kept) if k),
        )
        if "digests" in vars(self):  # known already: the pictures need not be read again
            vars(found)["digests"] = [d for d, k in zip(self.digests, kept) if k]
        return found

    @functools.cached_property
    def digests(self) -> list[bytes]:
        """Of each picture, the same for the same pixels."""
        return [hashlib.blake2b(image.data, digest_size=16).digest() for image in self.images]


def _list(
    root: Path,
    folder: Path,
    notice: Callable[[str], None],
    classes: Sequence[str] | None = None,
) -> _Listing:
    """Look through the class folders in `folder`; lines name files as they stand below `root`."""
    folders = sorted(class_folders(folder), key=lambda f: (one_form(f.name), f.name))
    own = sorted({one_form(f.name) for f in folders})
    if classes is None and len(own) < 2 or not own:
        raise InputError(
            f"{folder}: needs one subfolder a class and at least two classes, has {len(own)}"
        )
    classes = tuple(own if classes is None else classes)
    # as a folder can be called: T-shirt-top
    names = [one_form(name).replace("/", "-") for name in classes]
    strangers = [name for name in own if name not in names]
    if strangers:
        raise InputError(
            f"{folder}: subfolder {strangers[0]!r} is not a class of the model ({', '.join(names)})"
        )
    files: list[Path] = []
    labels: list[int] = []
    others: list[Path] = []
    deeper: list[str] = []
    for class_folder in folders:
        wanted, more = images_below(class_folder)
        if class_folder not in {file.parent for file in wanted}:
            deeper.append(f"{_below(root, class_folder)}/")
        files += wanted
        others += more
        labels += [names.index(one_form(class_folder.name))] * len(wanted)
    if deeper:
        notice(f"{root}: pictures in subfolders count as their class folder's: {listed(deeper)}")
    if others:
        notice(left_out(root, others))
    stray = sorted(own_images(folder))
    if stray:
        names_of_stray = listed(_below(root, file) for file in stray)
        notice(
            f"{root}: skipped {counted(len(stray), 'picture')} outside of a class: {names_of_stray}"
        )
    return _Listing(folder, classes, files, labels)


def _stay_on_disk(
    root: Path,
    listings: Sequence[_Listing],
    input_shape: Sequence[int],
    notice: Callable[[str], None],
    data_in: str | None,
) -> bool:
    count, size = sum(len(listing.files) for listing in listings), math.prod(input_shape)
    has_cache = cache.place() is not None
    return memory.stay_on_disk(data_in, count, size, str(root), notice, has_cache)


def _read(
    listing: _Listing, input_shape: Sequence[int], notice: Callable[[str], None], on_disk: bool
) -> _Part:
    files, labels = listing.files, listing.labels
    read = read_all(listing.folder, files, input_shape, notice, on_disk)
    sound = [i for i in range(len(files)) if i not in read.damaged]
    return _Part(
        listing.classes,
        read.images,
        np.array([labels[i] for i in sound], np.int64),
        tuple(files[i] for i in sound),
        tuple((files[i], labels[i], why) for i, why in read.damaged.items()),
    )


def _judge_damage(
    root: Path, parts: list[_Part], skip: bool | None, notice: Callable[[str], None]
) -> tuple[str, ...]:
    """The names of the damaged files, said in a line.

    Args:
        root: what names are below.
        parts: of the data set.
        skip: whether they are left out; None where nobody can ask for that.
        notice: called with the line.

    Raises:
        InputError: there are some and they are not to be left out, or a class lost all it had.
    """
    damaged = [(_below(root, file), why) for part in parts for file, _, why in part.damaged]
    if not damaged:
        return ()
    if not skip:
        hint = "" if skip is None else " (`skip_damaged` leaves them out)"
        line = f"{root}: {counted(len(damaged), 'file')} cannot be read: "
        whole = "; ".join(f"{name}: {why[:150]}" for name, why in damaged)
        if len(line + whole + hint) > MAX_ERROR:
            for name, why in damaged:
                notice(f"{name}: {why[:150]}")
            whole = f"{listed(name for name, _ in damaged)} (each is listed above)"
        raise InputError(line + whole + hint)
    for part in parts:
        for file, label, _ in part.damaged:
            if label not in part.labels:
                raise InputError(
                    f"{root}: without damaged files ({_below(root, file)}, ...) no picture of "
                    f"class {part.classes[label]} is left"
                )
    names = tuple(name for name, _ in damaged)
    notice(f"{root}: skipped {counted(len(names), 'damaged file')}: {listed(names)}")
    return names


def _below(root: Path, file: Path) -> str:
    return shown(str(file.relative_to(root)))


# --- splits ---------------------------------------------------------------------------------------


def _tell_splits(root: Path, splits: Splits, notice: Callable[[str], None]) -> None:
    """Say what was taken for what, where the names leave a doubt."""
    named = {"train": splits.train, "test": splits.test, "val": splits.val}
    names = {role: _below(root, folder) for role, folder in named.items() if folder}
    if splits.test_is_val:
        notice(f"{root}: has no test/, so {names['test']}/ is the test set")
    if any(name != role for role, name in names.items() if not splits.test_is_val):
        words = {"train": "trains on", "test": "tests on", "val": "validates on"}
        notice(f"{root}: " + ", ".join(f"{words[r]} {n}/" for r, n in names.items()))
    if splits.others:
        notice(f"{root}: left out {listed(f.name + '/' for f in splits.others)}, not a split")


def _drawn(
    root: Path, part: _Part, skipped: tuple[str, ...], notice: Callable[[str], None]
) -> Dataset:
    """A stratified fifth is the test set; copies of its pictures leave the rest."""
    counts = np.bincount(part.labels, minlength=len(part.classes))
    if counts.min() < 3:
        fewest = counted(int(counts.min()), "image")
        raise InputError(
            f"{root / part.classes[int(counts.argmin())]}: has {fewest}; without train/ and test/ "
            "a class needs at least 3, one of them for the test set"
        )
    rest, fifth = stratified_split(part.labels, TEST_FRACTION, 0, part.classes)
    notice(
        f"{root}: no train/ and test/ inside, so a stratified fifth ({len(fifth)} images) "
        "is the test set"
    )
    chosen = np.isin(np.arange(len(part.labels)), fifth)
    test = part.only(chosen)
    train = _without_copies(root, part.only(~chosen), test, notice, "train", "test")
    return Dataset(
        str(root),
        part.classes,
        train.images,
        train.labels,
        test.images,
        test.labels,
        note="a stratified fifth of the folder is the test set",
        skipped=skipped,
    )


# --- pictures that are there twice ----------------------------------------------------------------


def _without_twins(root: Path, part: _Part, notice: Callable[[str], None]) -> _Part:
    """`part` with the first of the pictures of a class that are the same, which a line tells."""
    seen: set[bytes] = set()
    first = np.ones(len(part.labels), bool)
    for i, (label, digest) in enumerate(zip(part.labels, part.digests)):
        mark = digest + label.tobytes()
        first[i] = mark not in seen
        seen.add(mark)
    if first.all():
        return part
    copies = [_below(root, file) for file, is_first in zip(part.files, first) if not is_first]
    notice(f"{root}: left out {counted(len(copies), 'copy', 'copies')}: {listed(copies)}")
    return part.only(first)


def _without_copies(
    root: Path,
    part: _Part,
    other: _Part,
    notice: Callable[[str], None],
    name: str,
    other_name: str,
) -> _Part:
    """`part` without the pictures that are in `other` too, which a line tells. InputError where a
    class has no other pictures."""
    theirs = set(other.digests)
    own = np.array([digest not in theirs for digest in part.digests], bool)
    if own.all():
        return part
    copies = [_below(root, file) for file, is_own in zip(part.files, own) if not is_own]
    notice(
        f"{root}: left {counted(len(copies), 'picture')} out of the {name} set that the "
        f"{other_name} set has too: {listed(copies)}"
    )
    kept = part.only(own)
    for label in np.setdiff1d(part.labels, kept.labels):
        raise InputError(
            f"{root}: all {name} pictures of class {part.classes[label]} are in the {other_name} "
            "set too"
        )
    return kept


def _tell_two_classes(root: Path, parts: list[_Part], notice: Callable[[str], None]) -> None:
    """Say which pictures have two labels."""
    first: dict[bytes, tuple[int, Path]] = {}
    pairs = []
    for part in parts:
        for digest, label, file in zip(part.digests, part.labels, part.files):
            known, other = first.setdefault(digest, (int(label), file))
            if known != label:
                pairs.append(f"{_below(root, other)} and {_below(root, file)}")
    if pairs:
        verb = "is" if len(pairs) == 1 else "are"
        notice(f"{root}: {counted(len(pairs), 'picture')} {verb} in two classes: {listed(pairs)}")
