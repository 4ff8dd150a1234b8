"""All lessons: each runs, finds what it should and draws; the command, and the page of them all."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cifar_lab import exercises, lessons
from cifar_lab.errors import InputError
from cifar_lab.lessons import Lesson, Number, Outcome, Sources, picture
from cifar_lab.lessons.lesson import shown
from cifar_lab.report import lessons_page
from support import (
    ROOT,
    assert_refused,
    command_env,
    outcome_of,
    run_here,
    run_json,
    write_fashion,
)

NAMES = list(lessons.lessons())
PAGE = ROOT / "docs" / "lessons" / "README.md"


# --- each lesson ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_lesson_finds_what_it_should(name):
    outcome = outcome_of(name)
    assert outcome.numbers
    for number in outcome.numbers:
        assert number.right, f"{number.name}: {number.value}, should be {number.expected}"
        if number.printed is not None:
            assert number.why, f"{number.name}: the slide is wrong, and nothing says why"
    names = [number.name for number in outcome.numbers]
    assert len(set(names)) == len(names)
    needs_data = {"digits", "pictures"} & set(lessons.get(name).needs)
    assert outcome.data if needs_data else True
    assert outcome.seen.endswith(".") and outcome.seen.count(". ") <= 5


@pytest.mark.parametrize("name", NAMES)
def test_every_lesson_draws(name, tmp_path):
    outcome = outcome_of(name)
    assert outcome.draw is not None
    picture.save(tmp_path / "drawn.png", outcome, lessons.get(name).title)
    with Image.open(tmp_path / "drawn.png") as image:
        assert image.size == (900, round(100 * outcome.height))
        grey = np.asarray(image.convert("L"))
    assert (grey < 250).mean() > 0.01


@pytest.mark.parametrize("name", ["least-squares", "convolution", "edges", "pooling", "parameters"])
def test_a_second_run_finds_the_same(name):
    again = lessons.get(name).run(Sources())
    first = [number.as_dict() for number in outcome_of(name).numbers]
    assert [number.as_dict() for number in again.numbers] == first
    assert again.seen == outcome_of(name).seen


def test_names_are_unique_and_say_what_is_needed():
    families = [
        __import__(f"cifar_lab.lessons.{f}", fromlist=["LESSONS"]) for f in lessons.FAMILIES
    ]
    listed = [lesson for family in families for lesson in family.LESSONS]
    assert len({lesson.name for lesson in listed}) == len(listed) == len(NAMES)
    assert len({lesson.title for lesson in listed}) == len(listed)
    for lesson in listed:
        assert re.fullmatch(r"[a-z0-9-]+", lesson.name)
        assert set(lesson.needs) <= {"digits", "pictures", "photo"}
        assert lesson.source and not lesson.title.endswith(".")


def test_a_number_is_right_within_its_tolerance():
    assert Number("half", 0.5004, 0.5).right and not Number("half", 0.501, 0.5).right
    assert Number("any", float("nan")).right
    assert Number("row", [1, 2], [1, 2]).right and not Number("row", [1, 2], [1, 2, 3]).right
    assert Number("none", float("nan")).as_dict()["value"] == "nan"


def test_figures_are_shown_short():
    assert shown(1639914) == "1,639,914" and shown(1 / 3) == "0.33333"
    assert shown([[1, 2.5], [3, 4]]) == "[[1, 2.5], [3, 4]]"


# --- the command ----------------------------------------------------------------------------------


def test_the_list():
    done = run_here("learn.py", "--list")
    *lines, note = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert note == "* has an exercise: learn.py NAME --exercise"
    with_exercise = {line.split()[0] for line in lines if line.split()[1] == "*"}
    assert with_exercise == set(exercises.LESSONS.values())
    assert list(run_json("learn.py", "--list", here=True)) == NAMES


def test_text(tmp_path):
    done = run_here("learn.py", "parameters", "--output", tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(re.match(r"VGG-16 +138,357,544  as it should be$", line) for line in lines)
    assert any("(the slide has doubles each stage)" in line for line in lines)
    assert lines[-1] == f"picture: {tmp_path / 'parameters.png'}"
    assert (tmp_path / "parameters.png").is_file()


def test_json(tmp_path):
    told = run_json("learn.py", "receptive-field", "--output", tmp_path / "a" / "b", here=True)
    assert told["lesson"] == "receptive-field" and told["data"] == ""
    by_name = {number["name"]: number for number in told["numbers"]}
    two = by_name["weights of two 3 x 3"]
    assert (two["value"], two["expected"], two["right"], two["printed"]) == (18, 18, True, "16")
    assert told["picture"] == str(tmp_path / "a" / "b" / "receptive-field.png")
    assert told["seconds"] >= 0


@pytest.mark.parametrize(
    "args, words",
    [
        (["poolin"], ["unknown lesson 'poolin' (pooling?): must be one of"]),
        (["quantum"], ["unknown lesson 'quantum'", "must be one of matrices, least-squares, "]),
        ([], ["a lesson is missing"]),
        (["pooling", "--list"], ["--list: takes no lesson"]),
        (["parameters", "--photo", "photo.png"], ["--photo: parameters looks at no photo"]),
        (["edges", "--photo", "there/is/none.png"], ["there/is/none.png", "cannot be read"]),
        (["pooling", "--data-dir", "there/is/none"], ["there/is/none: there is no such folder"]),
        (["pooling", "--output", ""], ["--output: must name a file or folder"]),
        (["pooling", "--page", "somewhere"], ["--page: runs all lessons"]),
        (["--page", "somewhere", "--photo", "photo.png"], ["--photo has no place beside it"]),
    ],
)
def test_what_is_wrong_is_one_line(args, words):
    assert_refused(run_here("learn.py", *args), *words)


def test_a_photo_that_is_none(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    done = run_here("learn.py", "edges", "--photo", tmp_path / "notes.txt")
    assert_refused(done, "notes.txt", "is not an image")


def test_a_photo_of_ones_own(tmp_path):
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    told = run_json(
        "learn.py", "augmentation", "--photo", tmp_path / "red.png", "--output", tmp_path, here=True
    )
    assert told["data"] == "your photo"
    by_name = {number["name"]: number["value"] for number in told["numbers"]}
    assert by_name["mirrored: mean change, of 255"] == 0  # one colour everywhere


def test_an_output_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = run_here("learn.py", "parameters", "--output", tmp_path / "taken")
    assert_refused(done, "--output", "taken: cannot be made")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_set_that_is_not_there_is_replaced_with_a_line(tmp_path):
    done = run_here("learn.py", "pooling", "--data-dir", tmp_path, "--output", tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"no mnist in {tmp_path}: the embedded set takes its place"]
    assert "of the embedded set" in done.stdout


def test_half_a_set_is_replaced_with_a_line(tmp_path):
    folder = write_fashion(tmp_path / "mnist", train=700)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    done = run_here("learn.py", "pooling", "--data-dir", tmp_path, "--output", tmp_path)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1
    assert "t10k-labels" in done.stderr and "the embedded set takes its place" in done.stderr


def test_a_set_that_is_there_is_used(tmp_path):
    write_fashion(tmp_path / "mnist", train=700)
    done = run_here("learn.py", "pooling", "--data-dir", tmp_path, "--output", tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert "on 500 pictures of MNIST" in done.stdout


def test_a_data_folder_that_no_lesson_reads_is_told(tmp_path):
    done = run_here("learn.py", "parameters", "--data-dir", tmp_path, "--output", tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["--data-dir: parameters reads no data set"]


def test_lessons_start_no_keras():
    code = (
        "import sys; from cifar_lab import lessons\n"
        "for name in ('edges', 'convolution'): lessons.get(name).run(lessons.Sources())\n"
        "print({'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=command_env(), capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


# --- the page -------------------------------------------------------------------------------------


def test_the_page_shows_what_a_lesson_found(tmp_path, monkeypatch):
    def draw(figure):
        figure.subplots().plot([1, 2])

    def found(sources):
        numbers = [
            Number("a | b", 1.5, 1.5),
            Number("c", [1, 2], printed="3", why="two, not three"),
        ]
        return Outcome(numbers, "It is seen.", draw, data="nothing")

    one = Lesson("one", "One lesson", "a book", found)
    two = Lesson("two", "Another", "a paper", lambda sources: Outcome([Number("d", 1)], "Seen."))
    monkeypatch.setattr(lessons_page.lessons, "lessons", lambda: {"one": one, "two": two})
    lines = []
    assert lessons_page.write(tmp_path, Sources(), lines.append) == ["one", "two"]
    assert lines == ["one", "two"]
    text = (tmp_path / "README.md").read_text()
    for words in (
        "- [One lesson](#one)\n- [Another](#two)\n",
        "## one\n\n**One lesson.** From a book. Run on nothing.\n",
        "|  | found | should be | on the slide |\n| --- | --- | --- | --- |\n"
        "| a \\| b | 1.5 | 1.5 |  |\n| c | [1, 2] |  | 3 |\n\n- c: two, not three\n\nIt is seen.\n",
        "![One lesson](one.png)",
        "|  | found |\n| --- | --- |\n| d | 1 |\n\nSeen.\n",
    ):
        assert words in text, text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "one.png"]


def test_pictures_are_brought_below_a_size(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    lessons_page.shrink(tmp_path / "noise.png", 2_000)
    assert (tmp_path / "noise.png").stat().st_size < 2_000


def test_the_page_has_every_lesson_and_small_pictures():
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == NAMES, (
        "python learn.py --page docs/lessons"
    )
    sizes = [p.stat().st_size for p in PAGE.parent.glob("*.png")]
    assert len(sizes) == len(NAMES) and max(sizes) < 60_000 and sum(sizes) < 1_500_000


def test_pages_name_lessons_that_are_there():
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for name in re.findall(r"learn\.py ([a-z][a-z0-9-]*)", page.read_text(encoding="utf-8")):
            assert name in NAMES, f"{page.name}: {name}"


def test_an_unknown_lesson_is_an_input_error():
    with pytest.raises(InputError, match="unknown lesson 'xxx'"):
        lessons.get("xxx")
