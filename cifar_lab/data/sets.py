"""The data sets that have a name, one entry each; from a name or a folder to a Dataset."""

import contextlib
import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import PIL

from .. import memory, schema
from ..errors import InputError, reason
from ..terminal import doing
from . import cache, many, synthetic
from .cifar import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_COARSE_CLASSES,
    find_cifar10,
    find_cifar100,
    find_cifar100_coarse,
)
from .dataset import Dataset, Incomplete
from .folders import folder_classes, load_folder
from .idx import FASHION_MNIST_CLASSES, MNIST_CLASSES, find_fashion_mnist, find_mnist
from .names import same_classes
from .on_disk import is_on_disk, mapped, only
from .pictures import fit_images

_PIECE = 500  # images that are brought to a size at a time, where they are left on disk


@dataclass(frozen=True)
class Published:
    """A data set that its authors publish and `keras.datasets` downloads.

    Fields:
        classes: class names; a label is an index into them.
        find: (name, folder) -> Dataset, or None where the folder holds no such set.
        layout: what a folder of the set looks like, for errors.
        download_mb: what the download fetches, in MB.
        keras_name: its module of `keras.datasets`, where that is not `name` with underscores.
        keras_options: keyword arguments of that module's `load_data`.
    """

    classes: tuple[str, ...]
    find: Callable[[str, Path], Dataset | None]
    layout: str
    download_mb: int
    keras_name: str = ""
    keras_options: dict = field(default_factory=dict)


CIFAR100_LAYOUT = "cifar-100-binary/ (train.bin, test.bin) or cifar-100-python/"
PUBLISHED = {
    "cifar10": Published(
        CIFAR10_CLASSES,
        find_cifar10,
        "cifar-10-batches-bin/ (data_batch_1.bin ... test_batch.bin) or cifar-10-batches-py/",
        170,
    ),
    "cifar100": Published(CIFAR100_CLASSES, find_cifar100, CIFAR100_LAYOUT, 169),
    "cifar100-coarse": Published(
        CIFAR100_COARSE_CLASSES,
        find_cifar100_coarse,
        CIFAR100_LAYOUT,
        169,
        "cifar100",
        {"label_mode": "coarse"},
    ),
    "fashion-mnist": Published(
        FASHION_MNIST_CLASSES,
        find_fashion_mnist,
        "fashion-mnist/ (train-images-idx3-ubyte[.gz] ...)",
        31,
    ),
    "mnist": Published(MNIST_CLASSES, find_mnist, "mnist/ (train-images-idx3-ubyte[.gz] ...)", 11),
}
NAMES = (*PUBLISHED, "synthetic")
CLASSES = {
    **{name: published.classes for name, published in PUBLISHED.items()},
    "synthetic": synthetic.CLASSES,
}


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    input_shape: Sequence[int] | None = None,
    notice: Callable[[str], None] = lambda line: None,
    test_only: bool = False,
    skip_damaged: bool = False,
    data_in: str | None = None,
) -> Dataset:
    """Read a data set whole.

    Args:
        name: one of `NAMES` ("synthetic:occlusion=1,clutter=0" sets its dials,
            "synthetic:images=100000" has so many train images), or a folder of images with one
            subfolder a class. "mnist:3,8" has these classes alone, labelled in this order.
        data_dir: folder with real data in a publisher's layout: the set's own folder, or the
            parent of several. Default: the environment's CIFAR_LAB_DATA; where neither is given,
            the Keras cache, and then a download.
        input_shape: (height, width, channels) that images are brought to; None keeps the set's own
            (and is an error for a folder, whose images may differ in size).
        notice: called with a line for the user before something slow or unusual.
        test_only: the train split is not needed: none is drawn of the embedded data (1.5 s
            instead of 8).
        skip_damaged: leave damaged files of a folder out, with a line; the result names them.
        data_in: where the images are then: "memory", "disk" (a file in the user's cache, see
            `OnDisk`), or "auto", on disk what would take over a quarter of the memory that is free;
            None: what CIFAR_LAB_DATA_IN says, else "auto".

    Returns:
        Dataset.

    Raises:
        InputError: no such data, or a file that is damaged; the line names it. The images are to
            be on disk, and the cache cannot be written.
    """
    data_in = memory.choice(data_in)
    if is_folder(name):
        with doing(notice, f"reading {os.path.basename(os.path.abspath(name))}"):
            return load_folder(name, input_shape, notice, skip_damaged, data_in)
    whole, kept = split_name(name)
    with doing(notice, f"reading {name}"):
        if whole in PUBLISHED:
            dataset = _load_published(whole, data_dir, notice)
        else:
            dataset, data_in = _load_synthetic(whole, input_shape, notice, test_only, data_in)
    if kept:
        dataset = replace(_with_classes(dataset, kept), name=name)
    return _placed(dataset, input_shape, notice, data_in)


def _load_synthetic(
    name: str,
    input_shape: Sequence[int] | None,
    notice: Callable[[str], None],
    test_only: bool,
    data_in: str,
) -> tuple[Dataset, str]:
    """(the embedded set, `data_in` for what is still to be done with it). Where the name says how
    many images, they are at their size and in their place already."""
    images, dials = synthetic.parse(name)
    if test_only or images is None:
        arrays = synthetic.load(**({"train_size": 0} if test_only else {}), dials=dials)
        return Dataset(name, synthetic.CLASSES, *arrays), data_in
    shape = tuple(input_shape or (synthetic.SIZE, synthetic.SIZE, 3))
    has_cache = cache.place() is not None
    on_disk = memory.stay_on_disk(data_in, images, math.prod(shape), name, notice, has_cache)
    train = many.load(images, shape, dials, notice, on_disk)
    _, _, test_images, test_labels = synthetic.load(0, dials=dials)
    test_images = (_file_of if on_disk else fit_images)(test_images, shape)
    dataset = Dataset(name, synthetic.CLASSES, *train, test_images, test_labels)
    return dataset, "disk" if on_disk else "memory"


def _placed(
    dataset: Dataset,
    input_shape: Sequence[int] | None,
    notice: Callable[[str], None],
    data_in: str,
) -> Dataset:
    """The set with its images at the size that is asked for, in memory or on disk."""
    train, test = dataset.train_images, dataset.test_images
    if is_on_disk(train):
        return dataset
    shape = tuple(input_shape or train.shape[1:])
    count, has_cache = len(train) + len(test), cache.place() is not None
    on_disk = memory.stay_on_disk(data_in, count, math.prod(shape), dataset.name, notice, has_cache)
    place = _file_of if on_disk else fit_images
    return replace(dataset, train_images=place(train, shape), test_images=place(test, shape))


def _file_of(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Images brought to a shape, OnDisk: in a file of the cache, which other processes use too. An
    empty array stays one. Raises InputError where the file cannot be written."""
    if not len(images):
        return fit_images(images, shape)
    digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    key = f"{digest} of {images.shape}, {cache.READER}, {PIL.__version__}"

    def fitted() -> Iterator[np.ndarray]:
        for start in range(0, len(images), _PIECE):
            yield fit_images(images[start : start + _PIECE], shape)

    return mapped(cache.on_disk(key, shape, len(images), fitted))


def is_folder(name: str) -> bool:
    """Whether a data name is a folder's; False for one of `NAMES`.

    Raises:
        InputError: it is neither, or the classes or dials that it asks for are wrong.
    """
    whole, _ = split_name(name)
    if whole in PUBLISHED:
        return False
    if whole.split(":")[0] == "synthetic":
        synthetic.parse(whole)
        return False
    if not os.path.isdir(name):
        raise InputError(
            f"data {name!r}{schema.meant(name, NAMES)}: must be one of {', '.join(NAMES)}, or a "
            "folder of images with one subfolder a class; there is no such folder"
        )
    return True


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """(name of the whole set, its classes to keep) of "mnist:3,8"; () for all classes.

    "synthetic:disc,ring,occlusion=1" gives ("synthetic:occlusion=1", ("disc", "ring")). Of a
    folder, its name. Raises InputError for a class that the set does not have, for one that is
    named twice, and for one class alone.
    """
    base, colon, settings = name.partition(":")
    if base not in NAMES or not colon:
        return name, ()
    parts = [part.strip() for part in settings.split(",")]
    dials = [part for part in parts if "=" in part and base == "synthetic"]
    kept = tuple(part for part in parts if part and part not in dials)
    if kept or base in PUBLISHED:
        check_kept(base, kept, f"data {name!r}")
    return (f"{base}:{','.join(dials)}" if dials else base), kept


def check_kept(base: str, kept: Sequence[str], where: str = "`classes`") -> None:
    """InputError where classes to keep, by name, are not at least two different ones of a set's.

    base: one of `NAMES`. where: how the error begins.
    """
    for name in kept:
        if name not in CLASSES[base]:
            raise InputError(
                f"{where}: {base} has no class {name!r}; it has {_some(CLASSES[base])}"
            )
    if len(set(kept)) < max(len(kept), 2):
        raise InputError(
            f"{where}: must name at least two different classes, received "
            f"{','.join(kept) or 'none'}"
        )


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def classes_of(name: str) -> tuple[str, ...]:
    """The classes of a data name that is no folder's, told without reading data."""
    whole, kept = split_name(name)
    return kept or CLASSES[whole.split(":")[0]]


def num_classes(name: str) -> int:
    """How many classes a data set or a folder has, told without reading or downloading it.

    Raises InputError for a folder of fewer than two.
    """
    if not is_folder(name):
        return len(classes_of(name))
    count = len(folder_classes(name))
    if count < 2:
        raise InputError(
            f"{name}: needs one subfolder a class and at least two classes, has {count}"
        )
    return count


def with_classes(name: str, kept: Sequence[str]) -> str:
    """The data name of these classes alone, `kept` in place of those that `name` keeps.

    Raises InputError for a folder, and for classes that the set does not have.
    """
    if is_folder(name):
        raise InputError(
            f"`classes`: {name} is a folder, whose classes are its subfolders; leave some out there"
        )
    whole = split_name(name)[0]
    check_kept(whole.split(":")[0], kept)
    return f"{whole}{',' if ':' in whole else ':'}{','.join(kept)}"


def _with_classes(dataset: Dataset, kept: Sequence[str]) -> Dataset:
    """The images of these classes, in their order in the set; a label is an index into `kept`."""
    places = np.full(len(dataset.classes), -1)
    places[[dataset.classes.index(name) for name in kept]] = range(len(kept))
    train, test = places[dataset.train_labels], places[dataset.test_labels]
    return replace(
        dataset,
        classes=tuple(kept),
        train_images=only(dataset.train_images, train >= 0),
        train_labels=train[train >= 0].astype(np.int64),
        test_images=only(dataset.test_images, test >= 0),
        test_labels=test[test >= 0].astype(np.int64),
    )


def check(
    name: str,
    data_dir: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Refuse what `load` would refuse, as far as that shows without reading data.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        classes: those that the data must have; a folder's are not checked here.

    Raises:
        InputError: no such data, or other classes.
    """
    if is_folder(name):
        return
    if split_name(name)[0] in PUBLISHED:
        _given_root(data_dir)
    if classes is not None:
        check_classes(name, classes_of(name), classes)


def check_classes(name: str, classes: Sequence[str], expected: Sequence[str]) -> None:
    """InputError where the classes of the data `name` are not those expected of a bundle's."""
    if not same_classes(classes, expected):
        raise InputError(
            f"`data` {name}: its classes ({', '.join(classes[:3])}, ...) are not those of the "
            f"bundle ({', '.join(expected[:3])}, ...)"
        )


def _given_root(data_dir: str | os.PathLike | None) -> tuple[Path | None, str]:
    """(the folder of real data that was named, how: for an error); None and "" where none was."""
    given = data_dir or os.environ.get("CIFAR_LAB_DATA")
    if not given:
        return None, ""
    named = f"{'`data_dir`' if data_dir else 'CIFAR_LAB_DATA'} {given}"
    if not os.path.isdir(given):
        raise InputError(f"{named}: is not a folder")
    return Path(given), named


def _load_published(
    name: str, data_dir: str | os.PathLike | None, notice: Callable[[str], None]
) -> Dataset:
    from .. import backend

    published = PUBLISHED[name]
    root, named = _given_root(data_dir)
    if root:
        found = published.find(name, root)
        if found is None:
            raise InputError(
                f"{named}: holds no {name}; looked for {published.layout}{_archive_hint(root)} "
                "(without `data_dir` and CIFAR_LAB_DATA it is downloaded; "
                "`data` synthetic needs no data)"
            )
        return found
    cache = Path(backend.keras_home()) / "datasets"
    try:
        found = published.find(name, cache) if cache.is_dir() else None
    except Incomplete:  # an earlier download was interrupted
        found = None
    except InputError as error:
        raise InputError(
            f"{error} (in the Keras cache: delete it, and it is downloaded again)"
        ) from None
    return found if found is not None else _download(name, notice)


def _archive_hint(root: Path) -> str:
    archives = sorted(p.name for p in root.glob("cifar-10*.tar.gz"))
    return f"; unpack {archives[0]} first (tar xzf)" if archives else ""


def _download(name: str, notice: Callable[[str], None]) -> Dataset:
    from .. import backend

    backend.start()
    import keras

    published = PUBLISHED[name]
    notice(
        f"{name} is not on this machine: downloading about {published.download_mb} MB "
        "into the Keras cache"
    )
    try:
        module = getattr(keras.datasets, published.keras_name or name.replace("-", "_"))
        with contextlib.redirect_stdout(sys.stderr), backend.downloads("datasets"):  # a bar
            (x, y), (x_test, y_test) = module.load_data(**published.keras_options)
    except Exception as error:  # whatever the network, the server or the archive did
        raise InputError(
            f"{name}: download failed ({reason(error)[:200]}); put {published.layout} in a folder "
            "and name it with `data_dir` or CIFAR_LAB_DATA, or use `data` synthetic, "
            "which needs no data"
        ) from None
    x, x_test = (a if a.ndim == 4 else a[..., None] for a in (x, x_test))
    y, y_test = (a.reshape(-1).astype(np.int64) for a in (y, y_test))
    return Dataset(name, published.classes, x, y, x_test, y_test)
