"""Mutated documents, each read by what reads such a file: cards, rows, recipes, searches, states.

    python tests/campaigns/documents.py --count 20000 --log runs/documents.jsonl

Mutant i is made from i alone, of one kind after the other. Two of three have one value of a
document replaced by one of each kind of JSON (and by what JSON does not have), or left out, each
once; the others are drawn: two or three of these at once, or bytes changed. The log has a line a
mutant; a campaign goes on behind its last one. At the end one line of JSON says how many were
answered in a line, accepted, or ended in a traceback or a hang, and how many lines held what a
terminal would obey or more than 500 characters.
"""

import argparse
import contextlib
import copy
import functools
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cifar_lab import backend, cli, data, documents, ladder, schema, terminal  # noqa: E402
from cifar_lab import recipe as recipes  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402

SECONDS = 30  # that a mutant may take
STRIDE = 1_000_003  # a prime: each place comes once
BUNDLE = "mnist-softmax"  # whose network is the smallest that is committed
EXPORT = ROOT / "saved_models" / "cifar10-tiny-88" / "model.int8.tflite"


class Raw(str):
    """A piece of text that stands in a document as it is."""


VALUES = (
    *(None, True, False, 0, 1, -1, 3, 0.5, -0.5, 1e308, -1e308, 2**31, 2**63, -(2**63), 10**15),
    *map(Raw, ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "-0.0")),
    *map(Raw, ("1" + "0" * 400, "9" * 5000, '"\\ud800"', '"\\udcff"', "[" * 2000 + "]" * 2000)),
    *map(Raw, ('{"a":' * 2000 + "1" + "}" * 2000, '{"a": 1, "a": 2}', "[1,", "nul", "'x'", "01")),
    *("", "x", "0", "1.5", "true", "nan", "../../x", "/", "\0", "a\0b", "x" * 20_000),
    *("a\x1b[2J\x07\r\nb", "\x9b31m\x7f", "\u202eabc\u2066\u2028", "\u00e9\U0001f600"),
    *([], {}, [[]], [{}], [None], {"": None}, ["x", 1], [0] * 2000, {"a": 1}, [1e308, 1e308]),
)


# --- mutants of text ------------------------------------------------------------------------------


def places(value, path=()):
    """The path of each value of a document, the whole included."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for key, item in enumerate(value[:3]):
            yield from places(item, (*path, key))


def replaced(document, path, value):
    """A document with one value replaced."""
    if not path:
        return value
    document = copy.deepcopy(document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return document


def without(document, path):
    """A document without a value."""
    document = copy.deepcopy(document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return document


def text_of(document):
    """A document as text, raw pieces as they are."""
    pieces = []

    def marked(value):
        if isinstance(value, Raw):
            pieces.append(value)
            return f"@@{len(pieces) - 1}@@"
        if isinstance(value, dict):
            return {key: marked(item) for key, item in value.items()}
        return [marked(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(marked(document))
    for i, piece in enumerate(pieces):
        text = text.replace(f'"@@{i}@@"', piece)
    return text.encode("utf-8", "surrogatepass")


def grid(document):
    """How many mutants there are with one value of a document changed."""
    return len(list(places(document))) * (len(VALUES) + 2)


def in_order(document, number):
    """The mutant of this number of the grid, whose places come in a mixed order."""
    number = number * STRIDE % grid(document)
    path = list(places(document))[number // (len(VALUES) + 2)]
    which = number % (len(VALUES) + 2)
    if which < len(VALUES):
        return text_of(replaced(document, path, VALUES[which]))
    if which == len(VALUES) and path and isinstance(path[-1], str):
        return text_of(without(document, path))
    holder = document
    for key in path:
        holder = holder[key]
    more = {**holder, "later": [1]} if isinstance(holder, dict) else [holder, holder]
    return text_of(replaced(document, path, more))


def drawn(document, draw):
    """A mutant that is drawn."""
    for _ in range(draw.choice((1, 2, 2, 3))):
        path = draw.choice(list(places(document)))
        if path and draw.random() < 0.15:
            document = without(document, path)
        else:
            document = replaced(document, path, draw.choice(VALUES))
        if not isinstance(document, (dict, list)) or isinstance(document, Raw):
            break
    return with_bytes_changed(text_of(document), draw) if draw.random() < 0.3 else text_of(document)


def of_document(document, number, draw):
    """The mutant of this number of a document."""
    rest = number % 3
    which = number // 3 * 2 + rest
    return (
        in_order(document, which) if rest < 2 and which < grid(document) else drawn(document, draw)
    )


def with_bytes_changed(content, draw):
    how = draw.randrange(7)
    at = draw.randrange(len(content) + 1)
    if how == 0:
        return content[:at]
    if how == 1:
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    if how == 2:
        return content[:at] + content[at + draw.randrange(1, 20) :]
    if how == 3:
        return content.decode("utf-8", "replace").encode("utf-16")
    if how == 4:
        return b"\xef\xbb\xbf" + content
    if how == 5:
        return content[:at] + content
    return content[:at] + draw.choice((b"\0", b"\xff\xfe", b"\n\n", b"[" * 3000)) + content[at:]


def table(content, number, draw):
    """A mutant of a table: of each cell in order, then drawn."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    cells = [(i, j) for i in range(min(3, len(rows))) for j in range(len(rows[0]))]
    words = (
        *("", "x", "nan", "inf", "-inf", "1e400", "-1", "0", "1.5", "9" * 5000, "true", "\0"),
        *('"', '"a,b"', "\x1b[2J", "\u202e", "1,2", "1\n2", "x" * 200_000, "[[", "1_0", " 1 "),
    )
    if number < len(cells) * len(words):
        i, j = cells[number // len(words)]
        rows[i][j] = words[number % len(words)]
    else:
        for _ in range(draw.choice((1, 2, 3))):
            row = draw.choice(rows)
            how = draw.randrange(3)
            if how == 0 and row:
                del row[draw.randrange(len(row))]
            elif how == 1:
                row.insert(draw.randrange(len(row) + 1), draw.choice(words))
            elif row:
                row[draw.randrange(len(row))] = draw.choice(words)
    text = ("\n".join(map(",".join, rows)) + "\n").encode()
    return with_bytes_changed(text, draw) if draw.random() < 0.1 else text


# --- mutants of a state ---------------------------------------------------------------------------


def state(content, number, draw):
    """A mutant of a state file: every second one's description, the others' arrays."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    if number % 2:
        meta = json.loads(arrays["meta"].tobytes())
        text = of_document(meta, number // 2, draw)
        arrays["meta"] = np.frombuffer(text, np.uint8)
    else:
        for _ in range(draw.choice((1, 1, 2))):
            name = draw.choice(list(arrays))
            arrays = of_arrays(arrays, name, draw)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    found = stream.getvalue()
    return with_bytes_changed(found, draw) if draw.random() < 0.1 else found


def of_arrays(arrays, name, draw):
    array = arrays[name]
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        changes = (
            lambda: array.astype(draw.choice(("f8", "f2", "i4", "u1", "?", "U3", "c8", "S2"))),
            lambda: array.astype(object),
            lambda: array[..., None],
            lambda: array.reshape(-1),
            lambda: array[:0],
            lambda: array.T.copy() if array.ndim > 1 else array[None],
            lambda: np.float32(0),
            lambda: np.full(array.shape, draw.choice((np.nan, np.inf, -np.inf)), array.dtype),
            lambda: np.full(array.shape, draw.choice((-1, 2**31 - 1, 2**62)), array.dtype),
            lambda: array * 0,
            lambda: array.view(array.dtype.newbyteorder()),
        )
        with np.errstate(all="ignore"):
            array = draw.choice(changes)()
    how = draw.randrange(8)
    if how == 0:
        return {key: value for key, value in arrays.items() if key != name}
    if how == 1:
        return {**arrays, draw.choice(("x", "v9999", "k0099", "meta2", "v0000.npy")): array}
    return {**arrays, name: array}


# --- what reads them ------------------------------------------------------------------------------


def command(*words):
    """A command in this process: (code, what it printed)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*map(str, words)])
    return code, out.getvalue(), err.getvalue()


class Kinds:
    """A folder with a sound document of each kind, and what reads it.

    `kinds`: {name: (file, its sound content, what reads it)}; the content is bytes of a table or a
    state, else a document. What reads it returns None, or what a command printed.
    """

    def __init__(self, folder):
        self.folder, self.kinds = folder, {}
        self.picture = folder / "p.png"
        from PIL import Image

        Image.new("L", (28, 28)).save(self.picture)
        self._cards()
        self._recipes()
        self._searches()
        self._states()

    def add(self, name, file, content, read):
        self.kinds[name] = file, content, read

    def _cards(self):
        from cifar_lab.report import contenders, results

        bundle = self.folder / "bundle"
        shutil.copytree(ROOT / "saved_models" / BUNDLE, bundle)
        card = json.loads((bundle / "card.json").read_text())
        file = bundle / "card.json"
        self.add("card", file, card, lambda: command("predict", bundle, self.picture))
        self.add("card, data", file, card, lambda: self._data(bundle))
        self.add("card, report", file, card, lambda: contenders.look_up([str(bundle)], None, str))
        self.add("history.csv", bundle / "history.csv", (bundle / "history.csv").read_bytes(),
                 lambda: results.read_history(bundle))  # fmt: skip
        shutil.copy(EXPORT, self.folder / "m.tflite")
        file = self.folder / "m.tflite.card.json"
        export = json.loads(Path(f"{EXPORT}.card.json").read_text())
        export["calibration"]["later"] = None
        self.add("export card", file, export,
                 lambda: command("predict", self.folder / "m.tflite", self.picture))  # fmt: skip
        rows = json.loads((ROOT / "results" / f"{BUNDLE}.json").read_text())[:2]
        (self.folder / "results").mkdir()
        file = self.folder / "results" / f"{BUNDLE}.json"
        self.add("rows", file, rows, functools.partial(self._rows, file))

    def _data(self, bundle):
        """What the other commands ask a card for, before a network is opened."""
        from cifar_lab import bundle_data, bundles, exporting, inference, networks
        from cifar_lab.training import run

        card = bundles.read_card(bundle)
        with contextlib.suppress(InputError):
            bundle_data.chosen(card, None, None)
        with contextlib.suppress(InputError):
            inference.threshold_of(card, 0.9, "card")
        with contextlib.suppress(InputError):
            networks.begun_from(ladder.get("mnist-mlp").recipe, str(bundle))
        with contextlib.suppress(InputError):
            run._refuse_changes(bundle, run._identity_of(card), run._identity_of(self.card))
        exporting.refuse_other(self.folder / "none", card, "numpy")

    @property
    def card(self):
        return json.loads((ROOT / "saved_models" / BUNDLE / "card.json").read_text())

    def _rows(self, file):
        from cifar_lab.report import contenders, results

        results.summary(BUNDLE, file.parent)
        contenders.look_up([str(file)], None, str)

    def _recipes(self):
        file = self.folder / "recipe.json"
        base = ladder.get("cifar10-94").recipe.as_dict()
        base |= {"augmentation": {**base["augmentation"], "jpeg_quality": [40, 90]}}
        self.add("recipe", file, base, functools.partial(self._recipe, file))

    def _recipe(self, file):
        from cifar_lab.cli import training

        args = training._parser().parse_args(["cifar10-94", "--recipe", str(file)])
        training._request(args)

    def _searches(self):
        from cifar_lab.searching import process, table
        from cifar_lab.searching.ranges import Range

        space = {
            "learning_rate": Range(1e-4, 0.1, log=True),
            "batch_size": Range(options=(16, 32)),
            "epochs": Range(1, 5, whole_numbers=True),
        }
        self.space, self.table, self.process = space, table, process
        for strategy in ("narrowing", "hyperband"):
            place = self.folder / strategy
            oracle = self._oracle(place, strategy)
            for i in range(8):
                trial = oracle.create_trial("tuner0")
                told = dict.fromkeys(documents.OBJECTIVES, 0.5 + i / 100)
                oracle.update_trial(trial.trial_id, told | {"epochs": 3.0, "seconds": 1.0})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
            oracle.save()
            third = sorted((place / "trials").glob("trial_*"))[2]
            for file in (place / "trials" / "oracle.json", third / "trial.json"):
                read = functools.partial(self._go_on, place, strategy)
                self.add(f"{strategy}, {file.name}", file, json.loads(file.read_text()), read)
        folder = self.folder / "search"
        self._search(folder)
        request, read = self._request(), lambda: self._search_read(folder)
        file = folder / "search.json"
        self.add("search.json", file, json.loads(file.read_text()), read)
        file = folder / "trials.csv"
        self.add("trials.csv", file, file.read_bytes(), read)
        trial = folder / "trials" / "trial_000000"
        file = trial / "result.json"
        told = {"status": "completed", "epochs": 1, "seconds": 1.0, "compile_seconds": 1.0}
        told |= dict.fromkeys(documents.OBJECTIVES, 0.5)
        self.add("result.json", file, told, functools.partial(self._result, file))
        file = trial / "request.json"
        self.add("request.json", file, request, functools.partial(self._trial, file))

    def _oracle(self, place, strategy):
        from cifar_lab.searching import oracles

        made = oracles.build(strategy, self.space, "val_accuracy", "max", 0, limit=20, max_epochs=9)
        made._set_project_dir(str(place), "trials")
        return made

    def _go_on(self, place, strategy):
        oracle = self._oracle(place, strategy)
        oracle.save = oracle._save_trial = lambda *_: None  # mutants stay as they are
        oracle.reload()
        for _ in range(3):
            trial = oracle.create_trial("tuner0")
            self.table.values_of(trial), self.table.status_of(trial)
            if trial.status != "RUNNING":
                break
            oracle.update_trial(trial.trial_id, dict.fromkeys(documents.OBJECTIVES, 0.5))
            trial.status = "COMPLETED"
            oracle.end_trial(trial)

    def _request(self):
        return {
            "rung": "mnist-softmax", "fields": {"learning_rate": 0.01, "epochs": 1},
            "data": "synthetic", "data_dir": None, "seed": 0, "limit": None,
            "objective": "val_accuracy", "direction": "max", "stop_behind": False,
        }  # fmt: skip

    def _search(self, folder):
        from cifar_lab.searching.request import Request

        (folder / "trials" / "trial_000000").mkdir(parents=True)
        self.request = Request(
            "mnist-softmax", "narrowing", self.space, "val_accuracy", 0, 1, None, False,
            "synthetic", "d" * 64, ladder.get("mnist-softmax").recipe.sha256(),
        )  # fmt: skip
        known = {
            "request": self.request.as_dict(),
            "seconds": 15.5,
            "rounds": [{"first_trial": 0, "ranges": {
                name: r.bounds(r.whole()) for name, r in self.space.items()}}],
            "command": "python tune.py mnist-softmax",
        }  # fmt: skip
        (folder / "search.json").write_text(json.dumps(known))
        head = "trial,status,score,learning_rate,batch_size,epochs,epochs,seconds,memory_mb,reason"
        head = head.replace("epochs,epochs", "epochs")
        rows = [f"{i},completed,0.{i + 1},0.0{i + 1},16,{i + 1},1.0,600.0," for i in range(4)]
        (folder / "trials.csv").write_text("\n".join([head, *rows]) + "\n")
        (folder / "trials" / "trial_000000" / "history.csv").write_bytes(
            (ROOT / "saved_models" / BUNDLE / "history.csv").read_bytes()
        )

    def _search_read(self, folder):
        from cifar_lab.report import search, search_folder
        from cifar_lab.searching import request as requests

        with contextlib.suppress(InputError):
            requests.refuse_changes(folder, self.request)
        found = search_folder.read(folder)
        if self.pages < 40:  # a second each
            self.pages += 1
            search.page(found, str).html()

    pages = 0

    def _result(self, file):
        self.process._result(file)
        self.table.result_in(file.parent)

    def _trial(self, file):
        request = schema.read_json(file, documents.TRIAL_REQUEST)
        recipes.changed(ladder.get("mnist-softmax").recipe, request["fields"], "trial")

    def _states(self):
        from cifar_lab.data import synthetic
        from cifar_lab.training import state as states
        from cifar_lab.training.trainer import Plan, Trainer

        recipe = recipes.changed(
            ladder.get("fashion-mnist-92").recipe,
            {"builder": "linear", "builder_options": {}, "batch_size": 32, "epochs": 3},
            "campaign",
        )
        dataset = data.Dataset("synthetic", synthetic.CLASSES, *synthetic.load(100, 20))
        shape = recipe.input_shape
        dataset = data.Dataset(
            "synthetic", synthetic.CLASSES,
            data.fit_images(dataset.train_images, shape), dataset.train_labels,
            data.fit_images(dataset.test_images, shape), dataset.test_labels,
        )  # fmt: skip
        trainer = Trainer(Plan.of(recipe, dataset, 0))
        trainer.run_epoch()
        identity = {
            "rung": "test", "recipe": recipe.as_dict(), "seed": 0, "limit": None,
            "data_sha256": "d" * 64, "backend": "tensorflow", "precision": "float32",
            "version": "0.3.0", "started": "2026-11-25T15:04:28.580951+00:00",
        }  # fmt: skip
        file = self.folder / ".out.state.npz"
        trainer.save_state(file, identity)

        def read():
            from cifar_lab.training import run

            run._refuse_changes(file, states.identity(file), identity)
            trainer.load_state(file)
            if trainer.history:
                trainer.chosen_epoch(), trainer.out_of_patience
            trainer.bare_network()

        self.add("state", file, file.read_bytes(), read)


# --- one mutant -----------------------------------------------------------------------------------


class Hang(BaseException):
    """A mutant took too long."""


def mutant(content, file, number):
    """The bytes of the mutant of this number, of one kind."""
    draw = random.Random(f"{file.name} {number}")
    if file.suffix == ".npz":
        return state(content, number, draw)
    if isinstance(content, bytes):
        return table(content, number, draw)
    return of_document(content, number, draw)


def outcome(read):
    """(outcome, words)."""

    def late(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        found = read()
    except (InputError, OSError) as error:  # as `cli.guarded` tells them
        line = " ".join(str(error).split())
        return ("line" if "\n" not in str(error) else "unshown"), line[:200]
    except Hang:
        return "hang", ""
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error}, {where.filename}:{where.lineno}"[
            :300
        ]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if not (isinstance(found, tuple) and len(found) == 3 and isinstance(found[0], int)):
        return "accepted", ""
    code, out, err = found
    lines = [*out.split("\n"), *err.split("\n")]
    if not all(line.isprintable() and len(line) <= 20_000 for line in lines):
        return "unshown", (out + err)[:200]
    if code == 2 and not (err.count(": error: ") == 1 and len(err.strip()) <= terminal.MOST):
        return "unshown", err[:200]
    return ("line" if code == 2 else "accepted"), err.strip()[:200]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--log", type=Path, help="a line a mutant; goes on behind its last")
    parser.add_argument("--kept", type=Path, help="folder for mutants that were not answered well")
    arguments = parser.parse_args(argv)
    backend.start()
    rows = []
    if arguments.log and arguments.log.is_file():
        rows = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        kinds = Kinds(Path(folder))
        names = list(kinds.kinds)
        for name, (file, sound, read) in kinds.kinds.items():
            file.write_bytes(sound if isinstance(sound, bytes) else text_of(sound))
            found = outcome(read)
            if found[0] != "accepted":
                raise SystemExit(f"{name}: the sound one is not read: {found}")
        while len(rows) < arguments.count and time.monotonic() < until:
            number = arguments.first + len(rows)
            name = names[number % len(names)]
            file, sound, read = kinds.kinds[name]
            before = file.read_bytes()
            file.write_bytes(mutant(sound, file, number // len(names)))
            found, words = outcome(read)
            rows.append({"number": number, "kind": name, "outcome": found, "words": words})
            if arguments.kept and found not in ("line", "accepted"):
                arguments.kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, arguments.kept / f"{number}-{file.name.lstrip('.')}")
            if arguments.log:
                with open(arguments.log, "a") as log:
                    log.write(json.dumps(rows[-1]) + "\n")
            file.write_bytes(before)
    counts = Counter(row["outcome"] for row in rows)
    summary = {
        "inputs": len(rows),
        **Counter(row["kind"] for row in rows),
        **{name: counts[name] for name in ("line", "accepted", "traceback", "hang", "unshown")},
        "largest_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }
    print(json.dumps(summary))
    return 0 if counts["line"] + counts["accepted"] == len(rows) else 1


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
