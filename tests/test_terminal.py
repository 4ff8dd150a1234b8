"""What a person sees on a terminal: a bar that fits, at any width, and nothing of it afterwards."""

import contextlib
import fcntl
import functools
import io
import itertools
import json
import os
import shutil
import struct
import sys
import termios
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from screen import Screen

from cifar_lab import Recipe, cli, terminal
from cifar_lab.cli import predicting
from cifar_lab.errors import InputError
from cifar_lab.ladder import LADDER
from cifar_lab.searching.search import Search
from cifar_lab.training import optimizers, progress
from support import run_here

WIDTHS = (200, 80, 60, 40, 20)


class Stream(io.TextIOBase):
    """A stderr that is a terminal, seen on a Screen."""

    def __init__(self, screen):
        self.screen, self.raw = screen, ""

    def write(self, text):
        self.raw += text
        self.screen.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """A function: (Screen, Stream) of a terminal of so many columns, which is sys.stderr."""

    def make(columns, reflows=True):
        found = Screen(columns, reflows)
        stream = Stream(found)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(terminal, "columns_of", lambda stream: found.columns)
        return found, stream

    return make


# --- the emulation itself ---


def test_the_screen_wraps_and_wraps_anew():
    screen = Screen(4).feed("abcdef\r\ngh")
    assert screen.lines == ["abcd", "ef", "gh"]
    screen.resize(3)
    assert screen.lines == ["abc", "def", "gh"]
    screen.feed("\rx\x1b[K\r\n\r\n\x1b[2Ay\x1b[J")
    assert screen.lines == ["abc", "def", "y"]


# --- parts of a line ---


def test_a_bar():
    assert terminal.bar(0, 10) == "[        ]"
    assert terminal.bar(0.5, 10) == "[===>    ]"
    assert terminal.bar(1, 10) == "[========]"


def test_a_line_is_cut_to_columns_not_to_characters():
    assert terminal.fitted("abcdef", 4) == "abcd"
    assert terminal.fitted("猫cat", 3) == "猫c"
    assert terminal.fitted("e\u0301a", 1) == "e\u0301"
    assert terminal.fitted("a\nb\x1b[2J", 20) == "a?b?[2J"  # a folder may be called so
    assert terminal.fitted("abc", -1) == ""


def test_the_parts_that_matter_least_go_first():
    parts = [("epoch 1/9", 0), ("accuracy 0.5", 1), ("rate 0.1", 2), ("", 1)]
    assert terminal.chosen(parts, 40) == "epoch 1/9  accuracy 0.5  rate 0.1"
    assert terminal.chosen(parts, 32) == "epoch 1/9  accuracy 0.5"
    assert terminal.chosen(parts, 34, 0.5) == "epoch 1/9  accuracy 0.5  rate 0.1"  # no room for it
    assert terminal.chosen(parts, 45, 0.5) == "epoch 1/9  [===>    ]  accuracy 0.5  rate 0.1"
    parts[2] = ("rate 0.1", 3)  # which a bar is worth more than
    assert terminal.chosen(parts, 35, 0.5) == "epoch 1/9  [===>    ]  accuracy 0.5"
    assert terminal.chosen(parts, 3) == "epoch 1/9"


@pytest.mark.parametrize(
    "seconds, text", [(3723.4, "1:02:03"), (123, "2:03"), (0, "0:00"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert terminal.clock(seconds) == text


# --- the bar of a training ---


@pytest.fixture
def quick(monkeypatch):
    """Each step is shown, and no time passes."""
    ticks = (n * 1e-6 for n in itertools.count())
    monkeypatch.setattr(progress, "LIVE_SECONDS", 0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(ticks))


def watched(recipe, history=()):
    """LiveProgress of a training of 100 steps an epoch, on a Notice."""
    plan = SimpleNamespace(recipe=recipe, steps_per_epoch=100, sets_after=lambda epochs: 0)
    trainer = SimpleNamespace(plan=plan, history=list(history), rate_at=lambda epoch, step: 0.00125)
    found = progress.progress_of(trainer, cli.Notice())
    assert isinstance(found, progress.LiveProgress)
    return found


STEP = {"loss": 1.2345, "accuracy": 0.4321}
EPOCH = {**STEP, "val_loss": 1.5, "val_accuracy": 0.4, "learning_rate": 0.00125}


def test_the_bar_at_each_width(screen, quick):
    expected = {
        200: "epoch 1/12  [==============>             ]  accuracy 0.4321  loss 1.2345  "
        "rate 0.0013  step 54/100  left 0:00  small images",
        80: "epoch 1/12  [====>     ]  accuracy 0.4321  rate 0.0013  left 0:00  small images",
        60: "epoch 1/12  [========>        ]  accuracy 0.4321  left 0:00",
        40: "epoch 1/12  accuracy 0.4321  left 0:00",
        20: "epoch 1/12",
    }
    for columns in WIDTHS:
        seen, _ = screen(columns)
        bar = watched(LADDER["cifar10-90"].recipe)
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(53, STEP)
        assert seen.lines == [expected[columns]]


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("reflows", [True, False])
def test_no_line_is_left_behind(columns, reflows, screen, quick):
    seen, stream = screen(columns, reflows)
    bar = watched(LADDER["cifar10-90"].recipe)
    with terminal.doing(bar.notice, "compiling the graph of a network with a long name"):
        assert seen.lines[0].startswith("compiling the graph"[: columns - 1])
    bar.on_epoch_begin(0)
    for batch in range(100):
        bar.on_train_batch_end(batch, STEP)
        assert len(seen.lines) == 1
    bar.on_test_begin()
    bar.on_train_batch_end(99, STEP)  # which came late
    assert len(seen.lines) == 1 and ("validating" in seen.lines[0] or columns == 20)
    bar.on_epoch_end(0, EPOCH)
    line = "epoch   1/12  loss 1.2345  accuracy 0.4321  val_loss 1.5000  val_accuracy 0.4000  "
    line += "rate 0.00125  0.0 s  left 0:00  small images (24 x 24)"
    assert seen.lines == [line[n : n + columns].rstrip() for n in range(0, len(line), columns)]


def test_what_is_left_knows_of_larger_images_and_of_two_passes(monkeypatch):
    """Five epochs at 20 x 20 took 40 s each; seven at 24 x 24, six whole and three of two passes
    are to come."""
    recipe = LADDER["cifar10-94"].recipe
    lines, ticks = [], iter((0.0, 40.0, 40.0, 240.0))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(ticks))
    trainer = SimpleNamespace(plan=SimpleNamespace(recipe=recipe), history=[{"seconds": 40.0}] * 4)
    told = progress.progress_of(trainer, lines.append)
    told.on_epoch_begin(4)
    told.on_epoch_end(4, EPOCH)
    whole = 40 / (20**2 / 32**2)
    left = whole * (7 * 24**2 / 32**2 + 6 + 3 * 2)
    assert f"40.0 s  left {terminal.clock(left)}  small images" in lines[0]
    assert terminal.clock(left) == "27:12"
    trainer.history = [{"seconds": 100.0}] * 20
    told.on_epoch_begin(20)
    told.on_epoch_end(20, EPOCH)
    assert "200.0 s  left 0:00  sharpness-aware" in lines[1]


@pytest.mark.parametrize("reflows", [True, False])
@pytest.mark.parametrize("narrow", [60, 40, 25])
def test_nor_when_the_terminal_is_made_narrower_or_wider(narrow, reflows, screen, quick):
    seen, _ = screen(120, reflows)
    bar = watched(LADDER["cifar10-90"].recipe)
    bar.notice("a line that stays")
    bar.on_epoch_begin(0)
    for columns in (120, narrow, 120, narrow):
        seen.resize(columns)
        for batch in (20, 40):
            bar.on_train_batch_end(batch, STEP)
            assert seen.lines[0] == "a line that stays" and len(seen.lines) == 2
    bar.notice("done")
    assert seen.lines == ["a line that stays", "done"]


def test_where_rich_leaves_the_rest_of_a_bar():
    """Why the bar is our own (see cifar_lab/terminal.py)."""
    progress_bar = pytest.importorskip("rich.progress")
    from rich.console import Console

    screen, out = Screen(60), io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    columns = "epoch {task.completed}", progress_bar.BarColumn(None), "loss 1.23"
    with progress_bar.Progress(*columns, console=console, auto_refresh=False) as shown:
        task = shown.add_task("", total=10)
        for epoch in range(4):
            if epoch == 2:
                screen.resize(40)
                console.width = 40
            shown.update(task, completed=epoch, refresh=True)
            screen.feed(out.getvalue())
            out.seek(0)
            out.truncate()
    assert [line.split()[1] for line in screen.lines] == ["1", "3"]  # epoch 1 should be gone


def test_an_error_and_an_interruption_take_the_bar_away(screen):
    def failing(error):
        def command(argv):
            cli.Notice().live("epoch 3/9  [====>   ]  accuracy 0.5")
            raise error

        return command

    seen, _ = screen(60)
    assert cli.guarded("x.py", failing(InputError("data: is wrong")), []) == 2
    assert seen.lines == ["x.py: error: data: is wrong"]
    seen, _ = screen(60)
    assert cli.guarded("x.py", failing(KeyboardInterrupt()), []) == 130
    assert [line for line in seen.lines if line] == ["x.py: interrupted"]


@pytest.mark.parametrize("rung", ["cifar10-94", "cifar10-96", "cifar10-74", "cifar10-88"])
def test_the_rate_that_is_shown_is_the_optimizers(rung):
    recipe, steps = LADDER[rung].recipe, 10
    total = steps * recipe.epochs
    optimizer = optimizers.build(recipe, total)
    rate = optimizers.rate_of(recipe, total)
    for step in (0, 1, total // 2, total - 3):
        optimizer.iterations.assign(step)
        shown = float(rate(step)) if callable(rate) else rate
        assert shown == pytest.approx(float(optimizer.learning_rate), rel=1e-6)


# --- other commands ---


def test_a_search_says_how_far_it_is():
    def trial(number, status, score=None):
        return SimpleNamespace(trial_id=str(number), status=status, score=score)

    search = object.__new__(Search)
    search.worker, search.max_trials, search.folder = False, 20, "nowhere"
    search.before, search.started = 100.0, __import__("time").time()
    search.request = SimpleNamespace(direction="max")
    search.oracle = SimpleNamespace(
        trials={
            str(t.trial_id): t
            for t in (trial(0, "COMPLETED", 0.8123), trial(1, "FAILED"), trial(2, "RUNNING"))
        }
    )
    search.notice = SimpleNamespace(columns=80)
    line = "2 of 20 trials  [=>                          ]  running 2  best 0.8123  1:40"
    assert search._how_far() == line
    search.notice = SimpleNamespace(columns=40)
    assert search._how_far() == "2 of 20 trials  running 2  best 0.8123"


def test_predict_says_which_picture_it_reads(screen, monkeypatch, capsys):
    seen, stream = screen(60)
    classifier = SimpleNamespace(
        card={"x": 1}, classes=("a", "b"), input_shape=(2, 2, 3),
        classify=lambda pictures, top: [[("a", 0.9)] for _ in pictures],
    )  # fmt: skip
    monkeypatch.setattr(predicting, "_classifier", lambda request: classifier)
    monkeypatch.setattr(predicting, "_read", lambda file, shape: np.zeros(shape, np.uint8))
    assert predicting.run(["net", *(f"p{n}.png" for n in range(40))]) == 0
    assert "opening net" in stream.raw and "picture 40: p39.png" in stream.raw
    assert seen.lines == [""]  # nothing of it stays
    assert capsys.readouterr().out.count("\n") == 40


# --- the commands themselves ---


def on_terminal(columns, command, monkeypatch):
    """(what `command` returns, what was written to it) where sys.stderr is a real terminal of so
    many columns."""
    own, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    read = []

    def reading():
        with contextlib.suppress(OSError):  # the other side is closed
            while piece := os.read(own, 4096):
                read.append(piece)

    thread = threading.Thread(target=reading)
    thread.start()
    with monkeypatch.context() as patch, os.fdopen(its, "w") as stream:
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", stream)
        result = command()
    thread.join()
    os.close(own)
    return result, b"".join(read).decode()


def small(output, *more):
    words = ("mnist-logistic", "--data", "synthetic:disc,ring", "--epochs", "2", "--limit", "400")
    return [*words, "--set", "input_shape=[32,32,3]", "--output", str(output), *more]


@pytest.mark.parametrize("columns", [60, 40])
def test_train_leaves_nothing_but_its_lines(columns, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LIVE_SECONDS", 0)
    command = functools.partial(cli.train, small(tmp_path / "out", "--json"))
    code, raw = on_terminal(columns, command, monkeypatch)
    assert code == 0, raw
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and json.loads(out)["epoch"]
    screen = Screen(columns).feed(raw)
    for word in ("reading", "starting Keras", "compiling", "validating", "saving", "testing"):
        assert word in raw and not any(word in line for line in screen.lines), word
    assert "epoch 1/2  " in raw and "[=" in raw and "[=" not in "".join(screen.lines)
    starts = ("mnist-logistic on", "backend", "compiled in", "epoch   1/2", "epoch   2/2")
    assert [s for s in starts for line in screen.lines if line.startswith(s)] == list(starts)


def test_no_bar_where_there_is_no_terminal(tmp_path):
    done = run_here("train.py", *small(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 5  # the lines of the test before


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_nor_on_one_that_cannot_erase(term, monkeypatch, tmp_path):
    own, its = os.openpty()
    with os.fdopen(its, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", term)
        notice = cli.Notice()
        assert not hasattr(notice, "live")
        with terminal.doing(notice, "compiling"):
            notice("a line")
        terminal.clear(stream)
        assert os.read(own, 100) == b"a line\r\n"
    os.close(own)


def test_the_width_is_that_of_the_terminal_at_hand(monkeypatch):
    own, its = os.openpty()
    monkeypatch.setenv("COLUMNS", "33")
    with os.fdopen(its, "w") as stream:
        for columns in (60, 41):
            fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            assert terminal.columns_of(stream) == columns
    os.close(own)
    assert terminal.columns_of(io.StringIO()) == 80
    assert not terminal.is_terminal(None)


def test_an_even_recipe_shows_no_phase(screen, quick):
    seen, _ = screen(200)
    bar = watched(Recipe(epochs=3))
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(49, STEP)
    assert seen.lines[0].endswith("left 0:00")


# --- what files and names say ---

HOSTILE = "a\x1b[2Jb\x07c\r\nd\x9b31me\x7ff\u202eg\u2066h\u2028i\ud800j"


def assert_harmless(text):
    """Nothing but lines that a terminal shows as they are."""
    for line in text.split("\n"):
        assert line.isprintable(), line


def test_what_a_terminal_would_obey_is_escaped():
    assert terminal.escaped("plain, \u00e9\u4e2d") == "plain, \u00e9\u4e2d"
    found = terminal.escaped(HOSTILE)
    assert_harmless(found)
    for word in (r"\x1b[2J", r"\x07", r"\r\n", r"\x9b", r"\x7f", r"\u202e", r"\u2028", r"\ud800"):
        assert word in found
    assert terminal.escaped(found) == found


@pytest.mark.parametrize("length", [10, 499, 500, 501, 5_000, 10**6])
def test_a_line_has_at_most_500_characters(length):
    line = "begin" + "x" * (length - 8) + "end"
    found = terminal.sayable(line)
    assert len(found) == min(length, 500) and found.startswith("begin") and found.endswith("end")
    assert (" ... " in found) is (length > 500)
    assert len(terminal.sayable("\x1b" * length)) <= 500


@pytest.mark.parametrize("script", ["evaluate.py", "predict.py", "train.py", "report.py"])
def test_names_on_the_command_line_do_nothing_to_a_terminal(script):
    done = run_here(script, HOSTILE + "x" * 3000, "y.png")
    assert done.returncode == 2
    assert_harmless(done.stderr)
    assert all(len(line) <= 500 for line in done.stderr.splitlines())
    assert done.stderr.strip().count("\n") == 0


def test_names_of_classes_do_nothing_to_a_terminal(tmp_path, fashion_bundle):
    bundle = tmp_path / "bundle"
    shutil.copytree(fashion_bundle[0], bundle)
    card = json.loads((bundle / "card.json").read_text())
    card["rung"] = HOSTILE.replace("\ud800", "")
    card["classes"] = [f"{card['rung']}{i}" for i in range(10)]
    card["data"]["note"] = card["rung"]
    (bundle / "card.json").write_text(json.dumps(card))
    image = tmp_path / "a\x1b[31m\nb.png"
    Image.new("L", (28, 28)).save(image)
    done = run_here("predict.py", bundle, image)
    assert done.returncode == 0 and done.stdout.count("\n") == 1, done.stderr
    assert r"\x1b[2J" in done.stdout
    for line in (done.stdout, done.stderr):
        assert_harmless(line)
    told = run_here("predict.py", bundle, image, "--json")
    assert json.loads(told.stdout)["file"] == str(image)
    assert json.loads(told.stdout)["class"] in card["classes"]
    assert_harmless(told.stdout)
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.new("L", (28, 28)).save(folder / name / "1.png")
    done = run_here("evaluate.py", bundle, "--data", folder)
    assert done.returncode == 2
    assert_harmless(done.stderr)
    done = run_here(
        "evaluate.py", bundle, "--data", "fashion-mnist", "--data-dir", fashion_bundle[1]
    )
    assert done.returncode == 2  # other classes
    assert_harmless(done.stderr)
    from cifar_lab import evaluation

    result = evaluation.scores(np.eye(10), np.arange(10), card["classes"])
    assert_harmless(evaluation.as_table(result, card["classes"]))


def test_a_notice_is_one_line(capsys):
    cli.Notice()(HOSTILE)
    assert capsys.readouterr().err.count("\n") == 1
