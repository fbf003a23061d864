"""Activations that save their input, since they are not monotone: SiLU and the two forms of GELU.

`minilm.ops.activations` makes the pairs of them; what the others save stands in `minilm.ops.activations.spec`.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.activations.spec import SavedInput
from minilm.ops.contract import call
from minilm.typing import Array

PACKAGE = "minilm.ops.activations"


def silu_forward(x: Array) -> tuple[Array, SavedInput]:
    """Sigmoid linear unit, or swish, of every element.

    .. math:: y = x\\,\\sigma(x)

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedInput
        For `silu_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(PACKAGE, "silu_forward", checks.floating("x", x))


def silu_backward(dy: Array, saved: SavedInput) -> Array:
    """Gradient of `silu_forward`.

    .. math:: dx = dy \\, (s + x\\,s\\,(1 - s)), \\quad s = \\sigma(x)

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedInput
        From `silu_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(PACKAGE, "silu_backward", checks.floating("dy", dy, saved.x.shape, saved.x.dtype, "(...)"), saved)


def gelu_erf_forward(x: Array) -> tuple[Array, SavedInput]:
    """Gaussian error linear unit of every element.

    .. math:: y = x\\,\\Phi(x) = x\\,(1 + \\mathrm{erf}(x / \\sqrt 2)) / 2

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedInput
        For `gelu_erf_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(PACKAGE, "gelu_erf_forward", checks.floating("x", x))


def gelu_erf_backward(dy: Array, saved: SavedInput) -> Array:
    """Gradient of `gelu_erf_forward`.

    .. math:: dx = dy \\, (\\Phi(x) + x \\, \\varphi(x)), \\quad \\varphi(x) = e^{-x^2/2} / \\sqrt{2\\pi}

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedInput
        From `gelu_erf_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(PACKAGE, "gelu_erf_backward", checks.floating("dy", dy, saved.x.shape, saved.x.dtype, "(...)"), saved)


def gelu_tanh_forward(x: Array) -> tuple[Array, SavedInput]:
    """Gaussian error linear unit in its tanh form of every element.

    .. math:: y = x\\,(1 + \\tanh(\\sqrt{2/\\pi}\\,(x + 0.044715 x^3))) / 2

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedInput
        For `gelu_tanh_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(PACKAGE, "gelu_tanh_forward", checks.floating("x", x))


def gelu_tanh_backward(dy: Array, saved: SavedInput) -> Array:
    """Gradient of `gelu_tanh_forward`.

    .. math:: dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2), \\quad t = \\tanh u, \\; u = \\sqrt{2/\\pi} (x + 0.044715 x^3)

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedInput
        From `gelu_tanh_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(PACKAGE, "gelu_tanh_backward", checks.floating("dy", dy, saved.x.shape, saved.x.dtype, "(...)"), saved)
