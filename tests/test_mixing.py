"""Mixup and cutmix: images and labels are mixed alike, exactly resumed, on every backend."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from cifar_lab import data, ladder, training
from cifar_lab import recipe as recipes
from cifar_lab.recipe import Augmentation
from cifar_lab.training import losses, mixing
from support import COMPILED_QUICKLY, ROOT, command_env
from test_augment import as_array, images
from test_colours import COLOURS, EVERYTHING

SIZE = 32, 32
TARGETS = np.eye(10, dtype="float32")[np.arange(1000) % 10]


def drawn(order=None, batch_size=50, seed=(0, 0, 1), size=SIZE, targets=TARGETS, **settings):
    order = np.random.default_rng(5).permutation(1000) if order is None else order
    return mixing.drawn(Augmentation(**settings), order, batch_size, targets, size, seed)


def batches(order=None, batch_size=50):
    order = np.random.default_rng(5).permutation(1000) if order is None else order
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


# --- the draws ---


def test_mixup_draws_a_share_a_batch_and_mixes_the_targets_to_match():
    table, targets = drawn(mixup_alpha=1.0)
    shares = []
    for batch in batches():
        partner, share = table[batch, 0].astype(int), table[batch, 1]
        assert sorted(partner) == list(range(50)) and np.ptp(share) == 0
        np.testing.assert_allclose(
            targets[batch],
            (1 - share[:, None]) * TARGETS[batch] + share[:, None] * TARGETS[batch[partner]],
            atol=1e-6,
        )
        shares.append(share[0])
    assert (table[:, 2:] == 0).all() and len(set(shares)) == 20
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_shares_are_those_of_beta(alpha):
    order = np.arange(1000)
    shares = np.concatenate(
        [drawn(order, 1, (0, e, 1), mixup_alpha=alpha)[0][:, 1] for e in range(4)]
    )
    assert shares.mean() == pytest.approx(0.5, abs=0.025)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)
    assert abs(np.corrcoef(shares[1:], shares[:-1])[0, 1]) < 0.05


def test_cutmix_draws_a_rectangle_a_batch_whose_share_the_label_has():
    order, size = np.arange(1000), (20, 30)
    table, targets = drawn(order, 2, size=size, cutmix_alpha=1.0)
    top, left, bottom, right = table[::2, 2:].T
    assert (table[:, 1] == 0).all() and (table[::2, 2:] == table[1::2, 2:]).all()
    assert top.min() == left.min() == 0 and bottom.max() == 20 and right.max() == 30
    share = (bottom - top) * (right - left) / 600
    swapped = table[::2, 0] == 1
    np.testing.assert_allclose(
        targets[::2][swapped].max(1), np.maximum(share, 1 - share)[swapped], atol=1e-6
    )
    np.testing.assert_allclose(targets[::2][~swapped], TARGETS[::2][~swapped], atol=1e-6)
    inside = (top > 0) & (left > 0) & (bottom < 20) & (right < 30)
    high, wide = (bottom - top)[inside], (right - left)[inside]
    assert np.abs(high / 20 - wide / 30).max() <= 0.11  # shaped as the image, in whole pixels
    rows = (top + bottom)[inside] / 40
    assert abs(rows.mean() - 0.5) < 0.03


def test_both_and_neither():
    order = np.arange(1000)
    table, targets = drawn(order, 1, mixup_alpha=1.0, cutmix_alpha=1.0, mixing_share=0.6)
    up, cut = table[:, 1] > 0, table[:, 2:].any(1)
    assert not (up & cut).any()
    # of cutmix, a small share may be no pixel at all
    assert 0.25 < up.mean() < 0.35 and 0.22 < cut.mean() < 0.35
    np.testing.assert_array_equal(targets[~(up | cut)], TARGETS[~(up | cut)])


def test_a_function_of_its_seed_and_of_no_other_images():
    fields = dict(mixup_alpha=0.3, cutmix_alpha=1.0)
    first, again = drawn(**fields), drawn(**fields)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (drawn(seed=(0, 1, 1), **fields)[0] != first[0]).any()
    assert (drawn(seed=(1, 0, 1), **fields)[0] != first[0]).any()
    table, targets = drawn(np.arange(130), 50, mixup_alpha=1.0)  # a last batch of 30
    assert (table[130:] == 0).all() and (targets[130:] == TARGETS[130:]).all()
    assert sorted(table[100:130, 0]) == list(range(30))


def test_the_pixels_are_mixed_as_the_table_says():
    x = images(3, (6, 8, 3))
    table = np.array([[1, 0.25, 0, 0, 0, 0], [2, 0, 1, 2, 4, 7], [0, 0, 0, 0, 0, 0]], "float32")
    out = as_array(mixing.mixed(x, table))
    np.testing.assert_allclose(out[0], 0.75 * x[0] + 0.25 * x[1], atol=1e-4)
    expected = x[1].copy()
    expected[1:4, 2:7] = x[2, 1:4, 2:7]
    np.testing.assert_array_equal(out[1], expected)
    np.testing.assert_array_equal(out[2], x[2])
    smaller = as_array(mixing.mixed(x[:2], np.array([[5, 1, 0, 0, 0, 0]] * 2, "float32")))
    np.testing.assert_array_equal(smaller, x[[1, 1]])  # 5 is 1 of 2


def test_the_weighted_loss_of_a_mixture_is_the_mixture_of_weighted_losses():
    rng = np.random.default_rng(0)
    predicted = rng.dirichlet(np.ones(4), 6).astype("float32")
    one_hot, weights = np.eye(4, dtype="float32"), np.array([0.5, 3.0, 1.0, 1.5], "float32")
    a, b, share = rng.integers(0, 4, 6), rng.integers(0, 4, 6), rng.random((6, 1), "float32")
    recipe = ladder.get("cifar10-74").recipe
    for name in recipes.MIXED_LOSSES:
        fields = {"loss": name, "class_weight": "balanced", "label_smoothing": 0.2}
        loss = losses.build(recipes.changed(recipe, fields, "test"))
        plain = losses.build(recipes.changed(recipe, {**fields, "class_weight": ""}, "test"))

        def each(labels, plain=plain):
            return weights[labels] * as_array(plain.call(one_hot[labels], predicted))

        mixture = one_hot * weights[:, None]
        targets = (1 - share) * mixture[a] + share * mixture[b]
        expected = (1 - share[:, 0]) * each(a) + share[:, 0] * each(b)
        found = as_array(loss.call(keras.ops.convert_to_tensor(targets), predicted))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


# --- training ---


def coloured(n=150, side=16):
    """A data set whose classes can be read off the pixels: class k is grey of 20 k."""
    labels = np.arange(n) % 10
    pixels = np.zeros((n, side, side, 3), np.uint8) + (20 * labels[:, None, None, None])
    pixels = pixels.astype(np.uint8)
    return data.Dataset("coloured", tuple("abcdefghij"), pixels, labels, pixels[:10], labels[:10])


def recipe_of(**fields):
    fields = {
        "epochs": 2,
        "batch_size": 32,
        "builder_options": {"filters": [4, 4, 4], "hidden_units": 8, "dropout": 0.0},
        "input_shape": [16, 16, 3],
        **fields,
    }
    return recipes.changed(ladder.get("cifar10-74").recipe, fields, "test")


def trainer_of(recipe, seed=0, **options):
    return training.Trainer(training.Plan.of(recipe, coloured(), seed, **options))


def test_the_targets_are_the_shares_of_the_pixels():
    """What the network sees in an epoch, and what it is told of it; validation sees plain
    images."""
    recipe = recipe_of(augmentation={"mixup_alpha": 0.5, "cutmix_alpha": 1.0})
    trainer = trainer_of(recipe)
    inputs = trainer.model.input
    seen = keras.Model(inputs, trainer.mix(trainer.augment(trainer.lookup(inputs), inputs), inputs))
    fitted = {}
    trainer.model.fit = lambda **given: fitted.update(given)
    for epoch in (0, 1):
        order = trainer.order(epoch)
        trainer.fit(order, epoch, None)
        pairs = [(as_array(x), as_array(y)) for x, y in fitted["x"]]
        assert [len(x) for x, _ in pairs] == [32, 32, 32, 32, 2]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in pairs]), order)
        for indices, targets in pairs:
            pixels = as_array(seen(indices, training=True)).mean((1, 2, 3))
            np.testing.assert_allclose(pixels, targets @ (20.0 * np.arange(10)), atol=1e-2)
            plain = as_array(seen(indices, training=False))
            np.testing.assert_array_equal(plain, trainer.plan.dataset.train_images[indices])
        told = np.concatenate([y for _, y in pairs])
        assert ((told > 0.01) & (told < 0.99)).any(1).mean() > 0.5
    validation = np.concatenate([as_array(y) for _, y in fitted["validation_data"]])
    assert set(np.unique(validation)) == {0.0, 1.0}


# one operation of RandAugment: each is compiled anew
ALL = {
    **EVERYTHING,
    **COLOURS,
    "rand_augment_ops": 1,
    "mixup_alpha": 0.4,
    "cutmix_alpha": 1.0,
    "mixing_share": 0.8,
}
RESUMED = {  # of the 135 images that are trained on
    "sharpness": dict(batch_size=45, sharpness_radius=0.02, sharpness_share=0.5),
    "class weights": dict(batch_size=45, class_weight="balanced"),
}


def check_resumption(folder, name):
    """With every field on: an epoch, state out and in, one more are bit for bit two in one go."""
    recipe = recipe_of(**RESUMED[name], augmentation=ALL)
    whole, second = trainer_of(recipe), trainer_of(recipe, seed=9)
    assert all(v is not whole.mix.table for v in whole._variables())
    first = [whole.run_epoch(), whole.values()][1]
    whole.save_state(folder / "state.npz", {})
    whole.run_epoch()
    second.plan = whole.plan
    second.load_state(folder / "state.npz")
    second.run_epoch()
    for a, b in zip(whole.values(), second.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(whole.values(), first, strict=True))


@pytest.mark.slow  # a short one of its kind: test_image_data_generator.py
def test_a_resumed_run_is_the_same_run(tmp_path):
    check_resumption(tmp_path, "sharpness")


def test_the_last_layer_alone_is_trained_on_mixtures_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = recipe_of(epochs=1)
    training.train(base, coloured(), tmp_path / "base", rung="base")
    fields = {"start": "base", "epochs": 2, "head_share": 0.5, "augmentation": {"mixup_alpha": 1.0}}
    trainer = trainer_of(recipes.changed(base, fields, "test"))
    conv, dense = trainer.network.get_layer("conv1"), trainer.network.layers[-1]
    before = [layer.get_weights()[0] for layer in (conv, dense)]
    losses_of = [trainer.run_epoch()["loss"]]
    np.testing.assert_array_equal(conv.get_weights()[0], before[0])
    assert (dense.get_weights()[0] != before[1]).any() and trainer.mix.table.numpy().any()
    trainer.run_epoch()
    assert (conv.get_weights()[0] != before[0]).any() and np.isfinite(losses_of).all()


# --- other backends ---


PIXELS = images(14, (20, 31, 3))


def for_given_parameters(x):
    """{what: pixels}: the backends' draws may differ, these may not."""
    from cifar_lab.training import augment, colours, jpeg, rand_augment

    spread = np.linspace(0.1, 1.9, 14).astype("float32")
    chosen, sign = np.arange(14, dtype="int32"), np.sign(spread - 1).astype("float32")

    def resampled(x, matrices):
        return augment.transform(x, matrices, "nearest")

    return {
        "jpeg": jpeg.compressed(x, np.arange(14) * 7 + 2),
        "grey jpeg": jpeg.compressed(x[..., :1], np.arange(14) * 7 + 2),
        "rand augment": rand_augment.apply(x, chosen, sign, 0.6, resampled),
        "contrast": colours.contrast(x, spread),
        "saturation": colours.saturation(x, spread),
        "hue": colours.hue(x, spread - 1),
        "blur": colours.blurred(x, spread, 1.9),
        "erased": augment.erased(x, spread * 3, spread * 4, spread * 3, spread * 2, 9.0),
        "mixed": mixing.mixed(x, np.stack([chosen[::-1], *[spread / 2] * 5], 1).astype("float32")),
    }


@pytest.mark.slow  # test_scanned mixes on JAX, and test_augment moves images there
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend, tmp_path):
    """The same pixels for the same parameters; resumption with every field on."""
    pytest.importorskip(backend)
    code = """if True:
        import sys
        from pathlib import Path
        import keras
        import numpy as np
        import test_mixing as t
        folder = Path(sys.argv[1])
        compute = t.for_given_parameters
        if keras.backend.backend() == "jax":
            import jax
            compute = jax.jit(compute)
        found = compute(keras.ops.convert_to_tensor(t.PIXELS))
        np.savez(folder / "pixels.npz", **{k: t.as_array(v) for k, v in found.items()})
        t.check_resumption(folder, "class weights")"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT / "tests",
        env=command_env(
            KERAS_BACKEND=backend,
            XLA_FLAGS=COMPILED_QUICKLY,
            JAX_COMPILATION_CACHE_DIR=tmp_path / "cache",
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0,
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "pixels.npz") as found:
        for name, expected in for_given_parameters(PIXELS).items():
            difference = np.abs(
                found[name] - as_array(expected)
            )  # where rounding decides, a level or a step
            assert difference.mean() < 0.1 and (difference > 0.02).mean() < 0.02, name
