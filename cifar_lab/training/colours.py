"""Colours, sharpness and blur of a batch of images, in plain Keras ops, on every backend.

Images are float32 (N, height, width, channels), 0-255, of 1 or 3 channels, and stay so; what is
drawn for each image is (N,). The functions are exact and draw nothing.

Keras has layers for most of this, which Keras 3.15 does not do for each image, or not right:
`RandomGaussianBlur` draws one blur for a whole batch; `RandomSaturation` leaves 0-255 (a saturation
above 1 is not cut off) and takes no image of one channel; `RandomContrast` and the jitter that is
made of them only raise the contrast where one number is given; `RandAugment` draws its operations
once for a whole batch, and one of them is the weaker the larger its factor (posterization).
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601, as Pillow's "L"
_SMOOTH = 5  # the weight of the middle pixel in Pillow's ImageFilter.SMOOTH; its neighbours have 1


def per_image(values):
    """float32 (N, 1, 1, 1) of (N,)."""
    return ops.reshape(ops.cast(values, "float32"), (-1, 1, 1, 1))


def clipped(images):
    return ops.clip(images, 0.0, 255.0)


def blend(degenerate, images, factor):
    """Between another image and this one, and beyond: factor 0 is the other, 1 this (Pillow's
    ImageEnhance)."""
    return clipped(degenerate + per_image(factor) * (images - degenerate))


def grey(images):
    """The luminance in all channels."""
    if images.shape[-1] == 1:
        return images
    weights = ops.convert_to_tensor(np.array(LUMINANCE, "float32"))
    return ops.sum(images * weights, axis=-1, keepdims=True) + ops.zeros_like(images)


def brightness(images, share):
    """255 share added."""
    return clipped(images + 255.0 * per_image(share))


def contrast(images, factor):
    """The distance from the mean of each channel times factor (Keras' RandomContrast)."""
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    return clipped(mean + per_image(factor) * (images - mean))


def saturation(images, factor):
    """The distance from grey times factor; images of one channel stay."""
    return images if images.shape[-1] == 1 else blend(grey(images), images, factor)


def hue(images, turns):
    """Colours turned by so many whole turns, -1 to 1 (Keras' RandomHue); images of one channel
    stay."""
    if images.shape[-1] == 1:
        return images
    hsv = ops.image.rgb_to_hsv(clipped(images) / 255.0, data_format="channels_last")
    turned = hsv[..., 0] + ops.reshape(ops.cast(turns, "float32"), (-1, 1, 1))
    turned = turned - ops.floor(turned)
    hsv = ops.stack([turned, hsv[..., 1], hsv[..., 2]], axis=-1)
    return clipped(255.0 * ops.image.hsv_to_rgb(hsv, data_format="channels_last"))


def smooth(images):
    """Pillow's ImageFilter.SMOOTH: each pixel with its eight neighbours, the outermost stay."""
    if min(images.shape[1:3]) < 3:
        return images
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    middle = (total + (_SMOOTH - 1) * images[:, 1:-1, 1:-1]) / (_SMOOTH + 8)
    middle = ops.concatenate([images[:, 1:-1, :1], middle, images[:, 1:-1, -1:]], axis=2)
    return ops.concatenate([images[:, :1], middle, images[:, -1:]], axis=1)


def posterized(images, bits):
    """The highest `bits` bits of each pixel, a number from 1 to 8 for all images."""
    step = float(2 ** (8 - bits))
    return ops.floor(ops.round(images) / step) * step


def solarized(images, threshold):
    """Pixels from a threshold on, a number for all images, are inverted."""
    return ops.where(images >= threshold, 255.0 - images, images)


def autocontrasted(images):
    """Each channel stretched to 0-255; one of a single value stays (ImageOps.autocontrast, which
    rounds down)."""
    low = ops.min(images, axis=(1, 2), keepdims=True)
    width = ops.max(images, axis=(1, 2), keepdims=True) - low
    flat = width < 1e-3
    wide = clipped((images - low) * (255.0 / ops.where(flat, 1.0, width)))  # else up to 255.00002
    return ops.where(flat, images, wide)


def equalized(images):
    """Each channel with an even histogram, exactly as ImageOps.equalize has it for whole pixels;
    others are rounded."""
    height, width, channels = images.shape[1:]
    count = ops.shape(images)[0]
    whole = ops.cast(ops.round(clipped(images)), "int32")
    first = ops.reshape(ops.arange(count * channels, dtype="int32") * 256, (-1, 1, 1, channels))
    places = ops.reshape(first + whole, (-1,))
    ones = ops.ones_like(places, dtype="float32")
    histogram = ops.segment_sum(ones, places, num_segments=count * channels * 256)
    histogram = ops.reshape(histogram, (-1, 256))
    values = ops.arange(256, dtype="float32")
    last = ops.max(ops.where(histogram > 0, values, -1.0), axis=1, keepdims=True)
    of_last = ops.sum(ops.where(values == last, histogram, 0.0), axis=1, keepdims=True)
    step = ops.floor((height * width - of_last) / 255.0)
    before = ops.cumsum(histogram, axis=1) - histogram
    one = ops.maximum(step, 1.0)
    table = ops.minimum(ops.floor((ops.floor(step / 2) + before) / one), 255.0)
    table = ops.where(step > 0, table, values)
    return ops.reshape(ops.take(ops.reshape(table, (-1,)), places), (-1, height, width, channels))


def blurred(images, sigma, widest):
    """Gaussian blur, mirrored at the borders.

    sigma: standard deviations, pixels, (N,), at most widest, a number: the kernel ends at 3 widest.
    """
    radius = math.ceil(3 * widest)
    offsets = np.arange(-radius, radius + 1, dtype="float32")
    sigma = ops.reshape(ops.cast(sigma, "float32"), (-1, 1))
    weights = ops.exp(-ops.square(offsets / sigma) / 2)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    for axis in (1, 2):
        size = images.shape[axis]
        places = np.pad(np.arange(size, dtype="int32"), radius, mode="reflect")
        wide = ops.take(images, places, axis=axis)
        images = sum(
            per_image(weights[:, k])
            * (wide[:, k : k + size] if axis == 1 else wide[:, :, k : k + size])
            for k in range(len(offsets))
        )
    return clipped(images)
