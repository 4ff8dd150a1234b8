"""Find, read and check data sets: CIFAR-10, Fashion-MNIST, MNIST, the embedded one, a folder of images.

Images are uint8 (N, height, width, channels), 0-255; labels are int64 (N,), indices into the class
names. Files are read and checked whole before anything is returned. This module imports no Keras
(a download through `keras.datasets` apart).
"""
import contextlib
import gzip
import hashlib
import os
import pickle
import struct
import sys
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from . import synthetic
from .errors import InputError, reason

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION_MNIST_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                         "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MNIST_CLASSES = tuple("0123456789")
CIFAR10_RECORD_BYTES = 1 + 3 * 32 * 32
CIFAR10_RECORDS = 10_000  # in each of the six files
DOWNLOAD_MB = {"cifar10": 170, "fashion-mnist": 31, "mnist": 11}  # what keras.datasets fetches
NAMES = (*DOWNLOAD_MB, "synthetic")
CLASSES = {"cifar10": CIFAR10_CLASSES, "fashion-mnist": FASHION_MNIST_CLASSES, "mnist": MNIST_CLASSES, "synthetic": synthetic.CLASSES}


@dataclass(frozen=True)
class Dataset:
    """Images and labels in two splits.

    Fields:
        name: a name of `NAMES` or the path of a folder, as it was asked for.
        classes: class names; a label is an index into them.
        train_images, test_images: uint8 (N, height, width, channels), 0-255.
        train_labels, test_labels: int64 (N,).
        note: what a reader of a figure must know of the data, or "".
    """

    name: str
    classes: tuple
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    note: str = ""

    def train_sha256(self):
        """Hex digest of the train images, labels and class names."""
        return _digest(self.classes, self.train_images, self.train_labels)

    def test_sha256(self):
        """Hex digest of the test images, labels and class names."""
        return _digest(self.classes, self.test_images, self.test_labels)


def _digest(classes, images, labels):
    digest = hashlib.sha256("\n".join(classes).encode())
    digest.update(str(images.shape).encode())
    digest.update(np.ascontiguousarray(images))
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def load(name, data_dir=None, input_shape=None, notice=lambda line: None, test_only=False):
    """Read a data set whole.

    Args:
        name: one of `NAMES` ("synthetic:occlusion=1,clutter=0" sets its dials), or a folder of
            images with one subfolder a class.
        data_dir: folder with real data in a publisher's layout: the set's own folder, or the
            parent of several. Default: the environment's CIFAR_LAB_DATA; where neither is given,
            the Keras cache, and then a download.
        input_shape: (height, width, channels) that images are brought to; None keeps the set's own
            (and is an error for a folder, whose images may differ in size).
        notice: called with a line for the user before something slow or unusual.
        test_only: the train split is not needed: none is drawn of the embedded data (1.5 s instead of 8).

    Returns:
        Dataset.

    Raises:
        InputError: no such data, or a file that is damaged; the line names it.
    """
    if is_folder(name):
        return _load_folder(name, input_shape, notice)
    if name.split(":")[0] == "synthetic":
        sizes = {"train_size": 0} if test_only else {}
        dataset = Dataset(name, synthetic.CLASSES, *synthetic.load(**sizes, dials=synthetic.parse_dials(name)))
    else:
        dataset = _load_real(name, data_dir, notice)
    if input_shape is not None:
        dataset = replace(dataset, train_images=fit_images(dataset.train_images, input_shape),
                          test_images=fit_images(dataset.test_images, input_shape))
    return dataset


def is_folder(name):
    """Whether a data name is that of a folder; False for one of `NAMES`. InputError where it is neither, or has wrong dials."""
    if name in DOWNLOAD_MB:
        return False
    if name.split(":")[0] == "synthetic":
        synthetic.parse_dials(name)
        return False
    if not os.path.isdir(name):
        raise InputError(f"data {name!r}: must be one of {', '.join(NAMES)}, or a folder of images with one "
                         "subfolder a class; there is no such folder")
    return True


def check(name, data_dir=None, classes=None):
    """What `load` refuses without reading data, an InputError: for those who would do much before they load.

    classes: those that the data must have, where they are known beforehand (a folder's are not).
    """
    if is_folder(name):
        return
    if name in DOWNLOAD_MB:
        _given_root(data_dir)
    if classes is not None:
        check_classes(name, CLASSES[name.split(":")[0]], classes)


def check_classes(name, classes, expected):
    """InputError where the classes of the data `name` are not those expected of a bundle's."""
    if list(classes) != list(expected):
        raise InputError(f"--data {name}: its classes ({', '.join(classes[:3])}, ...) are not those of the bundle "
                         f"({', '.join(expected[:3])}, ...)")


def _given_root(data_dir):
    """(the folder of real data that was named, how: for an error), None and "" where none was. InputError: there is no such."""
    given = data_dir or os.environ.get("CIFAR_LAB_DATA")
    if not given:
        return None, ""
    named = f"{'--data-dir' if data_dir else 'CIFAR_LAB_DATA'} {given}"
    if not os.path.isdir(given):
        raise InputError(f"{named}: is not a folder")
    return Path(given), named


def _load_real(name, data_dir, notice):
    root, named = _given_root(data_dir)
    readers = {"cifar10": _find_cifar10, "fashion-mnist": _find_idx, "mnist": _find_idx}
    if root:
        found = readers[name](name, root)
        if found is None:
            raise InputError(
                f"{named}: holds no {name}; looked for {_LAYOUTS[name]}{_archive_hint(root)} "
                "(without --data-dir and CIFAR_LAB_DATA it is downloaded; --data synthetic needs no data)")
        return found
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    try:
        found = readers[name](name, cache) if cache.is_dir() else None
    except _Incomplete:  # an earlier download was interrupted
        found = None
    except InputError as error:
        raise InputError(f"{error} (in the Keras cache: delete it, and it is downloaded again)") from None
    return found if found is not None else _download(name, notice)


class _Incomplete(InputError):
    """A file of a set is missing."""


_LAYOUTS = {
    "cifar10": "cifar-10-batches-bin/ (data_batch_1.bin ... test_batch.bin) or cifar-10-batches-py/",
    "fashion-mnist": "fashion-mnist/ (train-images-idx3-ubyte[.gz] ...)",
    "mnist": "mnist/ (train-images-idx3-ubyte[.gz] ...)",
}


def _archive_hint(root):
    archives = sorted(p.name for p in root.glob("cifar-10-*.tar.gz"))
    return f"; unpack {archives[0]} first (tar xzf)" if archives else ""


def _download(name, notice):
    from . import backend
    backend.start()
    import keras
    notice(f"{name} is not on this machine: downloading about {DOWNLOAD_MB[name]} MB into the Keras cache")
    try:
        module = getattr(keras.datasets, name.replace("-", "_"))
        with contextlib.redirect_stdout(sys.stderr):  # Keras' progress bar
            (x, y), (x_test, y_test) = module.load_data()
    except Exception as error:  # whatever the network, the server or the archive did
        raise InputError(
            f"{name}: download failed ({reason(error)[:200]}); put {_LAYOUTS[name]} in a folder and name it "
            "with --data-dir or CIFAR_LAB_DATA, or use --data synthetic, which needs no data") from None
    x, x_test = (a if a.ndim == 4 else a[..., None] for a in (x, x_test))
    y, y_test = (a.reshape(-1).astype(np.int64) for a in (y, y_test))
    return Dataset(name, CLASSES[name], x, y, x_test, y_test)


def _read_bytes(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None


# --- CIFAR-10 -----------------------------------------------------------------------------------

def _find_cifar10(name, root):
    """Dataset, or None where root holds no CIFAR-10 in a layout of its publisher."""
    members = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    layouts = [(".bin", _read_cifar10_binary, ("cifar-10-batches-bin",)),
               ("", _read_cifar10_python, ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"))]
    for ending, read, folders in layouts:
        for folder in (root, *(root / f for f in folders)):
            files = [folder / (m + ending) for m in members]
            # any one member makes it this layout: an incomplete copy is an error, not another set
            if any(f.is_file() for f in files) or folder != root and folder.is_dir():
                missing = [f for f in files if not f.is_file()]
                if missing:
                    raise _Incomplete(f"{missing[0]}: is missing; CIFAR-10 needs {', '.join(f.name for f in files)}")
                parts = [read(f) for f in files]
                train = [np.concatenate(a) for a in zip(*parts[:5])]
                _check_classes_present(folder, train[1], CIFAR10_CLASSES)
                return Dataset(name, CIFAR10_CLASSES, *train, *parts[5])
    return None


def _read_cifar10_binary(path):
    """One batch of the binary version: 10,000 records of a label byte and 3,072 pixel bytes, plane by plane."""
    raw = _read_bytes(path)
    expected = CIFAR10_RECORDS * CIFAR10_RECORD_BYTES
    if len(raw) != expected:
        raise InputError(f"{path}: has {len(raw):,} bytes, must have {expected:,} "
                         f"({CIFAR10_RECORDS:,} records of {CIFAR10_RECORD_BYTES:,}): truncated or not a CIFAR-10 batch")
    records = np.frombuffer(raw, np.uint8).reshape(CIFAR10_RECORDS, CIFAR10_RECORD_BYTES)
    return _cifar10_arrays(path, records[:, 1:], records[:, 0])


def _cifar10_arrays(path, planes, labels):
    _check_labels(path, labels, 10)
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _read_cifar10_python(path):
    """One batch of the python version: a pickled dict, read without running anything that it names."""
    try:
        batch = _ArrayUnpickler(path).load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        data, labels = batch["data"], np.asarray(batch["labels"])
        if isinstance(data, _PickledArray):
            data = data.array
        if data.dtype != np.uint8 or data.shape != (CIFAR10_RECORDS, 3072):
            raise ValueError(f"'data' must be uint8 (10000, 3072), is {data.dtype} {data.shape}")
        if labels.shape != (CIFAR10_RECORDS,) or labels.dtype.kind not in "iu":
            raise ValueError(f"'labels' must be {CIFAR10_RECORDS:,} whole numbers")
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path}: is not a CIFAR-10 python batch ({type(error).__name__}: {reason(error)[:150]})") from None
    return _cifar10_arrays(path, data, labels)


class _PickledArray:
    """Stands in for numpy.ndarray while unpickling; becomes `array` from the pickled state alone."""

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
    """Reads dicts, lists, numbers, strings and uint8 arrays; refuses every other name a pickle may call."""

    _ALLOWED = {
        "_reconstruct": lambda *_: _PickledArray(), "ndarray": _PickledArray, "dtype": _PickledDtype,
        "_frombuffer": _from_buffer, "encode": lambda text, _="latin1": text.encode("latin1"),
    }
    _MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric",
                "numpy._core.numeric", "_codecs"}

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
        raise InputError(f"{self._path}: refused, the pickle names {module}.{name}, which no CIFAR-10 batch needs")


# --- IDX files (MNIST, Fashion-MNIST) ------------------------------------------------------------

def _find_idx(name, root):
    """Dataset, or None where root holds no IDX files of this set (or, for MNIST, Keras' mnist.npz)."""
    classes = CLASSES[name]
    stems = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    # Both sets have the same file names: a folder called like the other set is not this one.
    other = "mnist" if name == "fashion-mnist" else "fashion-mnist"
    folders = [root / name, root / "MNIST" / "raw", root / "FashionMNIST" / "raw"]
    folders = [f for f in folders if f.parent == root or (f.parent.name == "MNIST") == (name == "mnist")]
    if root.resolve().name != other:
        folders.append(root)
    for folder in folders:
        files = [next((p for p in (folder / s, folder / f"{s}.gz") if p.is_file()), None) for s in stems]
        if any(files) or folder != root and folder.is_dir() and folder.name != "raw":
            for stem, file in zip(stems, files):
                if file is None:
                    raise _Incomplete(f"{folder / stem}[.gz]: is missing; {name} needs {', '.join(stems)}")
            x, y, x_test, y_test = (_read_idx(f, 3 if "images" in f.name else 1) for f in files)
            return _grey_dataset(name, classes, (x, y, files[1]), (x_test, y_test, files[3]))
    npz = root / "mnist.npz"
    return _read_mnist_npz(name, npz) if name == "mnist" and npz.is_file() else None


def _read_idx(path, dimensions):
    """An IDX file of unsigned bytes, gzipped or not (format: LeCun, Cortes and Burges) -> uint8 array."""
    raw = _read_bytes(path)
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip file ({reason(error)})") from None
    if len(raw) < 4 + 4 * dimensions:
        raise InputError(f"{path}: has {len(raw)} bytes, too few for an IDX header: empty or truncated")
    magic = struct.unpack(">I", raw[:4])[0]
    expected = 0x0800 + dimensions  # 08: unsigned byte
    if magic != expected:
        raise InputError(f"{path}: wrong magic number {magic}, must be {expected} (IDX, unsigned bytes, {dimensions}-d)")
    shape = struct.unpack(f">{dimensions}I", raw[4:4 + 4 * dimensions])
    body = raw[4 + 4 * dimensions:]
    if len(body) != int(np.prod(shape, dtype=object)):
        raise InputError(f"{path}: header says {' x '.join(map(str, shape))} bytes of data, file has {len(body):,}: "
                         "truncated or damaged")
    if 0 in shape:
        raise InputError(f"{path}: holds no items")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_mnist_npz(name, path):
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    except Exception as error:
        raise InputError(f"{path}: is not Keras' mnist.npz ({reason(error)[:150]})") from None
    return _grey_dataset(name, MNIST_CLASSES, (x, y, path), (x_test, y_test, path))


def _grey_dataset(name, classes, train, test):
    """Dataset of two (images, labels, file to name in an error), checked."""
    for images, labels, file in (train, test):
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise InputError(f"{file}: images must be 28 x 28 bytes, are {' x '.join(map(str, images.shape[1:]))} {images.dtype}")
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise InputError(f"{file}: has {labels.size:,} labels for {len(images):,} images")
        _check_labels(file, labels, len(classes))
    _check_classes_present(train[2], train[1], classes)
    return Dataset(name, classes, train[0][..., None], train[1].astype(np.int64),
                   test[0][..., None], test[1].astype(np.int64))


def _check_labels(path, labels, num_classes):
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise InputError(f"{path}: label {int(labels[wrong[0]])} at record {int(wrong[0])}, "
                         f"must be 0 to {num_classes - 1} ({len(wrong):,} such)")


def _check_classes_present(where, labels, classes):
    present = np.bincount(labels.astype(np.int64), minlength=len(classes)) > 0
    if not present.all():
        missing = [c for c, p in zip(classes, present) if not p]
        raise InputError(f"{where}: train labels name only {int(present.sum())} of {len(classes)} classes "
                         f"(none is {', '.join(missing[:3])}): mislabelled")


# --- a folder of images --------------------------------------------------------------------------

_IGNORED = {"thumbs.db", "desktop.ini"}


def class_folders(folder):
    """Sorted subfolders of `folder`, one a class; hidden ones are not counted."""
    try:
        return sorted(p for p in Path(folder).iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({reason(error)})") from None


def folder_classes(name):
    """Class names of a folder of images, without reading the images."""
    folders = class_folders(name)
    if {"train", "test"} <= {f.name for f in folders}:
        folders = class_folders(Path(name) / "train")
    return tuple(f.name for f in folders)


def _load_folder(name, input_shape, notice):
    if input_shape is None:
        raise ValueError("input_shape: must be given for a folder of images, received None")
    root, names = Path(name), {f.name for f in class_folders(name)}
    if {"train", "test"} & names and not {"train", "test"} <= names and len(names) == 1:
        raise InputError(f"{name}: has {names.pop()}/ alone; both train/ and test/ are needed, or the class folders themselves")
    if {"train", "test"} <= names:
        train, classes = read_labelled_folder(root / "train", input_shape, notice)
        test, test_classes = read_labelled_folder(root / "test", input_shape, notice)
        if classes != test_classes:
            differ = sorted(set(classes) ^ set(test_classes))
            raise InputError(f"{name}: train/ and test/ have different classes ({', '.join(differ[:3])})")
        dataset = Dataset(name, classes, *train, *test)
    else:
        (images, labels), classes = read_labelled_folder(root, input_shape, notice)
        counts = np.bincount(labels)
        if counts.min() < 3:
            raise InputError(f"{root / classes[int(counts.argmin())]}: has {counts.min()} images; without train/ and test/ "
                             "a class needs at least 3, one of them for the test set")
        train, test = stratified_split(labels, 0.2, seed=0)
        dataset = Dataset(name, classes, images[train], labels[train], images[test], labels[test],
                          note="a stratified fifth of the folder is the test set")
        notice(f"{name}: no train/ and test/ inside, so a stratified fifth ({len(test)} images) is the test set")
    return dataset


def read_labelled_folder(folder, input_shape, notice=lambda line: None, classes=None):
    """A folder with one subfolder a class -> ((images, labels), class names).

    images: uint8 (N, *input_shape); labels: int64 (N,), indices into `classes` ("/" in a class is "-" in its folder's name);
    without these, into the sorted names of the subfolders, of which there must then be two.
    Raises InputError for a missing or unknown class, an empty one, or a file that is no whole image.
    """
    folders = class_folders(folder)
    if classes is None and len(folders) < 2 or not folders:
        raise InputError(f"{folder}: needs one subfolder a class and at least two classes, has {len(folders)}")
    if classes is None:
        classes = tuple(f.name for f in folders)
    names = [name.replace("/", "-") for name in classes]  # as a folder can be called: T-shirt-top
    strangers = [f.name for f in folders if f.name not in names]
    if strangers:
        raise InputError(f"{folder}: subfolder {strangers[0]!r} is not a class of the model ({', '.join(names)})")
    images, labels, skipped = [], [], []
    for class_folder in folders:
        wanted, others = images_below(class_folder)
        skipped += others
        images += [read_image(p, input_shape) for p in wanted]
        labels += [names.index(class_folder.name)] * len(wanted)
    if skipped:
        notice(left_out(folder, skipped))
    return (np.stack(images), np.array(labels, np.int64)), classes


def images_below(folder):
    """Files in a folder and its subfolders: (those that Pillow reads by their names, the others), sorted paths. InputError where
    there is none of the first."""
    Image.init()
    known = {ending for ending, format in Image.registered_extensions().items() if format in Image.OPEN}  # not those it only writes
    files = sorted(p for p in Path(folder).rglob("*")
                   if not p.name.startswith(".") and p.name.lower() not in _IGNORED and p.is_file())
    wanted, others = [p for p in files if p.suffix.lower() in known], [p for p in files if p.suffix.lower() not in known]
    if not wanted:
        raise InputError(f"{folder}: holds no images" + (f" that Pillow reads by their names ({len(others)} other files, {others[0].name} first)"
                                                         if others else ""))
    return wanted, others


def left_out(folder, files):
    """What a user is told of files that are no images by their names."""
    return f"{folder}: {len(files)} files that are no images that Pillow reads, by their names, were left out, {files[0]} first"


def read_image(file, input_shape, name=None):
    """Any image that Pillow reads -> uint8 (height, width, channels), 0-255.

    file: a path, or a binary file object, which `name` then names in errors.

    EXIF orientation is honoured, transparency is laid on white, 16-bit grey is scaled to 8 bits, the
    first frame of an animation is taken; the shorter side is scaled to fit and the centre cropped.

    Raises:
        InputError: the file is no image, damaged, or claims over 179 million pixels.
    """
    name = name or file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns from 89 million pixels on, and refuses at twice that
            with Image.open(file) as image:
                image.load()
                return _to_array(ImageOps.exif_transpose(image), input_shape)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{name}: claims over 179 million pixels: refused as a decompression bomb") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{name}: cannot be read ({reason(error)})") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        text = "is not an image that Pillow reads" if "cannot identify" in str(error) else f"damaged image ({reason(error)[:150]})"
        raise InputError(f"{name}: {text}") from None


def _to_array(image, input_shape):
    height, width, channels = input_shape
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if values.max(initial=0) > 255:
            values = values / 257
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, channels)


def fit_images(images, input_shape):
    """uint8 (N, h, w, c) -> uint8 (N, *input_shape), as `read_image` would bring one there."""
    if images.shape[1:] == tuple(input_shape):
        return images
    fitted = [_to_array(Image.fromarray(i.squeeze(-1) if i.shape[-1] == 1 else i), input_shape) for i in images]
    return np.array(fitted, np.uint8).reshape(len(images), *input_shape)


# --- splits ---------------------------------------------------------------------------------------

def stratified_split(labels, fraction, seed):
    """Indices of two disjoint parts that cover `labels`: (rest, part), each sorted.

    `part` has about `fraction` of each class and at least one of it; labels: int (N,).
    Raises InputError where a class has fewer than two examples.
    """
    rng = np.random.default_rng([seed, 0x5B1])  # its own stream, apart from the order of epochs
    part = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise InputError(f"class {int(label)} has {len(members)} image: a split needs at least two of each class")
        part.append(members[:min(max(1, round(len(members) * fraction)), len(members) - 1)])
    part = np.sort(np.concatenate(part))
    return np.setdiff1d(np.arange(len(labels)), part), part


def check_limit(dataset, limit, flag="--limit"):
    """InputError, in words about `flag`, where limit is larger than the train split or leaves a class fewer than two images."""
    size, classes = len(dataset.train_labels), len(dataset.classes)
    if not 2 * classes <= limit <= size:
        raise InputError(f"{flag}: must be {2 * classes} to {size:,} ({dataset.name} has {size:,} train images "
                         f"of {classes} classes), received {limit}")


def limited(dataset, limit, seed):
    """`dataset` with `limit` train images, classes in proportion; the test set stays whole. Raises what `check_limit` does."""
    check_limit(dataset, limit)
    classes = len(dataset.classes)
    rng = np.random.default_rng([seed, 0x11A])
    groups = [rng.permutation(np.flatnonzero(dataset.train_labels == c)) for c in range(classes)]
    # two of each class, then the image whose class has the smallest share so far
    rank = np.concatenate([np.where(np.arange(len(g)) < 2, -1, (np.arange(len(g)) + 0.5) / len(g)) for g in groups])
    kept = np.sort(np.concatenate(groups)[np.argsort(rank, kind="stable")[:limit]])
    return replace(dataset, train_images=dataset.train_images[kept], train_labels=dataset.train_labels[kept])
