"""The names of suites and cases, and which of them are meant."""

from __future__ import annotations

import difflib

SUITES = ("ops", "models", "memory", "beside", "tokenizers", "gpu", "all")


def known(names: list[str], there_are) -> list[str]:
    """The names, every one of which must be among those there are.

    Raises
    ------
    ValueError
        For a name that is not, with the nearest one.
    """
    for name in names:
        if name not in there_are:
            folded = {other.lower(): other for other in (*SUITES, *there_are)}
            near = difflib.get_close_matches(name.lower(), folded, 1, 0.5)
            hint = f"did you mean {folded[near[0]]!r}?" if near else "--list names all"
            raise ValueError(f"nothing is named {name!r}; {hint}")
    return names


def choose(cases: list, names: list[str]) -> list:
    """The cases whose subject or full name is among `names`; all of them without names."""
    known(names, [case.subject for case in cases] + [case.name for case in cases])
    return [case for case in cases if not names or case.subject in names or case.name in names]
