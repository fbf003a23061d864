"""Layer normalisation over the last axis. Formulas: `minilm.ops.layer_norm.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.layer_norm.spec import Saved
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


def forward(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5) -> tuple[Array, Saved]:
    """Shift and scale every row to mean 0 and variance 1, then by gamma and beta.

    .. math:: y_{n,d} = \\gamma_d \\frac{x_{n,d} - mean_n}{\\sqrt{var_n + \\epsilon}} + \\beta_d

    Parameters
    ----------
    x : ndarray, shape (..., D), float32 or float64
        Inputs.
    gamma, beta : ndarray, shape (D,), optional
        Scale and shift; 1 and 0 without them.
    eps : float
        Added to the variance; at least 0.

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
    if beta is not None:
        beta = checks.floating("beta", beta, x.shape[-1:], x.dtype, "(D,)")
    eps = checks.number("eps", eps, 0, float("inf"), high_open=True)
    return call(__name__, "forward", x, gamma, beta, eps=eps)


def backward(dy: Array, saved: Saved) -> tuple[Array, Array | None, Array | None]:
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
    dgamma, dbeta : ndarray, shape (D,), or None where there was no gamma, or no beta

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.x.shape, saved.x.dtype, "(..., D)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
