"""The lessons on regression, descent, one neuron and small networks: their numbers, recomputed by
hand, and what each must show on any data."""

import functools
import math
import os

import numpy as np
import pytest

from cifar_lab.lessons import get, lessons, networks, sources
from support import outcome_of

MINE = [
    "matrices",
    "least-squares",
    "gradient-step",
    "learning-rate",
    "batch-size",
    "convexity",
    "logistic",
    "likelihood",
    "perceptron",
    "xor",
    "backprop",
]

real = functools.partial(
    pytest.param,
    marks=pytest.mark.skipif(
        "CIFAR_LAB_DATA" not in os.environ, reason="CIFAR_LAB_DATA names no folder with MNIST"
    ),
)
EITHER = ["embedded", real("real")]


def outcome(name, data="embedded"):
    """What a lesson finds; each is run once."""
    return outcome_of(name, os.environ["CIFAR_LAB_DATA"]) if data == "real" else outcome_of(name)


def value(lesson, start, data="embedded"):
    """The value of the one number whose name starts so."""
    (found,) = [n for n in outcome(lesson, data).numbers if n.name.startswith(start)]
    return found.value


def slips(lesson):
    """What the slide has, of each number where it is not right."""
    return [n.printed for n in outcome(lesson).numbers if n.printed is not None]


def test_the_lessons_stand_in_the_order_of_the_lectures():
    names = list(lessons())
    assert [name for name in names if name in MINE] == MINE


@pytest.mark.parametrize("name", MINE)
def test_something_is_known_of_every_lesson_beforehand(name):
    assert any(n.expected is not None for n in outcome(name).numbers)
    assert ("embedded set" in outcome(name).data) == ("digits" in get(name).needs)


@pytest.mark.parametrize(
    "name",
    [
        *(real(name) for name in ("matrices", "learning-rate", "logistic")),
        pytest.param("batch-size", marks=[*real("batch-size").marks, pytest.mark.slow]),
    ],
)
def test_every_figure_is_what_it_should_be_on_real_data(name):
    assert not [n.name for n in outcome(name, "real").numbers if not n.right]
    assert "MNIST" in outcome(name, "real").data


# --- regression -----------------------------------------------------------------------------------


def test_matrices():
    assert value("matrices", "[[1, 2]") == [[19, 22], [43, 50]]
    assert value("matrices", "the factors exchanged") == [[23, 34], [31, 46]]
    assert value("matrices", "nodes") == [784, 10]
    assert value("matrices", "weights and biases") == 7850
    assert value("matrices", "inputs of a picture") == 12_288
    assert slips("matrices") == ["784 to 9"]


def test_least_squares():
    assert value("least-squares", "slope, least") == pytest.approx(1)
    # det [[14/3, 2], [2, 1]] = 2/3, trace 17/3: greatest curvature (17/3 + sqrt(265/9)) / 2
    assert value("least-squares", "highest rate") == pytest.approx(4 / (17 / 3 + 265**0.5 / 3))
    assert 0.85 < value("least-squares", "slope after 30") < 1
    assert value("least-squares", "loss after 30") > 1e12
    with_bias = value("least-squares", "grades: weights and bias")
    assert with_bias == pytest.approx([0.33149, 0.33370, 0.31823, 0.91713], abs=5e-6)
    # 60/181, 302/905, 288/905, 166/181: the four equations solved in fractions
    assert with_bias == pytest.approx([60 / 181, 302 / 905, 288 / 905, 166 / 181])
    assert value("least-squares", "grades predicted") == pytest.approx([96, 78, 86, 76])
    without = value("least-squares", "grades: weights without")
    assert without == pytest.approx([0.33414, 0.33498, 0.32476], abs=5e-6)


def test_gradient_step():
    numbers = [n.value for n in outcome("gradient-step").numbers]
    assert numbers == pytest.approx([32, -14, 98, -28, -14, 20.6, 4.8, 46, 66.6])
    assert slips("gradient-step") == ["196"]


# --- descent --------------------------------------------------------------------------------------


def test_learning_rate_on_the_surface():
    # x shrinks by 1 - rate / 10 a step, y by 1 - 2 rate: 7 x .995^20 = 6.3323, 2 x .9^20 = .24315
    assert value("learning-rate", "height after 20 steps, too small") == pytest.approx(
        6.3323**2 / 20 + 0.24315**2, abs=1e-3
    )
    # 7 x .91^20 = 1.0615, 2 x .8^20 = .02306
    assert value("learning-rate", "height after 20 steps, good") == pytest.approx(
        1.0615**2 / 20 + 0.02306**2, abs=1e-4
    )
    assert value("learning-rate", "height after 20 steps, diverging") > 5000


@pytest.mark.parametrize("data", EITHER)
def test_learning_rate_of_the_network(data):
    slow, good, wild = (
        value("learning-rate", f"network: last 20 losses, {kind}", data)
        for kind in ("too small", "good", "diverging")
    )
    assert good < slow - 0.3 and good < 2
    assert wild > math.log(10)
    assert value("learning-rate", "hidden nodes of 50 that still answer, good", data) == 50
    assert value("learning-rate", "hidden nodes of 50 that still answer, diverging", data) <= 5


def test_updates_an_epoch():
    assert value("batch-size", "updates an epoch, 60,000 pictures, 100") == 600
    assert value("batch-size", "updates an epoch, all") == 1
    assert value("batch-size", "updates an epoch, one") == 60_000


@pytest.mark.parametrize("data", EITHER)
def test_batch_size(data):
    batch, mini, single = (
        value("batch-size", f"loss after 3 passes, {name}", data)
        for name in ("batch", "mini-batch", "stochastic")
    )
    assert single < mini < batch < math.log(10)
    # a hundredth of the rate, a hundred times as often
    assert value("batch-size", "the same, one at a time", data) == pytest.approx(mini, abs=0.01)
    noise = [value("batch-size", f"deviation of a step's loss, {n}", data) for n in ("mini", "sto")]
    assert noise[1] > 5 * noise[0]


def test_convexity():
    # s (1 - s)^2 (3 s - 1) is 0 at s = 1/3, where the sum is -ln 2
    assert value("convexity", "sum below which") == pytest.approx(-math.log(2), abs=0.01)
    assert value("convexity", "least curvature of one") == pytest.approx(-0.060102, abs=1e-6)
    assert value("convexity", "least curvature of its") > 0
    # s = 1 / (1 + e^10) = 4.5398e-5
    assert value("convexity", "slope of the squared") == pytest.approx(-4.5394e-5, rel=1e-4)
    assert value("convexity", "slope of the cross") == pytest.approx(-0.9999546, abs=1e-7)
    assert value("convexity", "the same, cross-entropy") == 0
    # Newton's method ends at (0.876657, 0.119117)
    assert value("convexity", "where the cross-entropy's") == pytest.approx(
        [0.876657, 0.119117], abs=1e-4
    )
    assert value("convexity", "where the squared error's")[0] < -4


# --- one neuron -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", EITHER)
def test_logistic(data):
    assert value("logistic", "cross-entropy before", data) == pytest.approx(0.693147, abs=1e-6)
    assert value("logistic", "cross-entropy after", data) < 0.55
    assert value("logistic", "share of the test", data) > (0.99 if data == "real" else 0.75)


def test_ink_is_darkness_on_white_and_light_on_black():
    shape = np.zeros((1, 6, 6, 1), np.uint8)
    shape[0, 2:4, 2:4] = 255
    assert (sources.ink(shape) == sources.ink(255 - shape)).all()
    assert sources.ink(shape).sum() == 4


def test_likelihood():
    # .9 x .8 x .7 x .6 x .9
    assert value("likelihood", "likelihood of five") == pytest.approx(0.27216)
    assert value("likelihood", "their cross-entropy") == pytest.approx(0.260273, abs=1e-6)
    assert value("likelihood", "chance at which 7") == pytest.approx(0.7)
    assert value("likelihood", "chance at which their") == pytest.approx(0.7)
    # -(.7 ln .7 + .3 ln .3)
    assert value("likelihood", "that lowest") == pytest.approx(0.610864, abs=1e-6)
    assert value("likelihood", "loss at y = 0") == pytest.approx(0.223144, abs=1e-6)
    assert slips("likelihood") == ["-sum t log t", "(1 - y)(1 - log H)"]


def test_perceptron():
    output, error = value("perceptron", "(0, 1) at the start")
    assert (round(output, 2), round(error, 2)) == (0.37, -0.63)
    assert int(100 * output) == 36
    assert slips("perceptron") == [".36 and -.64"]
    # by hand from (.3, .2, -.75): (0, 1) is corrected; (0, 0), (1, 0); (0, 0); none
    assert value("perceptron", "Rosenblatt's rule") == [1, 2, 1, 0]
    assert value("perceptron", "its weights") == pytest.approx([1.3, 1.2, -0.75])
    last = value("perceptron", "outputs after")
    assert last[0] < 0.01 and min(last[1:]) > 0.99


# --- small networks -------------------------------------------------------------------------------


def test_xor():
    assert value("xor", "outputs of two lines") == [0, 1, 1, 0]
    stuck = value("xor", "outputs after 10,000 steps")
    assert [f"{y:.3f}" for y in stuck] == ["0.010", "0.987", "0.500", "0.500"]
    for name in (
        "the same, a bias for each sample",
        "the same, with all",
        "a bias for each neuron",
    ):
        assert value("xor", name) == pytest.approx([0, 1, 1, 0], abs=0.05)


def test_xor_descends_by_the_true_gradient(monkeypatch):
    """One step of the lesson is one step along the numerical gradient of half the squared error."""
    monkeypatch.setattr(networks, "STEPS", 1)
    start = networks.STUCK
    *_, after = networks._learn(start, networks.CORNERS)

    def loss(weights):
        return ((networks._forward(weights, networks.CORNERS)[1] - networks.XOR) ** 2).sum() / 2

    for name in start._fields:
        before = getattr(start, name)
        for place in np.ndindex(before.shape):
            moved = np.zeros_like(before)
            moved[place] = 1e-5
            slope = loss(start._replace(**{name: before + moved}))
            slope = (slope - loss(start._replace(**{name: before - moved}))) / 2e-5
            assert before[place] - getattr(after, name)[place] == pytest.approx(slope, abs=1e-8)


def test_backprop():
    assert value("backprop", "(x + y) z") == 3
    assert value("backprop", "f = q z") == -12
    assert value("backprop", "gradient by x, y, z") == [-4, -4, 3]
    assert value("backprop", "network: output") == pytest.approx(0.191)
    assert value("backprop", "error") == pytest.approx(-0.809)
    assert value("backprop", "half the squared") == pytest.approx(0.3272405)
    # .05 x .809 = .04045; times .85 and .48; times 2 and 3, times .14 and .15
    assert value("backprop", "new weights to") == pytest.approx([0.1743825, 0.169416])
    assert value("backprop", "new weights from the first") == pytest.approx([0.121326, 0.132135])
    assert value("backprop", "new weights from the second") == pytest.approx([0.226989, 0.0982025])
    assert value("backprop", "output after") == pytest.approx(0.25575, abs=5e-6)
    assert value("backprop", "the same from weights") == pytest.approx(0.2533)
    assert value("backprop", "farthest from the numerical") < 1e-8
