"""CIFAR-10 and CIFAR-100 as published, binary or pickled (https://www.cs.toronto.edu/~kriz/cifar.html)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, reason
from . import pickles
from .dataset import Dataset, Incomplete, check_classes_present, check_labels, read_bytes

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR100_CLASSES = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
)
CIFAR100_COARSE_CLASSES = tuple(
    """aquatic_mammals fish flowers food_containers fruit_and_vegetables
    household_electrical_devices household_furniture insects large_carnivores
    large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
    medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1
    vehicles_2""".split()
)
PIXEL_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class _Published:
    """How a CIFAR set is published.

    Fields:
        title: the publisher's name of it.
        classes: of the labels that are read.
        train, test: names of the files without their ending.
        records: images in a file of the train and of the test split.
        label_bytes: label bytes before the pixels of a binary record.
        label_byte: which of them is read.
        label_key: what the labels are called in the python version.
        binary, python: folders that the archives unpack to, or the Keras cache has.
    """

    title: str
    classes: tuple[str, ...]
    train: tuple[str, ...]
    test: str
    records: tuple[int, int]
    label_bytes: int
    label_byte: int
    label_key: str
    binary: tuple[str, ...]
    python: tuple[str, ...]


_CIFAR10 = _Published(
    "CIFAR-10",
    CIFAR10_CLASSES,
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test_batch",
    (10_000, 10_000),
    1,
    0,
    "labels",
    ("cifar-10-batches-bin",),
    ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"),
)
_CIFAR100 = _Published(
    "CIFAR-100",
    CIFAR100_CLASSES,
    ("train",),
    "test",
    (50_000, 10_000),
    2,
    1,
    "fine_labels",
    ("cifar-100-binary",),
    ("cifar-100-python", "cifar-100-python-target/cifar-100-python"),
)
_CIFAR100_COARSE = replace(
    _CIFAR100, classes=CIFAR100_COARSE_CLASSES, label_byte=0, label_key="coarse_labels"
)


def find_cifar10(name: str, root: Path) -> Dataset | None:
    """Read CIFAR-10 from a folder, images (N, 32, 32, 3); see `_find`."""
    return _find(_CIFAR10, name, root)


def find_cifar100(name: str, root: Path) -> Dataset | None:
    """Read CIFAR-100 with its 100 fine labels from a folder, images (N, 32, 32, 3); see `_find`."""
    return _find(_CIFAR100, name, root)


def find_cifar100_coarse(name: str, root: Path) -> Dataset | None:
    """Read CIFAR-100 with its 20 coarse labels from a folder; see `_find`."""
    return _find(_CIFAR100_COARSE, name, root)


def _find(published: _Published, name: str, root: Path) -> Dataset | None:
    """Read a CIFAR set from a folder.

    Args:
        published: which.
        name: the data set's name, for the result.
        root: folder that holds the files, or the publisher's folder of them.

    Returns:
        Dataset, images (N, 32, 32, 3); None where root holds no such set in a layout of its
        publisher.

    Raises:
        Incomplete: one of the files is missing.
        InputError: a file is damaged.
    """
    layouts = [
        (".bin", _read_binary, published.binary),
        ("", _read_python, published.python),
    ]
    for ending, read, folders in layouts:
        for folder in (root, *(root / f for f in folders)):
            files = [folder / (m + ending) for m in (*published.train, published.test)]
            # any one member makes it this layout: an incomplete copy is an error, not another set
            if any(f.is_file() for f in files) or folder != root and folder.is_dir():
                missing = [f for f in files if not f.is_file()]
                if missing:
                    needed = ", ".join(f.name for f in files)
                    raise Incomplete(f"{missing[0]}: is missing; {published.title} needs {needed}")
                train = [read(published, f, published.records[0]) for f in files[:-1]]
                test = read(published, files[-1], published.records[1])
                images = np.concatenate([images for images, _ in train])
                labels = np.concatenate([labels for _, labels in train])
                check_classes_present(folder, labels, published.classes)
                return Dataset(name, published.classes, images, labels, *test)
    return None


def _read_binary(published: _Published, path: Path, records: int) -> tuple[np.ndarray, np.ndarray]:
    """A file of the binary version: records of label bytes and 3,072 pixel bytes."""
    size = published.label_bytes + PIXEL_BYTES
    raw = read_bytes(path, records * size)
    if len(raw) != records * size:
        raise InputError(
            f"{path}: has {len(raw):,} bytes, must have {records * size:,} ({records:,} records of "
            f"{size:,}): truncated or not a {published.title} batch"
        )
    rows = np.frombuffer(raw, np.uint8).reshape(records, size)
    return _arrays(published, path, rows[:, published.label_bytes :], rows[:, published.label_byte])


def _arrays(
    published: _Published, path: Path, planes: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels plane by plane, uint8 (N, 3072), -> images uint8 (N, 32, 32, 3); labels int64 (N,)."""
    check_labels(path, labels, len(published.classes))
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _read_python(published: _Published, path: Path, records: int) -> tuple[np.ndarray, np.ndarray]:
    """A file of the python version: a pickled dict, read without running anything it names."""
    # a byte of a picture may take two (protocol 2 of Python 3), and each picture may have a name
    raw = read_bytes(path, records * (2 * PIXEL_BYTES + 300) + (1 << 20))
    try:
        batch = pickles.load(raw, 16 * records + 10_000)
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        data, labels = batch["data"].array, batch[published.label_key]
        if data.shape != (records, PIXEL_BYTES):
            raise ValueError(
                f"'data' must be uint8 ({records}, {PIXEL_BYTES}), is {data.dtype} {data.shape}"
            )
        if not isinstance(labels, list) or len(labels) != records:
            raise ValueError(f"{published.label_key!r} must be a list of {records:,} numbers")
        if not all(type(label) is int for label in labels):
            raise ValueError(f"{published.label_key!r} must be {records:,} whole numbers")
        labels = np.array(labels, np.int64)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(
            f"{path}: is not a {published.title} python batch "
            f"({type(error).__name__}: {reason(error)[:150]})"
        ) from None
    return _arrays(published, path, data, labels)
