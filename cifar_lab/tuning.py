"""Searches for a recipe's settings: the request, its ranges, and running it on KerasTuner's engine.

A trial is a recipe with some fields replaced, trained by the one training path in a process of its own (trials.py); the
score is measured on validation images. What to try next is an oracle's to say (oracles.py). This module imports neither
Keras nor KerasTuner before a search runs.
"""
import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import backend, bundles, recipes, trials
from .errors import InputError, reason

STRATEGIES = ("narrowing", "random", "bayesian", "hyperband")
OBJECTIVES = {"val_accuracy": "max", "val_loss": "min", "accuracy": "max", "loss": "min"}
CHIEF_SECONDS = 60  # that a worker waits for its chief
WHOLE = ("batch_size", "epochs", "crop_padding", "cutout_size")  # fields that are whole numbers
NUMBERS = ("learning_rate", "weight_decay", "momentum", "kernel_rate", "bias_rate_factor", "warmup_fraction", "label_smoothing",
           "validation_fraction", "sharpness_radius")
AUGMENTATIONS = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range", "crop_padding", "cutout_size")
# numeric keyword arguments of the builders, and what they may be; a list is given the same value throughout
OPTIONS = {"airbench": {}, "cifar10_cnn": {"dropout": (0.0, 0.95)}, "edge": {},
           "fashion_mnist_cnn": {"conv_dropout": (0.0, 0.95), "hidden_dropout": (0.0, 0.95)},
           "vgg": {"dropout": (0.0, 0.95), "l2": (0.0, 1e3)}}


@dataclass(frozen=True)
class Range:
    """The values that a hyperparameter may take: low to high, or options.

    Fields: low, high: inclusive.   log: whether drawing is uniform in the logarithm.   whole_numbers: whether only these are
    drawn.   options: instead of low and high; in the order given.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole_numbers: bool = False
    options: tuple = ()

    def whole(self):
        """All of it, in the form of a round's ranges: (0, 1) of u, or the options."""
        return list(self.options) if self.options else (0.0, 1.0)

    def value(self, u):
        """The value at u, 0 to 1, of the range."""
        low, high = (self.low, self.high + 1) if self.whole_numbers else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = low + u * (high - low)
        return min(max(int(value) if self.whole_numbers else value, self.low), self.high)

    def position(self, value):
        """u of a value, 0 to 1; the middle of what a whole number stands for."""
        low, high, value = (self.low, self.high + 1, value + 0.5) if self.whole_numbers else (self.low, self.high, value)
        if self.log:
            low, high, value = map(math.log, (low, high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def draw(self, rng, within):
        """A value drawn from a round's range: (low, high) in u, or a list of options."""
        if self.options:
            return within[int(rng.integers(len(within)))]
        return self.value(rng.uniform(*within))

    def narrowed(self, values, margin, least_width):
        """The next round's range from the values of the best trials; see oracles.Narrowing."""
        if self.options:
            return [option for option in self.options if option in values]
        positions = [self.position(v) for v in values]
        low, high = min(positions), max(positions)
        width = max((high - low) * (1 + 2 * margin), least_width)
        middle = (low + high) / 2
        return max(middle - width / 2, 0.0), min(middle + width / 2, 1.0)

    def bounds(self, within):
        """A round's range as values: [low, high], or the list of options."""
        return list(within) if self.options else [self.value(within[0]), self.value(within[1])]

    def as_text(self):
        """As --range takes it."""
        if self.options:
            return ",".join(map(repr, self.options))
        return f"{self.low!r}:{self.high!r}" + (":log" if self.log else "")


def parse_range(text, recipe):
    """(name, Range) of NAME=LOW:HIGH[:log] or NAME=VALUE,VALUE,... InputError for what makes no sense."""
    name, _, given = text.partition("=")
    wrong = f"--range {text}:"
    if name not in fields_of(recipe):
        raise InputError(f"{wrong} {name!r} must be one of {', '.join(fields_of(recipe))}")
    kind = int if name in WHOLE else float
    if not given:
        raise InputError(f"{wrong} must be NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=VALUE,VALUE,...")
    if ":" not in given:
        options = tuple(_number(v, kind, wrong) for v in given.split(","))
        if len(options) < 2 or len(set(options)) < len(options):
            raise InputError(f"{wrong} needs at least two different values")
        found = Range(options=options)
    else:
        parts = given.split(":")
        if len(parts) > 3 or len(parts) == 3 and parts[2] not in ("log", "linear"):
            raise InputError(f"{wrong} must be LOW:HIGH, LOW:HIGH:log or LOW:HIGH:linear")
        low, high = (_number(v, kind, wrong) for v in parts[:2])
        log = parts[2:] == ["log"]
        if not low < high:
            raise InputError(f"{wrong} {parts[0]} must be less than {parts[1]}")
        if log and low <= 0:
            raise InputError(f"{wrong} a logarithmic range must begin above 0")
        found = Range(low, high, log, kind is int)
    for value in found.options or (found.low, found.high):
        least, most = OPTIONS[recipe.builder].get(name, (-math.inf, math.inf))
        if not least <= value <= most:
            raise InputError(f"{wrong} {name} must be from {least:g} to {most:g}, received {value:g}")
        try:
            with_fields(recipe, {name: value})
        except InputError as error:
            raise InputError(f"{wrong} {error}") from None
    return name, found


def _number(text, kind, wrong):
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{wrong} {text!r} must be a {'whole ' if kind is int else ''}number")
    return value


def fields_of(recipe):
    """Names that can be searched for a recipe: its numbers, its builder's, and its augmentation's."""
    return (*(n for n in (*NUMBERS, "batch_size", "epochs") if _usable(recipe, n)), *OPTIONS[recipe.builder], *AUGMENTATIONS)


def _usable(recipe, name):
    other, values = recipes.USED_BY.get(name, (None, ()))
    return other is None or getattr(recipe, other) in values


def with_fields(recipe, values):
    """`recipe` with {name: value} of a trial; InputError where it does not allow one."""
    return recipes.changed(recipe, recipe_fields(recipe, values), "search")


def recipe_fields(recipe, values):
    """The recipe fields, as --recipe takes them, of a trial's {name: value}."""
    fields, options, augmentation = {}, dict(recipe.builder_options), dict(recipe.augmentation.as_dict())
    for name, value in values.items():
        if name in OPTIONS[recipe.builder]:
            options[name] = [value] * len(options[name]) if isinstance(options.get(name), list) else value
            fields["builder_options"] = options
        elif name in AUGMENTATIONS:
            augmentation[name] = value
            fields["augmentation"] = augmentation
        else:
            fields[name] = value
    return fields


def default_ranges(recipe):
    """{name: Range} that suits a rung: learning rate and weight decay, the batch, and its dropout."""
    rate = recipe.learning_rate
    found = {"learning_rate": Range(rate / 100, rate * 30, log=True)}
    if recipe.optimizer == "muon":
        found["kernel_rate"] = Range(recipe.kernel_rate / 30, min(recipe.kernel_rate * 30, 10.0), log=True)
    decay = recipe.weight_decay
    found["weight_decay"] = Range(decay / 30, min(decay * 30, 10.0), log=True) if decay else Range(1e-7, 1e-1, log=True)
    found["batch_size"] = Range(options=tuple(max(1, round(recipe.batch_size * f)) for f in (0.5, 1, 2, 4)))
    for name in OPTIONS[recipe.builder]:
        found[name] = Range(1e-6, 1e-2, log=True) if name == "l2" else Range(0.0, 0.6)
    return found


@dataclass(frozen=True)
class Request:
    """What decides a search. Fields: as the flags of tune.py; ranges: {name: Range}; data_sha256: of the train images."""

    rung: str
    strategy: str
    ranges: dict
    objective: str
    seed: int
    trial_epochs: int | None
    trial_images: int | None
    stop_behind: bool
    data: str
    data_sha256: str
    recipe_sha256: str

    def as_dict(self):
        return {**dataclasses.asdict(self), "ranges": {name: r.as_text() for name, r in self.ranges.items()}}

    def sha256(self):
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


def refuse_changes(folder, request):
    """The earlier part of a search in `folder`: its search.json, None where there is none.

    InputError where it is a search with other settings, or the folder holds something else.
    """
    path = Path(folder) / "search.json"
    if not path.is_file():
        if Path(folder).is_file():
            raise InputError(f"{folder}: is a file; --output must name a folder")
        if Path(folder).is_dir() and any(p.name != "search.json.tmp" for p in Path(folder).iterdir()):
            raise InputError(f"{folder}: holds what is not a search; --output must name a new folder or that of a search")
        return None
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        before, now = earlier["request"], json.loads(json.dumps(request.as_dict()))
        earlier["seconds"] + 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({reason(error)}); --overwrite starts over") from None
    for key in now:
        if before.get(key) != now[key]:
            was, is_now, named = before.get(key), now[key], key.replace("_", " ")
            if key == "ranges" and isinstance(was, dict):
                name = next(n for n in {**was, **is_now} if was.get(n) != is_now.get(n))
                named, was, is_now = f"range of {name}", was.get(name), is_now.get(name)
            raise InputError(f"{folder}: holds a search with another {named}: was {was}, is now {is_now}; "
                             "--output names another folder, --overwrite starts over")
    return earlier


def clear(folder):
    """Remove a search's folder, if there is one. InputError where it holds something else."""
    folder = Path(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / "search.json").is_file():
        raise InputError(f"{folder}: holds what is not a search; --overwrite removes searches alone")
    with bundles.locked(folder):
        gone = folder.with_name(f".{folder.name}.previous")  # whole or not at all: a kill leaves no half of a search
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


# --- running ------------------------------------------------------------------------------------------

class Search:
    """A search in a folder: alone, as the chief of workers, or as one of these.

    Args:
        request: Request.   folder: where it lives.   data_dir: for the trials.
        max_trials, max_minutes: bounds of the whole search, its earlier parts included; either may be None.
        notice: called with lines for the user.   command: for search.json.   worker: whether a chief elsewhere decides.
    """

    def __init__(self, request, folder, data_dir, max_trials, max_minutes, notice, command="", worker=False):
        self.request, self.folder, self.data_dir, self.notice, self.command = request, Path(folder), data_dir, notice, command
        self.recipe, self.worker = recipes.get(request.rung), worker
        earlier = None if worker else refuse_changes(folder, request)
        self.written = 0.0
        self.before, self.started = (earlier or {}).get("seconds", 0.0), time.time()
        deadline = None if max_minutes is None else self.started + max(0.0, 60 * max_minutes - self.before)
        from . import oracles
        self.oracle = oracles.build(
            request.strategy, request.ranges, request.objective, OBJECTIVES[request.objective], request.seed,
            limit=max_trials or 10**9, deadline=deadline, max_epochs=request.trial_epochs or self.recipe.epochs,
            digest=request.sha256())

    def run(self):
        """Search in this process until a bound is met: the summary, a dict."""
        with self._at_work():
            self.tuner.search()
        return self.summary()

    def run_as_chief(self, host, port, workers=0, worker_command=()):
        """Hand trials to workers until a bound is met: the summary.

        host, port: what to listen on; port 0 for any.   workers: processes to start here with `worker_command`, to which the
        address and a name are added; one that dies is started again.
        """
        from . import oracles
        team = {}

        def start(name, port):
            threads = max(1, backend.cores() // workers)
            with open(self.folder / f"{name}.log", "ab") as log:
                team[name] = subprocess.Popen(
                    [*worker_command, "--chief", f"127.0.0.1:{port}", "--worker-id", name, "--end-with-parent", str(os.getpid())],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_child_env(TF_NUM_INTRAOP_THREADS=threads))

        def started(port):
            self.notice(f"chief listens on {host}:{port}" + ("" if host in ("127.0.0.1", "localhost") else
                                                             ": anybody who reaches this address can take part"))
            self.port = port
            for i in range(workers):
                start(f"worker{i + 1}", port)

        shown, deaths = set(self.oracle.end_order), []

        def watch():
            self.tick()
            for trial_id in list(self.oracle.end_order):
                if trial_id not in shown:
                    shown.add(trial_id)
                    self.ended(self.oracle.trials[trial_id])
            for name, process in list(team.items()):
                if process.poll() not in (None, 0) and not self.oracle.finished():
                    deaths.append(len(shown))
                    if deaths.count(len(shown)) > 5 * workers:
                        raise InputError(f"{name}: ended with exit code {process.returncode} again and again, see "
                                         f"{self.folder / name}.log")
                    self.notice(f"{name} died ({process.returncode}) and is started again")
                    self.oracle.allow(name)
                    start(name, self.port)

        with self._at_work():
            try:
                oracles.serve(self.oracle, host, port, started, watch)
                watch()
            finally:
                for process in team.values():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(10)
                    if process.poll() is None:
                        process.terminate()
        return self.summary()

    def run_as_worker(self, host, port, name):
        """Take trials from a chief until it says that the search is over. InputError where it does not answer, or searches
        for something else."""
        os.environ.update(KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=str(port), KERASTUNER_TUNER_ID=name)
        import grpc
        from keras_tuner.src.distribute import oracle_client
        oracle_client.TIMEOUT = CHIEF_SECONDS  # KerasTuner's is an hour
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "search.json").exists():  # on a machine of its own: the folder is a search's
            bundles.write_json(self.folder / "search.json", {"request": self.request.as_dict(), "seconds": 0.0, "command": self.command})
        tuner = make_tuner(self.oracle, self.folder, self)
        try:
            if self.request.sha256() not in [hp.value for hp in tuner.oracle.get_space().space if hp.name == "search"]:
                raise InputError(f"--chief {host}:{port}: searches with other settings or data than this worker was started with")
            tuner.search()
        except (grpc.RpcError, tuner.ChiefGone) as error:
            code = getattr(error, "code", lambda: None)()
            raise InputError(f"--chief {host}:{port}: does not answer ({getattr(code, 'name', code or error)})") from None

    @contextlib.contextmanager
    def _at_work(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with bundles.locked(self.folder):
            if not (self.folder / "search.json").exists():  # before anything that would make the folder a stranger's
                self.write()
            self.tuner = make_tuner(self.oracle, self.folder, self)
            self.write()
            try:
                yield
            finally:
                self.write()
                draw(self)

    def trial_request(self, trial):
        """What a trial's process is told."""
        values, request = values_of(trial), self.request
        fields = recipe_fields(self.recipe, values)
        epochs = trial.hyperparameters.values.get("tuner/epochs", request.trial_epochs)
        if epochs is not None:
            fields["epochs"] = int(epochs)
        return {"rung": request.rung, "fields": fields, "data": request.data, "data_dir": self.data_dir, "seed": request.seed,
                "limit": request.trial_images, "objective": request.objective, "direction": OBJECTIVES[request.objective],
                "stop_behind": request.stop_behind}

    def ended(self, trial):
        """Called when a trial has ended: tell the user, and write what is known."""
        if self.worker:
            told = trial.status.lower() + (f": {reason_of(self.folder, trial)}" if trial.status != "COMPLETED" else "")
            self.notice(f"trial {int(trial.trial_id):>3}  {told}")
            return
        self.write()
        trial = self.oracle.trials[trial.trial_id]
        best = self.best()
        told = f"{self.request.objective} {trial.score:.4f}" if trial.score is not None and trial.status == "COMPLETED" else (
            f"failed: {reason_of(self.folder, trial)}")
        top = f"   best {best.score:.4f} (trial {int(best.trial_id)})" if best else ""
        values = "  ".join(f"{k} {v:.4g}" for k, v in values_of(trial).items())
        self.notice(f"trial {int(trial.trial_id):>3}  {told}   {values}{top}")

    def tick(self):
        """Called again and again while trials run: what a kill would forget is written twice a minute."""
        if not self.worker and time.monotonic() - self.written > 30:
            self.write()

    def all_trials(self):
        """All trials in order; a chief's oracle begins others meanwhile."""
        return [trial for _, trial in sorted(list(self.oracle.trials.items()))]

    def best(self):
        """The best completed trial, the first of equals; None where there is none."""
        sign = -1 if OBJECTIVES[self.request.objective] == "max" else 1
        done = [t for t in self.all_trials() if t.status == "COMPLETED" and t.score is not None]
        return min(done, key=lambda t: (sign * t.score, t.trial_id), default=None)

    def summary(self):
        best, statuses = self.best(), [status_of(t) for t in self.all_trials()]
        return {"output": str(self.folder), "trials": len(statuses), **{s: statuses.count(s) for s in ("completed", "failed", "unfinished")},
                "seconds": round(self.before + time.time() - self.started, 1), "best": best and {
                    "trial": int(best.trial_id), self.request.objective: best.score, **values_of(best)}}

    def write(self):
        """search.json, trials.csv and, once a trial has completed, best_recipe.json."""
        self.written = time.monotonic()
        rounds = [{"first_trial": r["first_trial"], "ranges": {n: self.request.ranges[n].bounds(w) for n, w in r["ranges"].items()}}
                  for r in getattr(self.oracle, "rounds", [])]
        bundles.write_json(self.folder / "search.json", {"request": self.request.as_dict(), **self.summary(), "rounds": rounds,
                                                 "command": self.command})
        names = list(self.request.ranges)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", "status", "score", *names, "epochs", "seconds", "memory_mb", "reason"])
        for trial in self.all_trials():
            values, completed, status = values_of(trial), trial.status == "COMPLETED", status_of(trial)
            if completed and result_of(self.folder, trial).get("status") == "stopped early":
                status = "stopped early"
            told = [trial.metrics.get_best_value(n) if trial.metrics.exists(n) else None for n in ("epochs", "seconds", "memory_mb")]
            told = ["" if value is None else round(value, 2) for value in told]
            writer.writerow([int(trial.trial_id), status, trial.score if completed else "", *(values.get(n, "") for n in names),
                             *told, reason_of(self.folder, trial) if trial.status == "FAILED" else ""])
        bundles.write_file(self.folder / "trials.csv", lambda file: file.write(text.getvalue().encode()))
        best = self.best()
        if best:
            bundles.write_json(self.folder / "best_recipe.json", recipe_fields(self.recipe, values_of(best)))


def values_of(trial):
    """{name: value} of what a trial tries, without what KerasTuner adds."""
    return {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/") and k != "search"}


def status_of(trial):
    return {"COMPLETED": "completed", "FAILED": "failed"}.get(trial.status, "unfinished")


def result_of(folder, trial):
    """What a trial's process left, {} where it is on another machine or unfinished."""
    try:
        return json.loads((Path(folder) / "trials" / f"trial_{trial.trial_id}" / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def resident_mb():
    """Resident memory of this process, 0 where that cannot be told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def reason_of(folder, trial):
    """Why a trial failed, in a line."""
    lines = (trial.message or "").strip().splitlines()
    return result_of(folder, trial).get("reason") or (lines[-1] if lines else "failed on its worker, whose log says why")


def make_tuner(oracle, folder, search):
    """The keras_tuner.engine.base_tuner.BaseTuner that runs trials in processes of their own."""
    import keras_tuner
    from keras_tuner.engine.base_tuner import BaseTuner

    class TimeIsUp(keras_tuner.errors.FatalError):
        pass

    class Gone(keras_tuner.errors.FatalError):
        """The chief does not answer."""

    class Tuner(BaseTuner):
        ChiefGone = Gone

        def reload(self):
            if not self._is_worker():
                self.oracle.reload()

        def _get_tuner_fname(self):  # so that there is something to reload from the first trial on
            return os.path.join(str(self.project_dir), "oracle.json")

        def save(self):
            if not self._is_worker():
                self.oracle.save()

        def pre_create_trial(self):
            time.sleep(0.1)  # an oracle that is IDLE would be asked without end

        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            search.ended(trial)

        def search(self, *args, **kwargs):
            try:
                super().search(*args, **kwargs)
            except TimeIsUp:
                self.oracle.create_trial(self.tuner_id)  # which takes note of it

        def run_trial(self, trial, *args, **kwargs):
            trial_folder = Path(self.get_trial_dir(trial.trial_id))
            result = run_process(trial_folder, search.trial_request(trial), lambda: self._stopped(trial.trial_id))
            if result is None:
                raise TimeIsUp
            if result["status"] == "failed":
                raise keras_tuner.errors.FailedTrialError(result["reason"])
            return {**{name: result[name] for name in (*OBJECTIVES, "epochs", "seconds")}, "memory_mb": resident_mb()}

        def _stopped(self, trial_id):
            search.tick()
            try:
                return self.oracle.get_trial(trial_id).status == "STOPPED"
            except Exception as error:
                if self._is_worker():  # grpc's: not the trial's fault
                    raise Gone(str(error.code() if hasattr(error, "code") else error)) from None
                raise

    with contextlib.redirect_stdout(io.StringIO()):
        return Tuner(oracle, directory=str(folder), project_name="trials")


def run_process(folder, request, stopped):
    """Run a trial in a process of its own: its result, or None where it had to stop before its end (it keeps what it has).

    A result, or an unfinished training, that is in the folder already counts if it is of the same request.
    stopped: called every few seconds; True ends the trial.
    """
    result = folder / "result.json"
    try:
        same = json.loads((folder / "request.json").read_text(encoding="utf-8")) == json.loads(json.dumps(request))
    except (OSError, ValueError):
        same = False
    if not same:
        for path in (result, folder / "history.csv", folder / "log.txt"):
            path.unlink(missing_ok=True)
        trials.clean(folder)
        bundles.write_json(folder / "request.json", request)
    if not result.is_file():
        how = _run_child(folder, stopped)
        if how is None:
            return None
        if not result.is_file():
            lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
            bundles.write_json(result, {"status": "failed", "reason": f"its process ended {how}{': ' + lines[-1][:200] if lines else ''}"})
    trials.clean(folder)
    return json.loads(result.read_text(encoding="utf-8"))


def _run_child(folder, stopped):
    """How a trial's process ended, in words; None where it was told to."""
    told = False
    with open(folder / "log.txt", "ab") as log:
        child = subprocess.Popen([sys.executable, "-m", "cifar_lab.trials", str(folder), str(os.getpid())], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, env=_child_env())
    try:
        asked = time.monotonic()
        while child.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - asked > 2:
                asked = time.monotonic()
                if stopped():
                    told = True
                    _interrupt(child)
    except BaseException:
        _interrupt(child)
        raise
    if told and not (folder / "result.json").is_file():
        return None
    return f"by signal {-child.returncode}" if child.returncode < 0 else f"with exit code {child.returncode}"


def _interrupt(child):
    """Tell a trial to keep what it has and end, and wait until it has."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            child.send_signal(signal.SIGINT) if os.name == "posix" else child.terminate()
        child.wait()


def _child_env(**changes):
    """The environment of a process that runs this package, from wherever this one did."""
    path = os.pathsep.join(p for p in (str(bundles.CHECKOUT or ""), os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, **({"PYTHONPATH": path} if path else {}), **{k: str(v) for k, v in changes.items()}}


def draw(search):
    """search.png: a panel a hyperparameter; each trial's value against its number, coloured by score; the rounds' ranges."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    shown = search.all_trials()
    completed = [t for t in shown if t.status == "COMPLETED"]
    if not completed:
        return
    names, rounds = list(search.request.ranges), getattr(search.oracle, "rounds", [])
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 1 + 2.2 * len(names)), sharex=True, squeeze=False, layout="constrained")
    # the worst half alike: where the good ones lie is to be seen
    scores = sorted(t.score for t in completed)
    middle = scores[len(scores) // 2]
    low, high = (middle, scores[-1]) if OBJECTIVES[search.request.objective] == "max" else (scores[0], middle)
    for axis, name in zip(axes[:, 0], names):
        r = search.request.ranges[name]
        for i, this in enumerate(rounds):
            end = rounds[i + 1]["first_trial"] if i + 1 < len(rounds) else len(shown)
            if not r.options:
                axis.fill_between([this["first_trial"] - 0.5, end - 0.5], *map(r.value, this["ranges"][name]), color="0.9", lw=0)
        points = axis.scatter([int(t.trial_id) for t in completed], [values_of(t)[name] for t in completed],
                              c=[t.score for t in completed], vmin=low, vmax=high, s=22,
                              cmap="viridis" if OBJECTIVES[search.request.objective] == "max" else "viridis_r")
        failed = [t for t in shown if t.status == "FAILED"]
        axis.scatter([int(t.trial_id) for t in failed], [values_of(t)[name] for t in failed], marker="x", color="tab:red", s=22)
        axis.set_ylabel(name)
        if r.log or r.options and min(r.options) > 0:
            axis.set_yscale("log")
    axes[-1, 0].set_xlabel("trial (crosses failed; grey: the range of its round)")
    figure.colorbar(points, ax=axes[:, 0], label=search.request.objective)
    figure.savefig(search.folder / "search.png", dpi=110)
    plt.close(figure)
