"""The text of CUDA sources: includes put in, and the kernels' signatures read.

CuPy's cache of compiled kernels does not see a change in a file that is included, so includes of ours are replaced by their
text; line directives keep the compilers' messages pointing at the files. A kernel's parameters stand one a line, each array with
its shape in a comment::

    extern "C" __global__ void softmax_forward(
        const REAL* x,  // (N, V)
        REAL* y,        // (N, V) or null
        i64 N, i64 V)

From this text the launcher knows how many numbers each array must have, and in which order numbers come.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Parameter", "flatten", "kernels"]

SHARED = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "([\w.]+)"\s*$')
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(\n(.*?)\)\s*\{', re.S)
_ARRAY = re.compile(r"^\s*(const )?(\w+)\* (\w+)(?:,|$)?\s*// \(([^)]*)\)(.*)$")
_NUMBER = re.compile(r"(i64|int|u32|REAL|double) (\w+)")
_LETTERS = {"i64": "q", "int": "i", "u32": "i", "double": "d"}
DTYPES = {"i64": "int64", "int": "int32", "u32": "uint32", "u8": "bool", "u16": "uint16", "double": "float64"}


class Parameter(NamedTuple):
    """One parameter of a kernel."""

    name: str
    type: str  # REAL, double, i64, int, u32, u8
    array: bool
    shape: tuple[str, ...] | None = None  # of an array; None where its numbers do not lie one behind the other
    optional: bool = False  # may be null
    written: bool = False

    def letter(self, dtype) -> str:
        """How the emulator and NVRTC see it: P pointer, f, d, i (32 bits), q (64)."""
        if self.array:
            return "P"
        return {"float32": "f", "float64": "d"}[str(dtype)] if self.type == "REAL" else _LETTERS[self.type]

    def dtype(self, real):
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
        found = _INCLUDE.match(line)
        if line.strip() == "#pragma once":
            lines.append("")
        elif found and found[1] != "shim.h":
            included = _find(found[1], path.parent)
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
    return {name: tuple(_parameters(name, text)) for name, text in _KERNEL.findall(Path(path).read_text(encoding="utf-8"))}


def _parameters(kernel: str, text: str):
    for line in text.splitlines():
        array = _ARRAY.match(line)
        if array:
            constant, type_, name, shape, more = array.groups()
            letters = None if "strided" in more else tuple(part.strip() for part in shape.split(",") if part.strip())
            yield Parameter(name, type_, True, letters, "or null" in more, not constant)
            continue
        numbers = _NUMBER.findall(line.split("//")[0])
        if not numbers:
            raise ValueError(f"{kernel}: cannot read the parameter {line.strip()!r}")
        for type_, name in numbers:
            yield Parameter(name, type_, False)
