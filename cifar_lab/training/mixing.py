"""Images mixed with others of their batch, and their labels with them: mixup (Zhang et al. 2018)
and cutmix (Yun et al. 2019).

What is drawn is a function of seed and epoch, as the order of the images is: it is drawn on the
host, once an epoch, and lies on the device as a table of the images. So the targets are mixed
before training sees them, a resumed run has the same mixtures, and so do both gradients of a
sharpness-aware step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import layers, ops

from ..recipe import Augmentation
from . import parallel

#: Columns of the table: the partner's place in the batch, its share of each pixel, and the
#: rectangle where it has all: first row and column, and those after the last.
COLUMNS = ("partner", "share", "top", "left", "bottom", "right")


def drawn(
    settings: Augmentation,
    order: np.ndarray,
    batch_size: int,
    targets: np.ndarray,
    size: Sequence[int],
    seed: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """The mixtures of an epoch.

    As in the authors' code, share and rectangle are drawn once a batch, and partners are a
    permutation of it. A rectangle's centre may lie anywhere, so that it may be cut off, and the
    label has the share that is left.

    Args:
        settings: with mixup_alpha, cutmix_alpha, mixing_share.
        order: int32 (M,), the images that are trained on, batch after batch.
        batch_size: images of a batch; the last may have fewer.
        targets: float32 (N, classes) of the whole data set.
        size: (height, width) of the images, pixels.
        seed: of the draws, whole numbers.

    Returns:
        table, float32 (N, 6), see COLUMNS, 0 for an image as it is; targets as they are mixed,
        float32 (N, classes).
    """
    rng = np.random.default_rng(seed)
    table = np.zeros((len(targets), len(COLUMNS)), "float32")
    mixed = targets.copy()
    alphas = settings.mixup_alpha, settings.cutmix_alpha
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        partners = rng.permutation(len(batch))
        chance, which, row, column = rng.random(4)
        cut = bool(which < 0.5 if all(alphas) else alphas[1])
        alpha = alphas[cut]
        share = rng.beta(alpha, alpha)
        if chance >= settings.mixing_share:
            continue
        if cut:
            rectangle = _rectangle(share, row, column, *size)
            top, left, bottom, right = rectangle
            share = (bottom - top) * (right - left) / (size[0] * size[1])
            table[batch] = [0, 0, *rectangle]
        else:
            table[batch] = [0, share, 0, 0, 0, 0]
        table[batch, 0] = partners
        mixed[batch] = (1 - share) * targets[batch] + share * targets[batch[partners]]
    return table, mixed


def _rectangle(share: float, row: float, column: float, height: int, width: int) -> tuple:
    """(top, left, bottom, right) of a rectangle shaped as the image, with a share of its pixels and
    its centre at row and column, 0 to 1, cut off at the borders."""
    side = np.sqrt(share)
    middles = int(row * height), int(column * width)
    halves = int(side * height) // 2, int(side * width) // 2
    low = [max(middle - half, 0) for middle, half in zip(middles, halves, strict=True)]
    pairs = zip(middles, halves, (height, width), strict=True)
    high = [min(middle + half, size) for middle, half, size in pairs]
    return (*low, *high)


def mixed(images, table):
    """Each image with what the table says of another one.

    images: float32 (N, height, width, channels); table: float32 (N, 6), see COLUMNS.
    """
    height, width = images.shape[1:3]
    partner, share, top, left, bottom, right = (
        ops.reshape(table[:, i], (-1, 1, 1, 1)) for i in range(len(COLUMNS))
    )
    row = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
    column = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    everyone, count = parallel.gathered(images)
    # a batch that is not the epoch's (statistics taken anew) may be smaller
    places = ops.mod(ops.cast(ops.reshape(partner, (-1,)), "int32"), ops.cast(count, "int32"))
    others = ops.take(everyone, places, axis=0)
    return ops.where(inside, others, images + share * (others - images))


class Mix(layers.Layer):
    """Mixes the images of a batch as a table says that is set for each epoch; the identity outside
    training.

    num_images: size of the data set that the indices point into. Call: images, float32 (N, height,
    width, channels); indices, int32 (N,) -> images. `table` belongs to no state: it follows from
    seed and epoch.
    """

    def __init__(self, num_images, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.table = self.add_weight(
            shape=(num_images, len(COLUMNS)), initializer="zeros", trainable=False, name="table"
        )

    def call(self, images, indices, training=None):
        if not training:
            return images
        return mixed(images, ops.take(self.table, indices, axis=0))

    def compute_output_shape(self, images_shape, indices_shape=None):
        return images_shape
