"""Augmentation: exact pixels, ImageDataGenerator's meaning, and that it is reproducible on every
backend."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cifar_lab import ladder
from cifar_lab import recipe as recipes
from cifar_lab.training import augment
from support import COMPILED_QUICKLY, ROOT, command_env

SHAPES = [(32, 32, 3), (28, 28, 1), (20, 31, 3)]
SEED = 7


def as_array(x):
    from keras import ops

    return ops.convert_to_numpy(x)


def images(n, shape=(32, 32, 3)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype("float32")


def parameters(n):
    """What apply_transform takes, drawn wide: turned all the way, shifted beyond the image, some of
    it left out."""
    rng = np.random.default_rng(SEED)
    return {
        "theta": rng.uniform(-180, 180, n) * (rng.random(n) < 0.8),
        "tx": rng.uniform(-40, 40, n) * (rng.random(n) < 0.7),
        "ty": rng.uniform(-40, 40, n) * (rng.random(n) < 0.7),
        "shear": rng.uniform(-60, 60, n) * (rng.random(n) < 0.5),
        "zx": rng.uniform(0.3, 3, n),
        "zy": rng.uniform(0.3, 3, n),
        "flip_horizontal": rng.random(n) < 0.5,
        "flip_vertical": rng.random(n) < 0.5,
    }


def ours(x, p, mode):
    geometry = {k: v for k, v in p.items() if not k.startswith("flip")}
    out = augment.transform(
        x, augment.affine_matrices(**geometry, height=x.shape[1], width=x.shape[2]), mode, 33.0
    )
    return as_array(
        augment.flip(augment.flip(out, p["flip_horizontal"]), p["flip_vertical"], axis=1)
    )


def theirs(x, p, mode):
    pytest.importorskip("scipy")
    pytest.importorskip("tensorflow")
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(fill_mode=mode, cval=33.0)
    return np.stack(
        [generator.apply_transform(x[i], {k: v[i] for k, v in p.items()}) for i in range(len(x))]
    )


@pytest.mark.parametrize("mode", ["nearest", "constant", "reflect", "wrap", "mirror"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_pixels_are_those_of_ImageDataGenerator(shape, mode):
    x, p = images(40, shape), parameters(40)
    np.testing.assert_allclose(ours(x, p, mode), theirs(x, p, mode), atol=0.02)  # of 255


@pytest.mark.parametrize("mode", ["nearest", "constant", "reflect", "wrap", "mirror"])
def test_whole_pixels_and_right_angles(mode):
    """Where sampling points fall on pixels, also far outside; the borders' rounding of right angles
    apart."""
    n = 9
    x = images(n, (8, 8, 1))
    p = {
        "theta": np.zeros(n),
        "tx": np.arange(n) * 5.0 - 20,
        "ty": np.arange(n)[::-1] * 3.0 - 10,
        "shear": np.zeros(n),
        "zx": np.ones(n),
        "zy": np.ones(n),
        "flip_horizontal": np.zeros(n, bool),
        "flip_vertical": np.zeros(n, bool),
    }
    np.testing.assert_allclose(ours(x, p, mode), theirs(x, p, mode), atol=1e-3)
    p["tx"], p["ty"], p["theta"] = np.zeros(n), np.zeros(n), np.arange(n) * 90.0 - 360
    np.testing.assert_allclose(
        ours(x, p, mode)[:, 1:-1, 1:-1], theirs(x, p, mode)[:, 1:-1, 1:-1], atol=0.02
    )


def test_the_identity_changes_nothing():
    x = images(3)
    for mode in recipes.FILL_MODES:
        out = augment.transform(x, augment.affine_matrices(np.zeros(3), height=32, width=32), mode)
        np.testing.assert_array_equal(as_array(out), x)


def test_images_that_are_not_square_turn_about_their_centre():
    x = np.zeros((1, 5, 9, 1), "float32")
    x[0, 2, 6] = 200  # two right of the centre
    m = augment.affine_matrices(90.0, height=5, width=9, true_center=True)
    assert np.argwhere(as_array(augment.transform(x, m, "constant"))[0, ..., 0] > 100).tolist() in (
        [[0, 4]],
        [[4, 4]],
    )


def test_flips():
    x = images(2, (4, 5, 3))
    out = as_array(augment.flip(x, np.array([True, False])))
    np.testing.assert_array_equal(out[0], x[0, :, ::-1])
    np.testing.assert_array_equal(out[1], x[1])
    np.testing.assert_array_equal(
        as_array(augment.flip(x, np.array([False, True]), axis=1))[1], x[1, ::-1]
    )


@pytest.mark.parametrize(
    "mode, numpy_mode",
    [
        ("mirror", "reflect"),
        ("reflect", "symmetric"),
        ("nearest", "edge"),
        ("constant", "constant"),
        ("wrap", "wrap"),
    ],
)
def test_padded_crop_is_a_window_of_the_padded_image(mode, numpy_mode):
    x = images(9, (8, 10, 3))
    down, right = np.arange(9, dtype="int32") % 3 * 4 - 4, np.arange(9, dtype="int32") // 3 * 4 - 4
    odd = np.arange(9) % 2 == 1
    extra = {"constant_values": 9} if mode == "constant" else {}
    for mirrored in (None, odd):
        out = as_array(augment.shifted_crop(x, down, right, mode, 9.0, mirrored))
        seen = x if mirrored is None else as_array(augment.flip(x, mirrored))
        padded = np.pad(seen, ((0, 0), (4, 4), (4, 4), (0, 0)), mode=numpy_mode, **extra)
        for i in range(9):
            np.testing.assert_array_equal(
                out[i], padded[i, 4 + down[i] : 12 + down[i], 4 + right[i] : 14 + right[i]]
            )


def test_cutout_paints_a_square_that_may_lie_partly_outside():
    x = images(3, (8, 8, 3))
    out = as_array(
        augment.cutout(x, np.array([4, 0, 7], "int32"), np.array([4, 0, 3], "int32"), 4, 100.0)
    )
    expected = x.copy()
    expected[0, 2:6, 2:6] = expected[1, 0:2, 0:2] = expected[2, 5:8, 1:5] = 100
    np.testing.assert_array_equal(out, expected)


# --- the layer ---


def layer(seed=SEED, n=50, **settings):
    return augment.Augment(recipes.Augmentation(**settings), n, seed)


def draw(augmenter, x, indices=None):
    indices = np.arange(len(x), dtype="int32") if indices is None else indices
    return as_array(augmenter(x, indices, training=True))


EVERYTHING = dict(
    rotation_range=20,
    width_shift_range=0.1,
    height_shift_range=2,
    shear_range=5,
    zoom_range=(0.8, 1.2),
    horizontal_flip=True,
    vertical_flip=True,
    crop_padding=3,
    cutout_size=6,
)


def test_seeded_different_from_batch_to_batch_and_nothing_outside_training():
    x = images(8)
    a, b, c = layer(**EVERYTHING), layer(**EVERYTHING), layer(seed=SEED + 1, **EVERYTHING)
    first, second = draw(a, x), draw(a, x)
    np.testing.assert_array_equal(first, draw(b, x))
    np.testing.assert_array_equal(second, draw(b, x))
    assert (first != second).any() and (draw(c, x) != first).any()
    assert (
        len({image.tobytes() for image in draw(a, np.repeat(x[:1], 8, 0))}) == 8
    )  # each image its own draw
    assert first.shape == x.shape and first.min() >= 0 and first.max() <= 255
    np.testing.assert_array_equal(as_array(a(x, np.arange(8), training=False)), x)


def test_its_variables_are_its_whole_state():
    x = images(4)
    a, b = (
        layer(alternating_flip=True, crop_padding=4),
        layer(seed=SEED + 5, alternating_flip=True, crop_padding=4),
    )
    draw(a, x)
    for mine, other in zip(b.variables, a.variables):
        mine.assign(other.value)
    np.testing.assert_array_equal(draw(a, x), draw(b, x))


def test_alternating_flip_mirrors_each_image_every_second_epoch():
    x = images(50)
    a = layer(alternating_flip=True)
    flipped = []
    for epoch in range(4):
        a.epoch.assign(epoch)
        indices = np.random.default_rng(epoch).permutation(50).astype("int32")
        out = draw(a, x[indices], indices)
        mirrored = (out == x[indices][:, :, ::-1]).all((1, 2, 3))
        assert (mirrored | (out == x[indices]).all((1, 2, 3))).all()
        flipped.append(mirrored[np.argsort(indices)])
    np.testing.assert_array_equal(flipped[0], ~flipped[1])
    np.testing.assert_array_equal(flipped[0], flipped[2])
    assert 10 < flipped[0].sum() < 40


def test_the_draws_fill_their_ranges():
    """A bright pixel in the middle, moved by each range: reaches the ends, in both directions, not
    beyond."""
    n = 3000
    x = np.zeros((n, 33, 33, 1), "float32")
    x[:, 16, 16] = 255

    def places(**settings):
        out = draw(layer(n=n, **settings), x)[..., 0]
        total = out.sum((1, 2))
        return [
            (out.sum(2) @ np.arange(33) / total),
            (out.sum(1) @ np.arange(33) / total),
        ]  # row, column

    for axis, name in ((1, "width_shift_range"), (0, "height_shift_range")):
        moved = places(**{name: 0.25})[axis] - 16
        assert -8.25 <= moved.min() < -8 and 8 < moved.max() <= 8.25 and abs(moved.mean()) < 0.3
        assert np.ptp(places(**{name: 0.25})[1 - axis]) < 1e-3
    assert np.ptp(places(width_shift_range=3)[1]) == pytest.approx(6, abs=0.1)  # pixels
    row, column = (p - 16 for p in places(crop_padding=2))
    for moved in (row, column):
        values, counts = np.unique(np.round(moved).astype(int), return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2] and counts.min() > 500
    x[:, 16, 16], x[:, 16, 26] = 0, 255
    row, column = (p - 16 for p in places(rotation_range=30))
    angles = np.degrees(np.arctan2(row, column))
    assert -30.5 < angles.min() < -29 and 29 < angles.max() < 30.5
    x[:, 16, 26], x[:, 26, 16] = 0, 255
    row, column = (
        p - 16 for p in places(shear_range=20)
    )  # 10 down: to 10 / cos, and 10 tan to a side
    assert (
        np.abs(column).max() == pytest.approx(10 * np.tan(np.radians(20)), abs=0.1)
        and abs(column.mean()) < 0.2
    )
    assert row.min() == pytest.approx(10, abs=0.05) and row.max() == pytest.approx(
        10 / np.cos(np.radians(20)), abs=0.1
    )
    x[:, 26, 16], x[:, 26, 26] = 0, 255
    row, column = (
        p - 16 for p in places(zoom_range=0.2)
    )  # 10 away: to between 10 / 1.2 and 10 / 0.8, each by itself
    for moved in (row, column):
        assert moved.min() == pytest.approx(10 / 1.2, abs=0.1) and moved.max() == pytest.approx(
            10 / 0.8, abs=0.1
        )
    assert abs(np.corrcoef(row, column)[0, 1]) < 0.1
    x[:] = np.arange(33)[None, None, :, None]
    mirrored = draw(layer(n=n, horizontal_flip=True), x)[:, 0, 0, 0] > 0
    assert 0.46 < mirrored.mean() < 0.54
    upside_down = draw(layer(n=n, vertical_flip=True), x.transpose(0, 2, 1, 3))[:, 0, 0, 0] > 0
    assert 0.46 < upside_down.mean() < 0.54 and abs(np.corrcoef(mirrored, upside_down)[0, 1]) < 0.1
    x[:] = 0
    covered = draw(layer(n=n, cutout_size=1, cutout_value=255.0), x)[..., 0] > 0
    assert (
        (covered.sum((1, 2)) == 1).all() and covered.any((0, 2)).all() and covered.any((0, 1)).all()
    )
    assert 0.1 < covered[:, :4].any((1, 2)).mean() < 0.145  # 4 of 33 rows


def test_the_same_parameters_give_the_same_pixels_on_jax():
    """The backends' random numbers may differ; the pixels for given parameters may not."""
    pytest.importorskip("jax")
    code = """if True:
        import json, sys
        sys.path.insert(0, "tests")
        import numpy as np
        import test_augment as t
        from cifar_lab.training import augment
        x = t.images(6)
        modes = ("nearest", "constant", "reflect", "wrap")
        out = {mode: t.ours(x, t.parameters(6), mode).tolist() for mode in modes}
        crop = augment.shifted_crop(x, np.arange(6) - 3, 3 - np.arange(6))
        out["crop"] = t.as_array(crop).tolist()
        a, b = t.layer(**t.EVERYTHING), t.layer(**t.EVERYTHING)
        first = t.draw(a, x)
        assert (first == t.draw(b, x)).all() and (t.draw(a, x) == t.draw(b, x)).all()
        print(json.dumps(out))"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=command_env(KERAS_BACKEND="jax", XLA_FLAGS=COMPILED_QUICKLY),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, x, p = json.loads(done.stdout), images(6), parameters(6)
    for mode in ("nearest", "constant", "reflect", "wrap"):
        np.testing.assert_allclose(found[mode], ours(x, p, mode), atol=0.02)
        np.testing.assert_allclose(found[mode], theirs(x, p, mode), atol=0.02)
    np.testing.assert_array_equal(
        found["crop"], as_array(augment.shifted_crop(x, np.arange(6) - 3, 3 - np.arange(6)))
    )


@pytest.mark.parametrize(
    "field, value",
    [
        ("rotation_range", -1),
        ("rotation_range", "20"),
        ("rotation_range", 181),
        ("width_shift_range", -0.1),
        ("zoom_range", 1.0),
        ("zoom_range", [1.2, 0.8]),
        ("zoom_range", [1]),
        ("fill_mode", "edge"),
        ("cval", 256),
        ("horizontal_flip", 1),
        ("crop_padding", 1.5),
        ("cutout_size", -3),
        ("cutout_size", True),
        ("shear_range", float("nan")),
    ],
)
def test_wrong_settings_are_refused_by_name(field, value):
    from cifar_lab.errors import InputError

    with pytest.raises(InputError, match=f"augmentation: {field}: must be .*received"):
        recipes.changed(ladder.get("cifar10-74").recipe, {"augmentation": {field: value}}, "test")


def test_unknown_settings_and_two_flips_are_refused():
    from cifar_lab.errors import InputError

    with pytest.raises(InputError, match="unknown field 'rotate'.*rotation_range"):
        recipes.changed(ladder.get("cifar10-74").recipe, {"augmentation": {"rotate": 3}}, "test")
    with pytest.raises(InputError, match="augmentation: must be an object"):
        recipes.changed(ladder.get("cifar10-74").recipe, {"augmentation": 3}, "test")
    with pytest.raises(InputError, match="alternating_flip"):
        recipes.Augmentation(horizontal_flip=True, alternating_flip=True)
