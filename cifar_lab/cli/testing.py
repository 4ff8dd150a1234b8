"""evaluate.py: test saved networks, forward only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import bundle_data
from ..data.names import shown
from ..errors import InputError
from ..terminal import tell
from . import common
from .common import OK


@dataclass(frozen=True)
class Request:
    """What is to be tested. The fields are those of the command line.

    Fields:
        networks: each a rung, the folder of a bundle, a file, or FILE.py:NAME.
        weights: a plain Keras weights file of the one network, or None.
        data, data_dir: as --data and --data-dir, or None.
        views: of each image, to average over.
        precision: wanted share of right answers, or None.
        corruptions: whether to test on corrupted images too.
        as_json: how to print.
    """

    networks: list[str]
    weights: str | None
    data: str | None
    data_dir: str | None
    views: int
    precision: float | None
    corruptions: bool
    as_json: bool


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    request = Request(**vars(_parser().parse_args(argv)))
    alone = {
        "--views": request.views > 1,
        "--precision": request.precision is not None,
        "--corruptions": request.corruptions,
        "--weights": request.weights is not None,
    }
    for flag in alone:
        if alone[flag] and len(request.networks) > 1:
            raise InputError(f"{flag}: is for one network, received {len(request.networks)}")
    from .. import judging

    if request.weights is not None:
        return _weights(request)
    subjects = [judging.look_up(name, request.data) for name in request.networks]
    for subject in subjects:  # what is wrong with the data, before Keras takes seconds to start
        if subject.is_named():
            bundle_data.chosen(subject.card, request.data, request.data_dir)
    (_several if len(subjects) > 1 else _one)(request, subjects)
    return OK


def _parser() -> common.Parser:
    parser = common.Parser(
        prog=common.program("evaluate"),
        description="Test a saved network, forward only; several are tested as an ensemble.",
    )
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="RUNG_OR_BUNDLE_OR_FILE",
        help="name of a rung, the folder of a bundle, a .keras, .tflite, .onnx, .npz or "
        ".html file, or the FILE.py:NAME that was trained; of several the probabilities are "
        "averaged",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="test the network of the rung, or of FILE.py:NAME, with a *.weights.h5 file of "
        "model.save_weights; it needs no bundle",
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
    parser.add_argument(
        "--precision",
        type=common.share,
        metavar="P",
        help="also say what the card's threshold for answers that are right as often as P (0.8, "
        "0.9, 0.95 or 0.99) gives on the test images",
    )
    parser.add_argument(
        "--corruptions",
        action="store_true",
        help="also test on 1,000 of the images under 11 corruptions at 5 severities each, and a "
        "network of the embedded set as its dials are turned",
    )
    return parser


# --- one network ---


def _weights(request: Request) -> int:
    from dataclasses import replace

    from .. import judging, weights

    weights.check(request.weights)
    label, recipe = weights.named(request.networks[0])
    data = common.data_place(request.data or recipe.data)
    subject = judging.with_weights(label, recipe, request.weights, data)
    _one(replace(request, data=data), [subject])
    return OK


def _one(request: Request, subjects: list[Any]) -> None:
    from .. import evaluation, judging, robustness

    (subject,), notice = subjects, common.Notice()
    result = judging.judge(
        subject,
        request.data,
        request.data_dir,
        notice,
        request.views,
        request.precision,
        request.corruptions,
    )
    warning = evaluation.one_sided(result)
    if warning:
        notice(warning)
    rung = subject.card.get("rung") or subject.name
    if request.as_json:
        common.print_json({"rung": rung, "bundle": str(subject.source), **result})
        return
    tell(f"{rung} ({subject.source}) on {result['data']}: {result['images']:,} test images")
    tell(*evaluation.as_table(result, list(result["classes"])).split("\n"), "")
    tell(_accuracy(result))
    tell(_calibration(result, subject.card))
    if request.views > 1:
        accuracy, loss = result["views_accuracy"], result["views_loss"]
        tell(f"averaged over {request.views} views: accuracy {accuracy:.2%}   loss {loss:.4f}")
    if request.precision is not None:
        tell(_confident(result["confident"]))
    for key in ("corruptions", "dials"):
        if key in result:
            tell("", *robustness.as_text(result[key]).split("\n"))


def _accuracy(result: dict[str, Any]) -> str:
    low, high = result["accuracy_interval"]
    return (
        f"accuracy {result['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})   "
        f"balanced {result['balanced_accuracy']:.2%}   loss {result['loss']:.4f}"
    )


def _calibration(result: dict[str, Any], card: dict[str, Any]) -> str:
    line = f"expected calibration error {result['expected_calibration_error']:.3f}"
    if "calibrated" in result:
        return f"{line} (calibrated {result['calibrated']['expected_calibration_error']:.3f})"
    folded = card.get("temperature")
    is_folded = isinstance(folded, float) and folded != 1
    return f"{line} (calibrated, temperature {folded:.2f})" if is_folded else line


def _confident(found: dict[str, Any]) -> str:
    right = "no answer" if found["precision"] is None else f"{found['precision']:.2%} right"
    return (
        f"precision {found['wanted']:g}: from {found['threshold']:.1%} on (set on validation "
        f"images) {right}, {found['images']:,} images ({found['coverage']:.2%})"
    )


# --- several ---


def _several(request: Request, subjects: list[Any]) -> None:
    from .. import evaluation, judging

    notice = common.Notice()
    result = judging.judge_together(subjects, request.data, request.data_dir, notice)
    together = result["ensemble"]
    warning = evaluation.one_sided(together)
    if warning:
        notice(warning)
    if request.as_json:
        common.print_json(result)
        return
    rows = [(shown(row["name"]), row) for row in result["networks"]]
    rows.append((f"ensemble of {len(rows)}", together))
    width = max(len(name) for name, _ in rows)
    tell(f"{len(subjects)} networks on {result['data']}: {together['images']:,} test images")
    tell(*evaluation.as_table(together, list(together["classes"])).split("\n"), "")
    tell(" " * width + "  accuracy    loss  calibration error")
    for name, row in rows:
        error = row["expected_calibration_error"]
        accuracy = f"{row['accuracy']:.2%}"
        tell(f"{name.ljust(width)}{accuracy:>10}{row['loss']:>8.4f}{error:>19.3f}")
    tell(f"ensemble: {_accuracy(together)}")
