"""The embedded data set: deterministic, graded by its dials, hard enough and easy enough."""

import numpy as np
import pytest

from cifar_lab.data import synthetic
from cifar_lab.data.synthetic import DIAL_NAMES, Dials
from cifar_lab.errors import InputError

ZERO = Dials(**dict.fromkeys(DIAL_NAMES, 0))


def test_shapes_types_and_balance():
    images, labels, test_images, test_labels = synthetic.load(200, 50)
    assert images.shape == (200, 32, 32, 3) and images.dtype == np.uint8
    assert test_images.shape == (50, 32, 32, 3)
    assert (
        np.bincount(labels).tolist() == [20] * 10 and np.bincount(test_labels).tolist() == [5] * 10
    )
    assert labels.dtype == np.int64 and len(synthetic.CLASSES) == 10


def test_same_seed_same_pictures_other_seed_others():
    a, b, c = (synthetic.load(30, 10, seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_the_splits_share_no_picture():
    train, _, test, _ = synthetic.load(300, 100)
    assert not {i.tobytes() for i in train} & {i.tobytes() for i in test}


def test_at_zero_every_class_is_one_picture_and_the_ten_differ():
    images, labels = synthetic.generate(100, 3, ZERO)
    firsts = [images[labels == c][0] for c in range(10)]
    for c in range(10):
        assert (images[labels == c] == firsts[c]).all()
    assert len({f.tobytes() for f in firsts}) == 10


@pytest.mark.parametrize("dial", DIAL_NAMES)
def test_each_dial_moves_pictures_away_from_the_plain_one(dial):
    """The mean distance from the picture at zero grows with the dial."""
    plain = synthetic.draw(6, np.random.default_rng(0), ZERO).astype(float)

    def distance(value):
        dials = Dials(**{**dict.fromkeys(DIAL_NAMES, 0), dial: value})
        return np.mean(
            [
                np.abs(synthetic.draw(6, np.random.default_rng(s), dials) - plain).mean()
                for s in range(40)
            ]
        )

    assert 0 < distance(0.3) < distance(1.0)


def linear_softmax_accuracy(images, labels, test_images, test_labels, epochs=20):
    """Test accuracy of softmax regression on pixels (SGD with momentum), the best of all epochs."""
    flat = images.reshape(len(images), -1).astype("float32") / 255
    center = flat.mean(0)
    flat, flat_test = (
        flat - center,
        test_images.reshape(len(test_images), -1).astype("float32") / 255 - center,
    )
    rng, weights, bias = (
        np.random.default_rng(0),
        np.zeros((flat.shape[1], 10), "float32"),
        np.zeros(10, "float32"),
    )
    velocity, targets, best = np.zeros_like(weights), np.eye(10, dtype="float32")[labels], 0
    for _ in range(epochs):
        order = rng.permutation(len(flat))
        for start in range(0, len(flat), 128):
            rows = order[start : start + 128]
            scores = flat[rows] @ weights + bias
            scores = np.exp(scores - scores.max(1, keepdims=True))
            gap = (scores / scores.sum(1, keepdims=True) - targets[rows]) / len(rows)
            velocity = 0.9 * velocity + flat[rows].T @ gap
            weights -= 0.01 * velocity
            bias -= 0.01 * gap.sum(0)
        best = max(best, ((flat_test @ weights + bias).argmax(1) == test_labels).mean())
    return best


def test_a_linear_classifier_stays_below_60_percent_at_the_default_setting():
    assert 0.15 < linear_softmax_accuracy(*synthetic.load(5_000, 1_000)) < 0.60


def test_a_linear_classifier_is_perfect_at_zero():
    assert linear_softmax_accuracy(*synthetic.load(500, 200, dials=ZERO)) == 1.0


def test_dials_are_parsed_from_the_name():
    assert synthetic.parse("synthetic") == (None, Dials())
    dials = Dials(occlusion=1, clutter=0)
    assert synthetic.parse("synthetic:occlusion=1,clutter=0") == (None, dials)
    assert synthetic.parse("synthetic:occlusion=1,images=3000,clutter=0") == (3000, dials)


@pytest.mark.parametrize(
    "name, words",
    [
        ("synthetic:fog=1", "unknown dial 'fog',"),
        ("synthetic:occlusoin=1", r"unknown dial 'occlusoin' \(occlusion\?\)"),
        ("synthetic:image=300", r"'image' \(images\?\)"),
        ("synthetic:clutter=2", "dial clutter.*received 2"),
        ("synthetic:clutter=x", "received 'x'"),
        ("synthetic:clutter=nan", "dial clutter"),
        *(
            (
                f"synthetic:images={n}",
                "images must be a whole number from 20 to 100,000,000, received",
            )
            for n in ("19", "100000001", "1e6", "-5", "", "9" * 30)
        ),
    ],
)
def test_wrong_dials_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        synthetic.parse(name)
