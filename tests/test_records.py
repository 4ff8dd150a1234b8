"""Entries of the CPU record: the rules that a file can show, each broken once."""

import json
import sys

import pytest

from cifar_lab.errors import InputError
from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


def entry(**changes):
    runs = [
        {
            "seed": seed,
            "test_accuracy": accuracy,
            "seconds": 150.0 + seed,
            "compile_seconds": 9.0,
            "alone": True,
            "epoch_of_74": 30.0,
        }
        for seed, accuracy in enumerate((0.901, 0.902, 0.903, 0.904, 0.905))
    ]
    made = {
        "name": "mine",
        "mark": 0.9,
        "code": "example.org/mine, commit 1234",
        "command": "python mine.py --seed 0",
        "machine": "AMD EPYC, 2 cores",
        "cores": 2,
        "test_views": 1,
        "seeds": "0 to 4",
        "chosen_on": "validation images",
        "runs": runs,
    }
    return made | changes


def with_run(**changes):
    made = entry()
    made["runs"][2] |= changes
    return made


def test_an_entry_and_its_figures(tmp_path, capsys):
    import records

    file = tmp_path / "entry.json"
    file.write_text(json.dumps(entry()))
    assert records.main([str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["mean"], told["seconds"]) == (5, 0.903, 152.0)
    assert told["sd"] == pytest.approx(0.0015811, abs=1e-6)
    # t = 0.003 / (0.0015811 / sqrt 5) = 4.2426 with 4 degrees of freedom
    assert told["p"] == pytest.approx(0.006618, abs=1e-5)
    assert told["epochs_of_74"] == pytest.approx(152 / 30)


@pytest.mark.parametrize(
    "made, words",
    [
        (entry(mark=0.91), "mark: must be one of 0.9, 0.94, 0.96"),
        (entry(cores=4), "cores: must be 1 to 2, received 4"),
        (entry(test_views=2), "test_views: must be 1, received 2"),
        (entry(chosen_on="the test images"), "chosen_on: must not name test images"),
        (entry(runs=entry()["runs"][:4]), "runs: must be at least 5, received 4"),
        (entry(mark=0.94), "mean: must be at least 0.94, received 0.9030"),
        (with_run(seed=1), "seeds must differ, received 0, 1, 1, 3, 4"),
        (with_run(alone=False), "seed 2: other programs ran"),
        (with_run(test_accuracy=90.3), "seed 2: test_accuracy must be 0 to 1"),
        (with_run(seconds=0.0), "seed 2: seconds must be above 0"),
        (with_run(epoch_of_74=-1), "seed 2: epoch_of_74 must be above 0"),
    ],
)
def test_a_broken_rule(made, words, tmp_path, capsys):
    import records

    file = tmp_path / "entry.json"
    file.write_text(json.dumps(made))
    assert records.main([str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(words in line for line in lines), lines


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is not JSON"),
        ("[]", "must be a JSON object"),
        (json.dumps(entry(name=" ")), "name: must be text"),
        (json.dumps(entry(cores=True)), "cores: must be a whole number"),
        (json.dumps(entry(runs={})), "runs: must be a list"),
        (json.dumps(with_run(alone="yes")), "run 2: alone: must be true or false"),
        (json.dumps(with_run(seconds=float("nan"))), "holds NaN, which is not JSON"),
        ("[" * 100_000, "nested"),
    ],
)
def test_a_file_that_is_no_entry(text, words, tmp_path):
    import records

    file = tmp_path / "entry.json"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        records.main([str(file)])


def test_an_entry_of_lines_of_the_budget(tmp_path, capsys):
    import records

    lines = [json.loads(x) for x in (ROOT / "docs" / "budget.jsonl").read_text().splitlines()]
    lines = [line for line in lines if not line.get("processor")]  # two runs a rung, one machine
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert records.main(["--make", "cifar10-94", "--mark", "0.94", str(file)]) == 0
    made = json.loads(capsys.readouterr().out)
    mine = [line for line in lines if line["rung"] == "cifar10-94"]
    assert [run["test_accuracy"] for run in made["runs"]] == [x["test_accuracy"] for x in mine]
    first = mine[0]["before"]["epoch_of_74"], mine[0]["after"]["epoch_of_74"]
    assert made["runs"][0]["epoch_of_74"] == pytest.approx(sum(first) / 2)
    (tmp_path / "made.json").write_text(json.dumps(made))
    assert records.main([str(tmp_path / "made.json")]) == 2  # too few, and nobody checked
    for line in mine:  # with fields of a recipe file
        line["recipe"] = "sprint.json"
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match="has no whole run of cifar10-94"):
        records.main(["--make", "cifar10-94", "--mark", "0.94", str(file)])
    args = ["--make", "cifar10-94", "--mark", "0.94", "--recipe", "recipes/sprint.json"]
    assert records.main([*args, str(file)]) == 0
    made = json.loads(capsys.readouterr().out.partition("\n")[2])  # behind the figures before
    assert made["name"] == "sprint" and len(made["runs"]) == len(mine)
    assert "cifar10-94 --recipe recipes/sprint.json --alone" in made["command"]
    mine = [{k: v for k, v in line.items() if k != "recipe"} for line in mine]
    mine[1]["processor"] = "family 25, model 17"  # the first may be of any
    file.write_text("\n".join(map(json.dumps, mine)))
    with pytest.raises(InputError, match="one machine, received AMD EPYC, 2 cores; AMD EPYC, 2 "):
        records.main(["--make", "cifar10-94", "--mark", "0.94", str(file)])
    with pytest.raises(InputError, match="has no whole run of cifar10-96"):
        records.main(["--make", "cifar10-96", "--mark", "0.96", str(file)])


def test_the_entries_that_are_here_break_no_rule():
    import records

    for file in records.ENTRIES.glob("*.json"):
        assert list(records.broken(records.read(file))) == [], file
