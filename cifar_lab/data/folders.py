"""A folder of images with one subfolder a class, whole or with train/ and test/."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError, reason
from .dataset import Dataset
from .pictures import read_image
from .splits import stratified_split

IGNORED = {"thumbs.db", "desktop.ini"}  # what a system leaves, in lower case
TEST_FRACTION = 0.2  # of a folder without train/ and test/


def class_folders(folder: str | os.PathLike) -> list[Path]:
    """Sorted subfolders of `folder`, one a class; hidden ones are not counted."""
    try:
        inside = Path(folder).iterdir()
        return sorted(p for p in inside if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({reason(error)})") from None


def folder_classes(name: str | os.PathLike) -> tuple[str, ...]:
    """Class names of a folder of images, without reading the images."""
    folders = class_folders(name)
    if {"train", "test"} <= {f.name for f in folders}:
        folders = class_folders(Path(name) / "train")
    return tuple(f.name for f in folders)


def load_folder(
    name: str, input_shape: Sequence[int] | None, notice: Callable[[str], None]
) -> Dataset:
    """Read a folder of images whole.

    Args:
        name: the folder: class folders inside, or train/ and test/ with the same class folders.
        input_shape: (height, width, channels) that images are brought to.
        notice: called with a line for the user: files that were skipped, a split that was drawn.

    Returns:
        Dataset; without train/ and test/ a stratified fifth is its test set.

    Raises:
        InputError: a class is missing, empty or too small, or a file is damaged.
        ValueError: input_shape is None.
    """
    if input_shape is None:
        raise ValueError("input_shape: must be given for a folder of images, received None")
    root, names = Path(name), {f.name for f in class_folders(name)}
    if {"train", "test"} & names and not {"train", "test"} <= names and len(names) == 1:
        raise InputError(
            f"{name}: has {names.pop()}/ alone; both train/ and test/ are needed, "
            "or the class folders themselves"
        )
    if {"train", "test"} <= names:
        train, classes = read_labelled_folder(root / "train", input_shape, notice)
        test, test_classes = read_labelled_folder(root / "test", input_shape, notice)
        if classes != test_classes:
            differ = sorted(set(classes) ^ set(test_classes))
            raise InputError(
                f"{name}: train/ and test/ have different classes ({', '.join(differ[:3])})"
            )
        return Dataset(name, classes, *train, *test)
    (images, labels), classes = read_labelled_folder(root, input_shape, notice)
    counts = np.bincount(labels)
    if counts.min() < 3:
        raise InputError(
            f"{root / classes[int(counts.argmin())]}: has {counts.min()} images; without train/ "
            "and test/ a class needs at least 3, one of them for the test set"
        )
    rest, part = stratified_split(labels, TEST_FRACTION, seed=0)
    notice(
        f"{name}: no train/ and test/ inside, so a stratified fifth ({len(part)} images) "
        "is the test set"
    )
    return Dataset(
        name,
        classes,
        images[rest],
        labels[rest],
        images[part],
        labels[part],
        note="a stratified fifth of the folder is the test set",
    )


def read_labelled_folder(
    folder: str | os.PathLike,
    input_shape: Sequence[int],
    notice: Callable[[str], None] = lambda line: None,
    classes: Sequence[str] | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[str, ...]]:
    """Read a folder with one subfolder a class.

    Args:
        folder: its path.
        input_shape: (height, width, channels) that images are brought to.
        notice: called with a line for the user where files are skipped.
        classes: class names that the subfolders must be among ("/" in a class is "-" in its
            folder's name); default: the sorted names of the subfolders, at least two.

    Returns:
        ((images, labels), classes): uint8 (N, height, width, channels), 0-255; int64 (N,), indices
        into the classes; the class names.

    Raises:
        InputError: a class is missing, unknown or empty, or a file is no whole image.
    """
    folders = class_folders(folder)
    if classes is None and len(folders) < 2 or not folders:
        raise InputError(
            f"{folder}: needs one subfolder a class and at least two classes, has {len(folders)}"
        )
    classes = tuple(f.name for f in folders) if classes is None else tuple(classes)
    names = [name.replace("/", "-") for name in classes]  # as a folder can be called: T-shirt-top
    strangers = [f.name for f in folders if f.name not in names]
    if strangers:
        raise InputError(
            f"{folder}: subfolder {strangers[0]!r} is not a class of the model ({', '.join(names)})"
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    skipped: list[Path] = []
    for class_folder in folders:
        wanted, others = images_below(class_folder)
        skipped += others
        images += [read_image(p, input_shape) for p in wanted]
        labels += [names.index(class_folder.name)] * len(wanted)
    if skipped:
        notice(left_out(folder, skipped))
    return (np.stack(images), np.array(labels, np.int64)), classes


def images_below(folder: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Find the images in a folder and its subfolders, by the endings of their names.

    Args:
        folder: its path; hidden files and a system's own are passed over.

    Returns:
        (images, others): sorted paths of the files whose endings Pillow reads, and of the rest.

    Raises:
        InputError: there is no image.
    """
    Image.init()
    readable = {  # Pillow registers some formats only to write them
        ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN
    }
    images: list[Path] = []
    others: list[Path] = []
    for path in sorted(Path(folder).rglob("*")):
        if path.name.startswith(".") or path.name.lower() in IGNORED or not path.is_file():
            continue
        (images if path.suffix.lower() in readable else others).append(path)
    if not images:
        rest = f", only {_files(others)} that Pillow does not read: {_listed(folder, others)}"
        raise InputError(f"{folder}: holds no images" + (rest if others else ""))
    return images, others


def left_out(folder: str | os.PathLike, files: Sequence[Path]) -> str:
    """The line that tells a user which files below `folder` were skipped; at least one file."""
    what = "is not an image" if len(files) == 1 else "are not images"
    return f"{folder}: skipped {_files(files)} that {what} Pillow reads: {_listed(folder, files)}"


def _files(files: Sequence[Path]) -> str:
    return f"{len(files):,} file{'s' if len(files) > 1 else ''}"


def _listed(folder: str | os.PathLike, files: Sequence[Path]) -> str:
    """The first three names, as they stand below the folder."""
    names = [str(f.relative_to(folder)) for f in files[:3]]
    return ", ".join(names + ["..."] * (len(files) > 3))
