"""Clipping by the global norm. Formulas: `minilm.ops.clip.spec`."""

from __future__ import annotations

import math

from minilm import devices
from minilm.ops import checks
from minilm.ops.contract import call
from minilm.typing import Array, Scalar

__all__ = ["norm", "scale"]


def norm(grad: Array) -> Scalar:
    """Euclidean norm of all gradients together.

    .. math:: \\sqrt{\\sum_n grad_n^2}

    Parameters
    ----------
    grad : ndarray, any shape, float32 or float64
        Gradients of all parameters, one flat buffer.

    Returns
    -------
    norm : float32 or float64 scalar
        Summed in float64. NaN or infinity where the gradients hold one.

    Raises
    ------
    TypeError
        If `grad` is no array of float32 or float64.
    """
    return call(__name__, "norm", checks.floating("grad", grad))


def scale(norm: Scalar, max_norm: float) -> float:
    """The factor, at most 1, by which gradients of this norm get a norm of at most `max_norm`.

    .. math:: \\min(1, max\\_norm / (norm + 10^{-6}))

    Parameters
    ----------
    norm : float
        From `norm`.
    max_norm : float
        At least 0.

    Returns
    -------
    scale : float
        A norm on the device gives a factor there, and nothing waits for it. For a norm that is not finite it is NaN, by which an
        update changes nothing.

    Raises
    ------
    FloatingPointError
        If `norm` is NaN or infinite: no factor makes such gradients usable.
    """
    max_norm = checks.number("max_norm", max_norm, 0, math.inf)
    if devices.on_gpu(norm):
        return call(__name__, "scale", norm, max_norm)
    norm = float(norm)
    if not math.isfinite(norm):
        raise FloatingPointError(f"norm of the gradients is {norm}, wanted a finite number")
    return min(1.0, max_norm / (checks.number("norm", norm, 0, math.inf) + 1e-6))


def __dir__() -> list[str]:
    return sorted(__all__)
