"""predict.py: say what is on pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import terminal
from ..errors import InputError
from ..terminal import doing, tell
from . import common
from .common import OK, WRONG

if TYPE_CHECKING:
    import numpy as np

    Picture = tuple[str, np.ndarray | InputError]  # a file's name; its pixels, or why it has none

BATCH = 32  # pictures that are read before the first answers


@dataclass(frozen=True)
class Request:
    """What is to be said of which pictures. The fields are those of the command line.

    Fields:
        network: a rung, the folder of a bundle, a file, or FILE.py:NAME.
        weights: a plain Keras weights file of that network, or None.
        images: files, folders of them, or "-" for stdin.
        top: how many classes to name, or None.
        threshold: the least confidence of an answer, or None.
        precision: wanted share of right answers, whose threshold the card has, or None.
        show_pixels: whether to print what the network sees.
        as_json: how to print.
    """

    network: str
    weights: str | None
    images: list[str]
    top: int | None
    threshold: float | None
    precision: float | None
    show_pixels: bool
    as_json: bool


def run(argv: list[str]) -> int:
    """The command: returns the exit code, WRONG where a picture could not be read."""
    request = Request(**vars(_parser().parse_args(argv)))
    if request.threshold is not None and request.precision is not None:
        raise InputError("--threshold, --precision: give one of the two")
    notice = common.Notice()
    with doing(notice, f"opening {request.network}"):
        classifier = _classifier(request)
    if not classifier.card:
        notice(f"note: {request.network} has no card beside it, so its classes are numbers")
    elif request.weights is not None:
        notice(f"note: a weights file names no classes: they are those of {request.network}'s data")
    if request.precision is not None:
        request = replace(request, threshold=classifier.threshold(request.precision))
        notice(f"precision {request.precision:g}: unsure below {request.threshold:.1%}")
    count = len(classifier.classes)
    if request.top and request.top > count:
        raise InputError(f"--top: must be a whole number from 1 to {count}, received {request.top}")
    batch = 1 if request.images == ["-"] else BATCH
    failed, waiting, told = False, [], 0
    live = getattr(notice, "live", lambda line: None)
    for picture in _pictures(request.images, classifier.input_shape, notice):
        waiting.append(picture)
        live(f"picture {told + len(waiting):,}: {picture[0]}")
        if len(waiting) == batch:
            live("")  # the answers go to stdout, which may be the same terminal
            failed |= _tell(classifier, waiting, request)
            waiting, told = [], told + batch
    live("")
    failed |= _tell(classifier, waiting, request)
    return WRONG if failed else OK


def _classifier(request: Request) -> Any:
    from .. import inference, weights

    if request.weights is None:
        return inference.Classifier(inference.network_file(request.network))
    weights.check(request.weights)
    return inference.with_weights(weights.named(request.network)[1], request.weights)


def _parser() -> common.Parser:
    parser = common.Parser(prog=common.program("predict"), description="Say what is on pictures.")
    add = parser.add_argument
    add(
        "network",
        metavar="RUNG_OR_BUNDLE_OR_FILE",
        help="name of a rung, the folder of a bundle, a .keras, .tflite, .onnx, .npz or "
        ".html file, or the FILE.py:NAME that was trained",
    )
    add(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders of them, or - for one on stdin",
    )
    add(
        "--weights",
        metavar="FILE",
        help="run the network of the rung, or of FILE.py:NAME, with a *.weights.h5 file of "
        "model.save_weights; it needs no bundle",
    )
    add(
        "--top",
        type=common.whole(1),
        metavar="K",
        help="show the K likeliest classes (default 3, or all there are)",
    )
    add(
        "--threshold",
        type=common.share,
        metavar="T",
        help="an answer whose probability is below T (0 to 1) is given as unsure",
    )
    add(
        "--precision",
        type=common.share,
        metavar="P",
        help="as --threshold, with the one that the card has for answers that are right as often "
        "as P (0.8, 0.9, 0.95 or 0.99), set on validation images",
    )
    add(
        "--show-pixels",
        action="store_true",
        help="print the matrix that the network sees, 0-255, channel by channel",
    )
    common.add_json_flag(
        parser, "print one JSON object a line for each image and nothing else on stdout"
    )
    return parser


# --- reading ---


def _pictures(
    names: list[str], input_shape: tuple[int, int, int], notice: Callable[[str], None]
) -> Iterator[Picture]:
    """The pictures of files and folders, in order."""
    for name in names:
        try:
            files = _files(name, notice)
        except InputError as error:
            yield name, error
            continue
        for file in files:
            try:
                yield file, _read(file, input_shape)
            except InputError as error:
                yield file, error


def _files(name: str, notice: Callable[[str], None]) -> list[str]:
    from .. import data

    if name == "-" or not os.path.isdir(name):
        return [name]
    files, others = data.images_below(name)
    if others:
        notice(data.left_out(name, others))
    return [str(file) for file in files]


def _read(file: str, input_shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (height, width, channels) of a file, or of stdin for "-"."""
    from .. import data

    if file != "-":
        return data.read_image(file, input_shape)
    if sys.stdin is None:
        raise InputError("-: there is no stdin")
    return data.read_image(sys.stdin.buffer, input_shape, "stdin")


# --- telling ---


def _tell(classifier: Any, pictures: list[Picture], request: Request) -> bool:
    """Print what is on pictures. Returns whether one of them could not be read."""
    top = request.top or min(3, len(classifier.classes))
    read = [pixels for _, pixels in pictures if not isinstance(pixels, InputError)]
    answers = iter(classifier.classify(read, top) if read else [])
    for file, pixels in pictures:
        if isinstance(pixels, InputError):
            _print_error(file, pixels, request)
        elif request.as_json:
            _print_json(file, next(answers), pixels, request)
        else:
            best = next(answers)
            text = ", ".join(f"{name} {share:.1%}" for name, share in best)
            text = f"unsure ({text})" if _is_unsure(best, request) else text
            tell(f"{file}: {text}")
            if request.show_pixels:
                _print_pixels(pixels)
    return len(read) < len(pictures)


def _is_unsure(best: list[tuple[str, float]], request: Request) -> bool:
    return request.threshold is not None and best[0][1] < request.threshold


def _print_error(file: str, error: InputError, request: Request) -> None:
    if request.as_json:
        common.print_json({"file": file, "error": str(error)})
    else:
        terminal.say(f"predict.py: error: {error}")


def _print_json(
    file: str, best: list[tuple[str, float]], pixels: np.ndarray, request: Request
) -> None:
    unsure = _is_unsure(best, request)
    line = {
        "file": file,
        "class": None if unsure else best[0][0],
        **({} if request.threshold is None else {"unsure": unsure, "likeliest": best[0][0]}),
        "probability": best[0][1],
        "top": [{"class": name, "probability": probability} for name, probability in best],
    }
    common.print_json(line | ({"pixels": pixels.tolist()} if request.show_pixels else {}))


def _print_pixels(pixels: np.ndarray) -> None:
    for channel, name in enumerate(
        ("red", "green", "blue") if pixels.shape[-1] == 3 else ("grey",)
    ):
        print(name)
        for row in pixels[..., channel]:
            print(" ".join(f"{value:3d}" for value in row))
