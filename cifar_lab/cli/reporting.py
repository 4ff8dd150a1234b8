"""report.py: one page of HTML that shows what there is to know of a network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import InputError
from ..terminal import tell
from . import common
from .common import OK

if TYPE_CHECKING:
    from ..report.page import Page

OURS = b'<meta name="generator" content="cifar_lab '
HEAD = 4096  # bytes of a page that hold it
LONGEST = 100  # characters of a page's own name


@dataclass(frozen=True)
class Request:
    """What is to be reported. The fields are those of the command line.

    Fields:
        names: each a rung, the folder of a bundle, a file, or FILE.py:NAME.
        data, data_dir: as --data and --data-dir, or None.
        output: file of the page, or None.
        overwrite: whether a file that is no report is replaced.
        without_pictures: whether pictures of the data are left out.
        latency: whether to measure how long an image takes each of several networks.
        as_json: how to print.
    """

    names: list[str]
    data: str | None
    data_dir: str | None
    output: str | None
    overwrite: bool
    without_pictures: bool
    latency: bool
    as_json: bool


@dataclass(frozen=True)
class Report:
    """A page that was made, and what --json says of it beside its place and size."""

    name: str
    page: Page
    told: dict[str, Any]


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    request = Request(**vars(_parser().parse_args(argv)))
    common.refuse_empty(request.output, "file")
    if request.output is not None:
        check_output(Path(request.output), request.overwrite)
    report = _made(request, common.command_line("report.py", argv), common.Notice())
    output = Path(request.output or f"{safe(report.name)}.html")
    if request.output is None:
        check_output(output, request.overwrite)
    size = report.page.write(output)
    if request.as_json:
        told = {"page": str(output), "bytes": size, "sections": report.page.headings}
        common.print_json({**told, **report.told})
    else:
        tell(f"{output}: {size / 1e6:.2f} MB, {', '.join(report.page.headings)}")
    return OK


def _parser() -> common.Parser:
    parser = common.Parser(
        prog=common.program("report"),
        description="Show a trained network on one page: how well it does, how it learnt, where it "
        "errs, what it sees, how far it can be trusted, and its data. The page is one HTML file "
        "that needs nothing else: open it, mail it, print it.",
    )
    add = parser.add_argument
    add(
        "names",
        nargs="+",
        metavar="RUNG_OR_BUNDLE_OR_FILE",
        help="name of a rung, the folder of a bundle, a .keras, .tflite, .onnx or .npz file, or "
        "the FILE.py:NAME that was trained; several are compared, among them folders of seeds "
        "(train.py --seeds) and files of measured runs (results/RUNG.json); or the folder of a "
        "search (tune.py)",
    )
    common.add_data_flags(parser)
    add(
        "--output",
        metavar="PAGE.html",
        help="the page's file (default: the network's name in the working folder)",
    )
    add("--overwrite", action="store_true", help="replace a file that is no report, too")
    add(
        "--without-pictures",
        action="store_true",
        help="leave out the pictures of the data, where they are nobody else's business",
    )
    add(
        "--latency",
        action="store_true",
        help="of several networks: also measure, here and in turns, how long an image takes",
    )
    return parser


def _made(request: Request, command: str, notice: Callable[[str], Any]) -> Report:
    """The report of what the names are."""
    from ..report import contenders, search_folder

    first = request.names[0]
    if len(request.names) > 1 or contenders.is_several(first):
        return _several(request, command, notice)
    if request.latency:
        raise InputError("--latency: is for several networks, received one name")
    if search_folder.is_search(first):
        return _search(request, command, notice)
    return _one(request, command, notice)


def _several(request: Request, command: str, notice: Callable[[str], Any]) -> Report:
    from ..report import comparison

    found = comparison.compare(
        request.names,
        request.data,
        request.data_dir,
        notice,
        latency=request.latency,
        pictures=not request.without_pictures,
    )
    name = "-and-".join(contender.name for contender in found.contenders)
    return Report(name, comparison.page(found, command), comparison.told_of(found))


def _search(request: Request, command: str, notice: Callable[[str], Any]) -> Report:
    from ..report import search, search_folder

    if request.data is not None:
        raise InputError("--data: is not for a search, whose trials were on its own data")
    found = search_folder.read(request.names[0])
    name = f"search-{Path(os.path.abspath(request.names[0])).name}"
    return Report(name, search.page(found, notice, command), search.told_of(found))


def _one(request: Request, command: str, notice: Callable[[str], Any]) -> Report:
    from ..report import network, study

    found = study.of(
        request.names[0],
        request.data,
        request.data_dir,
        notice,
        pictures=not request.without_pictures,
        command=command,
    )
    told = {key: found.result[key] for key in ("accuracy", "accuracy_interval", "images")}
    return Report(found.name, network.page(found, notice), {"rung": found.name, **told})


def safe(name: str) -> str:
    """A name that a file can have: what is no letter, digit, dot or dash becomes "_"."""
    return re.sub(r"[^\w.-]+", "_", name)[:LONGEST].strip(".") or "report"


def check_output(path: Path, overwrite: bool) -> None:
    """InputError where a page cannot be written to a path, or would replace what is no report."""
    if path.is_dir():
        raise InputError(f"`output` {path}: is a folder; name a file, such as {path}/page.html")
    if not path.parent.is_dir():
        raise InputError(f"`output` {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"`output` {path}: the folder {path.parent} cannot be written")
    if path.exists() and not overwrite and not is_report(path):
        raise InputError(
            f"{path}: is there already and is no report; `overwrite` replaces it, `output` names "
            "another file"
        )


def is_report(path: Path) -> bool:
    """Whether a file is a page that this package wrote."""
    try:
        with files.opened(path) as file:
            return OURS in file.read(HEAD)
    except OSError:
        return False
