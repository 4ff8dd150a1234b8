"""Lessons on losses, signals, training and generalisation: the lectures' figures and what the
pictures claim."""

import math
import os

import numpy as np
import pytest

from cifar_lab import scratch
from cifar_lab.lessons import Sources, classifier, generalisation, losses, signals, training
from cifar_lab.lessons.sources import plain_shapes
from support import outcome_of


def numbers_of(name):
    return {number.name: number for number in outcome_of(name).numbers}


def value(name, beginning):
    numbers = numbers_of(name)
    if beginning in numbers:
        return numbers[beginning].value
    (found,) = [number.value for key, number in numbers.items() if key.startswith(beginning)]
    return found


def close(a, b, tolerance=5e-4):
    return np.allclose(a, b, rtol=0, atol=tolerance)


# --- losses ---------------------------------------------------------------------------------------


def test_hinge_and_softmax_loss_of_the_three_pictures():
    assert close(value("hinge", "hinge loss of the cat"), [2.9, 0, 12.9])
    assert close(value("hinge", "mean hinge"), 5.2667)
    assert close(value("hinge", "softmax loss of the same"), [2.0404, 0.0791, 6.1565])
    assert close(value("hinge", "softmax loss of all scores 0"), math.log(3))


def test_softmax_overflows_only_without_the_shift():
    assert np.isnan(losses.plain_softmax(np.array([1000.0, 1001, 1002]))).all()
    assert close(losses.plain_softmax(np.array([0.0, 1, 2])), [0.0900, 0.2447, 0.6652])
    assert close(value("softmax", "softmax of 1000"), [0.0900, 0.2447, 0.6652])
    assert close(value("softmax", "gradient y - t"), [0.0182, 0.2452, -0.2634])
    assert value("softmax", "relative error") < 1e-8
    assert value("softmax", "loss where the right score") == 1000


# --- signals --------------------------------------------------------------------------------------


def test_tanh_by_exponentials_ends():
    assert math.isnan(signals.tanh_by_exponentials(1000))
    assert signals.tanh_by_exponentials(1) == pytest.approx(0.76159416)
    assert signals.tanh_by_exponentials(709) == 1


def test_a_linear_stack_is_one_matrix():
    assert value("activations", "three affine layers") < 1e-14


def test_sigmoids_of_three_scores_are_no_probabilities():
    numbers = numbers_of("activations")
    assert close(numbers["sum of the sigmoids of the scores 2, 1, .1"].value, 2.1368)
    assert "sigmoid" in numbers["sum of their softmax"].printed


def test_the_gradient_vanishes_through_sigmoids_alone():
    first_over_last = {
        kind: value(
            "vanishing", f"gradient at the first of 10 layers over that at the last, {kind}"
        )
        for kind in ("sigmoid", "tanh", "relu")
    }
    assert 1e-6 < first_over_last["sigmoid"] < 0.25**9  # at most a quarter, nine times
    assert first_over_last["tanh"] > 0.4 and first_over_last["relu"] > 0.4
    assert value("vanishing", "loss after 20 epochs, sigmoid") > 2.25  # log 10 is guessing
    assert value("vanishing", "loss after 20 epochs, tanh") < 0.5
    assert value("vanishing", "loss after 20 epochs, relu") < 0.5


def test_the_gradient_through_one_sigmoid_layer_by_hand():
    layer = scratch.Sigmoid()
    layer.forward(np.zeros((1, 3)))
    assert close(layer.backward(np.ones((1, 3))), 0.25)


@pytest.mark.parametrize(
    "kind, deviation, growth",
    [
        (scratch.Relu, (2 / 100) ** 0.5, 1.0),
        (scratch.Relu, 2 / 100**0.5, 2**0.5),  # the slide's
        (scratch.Relu, 100**-0.5, 0.5**0.5),
        (scratch.Tanh, 0.01, 0.1),  # sqrt(100) times .01
    ],
)
def test_growth_of_the_values_by_first_weights(kind, deviation, growth):
    values = signals.layer_values(kind, deviation)
    sizes = [float(np.sqrt((v**2).mean())) for v in values]
    assert (sizes[4] / sizes[0]) ** 0.25 == pytest.approx(growth, rel=0.06)


def test_large_weights_saturate_tanh():
    assert value("initialisation", "share of tanh above") > 0.7
    assert numbers_of("initialisation")[
        "deviation of He's weights, n = 100"
    ].value == pytest.approx(0.141421, abs=1e-6)


# --- training -------------------------------------------------------------------------------------


def test_one_step_in_the_valley():
    path = training.valley_path(scratch.GradientDescent(0.95), 1)
    assert close(path, [[-7, 2], [-6.335, -1.8]])  # gradient (-.7, 4)
    assert training.valley(path[0]) == pytest.approx(49 / 20 + 4)
    assert close(value("optimizers", "height after one step, W + rate"), 7.665**2 / 20 + 5.8**2)


@pytest.mark.parametrize("name", training.OPTIMIZERS)
def test_every_optimizer_gets_down_the_valley(name):
    make, rate, _ = training.OPTIMIZERS[name]
    assert training.valley(training.valley_path(make(rate))[-1]) < 0.2


def test_adam_without_its_correction_steps_too_far():
    start = np.array(training.START)
    lengths = [
        np.abs(training.valley_path(adam, 1)[1] - start)
        for adam in (scratch.Adam(0.1), training.UncorrectedAdam(0.1))
    ]
    assert close(lengths[0], 0.1) and close(lengths[1], 0.316228)


def test_batch_normalisation_keeps_deviations_and_bears_a_high_rate():
    with_it = value("batch-norm", "deviation of the sums by layer, with")
    without = value("batch-norm", "deviation of the sums by layer, without")
    assert min(with_it) > 0.7 and without[-1] < 1e-3
    assert math.isnan(value("batch-norm", "loss after 10 epochs, without, rate 1"))
    assert value("batch-norm", "loss after 10 epochs, with, rate 1") < 0.1
    assert value("batch-norm", "share of the first statistics") == pytest.approx(0.366, abs=1e-3)
    moving = value("batch-norm", "validation accuracy (%), moving")
    assert value("batch-norm", "validation accuracy (%), statistics taken anew") > moving + 5


def test_statistics_taken_anew_are_those_of_the_pictures():
    x = np.random.default_rng(3).normal(5, 2, (500, 2))
    layer = scratch.BatchNormalization(2)
    training.take_statistics(scratch.Network(layer), x)
    assert close(layer.moving_mean, x.mean(0)) and close(layer.moving_variance, x.var(0))
    assert layer.momentum == 0.99


# --- generalisation -------------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_narrows_the_gap():
    assert value("dropout", "outputs of 1 become") == [0, 2]
    assert value("dropout", "their mean outside") == 1
    without = value("dropout", "gap between them, without")
    assert value("dropout", "gap between them, with,") < without - 0.05


def test_weight_decay_shrinks_the_weights():
    assert close(value("weight-decay", "2 after three steps"), 2 * 0.95**3)
    norms = value("weight-decay", "norm of the weights")
    assert norms == sorted(norms, reverse=True) and norms[-1] < norms[0] / 5
    train = value("weight-decay", "train accuracy")
    assert train[0] == 100 and train[-1] < 80


def test_decay_adds_lambda_w_to_the_gradient():
    network = scratch.Network(scratch.Affine(np.full((2, 10), 3.0)))
    x, labels = np.zeros((4, 2)), np.zeros(4, int)  # no picture, no gradient
    order = np.random.default_rng(0)
    classifier.train(network, x, labels, scratch.GradientDescent(0.1), order, count=2, decay=0.5)
    assert close(network.weights[0], 3 * 0.95**2)


def test_overfitting_turns_the_validation_loss_and_not_the_train_loss():
    at_best = next(
        n.value for n in outcome_of("overfitting").numbers if n.name.startswith("200 nodes")
    )
    at_end = value("overfitting", "200 nodes, epoch 100")
    assert at_end[0] < at_best[0] and at_end[1] > at_best[1] + 0.03
    assert min(value("overfitting", "2 nodes")) > 1


@pytest.mark.parametrize(
    "found, patience, stop, best",
    [
        ([3, 2, 1, 2, 2, 2], 3, 6, 3),
        ([3, 2, 1, 2, 2, 0], 3, 6, 6),  # just in time
        ([3, 2, 1], 5, 3, 3),  # the end comes first
        ([1, 1, 1, 0], 2, 3, 1),  # equal is not better
    ],
)
def test_early_stop(found, patience, stop, best):
    assert generalisation.early_stop(np.array(found, float), patience) == (stop, best)


def test_other_pictures_than_those_that_were_learnt():
    asked = "split", "trained on clean pictures, asked on "
    assert value(asked[0], asked[1] + "blurred") < value(asked[0], asked[1] + "clean") - 8
    seen_such = value("split", "trained on half of them blurred, asked on blurred")
    assert seen_such > value(asked[0], asked[1] + "blurred") + 8


def test_what_chooses_cannot_judge():
    chosen, others = generalisation.luckiest(np.arange(1000) % 10)
    assert (np.diff(chosen) >= 0).all()
    assert chosen[-1] >= 17 and 7 < others[-1] < 13


def test_blur_is_the_mean_of_81_pixels():
    picture = np.zeros((1, 784))
    picture[0, 14 * 28 + 14] = 81
    found = generalisation.blurred(picture).reshape(28, 28)
    assert found.sum() == pytest.approx(81) and (found[10:19, 10:19] == 1).all()


# --- their data -----------------------------------------------------------------------------------


def test_plain_shapes_are_bright_on_black():
    shapes = plain_shapes()
    assert shapes.train_images.shape == (6000, 28, 28, 1)
    assert shapes.test_images.shape == (1000, 28, 28, 1)
    assert shapes.train_images.dtype == np.uint8
    assert (shapes.train_images[:, 0, 0] == 0).all()
    assert (shapes.train_images.max((1, 2, 3)) == 255).all()


def test_validation_pictures_are_none_of_those_learnt():
    data = classifier.digits(Sources(), 300, 1000)
    assert data.x.shape == (300, 784) and data.val_x.shape == (1000, 784)
    assert 0 <= data.x.min() and data.x.max() <= 1
    learnt = {row.tobytes() for row in data.x}
    assert not learnt & {row.tobytes() for row in data.val_x}


@pytest.mark.parametrize("name", ["split", pytest.param("overfitting", marks=pytest.mark.slow)])
def test_on_mnist(name):
    folder = os.environ.get("CIFAR_LAB_DATA")
    if not folder:
        pytest.skip("CIFAR_LAB_DATA is not set: no MNIST")
    outcome = outcome_of(name, folder)
    if "MNIST" not in outcome.data:
        pytest.skip(f"no MNIST in {folder}")
    assert all(number.right for number in outcome.numbers)
