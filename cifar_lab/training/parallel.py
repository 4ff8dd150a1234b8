"""Data parallelism: a training's batches divided among devices, its weights on each of them.

On JAX a step stays one program for the whole batch, which `keras.distribution.DataParallel` lays
out over the devices: sums over the batch, batch normalisation's among them, are sums over all
devices, and what is drawn at random is drawn for the whole batch. So it computes what one device
does, up to the order of the sums. On TensorFlow each device takes a step for its part of a batch,
see `mirrored`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from .. import backend
from ..devices import Devices


class DataParallel:
    """Devices of JAX that share each batch.

    Attributes:
        size: how many.
        words: the devices, for a card.
    """

    def __init__(self, devices: list, words: str):
        names = [f"{device.platform}:{device.id}" for device in devices]
        self.size, self.words = len(devices), words
        self._distribution = keras.distribution.DataParallel(
            devices=names, auto_shard_dataset=False
        )

    def scope(self) -> contextlib.AbstractContextManager:
        """Variables that are made within lie on every device."""
        return self._distribution.scope()

    def everywhere(self, array: Any) -> Any:
        """An array, on every device."""
        import jax

        return jax.device_put(array, self.replicated)

    @property
    def replicated(self) -> Any:
        """The sharding of what is the same on every device."""
        import jax

        mesh = self._distribution.device_mesh.backend_mesh
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def divided(self, indices: Any) -> Any:
        """Within a program: indices (batch,) of which each device has its share; so has it then of
        all that is computed of them."""
        import jax

        layout = self._distribution.get_data_layout(indices.shape)
        return jax.lax.with_sharding_constraint(indices, layout.backend_layout)


def of(devices: Devices | None) -> Any:
    """What divides batches among these devices, a DataParallel or a mirrored.MirroredDevices; None
    where there is one device. Raises InputError where there are fewer than asked for."""
    if devices is None:
        return None
    found = backend.wanted(devices)
    words = backend.described(found)
    if backend.is_jax():
        found, words = _of_all_processes(found, words)
    if len(found) < 2:
        return None
    if backend.is_tensorflow():
        from .mirrored import MirroredDevices

        return MirroredDevices(found, words)
    return DataParallel(found, words)


def _of_all_processes(found: list, words: str) -> tuple[list, str]:
    """The devices of all processes, of each as many as of this one, and in words."""
    import jax

    count = jax.process_count()
    if count == 1:
        return found, words
    every = []
    for process in range(count):
        theirs = [d for d in jax.devices() if d.process_index == process]
        every += theirs[: len(found)]
    return every, f"{words}, in each of {count} processes"


# --- a device's part of a batch, on TensorFlow ---


@dataclass(frozen=True)
class Part:
    """Images start to stop of the `total` ones of a batch, which a device of `size` takes; all,
    where there are fewer images than devices. Tensors, but for size."""

    total: Any
    start: Any
    stop: Any
    size: int

    def weights(self) -> Any:
        """Of the part's images: with them the mean over devices of the parts' mean losses is the
        loss of the batch. float32 (stop - start,)."""
        count = ops.cast(self.stop - self.start, "float32")
        share = self.size * count / ops.cast(self.total, "float32")
        share = ops.where(self.total < self.size, 1.0, share)
        return ops.broadcast_to(share, (self.stop - self.start,))


_place = threading.local()  # each device's step is traced in a thread of its own


def part() -> Part | None:
    """The part of a batch that the step which is being traced takes; None for the whole."""
    return getattr(_place, "part", None)


@contextlib.contextmanager
def taking_part(indices: Any) -> Iterator[Part]:
    """Within: the part of a batch of this device, in its replica context of TensorFlow."""
    import tensorflow as tf

    context, total = tf.distribute.get_replica_context(), tf.shape(indices)[0]
    size = context.num_replicas_in_sync
    place = tf.cast(context.replica_id_in_sync_group, "int32")
    few = total < size
    start = tf.where(few, 0, place * total // size)
    stop = tf.where(few, total, (place + 1) * total // size)
    _place.part = Part(total, start, stop, size)
    try:
        yield _place.part
    finally:
        _place.part = None


def uniform(shape: tuple, seed: keras.random.SeedGenerator, axis: int) -> Any:
    """keras.random.uniform, drawn for the whole batch where this is a part of one.

    axis: that of the images, the first or the last.
    """
    here = part()
    if here is None:
        return keras.random.uniform(shape, seed=seed)
    whole = list(shape)
    whole[axis] = here.total
    drawn = keras.random.uniform(whole, seed=seed)
    return drawn[here.start : here.stop] if axis == 0 else drawn[..., here.start : here.stop]


def gathered(images: Any) -> tuple[Any, Any]:
    """(images of the whole batch, how many these are) of a part's images (or the whole's)."""
    here = part()
    if here is None:
        return images, ops.shape(images)[0]
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_gather(images, axis=0), here.total
