"""Rotary positions of queries and keys. The formulas stand in `minilm.ops.rotary.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.rotary.spec import Saved
from minilm.ops.rotary.tables import frequencies, tables
from minilm.typing import Array, Ids

__all__ = ["Saved", "backward", "forward", "frequencies", "tables"]


def forward(x: Array, cos: Array, sin: Array, positions: Ids | None = None, *, interleaved: bool = False) -> tuple[Array, Saved]:
    """Turn the pairs of every head by angles that grow with the position.

    .. math:: y_a = x_a \\cos p f_r - x_b \\sin p f_r, \\qquad y_b = x_a \\sin p f_r + x_b \\cos p f_r

    Parameters
    ----------
    x : ndarray, shape (B, T, H, K), float32 or float64
        Queries or keys.
    cos, sin : ndarray, shape (P, R/2)
        Of the angles, by position; see `tables`. The first R of a head's K numbers are rotated.
    positions : ndarray of integers, shape (B, T), optional
        Each in [0, P); 0, 1, ..., T - 1 without them.
    interleaved : bool
        Whether a pair is two neighbours (x[2r], x[2r + 1]), in the place of (x[r], x[r + R/2]).

    Returns
    -------
    y : ndarray, shape (B, T, H, K)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or the dtypes differ.
    ValueError
        If the shapes do not fit, or a position has no row in the tables.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm.ops import rotary
    >>> cos, sin = rotary.tables(P=16, R=4, dtype=np.float64)
    >>> x = np.ones((1, 3, 1, 4))
    >>> y, saved = rotary.forward(x, cos, sin)
    >>> bool(np.allclose((y**2).sum(-1), (x**2).sum(-1)))  # a rotation keeps lengths
    True
    """
    x = checks.floating("x", x, (None, None, None, None), letters="(B, T, H, K)")
    cos = checks.floating("cos", cos, (None, None), x.dtype, "(P, R/2)")
    sin = checks.floating("sin", sin, cos.shape, x.dtype, "(P, R/2)")
    B, T, _, K = x.shape
    P, half = cos.shape
    if not 0 < 2 * half <= K:
        raise ValueError(f"cos must have shape (P, R/2) with R in [2, K = {K}], got shape {cos.shape}")
    if positions is not None:
        positions = checks.ids("positions", positions, P, (B, T), "(B, T)")
    elif T > P:
        raise ValueError(f"x has {T} positions, more than the {P} of the tables")
    return call(__name__, "forward", x, cos, sin, positions, interleaved=checks.flag("interleaved", interleaved))


def backward(dy: Array, saved: Saved) -> Array:
    """Gradient of `forward` by x; the tables have none.

    Parameters
    ----------
    dy : ndarray, shape (B, T, H, K)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dx : ndarray, shape (B, T, H, K)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.shape, saved.cos.dtype, "(B, T, H, K)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
