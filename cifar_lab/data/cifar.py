"""CIFAR-10 as published, binary or pickled (https://www.cs.toronto.edu/~kriz/cifar.html)."""

import pickle
from pathlib import Path

import numpy as np

from ..errors import InputError, reason
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
RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS = 10_000  # in each of the six files
BINARY_FOLDERS = ("cifar-10-batches-bin",)
PYTHON_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py")


def find_cifar10(name: str, root: Path) -> Dataset | None:
    """Read CIFAR-10 from a folder.

    Args:
        name: the data set's name, for the result.
        root: folder that holds the six files, or the publisher's folder of them.

    Returns:
        Dataset, images (N, 32, 32, 3); None where root holds no CIFAR-10 in a
        layout of its publisher.

    Raises:
        Incomplete: one of the six files is missing.
        InputError: a file is damaged.
    """
    members = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    layouts = [(".bin", _read_binary, BINARY_FOLDERS), ("", _read_python, PYTHON_FOLDERS)]
    for ending, read, folders in layouts:
        for folder in (root, *(root / f for f in folders)):
            files = [folder / (m + ending) for m in members]
            # any one member makes it this layout: an incomplete copy is an error, not another set
            if any(f.is_file() for f in files) or folder != root and folder.is_dir():
                missing = [f for f in files if not f.is_file()]
                if missing:
                    needed = ", ".join(f.name for f in files)
                    raise Incomplete(f"{missing[0]}: is missing; CIFAR-10 needs {needed}")
                parts = [read(f) for f in files]
                images = np.concatenate([images for images, _ in parts[:5]])
                labels = np.concatenate([labels for _, labels in parts[:5]])
                check_classes_present(folder, labels, CIFAR10_CLASSES)
                return Dataset(name, CIFAR10_CLASSES, images, labels, *parts[5])
    return None


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch of the binary version: 10,000 records of a label byte and 3,072 pixel bytes."""
    raw = read_bytes(path)
    expected = RECORDS * RECORD_BYTES
    if len(raw) != expected:
        raise InputError(
            f"{path}: has {len(raw):,} bytes, must have {expected:,} ({RECORDS:,} records of "
            f"{RECORD_BYTES:,}): truncated or not a CIFAR-10 batch"
        )
    records = np.frombuffer(raw, np.uint8).reshape(RECORDS, RECORD_BYTES)
    return _arrays(path, records[:, 1:], records[:, 0])


def _arrays(path: Path, planes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels plane by plane, uint8 (N, 3072), -> images uint8 (N, 32, 32, 3); labels int64 (N,)."""
    check_labels(path, labels, len(CIFAR10_CLASSES))
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch of the python version: a pickled dict, read without running anything it names."""
    try:
        batch = _ArrayUnpickler(path).load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        data, labels = batch["data"], np.asarray(batch["labels"])
        if isinstance(data, _PickledArray):
            data = data.array
        if data.dtype != np.uint8 or data.shape != (RECORDS, 3072):
            raise ValueError(f"'data' must be uint8 (10000, 3072), is {data.dtype} {data.shape}")
        if labels.shape != (RECORDS,) or labels.dtype.kind not in "iu":
            raise ValueError(f"'labels' must be {RECORDS:,} whole numbers")
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(
            f"{path}: is not a CIFAR-10 python batch "
            f"({type(error).__name__}: {reason(error)[:150]})"
        ) from None
    return _arrays(path, data, labels)


class _PickledArray:
    """Stands in for numpy.ndarray while unpickling; its `array` is read from the state alone."""

    def __setstate__(self, state):
        _version, shape, dtype, fortran, raw = state
        if getattr(dtype, "kind", None) != "u1" or not isinstance(raw, bytes):
            raise ValueError("holds an array that is not uint8")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


class _PickledDtype:
    """Stands in for numpy.dtype."""

    def __init__(self, kind, *_):
        self.kind = kind.decode() if isinstance(kind, bytes) else kind  # bytes in a Python 2 pickle

    def __setstate__(self, state):
        pass


def _from_buffer(raw, dtype, shape, order):
    if dtype.kind != "u1":
        raise ValueError("holds an array that is not uint8")
    return np.frombuffer(bytes(raw), np.uint8).reshape(shape, order=order)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, lists, numbers, strings and uint8 arrays; refuses every other name."""

    _ALLOWED = {
        "_reconstruct": lambda *_: _PickledArray(),
        "ndarray": _PickledArray,
        "dtype": _PickledDtype,
        "_frombuffer": _from_buffer,
        "encode": lambda text, _="latin1": text.encode("latin1"),
    }
    _MODULES = {
        "numpy",
        "numpy.core.multiarray",
        "numpy._core.multiarray",
        "numpy.core.numeric",
        "numpy._core.numeric",
        "_codecs",
    }

    def __init__(self, path):
        self._path = path
        self._file = open(path, "rb")
        super().__init__(self._file, encoding="bytes")

    def load(self):
        with self._file:
            return super().load()

    def find_class(self, module, name):
        if module in self._MODULES and name in self._ALLOWED:
            return self._ALLOWED[name]
        raise InputError(
            f"{self._path}: refused, the pickle names {module}.{name}, "
            "which no CIFAR-10 batch needs"
        )
