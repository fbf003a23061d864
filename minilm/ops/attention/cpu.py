"""Scaled dot-product attention on the CPU."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.ops import simd
from minilm.ops.attention.spec import Output, Saved
from minilm.ops.dropout.spec import threshold_and_scale
from minilm.ops.jit import REASSOC, jit
from minilm.ops.memory import numbers, place
from minilm.ops.philox.cpu import fill
from minilm.ops.philox.spec import words
from minilm.ops.workspace import empty_from

FAR = 2**62


@jit(part=True)
def _interval(i, Tq, Tk, causal, band):
    """Query i sees keys [low, high), but for the mask."""
    last = i + Tk - Tq if causal else i + band - 1
    first = last - band + 1 if causal else i - band + 1
    return min(Tk, max(0, first)), max(0, min(Tk, last + 1))


@jit(fastmath=REASSOC)
def _scores(i, query, key, strides, interval, mask, scale, K, row):
    # row (Tk,) = S[i]
    q = numbers(query + i * strides[0], K, row)
    low, high = interval
    row[:] = -np.inf
    for j in range(low, high):
        if mask is None or mask[j]:
            k = numbers(key + j * strides[1], K, row)
            s = row.dtype.type(0)
            for d in range(K):
                s += q[d] * k[d]
            row[j] = s * scale


@jit
def _factors(first, words, threshold, scale, drawn, row):
    # row (Tk,): dropout's factors of the weights from number `first` on
    fill(first // 4, words, drawn)
    for j in range(len(row)):
        at = first % 4 + j
        row[j] = scale if drawn[at & 3, at >> 2] >= threshold else row.dtype.type(0)


@jit(fastmath=REASSOC)
def _forward(start, stop, places, shape, see, mask, scale, drop, logsumexp, y, weights):
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3) = places
    words, threshold, factor = drop
    row, factors = np.empty(Tk, y.dtype), np.empty(Tk, y.dtype)
    drawn = np.empty((4, Tk // 4 + 2), np.uint32)
    for n in range(start, stop):
        b, h = n // H, n % H
        for i in range(Tq):
            interval = _interval(i, Tq, Tk, see[0], see[1])
            m_b = None if mask is None else mask[b]
            _scores(i, q0 + b * q1 + h * q3, k0 + b * k1 + h * k3, (q2, k2), interval, m_b, scale, K, row)
            m = simd.largest(row) if Tk else y.dtype.type(-np.inf)
            if m == -np.inf:
                m = y.dtype.type(0)
            l = y.dtype.type(0)
            for j in range(Tk):
                row[j] = simd.exp(row[j] - m)
                l += row[j]
            logsumexp[b, h, i] = m + math.log(l)
            out = y[b, i, h]
            out[:] = 0
            rest = l if l != 0 else y.dtype.type(1)
            if weights is not None:
                for j in range(Tk):
                    weights[b, h, i, j] = row[j] / rest
            if threshold > 0 or factor == 0:
                _factors((n * Tq + i) * Tk, words, threshold, factor, drawn, factors)
                for j in range(Tk):
                    row[j] *= factors[j]
            for j in range(Tk):
                v = numbers(v0 + b * v1 + j * v2 + h * v3, Kv, y)
                w = row[j] / rest
                for c in range(Kv):
                    out[c] += w * v[c]


@jit(fastmath=REASSOC)
def _backward(start, stop, places, shape, see, mask, scale, drop, logsumexp, dquery, dkey, dvalue):
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3), (y0, y1, y2, y3), (g0, g1, g2, g3) = places
    words, threshold, factor = drop
    row, factors = np.empty(Tk, dquery.dtype), np.empty(Tk, dquery.dtype)
    drawn = np.empty((4, Tk // 4 + 2), np.uint32)
    real = dquery.dtype.type
    for n in range(start, stop):
        b, h = n // H, n % H
        dkey[b, :, h] = 0
        dvalue[b, :, h] = 0
        for i in range(Tq):
            interval = _interval(i, Tq, Tk, see[0], see[1])
            m_b = None if mask is None else mask[b]
            _scores(i, q0 + b * q1 + h * q3, k0 + b * k1 + h * k3, (q2, k2), interval, m_b, scale, K, row)
            q = numbers(q0 + b * q1 + i * q2 + h * q3, K, row)
            y = numbers(y0 + b * y1 + i * y2 + h * y3, Kv, row)
            g = numbers(g0 + b * g1 + i * g2 + h * g3, Kv, row)
            m = logsumexp[b, h, i]
            if m == -np.inf:
                m = real(0)
            D = real(0)
            for c in range(Kv):
                D += y[c] * g[c]
            factors[:] = 1
            if threshold > 0 or factor == 0:
                _factors((n * Tq + i) * Tk, words, threshold, factor, drawn, factors)
            out = dquery[b, i, h]
            out[:] = 0
            for j in range(Tk):
                k = numbers(k0 + b * k1 + j * k2 + h * k3, K, row)
                v = numbers(v0 + b * v1 + j * v2 + h * v3, Kv, row)
                p = simd.exp(row[j] - m)
                dp = real(0)
                for c in range(Kv):
                    dp += g[c] * v[c]
                    dvalue[b, j, h, c] += p * factors[j] * g[c]
                ds = scale * p * (dp * factors[j] - D)
                for d in range(K):
                    out[d] += ds * k[d]
                    dkey[b, j, h, d] += ds * q[d]


def _options(saved):
    real = saved.query.dtype.type
    threshold, factor = threshold_and_scale(saved.dropout)
    B, Tq, H, K = saved.query.shape
    _, Tk, _, Kv = saved.value.shape
    drop = (words(saved.rng) if saved.rng else np.zeros(5, np.uint32), np.uint32(threshold), real(factor))
    return (
        (B, Tq, Tk, H, K, Kv),
        (saved.causal, FAR if saved.band is None else saved.band),
        saved.key_mask,
        real(saved.scale),
        drop,
    )


def forward(
    query,
    key,
    value,
    *,
    causal=False,
    band=None,
    key_mask=None,
    scale=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
    workspace=None,
):
    allocate = empty_from(workspace)
    B, Tq, H, _ = query.shape
    y = allocate((B, Tq, H, value.shape[3]), query.dtype)  # (B, Tq, H, Kv)
    logsumexp = allocate((B, H, Tq), query.dtype)  # (B, H, Tq)
    weights = allocate((B, H, Tq, key.shape[1]), query.dtype) if return_weights else None  # (B, H, Tq, Tk)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng)
    places = tuple(place(a) for a in (query, key, value))
    devices.parallel(_forward, B * H, places, *_options(saved), logsumexp, y, weights)
    return Output(y, weights) if return_weights else y, saved


def backward(dy, saved, *, workspace=None):
    allocate = empty_from(workspace)
    dquery, dkey, dvalue = (allocate(a.shape, a.dtype) for a in saved[:3])
    places = tuple(place(a) for a in (*saved[:4], dy))
    devices.parallel(
        _backward,
        saved.logsumexp.shape[0] * saved.logsumexp.shape[1],
        places,
        *_options(saved),
        saved.logsumexp,
        dquery,
        dkey,
        dvalue,
    )
    return dquery, dkey, dvalue
