"""Batches of images that do not lie on the device: read in the order of the epoch by a thread, some
batches ahead of the step that takes them.

A batch is what the lookup on the device would give: the same images in the same places, so that
what is drawn for each place of a batch, and the result, are the same.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from .. import backend

#: Read ahead: as many batches as take these bytes, within bounds.
AHEAD_BYTES, LEAST_AHEAD, MOST_AHEAD = 32 << 20, 2, 16

Batch = tuple[Any, np.ndarray]


class Feed:
    """One pass over images, as Keras' `fit` and `evaluate` take it. To be used within a `with`: a
    thread reads, from the first batch that is asked for until the end of the `with`.

    Args:
        images: uint8 (N, height, width, channels), in memory or OnDisk.
        order: int32 (M,), indices of the images in their order.
        batch_size: the last batch is as small as it must be.
        targets: gives the targets of indices, float32 (batch, classes).
        indexed: whether a batch is a dict of "pixels" and "index", not the pixels alone.
    """

    def __init__(
        self,
        images: np.ndarray,
        order: np.ndarray,
        batch_size: int,
        targets: Callable[[np.ndarray], np.ndarray],
        indexed: bool,
    ):
        self.images, self.order, self.batch_size = images, order, batch_size
        self.targets, self.indexed = targets, indexed
        self.count = math.ceil(len(order) / batch_size)
        bytes_of_batch = batch_size * math.prod(images.shape[1:])
        self.ahead = min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD_BYTES // bytes_of_batch))
        self._opened: list[ReadAhead] = []

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        found = [reader.error for reader in self._opened if reader.error is not None]
        for reader in self._opened:
            reader.close()
        if error is not None and found:  # TensorFlow's own says less
            raise found[0] from None

    def read(self, first: int = 0) -> ReadAhead:
        """The batches from one on, read ahead."""
        reader = ReadAhead(map(self.batch, range(first, self.count)), self.ahead)
        self._opened.append(reader)
        return reader

    def batch(self, number: int) -> Batch:
        """A batch, 0 the first."""
        start = number * self.batch_size
        indices = np.asarray(self.order[start : start + self.batch_size], "int32")
        pixels = self.images[indices]
        given = {"index": indices, "pixels": pixels} if self.indexed else pixels
        return given, self.targets(indices)

    def given(self) -> Any:
        """What `fit` and `evaluate` take as x: on TensorFlow a data set that does not tune itself
        (see backend.batched), elsewhere a keras.utils.PyDataset."""
        if not backend.is_tensorflow():
            return _Batches(self)
        import tensorflow as tf

        one = self.order[:1]
        pixels = tf.TensorSpec((None, *self.images.shape[1:]), "uint8")
        index = tf.TensorSpec((None,), "int32")
        given = {"index": index, "pixels": pixels} if self.indexed else pixels
        targets = tf.TensorSpec((None, *self.targets(one).shape[1:]), "float32")
        return data_set_of(self.read, self.count, (given, targets))


class _Batches(keras.utils.PyDataset):
    """A Feed's batches. They are asked for in order; another one than the next is read anew."""

    def __init__(self, feed: Feed):
        super().__init__()
        self.feed, self.next, self.reader = feed, -1, iter(())

    def __len__(self) -> int:
        return self.feed.count

    def __getitem__(self, number: int) -> Batch:
        if number != self.next:
            self.reader = self.feed.read(number)
        self.next = number + 1
        return next(self.reader)


class ReadAhead:
    """The items of an iterator, taken by a thread, at most `ahead` of them before they are asked
    for.

    error: what the iterator raised, or None; it is raised where the item would be.
    """

    def __init__(self, items: Iterator, ahead: int):
        self.error: BaseException | None = None
        self._queue: queue.Queue = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def _fill(self, items: Iterator) -> None:
        try:
            for item in items:
                if not self._put((item,)):
                    return
        except BaseException as error:  # the one who waits for the item raises it
            self.error = error
        self._put(())

    def _put(self, item: tuple) -> bool:
        """False where nobody waits any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                pass
        return False

    def __iter__(self) -> ReadAhead:
        return self

    def __next__(self) -> Any:
        while True:
            if self._closed.is_set():
                raise StopIteration
            try:
                item = self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
            if item:
                return item[0]
            self._queue.put(item)  # whoever asks again is told the same
            if self.error is not None:
                raise self.error
            raise StopIteration

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()


def start() -> None:
    """Make TensorFlow's first data set of this kind, which prints lines on memory, in silence."""
    if backend.is_tensorflow():
        import tensorflow as tf

        with backend.quiet_stderr():
            next(iter(data_set_of(lambda: iter([0.0]), 1, tf.TensorSpec(()))))


def data_set_of(batches: Callable[[], Iterator], count: int, signature: Any) -> Any:
    """A tf.data.Dataset of so many batches, of this signature, that does not tune itself."""
    import tensorflow as tf

    found = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return backend.untuned(found.apply(tf.data.experimental.assert_cardinality(count)))
