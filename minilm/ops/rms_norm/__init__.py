"""Root mean square normalisation over the last axis. The formulas stand in `minilm.ops.rms_norm.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.rms_norm.spec import Saved
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


def forward(x: Array, gamma: Array | None = None, *, eps: float = 1e-6) -> tuple[Array, Saved]:
    """Scale every row to root mean square 1, then by gamma.

    .. math:: y_{n,d} = \\gamma_d \\frac{x_{n,d}}{\\sqrt{\\frac{1}{D} \\sum_e x_{n,e}^2 + \\epsilon}}

    Parameters
    ----------
    x : ndarray, shape (..., D), float32 or float64
        Inputs.
    gamma : ndarray, shape (D,), optional
        Scale; 1 without it.
    eps : float
        Added to the mean square; at least 0.

    Returns
    -------
    y : ndarray, shape (..., D)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If the shapes do not fit.
    """
    x = checks.non_empty("x", checks.floating("x", x), "(..., D)")
    if gamma is not None:
        gamma = checks.floating("gamma", gamma, x.shape[-1:], x.dtype, "(D,)")
    eps = checks.number("eps", eps, 0, float("inf"), high_open=True)
    return call(__name__, "forward", x, gamma, eps=eps)


def backward(dy: Array, saved: Saved) -> tuple[Array, Array | None]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (..., D)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (..., D)
    dgamma : ndarray, shape (D,), or None where there was no gamma

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.x.shape, saved.x.dtype, "(..., D)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
