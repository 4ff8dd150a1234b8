"""export.py: write a saved network as a file for phones, boards and browsers."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import bundle_data, paths
from ..errors import InputError
from ..terminal import tell
from . import common
from .common import OK


@dataclass(frozen=True)
class Request:
    """What is to be exported. The fields are those of the command line.

    Fields:
        network: a rung, the folder of a bundle, or FILE.py:NAME.
        format: a key of exporting.FORMATS.
        output: the file, or None.
        seed: of the choice of calibration images.
        overwrite: whether another file may be replaced.
        data, data_dir: as --data and --data-dir, or None.
        as_json: how to print.
    """

    network: str
    format: str
    output: str | None
    seed: int
    overwrite: bool
    data: str | None
    data_dir: str | None
    as_json: bool


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    from .. import bundles, exporting

    request = Request(**vars(_parser().parse_args(argv)))
    folder = bundles.find(request.network, writes=True)
    card = bundles.read_card(folder)
    name = bundle_data.chosen(card, request.data, request.data_dir)
    common.needs("edge", *exporting.FORMATS[request.format].packages)
    output = _output(request, folder)
    notice = common.Notice()
    if output.is_dir() or not request.overwrite:
        if exporting.refuse_other(output, card, request.format):
            notice(f"{output}: is written anew")
    command = common.command_line("export.py", argv)
    _report(output, _export(request, folder, name, output, command, notice), request.as_json)
    return OK


def _parser() -> common.Parser:
    from ..exporting import FORMATS

    parser = common.Parser(
        prog=common.program("export"),
        description="Write a saved network as a file for phones, boards and browsers, tested on "
        "the test images.",
    )
    add = parser.add_argument
    add(
        "network",
        metavar="RUNG_OR_BUNDLE",
        help="name of a rung, the folder of a bundle, or the FILE.py:NAME that was trained",
    )
    add(
        "--format",
        required=True,
        choices=list(FORMATS),
        metavar="FORMAT",
        help=", ".join(FORMATS),
    )
    add(
        "--output",
        metavar="FILE",
        help="the file (default: model.tflite, model.int8.tflite, model.fp16.tflite, model.onnx, "
        "model.npz or model.html in the bundle; for the rungs of an installed copy, RUNG.tflite "
        "... in the working folder)",
    )
    common.add_seed_flag(parser, "seed of the choice of calibration images (default 0)")
    add("--overwrite", action="store_true", help="replace another file that is there")
    common.add_data_flags(parser)
    return parser


def _output(request: Request, folder: Path) -> Path:
    """The file to write. Raises InputError for a name that is not the format's."""
    from ..exporting import FORMATS

    common.refuse_empty(request.output, "file")
    default = folder / FORMATS[request.format].file
    if folder.parent == paths.PACKAGED:  # not among the installed files
        default = paths.home() / default.name.replace("model", folder.name)
    output = Path(request.output or default)
    if output.suffix != default.suffix:
        raise InputError(f"--output {output}: must end in {default.suffix}")
    return output


def _export(
    request: Request, folder: Path, name: str, output: Path, command: str, notice: common.Notice
) -> dict[str, Any]:
    """Export a bundle with the data `name`: the export card."""
    from .. import bundles, exporting

    common.start_keras(notice)
    model, card = bundles.load(folder)
    shape = tuple(model.input_shape[1:])
    dataset = bundle_data.for_export(card, name, request.data_dir, shape, notice)
    return exporting.export(
        model, card, request.format, output, dataset, request.seed, command, notice
    )


def _report(output: Path, card: dict[str, Any], as_json: bool) -> None:
    if as_json:
        common.print_json({"file": str(output), **card})
        return
    shown = common.shown_path(output)
    tell(
        f"saved {shown}: {card['bytes']:,} bytes, accuracy {card['accuracy']:.2%} on "
        f"{card['images']:,} test images (Keras {card['keras_accuracy']:.2%}), Keras' class for "
        f"{card['agreement']:.2%}"
    )
    if output.suffix == ".html":
        tell(f"use it: open {shown} in a browser (a double click will do)")
        return
    tell(f"use it: {paths.command('predict')} {shlex.quote(shown)} IMAGE")
