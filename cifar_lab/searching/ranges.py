"""A range of values: drawing from it, narrowing it, and how it reads."""

import json
import math
from dataclasses import dataclass

from .. import schema


@dataclass(frozen=True)
class Range:
    """The values that a hyperparameter may take: low to high, or options.

    Fields:
        low, high: inclusive.
        log: whether drawing is uniform in the logarithm.
        whole_numbers: whether only these are drawn.
        options: instead of low and high, in the order given: numbers, texts, or booleans.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole_numbers: bool = False
    options: tuple = ()

    def holds(self, value):
        """Whether it is a value of this range, a single precision float's rounding apart."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.options:
            same = [o for o in self.options if o == value or number and _near(o, value)]
            return any(isinstance(o, bool) == isinstance(value, bool) for o in same)
        if not (number and math.isfinite(value)) or (self.whole_numbers and value != int(value)):
            return False
        inside = self.low <= value <= self.high
        return inside or _near(self.low, value) or _near(self.high, value)

    def whole(self):
        """All of it, in the form of a round's ranges: (0, 1) of u, or the options."""
        return list(self.options) if self.options else (0.0, 1.0)

    def value(self, u):
        """The value at u, 0 to 1, of the range."""
        low, high = (self.low, self.high + 1) if self.whole_numbers else (self.low, self.high)
        if self.log:
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = low + u * (high - low)
        return min(max(int(value) if self.whole_numbers else value, self.low), self.high)

    def position(self, value):
        """u of a value, 0 to 1; the middle of what a whole number stands for."""
        low, high = self.low, self.high
        if self.whole_numbers:
            high, value = high + 1, value + 0.5
        if self.log:
            low, high, value = map(math.log, (low, high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def draw(self, rng, within):
        """A value drawn from a round's range: (low, high) in u, or a list of options."""
        if self.options:
            return within[int(rng.integers(len(within)))]
        return self.value(rng.uniform(*within))

    def narrowed(self, values, margin, least_width):
        """The next round's range from the values of the best trials; see narrowing.Narrowing."""
        if self.options:
            return [option for option in self.options if option in values]
        positions = [self.position(v) for v in values]
        low, high = min(positions), max(positions)
        width = max((high - low) * (1 + 2 * margin), least_width)
        middle = (low + high) / 2
        return max(middle - width / 2, 0.0), min(middle + width / 2, 1.0)

    def bounds(self, within):
        """A round's range as values: [low, high], or the list of options."""
        return list(within) if self.options else [self.value(within[0]), self.value(within[1])]

    def as_text(self):
        """As --range takes it."""
        if self.options:
            return ",".join(v if isinstance(v, str) else json.dumps(v) for v in self.options)
        return f"{self.low!r}:{self.high!r}" + (":log" if self.log else "")

    @classmethod
    def from_text(cls, text):
        """The range that reads so. ValueError for a text that `as_text` does not write."""
        if ":" not in text:
            return cls(options=tuple(map(value_of, text.split(","))))
        low, high, *log = text.split(":")
        low, high = value_of(low), value_of(high)
        if any(isinstance(end, (str, bool)) for end in (low, high)) or log not in ([], ["log"]):
            raise ValueError(f"{text}: is no range")
        if not low < high or log and low <= 0 or not math.isfinite(high - low):
            raise ValueError(f"{text}: is no range")
        return cls(low, high, bool(log), isinstance(low, int) and isinstance(high, int))


def _near(bound, value):
    number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
    return number and math.isclose(bound, value, rel_tol=1e-6)


def value_of(word):
    """A value as it is written in a range or a table: a number, true or false, else a text."""
    try:
        value = schema.parse(word)
    except schema.Wrong:
        return word
    return value if isinstance(value, bool) or schema.is_number(value) else word


def told(value):
    """A value in a line for the user: four digits of a number, a text as it is, true or false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.4g}"
