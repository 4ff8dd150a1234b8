"""What benchmarks share: their parser, their lines of JSON, their tables in Markdown.

Import it with the checkout on sys.path.
"""

import argparse
import json
import sys

from cifar_lab import cli


def parser(file, description):
    """A benchmark's parser, with --data-dir and --table. file: its __file__."""
    made = cli.Parser(
        prog=file.rpartition("/")[2],
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data-dir", metavar="DIR")
    made.add_argument("--table", action="store_true")
    return made


def read(path):
    """The rows of a file of lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def add(path, row):
    """Append a row to a file of lines, and print it."""
    line = json.dumps(row)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    print(line, flush=True)


def notice(line):
    """A line for whoever watches, on stderr."""
    print(line, file=sys.stderr, flush=True)


def markdown(heads, rows):
    """A table in Markdown. heads: of the columns; rows: of as many words each."""
    table = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)
