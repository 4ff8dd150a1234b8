"""A file that needs numpy alone: the network of `cifar_lab.scratch`, folded, as an `.npz`."""

from pathlib import Path

import numpy as np

PACKAGES = ()
VERSIONS = ("numpy",)


def write(model, path: Path, calibration: np.ndarray | None) -> None:
    """Write keras.Model `model` to `path`; calibration images are not used.

    Raises:
        ValueError: the model has a layer, or a setting of one, that `cifar_lab.scratch` has not.
    """
    from .. import scratch

    network = scratch.folded(scratch.load(model))
    with open(path, "wb") as file:
        scratch.save(network, tuple(model.input_shape[1:]), file)
