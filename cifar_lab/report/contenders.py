"""What a comparison compares: a name on the command line, and all that is known of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import bundles, documents, judging, ladder, networks, schema
from ..data.names import listed
from ..errors import InputError, reason
from . import figures, results, words

MOST = 12  # in one comparison
ROWS = (".json", ".jsonl")
_SAME_RUN = ("seed", "backend", "device")


@dataclass(frozen=True)
class Run:
    """One training: a seed.

    Fields:
        seed: None where nobody knows it.
        accuracy: on the test images that it was trained to be tested on, 0 to 1.
        seconds: of training, validation included; None where unknown.
        device: what it ran on.
        alone: whether it had the machine for itself; None where nobody checked.
        history: a dict an epoch, [] where it is not kept.
    """

    seed: int | None
    accuracy: float | None
    seconds: float | None
    device: str | None
    alone: bool | None = None
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Contender:
    """One network, or one recipe's trainings.

    Fields:
        name: in tables and charts, no two alike.
        given: as the user wrote it.
        card: of the bundle or export, {} without one. Of several seeds: of the first.
        runs: trainings; none of an export, which is a bundle's file in another format.
        subject: the network that is tested picture by picture; None where only figures are known.
        file: of that network.
        recipe: its fields as a card stores them, None where they are not known.
        training: the card of its training: of a bundle its own, of an export its bundle's where
            that is known, else {}.
    """

    name: str
    given: str
    card: dict[str, Any]
    runs: tuple[Run, ...] = ()
    subject: judging.Subject | None = None
    file: Path | None = None
    recipe: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracies(self) -> list[float]:
        """Test accuracies of the runs, 0 to 1."""
        return [run.accuracy for run in self.runs if run.accuracy is not None]

    @property
    def histories(self) -> list[list[dict[str, float]]]:
        """Histories of the runs that have one."""
        return [run.history for run in self.runs if run.history]


def look_up(
    names: Sequence[str], data: object = None, notice: Callable[[str], Any] = print
) -> list[Contender]:
    """What is known of each name; no network is opened but those of exported files.

    Args:
        names: each a rung, the folder of a bundle, a network's file, FILE.py:NAME, a folder of
            seeds (as train.py --seeds leaves it), or a file of rows as results/RUNG.json.
        data: what they are to be tested on, or None.
        notice: called with lines for the user.

    Raises:
        InputError: there is no such network, or too many.
    """
    if len(names) > MOST:
        raise InputError(f"{MOST} networks can be compared at once, received {len(names)}")
    found = [_one(name, data, notice) for name in names]
    trained = {c.card.get("model_sha256"): c for c in found if c.runs}
    for i, contender in enumerate(found):
        source = trained.get(contender.card.get("source_sha256"))
        if source is not None and not contender.training:
            own = {"recipe": source.recipe, "training": source.card}
            found[i] = Contender(**{**vars(contender), **own})
    return [
        Contender(**{**vars(contender), "name": name})
        for contender, name in zip(found, _apart(found), strict=True)
    ]


def is_seeds(name: str) -> bool:
    """Whether a name is that of a folder of seeds: a folder, no bundle itself, with bundles in
    it."""
    folder = Path(name)
    return folder.is_dir() and not (folder / "card.json").exists() and bool(_bundles_in(folder))


def is_several(name: str) -> bool:
    """Whether a name alone is that of several trainings: a folder of seeds, or a file of rows."""
    path = Path(name)
    return is_seeds(name) or path.suffix.lower() in ROWS and path.is_file()


def _bundles_in(folder: Path) -> list[Path]:
    return sorted(card.parent for card in folder.glob("*/card.json"))


def _one(name: str, data: object, notice: Callable[[str], Any]) -> Contender:
    path = Path(name)
    if path.suffix.lower() in ROWS and path.is_file():
        return _of_rows(path)
    if name in ladder.LADDER:
        return _of_rung(name, notice)
    if (path / "search.json").is_file():
        raise InputError(f"{name}: is a search, whose report is one of its own: name it alone")
    if is_seeds(name):
        return _of_seeds(path, notice)
    subject = judging.look_up(name, data)
    if isinstance(subject.source, Path):  # a bundle
        return _of_bundle(name, subject, notice)
    return _of_file(name, subject)


def _of_bundle(name: str, subject: judging.Subject, notice: Callable[[str], Any]) -> Contender:
    folder = Path(subject.source or "")
    return Contender(
        name=name if networks.is_own(name) else folder.name,
        given=name,
        card=subject.card,
        runs=(_run(folder, subject.card, notice),),
        subject=subject,
        file=folder / "model.keras",
        recipe=_recipe(subject.card),
        training=subject.card,
    )


def _of_file(name: str, subject: judging.Subject) -> Contender:
    file = Path(name)
    training = _source_card(file, subject.card)
    is_usual = file.stem.partition(".")[0] == "model" and file.absolute().parent.name
    return Contender(
        name=f"{file.absolute().parent.name}/{file.name}" if is_usual else file.name,
        given=name,
        card=subject.card,
        subject=subject,
        file=file,
        recipe=_recipe(training),
        training=training,
    )


def _source_card(file: Path, card: dict[str, Any]) -> dict[str, Any]:
    """The card of the bundle that an export was made from, where it lies beside it; {} else."""
    try:
        found = bundles.read_card(file.absolute().parent)
    except InputError:
        return {}
    return found if found["model_sha256"] == card.get("source_sha256") else {}


def _of_rung(name: str, notice: Callable[[str], Any]) -> Contender:
    """A rung: its bundle, and all its measured runs on the same copy of the data."""
    rows = (results.groups(name) or [[]])[0]
    try:
        folder = bundles.find(name)
    except InputError:
        if not rows:
            raise
        notice(f"{name}: has no bundle here; its measured runs are compared, not its answers")
        runs = [_row_run(row) for row in rows]
        runs[0] = Run(**{**vars(runs[0]), "history": figures.history_of(name)})
        return Contender(
            name=name,
            given=name,
            card={"rung": name},
            runs=tuple(runs),
            recipe=ladder.get(name).recipe.as_dict(),
        )
    one = _of_bundle(name, judging.Subject(name, folder, bundles.read_card(folder)), notice)
    own = [one.card.get(key) for key in _SAME_RUN]
    rows = [row for row in rows if row["recipe_sha256"] == one.card.get("recipe_sha256")]
    others = [_row_run(row) for row in rows if [row.get(key) for key in _SAME_RUN] != own]
    return Contender(**{**vars(one), "name": name, "runs": (*one.runs, *others)})


def _of_seeds(folder: Path, notice: Callable[[str], Any]) -> Contender:
    """The bundles in a folder as one recipe's trainings; the first stands for them where answers
    are compared."""
    found = sorted(((bundles.read_card(b), b) for b in _bundles_in(folder)), key=_by_seed)
    first, where = found[0]
    for card, bundle in found[1:]:
        if (card["rung"], _digest(card)) != (first["rung"], _digest(first)):
            raise InputError(
                f"{folder}: {where.name} and {bundle.name} are of two recipes; a folder of seeds "
                "holds the trainings of one"
            )
    twice = [m for m, n in Counter(card["model_sha256"] for card, _ in found).items() if n > 1]
    if twice:
        names = [b.name for card, b in found if card["model_sha256"] == twice[0]]
        raise InputError(f"{folder}: {' and '.join(names)} are the same network: not two seeds")
    unfinished = [p.name[1:].partition(".")[0] for p in folder.glob(".*.state.npz")]
    if unfinished:
        notice(f"{folder}: left out {listed(sorted(unfinished))}, whose training is not finished")
    subject = judging.Subject(str(where), where, first)
    return Contender(
        name=folder.absolute().name,
        given=str(folder),
        card=first,
        runs=tuple(_run(bundle, card, notice) for card, bundle in found),
        subject=subject,
        file=where / "model.keras",
        recipe=_recipe(first),
        training=first,
    )


def _by_seed(pair: tuple[dict[str, Any], Path]) -> tuple[float, str]:
    seed = pair[0]["seed"]
    return (seed if isinstance(seed, int) else math.inf, pair[1].name)


def _digest(card: dict[str, Any]) -> str:
    return card.get("recipe_sha256") or json.dumps(card["recipe"], sort_keys=True)


def _of_rows(path: Path) -> Contender:
    """A file of rows, as results/RUNG.json or a line of JSON each."""
    try:
        content = schema.read_bytes(path)
        if path.suffix.lower() == ".jsonl":
            rows = [schema.parse(line) for line in content.splitlines() if line.strip()]
        else:
            rows = schema.parse(content)
        documents.MEASURED.check(rows)
    except schema.Wrong as error:
        raise InputError(
            f"{path}: {error}; a file of rows holds an object a run, as results/RUNG.json does"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    digests = {row.get("recipe_sha256") for row in rows}
    if len(digests) > 1:
        raise InputError(f"{path}: holds runs of {len(digests)} recipes; one is compared")
    rung = next(
        (r for r, entry in ladder.LADDER.items() if {entry.recipe.sha256()} == digests), None
    )
    return Contender(
        name=path.stem,
        given=str(path),
        card={"rung": rung} if rung else {},
        runs=tuple(map(_row_run, rows)),
        recipe=ladder.get(rung).recipe.as_dict() if rung else None,
    )


def _row_run(row: dict[str, Any]) -> Run:
    return Run(
        seed=row.get("seed"),
        accuracy=row["test_accuracy"],
        seconds=row.get("seconds"),
        device=row.get("device"),
        alone=row.get("alone"),
    )


def _run(folder: Path, card: dict[str, Any], notice: Callable[[str], Any]) -> Run:
    try:
        history = results.read_history(folder)
    except OSError:
        history = []
    except (ValueError, TypeError) as error:
        history = []
        notice(f"{folder / 'history.csv'}: cannot be read ({reason(error)}): no curve")
    if history and not {"epoch", "val_accuracy", "seconds"} <= history[0].keys():
        history = []
    return Run(**{**vars(_row_run(card)), "history": history})


def _recipe(card: dict[str, Any]) -> dict[str, Any] | None:
    return card.get("recipe")


def _apart(found: Sequence[Contender]) -> list[str]:
    """A name for each, no two alike: short, as given where short ones clash, else numbered."""
    counts = Counter(contender.name for contender in found)
    names = [
        contender.given if counts[contender.name] > 1 else contender.name for contender in found
    ]
    names = [words.label(name) for name in names]
    seen: Counter[str] = Counter()
    apart = []
    for name in names:
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return apart
