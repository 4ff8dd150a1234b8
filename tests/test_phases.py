"""The stretches of a recipe's epochs that have a name."""

import subprocess
import sys

import pytest

from cifar_lab import Recipe
from cifar_lab.ladder import LADDER
from cifar_lab.phases import Phase, names_of, phase_of, phases, work_of


def test_an_even_recipe_has_none():
    assert phases(Recipe()) == [] and names_of(Recipe(), 0) == []


def test_the_phases_of_the_rung_of_94_percent():
    recipe = LADDER["cifar10-94"].recipe
    assert phases(recipe) == [
        (1, 5, "small images (20 x 20)"),
        (6, 12, "small images (24 x 24)"),
        (19, 21, "sharpness-aware"),
    ]
    assert names_of(recipe, 12) == [] and names_of(recipe, 20) == ["sharpness-aware"]


def test_phases_may_overlap():
    recipe = Recipe(
        epochs=10, keep="last", sharpness_radius=0.1, sharpness_share=0.3, swa_share=0.4,
        swa_epochs=2, start="cifar10-74", head_share=0.2,
    )  # fmt: skip
    assert phases(recipe) == [
        (1, 2, "last layer alone"),
        (7, 10, "averaging"),
        (8, 10, "sharpness-aware"),
    ]
    assert names_of(recipe, 9) == ["averaging", "sharpness-aware"]


def test_the_first_layers_freeze_for_the_last_share():
    recipe = Recipe(epochs=10, freezeout_layers=2, freezeout_share=0.36)
    assert phases(recipe) == [(7, 10, "first layers frozen")]
    assert [phase_of(recipe, epoch).frozen for epoch in (5, 6, 9)] == [False, True, True]
    assert phases(Recipe(epochs=1, freezeout_layers=2)) == [(1, 1, "first layers frozen")]


def test_the_work_of_an_epoch():
    recipe = LADDER["cifar10-94"].recipe
    assert [work_of(recipe, epoch) for epoch in (0, 5, 12, 18)] == [400 / 1024, 0.5625, 1, 2]
    both = Recipe(
        epochs=2, keep="last", sharpness_radius=0.1, sharpness_share=1, small_images=[[0.5, 16]]
    )
    assert [work_of(both, epoch) for epoch in (0, 1)] == [0.5, 2]
    transferred = Recipe(epochs=4, start="cifar10-74", head_share=0.5)
    assert [work_of(transferred, epoch) for epoch in (1, 2)] == [1 / 3, 1]
    assert work_of(Recipe(epochs=10, freezeout_layers=2), 9) == 1


def test_a_phase_that_lasts_to_the_end_ends_with_the_last_epoch():
    assert phases(Recipe(epochs=1, sharpness_radius=0.1)) == [(1, 1, "sharpness-aware")]


@pytest.mark.parametrize("rung", LADDER)
def test_they_are_those_that_training_has(rung):
    recipe = LADDER[rung].recipe
    marked = {
        epoch: name for first, last, name in phases(recipe) for epoch in range(first, last + 1)
    }
    for epoch in range(recipe.epochs):
        particular = phase_of(recipe, epoch) != Phase() or (
            recipe.swa_cycles and epoch >= recipe.main_epochs
        )
        assert bool(particular) == (epoch + 1 in marked)


def test_no_keras_is_needed():
    code = "import sys, cifar_lab.phases; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
