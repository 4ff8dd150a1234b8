"""What a finished training leaves: the bundle's files."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from .. import (
    backend,
    bundles,
    calibration,
    evaluation,
    history,
    phases,
    provenance,
    terminal,
    weights,
)
from ..data import Dataset, only, picture_digests
from ..errors import InputError, reason
from ..report import figures
from .trainer import Trainer

# Of a run's identity, in the card where the run had them
OPTIONAL = ("network", "start_sha256", "callbacks", "one_program", "devices")
MOST_PICTURES = 20_000  # of a folder whose card has a digest of each


@dataclass(frozen=True)
class Facts:
    """What a card says beside the training itself.

    identity: of the run, see run._identity.   command: what the user typed.   test: whether the
    test images are looked at.   notice: called with lines for the user.   save_weights: whether a
    plain weights file is left too.
    """

    identity: dict
    command: str
    test: bool
    notice: Callable[[str], Any]
    save_weights: bool = False


def fill(folder: Path, trainer: Trainer, network: keras.Model, facts: Facts) -> dict:
    """Save the network, test it from the saved file, write card and history into an empty folder:
    the card."""
    with terminal.doing(facts.notice, "saving"):
        network.save(folder / "model.keras")
        bundles.pack(folder / "model.keras")
    if facts.save_weights:
        network.save_weights(folder / weights.FILE)
    card = _card(folder, trainer, network, facts)
    bundles.write_json(folder / "card.json", card)
    if facts.test:
        model, _ = bundles.load(folder)  # what is tested is the file, not the network in memory
        dataset = trainer.plan.dataset
        with terminal.doing(facts.notice, f"testing on {len(dataset.test_labels):,} images"):
            found = evaluation.evaluate(
                model, dataset.test_images, dataset.test_labels, dataset.classes
            )
        card.update(test_accuracy=found["accuracy"], test_loss=found["loss"])
        val = trainer.plan.val_indices  # never the test images
        with terminal.doing(facts.notice, "calibrating on the validation images"):
            doubt = evaluation.probabilities(model, only(dataset.train_images, val))
        card["calibration"] = calibration.describe(doubt, dataset.train_labels[val])
        bundles.write_json(folder / "card.json", card)
    (folder / "history.csv").write_text(history.as_csv(trainer.history))
    if facts.test:
        path, title = folder / "learning_curve.png", f"{card['rung']}, seed {card['seed']}"
        draw = figures.draw_learning_curve
        named = phases.phases(trainer.plan.recipe)
        figures.attempt(facts.notice, draw, path, trainer.history, title, card["epoch"], named)
    return card


def add_weights(folder: Path, network: keras.Model) -> None:
    """Leave the plain weights file of a finished bundle's network, whole or not at all. Raises
    InputError."""
    try:
        with bundles.scratch(folder / weights.FILE) as place:
            file = place / weights.FILE
            network.save_weights(file)
            bundles.write_file(folder / weights.FILE, lambda out: out.write(file.read_bytes()))
    except OSError as error:
        raise InputError(f"{folder / weights.FILE}: cannot be written ({reason(error)})") from None


def _card(folder: Path, trainer: Trainer, network: keras.Model, facts: Facts) -> dict:
    chosen, plan, run = trainer.chosen_epoch(), trainer.plan, facts.identity
    dataset = plan.dataset
    return {
        "rung": run["rung"],
        "recipe": run["recipe"],
        "recipe_sha256": plan.recipe.sha256(),
        "seed": run["seed"],
        "classes": list(dataset.classes),
        "parameters": network.count_params(),
        "epoch": chosen["epoch"],
        "val_accuracy": chosen["val_accuracy"],
        "test_accuracy": None,
        "test_loss": None,
        "seconds": sum(row["seconds"] for row in trainer.history),
        "compile_seconds": trainer.compile_seconds,
        "backend": run["backend"],
        "device": plan.device,
        "processor": provenance.processor_model(),
        "precision": plan.precision,
        "versions": backend.versions(),
        "started": run["started"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": facts.command,
        "commit": run.get("commit"),
        "clean": run.get("clean"),
        "alone": False,  # nobody checked; a benchmark that does says so
        **{key: run[key] for key in OPTIONAL if key in run},
        "data": {
            "name": dataset.name,
            "limit": run["limit"],
            "train_images": len(plan.train_indices),
            "validation_images": len(plan.val_indices),
            "test_images": len(dataset.test_labels),
            "test_sha256": dataset.test_sha256(),
            "note": dataset.note,
            **({"skipped": list(dataset.skipped)} if dataset.skipped else {}),
            **({"streamed": True} if plan.streamed else {}),
            **_pictures(dataset),
        },
        "data_sha256": run["data_sha256"],
        "model_sha256": bundles.file_sha256(folder / "model.keras"),
    }


def _pictures(dataset: Dataset) -> dict:
    """Digests of what was trained on, for a folder of pictures that are not too many."""
    if not os.path.isabs(dataset.name) or len(dataset.train_images) > MOST_PICTURES:
        return {}
    return {"train_pictures": " ".join(sorted(set(picture_digests(dataset.train_images))))}
