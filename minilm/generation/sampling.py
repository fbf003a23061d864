"""From logits to the next token: temperature, top-k, top-p, and the draw.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
logits    (B, V)      what the model gives for the next token of B texts
q         (B, V)      the distribution that is drawn from
u         (B,)        one random number a text, in [0, 1)
ids       (B,)        the tokens drawn
========  ==========  =====================================================

In this order, as in Hugging Face's `generate`::

    temperature τ      x[v]  = logits[v] / τ
    top-k              x[v]  = -∞  but for the k largest x
    top-p              x[v]  = -∞  but for the nucleus: the fewest tokens, most probable first, whose softmax(x) sums to p or more
    q                  q[v]  = softmax(x)[v]
    the draw           id    = the first v with q[0] + ... + q[v] > u

Of equal logits the lower id counts as the larger one, here as in argmax. So exactly k tokens are kept (Hugging Face keeps
more where some tie with the k-th), and top-k with k = 1, like τ → 0, is greedy.

All of it is computed in float64, whatever the logits are: cumulative sums of 50,000 float32 probabilities are off by 1e-4.
The draw itself is an op, `minilm.ops.sampling`, which gives the same ids on a GPU.

References: A. Fan, M. Lewis, Y. Dauphin, Hierarchical neural story generation, ACL 2018 (top-k); A. Holtzman, J. Buys, L. Du,
M. Forbes, Y. Choi, The curious case of neural text degeneration, ICLR 2020 (top-p, the nucleus).
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.ops import checks, sampling
from minilm.random import Key

__all__ = ["check_options", "greedy_ids", "keep_top_k", "keep_top_p", "probabilities", "sample_ids"]

HEAD = 512  # so many of the most probable tokens are looked at first for the nucleus: a partition is much cheaper than a sort
ROUNDING = 1e-12  # of p: probabilities 0.5 and 0.3 sum to 0.8, whatever their exponentials round to


def check_options(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise TypeError or ValueError, naming the argument, what came and what was wanted, unless all are in range."""
    checks.number("temperature", temperature, 0, math.inf, high_open=True)
    if top_k is not None:
        checks.whole("top_k", top_k, 1, 2**31)
    if top_p is not None:
        checks.number("top_p", top_p, 0, 1, low_open=True)


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k largest logits of every row; -inf in the place of the others.

    Parameters
    ----------
    logits : ndarray, shape (B, V)
    k : int
        With k of V or more nothing changes.

    Returns
    -------
    ndarray, shape (B, V)
    """
    V = logits.shape[-1]
    if k >= V:
        return logits
    kth = np.partition(logits, V - k, axis=-1)[:, V - k, None]  # (B, 1) the k-th largest
    kept = logits >= kth  # (B, V)
    if np.count_nonzero(kept) > k * len(logits):  # of those that tie with the k-th, the first ones
        tied = logits == kth  # (B, V)
        room = k - np.count_nonzero(logits > kth, axis=-1, keepdims=True)  # (B, 1)
        kept &= ~tied | (np.cumsum(tied, axis=-1) <= room)
    return np.where(kept, logits, -np.inf)


def keep_top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """The logits of every row's nucleus; -inf in the place of the others.

    Parameters
    ----------
    logits : ndarray, shape (B, V)
    p : float
        The nucleus is the fewest tokens, most probable first, whose probabilities sum to `p` or more: at least one. With p = 1
        nothing changes.

    Returns
    -------
    ndarray, shape (B, V)
    """
    if p >= 1:
        return logits
    kept = np.full_like(logits, -np.inf)  # (B, V)
    for x, out in zip(logits, kept, strict=True):
        nucleus = _nucleus(x, p)  # (n,)
        out[nucleus] = x[nucleus]
    return kept


def _nucleus(x: np.ndarray, p: float) -> np.ndarray:
    """Ids of the nucleus of logits x (V,), most probable first."""
    e = np.exp(x - x.max())  # (V,)
    wanted = p * e.sum() * (1 - ROUNDING)
    possible = np.flatnonzero(e)  # (N,)
    head = HEAD
    while True:
        some = possible  # (n,) the `head` most probable, and all that tie with the last of them
        if head < len(possible):
            some = possible[e[possible] >= np.partition(e[possible], -head)[-head]]
        order = some[np.argsort(-x[some], kind="stable")]  # (n,) most probable first, the lower id first among equals
        size = np.cumsum(e[order]).searchsorted(wanted) + 1
        if size < len(order) or len(some) == len(possible):
            return order[:size]
        head *= 8


def _filtered(logits, temperature, top_k, top_p) -> np.ndarray:
    """exp(x) up to a factor for every row, float64: zero where top-k or top-p leaves a token out."""
    x = logits.astype(np.float64)  # (B, V)
    peak = x.max(axis=-1, keepdims=True)  # (B, 1)
    if not np.isfinite(peak).all():
        raise ValueError(f"logits must have a finite largest number in every row, got {peak[~np.isfinite(peak)][0]}")
    x -= peak
    if temperature != 1:
        with np.errstate(over="ignore"):
            x /= temperature
    if top_k is not None:
        x = keep_top_k(x, top_k)
    if top_p is not None:
        x = keep_top_p(x, top_p)
    return np.exp(x)


def probabilities(logits, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> np.ndarray:
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
    check_options(temperature, top_k, top_p)
    logits = _checked(logits)
    if temperature == 0:
        q = np.zeros(logits.shape)  # (B, V)
        q[np.arange(len(q)), _greedy(logits)] = 1
        return q
    q = _filtered(logits, temperature, top_k, top_p)  # (B, V)
    return q / q.sum(axis=-1, keepdims=True)


def sample_ids(logits, key: Key, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> np.ndarray:
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
    check_options(temperature, top_k, top_p)
    logits = _checked(logits)
    return draw(logits, key, temperature, top_k, top_p)


def draw(logits, key, temperature, top_k, top_p) -> np.ndarray:
    """`sample_ids` of arguments that were checked. Of logits on the device the ids stay there, -1 for a row without a draw."""
    ids = sampling.forward(logits, key, temperature, top_k, top_p).ids  # (B,)
    return ids if devices.on_gpu(ids) else drawn_ids(ids, logits)


def drawn_ids(ids: np.ndarray, logits=None) -> np.ndarray:
    """`ids` (B,), or ValueError where one is -1: the logits of that row, if they are at hand, had no finite largest number."""
    if (ids < 0).any():
        row = int(np.argmax(ids < 0))
        got = f"those of text {row} have not" if logits is None else f"got {logits[row].max()}"
        raise ValueError(f"logits must have a finite largest number in every row, {got}")
    return ids


def greedy_ids(logits) -> np.ndarray:
    """The most probable next token of every text, the lower id among equals.

    Parameters
    ----------
    logits : ndarray, shape (B, V)

    Returns
    -------
    ids : ndarray, shape (B,), int64
    """
    return _greedy(_checked(logits))


def _greedy(logits) -> np.ndarray:
    ids = logits.argmax(axis=-1)  # (B,)
    best = logits[np.arange(len(logits)), ids]  # (B,) a NaN counts as the largest
    if not np.isfinite(best).all():
        raise ValueError(f"logits must have a finite largest number in every row, got {best[~np.isfinite(best)][0]}")
    return ids


def _checked(logits) -> np.ndarray:
    return checks.non_empty("logits", checks.floating("logits", logits, (None, None), None, "(B, V)"), "(B, V)")
