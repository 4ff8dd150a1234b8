"""python -m cifar_lab record: add finished runs to results/, renew the tables and the pictures."""

from __future__ import annotations

from .. import paths
from ..errors import InputError
from . import common
from .common import OK


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    parser = common.Parser(
        prog="cifar-lab record",
        description="Add finished runs to results/ and renew the ladder's tables and the pictures.",
    )
    parser.add_argument("bundles", nargs="*", metavar="RUNG_OR_BUNDLE")
    args = parser.parse_args(argv)
    if paths.CHECKOUT is None:
        raise InputError("record: works only in a checkout of cifar_lab")
    from .. import backend
    from ..report import figures, results, tables

    for bundle in args.bundles:
        results.record(bundle)
    tables.update_pages(paths.CHECKOUT)
    backend.start()
    figures.draw_all(paths.CHECKOUT / "docs", common.Notice())
    return OK
