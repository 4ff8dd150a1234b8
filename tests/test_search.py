"""Searches: ranges, oracles that survive anything, and tune.py through the real command."""

import csv
import inspect
import itertools
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

from cifar_lab import ladder, models
from cifar_lab import recipe as recipes
from cifar_lab.errors import InputError
from cifar_lab.models.searchable import Choice, Number, searchable
from cifar_lab.searching import picture, space, table
from cifar_lab.searching.ranges import Range
from support import ROOT, command_env, run, run_here, run_json, write_fashion

pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
RECIPE = ladder.get("fashion-mnist-92").recipe
# a small search: a trial takes a few seconds, nearly all of them TensorFlow's start
SMALL = (
    "--trial-epochs",
    1,
    "--range",
    "learning_rate=1e-4:1e-1:log",
    "--range",
    "conv_dropout=0:0.5",
)


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("search")
    write_fashion(root / "data" / "fashion-mnist", train=120, test=20)
    return root / "data"


def trials_of(folder):
    with open(folder / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- ranges ---


def test_a_logarithmic_range_is_even_in_the_logarithm():
    r = Range(1e-6, 1.0, log=True)
    assert (
        r.value(0) == pytest.approx(1e-6)
        and r.value(0.5) == pytest.approx(1e-3)
        and r.value(1) == 1.0
    )
    assert r.position(1e-2) == pytest.approx(2 / 3)
    drawn = [math.log10(r.draw(np.random.default_rng(i), (0.5, 1.0))) for i in range(500)]
    assert min(drawn) >= -3 and max(drawn) <= 0 and np.mean(drawn) == pytest.approx(-1.5, abs=0.15)


def test_whole_numbers_are_drawn_evenly_to_both_ends():
    r = Range(2, 5, whole_numbers=True)
    drawn = [r.draw(np.random.default_rng(i), (0.0, 1.0)) for i in range(2000)]
    assert {type(v) for v in drawn} == {int}
    assert all(count == pytest.approx(500, abs=90) for count in np.bincount(drawn, minlength=6)[2:])
    assert [r.value(r.position(v)) for v in (2, 3, 4, 5)] == [2, 3, 4, 5]
    assert all(
        Range(low, 2000, log=True, whole_numbers=True).value(0) == low for low in range(1, 1999)
    )
    log = Range(1, 1000, log=True, whole_numbers=True)
    assert [log.value(log.position(v)) for v in (1, 10, 1000)] == [1, 10, 1000]


def test_narrowing_follows_the_rule():
    r = Range(0.0, 10.0)
    low, high = r.narrowed(
        [4.0, 6.0], margin=0.1, least_width=0.05
    )  # span 0.2 of u, a tenth of it more on each side
    assert (low, high) == pytest.approx((0.38, 0.62))
    assert r.narrowed([5.0, 5.0], 0.1, 0.05) == pytest.approx((0.475, 0.525))  # never narrower
    assert r.narrowed([0.0, 1.0], 0.5, 0.05) == pytest.approx((0.0, 0.15))  # never outside
    assert Range(options=(16, 32, 64)).narrowed([64, 16, 64], 0.1, 0.05) == [16, 64]


@pytest.mark.parametrize(
    "text, words",
    [
        ("speed=1:2", "'speed' must be one of learning_rate, weight_decay"),
        ("learning_rate", "must be NAME=LOW:HIGH"),
        ("learning_rate=1:0.1", "1 must be less than 0.1"),
        ("learning_rate=0:1:log", "must begin above 0"),
        ("learning_rate=-1:1", "learning_rate: must be a number greater than 0"),
        ("learning_rate=a:b", "'a' must be a number"),
        ("learning_rate=1e-3:inf", "'inf' must be a number"),
        ("batch_size=16:32.5", "'32.5' must be a whole number"),
        ("batch_size=32", "at least two different values"),
        ("batch_size=32,32", "at least two different values"),
        ("conv_dropout=0:2", "conv_dropout must be from 0 to 0.95, received 2"),
        ("learning_rate=1e-3:1e-1:square", "LOW:HIGH:log or LOW:HIGH:linear"),
        ("momentum=0:0.9", "'momentum' must be one of"),
        ("label_smoothing=0:1", "label_smoothing: must be a number from 0 to 0.99"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(InputError) as error:
        space.parse_range(text, RECIPE)
    assert words in str(error.value) and text in str(error.value)


def test_fields_of_builders_and_augmentation():
    vgg = ladder.get("cifar10-88").recipe
    values = {"dropout": 0.25, "rotation_range": 5.0, "learning_rate": 0.01}
    changed = space.with_fields(vgg, values)
    assert (
        changed.builder_options == {"dropout": [0.25] * 3, "l2": 1e-4}
        and changed.learning_rate == 0.01
    )
    assert (
        changed.augmentation.rotation_range == 5.0 and changed.augmentation.horizontal_flip is True
    )
    assert (
        recipes.changed(vgg, json.loads(json.dumps(space.recipe_fields(vgg, values))), "x").sha256()
        == changed.sha256()
    )


@pytest.mark.parametrize("builder", models.__all__)
def test_what_a_builder_declares_is_its_own_and_holds_its_defaults(builder):
    builder = getattr(models, builder)
    parameters = inspect.signature(builder).parameters
    for name, kind in builder.searchable.items():
        default = parameters[name].default
        values = keras.tree.flatten(default)
        if isinstance(kind, Choice):
            assert set(values) | set(kind.usual or ()) <= set(kind.options), name
        else:
            usual = getattr(kind, "usual", None) or ()
            assert all(kind.low <= value <= kind.high for value in [*values, *usual]), name


def test_a_declaration_of_an_argument_that_is_not_there_is_refused():
    for name in ("wings", "input_shape"):
        with pytest.raises(TypeError, match=f"builder must have an argument '{name}'"):

            @searchable(**{name: Number(0, 1)})
            def builder(input_shape, num_classes=10, *, widths=(8,)):
                pass


# --- what a trial's values make of a recipe ---

NINETY = ladder.get("cifar10-90").recipe  # airbench, 32-128-128, sgd, triangular


def changed(rung, *texts, **values):
    """The recipe of a trial with these values, which the ranges `texts` allow."""
    recipe = ladder.get(rung).recipe
    assert set(space.parse_ranges(texts, recipe)) == {text.partition("=")[0] for text in texts}
    fields = json.loads(json.dumps(space.recipe_fields(recipe, values)))
    return recipes.changed(recipe, fields, "best_recipe.json")


def test_width_scales_every_width_to_multiples_of_four():
    assert space.scale([32, 128, 128], 0.3) == [8, 40, 40] and space.scale(30, 1.0) == 32
    assert space.scale((8, 1), 0.1) == [4, 4]
    recipe = changed("cifar10-90", "width=0.25:2:log", width=0.5)
    assert recipe.builder_options == {"widths": [16, 64, 64], "activation": "relu"}
    assert changed("cifar10-74", "width=0.5,1,2", width=2.0).builder_options == {
        "filters": [64, 64, 128]  # the builder's own, where the recipe names none
    }
    options = changed("cifar10-tiny-88", "width=0.5:1", width=0.5).builder_options
    assert options == {"stem": 8, "widths": [8, 20, 36], "blocks": [1, 4, 3]}


def test_values_of_every_kind_become_builder_options():
    recipe = changed(
        "cifar10-90",
        "activation=relu,silu",
        "convolutions=1:3",
        "residual=true,false",
        activation="silu",
        convolutions=3,
        residual=True,
    )
    assert recipe.builder_options == {
        "widths": [32, 128, 128],
        "activation": "silu",
        "convolutions": 3,
        "residual": True,
    }
    assert changed("cifar10-90", "widths=16:64", widths=16).builder_options["widths"] == [16] * 3
    assert changed("cifar10-tiny-88", "blocks=1:4", blocks=2).builder_options["blocks"] == [2] * 3
    assert changed("cifar10-88", "dropout=0:0.5", dropout=0.2).builder_options["dropout"] == [
        0.2,
        0.2,
        0.2,
    ]
    options = changed("cifar10-74", "hidden_layers=0:3", hidden_layers=2).builder_options
    assert options == {"hidden_layers": 2}


@pytest.mark.parametrize("rung", ladder.LADDER)
def test_any_optimizer_goes_with_any_schedule(rung):
    for optimizer, schedule in itertools.product(recipes.OPTIMIZERS, recipes.SCHEDULES):
        fields = {"optimizer": optimizer, "schedule": schedule, "momentum": 0.7}
        recipe = space.with_fields(ladder.get(rung).recipe, fields)
        assert (recipe.optimizer, recipe.schedule) == (optimizer, schedule)
        momentum = 0.7 if optimizer in ("sgd", "momentum", "muon") else 0.9
        assert recipe.momentum == momentum, (optimizer, schedule)


def test_a_choice_of_optimizers_makes_their_fields_searchable():
    texts = ("optimizer=adam,sgd", "momentum=0.5:0.95", "warmup_fraction=0.1:0.4")
    with pytest.raises(InputError, match="'momentum' must be one of"):
        space.parse_ranges(texts[1:2], RECIPE)
    with pytest.raises(InputError, match="'warmup_fraction' must be one of"):
        space.parse_ranges(texts, RECIPE)
    with pytest.raises(InputError, match="momentum=0.5:2: .*momentum: must be a number from 0"):
        space.parse_ranges((texts[0], "momentum=0.5:2"), RECIPE)
    found = space.parse_ranges((*texts, "schedule=constant,triangular"), RECIPE)
    assert list(found) == ["optimizer", "momentum", "warmup_fraction", "schedule"]
    values = {"optimizer": "adam", "momentum": 0.7, "learning_rate": 0.1}
    assert space.used(RECIPE, values) == {"optimizer": "adam", "learning_rate": 0.1}
    assert "momentum" in space.used(RECIPE, {**values, "optimizer": "sgd"})


def test_a_builder_without_declarations_or_widths(monkeypatch):
    def plain(input_shape, num_classes, width=8):
        pass

    monkeypatch.setattr(space, "_builder", lambda recipe: plain)
    assert list(space.default_ranges(NINETY)) == ["learning_rate", "weight_decay", "batch_size"]
    with pytest.raises(InputError, match="^width=1:2: airbench declares no widths"):
        space.parse_range("width=1:2", NINETY)
    plain.searchable = {"width": Number(1, 64, whole=True)}  # an argument of that name is itself
    assert space.parse_range("width=1:2", NINETY)[1].whole_numbers
    assert space.recipe_fields(NINETY, {"width": 2})["builder_options"]["width"] == 2


@pytest.mark.parametrize(
    "text, words",
    [
        ("activation=relu,wave", "activation must be one of relu, silu, gelu"),
        ("activation=1:2", "must be activation=VALUE,VALUE,... of relu"),
        ("residual=yes,no", "residual must be one of false, true, received 'yes'"),
        ("residual=true", "at least two different values"),
        ("convolutions=0:3", "convolutions must be from 1 to 6, received 0"),
        ("convolutions=1.5:3", "'1.5' must be a whole number"),
        ("filters=8:16", "'filters' must be one of"),
        ("width=0.001:1", "width must be from 0.01 to 100"),
        ("width=1:100", "widths must be from 1 to 4096, and 100 makes it [3200, 12800, 12800]"),
        ("optimizer=adam,lion", "adagrad, rmsprop, received 'lion'"),
        ("schedule=cosine", "at least two different values"),
        ("widths=0:16", "widths must be from 1 to 4096, received 0"),
    ],
)
def test_a_choice_or_width_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(InputError) as error:
        space.parse_ranges([text], NINETY)
    assert words in str(error.value) and str(error.value).startswith(f"{text}: ")


def test_width_and_a_width_are_not_searched_together():
    for texts in (("width=0.5:1", "widths=8:16"), ("widths=8:16", "width=0.5:1")):
        with pytest.raises(InputError, match=f"^{texts[1]}: width scales widths, so only one"):
            space.parse_ranges(texts, NINETY)


def test_ranges_read_as_they_were_given():
    for text in ("activation=relu,silu", "residual=false,true", "batch_size=16,32"):
        name, found = space.parse_range(text, NINETY)
        assert f"{name}={found.as_text()}" == text
        assert Range.from_text(found.as_text()) == found
    for r in (Range(1e-6, 0.5, log=True), Range(1, 6, whole_numbers=True), Range(-1.5, 2.0)):
        assert Range.from_text(r.as_text()) == r
    for text in ("1:2:linear", "2:1", "a:1"):
        with pytest.raises(ValueError, match="is no range"):
            Range.from_text(text)
    assert [space.told(v) for v in ("relu", True, 0.123456, 3)] == ["relu", "true", "0.1235", "3"]


@pytest.mark.parametrize("rung", ladder.LADDER)
def test_default_ranges_hold_the_rungs_own_setting(rung):
    recipe = ladder.get(rung).recipe
    ranges = space.default_ranges(recipe)
    assert {"learning_rate", "weight_decay", "batch_size"} <= set(ranges)
    for name, r in ranges.items():
        assert space.parse_range(f"{name}={r.as_text()}", recipe)[0] == name
    assert ranges["learning_rate"].low < recipe.learning_rate < ranges["learning_rate"].high
    assert recipe.batch_size in ranges["batch_size"].options


# --- oracles ---


def oracle_in(folder, strategy="narrowing", limit=20, seed=0, **kwargs):
    from cifar_lab.searching import oracles

    oracle = oracles.build(
        strategy,
        {"x": Range(0.0, 1.0), "c": Range(options=(1, 2, 3))},
        "score",
        "min",
        seed,
        limit=limit,
        **kwargs,
    )
    oracle._set_project_dir(str(folder), "trials")
    return oracle


def finish(oracle, trial, score=None):
    values = trial.hyperparameters.values
    if score is None:
        score = (values["x"] - 0.8) ** 2 + 0.1 * (values["c"] != 2)
    oracle.update_trial(trial.trial_id, {"score": score, "epochs": 3.0})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def drawn(oracle, count):
    values = []
    for _ in range(count):
        trial = oracle.create_trial("tuner0")
        values.append({k: trial.hyperparameters.values[k] for k in "xc"})
        finish(oracle, trial)
    return values


def test_narrowing_narrows_to_the_good_region_and_is_seeded(tmp_path):
    oracle = oracle_in(tmp_path / "a", limit=48)
    first = drawn(oracle, 48)
    assert oracle.create_trial("tuner0").status == "STOPPED"
    assert [r["first_trial"] for r in oracle.rounds] == [0, 6, 12, 18, 24, 30, 36, 42]
    low, high = oracle.rounds[-1]["ranges"]["x"]
    assert low < 0.8 < high and high - low < 0.4 and oracle.rounds[-1]["ranges"]["c"] == [2]
    assert len({(v["x"], v["c"]) for v in first}) == 48
    late = [v["x"] for v in first[24:]]
    assert sum(0.5 < x for x in late) > 0.75 * len(late)
    assert drawn(oracle_in(tmp_path / "b", limit=48), 48) == first
    assert drawn(oracle_in(tmp_path / "c", limit=48, seed=1), 4) != first[:4]


def test_a_wrong_early_turn_is_undone(tmp_path):
    """Early scores point to the wrong end; draws from the full range find the right one."""
    oracle = oracle_in(tmp_path, limit=160)
    for i in range(160):
        trial = oracle.create_trial("tuner0")
        x = trial.hyperparameters.values["x"]
        finish(
            oracle, trial, score=0.3 + abs(x - 0.1) if x < 0.6 else 1.0 if i < 16 else abs(x - 0.9)
        )
    assert oracle.rounds[2]["ranges"]["x"][1] < 0.7  # the wrong turn
    low, high = oracle.rounds[-1]["ranges"]["x"]
    assert low < 0.9 < high and low > 0.5


@pytest.mark.parametrize("strategy", ["narrowing", "random", "bayesian"])
def test_every_moment_of_a_kill(tmp_path, strategy, monkeypatch):
    """Killed at each write of a file: the next start counts every finished trial once, and runs
    each other one under its own id."""
    from cifar_lab import bundles

    if strategy == "bayesian":
        pytest.importorskip("sklearn")

    class Killed(BaseException):
        pass

    whole = bundles.write_file
    for moment in range(1, 40):
        folder, writes, finished = tmp_path / f"{moment}", [0], []

        def write(path, write_to, moment=moment, writes=writes):
            writes[0] += 1
            if writes[0] == moment:
                raise Killed
            whole(path, write_to)

        monkeypatch.setattr(bundles, "write_file", write)
        for _ in range(2):  # killed, then started again
            oracle = oracle_in(folder, strategy, limit=6)
            if (folder / "trials" / "oracle.json").exists():
                oracle.reload()
            try:
                while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
                    assert trial.trial_id not in finished, moment
                    finish(oracle, trial)
                    finished.append(trial.trial_id)
                break
            except Killed:
                pass
        trials = oracle.trials
        assert sorted(trials) == [f"{i:06d}" for i in range(6)], moment
        assert all(t.status == "COMPLETED" for t in trials.values()) and sorted(
            oracle.end_order
        ) == sorted(trials), moment
        if writes[0] < moment:  # no kill came: all moments were seen
            return
    raise AssertionError("more writes than moments")


@pytest.mark.parametrize(
    "strategy", ["hyperband", pytest.param("bayesian", marks=pytest.mark.slow)]
)
def test_kerastuners_own_strategies_run_to_their_end(tmp_path, strategy):
    if strategy == "bayesian":
        pytest.importorskip("sklearn")
    oracle, epochs = oracle_in(tmp_path, strategy, limit=14, max_epochs=9), []
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        epochs.append(trial.hyperparameters.values.get("tuner/epochs"))
        assert set(table.values_of(trial)) == {"x", "c"}
        finish(oracle, trial)
    assert len(oracle.trials) == 14 and all(t.status == "COMPLETED" for t in oracle.trials.values())
    if strategy == "hyperband":  # few epochs for many, many for few
        assert epochs[0] < 4 and max(epochs) == 9 and epochs.count(epochs[0]) > epochs.count(9)
    else:
        late = [oracle.trials[f"{i:06d}"].score for i in range(8, 14)]
        assert min(late) < 0.05


def test_trials_of_the_dead_are_given_to_others(tmp_path):
    oracle = oracle_in(tmp_path, limit=2)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    assert oracle.create_trial("c").status == "IDLE"  # one of the two may die
    oracle.lease_seconds = 0.2
    time.sleep(0.1)
    oracle.get_trial(second.trial_id)  # b lives
    time.sleep(0.15)
    again = oracle.create_trial("c")
    assert again.trial_id == first.trial_id and again.status == "RUNNING"
    finish(oracle, again)
    finish(oracle, first, score=9.0)  # a was not dead: what it says comes too late
    assert oracle.trials[first.trial_id].score != 9.0
    finish(oracle, second)
    assert oracle.finished() and oracle.create_trial("c").status == "STOPPED"


def test_a_chief_that_comes_back_while_its_workers_train(tmp_path):
    before = oracle_in(tmp_path, limit=2)
    first = before.create_trial("a")
    after = oracle_in(tmp_path, limit=2)
    after.reload()
    finish(after, after.trials[first.trial_id])  # a never noticed
    second = after.create_trial("a")
    assert second.trial_id != first.trial_id and second.status == "RUNNING"
    finish(after, second)
    assert after.create_trial("a").status == "STOPPED" and after.finished()


def test_a_search_ends_where_nothing_is_left_to_try(tmp_path):
    from cifar_lab.searching import oracles

    for strategy in ("narrowing", "random"):
        oracle = oracles.build(
            strategy, {"c": Range(options=(1, 2, 3))}, "score", "min", 0, limit=30
        )
        oracle._set_project_dir(str(tmp_path / strategy), "trials")
        tried = []
        while (trial := oracle.create_trial("a")).status == "RUNNING":
            tried.append(trial.hyperparameters.values["c"])
            oracle.update_trial(trial.trial_id, {"score": 1.0})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        assert sorted(tried) == [1, 2, 3] and oracle.finished()


def test_seeds_are_searches_of_their_own(tmp_path):
    """KerasTuner's random draws are seeded with seed, seed + 1, ...: neighbouring seeds would
    share nearly all of them."""
    for strategy in ("random", "bayesian", "narrowing"):
        if strategy == "bayesian":
            pytest.importorskip("sklearn")
        draws = [
            {
                v["x"]
                for v in drawn(oracle_in(tmp_path / f"{strategy}{seed}", strategy, seed=seed), 6)
            }
            for seed in range(3)
        ]
        assert not draws[0] & draws[1] and not draws[1] & draws[2]


@pytest.mark.parametrize("name", ["oracle.json", "trial_000000/trial.json"])
def test_a_damaged_file_of_a_search_is_one_line(tmp_path, name):
    oracle = oracle_in(tmp_path)
    drawn(oracle, 2)
    (tmp_path / "trials" / name).write_text('{"trial_id"')
    with pytest.raises(InputError, match=f"{name}: is not JSON .*; `overwrite` starts the search"):
        oracle_in(tmp_path).reload()


LIES = {
    "a score of text": ("trial", {"score": "x"}, 'score must be a number, is "x"'),
    "a score of nothing": ("trial", {"score": None, "status": "COMPLETED"}, "score must be"),
    "another trial": ("trial", {"trial_id": "000001"}, "is of trial 000001, not of trial_000000"),
    "a name that is a path": ("trial", {"trial_id": "../x"}, "trial_id must be a number"),
    "a status that is none": ("trial", {"status": "DONE"}, "status must be one of RUNNING"),
    "metrics of text": ("trial", {"metrics": {"metrics": {"a": "x"}}}, "metrics.metrics.a must"),
    "a value out of bounds": (
        "trial",
        {"hyperparameters": {"values": {"x": 7, "c": 1}}},
        "x must be in 0.0:1.0, is 7",
    ),
    "an option that is none": (
        "trial",
        {"hyperparameters": {"values": {"x": 0.5, "c": "1"}}},
        'c must be in 1,2,3, is "1"',
    ),
    "a value less": ("trial", {"hyperparameters": {"values": {"x": 0.5}}}, "c must be in 1,2,3"),
    "a value more": (
        "trial",
        {"hyperparameters": {"values": {"x": 0.5, "c": 1, "z": 1}}},
        'sets "z", which is not searched',
    ),
    "an order of numbers": ("oracle", {"start_order": [0, 1]}, "start_order[0] must be a string"),
    "a trial that is nowhere": ("oracle", {"end_order": ["000009"]}, 'names trial "000009"'),
    "trials of text": ("oracle", {"ongoing_trials": "x"}, "ongoing_trials must be an object"),
    "a seed of text": ("oracle", {"seed_state": "x"}, "seed_state must be a whole number"),
    "rounds of text": ("oracle", {"rounds": ["x"]}, "rounds[0] must be a JSON object"),
    "a round without ranges": (
        "oracle",
        {"rounds": [{"first_trial": 0, "ranges": {}}]},
        "rounds[0].ranges.x must be [low, high] of 0 to 1, is None",
    ),
    "a round of other options": (
        "oracle",
        {"rounds": [{"first_trial": 0, "ranges": {"x": [0, 1], "c": [9]}}]},
        "rounds[0].ranges.c must be some of 1,2,3, is [9]",
    ),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_file_of_a_search_that_lies_is_one_line(kind, tmp_path):
    name, changes, words = LIES[kind]
    drawn(oracle_in(tmp_path), 2)
    file = "oracle.json" if name == "oracle" else "trial_000000/trial.json"
    path = tmp_path / "trials" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as caught:
        oracle_in(tmp_path).reload()
    assert f"{file}: " in str(caught.value) and words in str(caught.value)
    assert str(caught.value).endswith("; `overwrite` starts the search over")


def test_what_a_search_knows_itself_is_not_taken_from_a_file(tmp_path):
    """Neither its space nor its settings, however a file has them."""
    drawn(oracle_in(tmp_path, "hyperband", max_epochs=9), 3)
    for path in (tmp_path / "trials").rglob("*.json"):
        found = json.loads(path.read_text())
        found["hyperparameters"]["space"] = [{"class_name": "Evil", "config": {}}]
        if path.name == "oracle.json":
            found |= {"factor": 0, "max_epochs": "x", "display": 3, "min_epochs": None}
        path.write_text(json.dumps(found))
    again = oracle_in(tmp_path, "hyperband", max_epochs=9)
    again.reload()
    assert sorted(again.trials) == ["0000", "0001", "0002"]
    assert (again.factor, again.max_epochs) == (3, 9)
    assert again.create_trial("tuner0").status == "RUNNING"


def test_a_folder_with_brackets_is_found_again(tmp_path):
    drawn(oracle_in(tmp_path / "data [old]", limit=5), 2)
    again = oracle_in(tmp_path / "data [old]", limit=5)
    again.reload()
    assert (
        sorted(again.trials) == ["000000", "000001"]
        and again.create_trial("tuner0").trial_id == "000002"
    )


def test_nothing_begins_after_the_deadline_and_what_runs_is_told_to_stop(tmp_path):
    oracle = oracle_in(tmp_path, limit=5, deadline=time.time() + 0.3)
    trial = oracle.create_trial("tuner0")
    assert oracle.get_trial(trial.trial_id).status == "RUNNING"
    time.sleep(0.35)
    assert oracle.get_trial(trial.trial_id).status == "STOPPED"
    assert oracle.create_trial("tuner0").status == "STOPPED" and oracle.finished()
    later = oracle_in(tmp_path, limit=5)
    later.reload()
    assert later.create_trial("tuner0").trial_id == trial.trial_id  # with more minutes it goes on


@pytest.mark.parametrize("strategy", ["narrowing", "random", "bayesian", "hyperband"])
def test_texts_and_booleans_stay_what_they_are(tmp_path, strategy):
    """Through every strategy, its files, and the words that a chief tells its workers."""
    from keras_tuner.engine.hyperparameters import HyperParameters

    from cifar_lab.searching import oracles

    if strategy == "bayesian":
        pytest.importorskip("sklearn")
    options = {"a": ("relu", "silu"), "b": (True, False), "n": (1, 2, 3), "r": (0.5, 1.0)}
    ranges = {name: Range(options=values) for name, values in options.items()}

    def oracle():
        built = oracles.build(strategy, ranges, "score", "min", 0, limit=16, max_epochs=9)
        built._set_project_dir(str(tmp_path), "trials")
        return built

    first, seen = oracle(), []
    while (trial := first.create_trial("tuner0")).status == "RUNNING":
        seen.append(table.values_of(trial))
        told = HyperParameters.from_proto(trial.hyperparameters.to_proto()).values
        assert {name: told[name] for name in options} == seen[-1]
        assert [type(told[name]) for name in options] == [str, bool, int, float]
        first.update_trial(trial.trial_id, {"score": float(seen[-1]["n"])})
        trial.status = "COMPLETED"
        first.end_trial(trial)
    again = oracle()
    again.reload()
    assert [table.values_of(again.trials[i]) for i in sorted(again.trials)] == seen
    assert {type(values["b"]) for values in seen} == {bool} and len(seen) > 4
    assert {values["a"] for values in seen} == {"relu", "silu"}


# --- the command ---


@pytest.fixture
def trials_here(monkeypatch):
    """The trials of run_here are trained in this process, which has imported Keras already."""
    from cifar_lab.searching import process, trial

    def trained(folder, stopped):
        (folder / "log.txt").touch()
        return f"with exit code {trial.main(folder, os.getpid())}"

    monkeypatch.setattr(trial, "end_with_parent", lambda parent: None)
    monkeypatch.setattr(process, "_run_child", trained)


def test_a_search_and_its_best_recipe(small_data, tmp_path, trials_here):
    """The first trial has a process of its own, as all do that a person asks for."""
    out = tmp_path / "search"
    request = ("tune.py", "fashion-mnist-92", *SMALL, "--data-dir", small_data, "--output", out)
    result = run_json(*request, "--max-trials", 1)
    rows = trials_of(out)
    assert [r["trial"] for r in rows] == ["0"] and {r["status"] for r in rows} == {"completed"}
    assert result["trials"] == result["completed"] == 1 and result["failed"] == 0
    best = max(rows, key=lambda r: float(r["score"]))
    assert (
        result["best"]["val_accuracy"] == float(best["score"])
        and str(result["best"]["trial"]) == best["trial"]
    )
    assert all(
        50 < float(r["memory_mb"]) < 3000 and float(r["seconds"]) > 0 and r["epochs"] == "1.0"
        for r in rows
    )
    assert (out / "search.png").is_file() and json.loads((out / "search.json").read_text())[
        "rounds"
    ][0]["first_trial"] == 0
    assert not list(out.rglob("model.keras"))
    # more trials go on with those there were; the best recipe gives its trial's figure
    more = run_json(*request, "--max-trials", 2, here=True)
    assert more["trials"] == 2 and trials_of(out)[:1] == rows
    told = run_here(*request, "--max-trials", 2).stdout.splitlines()[
        -1
    ]  # nothing left to do: where the best is, with its data
    assert (
        told == "train it in full: python train.py fashion-mnist-92 "
        f"--recipe {out}/best_recipe.json --data-dir {small_data}"
    )
    recipe = json.loads((out / "best_recipe.json").read_text())
    best = max(trials_of(out), key=lambda r: float(r["score"]))
    assert recipe == {
        "learning_rate": float(best["learning_rate"]),
        "builder_options": {"conv_dropout": float(best["conv_dropout"])},
    }
    trained = run_json(
        "train.py",
        "fashion-mnist-92",
        "--recipe",
        out / "best_recipe.json",
        "--epochs",
        1,
        "--data-dir",
        small_data,
        "--output",
        tmp_path / "trained",
        here=True,
    )
    assert trained["val_accuracy"] == float(best["score"])
    for changed, words in (
        (("--seed", 1), "another seed: was 0, is now 1"),
        (("--trial-images", 100), "another trial images"),
        (("--strategy", "random"), "another strategy"),
        (("--range", "batch_size=8,16"), "another range of batch_size"),
    ):
        refused = run_here(*request, "--max-trials", 4, *changed)
        assert (
            refused.returncode == 2 and words in refused.stderr and refused.stderr.count("\n") == 1
        ), refused.stderr


@pytest.mark.slow
def test_a_search_over_optimizers_and_activations(small_data, tmp_path):
    """The lecture's list of questions, and the best answer trained by its recipe file."""
    out = tmp_path / "search"
    ranges = (
        "optimizer=adam,sgd",
        "activation=relu,tanh",
        "width=0.125:0.25",
        "momentum=0.5:0.9",
        "hidden_layers=0:2",
    )
    flags = [word for text in ranges for word in ("--range", text)]
    request = ("tune.py", "fashion-mnist-92", *flags, "--data-dir", small_data, "--output", out)
    done = run_here(*request, "--trial-epochs", 1, "--max-trials", 3)
    assert done.returncode == 0, done.stderr
    rows = trials_of(out)
    assert {r["status"] for r in rows} == {"completed"} and len(rows) == 3
    assert {r["optimizer"] for r in rows} <= {"adam", "sgd"}
    assert {r["activation"] for r in rows} <= {"relu", "tanh"}
    assert all((r["momentum"] == "") == (r["optimizer"] == "adam") for r in rows)
    best = max(rows, key=lambda r: float(r["score"]))
    assert f"activation {best['activation']}" in done.stdout and (out / "search.png").is_file()
    fields = json.loads((out / "best_recipe.json").read_text())
    assert fields["optimizer"] == best["optimizer"]
    assert fields["builder_options"] == {
        "activation": best["activation"],
        "filters": space.scale([64, 32], float(best["width"])),
        "hidden_layers": int(best["hidden_layers"]),
    }
    trained = run_json(
        "train.py",
        "fashion-mnist-92",
        "--recipe",
        out / "best_recipe.json",
        "--epochs",
        1,
        "--data-dir",
        small_data,
        "--output",
        tmp_path / "trained",
        here=True,
    )
    assert trained["val_accuracy"] == float(best["score"])


@pytest.mark.slow
def test_a_network_that_its_builder_refuses_is_a_failed_trial(small_data, tmp_path):
    out = tmp_path / "search"
    request = ("tune.py", "fashion-mnist-95", "--data-dir", small_data, "--output", out)
    done = run_here(*request, "--trial-epochs", 1, "--max-trials", 2, "--range", "convolutions=1,2")
    assert done.returncode == 0, done.stderr
    rows = {r["convolutions"]: r for r in trials_of(out)}
    assert (rows["1"]["status"], rows["2"]["status"]) == ("failed", "completed")
    assert "residual: needs at least two convolutions" in rows["1"]["reason"]


def test_a_trial_that_diverges_is_recorded_and_the_search_goes_on(
    small_data, tmp_path, trials_here
):
    out = tmp_path / "search"
    done = run_here(
        "tune.py",
        "fashion-mnist-92",
        "--data-dir",
        small_data,
        "--output",
        out,
        "--trial-epochs",
        2,
        "--max-trials",
        2,
        "--range",
        "learning_rate=1e-3,1e30",
        "--strategy",
        "random",
    )
    assert done.returncode == 0, done.stderr
    rows = trials_of(out)
    assert sorted(r["status"] for r in rows) == ["completed", "failed"]
    failed = next(r for r in rows if r["status"] == "failed")
    assert (
        float(failed["learning_rate"]) == 1e30
        and "diverged" in failed["reason"]
        and failed["score"] == ""
    )
    assert "failed: training diverged" in done.stderr


def start(*args):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tune.py"), *map(str, args)],
        env=command_env(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed_again_and_again(request, out, kills, most_seconds):
    chance, seen = random.Random(0), {}
    for _ in range(kills):
        process = start(*request)
        time.sleep(chance.uniform(3, most_seconds))
        os.kill(process.pid, signal.SIGKILL)  # its trial's process ends by itself
        process.wait()
        time.sleep(1)
        if (out / "trials.csv").is_file():
            for row in trials_of(out):
                if row["status"] == "completed":
                    assert (
                        seen.setdefault(row["trial"], row) == row
                    )  # what was finished stays as it was
    result = subprocess.run(
        [sys.executable, str(ROOT / "tune.py"), *map(str, request), "--json"],
        env=command_env(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rows = trials_of(out)
    assert [r["trial"] for r in rows] == [str(i) for i in range(len(rows))] and {
        r["status"] for r in rows
    } == {"completed"}
    assert all(rows[int(i)] == row for i, row in seen.items())
    return json.loads(result.stdout), rows


@pytest.mark.slow  # test_two_workers_one_of_them_killed is the short one
@pytest.mark.parametrize("kills, trials, most_seconds", [(2, 2, 9), (10, 12, 25)])
def test_a_search_killed_again_and_again(small_data, tmp_path, kills, trials, most_seconds):
    out = tmp_path / "search"
    result, rows = killed_again_and_again(
        (
            "fashion-mnist-92",
            *SMALL,
            "--data-dir",
            small_data,
            "--output",
            out,
            "--max-trials",
            trials,
        ),
        out,
        kills,
        most_seconds,
    )
    assert result["trials"] == len(rows) == trials


@pytest.mark.slow
def test_memory_does_not_grow(small_data, tmp_path):
    """The searching process after 60 trials and after 5; each trial has a process of its own."""
    run_json(
        "tune.py",
        "fashion-mnist-92",
        *SMALL,
        "--data-dir",
        small_data,
        "--output",
        tmp_path / "search",
        "--max-trials",
        60,
        "--strategy",
        "random",
        timeout=1800,
    )
    memory = [float(r["memory_mb"]) for r in trials_of(tmp_path / "search")]
    assert len(memory) == 60 and 50 < memory[59] <= 1.15 * memory[4], memory


def test_two_workers_one_of_them_killed(small_data, tmp_path):
    out = tmp_path / "search"
    # options and whole numbers too: a chief tells them to its workers in an order of its own
    process = start(
        "fashion-mnist-92",
        "--range",
        "batch_size=16,32",
        "--range",
        "epochs=1:2",
        "--range",
        "learning_rate=1e-4:1e-2:log",
        "--data-dir",
        small_data,
        "--output",
        out,
        "--max-trials",
        2,
        "--workers",
        2,
        "--json",
    )
    killed, end = False, time.monotonic() + 300
    while not killed and time.monotonic() < end and process.poll() is None:
        time.sleep(0.5)
        workers = subprocess.run(
            ["pgrep", "-f", f"{out}.*--worker-id worker1"], capture_output=True, text=True
        ).stdout.split()
        if workers and len(list(out.glob("trials/trial_*/request.json"))) >= 2:
            os.kill(int(workers[0]), signal.SIGKILL)
            killed = True
    stdout, stderr = process.communicate(timeout=400)
    assert killed and process.returncode == 0, stderr
    assert (
        json.loads(stdout)["completed"] == 2 and "worker1 died (-9) and is started again" in stderr
    )
    rows = trials_of(out)
    assert [r["trial"] for r in rows] == ["0", "1"] and {r["status"] for r in rows} == {"completed"}

    page = tmp_path / "page.html"
    told = run_json("report.py", out, "--output", page, here=True)
    assert (told["trials"], told["completed"]) == (2, 2) and "All trials" in told["sections"]
    assert told["best"]["val_accuracy"] == max(float(r["score"]) for r in rows)


@pytest.mark.slow
def test_three_machines_one_of_them_killed(small_data, tmp_path):
    """A chief and two workers who share an address and a secret and nothing else: each has its own
    home, working folder, copy of the data and folder of the search."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

    def machine(name, *args):
        place = tmp_path / name
        shutil.copytree(small_data, place / "data")
        for folder in ("home", "tmp"):
            (place / folder).mkdir()
        command = [sys.executable, str(ROOT / "tune.py"), "fashion-mnist-92", *SMALL, *args]
        command += ["--data-dir", "data", "--output", "search", "--chief", address]
        return subprocess.Popen(
            [*map(str, command)],
            env=command_env(
                HOME=place / "home",
                TMPDIR=place / "tmp",
                CIFAR_LAB_CACHE=place / "cache",
                CIFAR_LAB_SECRET="sixteen or more characters",
            ),
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def begun(name):
        return {path.parent.name for path in tmp_path.glob(f"{name}/search/trials/*/request.json")}

    chief = machine("chief", "--max-trials", 3, "--json")
    a, b = (machine(name, "--max-trials", 3, "--worker-id", name) for name in ("a", "b"))
    end = time.monotonic() + 300
    while not begun("b") and time.monotonic() < end and chief.poll() is None:
        time.sleep(0.1)
    os.killpg(b.pid, signal.SIGKILL)  # the machine is off: nobody starts it again
    b.communicate()
    stdout, stderr = chief.communicate(timeout=500)
    assert chief.returncode == 0, stderr
    assert a.wait(100) == 0, a.stderr.read()
    rows = trials_of(tmp_path / "chief" / "search")
    assert [(r["trial"], r["status"]) for r in rows] == [(str(i), "completed") for i in range(3)]
    assert json.loads(stdout)["completed"] == 3
    lost = begun("b")
    assert len(lost) == 1 and lost <= begun("a")  # its trial was another's in the end


WRONG = {
    "unknown rung": (["cifar10-13"], "unknown rung 'cifar10-13'"),
    "unknown field": (["fashion-mnist-92", "--range", "speed=1:2"], "'speed' must be one of"),
    "misspelt field": (
        ["fashion-mnist-92", "--range", "learning_rat=0.1:1"],
        "'learning_rat' (learning_rate?) must be one of",
    ),
    "reversed range": (["fashion-mnist-92", "--range", "learning_rate=1:0.1"], "must be less than"),
    "log range through zero": (
        ["fashion-mnist-92", "--range", "learning_rate=0:1:log"],
        "must begin above 0",
    ),
    "unknown activation": (
        ["fashion-mnist-92", "--range", "activation=relu,wave"],
        "--range activation=relu,wave: activation must be one of relu",
    ),
    "width twice": (
        ["fashion-mnist-92", "--range", "width=1:2", "--range", "filters=8:16"],
        "only one of the two",
    ),
    "unknown optimizer": (
        ["fashion-mnist-92", "--range", "optimizer=adam,lion"],
        "received 'lion'",
    ),
    "one option": (
        ["fashion-mnist-92", "--range", "batch_size=32"],
        "at least two different values",
    ),
    "twice": (
        ["fashion-mnist-92", "--range", "batch_size=32,64", "--range", "batch_size=8,16"],
        "has a range already",
    ),
    "zero trials": (
        ["fashion-mnist-92", "--max-trials", "0"],
        "--max-trials: must be a whole number of at least 1",
    ),
    "no minutes": (
        ["fashion-mnist-92", "--max-minutes", "0"],
        "--max-minutes: must be a number greater than 0",
    ),
    "unknown strategy": (["fashion-mnist-92", "--strategy", "grid"], "invalid choice: 'grid'"),
    "unknown objective": (
        ["fashion-mnist-92", "--objective", "test_accuracy"],
        "invalid choice: 'test_accuracy'",
    ),
    "no data": (["fashion-mnist-92", "--data-dir", "EMPTY"], "holds no fashion-mnist"),
    "too many images": (
        ["fashion-mnist-92", "--trial-images", "500"],
        "--trial-images: must be 20 to 120",
    ),
    "folder of something else": (
        ["fashion-mnist-92", "--output", "FULL"],
        "holds what is not a search",
    ),
    "nothing to overwrite": (
        ["fashion-mnist-92", "--output", "FULL", "--overwrite"],
        "removes searches alone",
    ),
    "a file": (["fashion-mnist-92", "--output", "FILE"], "is a file"),
    "damaged": (["fashion-mnist-92", "--output", "DAMAGED"], "search.json: is not JSON"),
    "epochs twice": (
        ["fashion-mnist-92", "--range", "epochs=1:3", "--trial-epochs", "2"],
        "does not go with --trial-epochs",
    ),
    "hyperband of an epoch": (
        ["fashion-mnist-92", "--strategy", "hyperband", "--trial-epochs", "1"],
        "needs at least 3",
    ),
    "worker alone": (["fashion-mnist-92", "--worker-id", "a"], "needs --chief"),
    "chief for a worker": (
        ["fashion-mnist-92", "--chief", "127.0.0.1:9", "--worker-id", "chief2"],
        'without "chief"',
    ),
    "no port": (["fashion-mnist-92", "--chief", "somewhere"], "must be HOST:PORT"),
    "chief and workers": (
        ["fashion-mnist-92", "--chief", "127.0.0.1:9", "--workers", "2"],
        "does not go with --chief",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_request(kind, small_data, tmp_path):
    args, words = WRONG[kind]
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "thesis.txt").write_text("mine")
    (tmp_path / "DAMAGED").mkdir()
    (tmp_path / "DAMAGED" / "search.json").write_text("{")
    (tmp_path / "FILE").write_text("")
    if "--data-dir" not in args:
        args = [*args, "--data-dir", small_data]
    if "--output" not in args:
        args = [*args, "--output", "new"]
    run_it = run if kind == "unknown rung" else run_here  # one in a process of its own
    done = run_it("tune.py", *args, cwd=tmp_path)
    assert (
        done.returncode == 2
        and words in done.stderr
        and done.stderr.count("\n") == 1
        and not done.stdout
    ), done.stderr
    assert not (tmp_path / "new").exists() and (tmp_path / "FULL" / "thesis.txt").is_file()


def test_a_picture_of_texts_and_of_what_no_trial_uses(tmp_path):
    recipe = ladder.get("cifar10-74").recipe
    texts = ("optimizer=adam,sgd", "momentum=0.5:0.9:log", "batch_normalization=true,false")
    ranges = space.parse_ranges(texts, recipe)

    def trial(number, score, status, **values):
        hyperparameters = types.SimpleNamespace(values=values)
        return types.SimpleNamespace(
            trial_id=f"{number:06d}", score=score, status=status, hyperparameters=hyperparameters
        )

    trials = [
        trial(0, 0.5, "COMPLETED", optimizer="adam", momentum=0.7, batch_normalization=True),
        trial(1, None, "FAILED", optimizer="adam", momentum=0.6, batch_normalization=False),
    ]
    request = types.SimpleNamespace(ranges=ranges, direction="max", objective="val_accuracy")
    picture.draw(
        types.SimpleNamespace(
            all_trials=lambda: trials,
            request=request,
            oracle=None,
            folder=tmp_path,
            notice=print,
            used_by=lambda t: space.used(recipe, table.values_of(t)),
        )
    )
    assert (tmp_path / "search.png").stat().st_size > 5000


# --- trials that are behind ---


def write_peers(folder, values, objective="val_accuracy"):
    """Histories of finished trials: `values` a list of figures a trial."""
    for i, figures in enumerate(values):
        (folder / f"peer{i}").mkdir(parents=True)
        rows = [f"{n},{value}" for n, value in enumerate(figures, 1)]
        (folder / f"peer{i}" / "history.csv").write_text(
            "\n".join([f"epoch,{objective}", *rows]) + "\n"
        )


@pytest.mark.parametrize(
    "fields, peers, figures, objective, stops",
    [
        (
            {},
            [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]] * 5,
            [0.05, 0.25, 0.3, 0.35],
            "val_accuracy",
            4,
        ),  # 0.3 equals the median of the third
        ({}, [[0.9] * 8] * 5, [0.5] * 8, "val_accuracy", 2),  # the first quarter is free
        ({}, [[0.9] * 8] * 4, [0.5] * 8, "val_accuracy", None),  # too few peers
        (
            {},
            [[0.9] * 8] * 3 + [[0.4] * 8] * 4,
            [0.5] * 8,
            "val_accuracy",
            None,
        ),  # before the median
        ({}, [[0.9, 0.2] + [0.2] * 6] * 5, [0.5, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2], "val_loss", 2),
        (
            {},
            [[0.9] * 7 + [1.0]] * 5,
            [0.9] * 8,
            "val_accuracy",
            None,
        ),  # the last epoch has nothing left to save
        (
            {"keep": "last", "swa_share": 0.5, "swa_epochs": 2},
            [[0.5] * 4 + [0.9] * 4] * 5,
            [0.5] * 8,
            "val_accuracy",
            None,
        ),
    ],
)
def test_a_trial_stops_where_it_is_behind_the_median(
    tmp_path, fields, peers, figures, objective, stops
):
    from cifar_lab.searching import trial

    write_peers(tmp_path, peers, objective)
    recipe = recipes.changed(RECIPE, {"epochs": 8, **fields}, "test")
    watch = trial._behind(
        tmp_path / "mine",
        tmp_path / "mine" / "run",
        objective,
        "min" if objective == "val_loss" else "max",
        recipe,
    )
    model = types.SimpleNamespace(stop_training=False)
    watch.set_model(model)
    for epoch, figure in enumerate(figures):
        watch.on_epoch_end(epoch, {objective: figure})
        assert model.stop_training == (epoch + 1 == stops), epoch
        if model.stop_training:
            break
    assert model.stop_training == (stops is not None)


def test_a_trial_that_is_behind_ends_early(small_data, tmp_path):
    from cifar_lab.searching import trial

    write_peers(tmp_path, [[1.1] * 4] * 5)
    (tmp_path / "mine").mkdir()
    found = trial._train(
        tmp_path / "mine",
        {
            "rung": "fashion-mnist-92",
            "fields": {"epochs": 4},
            "data": "fashion-mnist",
            "data_dir": str(small_data),
            "seed": 0,
            "limit": None,
            "objective": "val_accuracy",
            "direction": "max",
            "stop_behind": True,
        },
    )
    assert (found["status"], found["epochs"]) == ("stopped early", 1)
    assert (tmp_path / "mine" / "history.csv").read_text().count("\n") == 2
