"""How far the probabilities of saved networks and of their exports can be trusted, on test images.

    python benchmarks/calibration.py [RUNG_OR_BUNDLE ...] --data-dir DIR
    python benchmarks/calibration.py --table

Without names, every bundle in saved_models/ whose card has a temperature. Each is tested as it is
saved and at its temperature, and exported to LiteRT in float32 and int8, with the temperature
folded in and without. Prints a JSON line a network: temperature and validation images, the expected
calibration error of each (15 bins), and for a wanted precision of 0.9 the threshold that the card
has (set on validation images), with the precision and the coverage that it gives on test images.
--table prints docs/calibration.jsonl, such lines, as docs/measurements/calibration.md has them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, bundle_data, bundles, cli, evaluation  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.exporting import FORMATS, export  # noqa: E402

LINES = ROOT / "docs" / "calibration.jsonl"
PRECISION = 0.9


def main(argv):
    parser = cli.Parser(
        prog="calibration.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundles", nargs="*", metavar="RUNG_OR_BUNDLE")
    parser.add_argument("--data-dir")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args(argv)
    if args.table:
        print(table([json.loads(line) for line in LINES.read_text().splitlines()]))
        return cli.OK
    folders = [bundles.find(name) for name in args.bundles] or [
        path.parent
        for path in sorted((ROOT / "saved_models").glob("*/card.json"))
        if json.loads(path.read_text()).get("calibration")
    ]
    backend.start()
    for folder in folders:
        print(json.dumps(measured(folder, args.data_dir)), flush=True)
    return cli.OK


def measured(folder, data_dir):
    """The line of a bundle. InputError where its card has no temperature."""
    model, card = bundles.load(folder)
    doubt = card.get("calibration")
    if not doubt:
        raise InputError(f"{folder}: its card has no temperature")
    shape = tuple(model.input_shape[1:])
    name = bundle_data.chosen(card, None, data_dir)
    dataset = bundle_data.for_export(card, name, data_dir, shape, lambda line: None)
    entry = doubt["thresholds"][str(PRECISION)]
    result = evaluation.evaluate(
        model,
        dataset.test_images,
        dataset.test_labels,
        dataset.classes,
        temperature=doubt["temperature"],
        threshold=entry and entry["threshold"],
    )
    errors = {
        "keras": result["expected_calibration_error"],
        "keras_calibrated": result["calibrated"]["expected_calibration_error"],
    }
    plain = {key: value for key, value in card.items() if key != "calibration"}
    with tempfile.TemporaryDirectory() as temporary:
        for form in ("litert", "litert-int8"):
            for ending, source in (("", plain), ("_calibrated", card)):
                file = Path(temporary) / f"{ending}{FORMATS[form].file}"
                written = export(model, source, form, file, dataset)
                errors[f"{form}{ending}"] = written["expected_calibration_error"]
    return {
        "rung": card["rung"],
        "temperature": doubt["temperature"],
        "validation_images": doubt["images"],
        "test_images": result["images"],
        "accuracy": result["accuracy"],
        "expected_calibration_error": errors,
        "precision": PRECISION,
        "validation_coverage": entry and entry["coverage"],
        "confident": result.get("confident"),
        "device": backend.device()[1],
        "versions": backend.versions(),
    }


def table(rows):
    """The lines as a Markdown table, a row a network."""
    heads = (
        "rung",
        "T (validation images)",
        "Keras",
        "LiteRT float32",
        "LiteRT int8",
        f"threshold for {rows[0]['precision']:g}",
        "precision on test",
        "coverage on test",
    )
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for row in rows:
        errors, found = row["expected_calibration_error"], row["confident"]
        cells = [f"`{row['rung']}`", f"{row['temperature']:.2f} ({row['validation_images']:,})"]
        for name in ("keras", "litert", "litert-int8"):
            cells.append(f"{errors[name]:.3f} -> {errors[f'{name}_calibrated']:.3f}")
        keys = ("threshold", "precision", "coverage")
        cells += [f"{found[key]:.1%}" for key in keys] if found else ["none", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(cli.guarded("calibration.py", main, sys.argv[1:]))
