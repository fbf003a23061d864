"""Elementwise activations: sigmoid, tanh, relu, SiLU, and the two forms of GELU.

``activations.relu.forward(x)`` and ``activations.relu.backward(dy, saved)``, or `minilm.ops.relu` for short; all six alike.
Formulas: `minilm.ops.activations.spec`.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.activations.spec import SavedInput, SavedOutput
from minilm.ops.contract import Pair, call
from minilm.typing import Array

__all__ = ["SavedInput", "SavedOutput", "gelu_erf", "gelu_tanh", "relu", "sigmoid", "silu", "tanh"]


def sigmoid_forward(x: Array) -> tuple[Array, SavedOutput]:
    """Logistic sigmoid of every element.

    .. math:: y = \\sigma(x) = 1 / (1 + e^{-x})

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedOutput
        For `sigmoid_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(__name__, "sigmoid_forward", checks.floating("x", x))


def sigmoid_backward(dy: Array, saved: SavedOutput) -> Array:
    """Gradient of `sigmoid_forward`.

    .. math:: dx = dy \\; y (1 - y)

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedOutput
        From `sigmoid_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(__name__, "sigmoid_backward", _cotangent(dy, saved.y), saved)


def tanh_forward(x: Array) -> tuple[Array, SavedOutput]:
    """Hyperbolic tangent of every element.

    .. math:: y = \\tanh x

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedOutput
        For `tanh_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(__name__, "tanh_forward", checks.floating("x", x))


def tanh_backward(dy: Array, saved: SavedOutput) -> Array:
    """Gradient of `tanh_forward`.

    .. math:: dx = dy \\, (1 - y^2)

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedOutput
        From `tanh_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(__name__, "tanh_backward", _cotangent(dy, saved.y), saved)


def relu_forward(x: Array) -> tuple[Array, SavedOutput]:
    """Rectified linear unit of every element.

    .. math:: y = \\max(x, 0)

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.

    Returns
    -------
    y : ndarray, shape (...)
    saved : SavedOutput
        For `relu_backward`.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    """
    return call(__name__, "relu_forward", checks.floating("x", x))


def relu_backward(dy: Array, saved: SavedOutput) -> Array:
    """Gradient of `relu_forward`.

    .. math:: dx = dy \\; [y > 0]

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : SavedOutput
        From `relu_forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    return call(__name__, "relu_backward", _cotangent(dy, saved.y), saved)


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
    return call(__name__, "silu_forward", checks.floating("x", x))


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
    return call(__name__, "silu_backward", _cotangent(dy, saved.x), saved)


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
    return call(__name__, "gelu_erf_forward", checks.floating("x", x))


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
    return call(__name__, "gelu_erf_backward", _cotangent(dy, saved.x), saved)


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
    return call(__name__, "gelu_tanh_forward", checks.floating("x", x))


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
    return call(__name__, "gelu_tanh_backward", _cotangent(dy, saved.x), saved)


def _cotangent(dy: Array, like: Array) -> Array:
    """dy, checked: the shape and dtype are those of x and of y."""
    return checks.floating("dy", dy, like.shape, like.dtype, "(...)")


sigmoid = Pair(sigmoid_forward, sigmoid_backward)
tanh = Pair(tanh_forward, tanh_backward)
relu = Pair(relu_forward, relu_backward)
silu = Pair(silu_forward, silu_backward)
gelu_erf = Pair(gelu_erf_forward, gelu_erf_backward)
gelu_tanh = Pair(gelu_tanh_forward, gelu_tanh_backward)


def __dir__() -> list[str]:
    return sorted(__all__)
