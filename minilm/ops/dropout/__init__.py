"""Dropout without a stored mask. Formulas: `minilm.ops.dropout.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.dropout.spec import Saved
from minilm.ops.philox.spec import MOST
from minilm.random import Key
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


def forward(x: Array, p: float, key: Key, *, shared_axis: int | None = None) -> tuple[Array, Saved]:
    """Drop elements with probability p, and divide the others by 1 - p.

    .. math:: y_i = x_i k_i, \\qquad k_i = [r_i \\ge p\\,2^{32}] \\,/\\, (1 - p)

    Parameters
    ----------
    x : ndarray, shape (...), float32 or float64
        Inputs.
    p : float
        In [0, 1].
    key : minilm.random.Key
        Which random numbers r: another key in every step and place. The same elements are dropped in float32 and float64.
    shared_axis : int, optional
        All elements along this axis share one decision.

    Returns
    -------
    y : ndarray, shape (...)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong kind or out of range.
    """
    x = checks.floating("x", x)
    if x.size > MOST:
        raise ValueError(f"x must have at most {MOST} elements, got {checks.describe(x)}")
    if shared_axis is not None:
        shared_axis = checks.whole("shared_axis", shared_axis, -x.ndim, x.ndim) % x.ndim
    p = checks.number("p", p, 0, 1)
    return call(__name__, "forward", x, p, checks.random_key(key), shared_axis=shared_axis)


def backward(dy: Array, saved: Saved) -> Array:
    """Gradient of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (...)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.shape, saved.dtype, "(...)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
