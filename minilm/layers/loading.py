"""Layers whose weights are loaded: they start from zeros, and claim no more numbers than the weights can fill."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Mapping

__all__ = ["allowance", "blank"]

_blank: contextvars.ContextVar[_Blank | None] = contextvars.ContextVar("minilm_blank", default=None)


@contextlib.contextmanager
def blank(weights: Mapping | None = None) -> Iterator[None]:
    """Layers made inside start from zeros, which take no time and no memory until they are written: for weights to be loaded.

    Parameters
    ----------
    weights : mapping of str to what has a ``shape``, optional
        The weights that are to be loaded. A configuration may state any size, so layers that ask for far more than these are
        refused with a ValueError as soon as they do; whether all fit is for the loading to say.
    """
    token = _blank.set(_Blank(weights))
    try:
        yield
    finally:
        _blank.reset(token)


class _Blank:
    """How many arrays, and numbers in them, may still be made: several times what is there, since a head may start anew."""

    def __init__(self, weights: Mapping | None):
        shapes = None if weights is None else [each.shape for each in weights.values()]
        self.stored = 0 if shapes is None else sum(map(math.prod, shapes))
        self.arrays = math.inf if shapes is None else 256 + 4 * len(shapes)
        self.numbers = math.inf if shapes is None else (1 << 24) + 4 * self.stored

    def claim(self, shape: tuple[int, ...]) -> None:
        """Take room for a parameter; ValueError if the weights to be loaded are far smaller than all that was claimed."""
        self.arrays -= 1
        self.numbers -= math.prod(shape)
        if self.arrays < 0 or self.numbers < 0:
            raise ValueError(f"the configuration is of a far larger model than the weights, which hold {self.stored:,} numbers")


def allowance() -> _Blank | None:
    """What layers that are made now may still claim, of which each parameter claims its shape; None outside of `blank`."""
    return _blank.get()
