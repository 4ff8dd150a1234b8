"""Running a trial in a process of its own: started, watched, told to stop."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from .. import bundles, documents, paths, schema
from ..errors import InputError
from . import table
from . import trial as trial_process

#: Runs a module of this package in a process: -P, so that no file of the working folder, such as a
#: random.py, stands in for a module of Python's.
PYTHON = (sys.executable, "-P", "-m")
#: Variables that would make KerasTuner the worker of another chief.
CHIEFS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
#: What is no matter of a trial's: a library's warning that is an error would fail every one.
UNHEARD = (*CHIEFS, "PYTHONWARNINGS")
AGAIN = "; without this file the trial is trained again"


def run(folder, request, stopped):
    """A trial's result, or None where it had to stop before its end (it keeps what it has).

    A result, or an unfinished training, that is in the folder already counts if it is of the same
    request.

    folder: Path of the trial.
    request: dict, see trial.py.
    stopped: called every few seconds; True ends the trial.
    """
    result = folder / "result.json"
    try:
        before = schema.read_json(folder / "request.json")
        same = before == json.loads(json.dumps(request))
    except (OSError, InputError):
        same = False
    if same and table.result_in(folder).get("machines"):
        bundles.remove_file(result)
    if not same:
        for path in (result, folder / "history.csv", folder / "log.txt"):
            path.unlink(missing_ok=True)
        trial_process.clean(folder)
        bundles.write_json(folder / "request.json", request)
    if not result.is_file():
        how = _run_child(folder, stopped)
        if how is None:
            return None
        if not result.is_file():
            lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
            last = f": {lines[-1][:200]}" if lines else ""
            why = f"its process ended {how}{last}"
            bundles.write_json(result, trial_process.failed(why, machines=True))
    trial_process.clean(folder)
    return _result(result)


def _result(path):
    """What a trial's process left. Raises InputError."""
    found = schema.read_json(path, documents.RESULT, AGAIN)
    try:
        (documents.FAILED if found["status"] == "failed" else documents.COMPLETED).check(found)
    except schema.Wrong as error:
        raise InputError(f"{path}: {error}{AGAIN}") from None
    return found


def _run_child(folder, stopped):
    """How a trial's process ended, in words; None where it was told to."""
    told = False
    command = [*PYTHON, trial_process.__name__, str(folder), str(os.getpid())]
    with bundles.append_to(folder / "log.txt") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=child_env()
        )
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
    code = child.returncode
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


def _interrupt(child):
    """Tell a trial to keep what it has and end, and wait until it has."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            child.send_signal(signal.SIGINT) if os.name == "posix" else child.terminate()
        child.wait()


def child_env(**changes):
    """The environment of a process that runs this package, from wherever this one did."""
    words = (str(paths.CHECKOUT or ""), os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(word for word in words if word)
    changed = {k: str(v) for k, v in changes.items()}
    own = {name: value for name, value in os.environ.items() if name not in UNHEARD}
    return {**own, **({"PYTHONPATH": path} if path else {}), **changed}


def worker_env(host, port, name):
    """What makes a process the worker `name` of the chief at an address, which is reached directly
    whatever http_proxy says: {variable: value}."""
    own = dict(zip(CHIEFS, (host, str(port), name), strict=True))
    return {**own, "no_grpc_proxy": host}


def resident_mb():
    """Resident memory of this process, 0 where that cannot be told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0
