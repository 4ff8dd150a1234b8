"""What the int8 exports beside the committed models cost a board, and the published networks that
they are measured against.

    python benchmarks/sizes.py

Prints Markdown: accuracy of the file on all 10,000 test images, parameters, bytes, multiply-adds,
and the most bytes that the activations of one image need at a time, from the exports' cards. The
published: MLPerf Tiny's two image classifiers (its rules' quality targets; IC01's network is
    ResNet-8, whose parameters and multiply-adds follow from its layers), and a network of 97,530
parameters trained for 200 epochs in float32 (five runs; quoted, its publication could not be
traced).
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cifar_lab import cli  # noqa: E402

PUBLISHED = (  # name, accuracy, parameters, bytes, multiply-adds, activations
    ("MLPerf Tiny IC01, ResNet-8, int8", "85 % (target)", "78,666", "98 KB", "12.5 M", ""),
    ("MLPerf Tiny IC02, int8", "91 % (target)", "", "512 KB", "", ""),
    ("97,530 parameters, float32", "94.4 % (n = 5)", "97,530", "", "", ""),
)


def main(argv):
    cli.Parser(prog="sizes.py", description=__doc__).parse_args(argv)
    cards = [
        json.loads(p.read_text())
        for p in sorted((ROOT / "saved_models").glob("*/model.int8.tflite.card.json"))
    ]
    print(table(cards))
    return cli.OK


def table(cards):
    lines = [
        "| network | test accuracy | parameters | file, bytes | multiply-adds | activations, "
        "bytes |",
        "| --- " * 6 + "|",
    ]
    for card in sorted(cards, key=lambda card: card["bytes"]):
        row = (
            f"`{card['rung']}`, int8",
            f"{card['accuracy']:.2%}",
            f"{card['parameters']:,}",
            f"{card['bytes']:,}",
            f"{card['multiply_adds'] / 1e6:.1f} M",
            f"{card['peak_activation_bytes']:,}",
        )
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in PUBLISHED])


if __name__ == "__main__":
    raise SystemExit(cli.guarded("sizes.py", main, sys.argv[1:]))
