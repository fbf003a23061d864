"""Activations that save their output, of which their derivative is a function: sigmoid, tanh, relu.

`minilm.ops.activations` makes the pairs of them; why the others save their input stands in `minilm.ops.activations.spec`.
"""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.activations.spec import SavedOutput
from minilm.ops.contract import call
from minilm.typing import Array

PACKAGE = "minilm.ops.activations"


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
    return call(PACKAGE, "sigmoid_forward", checks.floating("x", x))


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
    return call(PACKAGE, "sigmoid_backward", checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(...)"), saved)


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
    return call(PACKAGE, "tanh_forward", checks.floating("x", x))


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
    return call(PACKAGE, "tanh_backward", checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(...)"), saved)


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
    return call(PACKAGE, "relu_forward", checks.floating("x", x))


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
    return call(PACKAGE, "relu_backward", checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(...)"), saved)
