"""A search at work in its folder: alone, as the chief of workers, or as one of these."""

import contextlib
import os
import re
import secrets
import subprocess
import time
from pathlib import Path

from .. import backend, bundles, networks
from ..errors import InputError
from ..terminal import chosen, clock, printable
from . import picture, process, space, table
from .request import refuse_changes, refuse_links
from .signing import SECRET

CHIEF_SECONDS = 60  # that a worker waits for its chief
MOST_LINES = 20  # about messages that a chief refused
MOST_IN_A_ROW = 3  # trials that the machine fails before the search ends
AGAIN = "see to it, and the same command tries again"


class Search:
    """A search in a folder.

    Args:
        request: request.Request.
        folder: where it lives.
        data_dir: for the trials.
        max_trials, max_minutes: bounds of the whole search, its earlier parts included; or None.
        notice: called with lines for the user.
        command: for search.json.
        worker: whether a chief elsewhere decides.

    Raises:
        InputError: the folder holds something else, or a search with other settings.
    """

    def __init__(
        self,
        request,
        folder,
        data_dir,
        max_trials,
        max_minutes,
        notice,
        command="",
        worker=False,
    ):
        backend.require_training()
        for name in process.CHIEFS:  # who is whose worker is said by the command alone
            os.environ.pop(name, None)
        self.request, self.folder, self.data_dir = request, Path(folder), data_dir
        self.notice, self.command, self.worker = notice, command, worker
        _, self.recipe = networks.resolve(request.rung)
        earlier = None if worker else refuse_changes(folder, request)
        self.written, self.max_trials, self.in_a_row = 0.0, max_trials, 0
        self.before, self.started = (earlier or {}).get("seconds", 0.0), time.time()
        deadline = None
        if max_minutes is not None:
            deadline = self.started + max(0.0, 60 * max_minutes - self.before)
        from . import oracles

        self.oracle = oracles.build(
            request.strategy,
            request.ranges,
            request.objective,
            request.direction,
            request.seed,
            limit=max_trials or 10**9,
            deadline=deadline,
            max_epochs=request.trial_epochs or self.recipe.epochs,
            digest=request.sha256(),
        )

    # --- alone, chief, worker ---

    def run(self):
        """Search in this process until a bound is met: the summary, a dict."""
        with self._at_work():
            self.tuner.search()
        return self._outcome()

    def run_as_chief(self, host, port, workers=0, worker_command=(), secret=b""):
        """Hand trials to workers until a bound is met: the summary.

        host, port: what to listen on; port 0 for any.
        secret: that workers must know; b"": none. Workers of its own are told one.
        workers: processes to start here; one that dies is started again.
        worker_command: theirs, to which the address and a name are added.
        """
        from . import chief

        team, told = {}, set()
        if workers:  # nobody else on this machine takes part
            secret = secrets.token_hex(32).encode()

        def start(name, port):
            threads = max(1, backend.cores() // workers)
            words = ["--chief", f"127.0.0.1:{port}", "--worker-id", name]
            with bundles.append_to(self.folder / f"{name}.log") as log:
                team[name] = subprocess.Popen(
                    [*worker_command, *words, "--end-with-parent", str(os.getpid())],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    env=process.child_env(
                        TF_NUM_INTRAOP_THREADS=threads, **{SECRET: secret.decode()}
                    ),
                )

        def started(port):
            warning = "" if secret else ": whoever is on this machine can take part"
            self.notice(f"chief listens on {host}:{port}{warning}")
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
            for name, worker in list(team.items()):
                if worker.poll() not in (None, 0) and not self.oracle.finished():
                    deaths.append(len(shown))
                    if deaths.count(len(shown)) > 5 * workers:
                        raise InputError(
                            f"{name}: ended with exit code {worker.returncode} again and again, "
                            f"see {self.folder / name}.log"
                        )
                    self.notice(f"{name} died ({worker.returncode}) and is started again")
                    self.oracle.allow(name)
                    start(name, self.port)

        def refused(line):
            if len(told) < MOST_LINES and line not in told:
                told.add(line)
                self.notice(f"refused: {line}")

        with self._at_work():
            try:
                chief.serve(self.oracle, host, port, started, watch, secret, refused)
                watch()
            finally:
                for worker in team.values():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        worker.wait(10)
                    if worker.poll() is None:
                        worker.terminate()
        return self._outcome()

    def run_as_worker(self, host, port, name, secret=b""):
        """Take trials from a chief until it says that the search is over.

        secret: the chief's.

        Raises:
            InputError: it does not answer, refuses this worker, or searches for something else.
        """
        os.environ.update(process.worker_env(host, port, name))
        import grpc
        from keras_tuner.src.distribute import oracle_client

        from . import signing
        from . import tuner as tuners

        oracle_client.TIMEOUT = CHIEF_SECONDS  # KerasTuner's is an hour
        self.folder.mkdir(parents=True, exist_ok=True)
        refuse_links(self.folder)
        path = self.folder / "search.json"
        if not path.exists():  # on a machine of its own: the folder is a search's
            own = {"request": self.request.as_dict(), "seconds": 0.0, "command": self.command}
            bundles.write_json(path, own)
        tuner = tuners.make(self.oracle, self.folder, self)
        chiefs = f"`chief` {host}:{port}"
        try:
            tuner.oracle.stub = signing.Stub(host, port, secret)
            asked = [hp.value for hp in tuner.oracle.get_space().space if hp.name == "search"]
            if self.request.sha256() not in asked:
                raise InputError(
                    f"{chiefs}: searches with other settings or data than this worker's"
                )
            tuner.search()
        except grpc.RpcError as error:
            raise InputError(f"{chiefs}: {tuners.said(error)}") from None
        except (tuners.ChiefGone, ConnectionError) as error:
            raise InputError(f"{chiefs}: {error}") from None
        except tuners.MachineFailed as error:
            raise InputError(str(error)) from None

    @contextlib.contextmanager
    def _at_work(self):
        from . import tuner as tuners

        self.folder.mkdir(parents=True, exist_ok=True)
        with bundles.locked(self.folder):
            # before anything that would make the folder a stranger's
            if not (self.folder / "search.json").exists():
                self.write()
            self.tuner = tuners.make(self.oracle, self.folder, self)
            self.write()
            try:
                yield
            except BaseException as error:
                with contextlib.suppress(OSError):
                    self._end()
                if isinstance(error, tuners.MachineFailed):
                    raise InputError(f"{error}; what was tried is kept, {AGAIN}") from None
                raise
            self._end()

    def _end(self):
        """Write what is known when the search ends."""
        getattr(self.notice, "live", lambda line: None)("")
        self.write()
        picture.draw(self)

    def _outcome(self):
        """The summary. InputError where every trial failed."""
        summary = table.summary(self)
        if summary["trials"] == summary["failed"] > 0:
            last = self.oracle.trials[self.oracle.end_order[-1]]
            how = "other ranges may do, `overwrite` starts over"
            if table.is_machines(self.folder, last):
                how = AGAIN
            raise InputError(
                f"{self.folder}: every trial failed ({summary['failed']}), the last because: "
                f"{table.reason_of(self.folder, last)}; {how}"
            )
        return summary

    # --- trials ---

    def strange(self, trial):
        """Why a trial, a chief's or a file's, is none of this search; "" where it is one."""
        values, ranges = table.values_of(trial), self.request.ranges
        if not re.fullmatch("[0-9]{1,9}", trial.trial_id):
            return f"a trial is called {printable(trial.trial_id)[:100]!r}: must be a number"
        told = f"trial {int(trial.trial_id)}"
        for name, value in values.items():
            if name not in ranges:
                return f"{told}: sets {printable(name)[:100]!r}, which is not searched"
            if not ranges[name].holds(value):
                said = printable(str(value))[:100]
                return f"{told}: {name} must be in {ranges[name].as_text()}, received {said}"
        return ""

    def trial_request(self, trial):
        """What a trial's process is told."""
        request = self.request
        fields = space.recipe_fields(self.recipe, table.values_of(trial))
        epochs = trial.hyperparameters.values.get("tuner/epochs", request.trial_epochs)
        if epochs is not None:
            fields["epochs"] = int(epochs)
        return {
            "rung": request.rung,
            "fields": fields,
            "data": request.data,
            "data_dir": self.data_dir,
            "seed": request.seed,
            "limit": request.trial_images,
            "objective": request.objective,
            "direction": request.direction,
            "stop_behind": request.stop_behind,
        }

    def ended(self, trial):
        """Called when a trial has ended: tell the user, and write what is known."""
        number = f"trial {int(trial.trial_id):>3}"
        if self.worker:
            done = trial.status == "COMPLETED"
            self.notice(f"{number}  {'completed' if done else self._failure(trial)}")
            return
        self.write()
        trial = self.oracle.trials[trial.trial_id]
        if trial.score is not None and trial.status == "COMPLETED":
            told = f"{self.request.objective} {trial.score:.4f}"
        else:
            told = self._failure(trial)
        self.in_a_row = self.in_a_row + 1 if table.is_machines(self.folder, trial) else 0
        best = self.best()
        top = f"   best {best.score:.4f} (trial {int(best.trial_id)})" if best else ""
        values = "  ".join(f"{k} {space.told(v)}" for k, v in self.used_by(trial).items())
        self.notice(f"{number}  {told}   {values}{top}")
        if self.in_a_row == MOST_IN_A_ROW:
            why = table.reason_of(self.folder, trial)
            raise InputError(
                f"{self.folder}: {MOST_IN_A_ROW} trials in a row failed for want of disk, memory "
                f"or a living process, the last because: {why}; {AGAIN}"
            )

    def _failure(self, trial):
        """In words: why a trial failed, and whether it is tried again."""
        again = ""
        if table.is_machines(self.folder, trial):
            again = " (it is tried again when the command runs again)"
        return f"failed: {table.reason_of(self.folder, trial)[:200]}{again}"

    def tick(self):
        """Called again and again while trials run: what a kill would forget is written twice a
        minute, and a terminal shows how far it is."""
        if hasattr(self.notice, "live"):
            self.notice.live(self._how_far())
        if not self.worker and time.monotonic() - self.written > 30:
            self.write()

    def _how_far(self):
        """A line of what runs, what is done, what is the best so far, and the time it took."""
        trials, best = self.all_trials(), None if self.worker else self.best()
        running = [t for t in trials if t.status == "RUNNING"]
        done, limit = len(trials) - len(running), self.max_trials
        epochs = [table.last_epoch_of(self.folder, trial) for trial in running]
        names = ", ".join(str(int(trial.trial_id)) for trial in running)
        parts = [
            (f"{done} of {limit} trials" if limit else f"{done} trials", 0),
            (f"running {names}" if names else "", 2),
            (f"epoch {', '.join(filter(None, epochs))}" if any(epochs) else "", 3),
            (f"best {best.score:.4f}" if best else "", 1),
            (clock(self.before + time.time() - self.started), 4),
        ]
        columns = getattr(self.notice, "columns", 80) - 1
        return chosen(parts, columns, done / limit if limit else None)

    def write(self):
        """search.json, trials.csv and, once a trial has completed, best_recipe.json."""
        self.written = time.monotonic()
        table.write(self)

    def all_trials(self):
        """All trials in order; a chief's oracle begins others meanwhile."""
        return [trial for _, trial in sorted(list(self.oracle.trials.items()))]

    def used_by(self, trial):
        """{name: value} of a trial, without what its optimizer and schedule do not use."""
        return space.used(self.recipe, table.values_of(trial))

    def best(self):
        """The best completed trial, the first of equals; None where there is none."""
        sign = -1 if self.request.direction == "max" else 1
        done = [t for t in self.all_trials() if t.status == "COMPLETED" and t.score is not None]
        return min(done, key=lambda t: (sign * t.score, t.trial_id), default=None)
