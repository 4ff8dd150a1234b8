"""The queue of runs: what the ladder lacks, what comes first, and a run within its minutes."""

import json
import re
import sys
from types import SimpleNamespace

import pytest

from cifar_lab import bundles, provenance
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER, get
from cifar_lab.report import evidence, results
from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

HERE = "CPU: this, 2 cores"


def write_rows(folder, rung, *rows):
    """results/RUNG.json of rows: (seed, device, alone, seconds[, digest of the data])."""
    folder.mkdir(exist_ok=True)
    made = [
        {
            "seed": seed,
            "backend": "tensorflow",
            "test_accuracy": 0.75,
            "device": device,
            "alone": alone,
            "seconds": seconds,
            "data_sha256": digest[0] if digest else "here",
            "recipe_sha256": get(rung).recipe.sha256(),
        }
        for seed, device, alone, seconds, *digest in rows
    ]
    (folder / f"{rung}.json").write_text(json.dumps(made))


def told(found):
    return [(run.rung, run.seed, run.counts, run.alone) for run in found]


def test_what_each_rung_wants():
    assert {entry.runs for entry in LADDER.values()} == {3, 5}
    wants = {rung: (entry.runs, entry.times) for rung, entry in LADDER.items()}
    assert wants["cifar10-74"] == (5, 3) and wants["cifar10-96"] == (3, 1)
    assert wants["cifar10-tiny-88"] == (3, 0) and wants["cifar10-alexnet"] == (5, 0)
    assert all(entry.times == 3 for entry in LADDER.values() if entry.lecture)


def test_without_runs_everything_is_missing(tmp_path):
    found = evidence.missing(HERE, ["cifar10-74", "cifar10-tiny-88"], tmp_path)
    assert sorted(told(found)) == [
        *(("cifar10-74", seed, True, seed < 3) for seed in range(5)),
        *(("cifar10-tiny-88", seed, True, False) for seed in range(3)),
    ]
    assert all(run.seconds is None for run in found)
    # rungs of which the least is there come first: both first seeds, then the others by share
    assert [run.share for run in found] == sorted(run.share for run in found)
    assert told(found[:2]) == [("cifar10-74", 0, True, True), ("cifar10-tiny-88", 0, True, False)]


def test_seeds_count_from_anywhere_and_times_from_here_alone(tmp_path):
    write_rows(
        tmp_path,
        "cifar10-74",
        (0, HERE, False, 900.0),
        (1, "GPU: that", True, 9.0),
        (3, HERE, True, 500.0),
        (4, "CPU: other, 1 cores", True, 700.0),
    )
    found = evidence.missing(HERE, ["cifar10-74"], tmp_path)
    # seed 2 adds to n; seed 0's time on this machine was no time; seed 3 has one
    assert sorted(told(found)) == [("cifar10-74", 0, False, True), ("cifar10-74", 2, True, True)]
    assert {(run.seconds, run.elsewhere) for run in found} == {(500.0, False)}  # the quiet one
    other = evidence.missing("CPU: new, 8 cores", ["cifar10-74"], tmp_path)
    assert {(run.seconds, run.elsewhere) for run in other} == {(600.0, True)}  # no GPU's
    assert len(other) == 3 and all(run.alone for run in other)


def test_times_of_another_design_with_the_same_name_are_not_here(tmp_path):
    write_rows(tmp_path, "cifar10-74", *((seed, HERE, True, 100.0 + seed) for seed in range(5)))
    file = tmp_path / "cifar10-74.json"
    rows = json.loads(file.read_text())
    for row, design in zip(rows, ("old", "old", "old", "new", None), strict=True):
        row["processor"] = design
    file.write_text(json.dumps(rows))

    def lacking(processor):
        found = evidence.missing(HERE, ["cifar10-74"], tmp_path, processor=processor)
        return [run.seed for run in found], {run.seconds for run in found}

    assert lacking("old") == lacking(None) == ([], set())
    assert lacking("new") == ([0], {103.5})  # seeds 3 and 4 count, 4 on trust
    assert lacking("third") == ([0, 1], {104.0})
    summary = results.summary("cifar10-74", tmp_path)
    assert summary["seconds"] == {HERE: 104.0, f"{HERE} (old)": 101.0, f"{HERE} (new)": 103.0}
    assert all(summary["alone"].values())


def test_rows_of_an_earlier_recipe_or_another_copy_do_not_count(tmp_path):
    write_rows(tmp_path, "cifar10-tiny-88", *((seed, HERE, False, 9.0) for seed in range(3)))
    rows = ["cifar10-tiny-88"], tmp_path
    assert evidence.missing(HERE, *rows) == []
    copy = evidence.missing(HERE, *rows, {"cifar10-tiny-88": "another copy"})
    assert [run.seed for run in copy] == [0, 1, 2]
    file = tmp_path / "cifar10-tiny-88.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps([{**row, "recipe_sha256": "earlier"} for row in stored]))
    assert [run.seed for run in evidence.missing(HERE, *rows)] == [0, 1, 2]


def test_the_choice(tmp_path):
    def run(rung, counts, alone, seconds=60.0):
        return evidence.Missing(rung, 0, counts, alone, 0.0, seconds)

    both, time, seed = run("a", True, True), run("b", False, True), run("c", True, False)
    assert evidence.choose([both, time, seed], idle=True) is both
    assert evidence.choose([both, time, seed], idle=False) is seed
    assert evidence.choose([both, time], idle=False) is both
    assert evidence.choose([time], idle=False) is None
    assert evidence.choose([time], idle=True, left=59.0) is None  # of a resumed run no time counts
    assert evidence.choose([time], idle=True, left=61.0) is time
    assert evidence.choose([both, seed], idle=True, begun=[seed]) is seed
    assert evidence.choose([both, time], idle=True, begun=[time]) is both
    assert evidence.choose([], idle=True) is None


def test_the_plan_of_the_repository(capsys):
    """It agrees with the rows: a rung that has its n is not listed for seeds."""
    import ladder

    assert ladder.main(["--plan"]) == 0
    out = capsys.readouterr().out
    listed = {line.split("`")[1]: line.split("|")[2] for line in out.splitlines() if "`" in line}
    for rung, entry in LADDER.items():
        have = {row["seed"] for row in results.groups(rung)[0]}  # one may have run on two machines
        seeds = [s for s in listed.get(rung, "").split(",") if s.strip()]
        assert len(seeds) == max(entry.runs - len(have), 0), rung
    last = out.splitlines()[-1]
    assert last == "nothing is missing" or " hours on " in last


def test_a_plan_of_a_folder_that_is_not_there_is_refused(tmp_path):
    import ladder

    with pytest.raises(InputError, match=f"--results: must be a folder, received {tmp_path}/none"):
        ladder.main(["--plan", "--results", f"{tmp_path}/none"])


@pytest.fixture
def idle(monkeypatch):
    """Pauses of no length; `quiet` of the returned dict decides whether anything else runs."""
    told = {"quiet": True}
    monkeypatch.setattr(provenance, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(provenance.Idle, "quiet", lambda self: told["quiet"])
    monkeypatch.setattr(
        provenance.Idle, "others", lambda self: [0.0, 0.25 * (not told["quiet"]), 0.0]
    )
    return told


def test_a_run_of_the_queue(tmp_path, fashion, idle, capfd):
    """Stopped by its minutes, taken up by the next call, recorded with what was found out."""
    import ladder

    rung, rows = "fashion-mnist-mlp", tmp_path / "rows"
    args = [
        "--next",
        "--rungs",
        rung,
        "--data-dir",
        str(fashion),
        "--output",
        str(tmp_path / "out"),
    ]
    args += ["--results", str(rows)]
    bundle = tmp_path / "out" / f"{rung}-seed0"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "SPARE", 1e9)  # no epoch fits into what is left
        assert ladder.main([*args, "--minutes", "5"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and f"5 minutes are over: the next call goes on with {bundle}" in err
    assert bundles.state_path(bundle).exists() and not any(rows.iterdir())

    assert ladder.main(args) == 0
    out, err = capfd.readouterr()
    assert "resuming after epoch 1 of 40" in err
    line = json.loads(out)
    assert (line["rung"], line["seed"], line["alone"]) == (rung, 0, False)  # resumed: no claim
    assert [row["seed"] for row in results.read_results(rung, rows)] == [0]

    idle["quiet"] = False
    assert ladder.main(args) == 0
    line = json.loads(capfd.readouterr().out)
    first, second = results.read_results(rung, rows)
    assert line["seed"] == second["seed"] == 1
    assert (second["alone"], second["other_cores"]) == (False, 0.25)
    assert first["other_cores"] is None and second["commit"] == provenance.source()["commit"]


def test_an_epoch_that_does_not_fit_is_not_begun(monkeypatch):
    """An epoch of `cifar10-94` took 100 s, and 150 s are left: a plain one fits, a sharpness-aware
    one does not; after the last there is none."""
    import ladder

    recipe, now, stopped = get("cifar10-94").recipe, [0.0], []
    monkeypatch.setattr(ladder, "time", SimpleNamespace(monotonic=lambda: now[0]))
    minutes = ladder.Minutes(250 / 60)
    monkeypatch.setattr(minutes, "stop", lambda: stopped.append(epoch))
    watcher = minutes.watcher(recipe)
    for epoch, left in ((12, 150), (12, 100), (17, 150), (18, 150), (20, 0)):
        now[0] = 150.0 - left
        watcher.on_epoch_begin(epoch)
        now[0] += 100.0
        watcher.on_epoch_end(epoch)
    assert stopped == [12, 17]


def test_a_time_is_taken_anew_and_only_on_an_idle_machine(tmp_path, monkeypatch, idle, capsys):
    import ladder

    from cifar_lab import training

    rung, rows = "cifar10-74", tmp_path / "rows"
    device = ladder.backend.device()[1]
    write_rows(rows, rung, *((seed, device, seed < 2, 60.0) for seed in range(5)))
    asked, recorded = [], []
    monkeypatch.setattr(
        ladder, "_load", lambda *_: type("D", (), {"train_sha256": lambda _: "here"})()
    )
    monkeypatch.setattr(
        training, "train", lambda *_, **options: (asked.append(options) or {"seed": 2}, False)
    )
    monkeypatch.setattr(results, "claim", lambda *found: recorded.append(found[1:]))
    monkeypatch.setattr(results, "record", lambda *found: recorded.append(found))
    monkeypatch.setattr(bundles, "read_card", lambda _: {"seed": 2})
    args = ["--next", "--rungs", rung, "--output", str(tmp_path / "out"), "--results", str(rows)]

    idle["quiet"] = False
    assert ladder.main(args) == 0 and not asked
    assert "1 runs lack only their times" in capsys.readouterr().err
    idle["quiet"] = True
    assert ladder.main(args) == 0
    assert (asked[0]["seed"], asked[0]["overwrite"], asked[0]["resume"]) == (2, True, False)
    assert recorded[0] == (True, 0.0) and recorded[1][0].name == f"{rung}-seed2"


@pytest.mark.parametrize(
    "args, words",
    [
        (["--next"], "--output: needed"),
        (["--plan", "--seeds", "2"], "--seeds: not with --plan"),
        (["--next", "--output", "x", "--limit", "9"], "--limit: not with --next"),
        (["--output", "x", "--minutes", "9"], "--minutes: only with --next"),
        (["--output", "x", "--results", "y"], "--results: only with --plan or --next"),
        (["--plan", "--next"], "not allowed with"),
        (["--next", "--output", "x", "--minutes", "0"], "--minutes"),
    ],
)
def test_wrong_requests(args, words):
    import ladder

    with pytest.raises(InputError, match=re.escape(words)):
        ladder.main(args)
