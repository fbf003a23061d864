"""Pickles of plain values, read without running any code of theirs.

A pickle is a program for a small machine with a stack. Python's own `pickle` lets it call whatever it names, so a file of another
person may do anything. The machine here knows numbers, texts, lists, tuples and dictionaries; what a pickle names it only takes
from a list of the caller's, and "calling" it runs the caller's function on checked arguments. Anything else is refused by name.

Opcodes and their arguments are cut by `pickletools.genops`, which runs nothing either. Lengths are held against the file before
memory is taken; the memo is a dictionary, so a pickle cannot ask for place 2**32.

The format: https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

__all__ = ["Bounded", "Name", "paired", "read_pickle"]

MOST_OPCODES = 4_000_000  # some seconds; a model of a thousand arrays has 50,000
DIGITS = 4_000  # of a whole number
MARK = object()

PUSHED = {  # opcodes whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name(str):
    """The name of a function or class in a pickle, "module.name", that the caller's list has."""


class Bounded:
    """A file that never gives, and never asks memory for, more than is left of it up to `end`."""

    def __init__(self, file: BinaryIO, end: int):
        self._file, self._end = file, end

    def read(self, count: int) -> bytes:
        """Up to `count` bytes."""
        return self._file.read(max(0, min(count, self._end - self._file.tell())))

    def readline(self) -> bytes:
        """A line."""
        return self._file.readline(max(0, min(1 << 16, self._end - self._file.tell())))

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()


def read_pickle(file: Bounded, calls: Mapping[str, Callable[..., Any] | None], persistent: Callable[[Any], Any]) -> Any:
    """The value of one pickle, from where the file stands to the pickle's end.

    Parameters
    ----------
    file : Bounded
    calls : mapping of str to callable or None
        What the pickle may name, as "module.name". A callable gets the arguments of a call; None may be named and not called.
    persistent : callable
        Gives the value of a persistent id, by which torch's files name their storages.

    Raises
    ------
    ValueError
        The pickle is damaged, names what is not in `calls`, or has an opcode that plain values do not need.
    """
    machine = _Machine(calls, persistent)
    try:
        for number, (opcode, argument, _) in enumerate(_opcodes(file)):
            if number > MOST_OPCODES:
                raise ValueError(f"the pickle has more than {MOST_OPCODES:,} opcodes")
            machine.step(opcode.name, argument)
        return machine.result()
    except ValueError as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__})") from None


def _opcodes(file: Bounded) -> Iterator[tuple[Any, Any, Any]]:
    try:
        yield from pickletools.genops(file)
    except ValueError as error:
        raise ValueError(f"no whole pickle, as PyTorch's files have it ({str(error).partition(chr(10))[0]})") from None


class _Machine:
    """The stack and the memo."""

    def __init__(self, calls, persistent):
        self.calls, self.persistent = calls, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Do what one opcode says."""
        stack = self.stack
        if opcode in PUSHED:
            if isinstance(argument, int) and argument.bit_length() > DIGITS:
                raise ValueError("the pickle holds a whole number of thousands of digits")
            stack.append(argument)
        elif opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode])
        elif opcode in EMPTY:
            stack.append(EMPTY[opcode]())
        elif opcode in SHORT_TUPLES:
            count = SHORT_TUPLES[opcode]
            stack.append(tuple(self._last(count)))
        else:
            method = getattr(self, f"_{opcode.lower()}", None)
            if method is None:
                raise ValueError(f"the pickle has the opcode {opcode}, which plain values and arrays do not need")
            method(argument)

    def result(self) -> Any:
        """What is left at the end."""
        if len(self.stack) != 1 or self.stack[0] is MARK:
            raise ValueError("the pickle is damaged: it does not leave one value")
        return self.stack[0]

    def _last(self, count: int) -> list:
        values = self.stack[len(self.stack) - count :]
        if len(self.stack) < count or any(value is MARK for value in values):
            raise ValueError("the pickle is damaged: it takes more than there is")
        del self.stack[len(self.stack) - count :]
        return values

    def _to_mark(self) -> list:
        values: list[Any] = []
        while (value := self.stack.pop()) is not MARK:
            values.append(value)
        return values[::-1]

    # --- opcodes, by their names in `pickletools` ---

    def _proto(self, _) -> None:
        pass

    _frame = _stop = _proto

    def _mark(self, _) -> None:
        self.stack.append(MARK)

    def _put(self, place) -> None:
        self.memo[int(place)] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, place) -> None:
        self.stack.append(self.memo[int(place)])

    _binget = _long_binget = _get

    def _tuple(self, _) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _list(self, _) -> None:
        self.stack.append(self._to_mark())

    def _dict(self, _) -> None:
        self.stack.append(paired(self._to_mark()))

    def _append(self, _) -> None:
        (value,) = self._last(1)
        _as(list, self.stack[-1]).append(value)

    def _appends(self, _) -> None:
        values = self._to_mark()
        _as(list, self.stack[-1]).extend(values)

    def _setitem(self, _) -> None:
        pair = self._last(2)
        _as(dict, self.stack[-1]).update(paired(pair))

    def _setitems(self, _) -> None:
        values = self._to_mark()
        _as(dict, self.stack[-1]).update(paired(values))

    def _global(self, name) -> None:
        self._named(name.replace(" ", ".", 1))

    def _stack_global(self, _) -> None:
        module, name = self._last(2)
        self._named(f"{_as(str, module)}.{_as(str, name)}")

    def _named(self, name: str) -> None:
        if name not in self.calls:
            raise ValueError(f"the pickle names {name[:80]!r}, which may be code and is not read: save the weights alone")
        self.stack.append(Name(name))

    def _reduce(self, _) -> None:
        function, arguments = self._last(2)
        call = self.calls[function] if isinstance(function, Name) else None
        if call is None or not isinstance(arguments, tuple):
            raise ValueError("the pickle calls what is no function of torch's")
        self.stack.append(call(*arguments))

    def _build(self, _) -> None:
        """The attributes of an OrderedDict, which torch gives versions of modules; they say nothing of the weights."""
        self._last(1)
        _as(dict, self.stack[-1])

    def _binpersid(self, _) -> None:
        (id,) = self._last(1)
        self.stack.append(self.persistent(id))


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"the pickle is damaged: a {kind.__name__} was wanted")
    return value


def paired(values: list) -> dict:
    """A dictionary of keys and values in turn. Keys are plain: to hash a tuple of tuples may take for ever."""
    if len(values) % 2:
        raise ValueError("the pickle is damaged: a key without a value")
    if not all(isinstance(key, (str, int, float, bytes, type(None))) for key in values[::2]):
        raise ValueError("the pickle has a key that is neither a text nor a number")
    return dict(zip(values[::2], values[1::2], strict=True))
