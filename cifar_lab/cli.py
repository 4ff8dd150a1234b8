"""The commands: flags in, lines out, exit codes. The only module that parses and prints.

Keras takes seconds to import, so each command imports what it needs once its arguments are right.
"""
import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import sys
from pathlib import Path

from . import __version__, recipes
from .errors import InputError, reason

OK, WRONG, INTERRUPTED = 0, 2, 130
OTHER_TEST_IMAGES = "note: these are not the test images that the card's figures were measured on"


class Parser(argparse.ArgumentParser):
    """argparse's, whose complaints are InputErrors, and whose flags are not abbreviated; `prog` is needed. The benchmarks use it too,
    and `guarded` and `whole`."""

    def __init__(self, **options):
        super().__init__(**options, allow_abbrev=False)

    def error(self, message):  # one line, where argparse prints the usage as well
        raise InputError(f"{message} (see {self.prog} --help)")


class _Notice:
    """Lines for the user on stderr; on a terminal also one that the next line replaces."""

    def __init__(self):
        if sys.stderr.isatty():
            self.live = lambda line: print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def __call__(self, line):
        print(f"\r{line}\x1b[K" if hasattr(self, "live") else line, file=sys.stderr, flush=True)


def guarded(prog, command, argv):
    """Run a command; turn what went wrong into a line and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up lines
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may hold what no encoding has
            stream.reconfigure(errors="backslashreplace")
    try:
        return command(argv)
    except InputError as error:
        print(f"{prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt as interrupt:
        print(f"\n{prog}: interrupted{''.join(map(str, interrupt.args))}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # a path that no system call takes, a disk that goes away
        where = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: error: {where[:200]}{reason(error)}", file=sys.stderr)
        return WRONG


def whole(low, high=None):
    """A type for add_argument: a whole number from low to high."""
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < low or high is not None and value > high:
            allowed = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
            raise argparse.ArgumentTypeError(f"must be {allowed}, received {text!r}")
        return value
    return parse


def command_line(script, argv):
    """A command as it goes into a card: where the data lie on this machine is nobody's business."""
    argv = [re.sub("^(--data-dir=).*", r"\1DIR", "DIR" if before == "--data-dir" else word) for before, word in zip(("", *argv), argv)]
    return shlex.join(["python", script, *argv])


def _needs(extra, *packages):
    """InputError where packages of an extra are not installed, before anything is read or started."""
    for name in packages:
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise InputError(f"{name.replace('_', '-')}: is not installed (pip install \"cifar_lab[{extra}]\")")


def _program(name):
    """A command's name in its usage: "train.py", of an installed copy "cifar-lab train"."""
    from . import bundles
    return bundles.command(name).removeprefix("python ")


def _add_data_flags(parser):
    parser.add_argument("--data-dir", metavar="DIR",
                        help="folder with real data as published (default: CIFAR_LAB_DATA, the Keras cache, a download)")
    parser.add_argument("--data", metavar="NAME_OR_FOLDER",
                        help="cifar10, fashion-mnist, mnist, synthetic, or a folder with one subfolder of images a class")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")


# --- train ------------------------------------------------------------------------------------------

def train(argv=None):
    """train.py: returns the exit code."""
    return guarded("train.py", _train, argv)


def _train(argv):
    parser = Parser(prog=_program("train"), description="Train a rung of the ladder and save it as a bundle.")
    parser.add_argument("rung", nargs="?", metavar="RUNG", help="name of a rung, see --list")
    parser.add_argument("--list", action="store_true", help="show the ladder: promises, measured figures, ideas")
    _add_data_flags(parser)
    parser.add_argument("--recipe", metavar="FILE", help="JSON file with recipe fields that replace the rung's")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="epochs instead of the recipe's")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, metavar="S", help="random seed (default 0)")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="use N train images, stratified; the test set stays whole")
    parser.add_argument("--output", metavar="DIR", help="folder of the bundle (default: saved_models/RUNG, or runs/... "
                        "for a run that departs from its rung)")
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle or unfinished run that is there")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped; start where there is none")
    parser.add_argument("--tensorboard", metavar="DIR", help="write TensorBoard logs")
    parser.add_argument("--show", action="store_true", help="print the resolved recipe and the layers, and train nothing")
    args = parser.parse_args(argv)
    if args.list:
        return _list(args.json)
    if args.rung is None:
        raise InputError(f"RUNG: must be one of {', '.join(recipes.LADDER)}, received none")

    rung_recipe = recipe = recipes.get(args.rung)
    if args.recipe:
        recipe = recipes.changed(recipe, _read_json(args.recipe), f"--recipe {args.recipe}")
    if args.epochs:
        recipe = recipes.changed(recipe, {"epochs": args.epochs}, "--epochs")
    data_name = args.data or recipe.data
    from . import backend, bundles, data
    if data.is_folder(data_name):
        data_name = os.path.abspath(data_name)  # the card says where it was, from anywhere
    if args.show:
        return _show(args, recipe, data_name)

    notice = _Notice()
    departed = recipe.sha256() != rung_recipe.sha256() or args.limit or data_name != rung_recipe.data
    if args.output == "":
        raise InputError("--output: must name a folder, received ''")
    output = Path(os.path.realpath(args.output or _default_output(args, recipe, data_name, departed)))
    if output.parent == (bundles.home() / "saved_models").resolve() and (departed or output.name != args.rung):
        raise InputError(f"--output {output}: is a rung's own place, for runs of that rung's whole recipe and data; "
                         "name another folder")
    bundles.prepare(output, bytes_needed=0)  # before data are downloaded or read
    if not (args.resume or args.overwrite):
        bundles.refuse_existing(output)
    dataset = data.load(data_name, args.data_dir, recipe.input_shape, notice)
    if args.limit:
        data.check_limit(dataset, args.limit)  # before the seconds that Keras takes to start
    backend.start()
    from . import training
    try:
        card, finished_before = training.train(
            recipe, dataset, output, rung=args.rung, seed=args.seed, limit=args.limit, overwrite=args.overwrite,
            resume=args.resume, tensorboard=args.tensorboard, notice=notice,
            command=command_line("train.py", sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; what was trained is kept, and the same command with --resume goes on") from None
    if args.json:
        keys = ("rung", "seed", "seconds", "compile_seconds", "epoch", "val_accuracy", "test_accuracy", "test_loss", "device", "backend")
        _print_json({"bundle": str(output), **{k: card.get(k) for k in keys}, "finished_before": finished_before})
        return OK
    if finished_before:
        print("this run is finished already")
    shown = os.path.relpath(output) if output.is_relative_to(Path.cwd()) else output
    print(f"saved in {shown}: test accuracy {card['test_accuracy']:.2%}, validation accuracy {card['val_accuracy']:.2%} "
          f"(epoch {card['epoch']}), trained in {card['seconds']:.0f} s + {card['compile_seconds']:.0f} s of compilation")
    print(f"test it forward only: {bundles.command('evaluate')} {args.rung if output == bundles.home() / 'saved_models' / args.rung else shlex.quote(str(shown))}")
    return OK


def _default_output(args, recipe, data_name, departed):
    from . import bundles
    if not departed:
        return bundles.home() / "saved_models" / args.rung
    parts = [args.rung]
    if data_name != recipes.get(args.rung).data:
        name = os.path.basename(data_name) or "data"
        parts.append("".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-."))
    if args.recipe:
        parts.append(Path(args.recipe).stem)
    parts += [f"epochs{args.epochs}"] if args.epochs else []
    parts += [f"limit{args.limit}"] if args.limit else []
    parts += [f"seed{args.seed}"] if args.seed else []
    return bundles.home() / "runs" / "-".join(parts)


def _list(as_json):
    from . import reporting
    rows = []
    for rung, recipe in recipes.LADDER.items():
        rows.append({"rung": rung, "promise": recipe.promise, "reached": reporting.reached(rung), **reporting.summary(rung), "idea": recipe.idea,
                     "recipe_changed_since_measured": reporting.drifted(rung)})
    if as_json:
        _print_json({"ladder": rows})
        return OK
    for row in rows:
        time = ", ".join(f"{seconds / 60:.1f} min" for seconds in row["seconds"].values())
        promise = f"{'promises' if row['reached'] else 'aims at'} {100 * row['promise']:g} %"
        measured = "measured " + reporting.measured(row) if row["n"] else reporting.measured(row)
        print(f"{row['rung']:<18} {promise:<13}   {measured:<33} {time:>9}   {row['idea']}")
    return OK


def _show(args, recipe, data_name):
    from . import backend, data
    num_classes = 10
    if data.is_folder(data_name):
        num_classes = len(data.folder_classes(data_name))
        if num_classes < 2:
            raise InputError(f"{data_name}: needs one subfolder a class and at least two classes, has {num_classes}")
    backend.start()
    model = recipes.build(recipe, num_classes)
    rows = [{"layer": layer.name, "kind": type(layer).__name__, "output_shape": list(layer.output.shape[1:]),
             "parameters": layer.count_params()} for layer in model.layers]
    if args.json:
        _print_json({"rung": args.rung, "recipe": recipe.as_dict(), "parameters": model.count_params(), "layers": rows})
        return OK
    print(json.dumps({args.rung: recipe.as_dict()}, indent=2))
    print(f"{'layer':<14}{'kind':<22}{'output':<16}{'parameters':>12}")
    for row in rows:
        print(f"{row['layer']:<14}{row['kind']:<22}{' x '.join(map(str, row['output_shape'])):<16}{row['parameters']:>12,}")
    print(f"{'total':<52}{model.count_params():>12,}")
    return OK


def _read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({reason(error)})") from None


def _print_json(value):
    print(json.dumps(value))


# --- evaluate ---------------------------------------------------------------------------------------

def evaluate(argv=None):
    """evaluate.py: returns the exit code."""
    return guarded("evaluate.py", _evaluate, argv)


def _evaluate(argv):
    parser = Parser(prog=_program("evaluate"), description="Test a saved model, forward only.")
    parser.add_argument("bundle", metavar="RUNG_OR_BUNDLE_OR_FILE",
                        help="name of a rung, the folder of a bundle, or an exported .tflite or .onnx file")
    _add_data_flags(parser)
    parser.add_argument("--views", type=int, choices=(1, 2, 6), default=1, metavar="N",
                        help="also average over N views of each image: 2 adds the mirror image, 6 shifts as well")
    args = parser.parse_args(argv)

    from . import backend, bundles
    notice = _Notice()
    if _is_export(args.bundle):
        from . import inference
        folder, model = args.bundle, inference.Classifier(args.bundle)
        card = model.card
        if not isinstance(card.get("rung"), str):
            raise InputError(f"{folder}: has no export card ({inference.card_path(folder).name}), so its classes are unknown")
        input_shape = model.input_shape
    else:
        folder = bundles.find(args.bundle)
        _data_of(args, bundles.read_card(folder))  # what is wrong with it before the seconds that Keras takes to start
        backend.start()
        model, card = bundles.load(folder)
        input_shape = tuple(model.input_shape[1:])
    images, labels, source = _test_images(args, card, input_shape, notice)
    from . import evaluation
    result = evaluation.evaluate(model, images, labels, card["classes"], args.views)
    if args.json:
        _print_json({"rung": card["rung"], "bundle": str(folder), "data": source, **result})
        return OK
    print(f"{card['rung']} ({folder}) on {source}: {result['images']:,} test images")
    print(evaluation.as_table(result, card["classes"]))
    print(f"accuracy {result['accuracy']:.2%}   loss {result['loss']:.4f}")
    if args.views > 1:
        print(f"averaged over {args.views} views: accuracy {result['views_accuracy']:.2%}   loss {result['views_loss']:.4f}")
    return OK


def _data_of(args, card):
    """(name of the data that a command is to use, what the card says of the bundle's own). InputError for data that cannot be
    used, as far as that shows without reading them."""
    from . import data
    own = card.get("data") if isinstance(card.get("data"), dict) else {}
    name = args.data or own.get("name")
    if not isinstance(name, str):
        raise InputError(f"the card does not say what {card['rung']} was trained on; name the data with --data")
    data.check(name, args.data_dir, card["classes"])
    return name, own


def _test_images(args, card, input_shape, notice):
    """(images, labels, name) of what a bundle is to be tested on: its own test set, or a folder of one's own."""
    from . import data
    name, own = _data_of(args, card)
    if data.is_folder(name):
        return _folder_images(os.path.abspath(name), own, card, input_shape, notice)
    dataset = data.load(name, args.data_dir, input_shape, notice, test_only=True)
    if name == own.get("name") and own.get("test_sha256") not in (None, dataset.test_sha256()):
        notice(OTHER_TEST_IMAGES)
    return dataset.test_images, dataset.test_labels, name


def _folder_images(name, own, card, input_shape, notice):
    """(images, labels, name) of a folder: its test/ if it is split, else all, but for what was trained on."""
    from . import data
    trained_here = own.get("name") == name
    if {"train", "test"} <= {p.name for p in data.class_folders(name)}:
        name = os.path.join(name, "test")
    elif own.get("note") and list(data.folder_classes(name)) == card["classes"]:
        with contextlib.suppress(InputError):  # what is wrong with the folder is said below
            dataset = data.load(name, None, input_shape)
            if dataset.test_sha256() == own.get("test_sha256"):  # the folder it was trained on: the rest was seen
                notice(f"{name}: tested on the fifth of it that was kept from training")
                return dataset.test_images, dataset.test_labels, name
        if trained_here:
            raise _changed_folder(name, card)
    (images, labels), _ = data.read_labelled_folder(name, input_shape, notice, classes=card["classes"])
    return images, labels, name


def _changed_folder(name, card):
    return InputError(f"{name}: has changed since {card['rung']} was trained on it, so what was kept for the test cannot be told; "
                      "put pictures to test in a folder of their own and name it with --data")


# --- predict ----------------------------------------------------------------------------------------

def predict(argv=None):
    """predict.py: returns the exit code."""
    return guarded("predict.py", _predict, argv)


def _predict(argv):
    parser = Parser(prog=_program("predict"), description="Say what is on pictures.")
    parser.add_argument("network", metavar="RUNG_OR_BUNDLE_OR_FILE",
                        help="name of a rung, the folder of a bundle, or a .keras, .tflite or .onnx file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of them, or - for one on stdin")
    parser.add_argument("--top", type=whole(1), metavar="K", help="show the K likeliest classes (default 3, or all there are)")
    parser.add_argument("--show-pixels", action="store_true", help="print the matrix that the network sees, 0-255, channel by channel")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line for each image and nothing else on stdout")
    args = parser.parse_args(argv)
    from . import inference
    classifier = inference.Classifier(_network_file(args.network))
    notice = _Notice()
    if not classifier.card:
        notice(f"note: {args.network} has no card beside it, so its classes are numbers")
    if args.top and args.top > len(classifier.classes):
        raise InputError(f"--top: must be a whole number from 1 to {len(classifier.classes)}, received {args.top}")
    top, failed, waiting = args.top or min(3, len(classifier.classes)), False, []
    for file, pixels in _pictures(args.images, classifier.input_shape, notice):
        waiting.append((file, pixels))
        if len(waiting) == 32 or args.images == ["-"]:
            failed |= _tell(classifier, waiting, top, args)
            waiting = []
    failed |= _tell(classifier, waiting, top, args)
    return WRONG if failed else OK


def _is_export(name):
    return name.lower().endswith((".tflite", ".onnx")) and not os.path.isdir(name)


def _network_file(name):
    """The file of a network from what a user calls it."""
    from . import bundles
    if _is_export(name) or name.lower().endswith(".keras") and os.path.isfile(name):
        return name
    folder = bundles.find(name)
    bundles.read_card(folder)
    return folder / "model.keras"


def _pictures(names, input_shape, notice):
    """Pairs of a file's name and its pixels, or the InputError that says why it has none."""
    from . import data
    for name in names:
        files = [name]
        try:
            if name != "-" and os.path.isdir(name):
                files, others = data.images_below(name)
                if others:
                    notice(data.left_out(name, others))
        except InputError as error:
            yield name, error
            continue
        for file in map(str, files):
            try:
                if file == "-" and sys.stdin is None:
                    raise InputError("-: there is no stdin")
                if file == "-":
                    yield file, data.read_image(io.BytesIO(sys.stdin.buffer.read()), input_shape, "stdin")
                else:
                    yield file, data.read_image(file, input_shape)
            except InputError as error:
                yield file, error


def _tell(classifier, pictures, top, args):
    """Print what is on pictures; whether one of them could not be read."""
    read = [pixels for _, pixels in pictures if not isinstance(pixels, InputError)]
    answers = iter(classifier.classify(read, top) if read else [])
    for file, pixels in pictures:
        if isinstance(pixels, InputError):
            print(json.dumps({"file": file, "error": str(pixels)}) if args.json else f"predict.py: error: {pixels}",
                  file=sys.stdout if args.json else sys.stderr, flush=True)
            continue
        best = next(answers)
        if args.json:
            _print_json({"file": file, "class": best[0][0], "probability": best[0][1],
                         "top": [{"class": name, "probability": probability} for name, probability in best],
                         **({"pixels": pixels.tolist()} if args.show_pixels else {})})
            continue
        print(f"{file}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in best))
        if args.show_pixels:
            for channel, name in enumerate(("red", "green", "blue") if pixels.shape[-1] == 3 else ("grey",)):
                print(name)
                print("\n".join(" ".join(f"{value:3d}" for value in row) for row in pixels[..., channel]))
    return any(isinstance(pixels, InputError) for _, pixels in pictures)


# --- export -----------------------------------------------------------------------------------------

def export(argv=None):
    """export.py: returns the exit code."""
    return guarded("export.py", _export, argv)


def _export(argv):
    from .exporting import FORMATS, refuse_other, run
    parser = Parser(prog=_program("export"), description="Write a saved model as a file for phones and boards, tested on the test images.")
    parser.add_argument("bundle", metavar="RUNG_OR_BUNDLE", help="name of a rung, or the folder of a bundle")
    parser.add_argument("--format", required=True, choices=list(FORMATS), metavar="FORMAT",
                        help=f"{', '.join(FORMATS)}")
    parser.add_argument("--output", metavar="FILE", help="the file (default: model.tflite, model.int8.tflite, model.fp16.tflite or "
                        "model.onnx in the bundle; RUNG.tflite ... here for the rungs of an installed copy)")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, metavar="S", help="of the choice of calibration images (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace another file that is there")
    _add_data_flags(parser)
    args = parser.parse_args(argv)
    from . import backend, bundles, data
    folder = bundles.find(args.bundle)
    card = bundles.read_card(folder)
    name, own = _data_of(args, card)
    _needs("edge", *FORMATS[args.format].packages)
    if args.output == "":
        raise InputError("--output: must name a file, received ''")
    default = folder / FORMATS[args.format].file
    if folder.parent == bundles.PACKAGED:  # not among the installed files
        default = bundles.home() / default.name.replace("model", args.bundle)
    output, ending = Path(args.output or default), default.suffix
    if output.suffix != ending:
        raise InputError(f"--output {output}: must end in {ending}")
    notice = _Notice()
    if (output.is_dir() or not args.overwrite) and refuse_other(output, card, args.format):
        notice(f"{output}: is written anew")
    backend.start()
    model, card = bundles.load(folder)
    is_folder = data.is_folder(name)
    name = os.path.abspath(name) if is_folder else name
    dataset = data.load(name, args.data_dir, tuple(model.input_shape[1:]), notice)
    if name == own.get("name") and own.get("test_sha256") not in (None, dataset.test_sha256()):
        if is_folder:
            raise _changed_folder(name, card)
        notice(OTHER_TEST_IMAGES)
    card = run.export(model, card, args.format, output, dataset, args.seed,
                            command_line("export.py", sys.argv[1:] if argv is None else argv))
    if args.json:
        _print_json({"file": str(output), **card})
        return OK
    print(f"saved {output}: {card['bytes']:,} bytes, accuracy {card['accuracy']:.2%} on {card['images']:,} test images "
          f"(Keras {card['keras_accuracy']:.2%}), Keras' class for {card['agreement']:.2%}")
    print(f"use it: {bundles.command('predict')} {shlex.quote(str(output))} IMAGE")
    return OK


# --- tune -------------------------------------------------------------------------------------------

def tune(argv=None):
    """tune.py: returns the exit code."""
    return guarded("tune.py", _tune, argv)


def _tune(argv):
    from .searching import request as requests
    from .searching import space
    parser = Parser(prog=_program("tune"), description="Search for a rung's settings: draw from ranges, train briefly, narrow them.")
    parser.add_argument("rung", metavar="RUNG", help=f"name of a rung, see {_program('train')} --list")
    parser.add_argument("--strategy", choices=requests.STRATEGIES, default="narrowing", help="default: narrowing")
    parser.add_argument("--range", action="append", default=[], metavar="NAME=LOW:HIGH[:log]", dest="ranges",
                        help="what to search, or NAME=VALUE,VALUE,...; may be given several times (default: ranges that suit the rung); "
                             "numbers of the recipe, optimizer=adam,sgd, schedule=constant,cosine, what the rung's builder declares "
                             "(activation=relu,silu convolutions=1:3), width=0.25:2:log, a factor on the channels of all its layers")
    parser.add_argument("--max-trials", type=whole(1), metavar="N", help="trials in all (default 30, or none with --max-minutes)")
    parser.add_argument("--max-minutes", type=_positive, metavar="M", help="minutes in all, those before a kill included")
    parser.add_argument("--trial-epochs", type=whole(1), metavar="N", help="epochs of a trial instead of the recipe's")
    parser.add_argument("--trial-images", type=whole(1), metavar="N", help="train images of a trial, stratified (default: all)")
    parser.add_argument("--objective", choices=requests.OBJECTIVES, default="val_accuracy", metavar="NAME",
                        help=f"{', '.join(requests.OBJECTIVES)} (default val_accuracy)")
    parser.add_argument("--stop-behind", action="store_true", help="end trials that are behind the median of those before them")
    parser.add_argument("--seed", type=whole(0, 2**32 - 2), default=0, metavar="S", help="of draws and trainings (default 0)")
    _add_data_flags(parser)
    parser.add_argument("--output", metavar="DIR", help="folder of the search (default: searches/RUNG); the same command goes on there")
    parser.add_argument("--overwrite", action="store_true", help="start over where another search is")
    parser.add_argument("--workers", type=whole(1, 256), metavar="N", help="trials at a time on this machine")
    parser.add_argument("--chief", type=_address, metavar="HOST:PORT",
                        help="with --worker-id: the chief to work for; without: be the chief, and listen there (no authentication)")
    parser.add_argument("--worker-id", metavar="ID", help="the name of this worker, of its own among all of a chief")
    parser.add_argument("--end-with-parent", type=whole(1), help=argparse.SUPPRESS)
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(argv)
    if args.end_with_parent:
        from .searching import trial
        trial.end_with_parent(args.end_with_parent)
    recipe = recipes.get(args.rung)
    if args.worker_id is not None and not args.chief:
        raise InputError("--worker-id: needs --chief, the address to work for")
    if args.worker_id is not None and (not args.worker_id.strip() or "chief" in args.worker_id):
        raise InputError(f"--worker-id: must be a name without \"chief\" in it, received {args.worker_id!r}")
    if args.workers and args.chief:
        raise InputError("--workers: starts workers of its own chief on this machine, and does not go with --chief")
    if args.output == "":
        raise InputError("--output: must name a folder, received ''")
    try:
        ranges = space.parse_ranges(args.ranges, recipe)
    except InputError as error:
        raise InputError(f"--range {error}") from None
    if "epochs" in ranges and (args.trial_epochs or args.strategy == "hyperband"):
        raise InputError("--range epochs: does not go with --trial-epochs or hyperband, which decide the epochs")
    if args.strategy == "hyperband" and (args.trial_epochs or recipe.epochs) < 3:
        raise InputError("--trial-epochs: hyperband needs at least 3, from which it gives most trials less")
    _needs("tune", "keras_tuner", *(["grpc"] if args.chief or args.workers else []),
           *(["sklearn", "scipy"] if args.strategy == "bayesian" else []))
    from . import backend, bundles, data
    data_name = args.data or recipe.data
    if data.is_folder(data_name):
        data_name = os.path.abspath(data_name)
    folder = Path(os.path.abspath(args.output or bundles.home() / "searches" / args.rung))
    notice = _Notice()
    dataset = data.load(data_name, args.data_dir, recipe.input_shape, notice)
    if args.trial_images:
        data.check_limit(dataset, args.trial_images, "--trial-images")
    request = requests.Request(
        args.rung, args.strategy, ranges or space.default_ranges(recipe), args.objective, args.seed, args.trial_epochs,
        args.trial_images, args.stop_behind, data_name, dataset.train_sha256(), recipe.sha256())
    del dataset
    if args.overwrite and not args.worker_id:
        requests.clear(folder)
    if not args.worker_id:
        requests.refuse_changes(folder, request)  # before the seconds that Keras takes to start
    backend.start()
    max_trials = args.max_trials or (None if args.max_minutes else 30)
    from .searching.search import Search
    search = Search(request, folder, args.data_dir and os.path.abspath(args.data_dir), max_trials, args.max_minutes, notice,
                           command_line("tune.py", argv), worker=args.worker_id is not None)
    if args.worker_id is not None:
        search.run_as_worker(*args.chief, args.worker_id)
        return OK
    try:
        if args.chief:
            summary = search.run_as_chief(*args.chief)
        elif args.workers:
            own = [sys.executable, "-m", "cifar_lab", "tune", *_without(argv, "--workers", "--json", "--overwrite")]
            summary = search.run_as_chief("127.0.0.1", 0, args.workers, own)
        else:
            summary = search.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; what was tried is kept, and the same command goes on") from None
    if args.json:
        _print_json(summary)
        return OK
    shown = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else folder
    print(f"{summary['trials']} trials ({summary['failed']} failed, {summary['unfinished']} unfinished) in {summary['seconds']:.0f} s: "
          f"{shown}/trials.csv, search.json, search.png")
    if summary["best"]:
        best = dict(summary["best"])
        trial, score = best.pop("trial"), best.pop(args.objective)
        print(f"best: trial {trial}, {args.objective} {score:.4f}: " + ", ".join(f"{k} {space.told(v)}" for k, v in best.items()))
        same_data = "".join(f" {flag} {shlex.quote(value)}" for flag, value in (("--data", args.data), ("--data-dir", args.data_dir)) if value)
        print(f"train it in full: {bundles.command('train')} {args.rung} --recipe {shlex.quote(str(shown))}/best_recipe.json{same_data}")
    return OK


def _without(argv, *flags):
    """The arguments but for these flags (of which --workers alone has a value)."""
    kept, skip = [], False
    for word in argv:
        name = word.partition("=")[0]
        if not skip and name not in flags:
            kept.append(word)
        skip = not skip and word == "--workers"
    return kept


def _positive(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, received {text!r}")
    return value


def _address(text):
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, or PORT for 127.0.0.1, received {text!r}")
    return host or "127.0.0.1", int(port)


# --- record, and the one entry point of an installed copy ---------------------------------------------

def _record(argv):
    parser = Parser(prog="cifar-lab record", description="Add finished runs to results/ and renew the README's table and pictures.")
    parser.add_argument("bundles", nargs="*", metavar="RUNG_OR_BUNDLE")
    args = parser.parse_args(argv)
    from . import backend, bundles, reporting
    if bundles.CHECKOUT is None:
        raise InputError("record: works in a checkout of cifar_lab alone")
    for bundle in args.bundles:
        reporting.record(bundle)
    reporting.update_readme(bundles.CHECKOUT / "README.md")
    backend.start()
    docs = bundles.CHECKOUT / "docs"
    reporting.draw_dials(docs / "synthetic.png")
    reporting.draw_augmentations(docs / "augmentation.png")
    reporting.draw_progression(docs / "progression.png")
    reporting.draw_minutes(docs / "minutes.png")
    return OK


def main(argv=None):
    """cifar-lab COMMAND ... (also `python -m cifar_lab`): the commands of an installed copy."""
    argv = sys.argv[1:] if argv is None else argv
    commands = {"train": _train, "evaluate": _evaluate, "predict": _predict, "export": _export, "tune": _tune, "record": _record}
    if argv and argv[0] in commands:
        return guarded(f"cifar-lab {argv[0]}", commands[argv[0]], argv[1:])

    def none(argv):
        parser = Parser(prog="cifar-lab", description="Train, test and ship small image classifiers.",
                         usage="cifar-lab {train,evaluate,predict,export,tune,record} ... (each has --help)")
        parser.add_argument("--version", action="version", version=__version__)
        parser.add_argument("command", choices=list(commands))
        parser.parse_args(argv)
    return guarded("cifar-lab", none, argv)
