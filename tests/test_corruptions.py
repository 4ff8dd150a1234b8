"""Corruptions: CIFAR-10-C's pixels where it defines them, and the same ones for an image wherever
it stands."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from cifar_lab import corruptions
from cifar_lab.corruptions import NAMES, SEVERITIES, corrupt
from cifar_lab.data import synthetic
from cifar_lab.errors import InputError


def drawn(count=24, height=32, width=32, channels=3):
    """Pictures of shapes, uint8 (count, height, width, channels)."""
    images, _ = synthetic.load(40, 10)[:2]
    large = np.tile(images[:count], (1, -(-height // 32), -(-width // 32), 1))
    return np.ascontiguousarray(large[:, :height, :width, :channels])


def small():
    """uint8 (1, 16, 16, 3): a ramp of red across, of green down, a blue square in the middle."""
    rows, columns = np.mgrid[:16, :16]
    square = (abs(rows - 7.5) < 4) & (abs(columns - 7.5) < 4)
    return np.stack([15 * columns, 15 * rows, 200 * square], -1).astype(np.uint8)[None]


# --- exact pixels ---

#: Every second pixel of the sixth row of `small`, red and blue, at severity 5. Where one changes,
#: figures measured before and after are of different images: measure docs/corruptions.jsonl anew.
GOLDEN = {
    "noise": ([0, 14, 56, 129, 165, 155, 148, 213], [0, 0, 226, 200, 176, 173, 4, 70]),
    "blur": ([2, 30, 60, 90, 120, 150, 180, 210], [0, 0, 179, 200, 200, 200, 21, 0]),
    "jpeg": ([15, 26, 66, 103, 134, 173, 186, 204], [10, 0, 176, 221, 211, 229, 50, 7]),
    "brightness": ([0, 61, 76, 115, 153, 191, 255, 255], [0, 0, 255, 255, 255, 255, 0, 0]),
    "contrast": ([96, 100, 105, 109, 114, 118, 123, 127], [42, 42, 72, 72, 72, 72, 42, 42]),
    "fog": ([33, 61, 46, 60, 56, 90, 134, 127], [33, 49, 98, 101, 86, 108, 67, 50]),
    "pixelate": ([8, 30, 53, 98, 128, 150, 173, 218], [0, 0, 100, 200, 200, 200, 100, 0]),
    "rotation": ([34, 60, 86, 112, 138, 164, 190, 216], [0, 0, 117, 200, 200, 200, 0, 0]),
    "shift": ([45, 15, 15, 45, 75, 105, 135, 165], [0, 0, 0, 0, 200, 200, 200, 200]),
    "scale": ([56, 11, 34, 79, 124, 169, 214, 191], [112, 0, 0, 150, 150, 112, 0, 0]),
    "occlusion": ([0, 30, 128, 128, 128, 128, 180, 210], [0, 0, 128, 128, 128, 128, 0, 0]),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_pixels(name):
    found = corrupt(small(), name, 5)[0, 5, ::2]
    tolerance = 2 if name == "jpeg" else 0  # libjpeg's decoders differ by a level
    red, blue = GOLDEN[name]
    np.testing.assert_allclose(found[:, 0], red, atol=tolerance)
    np.testing.assert_allclose(found[:, 2], blue, atol=tolerance)


def test_brightness_raises_the_value_alone():
    images = drawn(4)
    found = corrupt(images, "brightness", 2)
    for image, bright in zip(images[:, ::5, ::5].reshape(-1, 3), found[:, ::5, ::5].reshape(-1, 3)):
        h, s, v = colorsys.rgb_to_hsv(*image / 255)
        expected = 255 * np.array(colorsys.hsv_to_rgb(h, s, min(v + 0.1, 1)))
        assert np.abs(bright - expected).max() <= 0.51
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 1), 250, np.uint8)
    assert (corrupt(black, "brightness", 2) == 26).all()  # 25.5, to the even one
    assert (corrupt(white, "brightness", 1) == 255).all()  # cut off


def test_contrast_is_the_distance_from_each_channels_mean():
    image = np.array([[[[0, 10, 9], [100, 30, 9]]]], np.uint8)
    assert corrupt(image, "contrast", 2).tolist() == [[[[25, 15, 9], [75, 25, 9]]]]


def test_noise_has_its_spread():
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    for severity, spread in zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10)):
        found = corrupt(grey, "noise", severity).astype(float) - 128
        assert found.std() == pytest.approx(255 * spread, rel=0.02) and abs(found.mean()) < 0.3
    assert len({image.tobytes() for image in corrupt(grey, "noise", 1)}) == 40


@pytest.mark.parametrize("severity, sigma", zip(SEVERITIES, (0.4, 0.6, 0.7, 0.8, 1.0)))
def test_blur_is_scipys(severity, sigma):
    """skimage.filters.gaussian, which CIFAR-10-C calls, is this filter."""
    ndimage = pytest.importorskip("scipy.ndimage")
    for shape, by in (((32, 32, 3), 1), ((28, 28, 1), 28 / 32), ((64, 64, 3), 2)):
        images = drawn(2, *shape)
        spread = (0, sigma * by, sigma * by, 0)
        expected = ndimage.gaussian_filter(images.astype(float), spread, mode="nearest")
        assert np.abs(corrupt(images, "blur", severity) - expected).max() < 0.501


@pytest.mark.parametrize("severity, side", zip(SEVERITIES, (30, 28, 27, 24, 20)))
def test_pixelate_is_pillows(severity, side):
    for image in drawn(3):
        few = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        expected = np.asarray(few.resize((32, 32), Image.Resampling.BOX))
        np.testing.assert_array_equal(corrupt(image[None], "pixelate", severity)[0], expected)


def test_fog_is_a_plasma_fractal():
    """Point by point, with the neighbours around the torus."""
    side, decay = 8, 2.5
    chance = np.random.default_rng(2).random((1, side * side - 1))
    field, left, wobble, step = np.zeros((side, side)), list(chance[0]), 100.0, side

    def mean_of(*points):
        total = sum(field[row % side, column % side] for row, column in points)
        return total / 4 + wobble**2 * (2 * left.pop(0) - 1)

    while step >= 2:
        half = step // 2
        corners = [(r, c) for r in range(0, side, step) for c in range(0, side, step)]
        for r, c in corners:
            around = (r, c), (r + step, c), (r, c + step), (r + step, c + step)
            field[r + half, c + half] = mean_of(*around)
        for down, right in ((0, half), (half, 0)):
            for r, c in corners:
                r, c = r + down, c + right
                around = (r - half, c), (r + half, c), (r, c - half), (r, c + half)
                field[r, c] = mean_of(*around)
        step, wobble = half, wobble / decay
    assert not left
    expected = (field - field.min()) / (field.max() - field.min())
    np.testing.assert_allclose(corruptions._plasma(chance, decay)[0], expected, atol=1e-12)


def test_fog_keeps_the_brightest_and_hides_the_picture():
    images = drawn(8)
    for severity in SEVERITIES:
        found = corrupt(images, "fog", severity)
        assert (found.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()
    assert (corrupt(np.zeros((1, 4, 4, 1), np.uint8), "fog", 5) == 0).all()


# --- what the hand does ---


def test_a_shift_moves_whole_pixels():
    images = drawn(40)
    found = corrupt(images, "shift", 2)  # 2 pixels
    seen = set()
    for image, moved in zip(images, found):
        wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        ways = [
            (down, right)
            for down in (-2, 0, 2)
            for right in (-2, 0, 2)
            if (moved == wide[2 - down :, 2 - right :][:32, :32]).all()
        ]
        assert len(ways) == 1
        seen.add(ways[0])
    assert len(seen) == 8 and (0, 0) not in seen


def test_no_turn_a_quarter_turn_and_back():
    images, left = drawn(4), np.ones(4)
    np.testing.assert_array_equal(corruptions.rotation(images, 0, left), images)
    np.testing.assert_array_equal(corruptions.rotation(images, 0, -left), images)
    quarter = corruptions.rotation(images, 90, left)
    np.testing.assert_allclose(quarter, np.rot90(images, axes=(1, 2)), atol=1e-3)
    np.testing.assert_allclose(
        corruptions.rotation(images, 90, -left), np.rot90(images, -1, axes=(1, 2)), atol=1e-3
    )


def test_larger_and_smaller():
    images, ones = drawn(4), np.ones(4)
    np.testing.assert_array_equal(corruptions.scale(images, 1, ones), images)
    odd = images[:, :31, :31]
    larger = corruptions.scale(odd, 2, ones)  # about the middle pixel, every second is one of them
    np.testing.assert_array_equal(larger[:, 1::2, 1::2], odd[:, 8:23, 8:23])
    smaller = corruptions.scale(odd, 2, -ones)
    np.testing.assert_array_equal(smaller[:, 8:23, 8:23], odd[:, 1::2, 1::2])
    wide = np.pad(odd, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(smaller, wide[:, 1::2, 1::2])


@pytest.mark.parametrize(
    "shape, sides", [((32, 32), (6, 8, 10, 12, 16)), ((28, 28), (5, 7, 9, 10, 14))]
)
def test_a_grey_square_lies_within_the_picture_and_grows(shape, sides):
    images = np.zeros((20, *shape, 3), np.uint8)
    before = np.zeros(images.shape, bool)
    for severity, side in zip(SEVERITIES, sides):
        grey = corrupt(images, "occlusion", severity) == 128
        assert (grey.sum(axis=(1, 2, 3)) == 3 * side * side).all() and grey[before].all()
        before = grey
    assert len({square.tobytes() for square in before}) > 10


# --- all of them ---


@pytest.mark.parametrize("name", NAMES)
def test_the_distance_grows_with_the_severity(name):
    for shape in ((32, 32, 3), (28, 28, 1)):
        images = drawn(24, *shape)
        distances = [
            np.abs(corrupt(images, name, s).astype(int) - images).mean() for s in SEVERITIES
        ]
        assert distances == sorted(distances) and 0 < distances[0] < distances[-1] < 110


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 3), (5, 3, 1), (1, 1, 3)])
def test_an_image_gets_its_pixels_wherever_it_stands(name, shape):
    images = drawn(24, *shape)
    whole = corrupt(images, name, 4, seed=3)
    assert whole.shape == images.shape and whole.dtype == np.uint8 and whole.flags.c_contiguous
    some = np.array([17, 2, 3, 22])
    np.testing.assert_array_equal(corrupt(images[some], name, 4, 3, some), whole[some])
    np.testing.assert_array_equal(corrupt(images[17:18], name, 4, 3, [17]), whole[17:18])
    assert corrupt(images[:0], name, 4).shape == (0, *shape)


def test_more_images_than_are_done_at_once():
    images = np.tile(small(), (600, 1, 1, 1))
    for name in ("noise", "rotation", "blur"):
        found = corrupt(images, name, 5)
        np.testing.assert_array_equal(corrupt(images[599:], name, 5, indices=[599]), found[599:])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_to_chance_depends_on_the_seed(name):
    images = drawn(24)
    differs = (corrupt(images, name, 3, 0) != corrupt(images, name, 3, 1)).any()
    assert differs == (corruptions.CORRUPTIONS[name].draw is not None)


# --- wrong use ---


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": "frost"}, "must be one of noise, blur, jpeg, .*, received 'frost'"),
        ({"name": "nose"}, r"received 'nose' \(noise\?\)"),
        ({"name": ["noise"]}, "corruption: must be one of"),
        ({"severity": 0}, "severity: must be one of 1, 2, 3, 4, 5, received 0"),
        ({"severity": 6}, "received 6"),
        ({"severity": 2.0}, "received 2.0"),
        ({"seed": -1}, "seed: must be a whole number from 0, received -1"),
        ({"seed": 0.5}, "received 0.5"),
        ({"images": drawn(2).astype("float32")}, r"must be uint8 .*, received float32 \(2, 32"),
        ({"images": drawn(2)[0]}, r"received uint8 \(32, 32, 3\)"),
        ({"images": np.zeros((2, 8, 8, 4), np.uint8)}, r"received uint8 \(2, 8, 8, 4\)"),
        ({"images": np.zeros((2, 0, 8, 1), np.uint8)}, "must have pixels"),
        ({"indices": [1]}, "must be 2 whole numbers from 0, one an image"),
        ({"indices": [1, -1]}, "whole numbers from 0"),
        ({"indices": [0.0, 1.0]}, "received float64"),
    ],
)
def test_wrong_requests_are_one_line(change, words):
    request = {"images": drawn(2), "name": "noise", "severity": 1, **change}
    with pytest.raises(InputError, match=words) as error:
        corrupt(**request)
    assert "\n" not in str(error.value)
