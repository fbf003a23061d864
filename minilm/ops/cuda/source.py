"""The text of CUDA sources: includes put in, and the kernels' signatures read.

CuPy's cache of compiled kernels does not see a change in a file that is included, so includes of ours are replaced by their
text; line directives keep the compilers' messages pointing at the files. A kernel's parameters stand one a line, each array with
its shape in a comment; a list that several kernels take is a struct, and is written in the same way::

    struct Linear {
        const REAL* x;  // (N, I)
        const REAL* W;  // (O, I)
        i64 N, I, O;
    };

    extern "C" __global__ void linear_forward(
        Linear args,
        REAL* y,          // (N, O)
        const REAL* b) {  // (O) or null

From this text the launcher knows how many numbers each array must have, in which order arguments come, and how a struct lies in
memory.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Parameter", "flatten", "kernels"]

SHARED = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "([\w.]+)"\s*$')
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\((.*?)\) \{([^\n]*)\n', re.S)
_ARRAY = re.compile(r"^\s*(const )?(\w+)\* (\w+)[,;]?\s*// \(([^)]*)\)(.*)$")
DTYPES = {"i64": "int64", "int": "int32", "u32": "uint32", "u8": "bool", "u16": "uint16", "double": "float64"}


class Parameter(NamedTuple):
    """One parameter of a kernel, or field of a struct."""

    name: str
    type: str  # REAL, double, i64, int, u32, u8, or the name of a struct
    array: bool
    shape: tuple[str, ...] | None = None  # of an array; None where its numbers do not lie one behind the other
    optional: bool = False  # may be null
    fields: tuple[Parameter, ...] = ()  # of a struct, which is passed by value

    def dtype(self, real) -> str:
        """NumPy's name of its type."""
        return str(real) if self.type == "REAL" else DTYPES[self.type]


def _find(name: str, beside: Path) -> Path:
    for folder in (beside, SHARED):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f'#include "{name}": neither beside {beside.name} nor in {SHARED.name}')


def flatten(path, seen: set | None = None) -> str:
    """The file's text with every ``#include "..."`` of ours replaced by that file's text, once each."""
    path = Path(path)
    seen = set() if seen is None else seen
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        include = _INCLUDE.match(line)
        if line.strip() == "#pragma once":
            lines.append("")
        elif include and include[1] != "shim.h":
            included = _find(include[1], path.parent)
            if included not in seen:
                seen.add(included)
                lines.append(flatten(included, seen))
            lines.append(f'#line {number + 1} "{path.name}"')
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


@functools.cache
def kernels(path) -> dict[str, tuple[Parameter, ...]]:
    """Name and parameters of every kernel of a file, in its order."""
    path = Path(path)
    lists = _KERNEL.findall(path.read_text(encoding="utf-8"))
    return {name: tuple(_parameters(name, lines + comment, flatten(path))) for name, lines, comment in lists}


def _parameters(owner: str, lines: str, text: str):
    """What the lines of a kernel's list, or of a struct, declare; `text` has the structs that they name."""
    for line in lines.splitlines():
        array = _ARRAY.match(line)
        if array:
            _, type_, name, shape, more = array.groups()
            letters = None if "strided" in more else tuple(part.strip() for part in shape.split(",") if part.strip())
            yield Parameter(name, type_, True, letters, "or null" in more)
            continue
        for type_, name in _declared(owner, line):
            yield Parameter(name, type_, False, fields=() if type_ == "REAL" or type_ in DTYPES else _fields(type_, text))


def _declared(owner: str, line: str):
    """(type, name) of each number or struct of a line: ``i64 N, i64 D,`` as parameters have it, ``i64 N, D;`` as fields."""
    type_ = ""
    code = line.split("//")[0].strip().rstrip(",;")
    for part in code.split(",") if code else ():
        words = part.split()
        if len(words) > 2 or not words or not (type_ or len(words) == 2):
            raise ValueError(f"{owner}: cannot read the parameter {line.strip()!r}")
        type_ = words[0] if len(words) == 2 else type_
        yield type_, words[-1]


def _fields(struct: str, text: str) -> tuple[Parameter, ...]:
    body = re.search(rf"^struct {struct} \{{.*\n((?:.*\n)*?)\}};", text, re.M)
    if body is None:
        raise ValueError(f"there is no struct {struct}")
    return tuple(_parameters(struct, body[1], text))
