"""Find, read and check data sets: CIFAR-10, (Fashion-)MNIST, the embedded one, folders of images.

Images are uint8 (N, height, width, channels), 0-255; labels are int64 (N,), indices into the class
names. Files are read and checked whole before anything is returned; images too many for memory then
stay on disk, see OnDisk. Nothing here imports Keras (a download through `keras.datasets` apart).

    from cifar_lab import data
    dataset = data.load("cifar10")
    dataset = data.load("photos/", input_shape=(32, 32, 3))
"""

from . import synthetic
from .dataset import Dataset, picture_digests
from .folders import folder_classes, read_labelled_folder
from .layout import Splits, class_folders, images_below, left_out, splits_of
from .names import same_classes
from .on_disk import OnDisk, is_on_disk, only, pieces
from .pictures import fit_images, read_image
from .sets import (
    CLASSES,
    NAMES,
    check,
    check_classes,
    classes_of,
    is_folder,
    load,
    num_classes,
    with_classes,
)
from .splits import check_limit, limited, stratified_split

__all__ = [
    "CLASSES",
    "Dataset",
    "NAMES",
    "OnDisk",
    "Splits",
    "check",
    "check_classes",
    "check_limit",
    "class_folders",
    "classes_of",
    "fit_images",
    "folder_classes",
    "images_below",
    "is_folder",
    "is_on_disk",
    "left_out",
    "picture_digests",
    "limited",
    "load",
    "num_classes",
    "only",
    "pieces",
    "read_image",
    "read_labelled_folder",
    "same_classes",
    "splits_of",
    "stratified_split",
    "synthetic",
    "with_classes",
]
