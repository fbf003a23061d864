"""Does a backward compute the derivative of its forward? Finite differences against any pair, from an op to a model.

`gradcheck` is the function, also reachable as ``minilm.gradcheck``. It is the base of the chain of proof: finite
differences prove the oracle, and every other implementation is compared with the oracle.
"""

from minilm.checking.check import gradcheck
from minilm.checking.report import Report

__all__ = ["Report", "gradcheck"]


def __dir__() -> list[str]:
    return sorted(__all__)
