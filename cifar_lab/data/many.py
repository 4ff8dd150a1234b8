"""The embedded data set with as many train pictures as one likes: "synthetic:images=1000000".

They are drawn in blocks, each from random numbers of its own, by a process a core. So the first
pictures of a larger set are those of a smaller one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL

from ..errors import InputError
from . import cache, synthetic
from .on_disk import mapped
from .pictures import fit_images
from .reading import Progress, cores
from .shapes import CLASSES
from .synthetic import Dials

BLOCK = 500  # pictures, classes in equal shares
ALONE = 4 * BLOCK  # pictures that are drawn sooner than processes start
_CHILD = "import sys; from cifar_lab.data import many; many.work(sys.argv[1])"
_STREAM = 3  # of random numbers: 0 to 2 are those of `synthetic.load` and of robustness

Notice = Callable[[str], None]


def load(
    count: int, shape: Sequence[int], dials: Dials, notice: Notice, on_disk: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of so many train pictures, from the cache where they were drawn before.

    Args:
        count: at least 1.
        shape: (height, width, channels) that they are brought to.
        dials: the difficulty.
        notice: called with how far it is.
        on_disk: leave the images in the cache, see `OnDisk`.

    Returns:
        uint8 (count, height, width, channels), 0-255, and int64 (count,), 0-9.

    Raises:
        InputError: they are to be left in the cache, which cannot be written.
    """
    versions = np.__version__, PIL.__version__
    key = f"embedded {synthetic.program_sha256()} {versions} {BLOCK} {count} {dials}"

    def draw() -> Iterator[np.ndarray]:
        return drawn(count, shape, dials, notice)

    found = labels_of(count)
    if on_disk:
        return mapped(cache.on_disk(key, shape, count, draw)), found
    try:
        return np.array(cache.on_disk(key, shape, count, draw)), found
    except InputError:  # no cache, or a full one
        return np.concatenate(list(draw())), found


def labels_of(count: int) -> np.ndarray:
    """int64 (count,), 0-9."""
    blocks = [_labels(_random(block), BLOCK) for block in range(-(-count // BLOCK))]
    return np.concatenate(blocks)[:count]


def drawn(count: int, shape: Sequence[int], dials: Dials, notice: Notice) -> Iterator[np.ndarray]:
    """The images, a block at a time: uint8 (n, height, width, channels)."""
    blocks = range(-(-count // BLOCK))
    progress = Progress("synthetic", count, notice, "drew")
    try:
        with _workers(len(blocks), shape, dials, count) as block_of:
            for block in blocks:
                images = block_of(block)[: count - block * BLOCK]
                progress.done(min(count, (block + 1) * BLOCK))
                yield images
    finally:
        progress.end()


@contextlib.contextmanager
def _workers(
    blocks: int, shape: Sequence[int], dials: Dials, count: int
) -> Iterator[Callable[[int], np.ndarray]]:
    """A function that gives one block after the other, drawn by processes where there are many."""
    if count <= ALONE:
        yield lambda block: _drawn(block, BLOCK, shape, dials)
        return
    number = min(cores(), blocks)
    size = BLOCK * math.prod(shape)
    children: list[subprocess.Popen] = []
    try:
        for first in range(number):
            told = {
                "blocks": [first, blocks, number],
                "size": BLOCK,
                "shape": list(map(int, shape)),
                "dials": dataclasses.asdict(dials),
            }
            children.append(_start(json.dumps(told)))

        def next_of(block: int) -> np.ndarray:
            pipe = children[block % number].stdout
            assert pipe is not None
            data = pipe.read(size)
            if len(data) < size:
                code = children[block % number].wait()
                raise InputError(f"`data` synthetic: the process that draws ended with {code}")
            return np.frombuffer(data, np.uint8).reshape(BLOCK, *shape)

        yield next_of
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()


def _start(told: str) -> subprocess.Popen:
    package = Path(__file__).resolve().parents[1]
    words = [str(package.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = os.pathsep.join(os.path.abspath(word) for word in words if word)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, told],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C is for the process that asked
    )


def _random(block: int) -> np.random.Generator:
    return np.random.default_rng([0, _STREAM, block])


def _labels(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.permutation(np.arange(size) % len(CLASSES)).astype(np.int64)


def _drawn(block: int, size: int, shape: Sequence[int], dials: Dials) -> np.ndarray:
    rng = _random(block)
    images = [synthetic.draw(int(label), rng, dials) for label in _labels(rng, size)]
    return fit_images(np.array(images, np.uint8), shape)


def work(text: str) -> None:
    """What a process does: draw blocks, and write their pixels to stdout."""
    told = json.loads(text)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for them any more
        for block in range(*told["blocks"]):
            images = _drawn(block, told["size"], told["shape"], Dials(**told["dials"]))
            sys.stdout.buffer.write(np.ascontiguousarray(images).data)
            sys.stdout.buffer.flush()
