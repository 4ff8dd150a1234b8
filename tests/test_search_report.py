"""report.py of a search: the folder that the search writes, at any moment of it."""

import json
import time
import types

import numpy as np
import pytest

from cifar_lab import ladder
from cifar_lab.report import importance, search_folder
from cifar_lab.searching import space, table
from cifar_lab.searching.ranges import Range
from cifar_lab.searching.request import Request
from support import assert_refused, run_here, run_json

RECIPE = ladder.get("cifar10-74").recipe
TEXTS = ("width=0.25:2:log", "learning_rate=1e-5:1:log", "optimizer=adam,sgd", "momentum=0.5:0.95")


def write_search(folder, trials, objective="val_accuracy", rounds=(), **changes):
    """A search's folder as the search itself writes it.

    trials: (status, score, values, message) each.
    """
    folder.mkdir(parents=True)
    request = Request(
        **{
            **dict(rung="cifar10-74", strategy="narrowing", objective=objective, seed=0),
            **dict(trial_epochs=2, trial_images=None, stop_behind=False, data="cifar10"),
            **dict(data_sha256="d", recipe_sha256=RECIPE.sha256()),
            "ranges": space.parse_ranges(TEXTS, RECIPE),
            **changes,
        }
    )
    known = [
        types.SimpleNamespace(
            trial_id=f"{i:06d}",
            status=status,
            score=score,
            message=message,
            hyperparameters=types.SimpleNamespace(values=values),
            metrics=types.SimpleNamespace(
                exists=lambda name, status=status: status == "COMPLETED" and name != "memory_mb",
                get_best_value=lambda name, i=i: {"epochs": 2.0, "seconds": 30.0 + i}[name],
            ),
        )
        for i, (status, score, values, message) in enumerate(trials)
    ]
    done = [trial for trial in known if trial.status == "COMPLETED"]
    search = types.SimpleNamespace(
        request=request,
        folder=folder,
        recipe=RECIPE,
        oracle=types.SimpleNamespace(rounds=list(rounds)),
        command="python tune.py cifar10-74",
        before=3600.0,
        started=time.time(),
        all_trials=lambda: known,
        used_by=lambda trial: space.used(RECIPE, table.values_of(trial)),
        best=lambda: max(done, key=lambda trial: trial.score, default=None),
    )
    table.write(search)
    return folder


def values(width=1.0, rate=1e-3, optimizer="adam", momentum=0.9):
    return {"width": width, "learning_rate": rate, "optimizer": optimizer, "momentum": momentum}


def drawn(count=20):
    """Trials whose score hangs on the learning rate, best at 1e-3, and a little on the width."""
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        log = rng.uniform(-5, 0)
        width = float(np.exp(rng.uniform(np.log(0.25), np.log(2))))
        optimizer = ("adam", "sgd")[i % 2]
        score = 0.8 - 0.05 * (log + 3) ** 2 + 0.01 * width
        found.append(("COMPLETED", float(score), values(width, float(10**log), optimizer), None))
    return found


ROUNDS = (
    {
        "first_trial": 0,
        "ranges": {
            **dict.fromkeys(("width", "learning_rate", "momentum"), (0.0, 1.0)),
            "optimizer": ["adam", "sgd"],
        },
    },
    {
        "first_trial": 6,
        "ranges": {
            **dict.fromkeys(("width", "learning_rate", "momentum"), (0.25, 0.5)),
            "optimizer": ["adam"],
        },
    },
)


def test_a_search_on_a_page(tmp_path, browser):
    trials = drawn()
    trials[4] = ("FAILED", None, values(rate=0.9), "out of memory <b>")
    trials[19] = ("RUNNING", None, values(), None)
    folder = write_search(tmp_path / "<b>", trials, rounds=ROUNDS)
    history = "epoch,val_accuracy\n1,0.4\n2,0.5\n"
    for i in range(20):
        (folder / "trials" / f"trial_{i:06d}").mkdir(parents=True)
        (folder / "trials" / f"trial_{i:06d}" / "history.csv").write_text(history)
    page = tmp_path / "page.html"
    found = run_json("report.py", folder, "--output", page, here=True)
    assert (found["trials"], found["completed"], found["failed"]) == (20, 18, 1)
    scores = [score for _, score, _, _ in trials if score is not None]
    assert found["best"]["val_accuracy"] == max(scores)
    assert found["sections"] == [
        "Best so far",
        "Where the good ones lie",
        "Importance",
        "Accuracy and cost",
        "Learning",
        "Trials that failed",
        "All trials",
        "How it was searched",
    ]
    browser.open(page, width=400)
    assert browser.requests() == [] and browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    assert browser.run("return document.querySelectorAll('svg[role=img]').length") == 7
    told = browser.run("return document.body.textContent")
    assert "out of memory <b>" in told and "python tune.py cifar10-74" in told
    assert "1e-05 to 1, logarithmic" in told and "after 1 narrowing" in told
    assert "1 trial had not finished" in told
    assert "on the front of" in told and "importance, %" in told


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_one_trial_is_enough(tmp_path, objective):
    folder = write_search(
        tmp_path / "one", [("COMPLETED", 0.5, values(), None)], objective=objective
    )
    done = run_here("report.py", folder, "--output", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "page.html").read_text("utf-8")
    assert "All trials have the same network: 1,639,914 parameters" in content
    assert "1 trial: too few to tell" in content


def test_a_search_without_a_result_is_one_line(tmp_path):
    failed = write_search(tmp_path / "failed", [("FAILED", None, values(), "no space left")] * 2)
    assert_refused(run_here("report.py", failed), "no trial", "2 failed", "no space left")
    begun = write_search(tmp_path / "begun", [("RUNNING", None, values(), None)])
    assert_refused(run_here("report.py", begun), "no trial of this search has completed yet")
    (begun / "trials.csv").unlink()  # killed before it was written
    assert_refused(run_here("report.py", begun), "(0 begun)")
    (begun / "search.json").write_text('{"request": {"ranges": 3}}')
    assert_refused(run_here("report.py", begun), "search.json: ")
    (begun / "search.json").write_text('{"request"')
    assert_refused(run_here("report.py", begun), "search.json: ")


def test_what_a_search_does_not_go_with(tmp_path):
    folder = write_search(tmp_path / "one", [("COMPLETED", 0.5, values(), None)])
    assert_refused(run_here("report.py", "cifar10-74", folder), "is a search", "name it alone")
    assert_refused(run_here("report.py", folder, "--data", "cifar10"), "--data")
    assert_refused(run_here("report.py", folder, "--latency"), "--latency")


def test_lines_that_cannot_be_read_are_left_out(tmp_path):
    folder = write_search(tmp_path / "one", drawn(9))
    with open(folder / "trials.csv", "a") as file:
        file.write("9,completed,0.5,1.0,fast,adam,0.9,2,30,,\n10,comp")
    found = search_folder.read(folder)
    assert len(found.trials) == 9 and found.skipped == 2


def test_a_recipe_that_changed_has_no_known_costs(tmp_path):
    folder = write_search(tmp_path / "old", drawn(9), recipe_sha256="other")
    done = run_here("report.py", folder, "--output", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "page.html").read_text("utf-8")
    assert "the recipe of cifar10-74 has changed since" in content


# --- importance ---


def test_importance_finds_what_the_score_hangs_on():
    ranges = {
        "rate": Range(1e-5, 1.0, log=True),
        "noise": Range(0.0, 1.0),
        "kind": Range(options=("a", "b", "c")),
        "fixed": Range(1, 8, whole_numbers=True),
    }
    rng, rows = np.random.default_rng(1), []
    for i in range(60):
        given = {"rate": float(10 ** rng.uniform(-5, 0)), "noise": float(rng.random())}
        given |= {"kind": "abc"[i % 3], "fixed": 2}
        score = -((np.log10(given["rate"]) + 3) ** 2) + 1.5 * (given["kind"] == "b")
        rows.append((given, float(score)))
    found = {i.name: i for i in importance.importances(ranges, rows, up=True)}
    assert list(found) == ["rate", "kind", "noise", "fixed"]
    assert found["rate"].share > 0.6 and found["rate"].share > 3 * found["rate"].chance
    assert 0.05 < found["kind"].share < 0.4 and found["kind"].towards.startswith("b in ")
    assert found["noise"].share < 0.1 and found["fixed"].share is None
    turned = importance.importances(ranges, [(v, -s) for v, s in rows], up=False)
    assert {i.name: i.share for i in turned} == {n: i.share for n, i in found.items()}


def test_importance_says_nothing_of_few_trials():
    rows = [({"rate": 0.1 * i}, float(i)) for i in range(importance.FEWEST - 1)]
    (found,) = importance.importances({"rate": Range(0.0, 1.0)}, rows, up=True)
    assert found.share is None and found.trials == importance.FEWEST - 1


def test_the_columns_of_trials_are_read_as_they_were_written(tmp_path):
    trials = [("COMPLETED", 0.5, values(1.25, 3e-4, "sgd", 0.75), None)]
    found = search_folder.read(write_search(tmp_path / "one", trials, rounds=ROUNDS))
    assert found.trials[0].values == values(1.25, 3e-4, "sgd", 0.75)
    assert found.ranges == space.parse_ranges(TEXTS, RECIPE)
    assert found.best.number == 0 and found.up and found.trials[0].seconds == 30.0
    written = json.loads((tmp_path / "one" / "search.json").read_text())
    assert found.rounds == written["rounds"] and len(found.rounds) == 2


def test_epochs_that_are_searched_are_not_those_that_were_trained(tmp_path):
    """Both have a column of that name: a trial of 8 epochs that was stopped after 2 tried 8."""
    folder = write_search(tmp_path / "one", drawn(1))
    request = json.loads((folder / "search.json").read_text())
    request["request"]["ranges"], request["rounds"] = {"epochs": "4:8"}, []
    (folder / "search.json").write_text(json.dumps(request))
    (folder / "trials.csv").write_text(
        "trial,status,score,epochs,epochs,seconds,memory_mb,reason\n0,stopped early,0.5,8,2,3,,\n"
    )
    (trial,) = search_folder.read(folder).trials
    assert (trial.values, trial.epochs) == ({"epochs": 8}, 2.0)
