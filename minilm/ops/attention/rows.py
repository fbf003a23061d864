"""Attention of a few queries on the CPU, row by row: generation asks with one query at a time, and a tile would be mostly empty.

The weights for study are computed here as well.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.memory import numbers
from minilm.ops.philox.cpu import fill

FEW = 2  # queries


@jit(fastmath=REASSOC)
def _dots(q, rows, step, first, last, scale, out):
    """out[j] = scale q · row j over [first, last)."""
    K, whole = len(q), last - (last - first) % 4 if first < last else first
    for j in range(first, whole, 4):  # four rows at a time: a load of q serves four, and four sums go on side by side
        k0, k1 = numbers(rows + j * step, K, scale), numbers(rows + (j + 1) * step, K, scale)
        k2, k3 = numbers(rows + (j + 2) * step, K, scale), numbers(rows + (j + 3) * step, K, scale)
        s0 = s1 = s2 = s3 = scale * 0
        for d in range(K):
            s0 += q[d] * k0[d]
            s1 += q[d] * k1[d]
            s2 += q[d] * k2[d]
            s3 += q[d] * k3[d]
        out[j], out[j + 1], out[j + 2], out[j + 3] = s0 * scale, s1 * scale, s2 * scale, s3 * scale
    for j in range(whole, last):
        k = numbers(rows + j * step, K, scale)
        s = scale * 0
        for d in range(K):
            s += q[d] * k[d]
        out[j] = s * scale


@jit
def _run(mask, first, last):
    """The first keys [begin, end) of [first, last) that lie side by side and that the mask shows; end = begin if there is none.

    Loops over such runs leave out what the mask hides: 0 times what stands there would be NaN if that is.
    """
    if mask == 0 or first >= last:
        return first, max(first, last)
    may = numbers(mask, last, np.uint8(0))
    begin = first
    while begin < last and may[begin] == 0:
        begin += 1
    end = begin
    while end < last and may[end] != 0:
        end += 1
    return begin, end


@jit
def _scores(query, key, step, first, last, mask, scale, K, row):
    """row = the scores of one query (K,) and of keys [first, last); -inf elsewhere, and where the mask says so."""
    row[:] = -np.inf
    begin, end = _run(mask, first, last)
    while begin < end:
        _dots(numbers(query, K, scale), key, step, begin, end, scale, row)
        begin, end = _run(mask, end, last)


@jit
def _seen(i, Tk, see):
    """Query i sees keys [first, last) but for the mask."""
    return min(Tk, max(0, i + see[0])), max(0, min(Tk, i + see[1] + 1))


@jit
def drops(drop):
    """Whether anything is dropped: the threshold is 0 where nothing is, and where all is."""
    return drop[1] > 0 or drop[2] == 0


@jit
def _factors(first, drop, drawn, row):
    """row *= dropout's factors of the weights from number `first` on."""
    key, threshold, scale = drop
    fill(first // 4, key, drawn)
    for j in range(len(row)):
        at = first % 4 + j
        row[j] *= scale if drawn[at & 3, at >> 2] >= threshold else scale * 0


@jit(fastmath=REASSOC)
def _weighted(value, step, first, last, row, out):
    """out (Kv,) += the sum of row[j] times value j over [first, last)."""
    Kv, whole = len(out), last - (last - first) % 4 if first < last else first
    for j in range(first, whole, 4):
        w0, w1, w2, w3 = row[j], row[j + 1], row[j + 2], row[j + 3]
        v0, v1 = numbers(value + j * step, Kv, w0), numbers(value + (j + 1) * step, Kv, w0)
        v2, v3 = numbers(value + (j + 2) * step, Kv, w0), numbers(value + (j + 3) * step, Kv, w0)
        for c in range(Kv):
            out[c] += (w0 * v0[c] + w1 * v1[c]) + (w2 * v2[c] + w3 * v3[c])
    for j in range(whole, last):
        w = row[j]
        v = numbers(value + j * step, Kv, w)
        for c in range(Kv):
            out[c] += w * v[c]


@jit(fastmath=REASSOC)
def few_forward(start, stop, places, shape, see, mask, scale, drop, logsumexp, y):
    """Heads [start, stop) of all batch rows: logsumexp and y."""
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3) = places
    real = y.dtype.type
    row = np.empty(Tk, y.dtype)
    drawn = np.empty((4, Tk // 4 + 2), np.uint32)
    for n in range(start, stop):
        b, h = n // H, n % H
        for i in range(Tq):
            first, last = _seen(i, Tk, see)
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
            if drops(drop):
                _factors((n * Tq + i) * Tk, drop, drawn, row)
            begin, end = _run(at, first, last)
            while begin < end:
                _weighted(v0 + b * v1 + h * v3, v2, begin, end, row, out)
                begin, end = _run(at, end, last)
            r = real(0) if l == 0 else real(1) / l
            for c in range(Kv):
                out[c] *= r


@jit(fastmath=REASSOC)
def few_backward(start, stop, places, shape, see, mask, scale, drop, logsumexp, dquery, dkey, dvalue):
    """Heads [start, stop) of all batch rows: the gradients."""
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3), (y0, y1, y2, y3), (g0, g1, g2, g3) = places
    real = dquery.dtype.type
    p, pk, dp = np.empty(Tk, dquery.dtype), np.empty(Tk, dquery.dtype), np.empty(Tk, dquery.dtype)
    drawn = np.empty((4, Tk // 4 + 2), np.uint32)
    for n in range(start, stop):
        b, h = n // H, n % H
        keys, values = k0 + b * k1 + h * k3, v0 + b * v1 + h * v3
        dkey[b, :, h], dvalue[b, :, h] = 0, 0
        for i in range(Tq):
            first, last = _seen(i, Tk, see)
            query, at = q0 + b * q1 + i * q2 + h * q3, mask + b * Tk if mask != 0 else 0
            _scores(query, keys, k2, first, last, at, scale, K, p)
            m = logsumexp[b, h, i]
            m = real(0) if m == -np.inf else m
            for j in range(Tk):
                p[j] = simd.exp(p[j] - m)
                pk[j] = p[j]
            q, g, y = numbers(query, K, scale), numbers(g0 + b * g1 + i * g2 + h * g3, Kv, scale), y0 + b * y1 + i * y2 + h * y3
            begin, end = _run(at, first, last)
            while begin < end:
                _dots(g, values, v2, begin, end, real(1), dp)
                begin, end = _run(at, end, last)
            D = real(0)
            for c, out in enumerate(numbers(y, Kv, scale)):
                D += g[c] * out
            if drops(drop):
                _factors((n * Tq + i) * Tk, drop, drawn, dp)
                _factors((n * Tq + i) * Tk, drop, drawn, pk)
            dq = dquery[b, i, h]
            dq[:] = 0
            begin, end = _run(at, first, last)
            while begin < end:
                for j in range(begin, end):
                    p[j] *= scale * (dp[j] - D)  # scale dS
                _weighted(keys, k2, begin, end, p, dq)
                for j in range(begin, end):
                    dk, dv, by_q, by_g = dkey[b, j, h], dvalue[b, j, h], p[j], pk[j]
                    for d in range(K):
                        dk[d] += by_q * q[d]
                    for c in range(Kv):
                        dv[c] += by_g * g[c]
                begin, end = _run(at, end, last)


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
            first, last = _seen(i, Tk, see)
            at = mask + b * Tk if mask != 0 else 0
            _scores(q0 + b * q1 + i * q2 + h * q3, k0 + b * k1 + h * k3, k2, first, last, at, scale, K, row)
            m = real(0) if m == -np.inf else m
            for j in range(Tk):
                row[j] = simd.exp(row[j] - m)
