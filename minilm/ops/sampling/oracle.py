"""Sampling in plain NumPy, by sorting. `minilm.generation` shows users the same distribution."""

from __future__ import annotations

import numpy as np

from minilm.ops import philox
from minilm.ops.sampling.spec import ROUNDING, Drawn
from minilm.typing import Array


def forward(logits, key, temperature=1.0, top_k=None, top_p=None):
    B, V = logits.shape
    u = philox.uniform(key, B, np.float64)  # (B,)
    ids, probability = np.full(B, -1, np.int64), np.full(B, np.nan, logits.dtype)  # (B,) each
    for b in np.flatnonzero(np.isfinite(logits.max(axis=1))):
        if temperature == 0:
            ids[b], probability[b] = logits[b].argmax(), 1
            continue
        (e,) = weights(logits[b : b + 1], temperature, top_k, top_p)  # (V,)
        sums = np.cumsum(e)  # (V,)
        ids[b] = np.argmax(sums > u[b] * sums[-1])
        probability[b] = e[ids[b]] / sums[-1]
    return Drawn(ids, probability)


def weights(logits, temperature=1.0, top_k=None, top_p=None):
    """e (B, V) of logits (B, V), float64: the distribution up to a factor."""
    x = logits.astype(np.float64)  # (B, V)
    with np.errstate(over="ignore"):
        x = (x - x.max(axis=1, keepdims=True)) / temperature  # (B, V)
    x = x if top_k is None else keep_top_k(x, top_k)
    x = x if top_p is None else keep_top_p(x, top_p)
    return np.exp(x)  # (B, V)


def keep_top_k(x: Array, k: int) -> Array:
    """The k largest of each row of x (B, V), of equal ones the first; -inf in place of the others."""
    return _keep(x, np.argsort(-x, axis=1, kind="stable"), k)


def keep_top_p(x: Array, p: float) -> Array:
    """The nucleus of each row of logits x (B, V); -inf in place of the others. Nothing changes if p >= 1.

    The nucleus is the fewest tokens, most probable first, whose softmax(x) sums to p or more: at least one.
    """
    if p >= 1:
        return x
    order = np.argsort(-x, axis=1, kind="stable")  # (B, V) the largest first, of equal ones the first
    e = np.exp(x - x.max(axis=1, keepdims=True))  # (B, V)
    sums = np.cumsum(np.take_along_axis(e, order, axis=1), axis=1)  # (B, V)
    nucleus = 1 + np.count_nonzero(sums <= p * sums[:, -1:] * (1 - ROUNDING), axis=1, keepdims=True)  # (B, 1)
    return _keep(x, order, nucleus)


def _keep(x, order, count):
    """x (B, V) at the first `count` columns of `order` (B, V), -inf elsewhere; `count` a number, or one a row (B, 1)."""
    keep = np.empty(x.shape, bool)  # (B, V)
    np.put_along_axis(keep, order, np.arange(x.shape[1]) < count, axis=1)
    return np.where(keep, x, -np.inf)
