"""learn.py: the lectures' experiments, one command each, and their exercises."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from .. import paths
from ..errors import InputError
from ..terminal import tell
from . import common
from .common import OK

DEFAULT_OUTPUT = "runs/lessons"


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    args = _parse(argv)
    # the products here are small: a second thread gains nothing, and the last digits are the same
    # on machines of any number of cores
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from .. import lessons

    if args.list:
        return _list(lessons.lessons(), args.as_json)
    if args.page is not None:
        return _page(args)
    if args.check is not None:
        return _check(args)
    lesson = lessons.get(args.lesson)
    if args.exercise:
        return _exercise(args)
    notice = common.Notice()
    sources = lessons.Sources(args.data_dir, args.photo, notice)
    if args.photo and "photo" not in lesson.needs:
        raise InputError(f"--photo: {lesson.name} looks at no photo")
    if args.data_dir and not {"digits", "pictures"} & set(lesson.needs):
        notice(f"--data-dir: {lesson.name} reads no data set")
    folder = _folder("output", args.output or paths.home() / DEFAULT_OUTPUT)
    start = time.perf_counter()
    outcome = lesson.run(sources)
    seconds = time.perf_counter() - start
    drawn = _draw(lesson, outcome, folder, notice)
    if args.as_json:
        common.print_json(
            {
                "lesson": lesson.name,
                "title": lesson.title,
                "source": lesson.source,
                "data": outcome.data,
                "numbers": [number.as_dict() for number in outcome.numbers],
                "seen": outcome.seen,
                "picture": str(drawn) if drawn else None,
                "seconds": round(seconds, 2),
            }
        )
    else:
        print(_told(lesson, outcome, drawn))
    return OK


def _parse(argv: list[str]) -> Any:
    parser = common.Parser(
        prog=common.program("learn"),
        description="Run one of the lectures' experiments: its numbers beside what each should be, "
        "and a picture. Or write a part of it yourself, and have it checked.",
    )
    parser.add_argument("lesson", nargs="?", metavar="LESSON", help="one of --list")
    parser.add_argument("--list", action="store_true", help="show the lessons and stop")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help=f"folder of the picture (default: {DEFAULT_OUTPUT}); of an exercise's file (default: "
        "the working folder)",
    )
    parser.add_argument("--photo", metavar="FILE", help="a picture of your own, where one is used")
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with mnist/ and cifar-10-batches-bin/ as published (default: the embedded "
        "data set, whatever CIFAR_LAB_DATA says)",
    )
    parser.add_argument(
        "--page", metavar="DIR", help="run all lessons and write DIR/README.md with their pictures"
    )
    parser.add_argument(
        "--exercise",
        action="store_true",
        help="write a file with the functions of that lesson, to fill in",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="with --exercise: replace the file that is there"
    )
    parser.add_argument(
        "--check", metavar="FILE", help="test such a file, and train a small network with it"
    )
    parser.add_argument(
        "--seconds",
        type=common.whole(1, 3600),
        metavar="N",
        help="with --check: how long the file may run (default 30)",
    )
    common.add_json_flag(parser, "print one JSON object on stdout and nothing else there")
    args = parser.parse_args(argv)
    for flag in ("output", "page", "photo", "data_dir", "check"):
        if getattr(args, flag) == "":
            parser.error(f"--{flag.replace('_', '-')}: must name a file or folder, received ''")
    if args.check is not None:
        for flag in ("lesson", "list", "exercise", "page", "photo", "output", "data_dir"):
            if getattr(args, flag):
                name = "LESSON" if flag == "lesson" else f"--{flag.replace('_', '-')}"
                parser.error(f"--check: {name} has no place beside it")
        return args
    if args.seconds:
        parser.error("--seconds: goes with --check")
    if args.overwrite and not args.exercise:
        parser.error("--overwrite: goes with --exercise")
    if args.exercise:
        for flag in ("list", "page", "photo", "data_dir"):
            if getattr(args, flag):
                parser.error(f"--exercise: --{flag.replace('_', '-')} has no place beside it")
    if args.list and args.lesson:
        parser.error("--list: takes no lesson")
    for flag in ("output", "photo", "data_dir"):
        if args.list and getattr(args, flag):
            parser.error(f"--list: --{flag.replace('_', '-')} has no place beside it")
    if args.page is not None:
        for flag, given in (("LESSON", args.lesson), ("--list", args.list)):
            if given:
                parser.error(f"--page: runs all lessons, {flag} has no place beside it")
        for flag in ("output", "photo"):
            if getattr(args, flag):
                parser.error(f"--page: --{flag} has no place beside it")
    elif not args.list and not args.lesson:
        parser.error("a lesson is missing: --list shows them")
    return args


def _list(known: dict, as_json: bool) -> int:
    if as_json:
        common.print_json({name: lesson.title for name, lesson in known.items()})
    else:
        from .. import exercises

        width, written = max(map(len, known)), set(exercises.LESSONS.values())
        for name, lesson in known.items():
            mark = "*" if name in written else " "
            print(f"{name:{width}} {mark} {lesson.title}")
        print("* has an exercise: learn.py NAME --exercise")
    return OK


def _page(args: Any) -> int:
    """Run all lessons and write the page."""
    from .. import lessons
    from ..report import lessons_page

    notice = common.Notice()
    folder = _folder("page", args.page)
    names = lessons_page.write(folder, lessons.Sources(args.data_dir, notice=notice), notice)
    if args.as_json:
        common.print_json({"page": str(folder / lessons_page.PAGE), "lessons": names})
    else:
        tell(f"{len(names)} lessons: {folder / lessons_page.PAGE}")
    return OK


def _exercise(args: Any) -> int:
    """Write the file of a lesson's exercise."""
    from .. import exercises

    exercise = exercises.of_lesson(args.lesson)
    folder = _folder("output", args.output or ".")
    path = folder / f"exercise_{exercise.name.replace('-', '_')}.py"
    exercises.write(exercise.name, path, args.overwrite)
    command = f"{paths.command('learn')} --check {common.shown_path(path.absolute())}"
    if args.as_json:
        common.print_json({"exercise": exercise.name, "file": str(path), "check": command})
    else:
        tell(f"wrote {path}: fill in its functions, then: {command}")
    return OK


def _check(args: Any) -> int:
    """Test a learner's file. Raises InputError where a check failed, after what was found."""
    from .. import exercises

    report = exercises.check(args.check, args.seconds or 30)
    *lines, verdict = report.lines
    if args.as_json:
        common.print_json(report.as_json())
    else:
        print("\n".join([*lines, verdict] if report.passed else lines), flush=True)
    if not report.passed:
        raise InputError(f"{args.check}: {verdict}")
    return OK


def _folder(argument: str, name: str | Path) -> Path:
    """The folder, made where it was not there. Raises InputError."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`{argument}` {folder}: cannot be made ({error.strerror})") from None
    return folder


def _draw(lesson: Any, outcome: Any, folder: Path, notice: Any) -> Path | None:
    """The picture's path; None, with a line, where it could not be drawn."""
    if outcome.draw is None:
        return None
    from ..lessons import picture
    from ..report import figures

    path = folder / f"{lesson.name}.png"
    return path if figures.attempt(notice, picture.save, path, outcome, lesson.title) else None


def _told(lesson: Any, outcome: Any, drawn: Path | None) -> str:
    from ..lessons.lesson import shown

    lines = [lesson.title, f"(from {lesson.source})", ""]
    if outcome.data:
        lines.insert(2, f"on {outcome.data}")
    width = max((len(number.name) for number in outcome.numbers), default=0)
    for number in outcome.numbers:
        line = f"{number.name:{width}}  {shown(number.value)}"
        if number.expected is not None:
            line += "  as it should be" if number.right else f"  should be {shown(number.expected)}"
        if number.printed is not None:
            line += f"  (the slide has {number.printed})"
        lines.append(line)
        if number.why:
            lines.append(f"{'':{width}}  {number.why}")
    lines += ["", outcome.seen]
    if drawn:
        lines.append(f"picture: {drawn}")
    return "\n".join(lines)
