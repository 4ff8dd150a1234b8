"""MNIST and Fashion-MNIST: IDX files (format: LeCun, Cortes and Burges), or Keras' mnist.npz."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
    """An IDX file of unsigned bytes, gzipped or not -> uint8 array of so many dimensions."""
    raw = read_bytes(path)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip file ({reason(error)})") from None
    if len(raw) < 4 + 4 * dimensions:
        raise InputError(
            f"{path}: has {len(raw)} bytes, too few for an IDX header: empty or truncated"
        )
    magic = struct.unpack(">I", raw[:4])[0]
    expected = 0x0800 + dimensions  # 08: unsigned byte
    if magic != expected:
        raise InputError(
            f"{path}: wrong magic number {magic}, must be {expected} "
            f"(IDX, unsigned bytes, {dimensions}-d)"
        )
    shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    body = raw[4 + 4 * dimensions :]
    if len(body) != int(np.prod(shape, dtype=object)):
        raise InputError(
            f"{path}: header says {' x '.join(map(str, shape))} bytes of data, "
            f"file has {len(body):,}: truncated or damaged"
        )
    if 0 in shape:
        raise InputError(f"{path}: holds no items")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_mnist_npz(name: str, path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    except Exception as error:
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
