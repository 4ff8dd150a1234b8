"""learn.py's exercises on the command line: what is written, what is told, and what is refused."""

import json

import pytest

from cifar_lab import exercises
from support import assert_refused, run, run_here, run_json

RIGHT = """
def affine_forward(x, w, b):
    return x @ w + b


def affine_backward(gradient, x, w):
    return gradient @ w.T, x.T @ gradient, gradient.sum(0)
"""
WRONG = RIGHT.replace("gradient.sum(0)", "gradient")


def filled_in(folder, functions):
    """The file of the affine exercise with these functions instead of its own."""
    written = run_json("learn.py", "matrices", "--exercise", "--output", folder, here=True)
    path = folder / "exercise_affine.py"
    assert written["file"] == str(path) and written["exercise"] == "affine"
    head = path.read_text().partition("\n\n\ndef ")[0]
    path.write_text(f"{head}\n\n{functions}")
    return path


@pytest.mark.parametrize("name, lesson", exercises.LESSONS.items())
def test_every_lesson_with_an_exercise_writes_it(name, lesson, tmp_path):
    done = run_here("learn.py", lesson, "--exercise", "--output", tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == f"exercise_{name.replace('-', '_')}.py"
    assert done.returncode == 0 and f"learn.py --check {path}" in done.stdout
    assert f'EXERCISE = "{name}"' in path.read_text()


def test_a_right_solution_passes_and_trains(tmp_path):
    path = filled_in(tmp_path, RIGHT)
    done = run_here("learn.py", "--check", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "affine: passed" and "%" in done.stdout
    found = run_json("learn.py", "--check", path, here=True)
    assert found["passed"] and found["accuracy"] == pytest.approx(
        found["scratch_accuracy"], abs=0.1
    )


def test_a_wrong_solution_is_told_what_is_wrong_and_exits_with_2(tmp_path):
    path = filled_in(tmp_path, WRONG)
    done = run_here("learn.py", "--check", path)
    assert done.returncode == 2
    line = "wrong affine_backward: the gradient of b misses the sum over the batch"
    assert line in done.stdout.splitlines()
    assert done.stderr == f"learn.py: error: {path}: affine: 2 of 3 checks failed\n"
    done = run_here("learn.py", "--check", path, "--json")
    assert done.returncode == 2 and not json.loads(done.stdout)["passed"]


def test_a_file_that_is_not_filled_in_says_so(tmp_path):
    run_here("learn.py", "matrices", "--exercise", "--output", tmp_path)
    done = run_here("learn.py", "--check", tmp_path / "exercise_affine.py")
    assert done.returncode == 2
    assert "wrong affine_forward: is not written yet" in done.stdout


def test_a_file_is_not_replaced_unless_asked(tmp_path):
    path = filled_in(tmp_path, RIGHT)
    assert_refused(
        run_here("learn.py", "matrices", "--exercise", "--output", tmp_path),
        "is there already; --overwrite replaces it",
    )
    assert "x @ w + b" in path.read_text()
    run_here("learn.py", "matrices", "--exercise", "--output", tmp_path, "--overwrite")
    assert "x @ w + b" not in path.read_text()


@pytest.mark.parametrize(
    "functions, words",
    [
        ("import time\ntime.sleep(1)\nwhile True:\n    pass\n" + RIGHT, "still running after 2 s"),
        ("raise OSError('the dog ate it')\n" + RIGHT, "the dog ate it"),
        ("print('x' * 10_000_000)\n" + RIGHT, "printed over 1 MB"),
        ("import not_there\n" + RIGHT, "not_there"),
        ("def affine_forward(x:\n", "line 1"),
    ],
)
def test_what_does_harm_is_one_line(functions, words, tmp_path):
    done = run_here("learn.py", "--check", filled_in(tmp_path, functions), "--seconds", 2)
    assert done.stdout == ""
    assert_refused(done, words)


@pytest.mark.parametrize(
    "args, words",
    [
        (["xor", "--exercise"], "'xor' has no exercise, must be one of matrices"),
        (["nope", "--exercise"], "unknown lesson 'nope'"),
        (["--exercise"], "a lesson is missing"),
        (["knn", "--overwrite"], "--overwrite: goes with --exercise"),
        (["knn", "--seconds", "3"], "--seconds: goes with --check"),
        (["knn", "--check", "x.py"], "--check: LESSON has no place beside it"),
        (["--check", "x.py", "--list"], "--check: --list has no place beside it"),
        (["--check", "there/is/none.py"], "there/is/none.py"),
        (["--check", ""], "--check: must name a file or folder"),
        (["--list", "--photo", "x.png"], "--list: --photo has no place beside it"),
        (["--check", "x.py", "--seconds", "0"], "must be a whole number from 1"),
        (["knn", "--exercise", "--photo", "x.png"], "--exercise: --photo has no place beside it"),
    ],
)
def test_what_is_wrong_is_one_line(args, words):
    assert_refused(run_here("learn.py", *args), words)


def test_the_command_itself_checks_a_file(tmp_path):
    done = run("learn.py", "--check", filled_in(tmp_path, WRONG))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
