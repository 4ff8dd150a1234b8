"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that was tested.

    Fields:
        what: a function, or a property.
        ok: whether it holds.
        words: how it was tested, or what is wrong.
    """

    what: str
    ok: bool
    words: str

    @property
    def line(self) -> str:
        return f"{'ok   ' if self.ok else 'wrong'} {self.what}: {self.words}"


@dataclass(frozen=True)
class Report:
    """All that was tested in a file.

    Fields:
        exercise, path: which, and where.
        passed: everything is ok.
        checks: in the order of the tests.
        accuracy: of the network that was trained with the learner's functions, 0-1, on pictures
            that it was not trained on; None where they did not pass.
        scratch_accuracy: of the same network with this package's functions.
        printed: the beginning of what the file printed, "" for nothing.
    """

    exercise: str
    path: str
    passed: bool
    checks: tuple[Check, ...]
    accuracy: float | None = None
    scratch_accuracy: float | None = None
    printed: str = ""

    @property
    def lines(self) -> list[str]:
        """What was tested, a line each, and a last one that sums up."""
        lines = [check.line for check in self.checks]
        if self.printed:
            lines.append(f"note: the file printed {self.printed.splitlines()[0][:60]!r}")
        wrong = sum(not check.ok for check in self.checks)
        if self.passed:
            lines.append(f"{self.exercise}: passed")
        else:
            lines.append(f"{self.exercise}: {wrong} of {len(self.checks)} checks failed")
        return lines

    def as_json(self) -> dict[str, Any]:
        """The fields, and the lines, ready for json.dumps."""
        return {**asdict(self), "checks": [asdict(c) for c in self.checks], "lines": self.lines}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], printed: str = "") -> Report:
        """From what the judge's process wrote."""
        checks = tuple(Check(**c) for c in found["checks"])
        passed = bool(checks) and all(c.ok for c in checks)
        return cls(**{**found, "checks": checks}, passed=passed, printed=printed)
