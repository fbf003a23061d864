"""Gated activations, SwiGLU and GEGLU.

``gated.swiglu.forward(a, b)`` and ``gated.swiglu.backward(dy, saved)``, or `minilm.ops.swiglu` for short; both alike.
Formulas: `minilm.ops.gated.spec`.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import Pair, call
from minilm.ops.gated.spec import Saved
from minilm.typing import Array

__all__ = ["Saved", "geglu", "swiglu"]


def swiglu_forward(a: Array, b: Array) -> tuple[Array, Saved]:
    """What is gated, times the sigmoid linear unit of the gate's argument.

    .. math:: y = a\\,\\sigma(a)\\,b

    Parameters
    ----------
    a : ndarray, shape (...), float32 or float64
        The gate's argument.
    b : ndarray, shape (...)
        What is gated.

    Returns
    -------
    y : ndarray, shape (...)
    saved : Saved
        For `swiglu_backward`.

    Raises
    ------
    TypeError, ValueError
        If an argument is no array of float32 or float64, or the two differ in dtype or shape.
    """
    return call(__name__, "swiglu_forward", *_checked(a, b))


def swiglu_backward(dy: Array, saved: Saved) -> tuple[Array, Array]:
    """Gradients of `swiglu_forward`.

    .. math:: da = dy\\,b\\,(s + a\\,s\\,(1 - s)), \\quad db = dy\\,a\\,s, \\quad s = \\sigma(a)

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : Saved
        From `swiglu_forward`.

    Returns
    -------
    da, db : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(__name__, "swiglu_backward", _cotangent(dy, saved), saved)


def geglu_forward(a: Array, b: Array) -> tuple[Array, Saved]:
    """What is gated, times the Gaussian error linear unit, in its tanh form, of the gate's argument.

    .. math:: y = a\\,(1 + \\tanh u) / 2 \\; b, \\quad u = \\sqrt{2/\\pi}\\,(a + 0.044715\\,a^3)

    Parameters
    ----------
    a : ndarray, shape (...), float32 or float64
        The gate's argument.
    b : ndarray, shape (...)
        What is gated.

    Returns
    -------
    y : ndarray, shape (...)
    saved : Saved
        For `geglu_backward`.

    Raises
    ------
    TypeError, ValueError
        If an argument is no array of float32 or float64, or the two differ in dtype or shape.
    """
    return call(__name__, "geglu_forward", *_checked(a, b))


def geglu_backward(dy: Array, saved: Saved) -> tuple[Array, Array]:
    """Gradients of `geglu_forward`.

    .. math:: da = dy\\,b\\,((1 + t) / 2 + a\\,(1 - t^2)\\,u' / 2), \\quad db = dy\\,a\\,(1 + t) / 2, \\quad t = \\tanh u

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : Saved
        From `geglu_forward`.

    Returns
    -------
    da, db : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(__name__, "geglu_backward", _cotangent(dy, saved), saved)


def _checked(a: Array, b: Array) -> tuple[Array, Array]:
    a = checks.floating("a", a)
    return a, checks.floating("b", b, a.shape, a.dtype, "(...)")


def _cotangent(dy: Array, saved: Saved) -> Array:
    return checks.floating("dy", dy, saved.a.shape, saved.a.dtype, "(...)")


swiglu = Pair(swiglu_forward, swiglu_backward)
geglu = Pair(geglu_forward, geglu_backward)


def __dir__() -> list[str]:
    return sorted(__all__)
