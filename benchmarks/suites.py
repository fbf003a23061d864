"""The suites, and which of their cases are meant.

A suite is a module with ``cases(quick) -> list of Case``: a new case is one more in its list, a new suite one more line here.
"""

from __future__ import annotations

import importlib

from benchmarks.case import Case
from minilm.mistaken import nearest

SUITES = {  # name -> module, and what it measures
    "ops": ("cases_ops", "kernels, forward and backward, beside the oracle, PyTorch, their own plain versions and the roofs"),
    "models": ("cases_models", "training steps of layers, models and tasks"),
    "generation": ("cases_generation", "writing token by token, and reading with a trained encoder"),
    "tokenizers": ("cases_tokenizers", "encoding and training"),
    "scaling": ("cases_scaling", "the same work on more threads"),
    "memory": ("cases_memory", "peak memory of a training step"),
    "startup": ("cases_startup", "imports, first steps and compilation, in fresh processes"),
    "beside": ("cases_beside", "does PyTorch in the same process slow minilm down, or minilm PyTorch"),
    "gpu": ("cases_gpu", "kernels, steps and decoding on a GPU, in order of worth"),
}
USUAL = ("ops", "models", "generation")  # what `python -m benchmarks` without a suite runs


def cases(suites, quick: bool = False) -> list[Case]:
    """The cases of some suites, in their order."""
    return [case for suite in suites for case in importlib.import_module(f"benchmarks.{SUITES[suite][0]}").cases(quick)]


def choose(cases: list[Case], names: list[str], filters: list[str]) -> list[Case]:
    """The cases whose subject or full name is among `names`, and whose name holds one of `filters`; all of them without any.

    Raises
    ------
    ValueError
        For a name that no case has, with the nearest one, and where no case is left.
    """
    known = {case.subject for case in cases} | {case.name for case in cases}
    for name in names:
        if name not in known:
            near = nearest(name, (*SUITES, *sorted(known)))
            raise ValueError(f"nothing is named {name!r}; " + (f"did you mean {near[0]!r}?" if near else "--list names all"))
    chosen = [case for case in cases if not names or case.subject in names or case.name in names]
    left = [case for case in chosen if not filters or any(part.lower() in case.name.lower() for part in filters)]
    if chosen and not left:
        raise ValueError(f"no case's name holds {' or '.join(map(repr, filters))}; --list names all")
    return left
