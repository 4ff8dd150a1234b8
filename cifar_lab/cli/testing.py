"""evaluate.py: test a saved network, forward only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import bundle_data
from ..errors import InputError
from . import common
from .common import OK


@dataclass(frozen=True)
class Request:
    """What is to be tested. The fields are those of the command line.

    Fields:
        network: a rung, the folder of a bundle, an exported file, or FILE.py:NAME.
        data, data_dir: as --data and --data-dir, or None.
        views: of each image, to average over.
        as_json: how to print.
    """

    network: str
    data: str | None
    data_dir: str | None
    views: int
    as_json: bool


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    request = Request(**vars(_parser().parse_args(argv)))
    notice = common.Notice()
    is_export = is_exported(request.network)
    source, model, card = (_exported if is_export else _bundle)(request)
    input_shape = model.input_shape if is_export else tuple(model.input_shape[1:])
    name = bundle_data.chosen(card, request.data, request.data_dir)
    images, labels, images_of = bundle_data.test_images(
        card, name, request.data_dir, input_shape, notice
    )
    from .. import evaluation

    result = evaluation.evaluate(model, images, labels, card["classes"], request.views)
    if request.as_json:
        named = {"rung": card["rung"], "bundle": str(source), "data": images_of}
        common.print_json({**named, **result})
        return OK
    print(f"{card['rung']} ({source}) on {images_of}: {result['images']:,} test images")
    print(evaluation.as_table(result, card["classes"]))
    print(f"accuracy {result['accuracy']:.2%}   loss {result['loss']:.4f}")
    if request.views > 1:
        accuracy, loss = result["views_accuracy"], result["views_loss"]
        print(f"averaged over {request.views} views: accuracy {accuracy:.2%}   loss {loss:.4f}")
    return OK


def _parser() -> common.Parser:
    parser = common.Parser(
        prog=common.program("evaluate"), description="Test a saved network, forward only."
    )
    parser.add_argument(
        "network",
        metavar="RUNG_OR_BUNDLE_OR_FILE",
        help="name of a rung, the folder of a bundle, an exported .tflite or .onnx file, or the "
        "FILE.py:NAME that was trained",
    )
    common.add_data_flags(parser)
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 6),
        default=1,
        metavar="N",
        help="also average over N views of each image: 2 adds the mirror image, 6 shifts as well",
    )
    return parser


def is_exported(name: str) -> bool:
    """Whether a name is that of an exported file: a .tflite or .onnx."""
    return name.lower().endswith((".tflite", ".onnx")) and not Path(name).is_dir()


def _exported(request: Request) -> tuple[str, Any, dict[str, Any]]:
    """(file, inference.Classifier, card) of an exported file."""
    from .. import inference

    model = inference.Classifier(request.network)
    if not isinstance(model.card.get("rung"), str):
        card = inference.card_path(request.network).name
        raise InputError(
            f"{request.network}: has no export card ({card}), so its classes are unknown"
        )
    return request.network, model, model.card


def _bundle(request: Request) -> tuple[Path, Any, dict[str, Any]]:
    """(folder, keras.Model, card) of a bundle."""
    from .. import backend, bundles

    folder = bundles.find(request.network)
    card = bundles.read_card(folder)
    # what is wrong with the data before the seconds that Keras takes to start
    bundle_data.chosen(card, request.data, request.data_dir)
    backend.start()
    return folder, *bundles.load(folder)
