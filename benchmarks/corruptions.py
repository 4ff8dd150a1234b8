"""What saved networks keep of their accuracy on corrupted images, as floats and as an int8 file.

    python benchmarks/corruptions.py [RUNG_OR_BUNDLE ...] --data-dir DIR [--images N]
    [--files float int8] [--exports DIR] [--output FILE]
    python benchmarks/corruptions.py --table [--output FILE]

Without names, every bundle in saved_models/ but those of MNIST. Each is tested on N test images
(default 1,000; always the same ones) as they are and under 11 corruptions at 5 severities each. An
int8 file that a bundle does not hold is exported to --exports (default: a temporary folder), with
its check on all test images. Appends a JSON line a network and file to docs/corruptions.jsonl (or
--output) and prints it; one that is there already is not tested again. --table prints the lines as
Markdown, as docs/measurements/corruptions.md has them. Nothing is chosen on these figures.
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import latency  # noqa: E402
import shared  # noqa: E402

from cifar_lab import backend, bundles, cli, corruptions, judging, robustness  # noqa: E402
from cifar_lab.ladder import LADDER  # noqa: E402

LINES = ROOT / "docs" / "corruptions.jsonl"
FILES = {"float": "Keras predict", "int8": "LiteRT int8"}  # and their runtimes in latency.py
SEED = 0  # of the choice of images, and of the corruptions


def main(argv):
    parser = shared.parser(__file__, __doc__)
    parser.add_argument("bundles", nargs="*", metavar="RUNG_OR_BUNDLE")
    parser.add_argument("--images", type=cli.whole(1), default=robustness.LIMIT, metavar="N")
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES), metavar="KIND")
    parser.add_argument("--exports", metavar="DIR")
    parser.add_argument("--output", type=Path, default=LINES)
    args = parser.parse_args(argv)
    if args.table:
        print(table(shared.read(args.output)))
        return cli.OK
    folders = [bundles.find(name) for name in args.bundles or committed()]
    backend.start()
    with tempfile.TemporaryDirectory() as temporary:
        for folder in folders:
            for kind in args.files:
                key = key_of(bundles.read_card(folder), kind, args.images)
                if key in [{k: row.get(k) for k in key} for row in shared.read(args.output)]:
                    shared.notice(f"{folder.name}, {kind}: was tested already")
                    continue
                elsewhere = Path(args.exports or temporary)
                shared.add(args.output, key | measured(folder, kind, elsewhere, args))
    return cli.OK


def committed():
    """Names of the bundles of the checkout but those of MNIST, on which all networks do well."""
    cards = sorted((ROOT / "saved_models").glob("*/card.json"))
    names = {card.parent.name: json.loads(card.read_text())["data"]["name"] for card in cards}
    return [rung for rung, data in names.items() if not data.startswith("mnist")]


def key_of(card, kind, images):
    """What tells a row from others."""
    model = card["model_sha256"]
    return {"rung": card["rung"], "file": kind, "asked": images, "model_sha256": model}


def measured(folder, kind, elsewhere, args):
    """The measured part of the row of a bundle's model or int8 file."""
    runtime = FILES[kind]
    files = latency.exported(folder, elsewhere, args.data_dir, [runtime])
    name = str(folder) if kind == "float" else files["runtimes"][runtime]
    subject = judging.opened(judging.look_up(name))
    images, labels, _, source = judging.images_for(subject, None, args.data_dir, shared.notice)
    found = robustness.corruption_table(subject.model, images, labels, args.images, SEED)
    versions = {"device": backend.device()[1], "versions": backend.versions()}
    return {"data": source, **found, **versions}


def table(rows):
    """The rows as a Markdown table, in the order of the ladder, a rung's float and int8 beside each
    other; the accuracy under each corruption is the mean over its severities."""
    order = {rung: place for place, rung in enumerate(LADDER)}
    kinds = list(FILES)
    rows = sorted(rows, key=lambda row: (order.get(row["rung"], 99), kinds.index(row["file"])))
    cells = []
    for row in rows:
        name = f"`{row['rung']}`"
        if row["images"] != robustness.LIMIT:
            name += f" (n = {row['images']:,})"
        ends = [_with_interval(row[key], row[f"{key}_interval"]) for key in ("clean", "mean")]
        means = [f"{100 * row['corruptions'][key]['mean']:.1f}" for key in corruptions.NAMES]
        cells.append([name, row["file"], *ends, *means])
    return shared.markdown(["network", "file", "clean", "mean", *corruptions.NAMES], cells)


def _with_interval(share, interval):
    low, high = interval
    return f"{100 * share:.1f} +- {50 * (high - low):.1f}"


if __name__ == "__main__":
    raise SystemExit(cli.guarded("corruptions.py", main, sys.argv[1:]))
