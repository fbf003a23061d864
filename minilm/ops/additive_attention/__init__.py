"""Additive attention, of recurrent encoders and decoders. Formulas: `minilm.ops.additive_attention.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.additive_attention.spec import Saved
from minilm.ops.contract import call
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


def forward(query: Array, key: Array, v: Array, value: Array, *, key_mask: Array | None = None) -> tuple[Array, Saved]:
    """For every query a mean of the values, weighted by a small network's score of each query with each key.

    .. math:: y_i = \\sum_j P_{i,j} value_j, \\qquad P_i = \\mathrm{softmax}_j(v \\cdot \\tanh(query_i + key_j))

    Parameters
    ----------
    query : ndarray, shape (B, Tq, A), float32 or float64
        The decoder's states after their projection.
    key : ndarray, shape (B, Tk, A)
        The encoder's states after theirs.
    v : ndarray, shape (A,)
        Weights of the score.
    value : ndarray, shape (B, Tk, D)
        What is averaged.
    key_mask : ndarray of bool, shape (B, Tk), optional
        True where a key may be attended. A batch row with none gives zeros.

    Returns
    -------
    y : ndarray, shape (B, Tq, D)
    saved : Saved
        For `backward`; ``saved.weights`` (B, Tq, Tk) is the alignment, for who wants to see it.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, the dtypes differ, or `key_mask` is none of bool.
    ValueError
        If the shapes do not fit.
    """
    query = checks.floating("query", query, (None, None, None), letters="(B, Tq, A)")
    B, _, A = query.shape
    key = checks.floating("key", key, (B, None, A), query.dtype, "(B, Tk, A)")
    v = checks.floating("v", v, (A,), query.dtype, "(A,)")
    value = checks.floating("value", value, (B, key.shape[1], None), query.dtype, "(B, Tk, D)")
    if key_mask is not None:
        key_mask = checks.booleans("key_mask", key_mask, (B, key.shape[1]), "(B, Tk)")
    return call(__name__, "forward", query, key, v, value, key_mask=key_mask)


def backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array, Array]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (B, Tq, D)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dquery : ndarray, shape (B, Tq, A)
    dkey : ndarray, shape (B, Tk, A)
    dv : ndarray, shape (A,)
    dvalue : ndarray, shape (B, Tk, D)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, saved.y.shape, saved.y.dtype, "(B, Tq, D)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
