"""A run: from a recipe and a data set to a bundle, with a lock, a state file, and its
resumption."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from .. import __version__, backend, bundle_data, bundles, history, memory, networks, provenance
from .. import recipe as recipes
from ..data import Dataset, is_on_disk, limited
from ..devices import Devices
from ..errors import InputError, reason
from ..processes import Team
from ..terminal import doing
from . import generated, progress, saving, state, together, transfer
from .guarded import Guarded
from .one_program import OneProgram
from .one_program import refuse as refuse_one_program
from .plan import Plan
from .progress import Interrupt
from .trainer import Trainer

#: Of a card, beside the test accuracy: what a command says of a finished run.
TOLD = ("epoch", "val_accuracy", "seconds", "compile_seconds")


def train(
    recipe: recipes.Recipe,
    dataset: Dataset,
    output: str | Path,
    *,
    rung: str,
    seed: int = 0,
    limit: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    tensorboard: str | None = None,
    command: str = "",
    notice: Callable[[str], Any] = lambda line: None,
    callbacks: Sequence = (),
    watching: Sequence[tuple[str, keras.callbacks.Callback]] = (),
    csv_log: str | Path | None = None,
    test: bool = True,
    save_weights: bool = False,
    one_program: bool = False,
    devices: Devices | None = None,
    team: Team | None = None,
) -> tuple[dict, bool]:
    """Train a recipe on a data set and leave a bundle.

    Args:
        recipe: what to train.
        dataset: whole; its images have the recipe's input shape.
        output: folder of the bundle.
        rung: the name that goes into the card.
        seed: 0 to 2**32 - 1.
        limit: number of train images to use, stratified; None for all.
        overwrite: replace a bundle, or an unfinished run, that is at `output`.
        resume: go on with the unfinished run at `output`; start where there is none.
        tensorboard: folder for TensorBoard's logs, or None.
        command: what the user typed, for the card.
        notice: called with lines for the user.
        callbacks: further keras.callbacks.Callback objects. What they are told at the end of a
            cycle (swa_share) are the figures of its own weights, not of the mean. Counters of
            theirs are not in the state file: a resumed run starts them anew.
        watching: (label, callback) of a user's own, which see a training and do not change it, see
            Guarded. The card names them.
        csv_log: a CSV file that has a row an epoch as soon as it is over, or None; see
            history.check_log. A resumed run goes on with it.
        test: whether the test images are looked at, once, at the end. Without, the card has no test
            figures.
        save_weights: whether the bundle also gets model.weights.h5, for `model.load_weights`; also
            one that was finished before.
        one_program: JAX: compile all epochs together, see `one_program`. Nothing is told of them
            before the end, and no state is kept.
        devices: what it trains on, see `devices.of`; None for one device. The losses are those of
            one device up to the order of sums, so a run may be resumed on others.
        team: the processes that train together, which have met. The first one writes; another one
            follows it, looks at no `output`, and is told when the bundle is written.

    Returns:
        (card, finished_before): the card as a dict, and whether the bundle was there already. In a
            process that follows, the card is empty.

    Raises:
        InputError: the request, the data or the disk does not allow it.
    """
    backend.require_training()
    output = Path(output)
    if csv_log is not None:
        history.check_log(csv_log, resume, overwrite)
    log = history.Log(csv_log) if csv_log is not None else None
    if limit is not None:
        dataset = limited(dataset, limit, seed)
    if one_program:
        _refuse_watchers(recipe, tensorboard, watching)
    plan = Plan.of(recipe, dataset, seed, scanned=one_program or None, devices=devices)
    bundle_data.check_start(recipe, dataset, notice)
    identity = _identity(plan, rung, limit)
    if one_program:
        identity["one_program"] = True
    if plan.parallel:
        identity["devices"] = plan.parallel.size
    if team is not None:
        together.agree(team, identity)
        if not team.first:
            return {}, together.follow(team, plan)
    run = _Run(plan, output, command, notice, test, save_weights, identity, log, team)
    bundles.prepare(output, bytes_needed=0)
    with bundles.locked(output):
        bundles.recover(output)
        earlier, card = run.found(overwrite, resume)
        if card is not None:
            network, _ = bundles.load(output)
            if save_weights:
                saving.add_weights(output, network)
            run.state_path.unlink(missing_ok=True)
            if log:
                path = output / "history.csv"
                run.log_epochs(lambda: log.begin(path.read_text(errors="replace")))
            if team is not None:
                together.lead(team, finished=True)
            return card, True
        board = progress.tensorboard(tensorboard) if tensorboard else None
        return run.go(earlier, callbacks, watching, board), False


@dataclass
class _Run:
    """One call of `train`: what it was asked for, and its steps.

    identity: what a resumed run must share with the one that it goes on with.
    log: of the epochs, where one is wanted.
    """

    plan: Plan
    output: Path
    command: str
    notice: Callable[[str], Any]
    test: bool
    save_weights: bool
    identity: dict
    log: history.Log | None = None
    team: Team | None = None

    @property
    def state_path(self) -> Path:
        return bundles.state_path(self.output)

    def found(self, overwrite: bool, resume: bool) -> tuple[dict | None, dict | None]:
        """(identity of the unfinished run to go on with, card of the finished one); None: neither.

        Raises InputError where what is there is neither to be resumed nor replaced.
        """
        if not resume:
            if not overwrite:
                bundles.refuse_existing(self.output)
            return None, None
        try:
            earlier, card = _resumable(self.state_path, self.output, self.identity)
            if card is not None:
                self._check_finished(card)
            return earlier, card
        except InputError:
            if not overwrite:
                raise
            return None, None

    def _check_finished(self, card: dict) -> None:
        """InputError where the card of a finished run lacks what is told of one."""
        needed = [*TOLD, "test_accuracy"] if self.test else TOLD
        lacking = [key for key in needed if card.get(key) is None]
        if lacking:
            raise InputError(
                f"{self.output / 'card.json'}: lacks {', '.join(lacking)}; `overwrite` starts over"
            )

    def go(
        self, earlier: dict | None, callbacks: Sequence, watching: Sequence = (), board: Any = None
    ) -> dict:
        """Train from the start, or from where the earlier run was: the card. board: TensorBoard's
        callback."""
        plan, recipe = self.plan, self.plan.recipe
        if self.team is not None:
            together.lead(self.team, self.state_path if earlier else None)
        with doing(self.notice, "building the network"):
            trainer = Trainer(plan)
        self._make_room(trainer)
        self._announce(trainer)
        if earlier:
            trainer.load_state(self.state_path)
            now = {k: v for k, v in self.identity.items() if k == "devices"}
            self.identity = {k: v for k, v in earlier.items() if k != "devices"} | now
            self.notice(f"resuming after epoch {len(trainer.history)} of {recipe.epochs}")
        else:
            self.identity = {**self.identity, "started": _now(), **provenance.source()}
        if board:
            board = Guarded(board, "TensorBoard", trainer, self.notice, compared=False)
            callbacks = [board, *callbacks]
        if watching:
            labels = {*self.identity.get("callbacks", ()), *(label for label, _ in watching)}
            self.identity["callbacks"] = sorted(labels)
            callbacks = [*callbacks, *(Guarded(c, n, trainer, self.notice) for n, c in watching)]
        try:
            if "one_program" in self.identity:
                self._together(trainer)
            else:
                self._epochs(trainer, callbacks, fresh=not earlier)
            network = trainer.bare_network()
            facts = saving.Facts(
                self.identity, self.command, self.test, self.notice, self.save_weights
            )
            card = bundles.write(
                self.output, lambda folder: saving.fill(folder, trainer, network, facts)
            )
        except OSError as error:
            raise InputError(
                f"{self.output}: cannot be written ({reason(error)}); epochs up to the last saved "
                "one are kept, `resume` goes on"
            ) from None
        self.state_path.unlink(missing_ok=True)
        return card

    def _together(self, trainer: Trainer) -> None:
        """All epochs as one program."""
        whole = OneProgram(trainer)
        with doing(self.notice, "compiling"):
            whole.compile()
        self.notice(f"compiled in {trainer.compile_seconds:.1f} s")
        with doing(self.notice, "training, until the end of all epochs"):
            rows = whole.run()
        self.notice(
            f"{len(rows)} epochs in {sum(row['seconds'] for row in rows):.1f} s  "
            f"val_accuracy {trainer.chosen_epoch()['val_accuracy']:.4f}"
        )
        if self.log:
            self.log_epochs(lambda: self.log.begin(history.as_csv(trainer.history)))

    def _epochs(self, trainer: Trainer, callbacks: list, fresh: bool) -> None:
        with Interrupt() as interrupt:
            with doing(self.notice, "compiling"):
                trainer.compile_step()
            if fresh or "callbacks" in self.identity:
                trainer.save_state(self.state_path, self.identity)
            if self.log:
                self.log_epochs(lambda: self.log.begin(history.as_csv(trainer.history)))
            self.notice(f"compiled in {trainer.compile_seconds:.1f} s")
            watchers = trainer.watchers(self.notice, interrupt, *callbacks)
            watchers.begin()
            while not (trainer.done or trainer.stopped):
                if not trainer.compiled:
                    with doing(self.notice, "compiling"):
                        trainer.compile_step()
                row = trainer.run_epoch(watchers)
                trainer.save_state(self.state_path, self.identity)
                if self.log:
                    self.log_epochs(lambda row=row: self.log.add(row))
                sets = self.plan.sets_after(row["epoch"])
                if sets > 1:
                    self.notice(
                        f"mean of {sets} sets of weights  val_loss {row['val_loss']:.4f}  "
                        f"val_accuracy {row['val_accuracy']:.4f}"
                    )
                interrupt.check()
            watchers.end()
            if trainer.out_of_patience:
                best = trainer.best(trainer.history)
                self.notice(
                    f"stopped after epoch {len(trainer.history)}: none since epoch {best['epoch']} "
                    "was better on the validation images"
                )

    def log_epochs(self, write: Callable[[], None]) -> None:
        """Write to the log. Where that fails it ends there, with a line."""
        try:
            write()
        except OSError as error:
            self.notice(f"no more rows in {self.log.path}: {reason(error)}")
            self.log = None

    def _make_room(self, trainer: Trainer) -> None:
        """InputError where the disk has no room: twice the state (the new one is written beside the
        old), and the model."""
        recipe = self.plan.recipe
        size = sum(v.nbytes for v in trainer.values())
        if recipe.keep == "best" or recipe.swa_cycles:
            size += sum(v.nbytes for v in trainer.network.get_weights())
        bundles.prepare(self.output, 2.5 * size + 8e6)

    def _announce(self, trainer: Trainer) -> None:
        plan, recipe = self.plan, self.plan.recipe
        sizes = len(plan.train_indices), len(plan.val_indices), len(plan.dataset.test_labels)
        self.notice(
            f"{self.identity['rung']} on {plan.dataset.name}: {sizes[0]:,} train, {sizes[1]:,} "
            f"validation, {sizes[2]:,} test images; {trainer.network.count_params():,} parameters"
        )
        if plan.streamed and not is_on_disk(plan.dataset.train_images):
            size = memory.in_words(plan.dataset.train_images.nbytes)
            self.notice(
                f"the images take {size}, over a quarter of the GPU's memory: they are sent to it "
                "as they are needed"
            )
        if trainer.begun:
            self.notice(trainer.begun)
        if recipe.swa_share and not recipe.swa_cycles:
            self.notice(
                f"no weights are averaged: {recipe.epochs} epochs have no cycle of "
                f"{recipe.swa_epochs} in their share of {recipe.swa_share:g}"
            )
        if trainer.generated:
            self.notice("augmentation by Keras' ImageDataGenerator, outside the compiled step")
            twice = generated.divided_twice(trainer.core, recipe)
            if twice:
                self.notice(twice)
            if self.save_weights and trainer.generated.settings.normalises:
                self.notice(
                    "note: model.weights.h5 will not hold augmentation's "
                    f"{', '.join(trainer.generated.settings.normalises)}: its network must be that "
                    "of model.keras"
                )
        self.notice(
            f"backend {keras.backend.backend()}, device {plan.device}, precision "
            f"{plan.precision}, seed {plan.seed}"
        )


def _refuse_watchers(recipe: recipes.Recipe, tensorboard: str | None, watching: Sequence) -> None:
    """InputError where epochs that are one program would have to be told of one by one."""
    refuse_one_program(recipe)
    for name, given in (("tensorboard", tensorboard), ("callback", watching)):
        if given:
            raise InputError(
                f"`{name}`: is told of each epoch, of which `one_program` knows at the end alone"
            )


def _identity(plan: Plan, rung: str, limit: int | None) -> dict:
    """What decides a run, as JSON types."""
    identity = {
        "rung": rung,
        "recipe": plan.recipe.as_dict(),
        "seed": plan.seed,
        "limit": limit,
        "data_sha256": plan.dataset.train_sha256(),
        "backend": keras.backend.backend(),
        "precision": plan.precision,
        "version": __version__,
    }
    if not networks.is_packaged(plan.recipe):  # its file may change
        identity["network"] = networks.description_sha256(plan.build())
    if plan.recipe.start:
        identity["start_sha256"] = transfer.start_sha256(plan.recipe)
    return identity


def _resumable(state_path: Path, output: Path, identity: dict) -> tuple[dict | None, dict | None]:
    """(the unfinished run at `output`, the card of the finished one), None for what is not there.

    Raises InputError where what is there has other settings, or is damaged.
    """
    if state_path.exists():
        earlier = state.identity(state_path)
        _refuse_changes(state_path, earlier, identity)
        with contextlib.suppress(InputError):  # no bundle, or an older one that this run replaces
            card = bundles.read_card(output)
            if card.get("started") == earlier["started"]:  # killed after the bundle was written
                return None, card
        return earlier, None
    if bundles.occupied(output):
        card = bundles.read_card(output)
        _refuse_changes(output, _identity_of(card), identity)
        return None, card
    return None, None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _identity_of(card: dict) -> dict:
    """What identifies the run that left a card, in the form of a state's."""
    found = {key: card[key] for key in ("rung", "recipe", "seed", "data_sha256")}
    found["limit"] = bundle_data.own(card).get("limit")
    found["recipe"] = bundles.stored_recipe(card)
    return found | {key: card[key] for key in ("network", "start_sha256") if card.get(key)}


def _refuse_changes(path: Path, before: dict, now: dict) -> None:
    """InputError where a run to be resumed was started with other settings."""

    def comparable(run: dict) -> dict:
        fields = recipes.completed(run["recipe"]).items()
        return {**run, "recipe": {k: v for k, v in fields if k not in recipes.WORDS}}

    before, now = comparable(before), comparable(now)
    keys = ("rung", "seed", "limit", "backend", "precision", "version", "recipe", "data_sha256")
    for key in (*keys, "network", "start_sha256"):
        if key not in before or before[key] == now.get(key):
            continue
        was, is_now = before[key], now.get(key)
        if key == "recipe":
            field = next((f for f in now[key] if before[key].get(f) != now[key][f]), "fields")
            raise InputError(
                f"{path}: `resume` with another recipe: {field} was {before[key].get(field)!r}, "
                f"is now {now[key].get(field)!r}; `overwrite` starts over"
            )
        raise InputError(
            f"{path}: `resume` with other settings: {key} was {was!r}, is now {is_now!r}; "
            "`overwrite` starts over"
        )
