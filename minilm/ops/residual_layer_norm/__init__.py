"""Residual sum and layer normalisation in one pass. Formulas: `minilm.ops.residual_layer_norm.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.recurrence import check_cotangents
from minilm.ops.residual_layer_norm.spec import Output, Saved
from minilm.typing import Array

__all__ = ["Output", "Saved", "backward", "forward"]


def forward(
    x: Array, residual: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5
) -> tuple[Output, Saved]:
    """Add, and normalise the sum as `minilm.ops.layer_norm` does.

    .. math:: total = x + residual, \\qquad y = \\mathrm{layer\\_norm}(total)

    Parameters
    ----------
    x : ndarray, shape (..., D), float32 or float64
        A branch's output.
    residual : ndarray, shape (..., D)
        What went around the branch.
    gamma, beta : ndarray, shape (D,), optional
        Scale and shift; 1 and 0 without them.
    eps : float
        Added to the variance; at least 0.

    Returns
    -------
    output : Output
        ``total`` and ``y``, (..., D) each.
    saved : Saved
        For `backward`; it holds `total` itself.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If the shapes do not fit.
    """
    x = checks.non_empty("x", checks.floating("x", x), "(..., D)")
    residual = checks.floating("residual", residual, x.shape, x.dtype, "(..., D)")
    if gamma is not None:
        gamma = checks.floating("gamma", gamma, x.shape[-1:], x.dtype, "(D,)")
    if beta is not None:
        beta = checks.floating("beta", beta, x.shape[-1:], x.dtype, "(D,)")
    eps = checks.number("eps", eps, 0, float("inf"), high_open=True)
    return call(__name__, "forward", x, residual, gamma, beta, eps=eps)


def backward(dy: tuple[Array | None, Array | None], saved: Saved) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : tuple (dtotal, dy)
        Gradients of the loss by total and by y, (..., D) each; None means zero; an array
        alone is dtotal.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx, dresidual : ndarray, shape (..., D)
        One array, twice: copy it before writing into it.
    dgamma, dbeta : ndarray, shape (D,), or None where there was no gamma, or no beta

    Raises
    ------
    TypeError, ValueError
        If a part of `dy` does not have its output's shape and dtype.
    """
    shape = saved.total.shape
    dy = check_cotangents(dy, ("dtotal", "dy"), [shape, shape], saved.total.dtype)
    return call(__name__, "backward", dy, saved, by=saved.total)


def __dir__() -> list[str]:
    return sorted(__all__)
