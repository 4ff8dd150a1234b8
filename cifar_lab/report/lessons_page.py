"""The lessons on one page: what each found, and its picture, small enough for the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .. import lessons
from ..lessons import Lesson, Number, Outcome, Sources, picture
from ..lessons.lesson import shown
from . import figures

PAGE = "README.md"
MOST_BYTES = 60_000  # of a picture

HEAD = """\
# The lectures' experiments

`python learn.py --page docs/lessons` ran them all and wrote this page; do not edit it. To run one,
or to try one on a photo of your own, see `python learn.py --help`. Each is a function in
`cifar_lab/lessons/`.

A figure that is known beforehand stands under "should be". Where the lecture's slide has another
one, that stands beside it, with the reason below the table."""


def write(folder: Path, sources: Sources, notice: Callable[[str], None]) -> list[str]:
    """Run every lesson, draw its picture into the folder and write the page there.

    Args:
        folder: is there.
        sources: what the lessons are run on.
        notice: called with a line for each lesson, and for each picture that could not be drawn.

    Returns:
        The names of the lessons.
    """
    known = lessons.lessons()
    parts = [HEAD, "\n".join(f"- [{lesson.title}](#{name})" for name, lesson in known.items())]
    for name, lesson in known.items():
        notice(name)
        outcome = lesson.run(sources)
        file = folder / f"{name}.png"
        drawn = outcome.draw is not None and figures.attempt(
            notice, _draw, file, outcome, lesson.title
        )
        parts.append(section(lesson, outcome, file.name if drawn else None))
    (folder / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return list(known)


def section(lesson: Lesson, outcome: Outcome, file: str | None) -> str:
    """What a lesson found, in Markdown.

    Args:
        lesson: was run.
        outcome: what it gave.
        file: the picture's name, None without one.
    """
    lines = [f"## {lesson.name}", "", f"**{lesson.title}.** From {lesson.source}."]
    if outcome.data:
        lines[-1] += f" Run on {outcome.data}."
    lines += ["", f"`python learn.py {lesson.name}`", "", *_table(outcome.numbers), ""]
    remarks = [f"- {number.name}: {number.why}" for number in outcome.numbers if number.why]
    lines += [*remarks, ""] if remarks else []
    lines.append(outcome.seen)
    if file:
        lines += ["", f"![{lesson.title}]({file})"]
    return "\n".join(lines)


def _table(numbers: list[Number]) -> list[str]:
    """The numbers as a table, without the columns that would be empty."""
    columns = {
        "": [number.name for number in numbers],
        "found": [shown(number.value) for number in numbers],
        "should be": ["" if n.expected is None else shown(n.expected) for n in numbers],
        "on the slide": [number.printed or "" for number in numbers],
    }
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    rows = [list(columns), ["---"] * len(columns), *map(list, zip(*columns.values(), strict=True))]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _draw(path: Path, outcome: Outcome, title: str) -> None:
    picture.save(path, outcome, title)
    shrink(path)


def shrink(path: str | os.PathLike, most: int = MOST_BYTES) -> None:
    """Bring a PNG below `most` bytes: fewer colours first, then fewer pixels."""
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as opened:
        image = opened.convert("RGB")
    for colours, scale in (
        (256, 1),
        (128, 1),
        (64, 1),
        (32, 1),
        (32, 0.85),
        (24, 0.7),
        (16, 0.6),
        (16, 0.4),
    ):
        size = (round(image.width * scale), round(image.height * scale))
        smaller = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        few = smaller.quantize(colours, kmeans=1, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        if os.path.getsize(path) < most:
            return
