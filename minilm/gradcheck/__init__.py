"""Does a backward compute the derivative of its forward? Finite differences against any pair, from an op to a model.

``minilm.gradcheck(layer, x)`` calls this package's function `gradcheck`. It is the base of the chain of proof: finite
differences prove the oracle, and every other implementation is compared with the oracle. `minilm gradcheck`, the command, runs
it over every op, layer and model: see `minilm.gradcheck.catalogue`.
"""

import sys
import types

from minilm.gradcheck.check import gradcheck
from minilm.gradcheck.report import Report

__all__ = ["Report", "gradcheck"]


class _CallableModule(types.ModuleType):
    """So that the name `minilm.gradcheck` is the function as well as the package that holds it."""

    __call__ = staticmethod(gradcheck)


sys.modules[__name__].__class__ = _CallableModule


def __dir__() -> list[str]:
    return sorted(__all__)
