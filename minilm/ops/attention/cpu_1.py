"""Attention on the CPU, version 1: the whole matrix of weights in memory, four passes over each of its rows.

Memory grows with Tq Tk, every query reads all keys and values anew, and each dot product is one chain of additions. Version 2
never has more than a tile of the scores, in the cache, and multiplies by the register tile of `minilm.ops.tile`.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.attention.spec import Output, Saved, into
from minilm.ops.dropout.spec import threshold_and_scale
from minilm.ops.philox.cpu import bits
from minilm.ops.workspace import empty, scratch


@jit
def _seen(i, Tk, see):
    """Query i sees keys [low, high) but for the mask."""
    return max(0, i + see[0]), min(Tk, i + see[1] + 1)


@jit
def _factor(drop, b, h, i, j):
    """Z, dropout's factor of a weight: the bits (B, H, Tq, Tk) are not there where the threshold is 0."""
    bits, threshold, scale = drop
    return scale if threshold == 0 or bits[b, h, i, j] >= threshold else scale * 0


@jit
def _score(q, k, scale, softcap):
    total = 0.0
    for n in range(len(q)):
        total += q[n] * k[n]
    return scale * total if softcap == 0 else softcap * math.tanh(scale * total / softcap)


@jit
def _forward(query, key, value, key_mask, see, scale, softcap, drop, P, y, logsumexp):
    # query (B, Tq, H, K), key (B, Tk, G, K), value (B, Tk, G, Kv), key_mask (B, Tk)
    # -> P (B, H, Tq, Tk), y (B, Tq, H, Kv), logsumexp (B, H, Tq)
    B, H, Tq, Tk = P.shape
    P[:], y[:] = 0, 0
    share = H // max(1, key.shape[2])
    for b in range(B):
        for h in range(H):
            g = h // share
            for i in range(Tq):
                low, high = _seen(i, Tk, see)
                row, m, l = P[b, h, i], -np.inf, 0.0
                for j in range(low, high):  # scores, and the largest
                    score = _score(query[b, i, h], key[b, j, g], scale, softcap)
                    row[j] = score if key_mask[b, j] else -np.inf
                    m = max(m, row[j])
                m = 0 if m == -np.inf else m
                for j in range(low, high):  # exponentials, and their sum
                    row[j] = math.exp(row[j] - m)
                    l += row[j]
                for j in range(low, high):  # weights
                    row[j] = 0 if l == 0 else row[j] / l
                for j in range(low, high):  # the weighted mean
                    if key_mask[b, j]:
                        for c in range(value.shape[3]):
                            y[b, i, h, c] += row[j] * _factor(drop, b, h, i, j) * value[b, j, g, c]
                logsumexp[b, h, i] = m + math.log(l)


@jit
def _backward(dy, query, key, value, key_mask, see, scale, softcap, drop, y, logsumexp, dquery, dkey, dvalue):
    # dy, y (B, Tq, H, Kv), logsumexp (B, H, Tq), else as in _forward; gradients as their namesakes
    B, H, Tq = logsumexp.shape
    dquery[:], dkey[:], dvalue[:] = 0, 0, 0
    share = H // max(1, key.shape[2])
    for b in range(B):
        for h in range(H):
            g = h // share
            for i in range(Tq):
                low, high = _seen(i, key.shape[1], see)
                D, m = 0.0, 0 if logsumexp[b, h, i] == -np.inf else logsumexp[b, h, i]
                for c in range(value.shape[3]):
                    D += dy[b, i, h, c] * y[b, i, h, c]
                for j in range(low, high):
                    if not key_mask[b, j]:
                        continue
                    score, dP = _score(query[b, i, h], key[b, j, g], scale, softcap), 0.0
                    for c in range(value.shape[3]):
                        dP += dy[b, i, h, c] * value[b, j, g, c]
                    P, factor = math.exp(score - m), _factor(drop, b, h, i, j)
                    slope = 1.0 if softcap == 0 else 1 - (score / softcap) ** 2
                    dS = scale * P * (factor * dP - D) * slope  # scale is a factor of both gradients
                    for c in range(value.shape[3]):
                        dvalue[b, j, g, c] += P * factor * dy[b, i, h, c]
                    for k in range(query.shape[3]):
                        dquery[b, i, h, k] += dS * key[b, j, g, k]
                        dkey[b, j, g, k] += dS * query[b, i, h, k]


def _options(query, key, key_mask, causal, band, scale, softcap, dropout, rng):
    """What both take beside the arrays: mask, what query i sees ([i + see[0], i + see[1]]), scale, softcap, dropout's bits."""
    (B, Tq, H, _), Tk, real = query.shape, key.shape[1], query.dtype.type
    end, reach = Tk - Tq, Tq + Tk if band is None else min(band, Tq + Tk)
    see = (end - reach + 1, end) if causal else (1 - reach, reach - 1)
    threshold, factor = threshold_and_scale(dropout)
    random = bits(rng, (B, H, Tq, Tk)) if threshold else np.empty((0, 0, 0, 0), np.uint32)
    mask = np.ones((B, Tk), bool) if key_mask is None else key_mask
    return mask, see, real(scale), real(softcap or 0), (random, np.uint32(threshold), real(factor))


def forward(
    query,
    key,
    value,
    *,
    causal=False,
    band=None,
    key_mask=None,
    scale=None,
    softcap=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
):
    (B, Tq, H, _), Tk = query.shape, key.shape[1]
    y = empty((B, Tq, H, value.shape[3]), query.dtype)  # (B, Tq, H, Kv)
    logsumexp, P = empty((B, H, Tq), query.dtype), empty((B, H, Tq, Tk), query.dtype)  # (B, H, Tq), (B, H, Tq, Tk)
    with scratch():
        options = _options(query, key, key_mask, causal, band, scale, softcap, dropout, rng)
        _forward(query, key, value, *options, P, y, logsumexp)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng)
    return Output(y, P) if return_weights else y, saved


def backward(dy, saved, *, out=None):
    query, key, value, y, logsumexp, key_mask, *more = saved
    dquery, dkey, dvalue = (empty(a.shape, a.dtype) for a in (query, key, value))
    with scratch():
        options = _options(query, key, key_mask, *more)
        _backward(dy, query, key, value, *options, y, logsumexp, dquery, dkey, dvalue)
    return into(out, dquery, dkey, dvalue)
