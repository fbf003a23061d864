"""Rows of a table by their ids, y = W[ids]. Formulas: `minilm.ops.embedding.spec`."""

from __future__ import annotations

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.embedding.spec import Saved
from minilm.typing import Array, Ids

__all__ = ["Saved", "backward", "forward"]


def forward(ids: Ids, W: Array, padding_idx: int | None = None) -> tuple[Array, Saved]:
    """Look up a row of W for every id.

    .. math:: y_{n,d} = W_{ids_n, d}

    Parameters
    ----------
    ids : ndarray of integers, shape (...)
        Each in [0, V).
    W : ndarray, shape (V, D), float32 or float64
        The table.
    padding_idx : int, optional
        An id in [-V, V) whose row gets no gradient; a negative one counts from the end, as in PyTorch.

    Returns
    -------
    y : ndarray, shape (..., D)
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If `ids` holds no integers, or `W` is not float32 or float64.
    ValueError
        If a shape does not fit, or an id lies outside [0, V); its position is named.
    """
    W = checks.floating("W", W, (None, None), letters="(V, D)")
    V = len(W)
    ids = checks.ids("ids", ids, V)
    if padding_idx is not None:
        padding_idx = checks.whole("padding_idx", padding_idx, -V, V) % V
    return call(__name__, "forward", ids, W, padding_idx)


def backward(dy: Array, saved: Saved) -> Array:
    """Gradient of `forward` by W; ids have none.

    Parameters
    ----------
    dy : ndarray, shape (..., D)
        Gradient of the loss by y.
    saved : Saved
        From `forward`.

    Returns
    -------
    dW : ndarray, shape (V, D)
        Sums over all places where an id stands; zero for ids that do not occur, and for `padding_idx`.

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have y's shape and dtype.
    """
    dy = checks.floating("dy", dy, (*saved.ids.shape, saved.shape[1]), saved.dtype, "(..., D)")
    return call(__name__, "backward", dy, saved)


def __dir__() -> list[str]:
    return sorted(__all__)
