"""Affine map, y = x Wᵀ + b. Formulas: `minilm.ops.linear.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.linear.spec import Saved
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


def forward(x: Array, W: Array, b: Array | None = None) -> tuple[Array, Saved]:
    """Affine map of the last axis.

    .. math:: y_{n,o} = \\sum_i x_{n,i} W_{o,i} + b_o

    Parameters
    ----------
    x : ndarray, shape (..., I), float32 or float64
        Inputs; all leading axes are rows.
    W : ndarray, shape (O, I)
        Weights, in PyTorch's orientation.
    b : ndarray, shape (O,), optional
        Bias.

    Returns
    -------
    y : ndarray, shape (..., O)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If the shapes do not fit.
    """
    W = checks.floating("W", W, (None, None), letters="(O, I)")
    x = checks.floating("x", x, (..., W.shape[1]), W.dtype, "(..., I)")
    if b is not None:
        b = checks.floating("b", b, W.shape[:1], W.dtype, "(O,)")
    return call(__name__, "forward", x, W, b)


def backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array | None]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (..., O)
        Gradient of the loss by y.
    saved : Saved
        From `forward`; with x = None in it where the weights do not learn, which is a third of the work less.

    Returns
    -------
    dx : ndarray, shape (..., I)
    dW : ndarray, shape (O, I), or None where x is None
    db : ndarray, shape (O,), or None where there was no bias

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    rows = (...,) if saved.x is None else saved.x.shape[:-1]
    dy = checks.floating("dy", dy, (*rows, saved.W.shape[0]), saved.W.dtype, "(..., O)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
