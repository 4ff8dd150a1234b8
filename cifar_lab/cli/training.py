"""train.py: train a network and save it as a bundle; also the ladder and a recipe, shown."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import (
    backend,
    callbacks,
    devices,
    history,
    image_data_generator,
    memory,
    paths,
    processes,
)
from ..errors import InputError, reason
from ..terminal import tell
from . import common
from .common import OK

if TYPE_CHECKING:
    from ..data import Dataset
    from ..recipe import Recipe

_JSON_KEYS = (
    "rung",
    "seed",
    "seconds",
    "compile_seconds",
    "epoch",
    "val_accuracy",
    "test_accuracy",
    "test_loss",
    "device",
    "backend",
)


@dataclass(frozen=True)
class Request:
    """What is to be trained.

    Fields:
        label: the rung, or the name of a network of the user's own.
        recipe: after --recipe and --epochs.
        departed: whether anything but the seed differs from a rung's own run; always so for a
            network or recipe of a file of the user's.
        data: name, or absolute folder.
        suffixes: what tells the run's default folder from others, in order.
    """

    label: str
    recipe: Recipe
    departed: bool
    data: str
    suffixes: tuple[str, ...]

    @property
    def rung_folder(self) -> Path:
        """Where the rung's own run is saved."""
        return paths.home() / "saved_models" / self.label

    @property
    def default_output(self) -> Path:
        if not self.departed:
            return self.rung_folder
        return paths.home() / "runs" / "-".join([self.label, *self.suffixes])


def run(argv: list[str]) -> int:
    """The command: returns the exit code. Raises InputError."""
    args = _parser().parse_args(argv)
    if args.list:
        return _list(args.as_json)
    if args.weights is not None:
        if args.start is not None:
            raise InputError("--from, --weights: give one of the two")
        args.start = f"weights:{args.weights}"
    if args.rung is None:
        from ..ladder import LADDER

        raise InputError(f"RUNG: must be FILE.py:NAME or one of {', '.join(LADDER)}, received none")
    common.refuse_empty(args.output, "folder")
    if not args.show:
        backend.require_training()
    args.devices = devices.of(args.devices)
    team = _team(args)
    backend.prepare(args.devices)
    if team is not None and not args.show:
        return _in_team(team, args, argv)
    request = _request(args)
    if args.show:
        return _show(request, args.as_json)
    image_data_generator.refuse_missing(request.recipe)
    args.callback = [callbacks.parse(text) for text in args.callback]
    if args.seeds:
        return _several(request, args, argv)
    output = _output(request, args.output or request.default_output, args)
    _check_log(args, args.seed)
    watching = _watching(args, args.seed)
    dataset = _data(request, args)
    request = _for_few(request, dataset, args)
    card, finished_before = _train(request, dataset, args.seed, output, args, argv, watching)
    _report(request, output, card, finished_before, args.as_json)
    return OK


def _team(args: argparse.Namespace) -> processes.Team | None:
    """The processes that are to train together, which have not met. Raises InputError."""
    if args.process is None:
        if args.coordinator is not None:
            raise InputError("--coordinator: needs --process I/N")
        return None
    if args.coordinator is None:
        raise InputError("--process: needs --coordinator HOST:PORT, where process 0 listens")
    if backend.chosen() != "jax":
        raise InputError(
            "--process: several processes train together on KERAS_BACKEND=jax alone, received "
            f"{backend.chosen()}"
        )
    for flag in ("seeds", "one_program"):
        if getattr(args, flag):
            raise InputError(f"--{flag.replace('_', '-')}: cannot be given with --process")
    if args.devices is None:
        args.devices = devices.of("all")
    place, size = args.process
    host, port = args.coordinator
    return processes.Team(place, size, host, port, args.wait, common.program("train"))


def _in_team(team: processes.Team, args: argparse.Namespace, argv: list[str]) -> int:
    """Train in this process and others. What goes wrong in one ends all."""
    from .. import networks

    if not (args.recipe or networks.is_own(args.rung)):  # which starts Keras, and it must wait
        _request(args)  # what is wrong shows before anybody waits
    args.callback = [callbacks.parse(text) for text in args.callback] if team.first else []
    notice = common.Notice()
    notice(f"{team.name}, waiting for the others at {team.address}")
    team.meet()
    try:
        backend.prepare(args.devices, team)
        with backend.stdout_spared():  # the libraries that connect devices print there
            request = _request(args)
            image_data_generator.refuse_missing(request.recipe)
            output = Path(os.devnull)
            if team.first:
                output = _output(request, args.output or request.default_output, args)
                _check_log(args, args.seed)
            else:
                args.csv_log = args.tensorboard = None
            dataset = _data(request, args)
            request = _for_few(request, dataset, args)
            watching = _watching(args, args.seed) if team.first else []
            card, before = _train(request, dataset, args.seed, output, args, argv, watching, team)
            team.end()
    except InputError as error:
        team.end(common.as_flags(str(error)))
        raise
    except Exception as error:  # a sum over all devices, some of which are gone
        team.await_loss()
        team.end(f"{team.name} failed ({reason(error)[:200]})")
        raise InputError(f"{team.name}: {reason(error)[:200]}") from None
    except KeyboardInterrupt:
        team.end(f"{team.name} was interrupted; the state is kept", processes.INTERRUPTED)
        raise
    if team.first:
        _report(request, output, card, before, args.as_json)
    elif args.as_json:
        common.print_json({"process": team.place, "processes": team.size})
    else:
        print(f"{team.name}: done; process 0 has the result")
    return OK


def _parser() -> common.Parser:
    parser = common.Parser(
        prog=common.program("train"),
        description="Train a rung of the ladder, or your own network, and save it as a bundle.",
    )
    add = parser.add_argument
    add(
        "rung",
        nargs="?",
        metavar="RUNG_OR_PICTURES",
        help="name of a rung, see --list; or a folder of your own pictures with one subfolder a "
        "class, trained as is best for few of them; or FILE.py:NAME, a builder or Recipe of your "
        "own",
    )
    add("--list", action="store_true", help="show the ladder: promises, measurements, ideas")
    common.add_data_flags(parser)
    add(
        "--classes",
        metavar="A,B,...",
        help="train on these classes of the data set alone, at least two",
    )
    add("--recipe", metavar="FILE", help="JSON file with recipe fields that replace the rung's")
    add("--epochs", type=common.whole(1), metavar="N", help="epochs instead of the recipe's")
    add("--learning-rate", type=common.positive, metavar="X", help="rate instead of the recipe's")
    add(
        "--class-weight",
        choices=("balanced", "none"),
        help="balanced: images of rare classes count more, so that all classes count alike",
    )
    add(
        "--augmentation",
        dest="augmentation_engine",
        choices=("compiled", "ImageDataGenerator"),
        help="who draws the recipe's augmentation: the compiled step, or Keras' ImageDataGenerator "
        "with all its arguments (needs TensorFlow and SciPy; slower)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any recipe field, in JSON; FIELD may be a part, augmentation.cutout_size=8",
    )
    add("--size", type=int, metavar="PX", help="pixels a side that images are brought to")
    add(
        "--from",
        dest="start",
        metavar="RUNG_OR_BUNDLE",
        help="begin with the weights of a rung or bundle, or with keras:NAME[:FILE], a network of "
        "keras.applications with ImageNet weights or a file's; none: with random ones",
    )
    add(
        "--weights",
        metavar="FILE",
        help="begin with a *.weights.h5 file of model.save_weights, made with this network",
    )
    add("--save-weights", action="store_true", help="leave model.weights.h5 in the bundle too")
    add(
        "--one-program",
        action="store_true",
        help="JAX: compile all epochs as one program, for trainings of seconds on a GPU: nothing "
        "is told or kept before its end",
    )
    add(
        "--devices",
        metavar="N|all|cpu:N",
        help="divide each batch among N devices, or all of this machine (TensorFlow, JAX); cpu:N: "
        "among N virtual devices of the processor, to rehearse (default: one device)",
    )
    add(
        "--process",
        type=_process,
        metavar="I/N",
        help="JAX: this is process I of the N, 0 to N-1, that train together, on one machine or "
        "several; each has the same command line but for I, and process 0 writes",
    )
    add(
        "--coordinator",
        type=common.address,
        metavar="HOST:PORT",
        help="with --process: where process 0 listens, and the others reach it",
    )
    add(
        "--wait",
        type=common.whole(1),
        default=processes.WAIT_SECONDS,
        metavar="SECONDS",
        help="with --process: until all have come (default %(default)s)",
    )
    add(
        "--freeze",
        type=_layers,
        metavar="N|features",
        help="with --from or --weights: the first N layers with weights stay as they are, or all "
        "but the last (default with --from: the last alone is trained first, then all at a lower "
        "rate; with --weights: all are trained)",
    )
    common.add_seed_flag(parser, "random seed (default 0)")
    add(
        "--seeds",
        type=_seeds,
        metavar="A:B",
        help="train the seeds from A up to, not including, B, each into a folder of its own below "
        "--output; then the mean and the spread",
    )
    add(
        "--skip-damaged",
        action="store_true",
        help="train without the pictures that cannot be read",
    )
    add(
        "--data-in",
        choices=memory.CHOICES,
        metavar="auto|memory|disk",
        help="where the images are: held in memory, or in a file that is read as they are needed, "
        "with the same result (default auto: on disk what would take over a quarter of the free "
        "memory)",
    )
    add(
        "--limit",
        type=common.whole(1),
        metavar="N",
        help="use N train images, stratified; the test set stays whole",
    )
    add(
        "--output",
        metavar="DIR",
        help="folder of the bundle (default: saved_models/RUNG; runs/... for a run that departs "
        "from its rung, or for your own network)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace the bundle or unfinished run that is there",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with a run that was stopped; start where there is none",
    )
    add("--tensorboard", metavar="DIR", help="write TensorBoard logs")
    add(
        "--csv-log",
        metavar="FILE",
        help="write a row an epoch as soon as it is over (with --seeds a file for each seed)",
    )
    add(
        "--callback",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="let a Keras callback watch: a class, or a function that makes one, of a module or of "
        'FILE.py; arguments in JSON, keras.callbacks:CSVLogger:{"filename": "log.csv"}, with '
        "{seed} for the seed; may be repeated",
    )
    add("--show", action="store_true", help="print the recipe and the layers, and train nothing")
    return parser


# --- from flags to a request ---


def _layers(text: str) -> int | str:
    """A type for add_argument: a number of layers, or "features"."""
    if text == "features":
        return text
    try:
        return common.whole(0)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of layers, or features, received {text!r}"
        ) from None


def _process(text: str) -> tuple[int, int]:
    """A type for add_argument: (I, N) of I/N."""
    place, _, size = text.partition("/")
    if not (place.isdecimal() and size.isdecimal() and int(place) < int(size) <= devices.MOST):
        raise argparse.ArgumentTypeError(
            f"must be I/N, 0/2 for the first of two processes, received {text!r}"
        )
    return int(place), int(size)


def _seeds(text: str) -> range:
    """A type for add_argument: the seeds of A:B."""
    low, _, high = text.partition(":")
    if not (low.isdecimal() and high.isdecimal() and int(low) < int(high) <= common.MAX_SEED + 1):
        raise argparse.ArgumentTypeError(
            f"must be A:B, the seeds from A up to, not including, B, received {text!r}"
        )
    return range(int(low), int(high))


def _request(args: argparse.Namespace) -> Request:
    """What the flags ask for. Builds a network of the user's own, to refuse a wrong one at once."""
    from .. import adjusting, networks, own_pictures
    from .. import data as data_sets

    pictures = adjusting.is_pictures(args.rung)
    if pictures:
        if args.data or "data" in _set_fields(args):
            raise InputError(f"--data: {args.rung} is the folder of pictures already")
        args.data, label, base = args.rung, own_pictures.LABEL, own_pictures.RECIPE
    else:
        adjusting.refuse_no_folder(args.rung)
        label, base = networks.resolve(args.rung)
    recipe = _with_flags(base, args)
    own = not pictures and (networks.is_own(args.rung) or not networks.is_packaged(recipe))
    named = args.data or recipe.data
    if args.classes is not None:
        kept = [name.strip() for name in args.classes.split(",")]
        named = data_sets.with_classes(named, kept)
    data = common.data_place(named)
    other_data = named != base.data
    if own and not args.show:
        networks.build(recipe, common.num_classes(data))
    changed = recipe.sha256() != base.sha256()
    departed = own or changed or other_data or bool(args.limit)
    return Request(label, recipe, departed, data, tuple(_suffixes(args, data, other_data)))


def _suffixes(args: argparse.Namespace, data: str, other_data: bool) -> Iterator[str]:
    """What tells the default folder of a run from those of others."""
    if other_data:
        yield _file_name(data)
    if args.recipe:
        yield Path(args.recipe).stem
    if args.start:
        yield f"from-{_file_name(args.start)}"
    names = "freeze", "size", "epochs", "learning_rate", "class_weight", "augmentation_engine"
    for name in (*names, "limit"):
        value = getattr(args, name)
        if value is not None:
            yield f"{name.replace('_', '-')}{'-' if isinstance(value, str) else ''}{value}"
    for text in args.set:
        yield _file_name(text.replace("=", "-"))
    if args.seeds:
        yield "seeds"
    elif args.seed:
        yield f"seed{args.seed}"


def _with_flags(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    """The recipe with what flags say, the more particular after the more general."""
    from .. import adjusting, networks
    from .. import recipe as recipes

    if args.recipe:
        fields = common.read_json(args.recipe)
        if args.augmentation_engine and "augmentation" in fields:  # it decides what that may hold
            fields = {**fields, "augmentation_engine": args.augmentation_engine}
        recipe = recipes.changed(recipe, fields, f"--recipe {args.recipe}")
        if "builder" in fields:  # its file is named from the folder of this one
            recipe = networks.located(recipe, Path(args.recipe).parent)
    recipe = adjusting.adjusted(recipe, start=args.start, freeze=args.freeze, size=args.size)
    for name in ("epochs", "learning_rate", "class_weight"):
        value = getattr(args, name)
        if value is not None:
            value = "" if value == "none" else value
            flag = f"--{name.replace('_', '-')}"
            recipe = recipes.changed(recipe, {name: value}, flag)
    fields = _set_fields(args)
    if args.augmentation_engine:
        engine = {"augmentation_engine": args.augmentation_engine}
        if not fields:
            return recipes.changed(recipe, engine, "--augmentation")
        fields |= engine  # with what --set says of the augmentation
    return adjusting.adjusted(recipe, fields=fields)


def _set_fields(args: argparse.Namespace) -> dict[str, Any]:
    """What --set says, by field. Raises InputError for a field that is set twice."""
    from .. import adjusting

    found: dict[str, Any] = {}
    for name, value in map(adjusting.parsed_field, args.set):
        if name in found or getattr(args, name, None) is not None:
            raise InputError(f"--set {name}: is set twice")
        found[name] = value
    return found


def _file_name(data_name: str) -> str:
    """A data set's name, or the last part of its folder's, fit for a file's name."""
    name = os.path.basename(data_name) or "data"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.")


def _output(request: Request, folder: str | Path, args: argparse.Namespace) -> Path:
    """The folder of the bundle. Raises InputError where it cannot be written, or must not be."""
    from .. import bundles

    output = Path(os.path.realpath(folder))
    rungs_place = output.parent == request.rung_folder.parent.resolve()
    if rungs_place and (request.departed or output.name != request.label):
        raise InputError(
            f"--output {output}: is a rung's own place, for runs of that rung's whole recipe and "
            "data; name another folder"
        )
    bundles.prepare(output, bytes_needed=0)  # before data are downloaded or read
    if not (args.resume or args.overwrite):
        bundles.refuse_existing(output)
    return output


def _log(args: argparse.Namespace, seed: int) -> str | Path | None:
    """The log of a seed's epochs."""
    several = args.csv_log is not None and args.seeds
    return history.of_seed(args.csv_log, seed) if several else args.csv_log


def _check_log(args: argparse.Namespace, seed: int) -> None:
    """InputError where the log cannot be written, before data are read."""
    if args.csv_log is not None:
        common.refuse_empty(args.csv_log, "file", "--csv-log")
        history.check_log(_log(args, seed), args.resume, args.overwrite)


def _watching(args: argparse.Namespace, seed: int) -> list[tuple[str, Any]]:
    """(label, callback) of each --callback, new ones for the training of a seed."""
    with _printing(args):
        return [(named.label, named.make(seed)) for named in args.callback]


def _printing(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    """With --json: what a user's callback prints goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr) if args.as_json else contextlib.nullcontext()


# --- training ---


def _data(request: Request, args: argparse.Namespace) -> Dataset:
    from .. import data

    shape = request.recipe.input_shape
    dataset = data.load(
        request.data,
        args.data_dir,
        shape,
        common.Notice(),
        skip_damaged=args.skip_damaged,
        data_in=args.data_in,
    )
    if args.limit:
        data.check_limit(dataset, args.limit)  # before the seconds that Keras takes to start
    return dataset


def _for_few(request: Request, dataset: Dataset, args: argparse.Namespace) -> Request:
    """The request as few pictures need it, which a line says; what flags say stays."""
    from .. import adjusting

    given = set(_set_fields(args))
    given |= {name for name in ("epochs", "start") if getattr(args, name) is not None}
    if args.recipe:
        given |= set(common.read_json(args.recipe))
    recipe, line = adjusting.for_data(request.recipe, request.label, dataset, args.limit, given)
    if line:
        common.Notice()(line)
    return replace(request, recipe=recipe)


def _train(
    request: Request,
    dataset: Dataset,
    seed: int,
    output: Path,
    args: argparse.Namespace,
    argv: list[str],
    watching: list[tuple[str, Any]],
    team: processes.Team | None = None,
) -> tuple[dict[str, Any], bool]:
    """(card, whether the run was finished before)."""
    notice, board = common.Notice(), args.tensorboard
    common.start_keras(notice)
    from .. import training

    if board and args.seeds:  # curves beside each other, not one over the other
        board = os.path.join(board, f"seed{seed}")
    try:
        with _printing(args):
            return training.train(
                request.recipe,
                dataset,
                output,
                rung=request.label,
                seed=seed,
                limit=args.limit,
                overwrite=args.overwrite,
                resume=args.resume,
                tensorboard=board,
                watching=watching,
                csv_log=_log(args, seed),
                notice=notice,
                command=common.command_line("train.py", argv),
                save_weights=args.save_weights,
                one_program=args.one_program,
                devices=args.devices,
                team=team,
            )
    except InputError as error:
        if str(error).startswith("tensorboard"):  # the library does not know the flag
            raise InputError(f"--{error}") from None
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "; what was trained is kept, and the same command with --resume goes on"
        ) from None


def _several(request: Request, args: argparse.Namespace, argv: list[str]) -> int:
    """Train the seeds one after the other: mean and spread."""
    if args.seed:
        raise InputError("--seed: cannot be given with --seeds")
    default = paths.home() / "runs" / "-".join([request.label, *request.suffixes])
    folders = {
        seed: _output(request, Path(args.output or default) / f"seed{seed}", args)
        for seed in args.seeds
    }
    for seed in args.seeds:
        _check_log(args, seed)
    watching = _watching(args, args.seeds[0])  # what is wrong with one shows before data are read
    dataset, cards = _data(request, args), []
    request = _for_few(request, dataset, args)
    for seed, folder in folders.items():
        if cards:
            watching = _watching(args, seed)
        card, before = _train(request, dataset, seed, folder, args, argv, watching)
        cards.append({"bundle": str(folder), **card})
        if not args.as_json:
            note = " (finished before)" if before else ""
            tell(f"seed {seed}: test accuracy {card['test_accuracy']:.2%}{note}")
    accuracies = [card["test_accuracy"] for card in cards]
    mean = statistics.fmean(accuracies)
    where = common.shown_path(next(iter(folders.values())).parent)
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    if args.as_json:
        runs = [{key: card.get(key) for key in ("bundle", *_JSON_KEYS)} for card in cards]
        found = {"mean": mean, "standard_deviation": spread, "n": len(cards)}
        common.print_json({"test_accuracy": found, "runs": runs})
        return OK
    shown = f" +- {100 * spread:.2f}" if spread is not None else ""
    tell(f"test accuracy {100 * mean:.2f}{shown} % (n = {len(cards)})")
    tell(f"saved in {where}/seed{args.seeds[0]} to seed{args.seeds[-1]}")
    return OK


def _report(
    request: Request, output: Path, card: dict[str, Any], finished_before: bool, as_json: bool
) -> None:
    if as_json:
        found = {key: card.get(key) for key in _JSON_KEYS}
        found |= {key: card[key] for key in ("devices",) if key in card}
        common.print_json({"bundle": str(output), **found, "finished_before": finished_before})
        return
    if finished_before:
        tell("this run is finished already")
    shown = common.shown_path(output)
    tell(
        f"saved in {shown}: test accuracy {card['test_accuracy']:.2%}, "
        f"validation accuracy {card['val_accuracy']:.2%} (epoch {card['epoch']}), trained in "
        f"{card['seconds']:.0f} s + {card['compile_seconds']:.0f} s of compilation"
    )
    name = request.label if output == request.rung_folder else shlex.quote(shown)
    tell(f"test it, forward only: {paths.command('evaluate')} {name}")


# --- showing ---


def _list(as_json: bool) -> int:
    from ..report import tables

    if as_json:
        common.print_json({"ladder": tables.list_rows()})
    else:
        tell(*tables.list_lines())
    return OK


def _show(request: Request, as_json: bool) -> int:
    from .. import networks

    count = common.num_classes(request.data)
    backend.start()
    model = networks.build(request.recipe, count)
    rows = [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "output_shape": list(layer.output.shape[1:]),
            "parameters": layer.count_params(),
        }
        for layer in model.layers
    ]
    recipe, total = request.recipe.as_dict(), model.count_params()
    if as_json:
        common.print_json(
            {"rung": request.label, "recipe": recipe, "parameters": total, "layers": rows}
        )
        return OK
    tell(*json.dumps({request.label: recipe}, indent=2).split("\n"))
    tell(f"{'layer':<14}{'kind':<22}{'output':<16}{'parameters':>12}")
    for row in rows:
        shape = " x ".join(map(str, row["output_shape"]))
        tell(f"{row['layer']:<14}{row['kind']:<22}{shape:<16}{row['parameters']:>12,}")
    tell(f"{'total':<52}{total:>12,}")
    return OK
