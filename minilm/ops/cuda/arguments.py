"""What a kernel is launched with: checked against its signature, and put into the struct that it takes by value.

A struct is laid out once, by its text in the .cu file (`minilm.ops.cuda.source`): NumPy's aligned record has C's rules, and
`assertions` has the compiler refuse a source in which it sees other offsets.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from minilm.ops.cuda.source import Parameter

__all__ = ["Packed", "assertions", "layout", "pack", "prepared", "real_of"]

NULL = np.uintp(0)


class Packed(NamedTuple):
    """The value of a struct, for any number of launches."""

    struct: str
    record: np.ndarray  # (): of the struct's `layout`
    numbers: dict[str, Any]  # its numbers, for the sizes of arrays and of the grid
    real: str | None  # what REAL is; None where the struct has none
    values: dict  # what was packed: a record has addresses only, and the arrays must live until the last launch


def layout(struct: Parameter, real: str | None) -> np.dtype:
    """A struct in memory, as a C compiler lays it out."""
    kinds = [(f.name, layout(f, real) if f.fields else "uintp" if f.array else f.dtype(real)) for f in struct.fields]
    return np.dtype(kinds, align=True)


def assertions(structs, real: str) -> str:
    """C++ that compiles only where these structs, and those in them, lie in memory as `layout` has them."""
    text = ""
    for struct in {s.type: s for s in structs}.values():
        kind = layout(struct, real)
        facts = [f"sizeof({struct.type}) == {kind.itemsize}"]
        facts += [f"__builtin_offsetof({struct.type}, {name}) == {kind.fields[name][1]}" for name in kind.names]
        text += "".join(f'static_assert({fact}, "minilm packs {struct.type} otherwise");\n' for fact in facts)
        text += assertions([field for field in struct.fields if field.fields], real)
    return text


def pack(struct: Parameter, kind: np.dtype, values: dict, real: str | None = None) -> Packed:
    """A struct, whose layout is `kind`, with these values by field: device arrays, numbers, and structs, `Packed` or as dicts.

    Fields that may be null need not be given.

    Raises
    ------
    TypeError, ValueError
        A value does not fit its field, or there is none. A mistake in minilm, not in its use.
    """
    record = np.zeros((), kind)
    return Packed(struct.type, record, _fill(record, struct, values, real), real, values)


def _fill(record: np.ndarray, struct: Parameter, values: dict, real: str | None) -> dict[str, Any]:
    """Write the values into a record; returns the struct's numbers."""
    owner, numbers, rest = struct.type, {}, []
    for field in struct.fields:
        try:
            value = values[field.name]
        except KeyError:
            if not field.optional:
                raise TypeError(f"{owner}: {field.name} is missing") from None
            continue
        if field.array:
            rest.append((field, value))
        elif not field.fields:
            numbers[field.name] = record[field.name] = _number(owner, value, field)
        elif isinstance(value, dict):
            numbers = {**_fill(record[field.name], field, value, real), **numbers}
        else:
            record[field.name], numbers = _record(owner, value, field, real), {**value.numbers, **numbers}
    for field, value in rest:  # whose sizes are known now
        record[field.name] = _address(owner, _array(owner, value, field, numbers, real))
    if wrong := values.keys() - {field.name for field in struct.fields}:
        raise TypeError(f"{owner} has no {', '.join(sorted(wrong))}")
    return numbers


def prepared(owner: str, parameters, values, real: str | None) -> tuple[dict[str, Any], list]:
    """(the numbers by name, the arguments as CuPy and the emulator take them) of a kernel, `owner`."""
    numbers: dict[str, Any] = {}
    for parameter, value in zip(parameters, values, strict=True):
        if isinstance(value, Packed):
            numbers = {**value.numbers, **numbers}
        elif not parameter.array:
            numbers[parameter.name] = value
    passed: list = []
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.fields:
            passed.append(_record(owner, value, parameter, real))
        elif parameter.array:
            passed.append(_array(owner, value, parameter, numbers, real))
        else:
            passed.append(np.dtype(parameter.dtype(real)).type(_number(owner, value, parameter)))
    return numbers, passed


def real_of(parameters, values) -> str | None:
    """What REAL is: the dtype of the first array of that type, here or in a struct."""
    for parameter, value in zip(parameters, values, strict=True):
        real = None
        if isinstance(value, Packed):
            real = value.real
        elif isinstance(value, dict):
            real = real_of(parameter.fields, [value.get(field.name) for field in parameter.fields])
        elif parameter.type == "REAL" and parameter.array and value is not None:
            real = str(value.dtype)
        if real:
            return real
    return None


def _number(owner: str, value, parameter: Parameter):
    if not isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(f"{owner}: {parameter.name} must be a number, got {type(value).__name__}")
    return value


def _record(owner: str, value, parameter: Parameter, real: str | None) -> np.ndarray:
    if not isinstance(value, Packed) or value.struct != parameter.type or value.real not in (None, real):
        raise TypeError(f"{owner}: {parameter.name} must be a packed {parameter.type} for {real}")
    return value.record


def _array(owner: str, value, parameter: Parameter, numbers: dict[str, Any], real: str | None):
    where = f"{owner}: {parameter.name}"
    if value is None:
        if not parameter.optional:
            raise TypeError(f"{where} must be an array, got None")
        return NULL
    if not hasattr(value, "dtype"):
        raise TypeError(f"{where} must be an array, got {type(value).__name__}")
    expected = parameter.dtype(real)
    if value.dtype != expected:
        raise TypeError(f"{where} must be of {expected}, got {value.dtype}")
    if parameter.shape is not None:
        size = math.prod([_size(length, numbers) for length in parameter.shape])
        if value.size != size or not value.flags.c_contiguous:
            shape = ", ".join(parameter.shape)
            raise ValueError(f"{where} must be C-contiguous with ({shape}) = {size} numbers, got shape {value.shape}")
    return value


def _address(owner: str, array) -> int:
    """Where a device array lies; 0 for null."""
    if array is NULL:
        return 0
    if isinstance(array, np.ndarray):
        raise TypeError(f"{owner}: an array of the host")
    return array.data.ptr


def _size(length: str, numbers: dict[str, Any]) -> int:
    factor, letter, more = _terms(length)
    return factor * numbers[letter] + more if letter else factor


@functools.cache
def _terms(length: str) -> tuple[int, str, int]:
    """A length as (factor, letter, what is added): ``4H`` is (4, "H", 0), ``T + 1`` (1, "T", 1), and ``1`` (1, "", 0)."""
    letter, _, more = (part.strip() for part in length.partition("+"))
    digits = letter.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
    return int(digits or 1), letter[len(digits) :], int(more or 0)
