"""From results to words: what a function gave beside what is right, and known mistakes."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..scratch import numerical_gradient
from .exercise import Case, Function, Wrong

TOLERANCE = 1e-6  # of the largest value

Array = np.ndarray


class Raised(NamedTuple):
    """An exception: its class, message, and the line of the learner's file (0 for none)."""

    kind: str
    message: str
    line: int

    @property
    def words(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"raises {self.kind}{where}" + (f": {self.message[:160]}" if self.message else "")


class Outcome(NamedTuple):
    """What a call gave: a value or an exception; and which arguments it changed in place."""

    value: Any
    raised: Raised | None = None
    changed: tuple[str, ...] = ()


def call(
    function: Callable[..., Any],
    args: Sequence[Any],
    names: Sequence[str] = (),
    file: str = "",
) -> Outcome:
    """Call a function with copies of arguments.

    Args:
        function: the learner's, or any other.
        args: arrays, numbers, generators.
        names: of the arguments, for `Outcome.changed`.
        file: the learner's, for the line of an exception.
    """
    given = [copy.deepcopy(a) for a in args]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = function(*given)
    except MemoryError:
        raise
    except Exception as error:
        return Outcome(None, raised(error, file))
    changed = tuple(
        name
        for name, before, after in zip(names, args, given)
        if isinstance(before, Array) and not np.array_equal(before, after, equal_nan=True)
    )
    return Outcome(value, None, changed)


def raised(error: BaseException, file: str) -> Raised:
    """An exception in words, with the last line of `file` that it came through."""
    frames = traceback.walk_tb(error.__traceback__)  # which, as extract_tb does not, reads no file
    lines = [line for frame, line in frames if frame.f_code.co_filename == file]
    message = " ".join(str(error).split())
    return Raised(type(error).__name__, message, lines[-1] if lines else 0)


def array(value: Any) -> Array | None:
    """A result as an array of numbers, None where it is none."""
    if value is None or isinstance(value, (str, bytes, dict, set)):
        return None
    try:
        found = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return found if found.dtype.kind in "fiub" else None


def same(a: Array | None, b: Array | None) -> bool:
    """Equal in shape, in where they are not finite, and in values to `TOLERANCE`."""
    if a is None or b is None or a.shape != b.shape:
        return False
    a, b = a.astype(float), b.astype(float)
    finite = np.isfinite(b)
    if not np.array_equal(finite, np.isfinite(a)):
        return False
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    a, b = a[finite], b[finite]
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return bool(np.abs(a - b).max(initial=0) <= TOLERANCE * scale + 1e-15)


def diagnose(function: Function, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[str]:
    """What is wrong with a function, in words; [] for nothing.

    Args:
        function: what was to be written.
        cases: what it was called with.
        outcomes: what each call gave.
    """
    failed = [o.raised for o in outcomes if o.raised]
    if any(r.kind == "NotImplementedError" for r in failed):
        return ["is not written yet"]
    words = structure(function, outcomes)
    if words:
        return [words]
    problems, known = [], False
    for i in range(len(function.outputs)):
        found = _Output(function, i, cases, outcomes)
        problems += found.problems()
        known |= found.known
    if known:  # which explains an exception too
        problems = [p for p in problems if not p.startswith("raises ")] or problems
    problems = list(dict.fromkeys(problems))
    errors = [p for p in problems if p.startswith("raises ")]
    problems = [p for p in problems if p not in errors[1:]]  # one for all outputs
    changed = sorted({name for o in outcomes for name in o.changed})
    problems += [f"changes {name} in place: work on a copy" for name in changed]
    return problems


def structure(function: Function, outcomes: Sequence[Outcome]) -> str:
    """What is wrong with the kind of what is returned, "" for nothing."""
    count = len(function.outputs)
    wanted = f"({', '.join(function.outputs)})" if count > 1 else function.outputs[0]
    for value in (o.value for o in outcomes if not o.raised):
        if value is None or value is ...:
            return "returns None: is its `return` missing?"
        if count > 1 and not (isinstance(value, (tuple, list)) and len(value) == count):
            got = f"{len(value)} values" if isinstance(value, (tuple, list)) else "one value"
            return f"must return {wanted}, returned {got}"
        if count == 1 and isinstance(value, tuple):
            return f"must return {wanted} alone, returned {len(value)} values"
        for name, part in zip(function.outputs, value if count > 1 else [value]):
            if part is None:
                return f"returns None for {name}"
            if array(part) is None:
                kind = type(part).__name__
                of = f" of {part.dtype}" if isinstance(part, Array) else ""
                return f"{name} must be an array of numbers, is {kind}{of}"
    return ""


def _outputs(function: Function, outcome: Outcome) -> list[Array] | None:
    """A call's outputs as arrays, None where it raised."""
    if outcome.raised:
        return None
    values = outcome.value if len(function.outputs) > 1 else [outcome.value]
    return [np.asarray(v) for v in values]


class _Output:
    """One output of one function over all cases, and what is to be said of it."""

    def __init__(
        self,
        function: Function,
        index: int,
        cases: Sequence[Case],
        outcomes: Sequence[Outcome],
    ) -> None:
        self.function, self.index, self.name = function, index, function.outputs[index]
        self.cases, self.outcomes = cases, outcomes
        self.known = False  # whether a known mistake explains what is wrong
        given = [_outputs(function, outcome) for outcome in outcomes]
        right = [_outputs(function, call(function.right, case.args)) for case in cases]
        self.given = [g[index] if g else None for g in given]
        self.right = [r[index] for r in right if r]
        self.ok = [same(g, r) for g, r in zip(self.given, self.right)]
        for i in (i for i, ok in enumerate(self.ok) if not ok):
            self.ok[i] = any(w.output == index and self._matches(w, i) for w in function.accepted)

    def problems(self) -> list[str]:
        """The ordinary cases first; the special ones have words of their own."""
        plain = [i for i, case in enumerate(self.cases) if not case.hint]
        special = [i for i, case in enumerate(self.cases) if case.hint and not self.ok[i]]
        if not all(self.ok[i] for i in plain):
            wrong = self._known(plain)
            words = wrong.words if wrong else self._multiple_of_right(plain)
            found = [words or self._known_multiple(plain) or self._general(plain)]
            for i in special:
                explained = self.outcomes[i].raised or (wrong and self._matches(wrong, i))
                if not self._finite(i) and not explained:
                    found.append(self.cases[i].hint)
            return found
        if special:
            wrong = self._known(range(len(self.cases)))
            return [wrong.words if wrong else self.cases[special[0]].hint]
        words = self._dtype(plain)
        return [words] if words else []

    def _finite(self, i: int) -> bool:
        given = self.given[i]
        return given is not None and bool(np.isfinite(given).all())

    def _known(self, which: Iterable[int]) -> Wrong | None:
        """The first known mistake that gives the same in all these cases."""
        for wrong in self.function.wrong:
            if wrong.output == self.index and all(self._matches(wrong, i) for i in which):
                self.known = True
                return wrong
        return None

    def _multiple_of_right(self, which: Sequence[int]) -> str:
        bad = [i for i in which if not self.ok[i]]
        pairs = self._pairs(bad)
        whole = len(pairs) == len(bad) and all(g.shape == r.shape for g, r, _ in pairs)
        return self._factor(pairs) if whole else ""

    def _known_multiple(self, which: Sequence[int]) -> str:
        """As `_known`, where on top of it a factor is wrong: the words of both, or ""."""
        bad = [i for i in which if not self.ok[i]]
        if any(self.given[i] is None for i in which):
            return ""
        for wrong in self.function.wrong:
            if wrong.output != self.index:
                continue
            made = [array(call(wrong.of, self.cases[i].args).value) for i in bad]
            pairs = [
                (g, m, self.cases[i])
                for i, m in zip(bad, made)
                if (g := self.given[i]) is not None and m is not None and m.shape == g.shape
            ]
            if len(pairs) == len(bad) and (words := self._factor(pairs, plain=True)):
                self.known = True
                return f"{wrong.words}; and {words}"
        return ""

    def _matches(self, wrong: Wrong, i: int) -> bool:
        outcome, found = self.outcomes[i], call(wrong.of, self.cases[i].args)
        if outcome.raised or found.raised:
            both = outcome.raised and found.raised
            return bool(both) and outcome.raised[:2] == found.raised[:2]  # type: ignore[index]
        return same(self.given[i], array(found.value))

    def _dtype(self, which: Sequence[int]) -> str:
        for i in which:
            given, right = self.given[i], self.right[i]
            if given is None:
                continue
            if right.dtype.kind in "iu" and given.dtype.kind not in "iu":
                return f"{self.name} must be whole numbers, has dtype {given.dtype}"
            if right.dtype.kind == "f" and given.dtype != right.dtype:
                return (
                    f"{self.name} has dtype {given.dtype}: what comes in sets the type, "
                    f"here {right.dtype}"
                )
        return ""

    def _general(self, which: Sequence[int]) -> str:
        """What can be seen without knowing the mistake."""
        bad = [i for i in which if not self.ok[i]]
        for i in bad:
            if (error := self.outcomes[i].raised) is not None:
                return f"{error.words} (for {self.cases[i].what}){self._fine(which)}"
        for words in (self._swapped, self._shape, self._not_finite):
            if found := words(bad):
                return found
        pairs = self._pairs(bad)
        if not any(g.any() for g, _, _ in pairs):
            return f"{self.name} is 0 everywhere"
        if found := self._multiple(pairs) or self._offset(pairs):
            return found
        if found := self._order(bad):
            return found
        return self._first(bad[0]) + self._fine(which)

    def _pairs(self, which: Sequence[int]) -> list[tuple[Array, Array, Case]]:
        return [
            (g, self.right[i], self.cases[i]) for i in which if (g := self.given[i]) is not None
        ]

    def _shape(self, bad: Sequence[int]) -> str:
        for given, right, case in self._pairs(bad):
            if given.shape != right.shape:
                why = ""
                if given.ndim == right.ndim == 2 and given.shape == right.shape[::-1]:
                    why = "; it looks transposed"
                elif given.size == right.size and given.size:
                    why = "; the number of values is right"
                elif given.ndim != right.ndim and right.ndim:
                    why = "; which axis is summed over?" if given.ndim < right.ndim else ""
                return (
                    f"{self.name} must have shape {_shape(right)}, has {_shape(given)} "
                    f"(for {case.what}){why}"
                )
        return ""

    def _not_finite(self, bad: Sequence[int]) -> str:
        for given, _, case in self._pairs(bad):
            places = np.argwhere(~np.isfinite(given.astype(float)))
            if len(places):
                place = tuple(int(p) for p in places[0])
                return (
                    f"{self.name} is {given[place]}{_at(place)} (for {case.what}): it divides by "
                    "zero, or overflows"
                )
        return ""

    def _swapped(self, bad: Sequence[int]) -> str:
        """Equal to an argument, or to another of the outputs."""
        pairs = self._pairs(bad)
        for k, argument in enumerate(self.function.arguments):
            if all(same(g, array(case.args[k])) for g, _, case in pairs):
                return f"{self.name} is {argument}, unchanged"
        if len(self.function.outputs) > 1:
            for k, output in enumerate(self.function.outputs):
                rights = [_outputs(self.function, call(self.function.right, c.args))
                          for _, _, c in pairs]  # fmt: skip
                if k != self.index and all(
                    r and same(g, r[k]) for (g, _, _), r in zip(pairs, rights)
                ):
                    return f"{self.name} has the value of {output}: are they returned in order?"
        return ""

    @staticmethod
    def _factors(pairs: Sequence[tuple[Array, Array, Case]]) -> list[float]:
        """By what each result is a multiple of what is right; [] where one is none."""
        factors = []
        for given, right, _ in pairs:
            given, right = given.astype(float), right.astype(float)
            if not right.any() or not np.isfinite(right).all():
                return []
            top = np.argmax(np.abs(right))
            factor = given.flat[top] / right.flat[top]
            if not (factor and np.isfinite(factor) and same(given, factor * right)):
                return []
            factors.append(float(factor))
        return factors

    def _factor(self, pairs: Sequence[tuple[Array, Array, Case]], plain: bool = False) -> str:
        """The sign, a size or a number that each result is a multiple by, in words; or "".

        plain: no number but 2 and 1/2.
        """
        factors, cases = np.array(self._factors(pairs)), [case for _, _, case in pairs]
        if not len(factors):
            return ""
        sign = (factors < 0).all()
        if not sign and (factors < 0).any():
            return ""
        by, also = np.abs(factors), f"{self.name} has the wrong sign" if sign else ""
        if np.allclose(by, 1, 1e-5):
            return also
        also = f"{also} and " if sign else f"{self.name} "
        for size in cases[0].sizes:
            n = np.array([float(case.sizes.get(size, 0)) for case in cases])
            if np.allclose(by, n, 1e-5):
                return f"{also}is not divided by the number of {size}"
            if n.all() and np.allclose(by, 1 / n, 1e-5):
                return f"{also}is divided by the number of {size} once too often"
            if np.allclose(by, n**2, 1e-5):
                return f"{also}is multiplied by the number of {size}: it must be divided by it"
        few = max(by[0], 1 / by[0])
        if plain and not np.isclose(few, 2, 1e-5):
            return ""
        if len(by) > 1 and np.allclose(by, by[0], 1e-5) and few < 20:
            return f"{also}is {by[0]:.6g} times what it should be"
        return ""

    def _multiple(self, pairs: Sequence[tuple[Array, Array, Case]]) -> str:
        """The factors themselves, where no word is known for them."""
        factors = self._factors(pairs)
        if not factors or all(g.size < 2 for g, _, _ in pairs):
            return ""
        told = [f"{f:.6g} times for {case.what}" for f, (_, _, case) in zip(factors, pairs)]
        return f"{self.name} is a multiple of what it should be: {'; '.join(told[:2])}"

    def _offset(self, pairs: Sequence[tuple[Array, Array, Case]]) -> str:
        """What was added to every entry alike."""
        gaps = [g.astype(float) - r for g, r, _ in pairs]
        if all(d.size > 1 and same(d, np.full_like(d, d.flat[0])) for d in gaps):
            return f"{self.name} is {gaps[0].flat[0]:+.6g} off in every entry"
        return ""

    def _order(self, bad: Sequence[int]) -> str:
        """The right values in other places."""
        pairs = [(g, r) for g, r, _ in self._pairs(bad) if g.size > 1]
        if not pairs or len(pairs) < len(bad):
            return ""
        if all(g.ndim == 2 and same(g, r.T) for g, r in pairs):
            return f"{self.name} is transposed"
        if all(same(np.sort(g, None), np.sort(r, None)) for g, r in pairs):
            return (
                f"{self.name} has the right values in the wrong places: look at each reshape and "
                f"transpose{self._entry(bad[0])}"
            )
        return ""

    def _first(self, i: int) -> str:
        return f"{self.name}{self._entry(i)} (for {self.cases[i].what})"

    def _entry(self, i: int) -> str:
        """What is behind a name: ": the first entry that differs, [1, 0], must be 2, is 3"."""
        given, right = self.given[i], self.right[i]
        if given is None:
            return ""
        gap = np.abs(given.astype(float) - right)
        place = tuple(
            int(p) for p in np.argwhere(gap > TOLERANCE * np.abs(right).max(initial=0))[0]
        )
        what = f": the first entry that differs, {list(place)}," if place else ""
        return f"{what} must be {right[place]:.6g}, is {given[place]:.6g}"

    def _fine(self, which: Sequence[int]) -> str:
        """Which cases are right, where some are: the others' difference is the clue."""
        fine = [self.cases[i].what for i in which if self.ok[i]]
        return f"; right for {'; '.join(fine[:2])}" if fine else ""


def _shape(a: Array) -> str:
    return str(a.shape) if a.shape else "() (one number)"


def _at(place: tuple[int, ...]) -> str:
    return f" at {list(place)}" if place else ""


def against_numerical(
    loss: Callable[[], Any], arrays: Mapping[str, Array], given: Sequence[Any], step: float = 1e-5
) -> str:
    """Gradients beside those from central differences: what differs first, "" for nothing.

    Args:
        loss: reads `arrays`, which are changed in place between calls.
        arrays: {what the gradient is called: what it is by}, float64.
        given: the learner's gradients, in the order of `arrays`.
        step: of the differences.
    """
    for (name, x), gradient in zip(arrays.items(), given, strict=True):
        right, gradient = numerical_gradient(lambda: float(loss()), x, step), np.asarray(gradient)
        if gradient.shape != right.shape:
            return f"{name} must have shape {_shape(right)}, has {_shape(gradient)}"
        wrong = np.argwhere(~(np.abs(gradient - right) <= 1e-5 * np.abs(right).max() + 1e-9))
        if len(wrong):
            place = tuple(int(p) for p in wrong[0])
            return (
                f"{name}{_at(place)} is {right[place]:.6g} by central differences of your own "
                f"function, {gradient[place]:.6g} by yours"
            )
    return ""
