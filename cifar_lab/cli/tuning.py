"""tune.py: search for a network's settings."""

from __future__ import annotations

import argparse
import ipaddress
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import backend, files, image_data_generator, paths
from ..errors import InputError, reason
from ..searching.signing import LEAST_SECRET, MOST_SECRET, SECRET
from ..terminal import tell
from . import common
from .common import OK

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..searching.request import Request
    from ..searching.search import Search

DEFAULT_TRIALS = 30  # where neither trials nor minutes are bounded


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    args = _parser().parse_args(argv)
    if args.end_with_parent:
        from ..searching import trial

        trial.end_with_parent(args.end_with_parent)
    _check_flags(args)
    secret = _secret(args)
    from .. import networks
    from ..searching import request as requests

    backend.require_training()
    label, recipe = networks.resolve(args.rung)
    image_data_generator.refuse_missing(recipe)
    ranges = _ranges(args, recipe)
    _check_packages(args)
    folder = Path(os.path.abspath(args.output or paths.home() / "searches" / label))
    notice = common.Notice()
    request = _request(args, recipe, ranges, notice)
    if args.overwrite and not args.worker_id:
        requests.clear(folder)
    if not args.worker_id:
        requests.refuse_changes(folder, request)  # before the seconds that Keras takes to start
    common.start_keras(notice)
    search = _search(args, argv, request, folder, notice)
    if args.worker_id is not None:
        host, port = args.chief
        search.run_as_worker(host, port, args.worker_id, secret)
        return OK
    _report(args, folder, _summary(search, args, argv, secret))
    return OK


# --- flags ---


def _parser() -> common.Parser:
    parser = common.Parser(
        prog=common.program("tune"),
        description="Search for a network's settings: draw from ranges, train briefly, narrow.",
    )
    parser.add_argument(
        "rung",
        metavar="RUNG_OR_FILE.py:NAME",
        help=f"name of a rung, see {common.program('train')} --list; or a builder or Recipe in a "
        "file of your own",
    )
    _add_search_flags(parser)
    _add_trial_flags(parser)
    common.add_data_flags(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder of the search (default: searches/RUNG); the same command goes on there",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="start over where another search is"
    )
    _add_worker_flags(parser)
    return parser


def _add_search_flags(parser: common.Parser) -> None:
    from ..searching import request as requests

    add = parser.add_argument
    add(
        "--strategy",
        choices=requests.STRATEGIES,
        default="narrowing",
        help="default: narrowing",
    )
    add(
        "--range",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH[:log]",
        dest="ranges",
        help="what to search, or NAME=VALUE,VALUE,...; may be given several times (default: ranges "
        "that suit the network); numbers of the recipe, optimizer=adam,sgd, "
        "schedule=constant,cosine, what the builder declares (activation=relu,silu "
        "convolutions=1:3), width=0.25:2:log, a factor on the channels of all its layers",
    )
    add(
        "--max-trials",
        type=common.whole(1),
        metavar="N",
        help=f"trials in all (default {DEFAULT_TRIALS}, or no bound with --max-minutes)",
    )
    add(
        "--max-minutes",
        type=common.positive,
        metavar="M",
        help="minutes in all, including those before the search was stopped",
    )
    add(
        "--objective",
        choices=requests.OBJECTIVES,
        default="val_accuracy",
        metavar="NAME",
        help=f"{', '.join(requests.OBJECTIVES)} (default val_accuracy)",
    )
    common.add_seed_flag(parser, "seed of draws and trainings (default 0)", common.MAX_SEED - 1)


def _add_trial_flags(parser: common.Parser) -> None:
    add = parser.add_argument
    add(
        "--trial-epochs",
        type=common.whole(1),
        metavar="N",
        help="epochs of a trial instead of the recipe's",
    )
    add(
        "--trial-images",
        type=common.whole(1),
        metavar="N",
        help="train images of a trial, stratified (default: all)",
    )
    add(
        "--stop-behind",
        action="store_true",
        help="end trials that are behind the median of those before them",
    )


def _add_worker_flags(parser: common.Parser) -> None:
    add = parser.add_argument
    add(
        "--workers",
        type=common.whole(1, 256),
        metavar="N",
        help="run N trials at a time on this machine",
    )
    add(
        "--chief",
        type=common.address,
        metavar="HOST:PORT",
        help="with --worker-id: the chief to work for; without: be the chief, and listen there",
    )
    add(
        "--secret",
        metavar="FILE",
        help="with --chief: a file of 16 characters or more that chief and workers share; or the "
        "environment variable CIFAR_LAB_SECRET. Needed unless the address is this machine's",
    )
    add(
        "--worker-id",
        metavar="ID",
        help="the name of this worker, unique among those of its chief",
    )
    add("--end-with-parent", type=common.whole(1), help=argparse.SUPPRESS)


def _check_flags(args: argparse.Namespace) -> None:
    """InputError for flags that do not go together, told without the recipe."""
    name = args.worker_id
    if name is not None and not args.chief:
        raise InputError("--worker-id: needs --chief, the address to work for")
    if name is not None and (not name.strip() or "chief" in name):
        raise InputError(f'--worker-id: must be a name without "chief" in it, received {name!r}')
    if args.workers and args.chief:
        raise InputError(
            "--workers: starts workers of its own chief on this machine, and does not go with "
            "--chief"
        )
    if args.secret is not None and not args.chief:
        raise InputError("--secret: only with --chief")
    if name is not None and args.chief[1] == 0:
        raise InputError("--chief: a worker needs the port that its chief told, received 0")
    common.refuse_empty(args.output, "folder")


def _secret(args: argparse.Namespace) -> bytes:
    """What the chief and its workers share; b"" where none is needed or given."""
    if not args.chief:
        return b""
    if args.secret is not None:
        name, text = f"--secret {args.secret}", _read_secret(args.secret)
    else:
        name, text = SECRET, os.fsencode(os.environ.get(SECRET, ""))  # it may be any bytes
    secret = text.strip()
    if not secret and args.secret is None:
        if _is_near(args.chief[0]):
            return b""
        raise InputError(
            f"--chief: {args.chief[0]} is not this machine's own address: chief and workers need a "
            f"secret that they share, --secret FILE or {SECRET}"
        )
    if len(secret) < LEAST_SECRET:
        raise InputError(
            f"{name}: must have {LEAST_SECRET} characters or more, received {len(secret)}"
        )
    return secret


def _read_secret(file: str) -> bytes:
    try:
        return files.read(file, MOST_SECRET, MOST_SECRET)
    except files.TooLarge:
        raise InputError(f"--secret {file}: must have at most {MOST_SECRET:,} bytes") from None
    except (OSError, ValueError) as error:
        raise InputError(f"--secret {file}: cannot be read ({reason(error)})") from None


def _is_near(host: str) -> bool:
    """Whether only programs of this machine reach this address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _ranges(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """{name: Range} to search: those of --range, or the recipe's usual ones."""
    from ..searching import space

    try:
        ranges = space.parse_ranges(args.ranges, recipe)
    except InputError as error:
        raise InputError(f"--range {error}") from None
    hyperband = args.strategy == "hyperband"
    if "epochs" in ranges and (args.trial_epochs or hyperband):
        raise InputError(
            "--range epochs: does not go with --trial-epochs or hyperband, which decide the epochs"
        )
    if hyperband and (args.trial_epochs or recipe.epochs) < 3:
        raise InputError(
            "--trial-epochs: hyperband needs at least 3, since it gives most trials fewer"
        )
    return ranges or space.default_ranges(recipe)


def _check_packages(args: argparse.Namespace) -> None:
    grpc = ["grpc"] if args.chief or args.workers else []
    bayesian = ["sklearn", "scipy"] if args.strategy == "bayesian" else []
    common.needs("tune", "keras_tuner", *grpc, *bayesian)


# --- from flags to a search ---


def _request(
    args: argparse.Namespace, recipe: Recipe, ranges: dict[str, Any], notice: common.Notice
) -> Request:
    """What decides the search; reads the data, for their digest. A network of the user's own is
    built first, to refuse a wrong one at once."""
    from .. import adjusting, data, networks
    from ..searching.request import Request

    data_name = common.data_place(args.data or recipe.data)
    if not networks.is_packaged(recipe):
        networks.build(recipe, common.num_classes(data_name))
    dataset = data.load(data_name, args.data_dir, recipe.input_shape, notice)
    if args.trial_images:
        data.check_limit(dataset, args.trial_images, "trial_images")
    given = {"epochs", *ranges}
    line = adjusting.for_data(recipe, args.rung, dataset, args.trial_images, given)[1]
    if line:
        notice(line)
    return Request(
        rung=networks.portable(args.rung),
        strategy=args.strategy,
        ranges=ranges,
        objective=args.objective,
        seed=args.seed,
        trial_epochs=args.trial_epochs,
        trial_images=args.trial_images,
        stop_behind=args.stop_behind,
        data=data_name,
        data_sha256=dataset.train_sha256(),
        recipe_sha256=recipe.sha256(),
    )


def _search(
    args: argparse.Namespace,
    argv: list[str],
    request: Request,
    folder: Path,
    notice: common.Notice,
) -> Search:
    from ..searching.search import Search

    return Search(
        request,
        folder,
        data_dir=args.data_dir and os.path.abspath(args.data_dir),
        max_trials=args.max_trials or (None if args.max_minutes else DEFAULT_TRIALS),
        max_minutes=args.max_minutes,
        notice=notice,
        command=common.command_line("tune.py", argv),
        worker=args.worker_id is not None,
    )


def _summary(
    search: Search, args: argparse.Namespace, argv: list[str], secret: bytes
) -> dict[str, Any]:
    """Search, alone or as the chief of workers: the summary."""
    try:
        if args.chief:
            return search.run_as_chief(*args.chief, secret=secret)
        if args.workers:
            from ..searching import process

            words = _without(argv, "--workers", "--json", "--overwrite")
            own = [*process.PYTHON, "cifar_lab", "tune", *words]
            return search.run_as_chief("127.0.0.1", 0, args.workers, own)
        return search.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; what was tried is kept, and the same command goes on") from None


def _without(argv: list[str], *flags: str) -> list[str]:
    """The arguments but for these flags (of which --workers alone has a value)."""
    kept, skip = [], False
    for word in argv:
        name = word.partition("=")[0]
        if not skip and name not in flags:
            kept.append(word)
        skip = not skip and word == "--workers"
    return kept


# --- telling ---


def _report(args: argparse.Namespace, folder: Path, summary: dict[str, Any]) -> None:
    if args.as_json:
        common.print_json(summary)
        return
    shown = common.shown_path(folder)
    names = ("trials.csv", "search.json", "search.png")
    files = ", ".join(name for name in names if (folder / name).is_file())
    tell(
        f"{summary['trials']} trials ({summary['failed']} failed, {summary['unfinished']} "
        f"unfinished) in {summary['seconds']:.0f} s: {shown}/{files}"
    )
    if summary["best"]:
        _print_best(args, shown, dict(summary["best"]))


def _print_best(args: argparse.Namespace, shown: str, best: dict[str, Any]) -> None:
    from ..searching import space

    trial, score = best.pop("trial"), best.pop(args.objective)
    values = ", ".join(f"{name} {space.told(value)}" for name, value in best.items())
    tell(f"best: trial {trial}, {args.objective} {score:.4f}: {values}")
    words = [args.rung, "--recipe", f"{shown}/best_recipe.json"]
    for flag, value in (("--data", args.data), ("--data-dir", args.data_dir)):
        words += [flag, value] if value else []
    tell(f"train it in full: {paths.command('train')} {shlex.join(words)}")
