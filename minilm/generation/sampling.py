"""From logits to the next token: temperature, top-k, top-p, and the draw.

In this order, as in Hugging Face's `generate`::

    temperature τ      x[v]  = logits[v] / τ
    top-k              x[v]  = -∞  but for the k largest x
    top-p              x[v]  = -∞  but for the nucleus: the fewest tokens, most probable first, whose softmax(x) sums to p or more
    q                  q[v]  = softmax(x)[v]                                          (B, V)
    the draw           id    = the first v with q[0] + ... + q[v] > u                 (B,)   u in [0, 1), one number a text

Of equal logits the lower id counts as the larger one, here as in argmax. So exactly k tokens are kept (Hugging Face keeps
more where some tie with the k-th), and top-k with k = 1, like τ → 0, is greedy.

The draw is an op, `minilm.ops.sampling`, the same on the host and on a GPU; its oracle defines what is kept.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.ops import checks, sampling
from minilm.ops.sampling.oracle import keep_top_k, keep_top_p, weights
from minilm.random import Key
from minilm.typing import Array

__all__ = ["drawn_ids", "greedy_ids", "keep_top_k", "keep_top_p", "probabilities", "sample_ids"]


def probabilities(logits: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> np.ndarray:
    """The distribution of the next token.

    Parameters
    ----------
    logits : ndarray, shape (B, V), float32 or float64
        -inf rules a token out.
    temperature : float
        Above 1 flattens the distribution, below 1 sharpens it; 0 leaves the most probable token alone.
    top_k : int, optional
        Only the k most probable tokens.
    top_p : float, optional
        Only the nucleus, of what `top_k` leaves.

    Returns
    -------
    q : ndarray, shape (B, V), float64
        Each row sums to 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or a row of logits holds a NaN, an inf, or nothing but -inf.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.log(np.array([[0.5, 0.3, 0.2]]))
    >>> probabilities(logits, top_k=2).round(3)
    array([[0.625, 0.375, 0.   ]])
    """
    options = sampling.checked_options(temperature, top_k, top_p)
    best = greedy_ids(logits)  # (B,)
    if temperature == 0:
        q = np.zeros(logits.shape)  # (B, V)
        q[np.arange(len(q)), best] = 1
        return q
    q = weights(logits, *options)  # (B, V)
    return q / q.sum(axis=-1, keepdims=True)


def sample_ids(
    logits: Array, key: Key, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> np.ndarray:
    """Draw the next token of every text.

    Parameters
    ----------
    logits : ndarray, shape (B, V), float32 or float64
    key : Key
        ``Key(seed, step)``. Row b is drawn with number b of that key, so it does not depend on how many rows there are.
    temperature, top_k, top_p
        As in `probabilities`.

    Returns
    -------
    ids : ndarray, shape (B,), int64
        Of logits on the device they lie there too, and -1 stands where a row's largest number is not finite.

    Raises
    ------
    TypeError, ValueError
        As in `probabilities`.
    """
    ids = sampling.forward(logits, key, temperature, top_k, top_p).ids  # (B,)
    return ids if devices.on_gpu(ids) else drawn_ids(ids, logits)


def drawn_ids(ids: np.ndarray, logits: Array | None = None) -> np.ndarray:
    """`ids` (B,), or ValueError where one is -1: the logits of that row, if they are at hand, had no finite largest number."""
    if (ids < 0).any():
        row = int(np.argmax(ids < 0))
        got = f"those of text {row} have not" if logits is None else f"got {logits[row].max()}"
        raise ValueError(f"logits must have a finite largest number in every row, {got}")
    return ids


def greedy_ids(logits: Array) -> np.ndarray:
    """The most probable next token of every text, the lower id among equals.

    Parameters
    ----------
    logits : ndarray, shape (B, V)

    Returns
    -------
    ids : ndarray, shape (B,), int64

    Raises
    ------
    ValueError
        If a row's largest logit is not finite.
    """
    logits = checks.non_empty("logits", checks.floating("logits", logits, (None, None), None, "(B, V)"), "(B, V)")
    ids = logits.argmax(axis=-1)  # (B,)
    best = logits[np.arange(len(logits)), ids]  # (B,) a NaN counts as the largest
    if not np.isfinite(best).all():
        raise ValueError(f"logits must have a finite largest number in every row, got {best[~np.isfinite(best)][0]}")
    return ids
