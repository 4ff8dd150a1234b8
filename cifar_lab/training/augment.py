"""Augmentation: batch -> batch, inside the compiled step, in plain Keras ops, on every backend.

The functions are exact and draw nothing; the layer draws for each image and applies them. Pixels
keep their range.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from . import colours, jpeg, parallel, rand_augment

#: Fields that came after the first results, each of which turns something on in `Augment`.
_LATER = (
    *("rand_augment_ops", "brightness_factor", "contrast_factor", "saturation_factor"),
    *("hue_factor", "gaussian_blur_factor", "jpeg_quality", "erasing_factor"),
)


def affine_matrices(
    theta=0.0, tx=0.0, ty=0.0, shear=0.0, zx=1.0, zy=1.0, *, height, width, true_center=False
):
    """The matrices that `ImageDataGenerator.apply_transform` samples with, one an image.

    Args:
        theta: rotation in degrees, float32 (N,) or a number, like all that follow.
        tx: shift in pixels along the width (so it is in Keras' code, which calls it the x
            direction, though its `get_random_transform` draws it from `height_shift_range`); the
            content moves by -tx.
        ty: shift in pixels along the height; the content moves by -ty.
        shear: angle in degrees, counter-clockwise.
        zx, zy: zoom along the width and the height; 0.5 shows half the width, twice as large.
        height, width: of the images, pixels.
        true_center: turn about the centre of images that are not square; Keras' code exchanges the
            centre's coordinates there, and so does this without it.

    Returns:
        float32 (N, 2, 3): (row, column, 1) of an output pixel -> (row, column) where the input is
            sampled.
    """
    theta, tx, ty, shear, zx, zy = (
        ops.reshape(ops.cast(v, "float32"), (-1,)) for v in (theta, tx, ty, shear, zx, zy)
    )
    none = 0.0 * (theta + tx + ty + shear + zx + zy)  # brings all to one length
    theta, tx, ty, shear, zx, zy = (v + none for v in (theta, tx, ty, shear, zx, zy))
    theta, shear = theta * (math.pi / 180), shear * (math.pi / 180)
    cos, sin = ops.cos(theta), ops.sin(theta)
    # rotation @ shift @ shear @ zoom, on (x, y)
    xx, xy, x1 = cos * zx, (-cos * ops.sin(shear) - sin * ops.cos(shear)) * zy, cos * tx - sin * ty
    yx, yy, y1 = sin * zx, (-sin * ops.sin(shear) + cos * ops.cos(shear)) * zy, sin * tx + cos * ty
    center_x, center_y = (
        (width / 2 - 0.5, height / 2 - 0.5) if true_center else (height / 2 - 0.5, width / 2 - 0.5)
    )
    x1 = x1 + center_x - (xx * center_x + xy * center_y)
    y1 = y1 + center_y - (yx * center_x + yy * center_y)
    rows = ops.stack([yy, yx, y1], -1), ops.stack([xy, xx, x1], -1)
    return ops.stack(rows, 1)


def transform(images, matrices, fill_mode="nearest", cval=0.0):
    """Each image resampled by linear interpolation at the points that its matrix gives.

    Args:
        images: float32 (N, height, width, channels).
        matrices: float32 (N, 2, 3), see affine_matrices.
        fill_mode: what lies outside, in scipy.ndimage's words: "nearest" aaa|abcd|ddd, "constant"
            the value cval beyond the outermost pixels' centres, "reflect" cba|abcd|dcb, "mirror"
            dcb|abcd|cba, "wrap" with the
            period (size - 1): the first and the last pixel are one.
        cval: the value of "constant".

    Returns:
        float32 (N, height, width, channels). Agrees with `ImageDataGenerator.apply_transform`
        (SciPy, float64) within 0.02 of 255 for images of 32 x 32 pixels and 0.1 for 256 x 256, at
        shifts up to 40 pixels and zooms of 0.3 to 3 (float32 coordinates: sampling points thousands
        of pixels away are less exact), except where a sampling point lies within rounding of the
        outermost pixels' centres and the mode jumps there ("constant", "wrap").
    """
    height, width, channels = images.shape[1:]
    row = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1))
    column = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width))
    m = ops.reshape(matrices, (-1, 6, 1, 1))
    r0, r1, r_weight, r_inside = _neighbours(
        m[:, 0] * row + m[:, 1] * column + m[:, 2], height, fill_mode
    )
    c0, c1, c_weight, c_inside = _neighbours(
        m[:, 3] * row + m[:, 4] * column + m[:, 5], width, fill_mode
    )
    flat = ops.reshape(images, (-1, channels))
    first = ops.reshape(
        ops.arange(ops.shape(images)[0], dtype="int32") * (height * width), (-1, 1, 1)
    )
    r0, r1 = first + r0 * width, first + r1 * width
    r_weight, c_weight = r_weight[..., None], c_weight[..., None]
    top = (
        ops.take(flat, r0 + c0, axis=0) * (1 - c_weight)
        + ops.take(flat, r0 + c1, axis=0) * c_weight
    )
    bottom = (
        ops.take(flat, r1 + c0, axis=0) * (1 - c_weight)
        + ops.take(flat, r1 + c1, axis=0) * c_weight
    )
    result = top * (1 - r_weight) + bottom * r_weight
    if fill_mode == "constant":
        result = ops.where((r_inside & c_inside)[..., None], result, ops.cast(cval, "float32"))
    return result


def _neighbours(coordinate, size, fill_mode):
    """(index below, index above, weight of the one above, whether inside) of points on an axis of
    `size` pixels."""
    last = float(size - 1)
    inside = (coordinate >= 0) & (coordinate <= last)
    if fill_mode == "wrap" and size > 1:
        beyond = coordinate - last * ops.floor(coordinate / last)
        before = coordinate + last * (ops.floor(-coordinate / last) + 1)
        coordinate = ops.where(inside, coordinate, ops.where(coordinate < 0, before, beyond))
    if fill_mode in ("nearest", "constant", "wrap"):
        coordinate = ops.clip(coordinate, 0.0, last)
    below = ops.floor(coordinate)
    weight = coordinate - below
    below = ops.cast(below, "int32")
    return _folded(below, size, fill_mode), _folded(below + 1, size, fill_mode), weight, inside


def _folded(index, size, fill_mode):
    """int32 indices, inside or not, brought inside: 0 to size - 1."""
    if fill_mode == "reflect":
        index = ops.mod(index, 2 * size)
        return ops.minimum(index, 2 * size - 1 - index)
    if fill_mode == "mirror" and size > 1:
        index = ops.mod(index, 2 * size - 2)
        return ops.minimum(index, 2 * size - 2 - index)
    return ops.clip(index, 0, size - 1)


def flip(images, chosen, axis=2):
    """The chosen images mirrored. images: (N, height, width, channels); chosen: bool (N,); axis: 2
    left to right, 1 upside down."""
    return ops.where(ops.reshape(chosen, (-1, 1, 1, 1)), ops.flip(images, axis), images)


def shifted_crop(images, down, right, fill_mode="mirror", cval=0.0, mirrored=None):
    """The crop, of the images' own size, out of padded images: He et al. (2016), section 4.2, cut
    their crops so.

    Args:
        images: float32 (N, height, width, channels).
        down, right: integers (N,), pixels by which the window is moved from the middle, up and left
            where negative.
        fill_mode: what the padding holds, see transform ("wrap" has the period of the size here);
            "constant" is cval.
        cval: the value of "constant".
        mirrored: bool (N,), which images are mirrored left to right before that, at less cost than
            by `flip`; None for none.

    Returns:
        float32 (N, height, width, channels), the input's values unchanged.
    """
    height, width, channels = images.shape[1:]
    rows = ops.arange(height, dtype="int32")[None, :, None] + ops.reshape(
        ops.cast(down, "int32"), (-1, 1, 1)
    )
    columns = ops.arange(width, dtype="int32")[None, None, :] + ops.reshape(
        ops.cast(right, "int32"), (-1, 1, 1)
    )
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if fill_mode == "wrap":
        rows, columns = ops.mod(rows, height), ops.mod(columns, width)
    else:
        rows, columns = _folded(rows, height, fill_mode), _folded(columns, width, fill_mode)
    if mirrored is not None:
        columns = ops.where(ops.reshape(mirrored, (-1, 1, 1)), width - 1 - columns, columns)
    first = ops.reshape(
        ops.arange(ops.shape(images)[0], dtype="int32") * (height * width), (-1, 1, 1)
    )
    result = ops.take(ops.reshape(images, (-1, channels)), first + rows * width + columns, axis=0)
    if fill_mode == "constant":
        result = ops.where(inside[..., None], result, ops.cast(cval, "float32"))
    return result


def cutout(images, row, column, size, value=127.5):
    """A square painted over: DeVries and Taylor (2017), whose square may lie partly outside too.

    Args:
        images: float32 (N, height, width, channels).
        row, column: integers (N,), the square's centre (for an even size the pixel below and right
            of it).
        size: its side, pixels.
        value: what it is painted with (theirs is the mean of the images).

    Returns:
        float32 (N, height, width, channels).
    """
    height, width = images.shape[1:3]
    down = (
        ops.arange(height, dtype="int32")[None, :]
        - ops.reshape(ops.cast(row, "int32"), (-1, 1))
        + size // 2
    )
    right = (
        ops.arange(width, dtype="int32")[None, :]
        - ops.reshape(ops.cast(column, "int32"), (-1, 1))
        + size // 2
    )
    covered = ((down >= 0) & (down < size))[:, :, None] & ((right >= 0) & (right < size))[
        :, None, :
    ]
    return ops.where(covered[..., None], ops.cast(value, "float32"), images)


def erased(images, top, left, height, width, values):
    """A rectangle of each image replaced: random erasing (Zhong et al. 2020).

    Args:
        images: float32 (N, image height, image width, channels).
        top, left, height, width: of the rectangle, whole pixels, float32 (N,); of height 0 there is
            none.
        values: what it holds: a number, or float32 of the images' shape.

    Returns:
        float32 of the images' shape.
    """
    row, column = (
        ops.reshape(ops.arange(size, dtype="float32"), shape)
        for size, shape in zip(images.shape[1:3], ((1, -1, 1, 1), (1, 1, -1, 1)), strict=True)
    )
    top, left, height, width = map(colours.per_image, (top, left, height, width))
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return ops.where(inside, ops.cast(values, "float32"), images)


class Augment(layers.Layer):
    """Draws for each image of a batch what Augmentation says, and applies it; the identity outside
    training.

    Args:
        settings: Augmentation.
        num_images: size of the data set that the indices of `call` point into.
        seed: of the draws, which go on from batch to batch, and of the first epoch's alternating
            flips. The draws' state and `epoch` are variables, so a model's saved variables resume
            exactly.

    Call: images, float32 (N, height, width, channels), 0-255; indices, int32 (N,), of the images in
    the data set (alternating flips need to know which is which) -> float32 (N, height, width,
    channels), 0-255, clipped where interpolation rounds beyond.
    """

    def __init__(self, settings, num_images, seed, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.settings = settings
        self.seed_generator = keras.random.SeedGenerator(seed)
        # float32: TensorFlow has no GPU kernels for much of what is done to integer variables
        self.epoch = self.add_weight(shape=(), initializer="zeros", trainable=False, name="epoch")
        if settings.alternating_flip:
            self.first_flip = self.add_weight(
                shape=(num_images,), initializer="zeros", trainable=False, name="first_flip"
            )
            self.first_flip.assign(
                np.random.default_rng([seed, num_images])
                .integers(0, 2, num_images)
                .astype("float32")
            )

    def call(self, images, indices, training=None):
        if not training:
            return images
        s = self.settings
        count = ops.shape(images)[0]
        height, width = images.shape[1:3]
        # one draw for all that is drawn: (12, N), of which each use has its own row
        drawn = parallel.uniform((12, count), self.seed_generator, axis=-1)

        def between(i, low, high):
            return low + (high - low) * drawn[i]

        def whole(i, low, high):  # high is included
            return ops.cast(ops.minimum(ops.floor(between(i, low, high + 1)), high), "int32")

        if s.affine:
            x_shift, y_shift = (
                r * size if r < 1 else r
                for r, size in ((s.width_shift_range, width), (s.height_shift_range, height))
            )
            zoom = s.zoom_bounds
            images = transform(
                images,
                affine_matrices(
                    between(0, -s.rotation_range, s.rotation_range),
                    between(1, -x_shift, x_shift),
                    between(2, -y_shift, y_shift),
                    between(3, -s.shear_range, s.shear_range),
                    between(4, *zoom),
                    between(5, *zoom),
                    height=height,
                    width=width,
                    true_center=True,
                ),
                s.fill_mode,
                s.cval,
            )
            images = ops.clip(images, 0.0, 255.0)
        mirrored = None
        if s.alternating_flip:
            mirrored = ops.mod(ops.take(self.first_flip, indices) + self.epoch, 2.0) > 0.5
        elif s.horizontal_flip:
            mirrored = drawn[6] < 0.5
        if s.vertical_flip:
            images = flip(images, drawn[7] < 0.5, axis=1)
        if s.crop_padding:
            p = s.crop_padding
            down, right = whole(8, -p, p), whole(9, -p, p)
            images = shifted_crop(images, down, right, s.crop_fill_mode, s.cval, mirrored)
        elif mirrored is not None:
            images = flip(images, mirrored)
        if any(getattr(s, switch) for switch in _LATER):
            images = self._later(images)
        if s.cutout_size:
            images = cutout(
                images,
                whole(10, 0, height - 1),
                whole(11, 0, width - 1),
                s.cutout_size,
                s.cutout_value,
            )
        return images

    def _later(self, images):
        """Colours, blur, JPEG and erasing."""
        s, count = self.settings, ops.shape(images)[0]
        height, width = images.shape[1:3]
        # a draw of its own: those before are the ones that results were measured with
        shape = 13 + 2 * s.rand_augment_ops, count
        drawn = parallel.uniform(shape, self.seed_generator, axis=-1)

        def between(i, low, high):
            return low + (high - low) * drawn[i]

        def whole(i, low, high):  # high is included
            return ops.minimum(ops.floor(between(i, low, high + 1)), high)

        def resampled(images, matrices):
            return transform(images, matrices, s.fill_mode, s.cval)

        for i in range(13, 13 + 2 * s.rand_augment_ops, 2):
            chosen = ops.cast(whole(i, 0, len(rand_augment.OPERATIONS) - 1), "int32")
            sign = ops.where(drawn[i + 1] < 0.5, -1.0, 1.0)
            images = rand_augment.apply(images, chosen, sign, s.rand_augment_factor, resampled)
        if s.brightness_factor:
            b = s.brightness_factor
            images = colours.brightness(images, between(0, -b, b))
        if s.contrast_factor:
            c = s.contrast_factor
            images = colours.contrast(images, between(1, 1 - c, 1 + c))
        if s.saturation_factor:
            c = s.saturation_factor
            images = colours.saturation(images, between(2, 1 - c, 1 + c))
        if s.hue_factor:
            images = colours.hue(images, between(3, -s.hue_factor / 2, s.hue_factor / 2))
        if s.gaussian_blur_factor:
            sigma = s.gaussian_blur_sigma
            images = self._some(
                drawn[4] < s.gaussian_blur_factor,
                colours.blurred(images, between(5, *sigma), sigma[1]),
                images,
            )
        if s.jpeg_quality:
            made = jpeg.compressed(images, whole(6, *s.jpeg_quality))
            images = (
                made if s.jpeg_share == 1 else self._some(drawn[7] < s.jpeg_share, made, images)
            )
        if s.erasing_factor:
            area = between(8, *s.erasing_scale) * (height * width)
            ratio = ops.exp(between(9, math.log(0.3), -math.log(0.3)))  # of the sides
            high = ops.clip(ops.round(ops.sqrt(area * ratio)), 1, height)
            wide = ops.clip(ops.round(ops.sqrt(area / ratio)), 1, width)
            top = ops.floor(drawn[10] * (height - high + 1))
            left = ops.floor(drawn[11] * (width - wide + 1))
            high = ops.where(drawn[12] < s.erasing_factor, high, 0.0)
            values = s.erasing_fill_value
            if values is None:
                values = 255.0 * parallel.uniform(ops.shape(images), self.seed_generator, axis=0)
            images = erased(images, top, left, high, wide, values)
        return images

    @staticmethod
    def _some(chosen, changed, images):
        return ops.where(ops.reshape(chosen, (-1, 1, 1, 1)), changed, images)

    def compute_output_shape(self, images_shape, indices_shape=None):
        return images_shape
