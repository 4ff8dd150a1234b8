"""Keras callbacks by name, for who names them on a command line. Imports Keras when one is made."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import schema
from .errors import InputError, reason

if TYPE_CHECKING:
    import keras

FORM = 'MODULE:NAME, FILE.py:NAME, or either with arguments in JSON, MODULE:NAME:{"filename": "x"}'
_WORD = r"[^\W\d]\w*"
_FORM = re.compile(
    rf"(?P<place>.+?\.py|{_WORD}(?:\.{_WORD})*):(?P<name>{_WORD})(?::(?P<arguments>\{{.*))?",
    re.DOTALL,
)

# What they do would change the result, which the recipe alone decides, or cannot be done here
REFUSED = {
    "EarlyStopping": "the recipe's field patience stops early",
    "ReduceLROnPlateau": "the recipe's field schedule decides the learning rate",
    "LearningRateScheduler": "the recipe's field schedule decides the learning rate",
    "SwapEMAWeights": "the recipe's field swa_share averages weights",
    "BackupAndRestore": "each epoch's state is on disk, and `resume` goes on from there",
    "ModelCheckpoint": "its file would hold the whole data set; the bundle has the network, and "
    "`save_weights` its weights apart",
}


@dataclass(frozen=True)
class Named:
    """A callback as a user named it. Make one with `parse`.

    Fields:
        place: a module, or a Python file.
        name: of a class in it, or of a function that returns a callback.
        arguments: JSON text of its keyword arguments, "{seed}" in it for the seed.
    """

    place: str
    name: str
    arguments: str

    @property
    def label(self) -> str:
        """What notices and cards call it: of a file without its folder, without arguments."""
        place = Path(self.place).name if self._is_file else self.place
        return f"{place}:{self.name}"

    @property
    def _is_file(self) -> bool:
        return self.place.endswith(".py")

    def make(self, seed: int = 0) -> keras.callbacks.Callback:
        """A new callback for the training of a seed. Runs the user's code. Raises InputError."""
        from . import backend, networks

        backend.start()
        where = f"`callback` {self.label}"
        if self._is_file:
            try:
                module = networks.load_file(Path(self.place))
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        else:
            module = _attempt(where, "cannot be imported", importlib.import_module, self.place)
        if not hasattr(module, self.name):
            raise InputError(f"{where}: {module.__name__} has no {self.name!r}")
        factory = getattr(module, self.name)
        if not callable(factory):
            kind = type(factory).__name__
            raise InputError(f"{where}: must be a class or a function, is a {kind}")
        arguments = schema.parse(self.arguments.replace("{seed}", str(seed)))
        made = _attempt(where, "cannot be made", factory, **arguments)
        refuse_deciding(made, self.label)
        return made


def parse(text: str) -> Named:
    """What "MODULE:NAME" names, with arguments "MODULE:NAME:{...}". Nothing is imported.

    Raises InputError.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise InputError(f"`callback`: must be {FORM}, received {text!r}")
    named = Named(found["place"], found["name"], found["arguments"] or "{}")
    try:
        schema.parse(named.arguments.replace("{seed}", "0"), schema.Fields())
    except schema.Wrong as error:
        raise InputError(
            f"`callback` {named.label}: its arguments must be a JSON object, received "
            f"{named.arguments[:80]!r} ({reason(error)})"
        ) from None
    return named


def label_of(callback: Any) -> str:
    """What notices and cards call a callback that is given as an object."""
    kind = type(callback)
    return f"{kind.__module__}:{kind.__qualname__}"


def refuse_deciding(callback: Any, label: str) -> None:
    """InputError for what is no Keras callback, and for those of Keras' that decide how a network
    is trained."""
    import keras

    if not isinstance(callback, keras.callbacks.Callback):
        kind = type(callback).__name__
        raise InputError(f"`callback` {label}: must be a keras.callbacks.Callback, is a {kind}")
    for name, instead in REFUSED.items():
        if isinstance(callback, getattr(keras.callbacks, name)):
            raise InputError(f"`callback` {label}: keras.callbacks.{name} is refused: {instead}")


def _attempt(where: str, what: str, call: Any, *args: Any, **kwargs: Any) -> Any:
    """call(...), of a stranger's code, whatever it raises one line."""
    try:
        return call(*args, **kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        text = f"{type(error).__name__}: {reason(error)[:300]}"
        raise InputError(f"{where}: {what} ({text})") from None
