"""Pickle files of plain data, read without running them: numbers, text, containers and NumPy arrays, and nothing else.

Conventions
-----------
A pickle is a program; Python's own reader runs it, and a file made for the purpose can make it call anything. Here the file is
only *parsed* (``pickletools``), and its instructions are interpreted by a table that knows values, lists, tuples, dictionaries
and the three forms in which NumPy stores an array, a scalar and a type of numbers. No name in the file is ever looked up and
no object is called, so there is nothing to break out of: a name that is not one of NumPy's, an object array or an instruction
beyond the table is refused with its name and its place in the file.

Bounds: the file's size; an array has as many bytes as its numbers need, all of them in the file; a dictionary's keys are text
or numbers; a value used twice is stored once, so that nested repetitions cost no memory (whoever walks through the result must
bound how deep). Protocols 3 and later, as Python 3 writes them with NumPy 1 and 2. Arrays are read-only.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgaze360.errors import InputError

MAX_BYTES = 2**30
ADVICE = (
    "Such files can run programs when they are opened in the usual way, so do not. Take the label file from the dataset's own "
    "release; if this is the release, please report it."
)


class _Refused(Exception):
    """Why an instruction is not carried out; the reader makes an error of it."""


@dataclass(frozen=True)
class _Name:
    """A name from a module that the file asks for; never looked up."""

    module: str
    attribute: str


@dataclass
class _NumberType:
    """A NumPy type of numbers: ``"f4"``, then its byte order."""

    code: str
    order: str = "<"

    def dtype(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self.order + self.code)


class _Array:
    """An array that was announced; its values follow."""

    values: np.ndarray[Any, Any] | None = None


_MARK = object()
_ARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_ROLES = {
    **{_Name(module, "_reconstruct"): "array" for module in _ARRAY},
    **{_Name(module, "scalar"): "scalar" for module in _ARRAY},
    **{_Name(module, "_frombuffer"): "buffer" for module in ("numpy.core.numeric", "numpy._core.numeric")},
    _Name("numpy", "ndarray"): "class",
    _Name("numpy", "dtype"): "type",
}


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401 - whatever plain data the file holds
    """Read a pickle file that holds plain data and NumPy arrays of numbers.

    Returns
    -------
    Numbers, text, bytes, None, lists, tuples, dictionaries and read-only arrays. The same object may turn up in several places.

    Raises
    ------
    InputError
        If the file is larger than :data:`MAX_BYTES`, is no pickle or a truncated one, or holds or asks for anything else.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"Expected a pickle file of at most {MAX_BYTES >> 20} MiB at {path}; it has {size >> 20} MiB. Leave out "
            "what is not needed, such as segmentations, or split it."
        )
    reader = _Reader()
    place = 0
    try:
        for instruction, argument, position in pickletools.genops(path.read_bytes()):
            place = position or 0
            reader.step(instruction.name, argument)
        return _finished(reader.pop(1)[0])
    except _Refused as refusal:
        raise InputError(
            f"Expected numbers, text, lists, dictionaries and NumPy arrays in the pickle file {path}; found {refusal} at byte "
            f"{place}. {ADVICE}"
        ) from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(
            f"Expected a pickle file at {path}; it is damaged, or none (after byte {place}: {error}). Take it from the "
            "dataset's release again."
        ) from error


class _Reader:
    """The state of reading: a stack, and what was stored to be used again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Carry out one instruction."""
        if name in _VALUES:
            self.stack.append(argument)
        elif (make := _CONSTANTS.get(name)) is not None:
            self.stack.append(make())
        elif name in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif name in _PUTS:
            self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
        elif (act := _ACTIONS.get(name)) is not None:
            act(self, argument)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _Refused(f"the instruction {name}")

    def marked(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        start = next((index for index in range(len(self.stack) - 1, -1, -1) if self.stack[index] is _MARK), None)
        if start is None:
            raise ValueError("no mark")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> list[Any]:
        """Take ``count`` values off the stack."""
        items = self.stack[-count:]
        if len(items) != count or any(item is _MARK for item in items):
            raise ValueError("the stack is empty")
        del self.stack[-count:]
        return items


def _append(reader: _Reader, items: list[Any]) -> None:
    if not isinstance(reader.stack[-1], list):
        raise TypeError("no list to append to")
    reader.stack[-1].extend(_finished(item) for item in items)


def _set(reader: _Reader, items: list[Any]) -> None:
    target = reader.stack[-1]
    if not isinstance(target, dict) or len(items) % 2:
        raise TypeError("no dictionary to fill")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int, float)):
            raise _Refused(f"a dictionary's key of the type {type(key).__name__}")
        target[key] = _finished(value)


def _tuple(reader: _Reader, items: list[Any]) -> None:
    reader.stack.append(tuple(item.values if isinstance(item, _Array) else item for item in items))


def _ask(reader: _Reader, module: object, attribute: object) -> None:
    name = _Name(str(module), str(attribute))
    if name not in _ROLES:
        raise _Refused(f"a request for {name.module}.{name.attribute}"[:200])
    reader.stack.append(name)


def _call(reader: _Reader, _: Any) -> None:  # noqa: ANN401
    """Make what a name of NumPy's stands for, out of its arguments; the name itself is not called."""
    name, arguments = reader.pop(2)
    role = _ROLES.get(name) if isinstance(name, _Name) else None
    if role == "array" and isinstance(arguments[0], _Name) and _ROLES[arguments[0]] == "class":
        reader.stack.append(_Array())
    elif role == "type":
        reader.stack.append(_number_type(arguments[0]))
    elif role == "scalar" and isinstance(arguments[0], _NumberType):
        reader.stack.append(_values(arguments[0], (), arguments[1], fortran=False)[()].item())
    elif role == "buffer" and isinstance(arguments[1], _NumberType):
        data, kind, shape, order = arguments
        reader.stack.append(_values(kind, shape, data, fortran=order == "F"))
    else:
        raise _Refused("a call of something that is not one of NumPy's arrays")


def _build(reader: _Reader, _: Any) -> None:  # noqa: ANN401
    """Fill in the state of an array or of a type of numbers."""
    state = reader.pop(1)[0]
    target = reader.stack[-1]
    if isinstance(target, _NumberType) and isinstance(state, tuple) and len(state) >= 2:
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise _Refused("a NumPy type that is not one of plain numbers")
        target.order = state[1]
    elif isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, fortran, data = state
        target.values = _values(kind, shape, data, fortran=bool(fortran))
    else:
        raise _Refused("the state of something that is not one of NumPy's arrays")


def _number_type(code: object) -> _NumberType:
    if not isinstance(code, str) or not re.fullmatch(r"b1|[iu][1248]|f[248]", code):
        raise _Refused(f"a NumPy array of the type {str(code)[:40]!r}, which is not one of plain numbers")
    return _NumberType(code)


def _values(kind: object, shape: object, data: object, *, fortran: bool) -> np.ndarray[Any, Any]:
    """Array of a type and shape from its bytes, which are checked for number."""
    if not isinstance(kind, _NumberType):
        raise _Refused("a NumPy array of a type that is not one of plain numbers")
    if not isinstance(data, (bytes, bytearray)):
        raise _Refused("a NumPy array whose values are no bytes")
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise _Refused("a NumPy array without a shape")
    dtype = kind.dtype()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(bytes(data), dtype).reshape(shape, order="F" if fortran else "C")


def _finished(value: Any) -> Any:  # noqa: ANN401
    """A value that may be stored: the array that an announced one has become, or the value itself."""
    if isinstance(value, _Array):
        if value.values is None:
            raise ValueError("an array without values")
        return value.values
    if isinstance(value, (_Name, _NumberType)):
        raise _Refused("a name of NumPy's where a value should be")
    return value


_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_GETS = {"BINGET", "LONG_BINGET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_ACTIONS: dict[str, Callable[[_Reader, Any], None]] = {
    "APPEND": lambda reader, _: _append(reader, reader.pop(1)),
    "APPENDS": lambda reader, _: _append(reader, reader.marked()),
    "SETITEM": lambda reader, _: _set(reader, reader.pop(2)),
    "SETITEMS": lambda reader, _: _set(reader, reader.marked()),
    "TUPLE": lambda reader, _: _tuple(reader, reader.marked()),
    "TUPLE1": lambda reader, _: _tuple(reader, reader.pop(1)),
    "TUPLE2": lambda reader, _: _tuple(reader, reader.pop(2)),
    "TUPLE3": lambda reader, _: _tuple(reader, reader.pop(3)),
    "GLOBAL": lambda reader, argument: _ask(reader, *str(argument).split(" ", 1)),
    "STACK_GLOBAL": lambda reader, _: _ask(reader, *reader.pop(2)),
    "REDUCE": _call,
    "BUILD": _build,
}
