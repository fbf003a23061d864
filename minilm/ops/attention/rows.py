"""Attention of a few queries on the CPU, row by row: generation asks with one query at a time, and a tile would be mostly empty.

The weights for study are computed here as well.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.attention.scratch import at, step
from minilm.ops.attention.tiles import drops, mask_from
from minilm.ops.memory import number, numbers
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
def _cap(first, last, softcap, out):
    """Scores out[j] over [first, last): s becomes softcap tanh(s / softcap)."""
    for j in range(first, last):
        out[j] = softcap * simd.tanh(out[j] / softcap)


@jit
def _slopes(scores, softcap, out):
    """The derivatives of what `_cap` made of the scores, from what it left."""
    one = number(1, softcap)
    for j in range(len(out)):
        t = scores[j] / softcap
        out[j] = one - t * t


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
def _seen(i, task):
    """Query i sees keys [first, last) but for the mask."""
    return min(task.Tk, max(0, i + task.see[0])), max(0, min(task.Tk, i + task.see[1] + 1))


@jit
def _scores(query, key, b, h, i, task, row):
    """row (Tk,) = the scores of query i, -inf where it does not see a key. Returns the mask's address and what `_seen` says."""
    first, last = _seen(i, task)
    mask, q = mask_from(task, b, 0), numbers(at(query, b, i, h), task.K, task.scale)
    row[:] = -np.inf
    begin, end = _run(mask, first, last)
    while begin < end:
        _dots(q, at(key, b, 0, h // task.share), step(key), begin, end, task.scale, row)
        if task.softcap > 0:
            _cap(begin, end, task.softcap, row)
        begin, end = _run(mask, end, last)
    return mask, first, last


@jit
def _factors(b, h, i, task, drawn, row):
    """row (Tk,) *= dropout's factors of the weights of query i."""
    key, threshold, scale = task.drop
    first = ((b * task.H + h) * task.Tq + i) * task.Tk  # number of the row's first weight in (B, H, Tq, Tk)
    fill(first // 4, key, drawn)
    for j in range(len(row)):
        place = first % 4 + j
        row[j] *= scale if drawn[place & 3, place >> 2] >= threshold else scale * 0


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
def few_forward(start, stop, query, key, value, y, task, logsumexp):
    # heads [start, stop) of all batch rows -> y (B, Tq, H, Kv), logsumexp (B, H, Tq)
    row = np.empty(task.Tk, logsumexp.dtype)
    drawn = np.empty((4, task.Tk // 4 + 2), np.uint32)
    zero, one = number(0, task.scale), number(1, task.scale)
    for n in range(start, stop):
        b, h = n // task.H, n % task.H
        for i in range(task.Tq):
            mask, first, last = _scores(query, key, b, h, i, task, row)
            m = simd.largest(row) if task.Tk else zero
            m = zero if m == -np.inf else m
            l = zero
            for j in range(task.Tk):
                e = simd.exp(row[j] - m)
                row[j] = e
                l += e
            logsumexp[b, h, i] = m + math.log(l)
            if drops(task):
                _factors(b, h, i, task, drawn, row)
            out = y[b, i, h]
            out[:] = 0
            begin, end = _run(mask, first, last)
            while begin < end:
                _weighted(at(value, b, 0, h // task.share), step(value), begin, end, row, out)
                begin, end = _run(mask, end, last)
            r = zero if l == 0 else one / l
            for c in range(task.Kv):
                out[c] *= r


@jit(fastmath=REASSOC)
def few_backward(start, stop, inputs, gradients, task, logsumexp):
    # heads of keys and values [start, stop) of all batch rows: the three gradients
    query, key, value, y, dy = inputs
    dquery, dkey, dvalue = gradients
    p, pk, dp, slope = np.empty((4, task.Tk), logsumexp.dtype)
    drawn = np.empty((4, task.Tk // 4 + 2), np.uint32)
    K, Kv, scale = task.K, task.Kv, task.scale
    for n in range(start * task.share, stop * task.share):
        b, h = n // task.H, n % task.H
        g = h // task.share
        if h % task.share == 0:
            dkey[b, :, g], dvalue[b, :, g] = 0, 0
        for i in range(task.Tq):
            mask, first, last = _scores(query, key, b, h, i, task, p)
            m = logsumexp[b, h, i]
            m = number(0, scale) if m == -np.inf else m
            if task.softcap > 0:
                _slopes(p, task.softcap, slope)
            for j in range(task.Tk):
                p[j] = simd.exp(p[j] - m)
                pk[j] = p[j]
            q, dy_i = numbers(at(query, b, i, h), K, scale), numbers(at(dy, b, i, h), Kv, scale)
            begin, end = _run(mask, first, last)
            while begin < end:
                _dots(dy_i, at(value, b, 0, g), step(value), begin, end, number(1, scale), dp)
                begin, end = _run(mask, end, last)
            D = number(0, scale)
            for c, out in enumerate(numbers(at(y, b, i, h), Kv, scale)):
                D += dy_i[c] * out
            if drops(task):
                _factors(b, h, i, task, drawn, dp)
                _factors(b, h, i, task, drawn, pk)
            dq = dquery[b, i, h]
            dq[:] = 0
            begin, end = _run(mask, first, last)
            while begin < end:
                for j in range(begin, end):
                    p[j] *= scale * (dp[j] - D)  # scale dS
                if task.softcap > 0:
                    for j in range(begin, end):
                        p[j] *= slope[j]
                _weighted(at(key, b, 0, g), step(key), begin, end, p, dq)
                for j in range(begin, end):
                    dk, dv, by_q, by_dy = dkey[b, j, g], dvalue[b, j, g], p[j], pk[j]
                    for d in range(K):
                        dk[d] += by_q * q[d]
                    for c in range(Kv):
                        dv[c] += by_dy * dy_i[c]
                begin, end = _run(mask, end, last)


@jit(fastmath=REASSOC)
def weights_of(start, stop, query, key, task, logsumexp, weights):
    # heads [start, stop) of all batch rows: weights (B, H, Tq, Tk) before dropout
    for n in range(start, stop):
        b, h = n // task.H, n % task.H
        for i in range(task.Tq):
            row, m = weights[b, h, i], logsumexp[b, h, i]
            _scores(query, key, b, h, i, task, row)
            m = number(0, task.scale) if m == -np.inf else m
            for j in range(task.Tk):
                row[j] = simd.exp(row[j] - m)
