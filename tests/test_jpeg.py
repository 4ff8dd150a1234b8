"""JPEG compression as augmentation: the pixels are Pillow's."""

import io

import numpy as np
import pytest
from PIL import Image

from cifar_lab import data
from cifar_lab import recipe as recipes
from cifar_lab.corruptions import as_jpeg
from cifar_lab.data import synthetic
from cifar_lab.training import augment, jpeg
from test_augment import as_array


def ours(images, quality):
    quality = np.broadcast_to(quality, len(images))
    return as_array(jpeg.compressed(images.astype("float32"), quality))


def difference(images, quality):
    return np.abs(ours(images, quality) - as_jpeg(images, quality))


def made(height, width, channels):
    """Images of shapes on grounds, uint8 (40, height, width, channels)."""
    images, _ = synthetic.load(40, 10)[:2]
    return np.ascontiguousarray(images[:, :height, :width, :channels])


def test_the_tables_are_those_of_the_standard_and_of_libjpeg():
    for table, first in (("luminance", [16, 11, 10, 16]), ("chrominance", [17, 18, 24, 47])):
        steps = jpeg.STEPS[table]
        assert steps[50][:4].tolist() == first and (steps[100] == 1).all()
        assert steps[1].max() == 255  # (99 * 5000 + 50) // 100 and more, cut off
    assert jpeg.STEPS["luminance"][75][:4].tolist() == [8, 6, 5, 8]
    assert jpeg.STEPS["luminance"][10][:4].tolist() == [80, 55, 50, 80]


def test_pillow_has_these_tables():
    for quality in (1, 10, 49, 50, 75, 95, 100):
        file = io.BytesIO()
        Image.fromarray(made(32, 32, 3)[0]).save(file, "JPEG", quality=quality)
        tables = Image.open(file).quantization
        for i, name in enumerate(("luminance", "chrominance")):
            np.testing.assert_array_equal(jpeg.STEPS[name][quality], tables[i])


@pytest.mark.parametrize(
    "shape", [(32, 32, 3), (28, 28, 1), (28, 28, 3), (20, 31, 3), (17, 9, 1), (9, 3, 3)]
)
def test_the_pixels_are_those_of_as_jpeg(shape):
    """On average far below one level; where one coefficient's rounding decides differently, by a
    step of it."""
    images = made(*shape)
    for quality in (1, 10, 49, 50, 75, 95, 100):
        found = difference(images, quality)
        assert found.mean() < 0.25 and (found > 1).mean() < 0.02, quality
        assert found.max() <= max(4, 64 - quality // 2), quality


def test_noise_too_and_each_image_at_its_own_quality():
    images = np.random.default_rng(0).integers(0, 256, (101, 16, 16, 3)).astype(np.uint8)[1:]
    qualities = np.arange(1, 101)
    expected = np.concatenate([as_jpeg(images[q - 1 : q], int(q)) for q in qualities])
    assert np.abs(ours(images, qualities) - expected).mean() < 0.25


def test_real_images(real_data):
    """CIFAR-10: at most 0.07 of 255 on average, and more than one level in 2 % of the pixels."""
    images = data.load("cifar10", str(real_data)).train_images[:300]
    for quality in (1, 10, 30, 50, 75, 95):
        found = difference(images, quality)
        assert found.mean() < 0.1 and (found > 1).mean() < 0.02 and found.max() <= 64, quality


def test_what_is_between_two_levels_is_rounded_first():
    images = made(32, 32, 3).astype("float32")
    near = np.clip(images + 0.4, 0, 255)
    np.testing.assert_array_equal(ours(near, 60), ours(images, 60))


def test_the_field_draws_a_quality_and_a_share():
    images = np.repeat(made(16, 16, 3)[:1], 2000, 0).astype("float32")
    indices = np.arange(2000, dtype="int32")

    def kinds(**settings):
        layer = augment.Augment(recipes.Augmentation(**settings), 2000, 3)
        out = as_array(layer(images, indices, training=True))
        return np.array([image.tobytes() for image in out])

    of_quality = {ours(images[:1], q)[0].tobytes(): q for q in (20, 21, 22, 23)}
    found = [of_quality[kind] for kind in kinds(jpeg_quality=[20, 23])]
    counts = np.bincount(found, minlength=24)[20:]
    assert counts.min() > 400 and counts.sum() == 2000
    untouched = kinds(jpeg_quality=(20, 20), jpeg_share=0.25) == images[0].tobytes()
    assert 0.71 < untouched.mean() < 0.79
