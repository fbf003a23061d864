"""Softmax and log-softmax over the last axis. Formulas: `minilm.ops.softmax.spec`.

``softmax.forward(x)`` and ``softmax.backward(dy, saved)``; with logarithms ``softmax.log_forward(x)`` and
``softmax.log_backward(dy, saved)``, which are also the pair ``softmax.log_softmax``.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import Pair, call
from minilm.ops.softmax.spec import Saved
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward", "log_backward", "log_forward", "log_softmax"]


def forward(x: Array) -> tuple[Array, Saved]:
    """Softmax of the last axis.

    .. math:: y_{n,v} = e^{x_{n,v}} / \\sum_u e^{x_{n,u}}

    Parameters
    ----------
    x : ndarray, shape (..., V), float32 or float64
        Logits. -inf has probability 0; a row of nothing else gives NaN.

    Returns
    -------
    y : ndarray, shape (..., V)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    ValueError
        If it has no last axis, or an empty one.
    """
    return call(__name__, "forward", _logits(x))


def backward(dy: Array, saved: Saved) -> Array:
    """Gradient of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (..., V)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (..., V)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(..., V)")
    return call(__name__, "backward", dy, saved)


def log_forward(x: Array) -> tuple[Array, Saved]:
    """Logarithm of the softmax of the last axis.

    .. math:: y_{n,v} = x_{n,v} - \\log \\sum_u e^{x_{n,u}}

    Parameters
    ----------
    x : ndarray, shape (..., V), float32 or float64
        Logits. -inf stays -inf; a row of nothing else gives NaN.

    Returns
    -------
    y : ndarray, shape (..., V)
    saved : Saved
        For `log_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    ValueError
        If it has no last axis, or an empty one.
    """
    return call(__name__, "log_forward", _logits(x))


def log_backward(dy: Array, saved: Saved) -> Array:
    """Gradient of `log_forward`.

    Parameters
    ----------
    dy : ndarray, shape (..., V)
        Gradient of the loss by y.
    saved : Saved
        From `log_forward`.

    Returns
    -------
    dx : ndarray, shape (..., V)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(..., V)")
    return call(__name__, "log_backward", dy, saved)


def _logits(x):
    return checks.non_empty("x", checks.floating("x", x), "(..., V)")


log_softmax = Pair(log_forward, log_backward)


def __dir__() -> list[str]:
    return sorted(__all__)
