"""What the gradient check reports for a broken line: the answers to the exercises, computed while the book is written."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator

from minilm import devices, ops
from minilm.gradcheck import catalogue

__all__ = ["report"]

SHOWN = 4  # problems of a report


def report(op: str, old: str, new: str) -> str:
    """The report of the gradient check of an op whose oracle has `new` in place of `old`.

    Raises
    ------
    ValueError
        If the text does not stand in the oracle exactly once: the line that an exercise is about has changed.
    """
    module = devices.load(ops.registry()[op].package, "oracle")
    with _changed(module, old, new):
        row = catalogue.run(op, "oracle")
    return "\n".join(_lines(row))


def _lines(row) -> list[str]:
    verdict = "passed" if row.passed else "FAILED"
    shown = [f"  {problem}" for problem in row.problems[:SHOWN]]
    more = [f"  ... and {len(row.problems) - SHOWN} more"] * (len(row.problems) > SHOWN)
    return [f"gradcheck {row.name}, {row.checks} cases: {verdict}, worst relative error {row.worst:.1e}", *shown, *more]


@contextlib.contextmanager
def _changed(module, old: str, new: str) -> Iterator[None]:
    """The functions of a module with one line changed, for the time of the block."""
    source = inspect.getsource(module)
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in {module.__name__}, wanted once")
    names: dict = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(source.replace(old, new), module.__file__ or "oracle", "exec"), names)
    before = {name: value for name, value in vars(module).items() if callable(value) and name in names}
    try:
        vars(module).update({name: names[name] for name in before})
        yield
    finally:
        vars(module).update(before)
