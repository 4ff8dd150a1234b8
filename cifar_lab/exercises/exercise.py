"""What an exercise is: functions to write, cases to test them on, and mistakes that are known."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import paths

Functions = Mapping[str, Callable[..., Any]]
Found = Iterator[tuple[str, str]]


class Wrong(NamedTuple):
    """A known mistake: what it makes of one output, and what to say about it.

    Fields:
        output: which of the function's outputs.
        words: for the learner, what is wrong and how it is right.
        of: the mistaken computation, of the function's arguments; returns that output alone.
    """

    output: int
    words: str
    of: Callable[..., Any]


class Case(NamedTuple):
    """Arguments to test a function with.

    Fields:
        args: in their order.
        sizes: {what: how many}, such as {"images": 5}; they name the case, and explain factors.
        note: what else is special, such as "large scores".
        hint: what to say where only this kind of case goes wrong, in no known way.
    """

    args: tuple[Any, ...]
    sizes: Mapping[str, int]
    note: str = ""
    hint: str = ""

    @property
    def what(self) -> str:
        """Such as "5 images, 3 classes, large scores"."""
        words = [
            f"{n} {k[:-1] if n == 1 and k.endswith('s') else k}" for k, n in self.sizes.items()
        ]
        return ", ".join([*words, self.note] if self.note else words)


@dataclass(frozen=True)
class Function:
    """A function to write.

    Fields:
        right: the right one, made of `cifar_lab.scratch`; its docstring is the task.
        outputs: what each thing that it returns is called; one is returned bare, several as a
            tuple.
        wrong: known mistakes, the likelier first.
        accepted: other ways that are right too, as (output, "", computation).
    """

    right: Callable[..., Any]
    outputs: tuple[str, ...]
    wrong: Sequence[Wrong] = ()
    accepted: Sequence[Wrong] = ()

    @property
    def name(self) -> str:
        return self.right.__name__

    @property
    def arguments(self) -> list[str]:
        return list(inspect.signature(self.right).parameters)

    @property
    def call(self) -> str:
        """ "affine_forward(x, w, b)"."""
        return f"{self.name}({', '.join(self.arguments)})"


def _nothing(functions: Functions) -> Found:
    yield from ()


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Fields:
        name, lesson: its own and its lesson's.
        title: a line that says what is written.
        functions: in the order in which they are written.
        cases: {function: what it is tested on}, drawn from a generator.
        network: trains with the functions given, on the embedded pictures; returns its accuracy
            on others, 0-1.
        task: what `network` does, in words: "a network with ... learns ...".
        properties: what else must hold, as (what was tested, what is wrong or ""). Always tested.
        numerical: as `properties`, with gradients by central differences; tested when the first
            function is right.
    """

    name: str
    lesson: str
    title: str
    functions: tuple[Function, ...]
    cases: Callable[[np.random.Generator], dict[str, list[Case]]]
    network: Callable[[Functions], float]
    task: str
    properties: Callable[[Functions], Found] = field(default=_nothing)
    numerical: Callable[[Functions], Found] = field(default=_nothing)

    def right(self) -> Functions:
        """The right functions, by name."""
        return {f.name: f.right for f in self.functions}

    def template(self, path: Path) -> str:
        """The file to fill in, which says how to check it."""
        file, bodies = shlex.quote(path.as_posix()), []
        if not file.isprintable() or '"""' in file or "\\" in file:
            file = "FILE"
        for function in self.functions:
            doc = inspect.getdoc(function.right) or ""
            lines = [f"    {line}".rstrip() for line in doc.splitlines()]
            text = "\n".join(lines).strip()
            bodies.append(
                f'def {function.call}:\n    """{text}\n    """\n    raise NotImplementedError'
            )
        head = (
            f'"""Exercise {self.name}: {self.title}\n\n'
            "Fill in the functions; numpy is all you need. Leave the arrays that they are given\n"
            "as they are: work on copies. Then have the file checked:\n\n"
            f"    {paths.command('learn')} --check {file}\n"
            '"""\n\nimport numpy as np\n\n'
            f'EXERCISE = "{self.name}"\n'
        )
        return "\n\n".join([head, *(f"{body}\n" for body in bodies)])
