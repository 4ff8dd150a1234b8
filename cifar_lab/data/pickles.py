"""Pickles of arrays, read by a small machine of our own.

Python's unpickler does what a pickle says: it calls what is named, and takes memory for 2 ** 31
places where nine bytes say so. This one knows the operations that dicts, lists, numbers, texts and
arrays of bytes are made of, in protocols 0 to 5 and as Python 2 wrote them, and makes nothing else
(https://docs.python.org/3/library/pickletools.html). What it makes is no larger than the pickle.
"""

import codecs
from typing import Any

import numpy as np

from ..errors import InputError

_KEYS = (str, bytes, int)
_MODULES = {
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
    "_codecs",
}


def load(raw: bytes, most_operations: int) -> Any:
    """What a pickle holds: dicts, lists, tuples, numbers, str, bytes, None and uint8 arrays.

    Args:
        raw: the pickle. A text of Python 2 becomes bytes.
        most_operations: that it may have, of which each makes at most one thing beside the texts:
            a number or a text is one, or two if it is kept for another mention, bytes may be eight.

    Raises:
        InputError: it names something that no array is made of. The message does not name the file.
        Exception: nearly any, of a damaged pickle.
    """
    return _Machine(raw, most_operations).run()


class _Machine:
    def __init__(self, raw: bytes, most_operations: int) -> None:
        self.raw, self.at = raw, 0
        self.operations = most_operations
        self.encoded = len(raw)  # characters that may still be encoded
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        raw, stack, memo, operations = self.raw, self.stack, self.memo, _OPERATIONS
        for _ in range(self.operations):
            code = raw[self.at]
            self.at += 1
            # first what a batch has once or more for each picture
            if code == _BININT1:
                stack.append(raw[self.at])
                self.at += 1
            elif code == _BINPUT:
                memo[raw[self.at]] = stack[-1]
                self.at += 1
            elif code == _SHORT_BINSTRING:
                stack.append(self._bytes(raw[self.at] + 1)[1:])
            elif code == _LONG_BINPUT:
                memo[self._number(4)] = stack[-1]
            elif code == _MEMOIZE:
                memo[len(memo)] = stack[-1]
            elif code == _STOP:
                return stack.pop()
            else:
                operations[code](self)
        raise ValueError("has too many operations")

    def _bytes(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.raw):
            raise ValueError("is cut off")
        return self.raw[start : self.at]

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._bytes(size), "little", signed=signed)

    def _line(self) -> bytes:
        end = self.raw.index(b"\n", self.at)
        return self._bytes(end + 1 - self.at)[:-1]

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _marked(self) -> list[Any]:
        """What lies above the last mark, taken off."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise ValueError("takes what is not there")
        found = tuple(self.stack[-count:])
        del self.stack[-count:]
        return found

    # --- numbers and texts ---

    def _int_line(self) -> None:
        line = self._line()
        self._push(line == b"01" if line in (b"00", b"01") else int(line))

    def _long_line(self) -> None:
        self._push(int(self._line().removesuffix(b"L")))

    def _quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] not in (b'"', b"'") or line[:1] != line[-1:]:
            raise ValueError("has a text without quotes")
        self._push(codecs.escape_decode(line[1:-1])[0])  # type: ignore[attr-defined]

    def _text(self, size: int) -> None:
        self._push(str(self._bytes(self._number(size)), "utf-8", "surrogatepass"))

    # --- containers ---

    def _mark(self) -> None:
        self.marks.append(len(self.stack))

    def _append(self, values: Any) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("appends to what is no list")
        self.stack[-1].extend(values)

    def _set(self, values: Any) -> None:
        if type(self.stack[-1]) is not dict:
            raise ValueError("puts an item into what is no dict")
        self.stack[-1].update(_pairs(values))

    # --- arrays ---

    def _global(self, module: Any, name: Any) -> None:
        if module not in _MODULES or name not in _NAMED:
            raise InputError(
                f"refused, the pickle names {module!s:.80}.{name!s:.80}, which no CIFAR batch needs"
            )
        self._push(_NAMED[name])

    def _call(self) -> None:
        function, arguments = self._last(2)
        if function is _encode:
            self.encoded -= len(arguments[0])
            if self.encoded < 0:
                raise ValueError("encodes more than it holds")
        elif function not in (_reconstruct, _frombuffer, _Dtype):
            raise ValueError("calls what is no function")
        self._push(function(*arguments))

    def _build(self) -> None:
        (state,) = self._last(1)
        if type(self.stack[-1]) not in (_Array, _Dtype):
            raise ValueError("sets the state of what has none")
        self.stack[-1].set(state)


def _pairs(values: Any) -> dict[Any, Any]:
    keys = values[::2]
    if len(values) % 2 or not all(isinstance(key, _KEYS) for key in keys):
        raise ValueError("has a dict of other than names")
    return dict(zip(keys, values[1::2]))


class _Array:
    """A numpy.ndarray; its `array` is read from the state alone."""

    array: np.ndarray

    def set(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        self.array = _bytes_array(raw, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """A numpy.dtype."""

    def __init__(self, kind: Any, *_: Any) -> None:
        self.kind = kind.decode() if isinstance(kind, bytes) else kind  # bytes of Python 2

    def set(self, state: Any) -> None:
        pass


def _bytes_array(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or dtype.kind != "u1" or not isinstance(raw, bytes):
        raise ValueError("holds an array that is not uint8")
    if not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
        raise ValueError("holds an array without a shape")
    return np.frombuffer(raw, np.uint8).reshape(shape, order=order)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    found = _Array()
    found.array = _bytes_array(raw, dtype, shape, order)
    return found


def _encode(text: str, _: Any = "latin1") -> bytes:
    return text.encode("latin1")


_NAMED = {
    "_reconstruct": _reconstruct,
    "ndarray": _Array,
    "dtype": _Dtype,
    "_frombuffer": _frombuffer,
    "encode": _encode,
}
_BININT1, _BINPUT, _SHORT_BINSTRING, _LONG_BINPUT, _MEMOIZE, _STOP = b"KqUr\x94."
_OPERATIONS = {
    ord(code): operation
    for code, operation in {
        # protocol 2 and later; frames say what is known anyway
        "\x80": lambda m: m._bytes(1),
        "\x95": lambda m: m._bytes(8),
        # numbers
        "N": lambda m: m._push(None),
        "\x88": lambda m: m._push(True),
        "\x89": lambda m: m._push(False),
        "I": _Machine._int_line,
        "L": _Machine._long_line,
        "J": lambda m: m._push(m._number(4, signed=True)),
        "M": lambda m: m._push(m._number(2)),
        "\x8a": lambda m: m._push(m._number(m._number(1), signed=True)),
        # texts and bytes
        "S": _Machine._quoted,
        "T": lambda m: m._push(m._bytes(m._number(4))),
        "B": lambda m: m._push(m._bytes(m._number(4))),
        "C": lambda m: m._push(m._bytes(m._number(1))),
        "\x8e": lambda m: m._push(m._bytes(m._number(8))),
        "\x96": lambda m: m._push(m._bytes(m._number(8))),  # a bytearray, which nobody changes
        "V": lambda m: m._push(str(m._line(), "raw-unicode-escape")),
        "X": lambda m: m._text(4),
        "\x8c": lambda m: m._text(1),
        "\x8d": lambda m: m._text(8),
        # containers
        "(": _Machine._mark,
        "]": lambda m: m._push([]),
        "l": lambda m: m._push(m._marked()),
        "a": lambda m: m._append(m._last(1)),
        "e": lambda m: m._append(m._marked()),
        "}": lambda m: m._push({}),
        "d": lambda m: m._push(_pairs(m._marked())),
        "s": lambda m: m._set(m._last(2)),
        "u": lambda m: m._set(m._marked()),
        ")": lambda m: m._push(()),
        "t": lambda m: m._push(tuple(m._marked())),
        "\x85": lambda m: m._push(m._last(1)),
        "\x86": lambda m: m._push(m._last(2)),
        "\x87": lambda m: m._push(m._last(3)),
        # what is mentioned again
        "p": lambda m: m.memo.__setitem__(int(m._line()), m.stack[-1]),
        "g": lambda m: m._push(m.memo[int(m._line())]),
        "h": lambda m: m._push(m.memo[m._number(1)]),
        "j": lambda m: m._push(m.memo[m._number(4)]),
        # arrays
        "c": lambda m: m._global(m._line().decode(), m._line().decode()),
        "\x93": lambda m: m._global(*m._last(2)),
        "R": _Machine._call,
        "b": _Machine._build,
    }.items()
}
