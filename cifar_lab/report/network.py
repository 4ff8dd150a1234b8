"""The report of one network: its sections on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InputError, reason
from . import dataset, learning, mistakes, robustness, sees, trust, verdict
from . import page as html
from .page import Html, Page
from .study import Notice, Study

Blocks = Callable[[], Sequence[Any]]


def page(study: Study, notice: Notice) -> Page:
    """The page of a network.

    A section that cannot be made is a line on the page, and one for the user.

    Args:
        study: of the network.
        notice: called with lines for the user.
    """
    found = Page(study.name, verdict.lead(study))

    def part(heading: str, make: Blocks) -> Html:
        return html.join(html.element("h3", heading), *attempt(lambda: make(), heading, notice))

    sections: dict[str, Blocks] = {
        "Verdict": lambda: verdict.blocks(study),
        "Learning": lambda: learning.blocks(study),
        "Errors": lambda: mistakes.blocks(study, part),
        "What it sees": lambda: sees.blocks(study, part),
        "Trust": lambda: trust.blocks(study),
        "Robustness": lambda: robustness.blocks(study, part),
        "Data": lambda: dataset.blocks(study, part),
    }
    for heading, make in sections.items():
        found.add(heading, *attempt(make, heading, notice))
    return found


def attempt(make: Blocks, what: str, notice: Notice) -> Sequence[Any]:
    """make(), or a note where it fails: a section never takes the page down.

    An InputError says what the network does not have; the user gets a line for all else.

    Args:
        make: of the blocks.
        what: what they are called.
        notice: called with a line where they fail.
    """
    try:
        return make()
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # whatever it is, it is one section
        why = reason(error)[:200]
        if not isinstance(error, InputError):  # what a network does not have is no failure
            why = f"{type(error).__name__}: {why}"
            notice(f"no {what}: {why}")
        return [html.note(f"This part is missing: {why}.")]
