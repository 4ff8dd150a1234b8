"""Small-image classification, from the first CNN to the edge, every step measured (Keras 3).

    import cifar_lab

    network = cifar_lab.load("cifar10-90")            # a rung that is trained and committed
    network.classify(["photo.jpg"], top=3)            # [[("cat", 0.93), ("dog", 0.04), ...]]

    card = cifar_lab.train("cifar10-74", "synthetic", limit=1000, epochs=2, output="runs/first")
    cifar_lab.evaluate("runs/first")["accuracy"]        # forward only, on the test images
    cifar_lab.export("runs/first", "litert-int8")       # a file for a phone or a board

`LADDER` has the rungs, each a `Recipe` with a promise; `train` also takes a `Recipe` of your own,
or a function that builds a network. `load_data` reads CIFAR-10, Fashion-MNIST, MNIST, the embedded
set and folders of images; `search` looks for good settings, `build_model` is for KerasTuner's own
tuners. `grad_cam` and `occlusion` show where on a picture a network sees a class. Wrong requests
raise `InputError`, a ValueError whose message is one line.

Importing the package imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import build_model, evaluate, export, load, load_data, search, train
    from .data import Dataset
    from .errors import InputError
    from .explaining import grad_cam, occlusion
    from .inference import Classifier
    from .ladder import LADDER, Rung
    from .recipe import Augmentation, Recipe

# ONNX Runtime sends Microsoft what it runs on, and keeps a device's id in the user's cache, unless
# this is set before anything imports it: us, tf2onnx, or a process of ours (docs/security.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.3.0"
__all__ = [
    "LADDER",
    "Augmentation",
    "Classifier",
    "Dataset",
    "InputError",
    "Recipe",
    "Rung",
    "build_model",
    "evaluate",
    "export",
    "grad_cam",
    "load",
    "load_data",
    "occlusion",
    "search",
    "train",
]

_HOMES = {
    **dict.fromkeys(("train", "evaluate", "load", "load_data", "export", "search"), "api"),
    "build_model": "api",
    **dict.fromkeys(("LADDER", "Rung"), "ladder"),
    **dict.fromkeys(("Recipe", "Augmentation"), "recipe"),
    **dict.fromkeys(("grad_cam", "occlusion"), "explaining"),
    "Classifier": "inference",
    "Dataset": "data",
    "InputError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
