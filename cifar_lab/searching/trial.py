"""One trial of a search, in a process of its own: what it leaks, and what kills it, ends with it.

`python -m cifar_lab.searching.trial FOLDER PARENT` trains what FOLDER/request.json describes by the
one training path, without looking at the test images, and leaves FOLDER/result.json. Killed, it
goes on where it was when it is run again. It ends when PARENT, the process of that number, does.
"""

import contextlib
import math
import os
import statistics
import sys
import threading
import time
from pathlib import Path

from .. import adjusting, backend, bundles, data, documents, networks, schema, terminal
from .. import recipe as recipes
from ..errors import InputError, is_machines, reason
from ..report import results

LEAST_PEERS = 5  # trials that the median rule needs


def main(folder, parent):
    end_with_parent(int(parent))
    folder = Path(folder)
    wait_for_lock(folder / "run")  # a process that is about to end with its own parent
    try:
        backend.start()
        result = _train(folder, schema.read_json(folder / "request.json"))
    except KeyboardInterrupt:  # what was trained is kept
        return 130
    except Exception as error:
        result = failed(_told(error), is_machines(error))
        clean(folder)  # it may be what the disk has no room for
    try:
        bundles.write_json(folder / "result.json", result)
    except OSError as error:
        terminal.say(f"{folder}: no result ({reason(error)})")
        return 1
    clean(folder)
    return 0


def failed(why, machines):
    """The result of a trial that failed. machines: whether for want of disk or memory, or because
    its process was ended: it is then tried again when the command runs again."""
    return {"status": "failed", "reason": why, "machines": machines}


def _told(error):
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {reason(error)[:300]}"


def clean(folder):
    """Remove the weights and the state of a trial that has ended: a search is for the recipe."""
    bundles.remove(folder / "run")
    bundles.state_path(folder / "run").unlink(missing_ok=True)


def wait_for_lock(output, seconds=30):
    """Until nobody else writes to a bundle's folder, or so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with bundles.locked(output):
                return
        except InputError:
            time.sleep(0.5)


def _train(folder, request):
    from .. import training

    try:
        documents.TRIAL_REQUEST.check(request)
    except schema.Wrong as error:
        raise InputError(f"request.json: {error}") from None
    recipe = recipes.changed(networks.resolve(request["rung"])[1], request["fields"], "trial")
    dataset = data.load(request["data"], request["data_dir"], recipe.input_shape)
    recipe, _ = adjusting.for_data(
        recipe, request["rung"], dataset, request["limit"], set(request["fields"])
    )
    output = folder / "run"
    watch = (
        [_behind(folder, output, request["objective"], request["direction"], recipe)]
        if request["stop_behind"]
        else []
    )
    card, _ = training.train(
        recipe,
        dataset,
        output,
        rung=request["rung"],
        seed=request["seed"],
        limit=request["limit"],
        resume=True,
        overwrite=True,
        test=False,
        callbacks=watch,
        notice=terminal.say,
    )
    rows = results.read_history(output)
    chosen = rows[card["epoch"] - 1]
    history = (output / "history.csv").read_bytes()
    bundles.write_file(folder / "history.csv", lambda file: file.write(history))
    if not math.isfinite(chosen[request["objective"]]):
        raise InputError(f"{request['objective']} is {chosen[request['objective']]}")
    names = ("val_accuracy", "val_loss", "accuracy", "loss")
    by_patience = recipe.patience and len(rows) - card["epoch"] >= recipe.patience
    stopped = len(rows) < recipe.epochs and not by_patience  # that is the recipe's own end
    return {
        "status": "stopped early" if stopped else "completed",
        "epochs": len(rows),
        "seconds": card["seconds"],
        "compile_seconds": card["compile_seconds"],
        **{name: chosen[name] for name in names},
    }


def _behind(folder, output, objective, direction, recipe):
    """A callback that stops a trial whose best so far is worse than the median of its peers' at
    that epoch (Golovin et al. 2017).

    Peers are the finished trials of the search on this machine, at least LEAST_PEERS; the first
    quarter of the epochs is free, and so are the cycles of weights to be averaged, whose history
    has other figures than a callback sees.
    """
    import keras

    from ..training import state

    better = max if direction == "max" else min
    peers = []
    for path in folder.parent.glob("*/history.csv"):
        with contextlib.suppress(InputError, OSError):  # one that cannot be read is no peer
            values = [row[objective] for row in results.read_history(path, ("epoch", objective))]
            peers.append([better(values[: i + 1]) for i in range(len(values))])

    class Behind(keras.callbacks.Callback):
        seen = [
            row[objective] for row in state.history_of_unfinished(output)
        ]  # before it was killed

        def on_epoch_end(self, epoch, logs=None):
            self.seen = [*self.seen, float(logs[objective])]
            others = [p[epoch] for p in peers if len(p) > epoch]
            if (
                not recipe.epochs / 4 <= epoch + 1 <= min(recipe.main_epochs, recipe.epochs - 1)
                or len(others) < LEAST_PEERS
            ):
                return
            best, median = better(self.seen), statistics.median(others)
            if best != median and better(best, median) == median:
                self.model.stop_training = True

    return Behind()


def end_with_parent(parent):
    """From now on this process ends when the one that started it does, however that ends.

    parent: the number of that process.
    """
    if os.name != "posix":  # elsewhere a process keeps its parent's number
        return

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
