"""What decides a search, and the folder that it lives in."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from .. import bundles, documents, schema
from ..documents import OBJECTIVES
from ..errors import InputError, reason

STRATEGIES = ("narrowing", "random", "bayesian", "hyperband")


@dataclass(frozen=True)
class Request:
    """What decides a search.

    Fields:
        rung: the name that the user gave.
        strategy: one of STRATEGIES.
        ranges: {name: space.Range}.
        objective: one of OBJECTIVES.
        seed: of the draws and of each training.
        trial_epochs: of each trial, None for the recipe's.
        trial_images: train images of each trial, None for all.
        stop_behind: whether trials that are behind the median end early.
        data: name or folder.
        data_sha256: digest of the train images.
        recipe_sha256: digest of the recipe that the trials change.
    """

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

    @property
    def direction(self):
        """ "max" or "min" of the objective."""
        return OBJECTIVES[self.objective]

    def as_dict(self):
        ranges = {name: r.as_text() for name, r in self.ranges.items()}
        return {**dataclasses.asdict(self), "ranges": ranges}

    def sha256(self):
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


def refuse_changes(folder, request):
    """The earlier part of a search in `folder`: its search.json, None where there is none.

    Raises:
        InputError: it is a search with other settings, or the folder holds something else.
    """
    path = Path(folder) / "search.json"
    if not path.is_file():
        if Path(folder).is_file():
            raise InputError(f"{folder}: is a file; `output` must name a folder")
        strangers = Path(folder).iterdir() if Path(folder).is_dir() else ()
        if any(p.name != "search.json.tmp" for p in strangers):
            raise InputError(
                f"{folder}: holds what is not a search; "
                "`output` must name a new folder or that of a search"
            )
        return None
    refuse_links(folder)
    hint = "; `overwrite` starts over"
    try:
        earlier = schema.read_json(path, documents.SEARCH, hint)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}){hint}") from None
    before, now = earlier["request"], json.loads(json.dumps(request.as_dict()))
    for key in now:
        if before.get(key) != now[key]:
            was, is_now, named = before.get(key), now[key], key.replace("_", " ")
            if key == "ranges":
                name = next(n for n in {**was, **is_now} if was.get(n) != is_now.get(n))
                named, was, is_now = f"range of {name}", was.get(name), is_now.get(name)
            raise InputError(
                f"{folder}: holds a search with another {named}: was {was}, is now {is_now}; "
                "`output` names another folder, `overwrite` starts over"
            )
    return earlier


def refuse_links(folder):
    """InputError where a folder of trials is a link: a trial would empty what it names."""
    trials = Path(folder) / "trials"
    for path in (trials, *trials.glob("trial_*")):
        if path.is_symlink():
            raise InputError(f"{path}: is a symbolic link, which no folder of trials is: remove it")


def clear(folder):
    """Remove a search's folder, if there is one. InputError where it holds something else."""
    folder = Path(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / "search.json").is_file():
        raise InputError(
            f"{folder}: holds what is not a search; `overwrite` removes searches alone"
        )
    with bundles.locked(folder):
        # whole or not at all: a kill leaves no half of a search
        gone = folder.with_name(f".{folder.name}.previous")
        bundles.remove(gone)
        folder.rename(gone)
        bundles.remove(gone)
