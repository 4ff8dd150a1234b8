"""A training in several processes: each takes every step, the first one decides and writes.

All have the recipe, the data and the seed, and so the same epochs in the same order. What only the
first one has, the state of a run to be resumed, it sends to the others.
"""

from __future__ import annotations

import io
from pathlib import Path

from ..errors import InputError
from ..processes import Team
from .plan import Plan
from .trainer import Trainer


def agree(team: Team, identity: dict) -> None:
    """InputError in every process where one of them has other settings than the first."""
    if not team.first:
        team.tell(identity)
        return
    for place in team.links:
        theirs = team.hear(place)
        for key in identity | theirs:
            own, other = identity.get(key), theirs.get(key)
            if own == other:
                continue
            if isinstance(own, dict) and isinstance(other, dict):
                key = next(k for k in own | other if own.get(k) != other.get(k))
                own, other = own.get(key), other.get(key)
            raise InputError(
                f"`process`: all must have the same settings: {key} is {own!r} in process 0, "
                f"{other!r} in process {place}"
            )


def lead(team: Team, state_path: Path | None = None, finished: bool = False) -> None:
    """Let the others begin; with the state that this process goes on from."""
    team.tell({"finished": finished, "resumed": state_path is not None})
    if state_path is not None:
        team.tell_bytes(state_path.read_bytes())


def follow(team: Team, plan: Plan) -> bool:
    """Take the steps that the first process takes, until it has written what came of them: whether
    the run was finished before."""
    begin = team.hear()
    if not begin["finished"]:
        given = team.hear() if begin["resumed"] else None
        trainer = Trainer(plan)
        if given is not None:
            trainer.load_state(io.BytesIO(given))
        trainer.compile_step()
        watchers = trainer.watchers(lambda line: None)
        watchers.begin()
        while not (trainer.done or trainer.stopped):
            trainer.run_epoch(watchers)
        watchers.end()
    team.await_end()
    return begin["finished"]
