"""Augmentation of colours, blur, erasing, RandAugment: exact pixels, and the draws."""

import math

import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cifar_lab import adjusting, ladder
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.searching import space
from cifar_lab.training import augment, colours, rand_augment
from test_augment import as_array, images

FACTORS = np.array([0.0, 0.3, 1.0, 1.7], "float32")


def pictures(shape=(20, 31, 3)):
    """float32 (4, ...) of whole pixels: noise, a ramp, dark noise, one value."""
    height, width, channels = shape
    x = images(4, shape)
    x[1] = np.linspace(20, 200, height * width * channels).round().reshape(shape)
    x[2] = x[2] // 4 + 30
    x[3] = 77
    return x


def by_pillow(x, function):
    done = [
        function(Image.fromarray((a if a.shape[-1] == 3 else a[..., 0]).astype(np.uint8)), i)
        for i, a in enumerate(x)
    ]
    return np.stack([np.asarray(image, "float32") for image in done]).reshape(x.shape)


# --- exact pixels ---


def test_brightness_contrast_and_hue_are_those_of_keras():
    x = pictures()
    cases = [
        (colours.brightness, keras.layers.RandomBrightness, "rgb_delta", FACTORS - 0.9, 255.0),
        (colours.contrast, keras.layers.RandomContrast, "contrast_factor", FACTORS, 1.0),
    ]
    for function, layer, name, drawn, times in cases:
        theirs = layer(0.5).transform_images(
            keras.ops.convert_to_tensor(x), {name: times * drawn.reshape(4, 1, 1, 1)}
        )
        np.testing.assert_allclose(as_array(function(x, drawn)), as_array(theirs), atol=1e-3)
    turns = np.array([-0.5, -0.2, 0.0, 0.4], "float32")
    layer = keras.layers.RandomHue(0.5, data_format="channels_last")
    theirs = layer.transform_images(keras.ops.convert_to_tensor(x), {"factor": turns})
    np.testing.assert_allclose(as_array(colours.hue(x, turns)), as_array(theirs), atol=1e-2)
    np.testing.assert_allclose(as_array(colours.hue(x, turns))[2], x[2], atol=1e-3)


@pytest.mark.parametrize("shape", [(20, 31, 3), (28, 28, 1)])
def test_the_others_are_those_of_pillow(shape):
    x = pictures(shape)

    def same(ours, function, atol):
        np.testing.assert_allclose(as_array(ours), by_pillow(x, function), atol=atol)

    if shape[2] == 3:
        same(
            colours.saturation(x, FACTORS),
            lambda image, i: ImageEnhance.Color(image).enhance(FACTORS[i]),
            1.5,
        )
    same(
        colours.blend(colours.smooth(x), x, FACTORS),
        lambda image, i: ImageEnhance.Sharpness(image).enhance(FACTORS[i]),
        1.5,
    )
    same(colours.smooth(x), lambda image, i: image.filter(ImageFilter.SMOOTH), 0.51)
    same(colours.posterized(x, 3), lambda image, i: ImageOps.posterize(image, 3), 0)
    same(colours.solarized(x, 130), lambda image, i: ImageOps.solarize(image, 130), 0)
    same(colours.autocontrasted(x), lambda image, i: ImageOps.autocontrast(image), 1.01)
    same(colours.equalized(x), lambda image, i: ImageOps.equalize(image), 0)


@pytest.mark.parametrize("shape", [(1, 5, 3), (5, 1, 1), (2, 2, 3)])
def test_smoothing_leaves_an_image_that_is_all_border(shape):
    x = pictures(shape)
    np.testing.assert_array_equal(as_array(colours.smooth(x)), x)


def test_autocontrast_stays_within_pixels():
    """In float32 (255 / width) * width may be more than 255."""
    x = np.zeros((255, 1, 2, 1), "float32")
    x[:, 0, 1, 0] = np.arange(1, 256)
    assert as_array(colours.autocontrasted(x)).max() == 255


def test_blur_is_that_of_scipy_each_image_by_its_own():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = pictures((9, 14, 3))
    sigma = np.array([0.01, 0.5, 1.3, 2.0], "float32")
    found = as_array(colours.blurred(x, sigma, 2.0))
    for image, s, out in zip(x, sigma, found):
        expected = ndimage.gaussian_filter(
            image.astype("float64"), (s, s, 0), mode="mirror", radius=(6, 6, 0)
        )
        np.testing.assert_allclose(out, expected, atol=1e-3)


def test_erasing():
    x = images(3, (6, 8, 3))
    out = as_array(augment.erased(x, [1.0, 0, 3], [2.0, 0, 3], [3.0, 0, 3], [4.0, 8, 5], 9.0))
    expected = x.copy()
    expected[0, 1:4, 2:6] = expected[2, 3:6, 3:8] = 9
    np.testing.assert_array_equal(out, expected)
    noise = images(3, (6, 8, 3))[::-1] / 2
    out = as_array(augment.erased(x, [0.0] * 3, [0.0] * 3, [6.0] * 3, [8.0] * 3, noise))
    np.testing.assert_array_equal(out, noise)


def test_each_operation_of_rand_augment():
    """Factor 0.5, sign +: what one bright pixel, or a ramp, becomes."""

    def one(name, x, sign=1.0, factor=0.5):
        chosen = np.full(len(x), rand_augment.OPERATIONS.index(name), "int32")
        return as_array(
            rand_augment.apply(x, chosen, np.full(len(x), sign, "float32"), factor, resampled)
        )

    def resampled(x, matrices):
        return augment.transform(x, matrices, "constant", 0.0)

    dot = np.zeros((1, 41, 41, 1), "float32")
    dot[0, 20, 30] = 255  # ten right of the centre

    def place(name, sign=1.0):
        out = one(name, dot, sign)[0, ..., 0]
        rows, columns = np.arange(41) @ out.T, out @ np.arange(41)
        return rows.sum() and (
            (out.sum(1) @ np.arange(41)) / out.sum() - 20,
            columns.sum() / out.sum() - 20,
        )

    angle = math.radians(15)
    assert place("identity") == (0, 10)
    turned = 10 * math.sin(angle), 10 * math.cos(angle)
    assert place("rotate") == pytest.approx(turned, abs=0.1)
    assert place("rotate", -1) == pytest.approx((-turned[0], turned[1]), abs=0.1)
    assert place("shear_x") == pytest.approx((0, 10), abs=0.01)
    assert place("shear_y") == pytest.approx((1.5, 10), abs=0.1)
    shift = 0.5 * 0.45 * 41
    assert place("translate_x") == pytest.approx((0, 10 + shift), abs=0.01)
    assert place("translate_y", -1) == pytest.approx((-shift, 10), abs=0.01)

    x = pictures()
    grey = as_array(colours.grey(x))
    np.testing.assert_array_equal(one("identity", x), x)
    np.testing.assert_allclose(one("brightness", x, -1), 0.55 * x, atol=1e-3)
    np.testing.assert_allclose(one("color", x, -1), 0.55 * x + 0.45 * grey, atol=1e-3)
    means = grey.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        one("contrast", x), (1.45 * x - 0.45 * means).clip(0, 255), atol=1e-2
    )
    for name, expected in (
        ("sharpness", colours.blend(colours.smooth(x), x, [1.45] * 4)),
        ("posterize", colours.posterized(x, 6)),
        ("solarize", colours.solarized(x, 127.5)),
        ("autocontrast", colours.autocontrasted(x)),
        ("equalize", colours.equalized(x)),
    ):
        np.testing.assert_allclose(one(name, x), as_array(expected), atol=1e-3)
    for name in ("rotate", "brightness", "posterize", "sharpness"):
        np.testing.assert_allclose(one(name, x, factor=0.0), x, atol=1e-3)


# --- the draws ---


def drawn(x, seed=1, **settings):
    layer = augment.Augment(recipes.Augmentation(**settings), len(x), seed)
    return as_array(layer(x, np.arange(len(x), dtype="int32"), training=True))


def test_rand_augment_draws_each_operation_alike_and_both_signs(monkeypatch):
    seen = []

    def apply(x, chosen, sign, factor, resampled):
        seen.append((as_array(chosen), as_array(sign), factor))
        return x

    monkeypatch.setattr(rand_augment, "apply", apply)
    drawn(images(4000, (8, 8, 1)), rand_augment_ops=3, rand_augment_factor=0.7)
    assert len(seen) == 3
    for chosen, sign, factor in seen:
        counts = np.bincount(chosen, minlength=14)
        assert factor == 0.7 and len(counts) == 14 and counts.min() > 200 and counts.max() < 370
        assert set(sign) == {-1.0, 1.0} and abs(sign.mean()) < 0.06
    assert abs(np.corrcoef(seen[0][0], seen[1][0])[0, 1]) < 0.06


def test_colours_fill_their_ranges():
    n = 3000
    x = np.full((n, 8, 8, 3), 100.0, "float32")
    added = (drawn(x, brightness_factor=0.2) - 100)[:, 0, 0, 0] / 255
    assert -0.2 <= added.min() < -0.19 and 0.19 < added.max() <= 0.2 and abs(added.mean()) < 0.01
    x[:, :4] = 120
    factors = np.ptp(drawn(x, contrast_factor=0.4)[..., 0], axis=(1, 2)) / 20
    assert 0.6 - 1e-4 <= factors.min() < 0.61 and 1.39 < factors.max() <= 1.4001
    x[:] = (120, 100, 100)
    factors = np.ptp(drawn(x, saturation_factor=0.5)[:, 0, 0], axis=1) / 20
    assert 0.5 - 1e-4 <= factors.min() < 0.51 and 1.49 < factors.max() <= 1.5001
    x[:] = (150, 0, 0)
    out = drawn(x, hue_factor=0.2)[:, 0, 0]  # up to 36 degrees, of which 60 are yellow or magenta
    assert (out[:, 0] > 149).all() and out.max() < 150.01
    assert 88 < out[:, 1].max() < 90.1 and 88 < out[:, 2].max() < 90.1
    assert abs((out[:, 1] > 0).mean() - 0.5) < 0.03


def test_blur_has_a_chance_and_a_range():
    x = np.zeros((2000, 15, 15, 1), "float32")
    x[:, 7, 7] = 255
    out = drawn(x, gaussian_blur_factor=0.3, gaussian_blur_sigma=[1, 2])[..., 0]
    blurred = out[:, 7, 7] < 254
    assert 0.27 < blurred.mean() < 0.33
    offsets = np.square(np.arange(15) - 7)
    spread = np.sqrt(out[blurred].sum(1) @ offsets / 255)
    assert 0.95 < spread.min() < 1.02 and 1.9 < spread.max() < 2.0


def test_erasing_has_a_chance_an_area_and_sides():
    x = np.zeros((3000, 40, 40, 1), "float32")
    out = drawn(x, erasing_factor=0.6, erasing_scale=[0.1, 0.2], erasing_fill_value=255)[..., 0]
    erased = out.any((1, 2))
    assert 0.57 < erased.mean() < 0.63
    area = (out[erased] > 0).mean((1, 2))
    assert 0.09 < area.min() < 0.105 and 0.195 < area.max() < 0.22
    high, wide = out[erased].any(2).sum(1), out[erased].any(1).sum(1)
    np.testing.assert_allclose(high * wide / 1600, area, rtol=1e-6)  # rectangles
    ratio = np.log(high / wide)
    assert ratio.max() == pytest.approx(-math.log(0.3), abs=0.15) and abs(ratio.mean()) < 0.06
    assert out.any(0).all()
    noise = drawn(x, erasing_factor=1, erasing_scale=[1, 1])
    assert (
        np.unique(noise).size > 1000
        and 250 < noise.max() < 255
        and 120 < noise[noise > 0].mean() < 135
    )


EVERYTHING = dict(
    rotation_range=5,
    horizontal_flip=True,
    crop_padding=2,
    cutout_size=3,
    rand_augment_ops=2,
    rand_augment_factor=0.4,
    brightness_factor=0.1,
    contrast_factor=0.1,
    gaussian_blur_factor=0.5,
    gaussian_blur_sigma=[0.2, 0.8],
    jpeg_quality=[20, 90],
    jpeg_share=0.7,
    erasing_factor=0.5,
)
COLOURS = dict(saturation_factor=0.3, hue_factor=0.1)


@pytest.mark.parametrize("shape, more", [((32, 32, 3), COLOURS), ((28, 28, 1), {})])
def test_seeded_in_range_different_for_each_image_and_nothing_outside_training(shape, more):
    settings, x = {**EVERYTHING, **more}, np.repeat(images(1, shape), 8, 0)
    first = drawn(x, **settings)
    np.testing.assert_array_equal(first, drawn(x, **settings))
    assert (drawn(x, seed=2, **settings) != first).any()
    assert len({image.tobytes() for image in first}) == 8
    assert first.shape == x.shape and first.min() >= 0 and first.max() <= 255
    layer = augment.Augment(recipes.Augmentation(**settings), 8, 1)
    np.testing.assert_array_equal(as_array(layer(x, np.arange(8), training=False)), x)


def test_what_was_drawn_before_is_drawn_still():
    """Fields that came later draw apart: crops are the same with and without them."""
    x = 60 + images(8) / 2
    plain = drawn(x, crop_padding=4, horizontal_flip=True)
    both = drawn(x, crop_padding=4, horizontal_flip=True, brightness_factor=0.1)
    assert np.ptp(both - plain, axis=(1, 2, 3)).max() < 1e-3
    assert 10 < np.abs(both - plain).max() < 26


# --- fields ---


def test_new_fields_change_no_digest_where_they_do_nothing():
    plain = recipes.Augmentation(crop_padding=4)
    assert len(plain.as_dict()) == 14 and "jpeg_quality" not in plain.as_dict()
    on = recipes.Augmentation(crop_padding=4, jpeg_quality=[30, 100])
    assert on.as_dict() == {**plain.as_dict(), "jpeg_quality": [30, 100]}
    assert recipes.Augmentation(**on.as_dict()) == on
    assert recipes.Augmentation(jpeg_quality=[]) == recipes.Augmentation()
    of_whole = recipes.Augmentation(hue_factor=1, jpeg_quality=[1, 1]).as_dict()
    assert isinstance(of_whole["hue_factor"], float)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"rand_augment_ops": 1.5}, "a whole number from 0 to 10"),
        ({"rand_augment_ops": 2, "rand_augment_factor": 9}, "a number from 0 to 1"),
        ({"rand_augment_factor": 0.5}, "0.3, since rand_augment_ops is 0"),
        ({"brightness_factor": -0.1}, "a number from 0 to 1"),
        ({"contrast_factor": "1"}, "a number from 0 to 1"),
        ({"saturation_factor": 1.1}, "a number from 0 to 1"),
        ({"hue_factor": True}, "a number from 0 to 1"),
        ({"gaussian_blur_factor": math.nan}, "a number from 0 to 1"),
        (
            {"gaussian_blur_sigma": [0, 1], "gaussian_blur_factor": 1},
            "[low, high] with 0.01 <= low <= high <= 10",
        ),
        ({"gaussian_blur_sigma": [1, 1]}, "[0.1, 2.0], since gaussian_blur_factor is 0.0"),
        ({"jpeg_quality": 30}, "[low, high] of whole numbers with 1 <= low <= high <= 100"),
        ({"jpeg_quality": [30.5, 40]}, "of whole numbers"),
        ({"jpeg_quality": [40, 30]}, "or [] for none"),
        ({"jpeg_quality": [0, 30]}, "1 <= low"),
        ({"jpeg_quality": [1, 2, 3]}, "[low, high]"),
        ({"jpeg_quality": None}, "[low, high]"),
        ({"jpeg_share": 0.5}, "1.0, since jpeg_quality is []"),
        ({"jpeg_share": 2, "jpeg_quality": [1, 2]}, "a number from 0 to 1"),
        ({"erasing_factor": 2}, "a number from 0 to 1"),
        ({"erasing_factor": 1, "erasing_scale": [0.5, 1.5]}, "0 <= low <= high <= 1"),
        ({"erasing_factor": 1, "erasing_fill_value": "noise"}, "null for noise"),
        ({"erasing_fill_value": 3}, "null, since erasing_factor is 0.0"),
        ({"mixup_alpha": -1}, "a number from 0 to 100"),
        ({"cutmix_alpha": [1]}, "a number from 0 to 100"),
        ({"mixing_share": 0.5}, "1.0, since mixup_alpha is 0.0 and cutmix_alpha is 0.0"),
        ({"mixup_alpha": 1, "mixing_share": "all"}, "a number from 0 to 1"),
    ],
)
def test_wrong_values_are_refused_by_name(fields, words):
    with pytest.raises(InputError, match="augmentation: .*: must be .*received") as error:
        recipes.Augmentation(**fields)
    assert words in str(error.value) and any(name in str(error.value) for name in fields)


def test_what_the_recipe_does_not_allow():
    grey = ladder.get("fashion-mnist-92").recipe
    for name in ("saturation_factor", "hue_factor"):
        with pytest.raises(InputError, match=f"{name}: must be 0, since input_shape has 1 channel"):
            recipes.changed(grey, {"augmentation": {name: 0.1}}, "test")
    hinge = {"loss": "multiclass_hinge", "augmentation": {"mixup_alpha": 1}}
    with pytest.raises(InputError, match="loss: must be one of categorical_crossentropy, binary"):
        recipes.changed(ladder.get("cifar10-74").recipe, hinge, "test")


def test_blur_grows_with_the_images():
    fields = {"gaussian_blur_factor": 1, "gaussian_blur_sigma": [0.2, 1]}
    recipe = recipes.changed(ladder.get("cifar10-74").recipe, {"augmentation": fields}, "test")
    assert recipes.resized(recipe, 64).augmentation.gaussian_blur_sigma == (0.4, 2)
    assert recipes.resized(recipe, 1024).augmentation.gaussian_blur_sigma == (6.4, 10)
    plain = ladder.get("cifar10-90").recipe
    assert recipes.resized(plain, 64).augmentation.gaussian_blur_sigma == (0.1, 2)


def test_they_can_be_searched():
    recipe = ladder.get("cifar10-74").recipe
    assert space.parse_range("hue_factor=0:0.5", recipe)[0] == "hue_factor"
    with pytest.raises(InputError, match="'jpeg_share' must be one of"):
        space.parse_range("jpeg_share=0:1", recipe)
    with pytest.raises(InputError, match="mixup_alpha: must be a number from 0 to 100"):
        space.parse_range("mixup_alpha=0:200", recipe)
    augmented = recipes.changed(
        recipe, {"augmentation": {"rand_augment_ops": 1, "jpeg_quality": [30, 90]}}, "test"
    )
    space.parse_range("jpeg_share=0:1", augmented)
    texts = [
        "rand_augment_ops=0:3",
        "rand_augment_factor=0:1",
        "mixing_share=0:1",
        "cutmix_alpha=0,1",
    ]
    assert list(space.parse_ranges(texts, recipe)) == [text.partition("=")[0] for text in texts]
    with pytest.raises(InputError, match="rand_augment_factor: must be a number from 0 to 1"):
        space.parse_ranges(["rand_augment_factor=0:2", "rand_augment_ops=0:3"], recipe)
    values = {"rand_augment_ops": 0, "rand_augment_factor": 0.9, "jpeg_share": 0.5}
    found = space.with_fields(augmented, values).augmentation
    assert (found.rand_augment_ops, found.rand_augment_factor, found.jpeg_share) == (0, 0.3, 0.5)


@pytest.mark.parametrize(
    "text, value",
    [(".4", 0.4), ("1.", 1.0), ("-.5e-3", -0.0005), ("4", 4), ("1/255", "1/255"), ("nan", "nan")],
)
def test_a_number_as_python_writes_it_is_one(text, value):
    found = adjusting.parsed_field(f"augmentation.mixup_alpha={text}")
    assert found == ("augmentation.mixup_alpha", value) and type(found[1]) is type(value)
