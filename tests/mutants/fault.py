"""What a planted fault is, and whether it still fits the sources."""

from __future__ import annotations

import ast
import pathlib
from typing import NamedTuple

__all__ = ["Fault", "area", "mutated", "stale"]

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Fault(NamedTuple):
    """One changed place of the sources."""

    area: str
    name: str  # what is wrong then
    file: str  # relative to the root
    text: str  # stands there exactly once
    replacement: str
    tests: tuple[str, ...]  # arguments of pytest, the quickest first
    unseen: str = ""  # why no test can notice, where none can


def area(name: str, *rows: tuple) -> list[Fault]:
    """The faults of an area from rows of (name, file, text, replacement, tests as one line, [why none can notice])."""
    faults = []
    for what, file, text, replacement, tests, *unseen in rows:
        faults.append(Fault(name, what, file, text, replacement, tuple(tests.split()), *unseen))
    return faults


def mutated(fault: Fault, root: pathlib.Path = ROOT) -> str:
    """The content of the fault's file with the fault in it.

    Raises
    ------
    ValueError
        The fault is stale: its file is gone, or its text stands there no more, or several times.
    """
    path = root / fault.file
    if not path.is_file():
        raise ValueError(f"{fault.file} is gone")
    content = path.read_text(encoding="utf-8")
    if content.count(fault.text) != 1:
        raise ValueError(f"{fault.file} has {content.count(fault.text)} times the text {fault.text.strip()!r}")
    return content.replace(fault.text, fault.replacement)


def stale(fault: Fault, root: pathlib.Path = ROOT) -> str | None:
    """Why the fault cannot be planted, or None."""
    try:
        content = mutated(fault, root)
        if fault.file.endswith(".py"):
            ast.parse(content, fault.file)
    except (ValueError, SyntaxError) as error:
        return f"{fault.name}: {error}"
    missing = [test for test in fault.tests if "::" not in test and test.startswith("tests/") and not (root / test).exists()]
    return f"{fault.name}: there is no {', '.join(missing)}" if missing else None
