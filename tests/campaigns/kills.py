"""Commands that are killed (SIGKILL) at any moment, and given again: what is left at the kill is
whole, and what they end with is what a command ends with that nobody killed.

    python tests/campaigns/kills.py --count 100 --log runs/kills.jsonl

Kill i is of a training, a search or an export in turn, on the embedded data set, at a moment drawn
from i alone: a share of the time that the command took undisturbed. The log has a line a kill; a
campaign goes on behind its last one. At the end one line of JSON says how many commands were
given, how many of them were faster than the kill, and how the killed ones ended: equal to one that
was not killed, or in what else.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cifar_lab import bundles, inference  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from support import SMALL_74, command_env  # noqa: E402

SECONDS = 600  # that a command may take: more is a hang
DATA = ("--data", "synthetic")


class Training:
    """train.py, five epochs of a network with dropout, on moved images."""

    name = "train"

    def prepare(self, place):
        """What it needs, beside the folders that it works in."""

    def words(self, folder):
        few = ("--limit", "400", "--epochs", "5", "--set", 'augmentation={"crop_padding": 2}')
        return ("train.py", "cifar10-74", *DATA, *few, *SMALL_74, "--resume", *_to(folder / "out"))

    def check(self, folder):
        """Raises InputError where what a kill left is neither there nor whole."""
        from cifar_lab.training import state  # imports Keras, which takes seconds

        output = folder / "out"
        if bundles.state_path(output).exists():
            state.read(bundles.state_path(output))
        if output.exists():
            bundles.load(output)

    def outcome(self, folder):
        """What two runs must share."""
        model, card = bundles.load(folder / "out")
        weights = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights()))
        return weights.hexdigest(), card["val_accuracy"], card["test_accuracy"]


class Search:
    """tune.py, three trials of an epoch."""

    name = "tune"

    def prepare(self, place):
        pass

    def words(self, folder):
        few = ("--trial-epochs", "1", "--trial-images", "200", "--max-trials", "3")
        ranges = ("--range", "learning_rate=1e-4:1e-1:log", "--range", "batch_size=16,32")
        return ("tune.py", "mnist-softmax", *DATA, *few, *ranges, *_to(folder / "search"))

    def check(self, folder):
        rows = folder / "search" / "trials.csv"
        if rows.exists():
            lines = rows.read_text().splitlines()
            if any(line.count(",") < lines[0].count(",") for line in lines):
                raise InputError(f"{rows}: has half a row")
        for path in (folder / "search").rglob("*.json"):
            json.loads(path.read_text())

    def outcome(self, folder):
        trials = sorted((folder / "search").glob("trials/*/result.json"))
        found = [json.loads(path.read_text()) for path in trials]
        return [(trial["status"], trial.get("val_loss")) for trial in found]


class Export:
    """export.py, to a file that numpy runs, over an older one."""

    name = "export"

    def prepare(self, place):
        ended(started(Training().words(place)))

    def words(self, folder):
        rest = ("--format", "numpy", "--overwrite", *DATA, *_to(folder / "model.npz"))
        return ("export.py", str(folder.parent / "out"), *rest)

    def check(self, folder):
        file = folder / "model.npz"
        if file.exists():
            try:
                inference.Classifier(file)
            except InputError as error:
                if "card" not in str(error):  # between two files: its card is the older one's
                    raise

    def outcome(self, folder):
        return bundles.file_sha256(folder / "model.npz")


def _to(path):
    return "--output", str(path)


def started(words):
    return subprocess.Popen(
        [sys.executable, str(ROOT / words[0]), *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=command_env(),
        start_new_session=True,
    )


def ended(process):
    """(exit code, standard error) of a command that nobody kills; InputError where it hangs."""
    try:
        _, lines = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise InputError("hang") from None
    if process.returncode or "Traceback" in lines:
        raise InputError(f"exit code {process.returncode}: {lines[-300:]}")


class Campaign:
    """The kills, and for each kind of command what it does undisturbed."""

    def __init__(self, place):
        self.place, self.known = place, {}

    def undisturbed(self, command):
        """(its outcome, seconds that it took)."""
        if command.name not in self.known:
            folder = self.place / f"{command.name}-undisturbed"
            folder.mkdir()
            command.prepare(self.place)
            start = time.monotonic()
            ended(started(command.words(folder)))
            self.known[command.name] = command.outcome(folder), time.monotonic() - start
        return self.known[command.name]

    def kill(self, command, share):
        """(killed?, "equal" or what else came of it): the command killed after this share of its
        time, and given again."""
        expected, seconds = self.undisturbed(command)
        folder = self.place / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        process = started(command.words(folder))
        try:
            process.wait(timeout=share * seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # this process alone: those that it started end by themselves
        process.wait()
        process.stderr.close()
        killed = process.returncode == -signal.SIGKILL
        try:
            command.check(folder)
            ended(started(command.words(folder)))
            command.check(folder)
            found = "equal" if command.outcome(folder) == expected else "different"
        except InputError as error:
            found = str(error)
        except Exception as error:  # what it left cannot be read
            found = f"{type(error).__name__}: {error}"
        rest = sorted(path.name for path in folder.iterdir() if ".tmp" in path.name)
        return killed, f"left behind: {', '.join(rest)}" if rest and found == "equal" else found


KINDS = (Training(), Search(), Export())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--log", type=Path, help="a line a kill; goes on behind its last")
    parser.add_argument("--kinds", nargs="+", choices=[kind.name for kind in KINDS])
    arguments = parser.parse_args(argv)
    kinds = [kind for kind in KINDS if kind.name in (arguments.kinds or [k.name for k in KINDS])]
    rows = []
    if arguments.log and arguments.log.is_file():
        rows = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as place:
        campaign = Campaign(Path(place))
        while len(rows) < arguments.count and time.monotonic() < until:
            number = len(rows)
            kind, share = kinds[number % len(kinds)], random.Random(number).uniform(0.2, 1)
            killed, found = campaign.kill(kind, share)
            row = {"number": number, "kind": kind.name, "share": round(share, 3)}
            rows.append({**row, "killed": killed, "outcome": found})
            if arguments.log:
                with open(arguments.log, "a") as log:
                    log.write(json.dumps(rows[-1]) + "\n")
    outcomes = Counter(row["outcome"] for row in rows if row["killed"])
    faster = sum(not row["killed"] for row in rows)
    print(json.dumps({"commands": len(rows), "faster": faster, "outcomes": dict(outcomes)}))
    return 0 if all(row["outcome"] == "equal" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
