"""Attention of a few queries on the CPU, row by row: generation asks with one query at a time, and a tile would be mostly empty.

The weights for study are computed here as well.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.ops import simd
from minilm.ops.jit import REASSOC, jit
from minilm.ops.memory import numbers
from minilm.ops.philox.cpu import fill

FEW = 4  # queries


@jit(fastmath=REASSOC)
def _scores(query, key, step, first, last, mask, scale, K, row):
    """row = the scores of one query (K,) and of keys [first, last); -inf elsewhere."""
    q = numbers(query, K, scale)
    row[:first] = -np.inf
    row[last:] = -np.inf
    for j in range(first, last):
        k = numbers(key + j * step, K, scale)
        s = scale * 0
        for d in range(K):
            s += q[d] * k[d]
        row[j] = s * scale
    if mask != 0:
        may = numbers(mask, len(row), np.uint8(0))
        for j in range(first, last):
            if may[j] == 0:
                row[j] = -np.inf


@jit
def _factors(first, drop, drawn, row):
    """row *= dropout's factors of the weights from number `first` on."""
    key, threshold, scale = drop
    fill(first // 4, key, drawn)
    for j in range(len(row)):
        at = first % 4 + j
        row[j] *= scale if drawn[at & 3, at >> 2] >= threshold else scale * 0


@jit(fastmath=REASSOC)
def few_queries(start, stop, places, shape, see, mask, scale, drop, logsumexp, y):
    """Heads [start, stop) of all batch rows: y and logsumexp."""
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3) = places
    real = y.dtype.type
    row = np.empty(Tk, y.dtype)
    drawn = np.empty((4, Tk // 4 + 2), np.uint32)
    for n in range(start, stop):
        b, h = n // H, n % H
        for i in range(Tq):
            first, last = min(Tk, max(0, i + see[0])), max(0, min(Tk, i + see[1] + 1))
            at = mask + b * Tk if mask != 0 else 0
            _scores(q0 + b * q1 + i * q2 + h * q3, k0 + b * k1 + h * k3, k2, first, last, at, scale, K, row)
            m = simd.largest(row) if Tk else real(-np.inf)
            m = real(0) if m == -np.inf else m
            l = real(0)
            for j in range(Tk):
                e = simd.exp(row[j] - m)
                row[j] = e
                l += e
            logsumexp[b, h, i] = m + real(math.log(l))
            out = y[b, i, h]
            out[:] = 0
            if drop[2] != 1:
                _factors((n * Tq + i) * Tk, drop, drawn, row)
            for j in range(first, last):
                w = row[j]
                v = numbers(v0 + b * v1 + j * v2 + h * v3, Kv, scale)
                for c in range(Kv):
                    out[c] += w * v[c]
            r = real(0) if l == 0 else real(1) / l
            for c in range(Kv):
                out[c] *= r


@jit(fastmath=REASSOC)
def weights_of(start, stop, places, shape, see, mask, scale, logsumexp, weights):
    """Heads [start, stop) of all batch rows: weights (B, H, Tq, Tk) before dropout."""
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3) = places
    real = weights.dtype.type
    for n in range(start, stop):
        b, h = n // H, n % H
        for i in range(Tq):
            row, m = weights[b, h, i], logsumexp[b, h, i]
            first, last = min(Tk, max(0, i + see[0])), max(0, min(Tk, i + see[1] + 1))
            at = mask + b * Tk if mask != 0 else 0
            _scores(q0 + b * q1 + i * q2 + h * q3, k0 + b * k1 + h * k3, k2, first, last, at, scale, K, row)
            m = real(0) if m == -np.inf else m
            for j in range(Tk):
                row[j] = simd.exp(row[j] - m)
