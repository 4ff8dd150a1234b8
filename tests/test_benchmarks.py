"""The benchmarks' statistics, and that they run."""

import contextlib
import importlib.util
import io
import json
import runpy
import subprocess
import sys

import numpy as np
import pytest

from support import ROOT, WITHOUT_TENSORFLOW, command_env, run, write_fashion

sys.path.insert(0, str(ROOT / "benchmarks"))
OURS, THEIRS = "compiled", "ImageDataGenerator"
JAX, TORCH = (importlib.util.find_spec(name) for name in ("jax", "torch"))


def benchmark(name, *args, **env):
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *map(str, args)],
        env=command_env(**env),
        capture_output=True,
        text=True,
    )


def benchmark_here(name, *args):
    """As benchmark, in this process, from the checkout: for what starts no other."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.delenv("CIFAR_LAB_DATA", raising=False)
        patch.setattr(sys, "argv", [name, *map(str, args)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_the_interval_covers_the_median_as_often_as_it_says():
    from engines import median_with_interval

    rng = np.random.default_rng(0)
    samples = rng.standard_cauchy((2000, 20))  # heavy tails, true median 0
    hits = sum(low <= 0 <= high for _, low, high in map(median_with_interval, samples))
    assert 0.95 <= hits / 2000 < 0.98
    assert median_with_interval(range(1, 7)) == (3.5, 1, 6)
    with pytest.raises(ValueError, match="at least 6"):
        median_with_interval([1, 2])


@pytest.mark.slow
def test_engines_take_turns(cifar10):
    pytest.importorskip("scipy")
    done = benchmark(
        "engines.py",
        "--data-dir",
        cifar10,
        "--case",
        "88",
        "--rounds",
        6,
        "--images",
        64,
        "--engines",
        "lecture:wait=0",
        "ours:batch=32",
    )
    lecture, ours, machine = lines_of(done)
    ratio, low, high = ours["ratio_median_low_high"]["lecture:wait=0"]
    assert lecture["ratio_median_low_high"]["ours:batch=32"][0] == pytest.approx(1 / ratio, rel=0.2)
    assert ours["engine"] == "ours:batch=32" and ours["rounds"] == 6
    assert 0.2 < low <= ratio <= high < 20
    assert 0 < ours["share_of_matmul_rate"] < 1.5 and "versions" in machine


@pytest.mark.parametrize(
    "args, words",
    [
        (["--rounds", "3"], "at least 6"),
        (
            ["--engines", "ours:backend=jax:threads=1"],
            "is not installed" if not JAX else "threads is",
        ),
        (["--engines", "caffe"], "one of lecture, ours, torch"),
        (["--engines", "ours:speed=9"], "option 'speed=9'"),
        (["--case", "90", "--engines", "lecture"], "no case 90"),
        (["--engines", "ours:batch=0"], "batch must be a whole number"),
        (["--engines", "ours", "ours"], "must differ"),
        (["--engines", "ours:wait=0"], "option 'wait=0'"),
        (["--images", "50000"], "from 1 to 45000"),
        (["--engines", "lecture:precision=int8"], "one of float32, mixed_bfloat16"),
        (["--data-dir", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_requests_of_the_engines(args, words):
    done = benchmark_here("engines.py", *args)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_ladder_over_seeds_without_tensorflow(tmp_path, fashion):
    """A few steps a run, as on a GPU machine that has JAX alone."""
    pytest.importorskip("jax")
    args = (
        "--data-dir",
        fashion,
        "--output",
        tmp_path / "out",
        "--rungs",
        "fashion-mnist-92",
        "--seeds",
        2,
        "--first-seed",
        3,
        "--epochs",
        1,
    )
    script = (
        f"{WITHOUT_TENSORFLOW}\nimport runpy; runpy.run_path('benchmarks/ladder.py', "
        "run_name='__main__')"
    )
    first = lines_of(
        subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            cwd=ROOT,
            text=True,
            env=command_env(KERAS_BACKEND="jax"),
            capture_output=True,
        )
    )
    assert [line["seed"] for line in first[:2]] == [3, 4] and first[0]["backend"] == "jax"
    assert first[2]["n"] == 2 and first[2]["mean"] == pytest.approx(
        np.mean([r["test_accuracy"] for r in first[:2]])
    )
    assert first[2]["whole_recipe"] is False and not list((tmp_path / "out" / "results").iterdir())
    assert not any(line["alone"] for line in first[:2])  # nobody checked


def test_the_ladder_goes_on_past_a_run_that_fails(tmp_path, monkeypatch, capsys):
    import ladder

    from cifar_lab import data, training
    from cifar_lab.errors import InputError

    card = {k: 0.5 for k in ladder.KEYS} | {"versions": {}}

    def train(recipe, dataset, output, *, rung, seed, **_):
        if (rung, seed) == ("cifar10-74", 0) or rung == "cifar10-79":
            raise InputError("the loss is not finite")
        return {**card, "rung": rung, "seed": seed}, False

    monkeypatch.setattr(training, "train", train)
    loaded = []
    monkeypatch.setattr(data, "load", lambda name, *_: loaded.append(name))
    code = ladder.main(
        [
            "--output",
            str(tmp_path),
            "--rungs",
            "cifar10-74",
            "cifar10-79",
            "fashion-mnist-92",
            "--seeds",
            "2",
            "--limit",
            "9",
        ]
    )
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert code == 2 and sorted(loaded) == ["cifar10", "fashion-mnist"]  # each once
    assert (
        lines[0] == {"rung": "cifar10-74", "seed": 0, "error": "the loss is not finite"}
        and lines[1]["seed"] == 1
    )
    assert [line["error"] for line in lines[3:5]] == ["the loss is not finite"] * 2
    assert [(line["rung"], line["n"]) for line in lines if "n" in line] == [
        ("cifar10-74", 1),
        ("fashion-mnist-92", 2),
    ]


@pytest.mark.parametrize("alone", [True, False])
def test_the_ladder_claims_a_machine_of_its_own(tmp_path, monkeypatch, capsys, alone):
    """What was checked stands in card, row and line; of a resumed run nothing is claimed."""
    import ladder

    from cifar_lab import bundles, data, provenance, training
    from cifar_lab.ladder import get
    from cifar_lab.report import results

    recipe = get("cifar10-74").recipe
    checks = []

    class Idle:
        def __init__(self):
            checks.append("before")

        def alone(self):
            checks.append("after")
            return alone

        def during(self):
            return 0.0

    def train(recipe, dataset, output, *, rung, seed, **_):
        checks.append(seed)
        output.mkdir(exist_ok=True)
        card = dict.fromkeys(results.ROW_KEYS, 0.5) | {
            "rung": rung,
            "recipe": recipe.as_dict(),
            "recipe_sha256": recipe.sha256(),
            "seed": seed,
            "classes": ["a", "b"],
            "epoch": 1,
            **dict.fromkeys(("backend", "device", "precision", "date", "command"), "x"),
            **dict.fromkeys(("commit", "clean", "processor"), None),
            "versions": {},
            "model_sha256": "m",
            "data_sha256": "d",
            "alone": False,
            "data": {"name": recipe.data, "limit": None},
        }
        (output / "card.json").write_text(json.dumps(card))
        (output / "history.csv").write_text("epoch,val_accuracy,seconds\n1,0.81,20\n")
        return card, False

    monkeypatch.setattr(provenance, "Idle", Idle)
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(data, "load", lambda *_: None)
    bundles.state_path(tmp_path / "cifar10-74-seed1").write_bytes(b"stopped")
    args = ["--output", str(tmp_path), "--rungs", "cifar10-74", "--seeds", "2"]
    assert ladder.main([*args, "--alone"]) == 0 and checks == ["before", 0, "after", 1]
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [line["alone"] for line in lines[:2]] == [alone, False]
    assert [r["alone"] for r in results.read_results("cifar10-74", tmp_path / "results")] == [
        alone,
        False,
    ]
    assert bundles.read_card(tmp_path / "cifar10-74-seed0")["alone"] is alone
    assert (
        recipe.sha256()
        == results.read_results("cifar10-74", tmp_path / "results")[0]["recipe_sha256"]
    )
    checks.clear()
    assert ladder.main(args) == 0 and checks == [0, 1]


def test_an_ablation_leaves_one_idea_out():
    from ablation import short, variants

    from cifar_lab import ladder

    whole = ladder.get("cifar10-90").recipe
    found = variants(whole)
    assert found.pop("everything") == whole and len(found) == 11
    assert len({recipe.sha256() for recipe in found.values()} | {whole.sha256()}) == 12
    assert (
        found["shifted crops"].augmentation.alternating_flip
        and not found["shifted crops"].augmentation.crop_padding
    )
    rate = found["triangular rate (constant, a quarter)"]
    assert (rate.schedule, rate.learning_rate) == ("constant", 0.1)
    deep = variants(short("cifar10-94", 4))
    assert (
        len(deep) == 14
        and deep["Muon (SGD)"].optimizer == "sgd"
        and not deep["residual stages"].builder_options["residual"]
    )
    assert (
        deep["triangular rate (constant, a quarter)"].kernel_rate
        == ladder.get("cifar10-94").recipe.kernel_rate / 4
    )
    for rung in ladder.LADDER:  # each has a recipe that is allowed
        assert list(variants(short(rung, 4)))[0] == "everything"
    assert list(variants(ladder.get("cifar10-74").recipe)) == ["everything"]
    flipped = variants(ladder.get("cifar10-88").recipe)
    assert (
        list(flipped) == ["everything", "any flip"]
        and not flipped["any flip"].augmentation.horizontal_flip
    )


@pytest.mark.slow
def test_an_ablation_goes_on_where_it_was(tmp_path, cifar10):
    """A few steps a run."""
    results = tmp_path / "rows.jsonl"
    args = (
        "--data-dir",
        cifar10,
        "--epochs",
        1,
        "--seeds",
        1,
        "--limit",
        300,
        "--results",
        results,
        "--ideas",
        "label smoothing",
        "any flip",
    )
    first = lines_of(benchmark("ablation.py", *args))
    assert [r["left_out"] for r in first] == ["everything", "label smoothing", "any flip"]
    kept = results.read_text().splitlines()[:-1]  # as if it had been killed before the last
    results.write_text("\n".join(kept) + "\n")
    (again,) = lines_of(benchmark("ablation.py", *args))
    assert all(
        again[k] == first[-1][k] for k in first[-1] if "seconds" not in k
    )  # the same seed, another process


def test_the_table_of_an_ablation():
    from ablation import short, table, variants

    digests = {name: recipe.sha256() for name, recipe in variants(short("cifar10-90", 4)).items()}
    rows = [
        {
            "limit": None,
            "left_out": name,
            "seed": seed,
            "val_accuracy": accuracy,
            "recipe_sha256": digests[name],
        }
        for name, runs in {
            "everything": (0.9, 0.92),
            "any flip": (0.89, 0.9),
            "weight decay": (0.8, 0.9),
        }.items()
        for seed, accuracy in enumerate(runs)
    ]
    strangers = [
        {**rows[0], "limit": 300, "val_accuracy": 0.1},
        {**rows[0], "recipe_sha256": "earlier", "val_accuracy": 0.2},
        {**rows[2], "seed": 9},
    ]  # a rehearsal, an earlier recipe
    lines = table([*strangers[:2], *rows, *strangers[:2]], "cifar10-90", 4).splitlines()
    assert lines[2] == "| (nothing left out) | 91.00 +- 1.41 % (n = 2) | |"
    assert lines[3] == "| weight decay | 85.00 +- 7.07 % (n = 2) | -6.00 (-10.00, -2.00) |"
    assert (
        lines[4] == "| any flip | 89.50 +- 0.71 % (n = 2) | -1.50 (-1.00, -2.00) |"
        and len(lines) == 5
    )
    assert (
        len(table([rows[0], strangers[2]], "cifar10-90", 4).splitlines()) == 3
    )  # a seed that the whole has not


@pytest.mark.parametrize(
    "args, words",
    [
        (["--table", "--results", "/nowhere/x"], "no runs of the whole"),
        (["--seeds", "0"], "at least 1"),
        (["--table", "--results", "README.md"], "README.md, line 1: is not a row"),
        (["--results", "/nowhere/x"], "cannot be written"),
        (["--data-dir", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_requests_of_the_ablation(args, words):
    done = benchmark_here("ablation.py", *args)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_rungs_time_beside_the_first_networks(tmp_path, cifar10):
    """Two epochs of noise, a few images a turn."""
    pytest.importorskip("scipy")
    (found,) = lines_of(
        benchmark(
            "budget.py",
            "fashion-mnist-92",
            "--data-dir",
            both_sets(tmp_path, cifar10),
            "--output",
            tmp_path / "out",
            "--epochs",
            2,
            "--turns",
            2,
            "--images",
            64,
        )
    )
    assert found["turns"] == 4 and found["whole_recipe"] is False
    assert found["in_epochs_of_74"] == pytest.approx(
        found["seconds"] * 2 / sum(found[when]["epoch_of_74"] for when in ("before", "after")),
        rel=0.5,
        abs=1e-4,
    )
    assert found["lecture_88_seconds"] > 45 and (tmp_path / "out" / "card.json").exists()
    assert all(
        found["share_of_lecture_88"][m] == pytest.approx(s / found["lecture_88_seconds"], abs=1e-3)
        for m, s in found["seconds_to"].items()
    )


@pytest.mark.parametrize(
    "args", [("budget.py", "cifar10-90", "--output", "out"), ("engines.py", "--case", "88")]
)
def test_the_lectures_script_without_scipy_is_a_line(args, cifar10, monkeypatch):
    """Before the data are read, a process starts or a folder is made."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name == "scipy" else found(name, *of)
    )
    done = benchmark_here(*args, "--data-dir", cifar10.parent)
    assert done.returncode == 2 and "needs SciPy" in done.stderr
    assert done.stderr.count("\n") == 1 and not (ROOT / "out").exists()


def both_sets(folder, cifar10):
    """A --data-dir with the CIFAR-10 of the fixture and the small Fashion-MNIST."""
    write_fashion(folder / "fashion-mnist")
    assert cifar10.parent == folder
    return folder


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
def test_the_peer_on_a_gpu_is_airbench94():
    """In a process of its own: PyTorch crashes where TensorFlow was imported before it."""
    done = subprocess.run(
        [sys.executable, "-c", "import test_benchmarks; test_benchmarks.check_the_peer()"],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        env=command_env(),
        timeout=400,
    )
    assert done.returncode == 0, done.stderr


def check_the_peer():
    import torch
    from peer import Airbench94

    from cifar_lab import data

    rng = np.random.default_rng(0)
    labels = np.arange(440) % 10  # each class a colour
    images = (
        rng.integers(0, 60, (440, 32, 32, 3)) + rng.integers(0, 196, (10, 3))[labels][:, None, None]
    )
    images = images.astype(np.uint8)
    peer = Airbench94(
        data.Dataset(
            "colours", tuple("abcdefghij"), images[:400], labels[:400], images[400:], labels[400:]
        )
    )
    peer.batch_size = 50
    torch.manual_seed(0)
    net = peer.network()
    assert sum(p.numel() for p in net.parameters()) == 1_972_792 and not net[0].weight.requires_grad
    white = net[0](peer.train_images[:400]).detach().double()
    channels = (white - net[0].bias.detach().view(1, -1, 1, 1)).permute(1, 0, 2, 3).reshape(24, -1)
    np.testing.assert_allclose(channels[12:], -channels[:12], atol=1e-3)
    np.testing.assert_allclose(
        np.cov(channels[:6]), np.eye(6), atol=0.15
    )  # the smallest variances are held down
    trained, seconds = peer.train(0, epochs=3)
    single, views = peer.accuracies(trained)
    assert seconds > 0 and single > 0.2 and views > 0.2  # ten classes, 24 steps


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
def test_both_in_one_run(tmp_path, cifar10):
    """A step or two each."""
    args = (
        "--data-dir",
        cifar10,
        "--output",
        tmp_path / "out",
        "--rung",
        "cifar10-90",
        "--seeds",
        2,
        "--epochs",
        1,
        "--limit",
        100,
    )
    *runs, last = lines_of(benchmark("peer.py", *args))
    assert (
        [r["engine"] for r in runs] == ["airbench94", "cifar10-90"] * 2
        and last["n"] == 2
        and last["whole"] is False
    )
    assert last["ratio_of_seconds"][1] == pytest.approx(
        runs[3]["seconds"] / runs[2]["seconds"], rel=0.01
    )
    again = benchmark("peer.py", *args)
    assert (
        again.returncode == 2
        and "--overwrite" not in again.stdout
        and again.stderr.count("\n") == 1
    )


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
def test_the_peer_beside_both_ways_of_ours(tmp_path, cifar10):
    args = ("--data-dir", cifar10, "--rung", "cifar10-90", "--seeds", 1, "--epochs", 1)
    args = (*args, "--limit", 100, "--both")
    *runs, apart, whole = lines_of(
        benchmark("peer.py", *args, "--output", tmp_path / "out", KERAS_BACKEND="jax")
    )
    assert [r.get("one_program") for r in runs] == [None, False, True]
    assert [line["one_program"] for line in (apart, whole)] == [False, True]
    for our, line in zip(runs[1:], (apart, whole)):
        assert line["n"] == 1 and line["median_seconds"]["cifar10-90"] == our["seconds"]
    assert runs[1]["val_accuracy"] == pytest.approx(runs[2]["val_accuracy"], abs=0.03)
    refused = benchmark("peer.py", *args, "--output", tmp_path / "other")
    assert refused.returncode == 2 and "KERAS_BACKEND=jax" in refused.stderr


def test_strategies_on_functions_whose_best_is_known():
    pytest.importorskip("keras_tuner", reason="keras-tuner is not installed (the tune extra)")
    from strategies import FUNCTIONS, table

    at = {
        "branin": {"x0": np.pi, "x1": 2.275},
        "levy": {f"x{i}": 1.0 for i in range(4)},
        "hartmann6": dict(
            zip(
                (f"x{i}" for i in range(6)),
                (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
            )
        ),
        "training": {
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "dropout": 0.35,
            "batch_size": 64,
        },
    }
    for name, best in {
        "branin": 0.397887,
        "levy": 0.0,
        "hartmann6": -3.32237,
        "training": 0.2,
    }.items():
        assert FUNCTIONS[name][0](at[name]) == pytest.approx(best, abs=1e-5)
    rows = lines_of(
        benchmark_here(
            "strategies.py",
            "--function",
            "levy",
            "--trials",
            30,
            "--seeds",
            5,
            "--strategies",
            "narrowing",
            "random",
        )
    )
    narrowing, chance = (
        [r["best_so_far"] for r in rows if r["strategy"] == s] for s in ("narrowing", "random")
    )
    assert len(narrowing) == len(chance) == 5 and all(
        len(run) == 30 and run == sorted(run, reverse=True) for run in narrowing
    )
    assert np.mean([run[-1] for run in narrowing]) < np.mean([run[-1] for run in chance])
    assert table(rows).splitlines()[2].startswith("| levy | narrowing | 5 | ")


@pytest.mark.slow
def test_latency_of_every_runtime(fashion_bundle, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (the edge extra)")
    folder, root = fashion_bundle
    rows = lines_of(
        benchmark(
            "latency.py",
            folder,
            "--data-dir",
            root,
            "--threads",
            1,
            "--rounds",
            1,
            "--exports",
            tmp_path,
        )
    )
    assert [r["runtime"] for r in rows] == [
        "Keras predict",
        "Keras compiled call",
        "LiteRT float32",
        "LiteRT int8",
        "ONNX Runtime",
        "numpy",
    ]
    by_name = {r["runtime"]: r for r in rows}
    assert (
        min(r["times_the_fastest"] for r in rows) == 1
        and by_name["Keras predict"]["times_the_fastest"] > 3
    )
    for row in rows:
        assert (
            0 < row["latency_ms"] <= row["latency_ms_99"]
            and row["calls"] >= 1
            and set(row["images_per_second"]) == {"1", "8", "64"}
        )
        assert row["multiply_adds"] == 2_210_304 and row["threads"] == 1
    assert by_name["LiteRT int8"]["bytes"] < 0.3 * by_name["LiteRT float32"]["bytes"]
    assert (
        by_name["LiteRT int8"]["accuracy"]
        == json.loads((tmp_path / folder.name / "model.int8.tflite.card.json").read_text())[
            "accuracy"
        ]
    )


def test_latency_tables():
    from latency import TABLED, numpy_table, table

    rows = [
        {
            "rung": "r",
            "runtime": runtime,
            "threads": threads,
            "latency_ms": ms,
            "latency_ms_99": 2 * ms,
            "times_the_fastest": ms / 0.04,
            "images_per_second": {"64": 12_345},
        }
        for threads in (1, 2)
        for runtime, ms in zip(TABLED, (50.0, 2.0, 0.4, 0.25, 0.5))
    ]
    single, batches = (text.splitlines() for text in table(rows))
    assert (
        single[2]
        == "| `r` | 1 | 50 (100) | 2 (4) | 0.4 (0.8) | 0.25 (0.5) | 0.5 (1) | 1,250 | 50.0 |"
        and len(single) == 4
    )
    assert batches[3] == "| `r` | 2 | 12,345 | 12,345 | 12,345 | 12,345 | 12,345 |"
    rows.append({**rows[0], "runtime": "numpy", "latency_ms": 1.0, "latency_ms_99": 3})
    assert numpy_table([row for row in rows if row["threads"] == 1]).splitlines()[2] == (
        "| `r` | 1 | 2 (4) | 0.4 (0.8) | 1 (3) | 2.5 | 12,345 | 12,345 | 12,345 |"
    )


def test_the_table_of_budgets():
    from budget import table

    rows = [json.loads(x) for x in (ROOT / "docs" / "budget.jsonl").read_text().splitlines()]
    row = {**rows[0], "seconds": 1234.4, "seconds_to": {"0.8": 1000.4}}
    assert table([row]).splitlines()[2] == (
        "| `cifar10-90`, seed 0 | 2 cores | 1,234 | 8.3 | 1,000 s |  |  |  |  |  | 90.26 % |"
    )
    row["processor"] = "family 25, model 17"
    assert "seed 0 | 2 cores (family 25, model 17) | 1,234 |" in table([row])


def test_the_table_of_sizes():
    lines = benchmark_here("sizes.py").stdout.splitlines()
    assert lines[2].startswith("| `cifar10-tiny-88`, int8 | ") and len(lines) >= 7


@pytest.mark.parametrize(
    "args, words",
    [
        (["nowhere"], "is neither a rung"),
        (["--threads", "0"], "a whole number of at least 1"),
        (["cifar10-74", "--data-dir", "/nowhere"], "/nowhere: is not a folder"),
    ],
)
def test_wrong_requests_of_latency(args, words):
    done = benchmark_here("latency.py", *args)
    assert (
        done.returncode == 2
        and words in done.stderr
        and done.stderr.count("\n") == 1
        and not done.stdout
    )


# --- numpy beside Keras ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, parameters", [("mlp", 79_510), ("lenet5", 61_706)])
def test_a_network_in_numpy_and_in_keras_learn_the_same(name, parameters, monkeypatch):
    """From the same weights, by the same batches: after two epochs they give the same answers."""
    import numpy_training as benchmark

    from cifar_lab import backend, data

    backend.start()
    monkeypatch.setattr(benchmark, "VALIDATION", 40)
    monkeypatch.setattr(benchmark, "BATCH", 20)
    monkeypatch.setitem(benchmark.SETTINGS, name, ("Momentum", 0.05, 2))
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 10
    images = rng.integers(0, 60, (160, 28, 28, 1))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4] += 180
    images = images.astype(np.uint8)
    dataset = data.Dataset("mnist", tuple("0123456789"), images, labels, images, labels)
    row = benchmark.train(dataset, name, 0)
    assert row["parameters"] == parameters and len(row["val_accuracy"]) == 2
    assert row["test_accuracy"] == row["keras_test_accuracy"] > 0.2
    assert np.shape(row["seconds"]["numpy"]) == np.shape(row["seconds"]["keras"]) == (2, 2)
    order = benchmark.order_of(120, 0, 0)
    assert sorted(order) == list(range(120))
    assert list(order) != list(benchmark.order_of(120, 0, 1))


def test_a_convolution_by_loops_is_that_by_im2col(monkeypatch):
    import numpy_training as benchmark

    from cifar_lab import backend

    backend.start()
    monkeypatch.setitem(benchmark.CASES, "small", ((2, 5, 6, 3), 3, 4))
    row = benchmark.convolution("small", 2)  # which compares all three
    assert {len(row["seconds"][way]["both"]) for way in ("loops", "im2col", "keras")} == {2}


def test_what_is_measured_is_not_measured_again(tmp_path):
    import numpy_training as benchmark

    from cifar_lab import backend

    backend.start()
    path, calls = tmp_path / "rows.jsonl", []
    key = {"what": "choice", "network": "mlp", "seed": 1}

    def measure():
        calls.append(1)
        return dict(key)

    for _ in range(2):
        benchmark.add_row(path, key, measure)
    benchmark.add_row(path, {**key, "seed": 2}, lambda: {**key, "seed": 2})
    assert len(calls) == 1 and [row["seed"] for row in benchmark.read_rows(path)] == [1, 2]


def test_tables_of_numpy():
    from numpy_training import SETTINGS, table_of_choices, table_of_convolutions, table_of_training

    optimizer, rate, epochs = SETTINGS["mlp"]
    row = {
        "what": "training",
        "network": "mlp",
        "parameters": 79_510,
        "optimizer": optimizer,
        "rate": rate,
        "epochs": epochs,
        "test_accuracy": 0.98,
        "keras_test_accuracy": 0.981,
        "seconds": {"numpy": [[9, 9], [3, 1], [6, 1]], "keras": [[9, 9], [2, 2], [2, 2]]},
    }
    others = [{**row, "test_accuracy": 0.982}, {**row, "rate": 7}, {"what": "convolution"}]
    told = table_of_training([row, *others])
    assert told.splitlines()[2] == (
        f"| 784-100-10 | 79,510 | {optimizer}, rate {rate:g}, {epochs} epochs, batches of 100 | 2 "
        "| 98.10 +- 0.14 % | 98.10 +- 0.00 % | 4.5 | 1.0 | 2.2 (1.5 to 3.0) | 0.5 (0.5 to 0.5) |"
    )
    row = {
        "what": "choice",
        "network": "lenet5",
        "optimizer": "Adam",
        "rate": 0.002,
        "epochs": 2,
        "val_accuracy": [0.9, 0.95],
    }
    told = table_of_choices([row]).splitlines()
    assert told[2] == "| LeNet-5 | Adam | 0.002 | 90.00 % | 95.00 % |  |  |  |  |"
    row = {
        "what": "convolution",
        "case": "small",
        "pictures": [2, 5, 6, 3],
        "window": 3,
        "filters": 4,
        "rounds": 2,
        "seconds": {
            "loops": {"forward": [1.0, 3.0], "both": [2.0, 4.0]},
            "im2col": {"forward": [0.01, 0.01], "both": [0.02, 0.02]},
            "keras": {"forward": [0.01, 0.005], "both": [0.01, 0.01]},
        },
    }
    assert table_of_convolutions([row]).splitlines()[2] == (
        "| small: 2 pictures 5 x 6 x 3, 3 x 3 x 4 | forward | 2 | 2 | 0.01 | 0.0075 "
        "| 200 (100 to 300) | 1.5 (1.0 to 2.0) |"
    )


def test_the_table_of_both_augmentation_engines(tmp_path):
    import generator as benchmark

    from cifar_lab.errors import InputError

    ours, theirs = (benchmark.recipe_of(engine).sha256() for engine in (OURS, THEIRS))
    assert ours != theirs
    common = {"limit": None, "device": "CPU"}
    speeds = [{OURS: 3000, THEIRS: 1000}, {OURS: 2000, THEIRS: 1000}, {OURS: 2500, THEIRS: 1000}]
    rows = [
        {"kind": "speed", "recipe_sha256": theirs, "images_per_second": s, "ratio": s[OURS] / 1000}
        for s in speeds
    ]
    rows += [
        {"kind": "accuracy", "engine": engine, "recipe_sha256": sha, "epochs": 8, **figure}
        for engine, sha in ((OURS, ours), (THEIRS, theirs))
        for figure in ({"test_accuracy": 0.8}, {"test_accuracy": 0.82})
    ]
    rows = [{**row, **common} for row in rows]
    rehearsal = {**rows[-1], "limit": 100, "test_accuracy": 0.1}
    assert benchmark.table([*rows, rehearsal]).splitlines()[2:] == [
        "| compiled | 2,500 (3) | 81.00 +- 1.41 (2) |",
        "| ImageDataGenerator | 1,000 (3) | 81.00 +- 1.41 (2) |",
        "| ours beside Keras' | 2.50 times (2.00 to 3.00) | +0.00 (-6.08 to +6.08) points |",
    ]
    with pytest.raises(InputError, match="no whole runs of both engines"):
        benchmark.table(rows[:5])
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]) + "\n{}\n")
    with pytest.raises(InputError, match="line 2: is not a row"):
        benchmark.read(tmp_path / "rows.jsonl")
    assert benchmark.missing({"kind": "speed", "round": 7}, tmp_path / "none.jsonl")


# --- jpeg ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_networks_are_tested_on_jpeg_images(fashion_bundle, tmp_path):
    """A line a network, once; worse at the lowest quality or not, each share is of 40 images."""
    folder, data_dir = fashion_bundle
    lines = tmp_path / "jpeg.jsonl"
    args = ("--data-dir", data_dir, "--limit", 40, "--results", lines)
    done = run("benchmarks/jpeg.py", folder, *args)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["images"] == 40 and row["seed"] == 0 and row["jpeg_quality"] is None
    assert list(row["accuracy"]) == ["pixels", "95", "75", "50", "30", "10"]
    assert all((40 * share).is_integer() for share in row["accuracy"].values())
    trained = {**row, "jpeg_quality": [30, 100], "sha256": "another"}
    more = {**trained, "accuracy": dict.fromkeys(row["accuracy"], 0.5)}
    with open(lines, "a") as file:
        file.write(f"{json.dumps(trained)}\n{json.dumps(more)}\n")
    again = run("benchmarks/jpeg.py", folder, *args)
    assert again.returncode == 0 and not again.stdout and "tested already" in again.stderr
    table = run("benchmarks/jpeg.py", "--table", "--results", lines).stdout.splitlines()
    assert len(table) == 4 and "| keras | pixels | 1 |" in table[2]
    assert "| JPEG 30 to 100 | 2 |" in table[3] and table[3].count(" +- ") == 6


# --- corruptions ---------------------------------------------------------------------------------


def corruption_row(rung="cifar10-74", file="float", images=1000, mean=0.5):
    from cifar_lab.corruptions import NAMES

    by_name = {name: {"accuracy": [mean] * 5, "mean": mean} for name in NAMES}
    ends = {"clean": 0.9, "clean_interval": [0.88, 0.92], "mean": mean}
    ends["mean_interval"] = [mean - 0.01, mean + 0.01]
    return {"rung": rung, "file": file, "images": images, "corruptions": by_name, **ends}


def test_the_table_of_corruptions_has_float_and_int8_beside_each_other():
    import corruptions as benchmark

    rows = [
        corruption_row("cifar10-79", "int8", mean=0.25),
        corruption_row("cifar10-74", images=40),
        corruption_row("cifar10-79"),
    ]
    heads, _, *lines = benchmark.table(rows).splitlines()
    assert heads.startswith("| network | file | clean | mean | noise | blur | jpeg | ")
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| `cifar10-74` (n = 40)", "float", "90.0 +- 2.0", "50.0 +- 1.0"],
        ["| `cifar10-79`", "float", "90.0 +- 2.0", "50.0 +- 1.0"],
        ["| `cifar10-79`", "int8", "90.0 +- 2.0", "25.0 +- 1.0"],
    ]
    assert all(line.count("|") == 16 for line in (heads, *lines))


def test_corruptions_of_networks_that_are_there_are_not_measured_again(
    tmp_path, monkeypatch, capsys
):
    import corruptions as benchmark

    measured = []

    def stand_in(folder, kind, elsewhere, args):
        measured.append((folder.name, kind, args.images))
        return corruption_row(folder.name, kind, args.images)

    monkeypatch.setattr(benchmark, "measured", stand_in)
    lines = tmp_path / "corruptions.jsonl"
    args = ["cifar10-74", "cifar10-79", "--output", str(lines), "--images"]
    assert benchmark.main([*args, "20", "--files", "int8"]) == 0
    assert benchmark.main([*args, "20"]) == 0 and benchmark.main([*args, "30"]) == 0
    assert measured[:2] == [("cifar10-74", "int8", 20), ("cifar10-79", "int8", 20)]
    assert measured[2:4] == [("cifar10-74", "float", 20), ("cifar10-79", "float", 20)]
    assert len(measured) == 8 and all(images == 30 for _, _, images in measured[4:])
    assert len(lines.read_text().splitlines()) == 8
    assert "cifar10-79, int8: was tested already" in capsys.readouterr().err


def test_which_networks_corruptions_are_measured_of():
    import corruptions as benchmark

    names = benchmark.committed()
    assert {"cifar10-softmax", "cifar100-70", "fashion-mnist-92", "cifar10-94"} <= set(names)
    assert not any(name.startswith("mnist") for name in names)


@pytest.mark.slow
def test_networks_are_tested_on_corrupted_images(fashion_bundle, tmp_path):
    folder, data_dir = fashion_bundle
    lines = tmp_path / "corruptions.jsonl"
    args = ("--data-dir", data_dir, "--images", 40, "--output", lines)
    rows = lines_of(benchmark("corruptions.py", folder, *args))
    assert [row["file"] for row in rows] == ["float", "int8"]
    for row in rows:
        cells = [share for entry in row["corruptions"].values() for share in entry["accuracy"]]
        assert len(cells) == 55 and all((40 * share).is_integer() for share in cells)
        assert row["images"] == 40 and row["data"] == "fashion-mnist"
    assert not lines_of(benchmark("corruptions.py", folder, *args))
