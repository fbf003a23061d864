"""Additive attention on the CPU: the tanh of a pair of positions is used where it is computed, and computed again backward."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.additive_attention.spec import Saved
from minilm.ops.workspace import empty, scratch

WORTH = 2**15  # tanh that are worth a thread


@jit(part=True)
def _hidden(may, b, j):
    # whether the mask (B, Tk), or (0, 0) for none, hides a key, which is then left out: 0 times what stands there may be NaN
    return len(may) > 0 and not may[b, j]


@jit(fastmath=REASSOC)
def _forward(start, stop, query, key, v, value, may, weights, y):
    # rows [start, stop) of query (B Tq, A), weights (B Tq, Tk), y (B Tq, D)
    B, Tk, A = key.shape
    Tq = len(query) // B
    real = y.dtype.type
    for n in range(start, stop):
        b, q, row, out = n // Tq, query[n], weights[n], y[n]
        m = real(-np.inf)
        for j in range(Tk):
            if _hidden(may, b, j):
                row[j] = -np.inf
                continue
            k = key[b, j]
            s = real(0)
            for a in range(A):
                s += v[a] * simd.tanh(q[a] + k[a])
            row[j] = s
            m = row[j] if row[j] > m else m
        m = real(0) if m == -np.inf else m
        l = real(0)
        for j in range(Tk):
            row[j] = simd.exp(row[j] - m)
            l += row[j]
        r = real(0) if l == 0 else real(1) / l
        out[:] = 0
        for j in range(Tk):
            row[j] *= r
            if _hidden(may, b, j):
                continue
            w, x = row[j], value[b, j]
            for d in range(len(out)):
                out[d] += w * x[d]


@jit(fastmath=REASSOC)
def _backward(start, stop, dy, query, key, v, value, weights, y, may, dquery, dkey, dv, dvalue):
    # batch rows [start, stop) of all; dv (B, A) is each row's part
    B, Tq, Tk = weights.shape
    A, width = len(v), value.shape[2]
    real = y.dtype.type
    one = real(1)
    for b in range(start, stop):
        dquery[b], dkey[b], dv[b], dvalue[b] = 0, 0, 0, 0
        dv_b = dv[b]
        for i in range(Tq):
            q, dq, g, out = query[b, i], dquery[b, i], dy[b, i], y[b, i]
            D = real(0)
            for d in range(width):
                D += g[d] * out[d]
            for j in range(Tk):
                if _hidden(may, b, j):
                    continue
                k, dk, x, dx, w = key[b, j], dkey[b, j], value[b, j], dvalue[b, j], weights[b, i, j]
                dw = real(0)
                for d in range(width):
                    dw += g[d] * x[d]
                    dx[d] += w * g[d]
                ds = w * (dw - D)
                for a in range(A):
                    t = simd.tanh(q[a] + k[a])
                    du = ds * v[a] * (one - t * t)
                    dq[a] += du
                    dk[a] += du
                    dv_b[a] += ds * t


def _mask_or_empty(key_mask):
    return np.empty((0, 0), bool) if key_mask is None else key_mask


def forward(query, key, v, value, *, key_mask=None):
    (B, Tq, A), Tk, D = query.shape, key.shape[1], value.shape[2]
    weights, y = empty((B, Tq, Tk), query.dtype), empty((B, Tq, D), query.dtype)  # (B, Tq, Tk), (B, Tq, D)
    arguments = (query.reshape(B * Tq, A), key, v, value, _mask_or_empty(key_mask))
    outputs = weights.reshape(B * Tq, Tk), y.reshape(B * Tq, D)
    devices.parallel(_forward, B * Tq, *arguments, *outputs, grain=max(1, WORTH // max(1, Tk * A)))
    return y, Saved(query, key, v, value, weights, y, key_mask)


def backward(dy, saved):
    query, key, v, value, weights, y, key_mask = saved
    dquery, dkey, dv, dvalue = (empty(a.shape, a.dtype) for a in saved[:4])
    B, Tq, Tk = weights.shape
    with scratch():
        parts = empty((B, len(v)), v.dtype)  # (B, A)
        arguments = (dy, *saved[:-1], _mask_or_empty(key_mask), dquery, dkey, parts, dvalue)
        devices.parallel(_backward, B, *arguments, grain=max(1, WORTH // max(1, Tq * Tk * len(v))))
        parts.sum(axis=0, out=dv)
    return dquery, dkey, dv, dvalue
