"""The names of suites and cases, and which of them are meant."""

from __future__ import annotations

from minilm.mistaken import nearest

SUITES = ("ops", "models", "memory", "beside", "tokenizers", "gpu", "all")


def known(names: list[str], existing) -> list[str]:
    """The names, every one of which must be among the existing ones.

    Raises
    ------
    ValueError
        For a name that is not, with the nearest one.
    """
    for name in names:
        if name not in existing:
            near = nearest(name, (*SUITES, *existing))
            hint = f"did you mean {near[0]!r}?" if near else "--list names all"
            raise ValueError(f"nothing is named {name!r}; {hint}")
    return names


def choose(cases: list, names: list[str]) -> list:
    """The cases whose subject or full name is among `names`; all of them without names."""
    known(names, [case.subject for case in cases] + [case.name for case in cases])
    return [case for case in cases if not names or case.subject in names or case.name in names]
