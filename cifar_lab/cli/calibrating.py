"""python -m cifar_lab calibrate: measure the doubt of bundles that are trained already."""

from __future__ import annotations

from typing import Any

from .. import bundle_data
from ..errors import InputError, reason
from ..terminal import doing, tell
from . import common
from .common import OK


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    parser = common.Parser(
        prog="cifar-lab calibrate",
        description="Fit the temperature and the thresholds of bundles on their validation images, "
        "into their cards. A training does so itself; bundles of earlier versions lack them.",
    )
    parser.add_argument("bundles", nargs="+", metavar="RUNG_OR_BUNDLE")
    common.add_data_dir_flag(parser)
    common.add_json_flag(parser, "print one JSON object on stdout and nothing else there")
    args = parser.parse_args(argv)
    from .. import bundles

    folders = [bundles.find(name, writes=True) for name in args.bundles]
    for folder in folders:  # what is wrong with the data, before Keras takes seconds to start
        bundle_data.chosen(bundles.read_card(folder), None, args.data_dir)
    found = {}
    for name, folder in zip(args.bundles, folders):
        found[name] = _calibrated(folder, args.data_dir, common.Notice())
        if not args.as_json:
            tell(f"{name}: {_told(found[name])}")
    if args.as_json:
        common.print_json(found)
    return OK


def _calibrated(folder: Any, data_dir: str | None, notice: common.Notice) -> dict[str, Any]:
    """What is written into the card of a bundle."""
    from .. import bundles, calibration, evaluation

    common.start_keras(notice)
    model, card = bundles.load(folder)
    shape = tuple(model.input_shape[1:])
    images, labels = bundle_data.validation_images(card, data_dir, shape, notice)
    with doing(notice, f"calibrating on {len(images):,} images"):
        found = calibration.describe(evaluation.probabilities(model, images), labels)
    try:
        bundles.write_json(folder / "card.json", {**card, "calibration": found})
    except OSError as error:
        raise InputError(f"{folder / 'card.json'}: cannot be written ({reason(error)})") from None
    return found


def _told(found: dict[str, Any]) -> str:
    errors = found["expected_calibration_error"]
    return (
        f"temperature {found['temperature']:.3f}, expected calibration error "
        f"{errors['before']:.3f} -> {errors['after']:.3f} on {found['images']:,} validation images"
    )
