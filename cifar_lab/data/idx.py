"""MNIST and Fashion-MNIST: IDX files (format: LeCun, Cortes and Burges), or Keras' mnist.npz."""

import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import arrays
from ..errors import InputError, reason
from .dataset import Dataset, Incomplete, check_classes_present, check_labels, read_bytes

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MNIST_CLASSES = tuple("0123456789")
MOST_ITEMS = 250_000  # of a file; EMNIST's digits are 240,000
_AT_ONCE = 1 << 16  # bytes that are inflated at a time
_MOST_MEMBERS = 100_000  # of a gzip file
_ZEROS = re.compile(rb"\0*")  # may follow a member of one, to fill a block
STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def find_mnist(name: str, root: Path) -> Dataset | None:
    """Read MNIST from a folder: four IDX files, or Keras' mnist.npz. As `find_idx`."""
    found = find_idx(name, MNIST_CLASSES, root, "MNIST", ("fashion-mnist",))
    npz = root / "mnist.npz"
    return _read_mnist_npz(name, npz) if found is None and npz.is_file() else found


def find_fashion_mnist(name: str, root: Path) -> Dataset | None:
    """Read Fashion-MNIST from a folder of four IDX files. As `find_idx`."""
    return find_idx(name, FASHION_MNIST_CLASSES, root, "FashionMNIST", ("mnist",))


def find_idx(
    name: str, classes: tuple[str, ...], root: Path, torchvision: str, others: Sequence[str]
) -> Dataset | None:
    """Read a set of 28 x 28 grey images from four IDX files, gzipped or not.

    Args:
        name: the data set's name, which its folder may have.
        classes: class names, ten.
        root: folder that holds the files, or a folder of them.
        torchvision: what torchvision calls the set's folder (its files lie in raw/ below).
        others: names of the sets with the same file names; a folder called so is not this set.

    Returns:
        Dataset, images (N, 28, 28, 1); None where root holds no IDX files of this set.

    Raises:
        Incomplete: one of the four files is missing.
        InputError: a file is damaged.
    """
    folders = [root / name, root / torchvision / "raw"]
    if root.resolve().name not in others:
        folders.append(root)
    for folder in folders:
        found = [_idx_file(folder, stem) for stem in STEMS]
        called_so = folder == root / name and folder.is_dir()
        if not any(found) and not called_so:
            continue
        files = []
        for stem, file in zip(STEMS, found, strict=True):
            if file is None:
                raise Incomplete(
                    f"{folder / stem}[.gz]: is missing; {name} needs {', '.join(STEMS)}"
                )
            files.append(file)
        x, y, x_test, y_test = (_read_idx(f, 3 if "images" in f.name else 1) for f in files)
        return _grey_dataset(name, classes, (x, y, files[1]), (x_test, y_test, files[3]))
    return None


def _idx_file(folder: Path, stem: str) -> Path | None:
    return next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped or not -> uint8 array of so many dimensions, of the
    sides of MNIST's. What its header says is looked at before the rest is unpacked."""
    start = 4 + 4 * dimensions
    most = start + MOST_ITEMS * (28 * 28 if dimensions == 3 else 1)
    content = read_bytes(path, most)
    zipped = content[:2] == b"\x1f\x8b"
    head = _gunzipped(path, content, start) if zipped else content[:start]
    if len(head) < start:
        raise InputError(
            f"{path}: has {len(head)} bytes, too few for an IDX header: empty or truncated"
        )
    magic, *shape = struct.unpack_from(f">{1 + dimensions}I", head)
    expected = 0x0800 + dimensions  # 08: unsigned byte
    if magic != expected:
        raise InputError(
            f"{path}: wrong magic number {magic}, must be {expected} "
            f"(IDX, unsigned bytes, {dimensions}-d)"
        )
    size = math.prod(shape)
    if shape[0] > MOST_ITEMS or start + size > most:
        raise InputError(
            f"{path}: header says {' x '.join(map(str, shape))}, may be {MOST_ITEMS:,} items of "
            "28 x 28"
        )
    raw = _gunzipped(path, content, start + size) if zipped else content
    if len(raw) != start + size:
        more = "more than that" if zipped and len(raw) > start + size else f"{len(raw) - start:,}"
        raise InputError(
            f"{path}: header says {' x '.join(map(str, shape))} bytes of data, "
            f"file has {more}: truncated or damaged"
        )
    if 0 in shape:
        raise InputError(f"{path}: holds no items")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _gunzipped(path: Path, raw: bytes, most: int) -> bytearray:
    """The first `most` bytes, and one more where there are more, of gzip data of any number of
    members (RFC 1952), checksums included. InputError where they are damaged."""
    view, at, members, found = memoryview(raw), 0, 0, bytearray()
    try:
        while at < len(view):
            members += 1
            if members > _MOST_MEMBERS:
                raise EOFError(f"has more than {_MOST_MEMBERS:,} parts")
            member, pending = zlib.decompressobj(31), b""
            while not member.eof:
                if not pending:
                    pending = bytes(view[at : at + _AT_ONCE])
                    at += len(pending)
                if not pending:
                    raise EOFError("ended before its end was marked")
                found += member.decompress(pending, most + 1 - len(found))
                if len(found) > most:
                    return found
                pending = member.unconsumed_tail
            at -= len(member.unused_data)
            filled = _ZEROS.match(raw, at)
            at = filled.end() if filled else at
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({reason(error)})") from None
    return found


def _read_mnist_npz(name: str, path: Path) -> Dataset:
    names = ("x_train", "y_train", "x_test", "y_test")
    limits = arrays.Limits(2 * MOST_ITEMS * (28 * 28 + 8))
    try:
        found = arrays.read(path, limits, names)
        x, y, x_test, y_test = (found[key] for key in names)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not Keras' mnist.npz ({reason(error)[:150]})") from None
    return _grey_dataset(name, MNIST_CLASSES, (x, y, path), (x_test, y_test, path))


def _grey_dataset(
    name: str,
    classes: tuple[str, ...],
    train: tuple[np.ndarray, np.ndarray, Path],
    test: tuple[np.ndarray, np.ndarray, Path],
) -> Dataset:
    """Dataset of two (images, labels, file to name in an error), checked."""
    for images, labels, file in (train, test):
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise InputError(
                f"{file}: images must be 28 x 28 bytes, are "
                f"{' x '.join(map(str, images.shape[1:]))} {images.dtype}"
            )
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise InputError(f"{file}: has {labels.size:,} labels for {len(images):,} images")
        check_labels(file, labels, len(classes))
    check_classes_present(train[2], train[1], classes)
    return Dataset(
        name,
        classes,
        train[0][..., None],
        train[1].astype(np.int64),
        test[0][..., None],
        test[1].astype(np.int64),
    )
