"""Every rung over n seeds on this machine, a line a run; or the runs that the ladder lacks.

    python benchmarks/ladder.py --data-dir DIR --output OUT [--rungs cifar10-74 ...]
                                [--seeds 5] [--first-seed 0] [--alone]
    python benchmarks/ladder.py --plan [--data-dir DIR] [--rungs cifar10-74 ...]
    python benchmarks/ladder.py --next --data-dir DIR --output OUT [--minutes M]

Runs on every backend, also where TensorFlow is not installed:
KERAS_BACKEND=jax python benchmarks/ladder.py ...

Each run is trained by the path of train.py (compilation apart, the whole recipe), leaves its bundle
in OUT/RUNG-seedS, prints one JSON object on a line, and adds its row to OUT/results/RUNG.json, in
the form of the repository's results/; `python -m cifar_lab record OUT/RUNG-seedS` adds it there.
Killed and started again, it goes on where it was: what is finished is printed, not trained again.
After each rung a line with n, mean and standard deviation. A run that fails, one that diverges for
example, prints a line with "error", the others go on, and the exit code is 2.

--alone measures what other programs take of the processor, in each run and for ten seconds before
and after it, and writes into card and row whether the run had the machine for itself. Of a run that
was stopped and resumed it claims nothing.

--plan prints what is missing, rung by seed, and how long it will take here: each rung wants so many
seeds, and some want so many times of a machine that does nothing else (cifar_lab/ladder). Runs on
another copy of the data do not count; with --data-dir the copy there is looked at.

--next trains the run that matters most, and adds its row to results/ (--results FOLDER: there). It
checks as --alone does whether anything else runs; while something does, it takes no run that lacks
its time alone. With --minutes M it goes on to further runs, and ends within M minutes: what is
unfinished by then is kept in OUT, and the next call goes on with it.
`python -m cifar_lab record` then renews the tables.

On JAX with a GPU an epoch is one compiled program. Each seed compiles anew, which is not in its
seconds; JAX's own setting JAX_COMPILATION_CACHE_DIR=FOLDER keeps what was compiled. --epochs N and
--limit N make it a rehearsal: such runs print their lines and enter no results.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import shared  # noqa: E402

from cifar_lab import backend, cli, ladder, provenance  # noqa: E402
from cifar_lab.errors import InputError  # noqa: E402
from cifar_lab.recipe import changed  # noqa: E402
from cifar_lab.report import evidence  # noqa: E402

KEYS = (
    "rung",
    "seed",
    "test_accuracy",
    "val_accuracy",
    "seconds",
    "compile_seconds",
    "epoch",
    "backend",
    "device",
    "precision",
    "alone",
)
SPARE = 1.1  # an epoch may take so many times as long as expected


def main(argv):
    parser = cli.Parser(
        prog="ladder.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", metavar="DIR")
    parser.add_argument("--output", metavar="OUT")
    parser.add_argument("--rungs", nargs="+", choices=ladder.LADDER, metavar="RUNG")
    parser.add_argument("--seeds", type=cli.whole(1), metavar="N", help="default 5")
    parser.add_argument("--first-seed", type=cli.whole(0, 2**31), metavar="N", help="default 0")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="check whether anything else runs, and say so in the row",
    )
    parser.add_argument("--epochs", type=cli.whole(1), metavar="N")
    parser.add_argument("--limit", type=cli.whole(1), metavar="N")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="print which runs are missing")
    what.add_argument("--next", action="store_true", help="train the one that matters most")
    parser.add_argument("--minutes", type=cli.whole(1), metavar="M", help="with --next")
    parser.add_argument("--results", metavar="FOLDER", help="with --plan and --next")
    args = parser.parse_args(argv)
    queued = args.plan or args.next
    if not (args.plan or args.output):
        parser.error("--output: needed, the folder of the runs")
    for name in ("seeds", "first_seed", "alone", "epochs", "limit"):
        if queued and getattr(args, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            parser.error(f"{option}: not with {'--plan' if args.plan else '--next'}")
    for name, fits in (("minutes", args.next), ("results", queued)):
        if getattr(args, name) is not None and not fits:
            parser.error(
                f"--{name}: only with {'--next' if name == 'minutes' else '--plan or --next'}"
            )
    if args.plan:
        return plan(args)
    return queue(args) if args.next else run(args)


def run(args):
    from cifar_lab import paths

    output = Path(args.output).resolve()
    if output == paths.CHECKOUT:
        raise InputError(
            "--output: must not be the checkout itself, whose results/ takes runs "
            "through `python -m cifar_lab record`"
        )
    backend.start()

    from cifar_lab.report import results

    (output / "results").mkdir(parents=True, exist_ok=True)
    whole, failed = args.epochs is None and args.limit is None, False
    chosen = {rung: ladder.get(rung).recipe for rung in args.rungs or ladder.LADDER}
    if args.epochs:
        chosen = {
            rung: changed(recipe, {"epochs": args.epochs}, "--epochs")
            for rung, recipe in chosen.items()
        }
    # all of them, before the first training
    datasets = {_wanted(recipe): None for recipe in chosen.values()}
    for wanted in datasets:
        datasets[wanted] = _load(wanted, args.data_dir)
    first = args.first_seed or 0
    for rung, recipe in chosen.items():
        cards = []
        for seed in range(first, first + (args.seeds or 5)):
            bundle = output / f"{rung}-seed{seed}"
            idle = provenance.Idle() if args.alone and _fresh(bundle) else None
            try:
                card = one(
                    rung, recipe, datasets[_wanted(recipe)], seed, bundle, idle, limit=args.limit
                )
                if whole:
                    results.record(bundle, output / "results")
            except InputError as error:
                failed = True
                print(json.dumps({"rung": rung, "seed": seed, "error": str(error)}), flush=True)
                continue
            print(json.dumps({k: card.get(k) for k in KEYS}), flush=True)
            cards.append(card)
        if not cards:
            continue
        tests, seconds = [c["test_accuracy"] for c in cards], [c["seconds"] for c in cards]
        print(
            json.dumps(
                {
                    "rung": rung,
                    "n": len(cards),
                    "mean": statistics.fmean(tests),
                    "sd": statistics.stdev(tests) if len(tests) > 1 else None,
                    "median_seconds": statistics.median(seconds),
                    "promise": recipe.promise,
                    "whole_recipe": whole,
                    "versions": cards[-1]["versions"],
                }
            ),
            flush=True,
        )
    return cli.WRONG if failed else cli.OK


def one(rung, recipe, dataset, seed, bundle, idle, limit=None, callbacks=(), anew=False):
    """Train one run, or go on with it; its card. idle: provenance.Idle, or None; anew: whatever is
    there is replaced."""
    import keras

    from cifar_lab import bundles, training
    from cifar_lab.report import results

    keras.backend.clear_session()
    gc.collect()
    card, _ = training.train(
        recipe,
        dataset,
        bundle,
        rung=rung,
        seed=seed,
        limit=limit,
        resume=not anew,
        overwrite=anew,
        command=cli.command_line("benchmarks/ladder.py", sys.argv[1:]),
        notice=shared.notice,
        callbacks=callbacks,
    )
    if idle:
        alone = idle.alone()
        results.claim(bundle, alone, idle.during())
        card = bundles.read_card(bundle)
    return card


def _fresh(bundle):
    """Whether no run left anything there."""
    from cifar_lab import bundles

    return not (bundles.occupied(bundle) or bundles.state_path(bundle).exists())


def _wanted(recipe):
    return recipe.data, recipe.input_shape


def _load(wanted, data_dir):
    from cifar_lab import data

    return data.load(wanted[0], data_dir, wanted[1])


# --- what is missing ---------------------------------------------------------------------------


def plan(args):
    if args.results and not Path(args.results).is_dir():
        raise InputError(f"--results: must be a folder, received {args.results}")
    backend.start()
    found = _missing(args, _digests(args) if args.data_dir else None)
    rows, total, unknown = [], 0.0, 0
    for rung in dict.fromkeys(run.rung for run in found):
        runs = sorted((run for run in found if run.rung == rung), key=lambda run: run.seed)
        seconds = runs[0].seconds
        unknown += len(runs) * (seconds is None)
        total += len(runs) * (seconds or 0.0)
        told = "unknown" if seconds is None else f"{seconds / 60:.1f}"
        rows.append(
            [
                f"`{rung}`",
                ", ".join(f"{run.seed}" for run in runs if run.counts),
                ", ".join(f"{run.seed}" for run in runs if run.alone),
                f"{told}, elsewhere" if runs[0].elsewhere else told,
            ]
        )
    if not rows:
        print("nothing is missing")
        return cli.OK
    print(shared.markdown(["rung", "seeds that lack", "times that lack", "minutes each"], rows))
    hours = f"{len(found)} runs: {total / 3600:.1f} hours on {backend.device()[1]}"
    print(f"\n{hours}, and {unknown} of unknown length" if unknown else f"\n{hours}")
    return cli.OK


def _missing(args, digests):
    """evidence.missing on this machine. digests: as there."""
    return evidence.missing(
        backend.device()[1], args.rungs, args.results, digests, provenance.processor_model()
    )


def _digests(args):
    """{rung: SHA-256 of the train images that are here}."""
    known = {}
    for rung in args.rungs or ladder.LADDER:
        wanted = _wanted(ladder.get(rung).recipe)
        if wanted not in known:
            known[wanted] = _load(wanted, args.data_dir).train_sha256()
    return {rung: known[_wanted(ladder.get(rung).recipe)] for rung in args.rungs or ladder.LADDER}


# --- the queue ---------------------------------------------------------------------------------


class Over(Exception):
    """The minutes are over."""


class Minutes:
    """Ends what runs in it after so many minutes, as Ctrl-C would, by Over; None: never."""

    def __init__(self, minutes):
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.over = False

    @property
    def left(self):
        """Seconds."""
        return float("inf") if self.end is None else self.end - time.monotonic()

    def stop(self):
        """Ends the run where its state is whole."""
        if self.over:
            return
        self.over = True
        os.kill(os.getpid(), signal.SIGINT)

    @contextlib.contextmanager
    def kept(self):
        timer = None
        if self.end is not None:
            timer = threading.Timer(max(self.left, 0.0), self.stop)
            timer.daemon = True
            timer.start()
        try:
            yield
        except KeyboardInterrupt:
            if not self.over:
                raise
            raise Over from None
        finally:
            if timer:
                timer.cancel()

    def watcher(self, recipe):
        """A Keras callback that stops before an epoch for which no time is left."""
        import keras

        from cifar_lab import phases

        class Watcher(keras.callbacks.Callback):
            def on_epoch_begin(watcher, epoch, logs=None):
                watcher.start = time.monotonic()

            def on_epoch_end(watcher, epoch, logs=None):
                if epoch + 1 == recipe.epochs:
                    return
                more = phases.work_of(recipe, epoch + 1) / phases.work_of(recipe, epoch)
                if SPARE * more * (time.monotonic() - watcher.start) > self.left:
                    self.stop()

        return Watcher()


def queue(args):
    minutes = Minutes(args.minutes)
    backend.start()
    output = Path(args.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    if args.results:
        Path(args.results).mkdir(parents=True, exist_ok=True)
    digests, failed = _digests(args), set()
    while _next(args, output, digests, minutes, failed):
        if args.minutes is None or minutes.left < 30:
            break
    return cli.WRONG if failed else cli.OK


def _next(args, output, digests, minutes, failed):
    """Do one run: whether there may be another. failed: runs to leave out, which it adds to."""
    from cifar_lab import bundles
    from cifar_lab.report import results

    found = _missing(args, digests)
    found = [run for run in found if (run.rung, run.seed) not in failed]
    if not found:
        shared.notice("nothing is missing")
        return False
    idle = provenance.Idle()
    place = {run: output / f"{run.rung}-seed{run.seed}" for run in found}
    begun = [run for run in found if bundles.state_path(place[run]).exists()]
    run = evidence.choose(found, idle.quiet(), begun, minutes.left)
    if run is None:
        shared.notice(
            f"{len(found)} runs lack only their times: that needs a machine that does nothing else"
            f"{', for long enough' if args.minutes else ''}; none was started"
        )
        return False
    bundle, recipe = place[run], ladder.get(run.rung).recipe
    shared.notice(f"next: {run.rung}, seed {run.seed}{'' if run.counts else ', for its time'}")
    try:
        with minutes.kept():
            card = one(
                run.rung,
                recipe,
                _load(_wanted(recipe), args.data_dir),
                run.seed,
                bundle,
                idle if _fresh(bundle) or not run.counts else None,
                callbacks=[minutes.watcher(recipe)],
                anew=not run.counts,  # of a resumed run no time counts
            )
    except Over:
        shared.notice(f"{args.minutes} minutes are over: the next call goes on with {bundle}")
        return False
    except InputError as error:
        failed.add((run.rung, run.seed))
        print(json.dumps({"rung": run.rung, "seed": run.seed, "error": str(error)}), flush=True)
        return True
    results.record(bundle, args.results)
    print(json.dumps({k: card.get(k) for k in KEYS}), flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(cli.guarded("ladder.py", main, sys.argv[1:]))
