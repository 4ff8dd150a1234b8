"""Training on several devices, and in several processes: the losses are those of one device."""

import csv
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cifar_lab import devices, processes
from cifar_lab.errors import InputError
from support import COMPILED_QUICKLY, ROOT, assert_refused, command_env, run, run_here

# Python code: two trainers of one recipe, on one device and on N virtual ones
BEGINNING = """
import sys
import numpy as np
from cifar_lab import backend, data, devices, ladder, training
from cifar_lab import recipe as recipes
from cifar_lab.data import synthetic

MOST = devices.of("cpu:4")
backend.prepare(MOST)
backend.start()
dataset = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(120, 20))
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")

def recipe_of(rung, **fields):
    return recipes.changed(ladder.get(rung).recipe, fields, "test")

def history(recipe, count, precision="float32"):
    among = devices.Devices(count, True, str(count)) if count > 1 else None
    plan = training.Plan.of(recipe, dataset, 0, precision=precision, devices=among)
    assert (plan.parallel.size if plan.parallel else 1) == count
    trainer = training.Trainer(plan)
    trainer.compile_step()
    rows = [trainer.run_epoch() for _ in range(recipe.epochs)]
    return [[row[name] for name in FIGURES] for row in rows], trainer

def assert_same(recipe, *counts, rtol=1e-5, atol=1e-4):
    expected, one = history(recipe, 1)
    for count in counts:
        found, several = history(recipe, count)
        np.testing.assert_allclose(found, expected, rtol=rtol)
        for variable, a, b in zip(one._variables(), several.values(), one.values()):
            size = max(1e-6, abs(b).max())
            np.testing.assert_allclose(a / size, b / size, atol=atol, err_msg=variable.path)
        assert [k.shape for k in several.kept or []] == [k.shape for k in one.kept or []]
        for a, b in zip(several.kept or [], one.kept or []):
            np.testing.assert_allclose(a, b, atol=1e-3 * max(1, abs(b).max()))

# batch normalisation, dropout, augmentation, L2; the last batch is smaller, and divides unequally;
# the second epoch is sharpness-aware, and weights are averaged
small = {"filters": [4], "dropout": [0.3], "convolutions": 1}
base = recipe_of("cifar10-88", epochs=2, batch_size=25, builder_options=small,
    sharpness_radius=0.02, sharpness_share=0.5)
"""


def run_on(backend, code, folder, **env):
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=command_env(
            KERAS_BACKEND=backend,
            XLA_FLAGS=COMPILED_QUICKLY,
            PYTHONPATH=ROOT,
            JAX_COMPILATION_CACHE_DIR="cache",
            **env,
        ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# --- the curve of one device ---


def test_two_devices_of_tensorflow(tmp_path):
    run_on("tensorflow", "assert_same(base, 2)", tmp_path)


@pytest.mark.slow
def test_two_devices_of_jax(tmp_path):
    pytest.importorskip("jax")
    run_on("jax", "assert_same(base, 2)", tmp_path)


MATRIX = """
# averaged weights, whitening, Muon, small images first; 30 images on 4 devices: 7, 8, 7, 8
assert_same(recipe_of("cifar10-94", epochs=4, batch_size=30, builder_options={"widths": [4, 8]},
    small_images=[[0.5, 16]], sharpness_radius=0.02, sharpness_share=0.5, swa_share=0.45,
    swa_epochs=1), COUNT)
# partners of a mixture are on other devices; 109 images leave one, fewer than there are devices
assert_same(recipes.changed(base, {"batch_size": 36, "augmentation": {"alternating_flip": True,
    "crop_padding": 2, "mixup_alpha": 0.4, "cutmix_alpha": 1.0, "erasing_factor": 0.5,
    "brightness_factor": 0.3}}, "test"), COUNT)
# noise, DropConnect, a hinge loss, class weights; Adam, by which a gradient that is a rounding
# error moves a bias as far as any other
assert_same(recipe_of("mnist-mlp", epochs=2, batch_size=30, input_shape=[32, 32, 3],
    drop_connect=0.2, loss="multiclass_hinge", class_weight="balanced",
    builder_options={"hidden_units": [8], "input_noise": 0.1}), COUNT, atol=0.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_every_kind_of_epoch(backend, count, tmp_path):
    if backend == "jax":
        pytest.importorskip("jax")
    run_on(backend, f"COUNT = {count}\n{MATRIX}", tmp_path)


@pytest.mark.slow
def test_all_epochs_as_one_program(tmp_path):
    pytest.importorskip("jax")
    code = """
from cifar_lab.training.one_program import OneProgram
plan = training.Plan.of(base, dataset, 0, scanned=True, devices=devices.Devices(2, True, "2"))
trainer = training.Trainer(plan)
found = [[row[name] for name in FIGURES[:4]] for row in OneProgram(trainer).run()]
expected, _ = history(base, 1)
np.testing.assert_allclose(found, [row[:4] for row in expected], rtol=1e-5)
"""
    run_on("jax", code, tmp_path)


@pytest.mark.slow
def test_numbers_of_devices_in_one_program_of_tensorflow(tmp_path):
    code = """
import pytest
history(recipe_of("cifar10-softmax", epochs=1), 2)
history(recipe_of("cifar10-softmax", epochs=1), 2)
with pytest.raises(ValueError, match="trained on 2 devices in this program already"):
    history(recipe_of("cifar10-softmax", epochs=1), 4)
"""
    run_on("tensorflow", code, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_run_goes_on_with_more_devices_and_with_fewer(backend, tmp_path):
    """Three epochs of which the second has two devices; killed before the third."""
    if backend == "jax":
        pytest.importorskip("jax")
    code = """
import csv
recipe = recipes.changed(base, {"epochs": 3}, "test")

class Stop(Exception):
    pass

def part(epochs, among):
    from cifar_lab.training import trainer
    own, done = trainer.Trainer.save_state, []
    def save(self, path, run):
        own(self, path, run)
        if len(self.history) == epochs and epochs < 3:
            raise Stop
    trainer.Trainer.save_state = save
    try:
        return training.train(recipe, dataset, "out", rung="test", resume=True, devices=among)[0]
    except Stop:
        pass
    finally:
        trainer.Trainer.save_state = own

two = devices.Devices(2, True, "2")
part(1, None)
part(2, two)
card = part(3, None)
assert "devices" not in card
rows = list(csv.DictReader(open("out/history.csv")))
whole, _ = history(recipe, 1, precision=card["precision"])
rtol = 1e-5 if card["precision"] == "float32" else 0.02
for row, expected in zip(rows, whole):
    np.testing.assert_allclose([float(row[n]) for n in FIGURES], expected, rtol=rtol, atol=1e-5)
card, _ = training.train(recipe, dataset, "two", rung="test", devices=two)
assert card["devices"] == 2 and "2 virtual devices" in card["device"], card
"""
    run_on(backend, code, tmp_path)


# --- what is refused ---


NO_NUMBERS = ["0", "-1", "two", "gpu:2", "cpu:", "1.5", "", "9999999", ":2", "9" * 5000]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: text[:9])
def test_what_is_no_number_of_devices(text, tmp_path):
    done = run_here("train.py", "cifar10-74", f"--devices={text}", "--output", tmp_path / "out")
    assert_refused(done, "--devices: must be a number of devices, all, or cpu:N", repr(text[:50]))
    with pytest.raises(InputError, match="must be a number"):
        devices.of(text or "x")


SMALL = ("cifar10-softmax", "--data", "synthetic", "--limit", "100", "--epochs", "2")


@pytest.mark.parametrize(
    "args, words",
    [
        (["--devices", "3"], ["--devices 3: there is 1 here (CPU: ", "cpu:3 rehearses"]),
        (["--devices", "cpu:2"], ["--devices cpu:2: Keras has started in this program"]),
        (["--process", "0/2"], ["--process: needs --coordinator"]),
        (["--coordinator", "1234"], ["--coordinator: needs --process"]),
        (["--process", "2/2"], ["--process: must be I/N", "'2/2'"]),
        (["--process", "0/2", "--coordinator", "1234"], ["KERAS_BACKEND=jax alone"]),
    ],
)
def test_wrong_requests(args, words, tmp_path):
    output = tmp_path / "out"
    assert_refused(run_here("train.py", *SMALL, *args, "--output", output), *words, output=output)


def test_one_device_is_the_default(tmp_path):
    """And all, where there is one."""
    for folder, args in (("a", []), ("b", ["--devices", "1"]), ("c", ["--devices", "all"])):
        done = run_here("train.py", *SMALL, *args, "--output", tmp_path / folder)
        assert done.returncode == 0, done.stderr
    cards = [json.loads((tmp_path / f / "card.json").read_text()) for f in "abc"]
    assert "devices" not in cards[2] and len({card["test_loss"] for card in cards}) == 1
    rows = [(tmp_path / f / "history.csv").read_text().splitlines() for f in "abc"]
    assert [[r.rsplit(",", 1)[0] for r in lines] for lines in rows][1:] == [
        [r.rsplit(",", 1)[0] for r in rows[0]]
    ] * 2


def test_torch_has_one_device(tmp_path):
    done = run(
        "train.py", *SMALL, "--devices", 2, "--output", tmp_path / "o", KERAS_BACKEND="torch"
    )
    assert_refused(done, "--devices 2: on KERAS_BACKEND=torch a training has one device")


def test_a_process_that_never_comes(tmp_path):
    """Nor does what was there before change."""
    port, output = free_port(), tmp_path / "out"
    args = (*SMALL, "--coordinator", port, "--wait", 1)
    done = run("train.py", *args, "--process", "0/2", "--output", output, KERAS_BACKEND="jax")
    assert_refused(done, "--process 0/2: process 1 did not come to 127.0.0.1", "within 1 s")
    assert not output.exists()
    done = run("train.py", *args, "--process", "1/2", KERAS_BACKEND="jax")
    assert_refused(done, "--coordinator 127.0.0.1", "no process 0 there within 1 s")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# --- processes ---


def start(place, size, port, output, *args):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *map(str, args), "--process", f"{place}/{size}"]
        + ["--coordinator", str(port), "--wait", "120", "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=command_env(
            KERAS_BACKEND="jax",
            XLA_FLAGS=COMPILED_QUICKLY,
            JAX_COMPILATION_CACHE_DIR=output.parent / "cache",
        ),
    )


def losses(output):
    with open(output / "history.csv") as file:
        return [[float(r[n]) for n in ("loss", "val_loss")] for r in csv.DictReader(file)]


def test_two_processes_of_two_devices(tmp_path):
    """The curve of one device, even of another backend: weights that begin at zero, and no
    draws."""
    pytest.importorskip("jax")
    args = (*SMALL, "--set", "initializer=zeros", "--set", "cpu_precision=float32")
    args += ("--set", "augmentation={}")
    done = run_here("train.py", *args, "--output", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    port, output = free_port(), tmp_path / "two"
    team = [start(i, 2, port, output, *args, "--devices", "cpu:2", "--json") for i in (0, 1)]
    said = [process.communicate(timeout=300) for process in team]
    assert [process.returncode for process in team] == [0, 0], said
    told = json.loads(said[0][0])
    assert (told["devices"], told["bundle"]) == (4, str(output)) and "in each of 2" in said[0][1]
    assert json.loads(said[1][0]) == {"process": 1, "processes": 2}
    np.testing.assert_allclose(losses(output), losses(tmp_path / "one"), rtol=1e-5)
    one, two = (json.loads((tmp_path / f / "card.json").read_text()) for f in ("one", "two"))
    assert abs(one["test_loss"] - two["test_loss"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_all_and_the_run_goes_on(victim, tmp_path):
    pytest.importorskip("jax")
    args = (*SMALL, "--epochs", "30", "--devices", "cpu:2", "--resume")  # the last number counts
    output, port = tmp_path / "out", free_port()
    state = tmp_path / ".out.state.npz"
    team = [start(i, 2, port, output, *args) for i in (0, 1)]
    end = time.monotonic() + 200
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(team[victim].pid, signal.SIGKILL)
    said = [process.communicate(timeout=200) for process in team]
    survivor = 1 - victim
    assert team[survivor].returncode == 2, said
    lines = said[survivor][1].strip().splitlines()
    assert f"process {victim} of 2 is gone" in lines[-1] and "--resume" in lines[-1], said
    assert sum(": error: " in line for line in lines) == 1 and "Traceback" not in said[survivor][1]
    assert not output.exists() and state.exists()

    # by two again, or by one alone
    if victim == 0:
        port = free_port()
        team = [start(i, 2, port, output, *args) for i in (0, 1)]
        said = [process.communicate(timeout=300) for process in team]
        assert [process.returncode for process in team] == [0, 0], said
        told = said[0][1]
    else:
        done = run("train.py", *args, "--output", output, KERAS_BACKEND="jax")
        assert done.returncode == 0, done.stderr
        told = done.stderr
    assert "resuming after epoch" in told and len(losses(output)) == 30


@pytest.mark.slow
def test_a_network_of_ones_own_in_two_processes_one_without_data(tmp_path):
    """Its file starts Keras before anything else; what is wrong in one process, both say."""
    pytest.importorskip("jax")
    own = tmp_path / "own.py"
    own.write_text(
        "from keras import Input, Model, layers\n"
        "def net(input_shape, num_classes):\n"
        "    x = inputs = Input(input_shape)\n"
        "    x = layers.Dense(num_classes, activation='softmax')(layers.Flatten()(x))\n"
        "    return Model(inputs, x)\n"
    )
    (tmp_path / "empty").mkdir()
    args, port = (f"{own}:net", *SMALL[1:]), free_port()
    team = [start(i, 2, port, tmp_path / "out", *args) for i in (0, 1)]
    said = [process.communicate(timeout=200) for process in team]
    assert [process.returncode for process in team] == [0, 0], said
    port, args = free_port(), ("cifar10-softmax", "--limit", "100", "--data-dir")
    places = tmp_path, tmp_path / "empty"
    team = [
        start(i, 2, port, tmp_path / "two", *args, place, "--data", data)
        for i, (place, data) in enumerate(zip(places, ("synthetic", "cifar10")))
    ]
    said = [process.communicate(timeout=200) for process in team]
    assert [process.returncode for process in team] == [2, 2], said
    for _, stderr in said:
        assert stderr.count(": error: ") == 1 and "holds no cifar10" in stderr.splitlines()[-1]


@pytest.mark.slow
def test_processes_with_other_settings(tmp_path):
    pytest.importorskip("jax")
    port = free_port()
    team = [start(i, 2, port, tmp_path / "out", *SMALL, "--seed", i) for i in (0, 1)]
    said = [process.communicate(timeout=200) for process in team]
    assert [process.returncode for process in team] == [2, 2], said
    for _, stderr in said:
        assert stderr.count(": error: ") == 1 and stderr.splitlines()[-1].endswith(
            "--process: all must have the same settings: seed is 0 in process 0, 1 in process 1"
        )
    assert not (tmp_path / "out").exists()


def team_of(count, wait=10):
    """Teams that are to meet in threads of this process; losses are noted, not obeyed."""
    port, found = free_port(), []
    for place in range(count):
        made = processes.Team(place, count, "127.0.0.1", port, wait, "test")
        made.losses = []
        made.lost = lambda link, line, code=2, made=made: made.losses.append((link.place, line))
        found.append(made)
    return found


def meet(teams):
    """What each met with: None or its error."""
    errors = [None] * len(teams)

    def one(i):
        try:
            teams[i].meet()
        except InputError as error:
            errors[i] = str(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(teams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


def until(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_what_processes_tell_each_other(monkeypatch):
    teams = team_of(3)
    assert meet(teams) == [None] * 3
    teams[0].tell({"a": 1})
    teams[0].tell_bytes(b"x" * 3_000_000)
    for team in teams[1:]:
        assert team.hear() == {"a": 1} and len(team.hear()) == 3_000_000
        team.tell({"from": team.place})
    assert [teams[0].hear(i) for i in (1, 2)] == [{"from": 1}, {"from": 2}]
    monkeypatch.setattr(processes.atexit, "register", lambda *args: None)
    teams[0].end("the disk is full")
    until(lambda: all(team.losses for team in teams[1:]))
    assert [team.losses[0] for team in teams[1:]] == [(0, "the disk is full")] * 2


def test_a_process_that_goes_away_or_falls_silent(monkeypatch):
    monkeypatch.setattr(processes, "SILENT_SECONDS", 0.6)
    monkeypatch.setattr(processes, "ALIVE_SECONDS", 0.1)
    teams = team_of(3)
    assert meet(teams) == [None] * 3
    time.sleep(1)
    assert not any(team.losses for team in teams)  # they are alive, though nobody speaks
    teams[1].links[0].connection.shutdown(socket.SHUT_RDWR)  # as the system does after a kill
    until(lambda: teams[0].losses)
    assert teams[0].losses[0][0] == 1 and not teams[2].losses
    teams[2].links[0].send = lambda kind, content: None  # as of a machine without power
    until(lambda: len(teams[0].losses) == 2)
    assert teams[0].losses[1][0] == 2


@pytest.mark.parametrize(
    "change, words",
    [
        ({"size": 3}, "process 1/3 there, process 0/2 here"),
        ({"place": 5, "size": 2}, "process 5/2 there"),
    ],
)
def test_a_process_of_another_team(change, words):
    """It is told so; the team waits on for its own."""
    teams = team_of(2, wait=1.5)
    stranger = processes.Team(1, 2, "127.0.0.1", teams[0].port, 1.5, "test")
    for name, value in change.items():
        setattr(stranger, name, value)
    errors = meet([teams[0], stranger])
    assert words in errors[1] and "process 1 did not come" in errors[0]


def greeting(text):
    return struct.pack(">cQ", b"m", len(text)) + text


def knock(port, data):
    """Connect as soon as somebody listens, say this, and go away."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(data)
            return
        except OSError:
            time.sleep(0.05)


def test_bytes_of_a_stranger():
    """Nobody who is not of the team keeps it from meeting."""
    teams = team_of(2)

    def knock_and_meet():
        texts = [b'{"process": 1e999, "processes": 2}', b"[" * 3000, b"[]", b" " * 5000]
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"m" + b"\xff" * 8, b"", *map(greeting, texts)):
            knock(teams[0].port, data)
        teams[1].meet()

    thread = threading.Thread(target=knock_and_meet)
    thread.start()
    teams[0].meet()
    thread.join(20)
    teams[0].tell({"ours": True})
    assert teams[1].hear() == {"ours": True}


def test_a_process_may_start_again_before_all_have_come():
    teams, errors = team_of(3), []
    thread = threading.Thread(target=lambda: errors.extend(meet(teams[:1])))
    thread.start()
    hello = {"process": 1, "processes": 3, "version": processes.__version__}
    knock(teams[0].port, greeting(json.dumps(hello).encode()))
    errors += meet(teams[1:])
    thread.join(20)
    assert errors == [None] * 3


def test_a_process_that_went_away_before_all_had_come_is_waited_for():
    teams, errors = team_of(3), []
    hello = {"process": 1, "processes": 3, "version": processes.__version__}
    threads = [
        threading.Thread(target=lambda team=team: errors.extend(meet([team])))
        for team in (teams[0], teams[2])
    ]
    threads[0].start()
    knock(teams[0].port, greeting(json.dumps(hello).encode()))
    threads[1].start()
    until(lambda: 2 in teams[0].links)
    assert all(thread.is_alive() for thread in threads)
    errors += meet(teams[1:2])
    for thread in threads:
        thread.join(20)
    assert errors == [None] * 3 and sorted(teams[0].links) == [1, 2]


def test_a_process_that_went_away_did_not_come():
    team = team_of(3, wait=1.5)[0]
    hello = {"process": 1, "processes": 3, "version": processes.__version__}
    data = greeting(json.dumps(hello).encode())
    thread = threading.Thread(target=knock, args=(team.port, data))
    thread.start()
    (error,) = meet([team])
    thread.join(20)
    assert "process 1, 2 did not come" in error


def test_a_large_message_is_sent_in_parts():
    """Each has its own timeout: a state may take longer than a process may be silent."""
    sizes = []
    connection = type("", (), {"sendall": lambda self, data: sizes.append(len(data))})()
    processes._Link(None, 0, connection).send(b"b", b"x" * 3_000_000)
    assert sum(sizes) == 3_000_009 and max(sizes) <= 1 << 20


@pytest.mark.parametrize("code, said", [(2, "train.py: error: x\n"), (130, "\ntrain.py: x\n")])
def test_the_line_that_ends_a_process(code, said, monkeypatch, capsys):
    codes, team = [], processes.Team(1, 2, "127.0.0.1", 1, 1, "train.py")
    monkeypatch.setattr(processes.os, "_exit", codes.append)
    team.lost(processes._Link(team, 0, None), "x", code)
    assert codes == [code] and capsys.readouterr().err == said
