"""What JPEG compression costs saved networks: the test images as pixels, and as Pillow saves them.

    python benchmarks/jpeg.py [NETWORK ...] --data-dir DIR [--limit N] [--results FILE]
    python benchmarks/jpeg.py --table [--results FILE]

NETWORK is a rung, the folder of a bundle, or an exported file; without any, every bundle in
saved_models/ that was trained on CIFAR-10, and the .tflite files beside them. Each is tested on all
test images that its card names, as they are and compressed at qualities 95, 75, 50, 30 and 10
(4:2:0, Pillow's default). Appends one JSON line a network to docs/jpeg.jsonl (or --results) and
prints it; a network that is there already, by its file's checksum, is not tested again. --table
prints the lines as a Markdown table, networks of one kind together, and tests nothing. --limit N
takes the first N images, a rehearsal. Nothing is chosen on these figures.
"""

import functools
import json
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import shared  # noqa: E402

from cifar_lab import backend, bundles, cli, evaluation, inference, judging  # noqa: E402
from cifar_lab.corruptions import as_jpeg  # noqa: E402

LINES = ROOT / "docs" / "jpeg.jsonl"
QUALITIES = (95, 75, 50, 30, 10)


def main(argv):
    parser = shared.parser(__file__, __doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--limit", type=cli.whole(1), metavar="N")
    parser.add_argument("--results", type=Path, default=LINES)
    args = parser.parse_args(argv)
    rows = shared.read(args.results)
    if args.table:
        print(table(rows))
        return cli.OK
    done = {(row["sha256"], row["images"]) for row in rows}
    tested = tester(args.data_dir, args.limit)
    for name in args.networks or committed():
        row = tested(judging.look_up(name), done)
        if row is None:
            shared.notice(f"{name}: was tested already")
            continue
        shared.add(args.results, row)
    return cli.OK


def committed():
    """Names of the bundles trained on CIFAR-10, each with its .tflite files after it."""
    found = []
    for card in sorted((ROOT / "saved_models").glob("*/card.json")):
        if json.loads(card.read_text())["data"]["name"] == "cifar10":
            found += [str(card.parent), *map(str, sorted(card.parent.glob("*.tflite")))]
    return found


def tester(data_dir, limit):
    """A function of a judging.Subject and of what is done, {(checksum, images)}: its row, or None
    where it is."""

    @functools.cache
    def compressed(source, shape, quality):
        return as_jpeg(images_of[source, shape], quality)

    images_of = {}

    def tested(subject, done):
        file = inference.network_file(str(subject.source))
        digest = bundles.file_sha256(file)
        # (an export's card does not hold the recipe; that of the bundle beside it does)
        card = subject.card
        if "recipe" not in card and (file.parent / "card.json").is_file():
            card = bundles.read_card(file.parent)
        subject = judging.opened(subject)
        images, labels, classes, source = judging.images_for(subject, None, data_dir, shared.notice)
        images, labels = images[:limit], labels[:limit]
        if (digest, len(images)) in done:
            return None
        backend.start()  # for the device's and the versions' names
        key = source, images.shape[1:]
        images_of[key] = images

        def accuracy(images):
            result = evaluation.evaluate(subject.model, images, labels, classes)
            return round(result["accuracy"], 6)

        augmentation = card.get("recipe", {}).get("augmentation", {})
        return {
            "rung": subject.card["rung"],
            "format": subject.card.get("format", "keras"),
            "seed": card.get("seed"),
            "jpeg_quality": augmentation.get("jpeg_quality"),
            "data": source,
            "images": len(images),
            "accuracy": {
                "pixels": accuracy(images),
                **{str(q): accuracy(compressed(*key, q)) for q in QUALITIES},
            },
            "sha256": digest,
            "device": backend.device()[1],
            "versions": backend.versions(),
        }

    return tested


def table(rows):
    """The rows as a Markdown table: a row for networks of one rung, format and training."""
    kinds = {}
    for row in rows:
        trained = tuple(row["jpeg_quality"] or ())
        kinds.setdefault((row["rung"], row["format"], trained, row["images"]), []).append(row)
    heads = ["network", "format", "trained with", "n", "pixels", *[f"q {q}" for q in QUALITIES]]
    lines = []
    for (rung, form, trained, images), same in kinds.items():
        words = f"JPEG {trained[0]} to {trained[1]}" if trained else "pixels"
        name = f"`{rung}`" if images == 10_000 else f"`{rung}`, {images:,} images"
        cells = [name, form, words, str(len(same))]
        for key in ("pixels", *map(str, QUALITIES)):
            values = [100 * row["accuracy"][key] for row in same]
            spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        lines.append(cells)
    return shared.markdown(heads, lines)


if __name__ == "__main__":
    raise SystemExit(cli.guarded("jpeg.py", main, sys.argv[1:]))
