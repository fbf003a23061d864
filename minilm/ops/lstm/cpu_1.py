"""LSTM on the CPU, version 1: a loop over the steps, in each a loop over the rows of the batch, in each a loop over the gates.

Rows share nothing: all weights are read again for every row of every step, and a gate's sum is one chain of additions. Version 2
multiplies several rows by a packed panel of the weights at once, and leaves what can wait, as dW, to one product over all steps.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.lstm.spec import CellOutput, CellSaved, Output, Saved
from minilm.ops.recurrence import active, order, states_after
from minilm.ops.recurrent_cpu import outputs, started
from minilm.ops.workspace import empty


@jit
def _sigmoid(a):
    e = math.exp(-abs(a))  # never overflows
    return (e if a < 0 else 1) / (1 + e)


@jit
def _step(takes_part, x, h0, c0, W_ih, W_hh, b_ih, b_hh, gates, h, c):
    # takes_part (B,), x (B, D), h0, c0 (B, H) -> gates (B, 4H), h, c (B, H)
    B, H = h.shape
    for b in range(B):
        for j in range(4 * H):
            a = b_ih[j] + b_hh[j]
            for d in range(x.shape[1]):
                a += W_ih[j, d] * x[b, d]
            for k in range(H):
                a += W_hh[j, k] * h0[b, k]
            gates[b, j] = math.tanh(a) if 2 * H <= j < 3 * H else _sigmoid(a)
        for j in range(H):
            i, f, g, o = gates[b, j], gates[b, H + j], gates[b, 2 * H + j], gates[b, 3 * H + j]
            c[b, j] = f * c0[b, j] + i * g if takes_part[b] else c0[b, j]
            h[b, j] = o * math.tanh(c[b, j]) if takes_part[b] else h0[b, j]


@jit
def _step_backward(takes_part, dh, dc, x, h0, c0, c, gates, W_ih, W_hh, da, dx, dW_ih, dW_hh, db):
    # dh, dc (B, H) by the states after the step become those by the states before; da (4H,) is scratch; dW_ih, dW_hh, db grow
    B, H = dh.shape
    for b in range(B):
        dx[b] = 0
        if not takes_part[b]:
            continue
        for j in range(H):
            i, f, g, o = gates[b, j], gates[b, H + j], gates[b, 2 * H + j], gates[b, 3 * H + j]
            tanh_c = math.tanh(c[b, j])
            dc[b, j] += dh[b, j] * o * (1 - tanh_c * tanh_c)
            da[j] = dc[b, j] * g * i * (1 - i)
            da[H + j] = dc[b, j] * c0[b, j] * f * (1 - f)
            da[2 * H + j] = dc[b, j] * i * (1 - g * g)
            da[3 * H + j] = dh[b, j] * tanh_c * o * (1 - o)
            dc[b, j] *= f
        dh[b] = 0
        for j in range(4 * H):
            db[j] += da[j]
            for d in range(x.shape[1]):
                dx[b, d] += da[j] * W_ih[j, d]
                dW_ih[j, d] += da[j] * x[b, d]
            for k in range(H):
                dh[b, k] += da[j] * W_hh[j, k]
                dW_hh[j, k] += da[j] * h0[b, k]


def forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    (T, B, _), H = x.shape, W_hh.shape[1]
    first, last, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)[:, :, 0]  # (T, B)
    h, c = (empty((T + 1, B, H), x.dtype) for _ in range(2))  # (T + 1, B, H)
    gates = empty((T, B, 4 * H), x.dtype)  # (T, B, 4H)
    h[first], c[first] = h0, c0
    for t in steps:
        states = h[t + before], c[t + before]
        _step(takes_part[t], x[t], *states, W_ih, W_hh, b_ih, b_hh, gates[t], h[t + after], c[t + after])
    y = outputs(states_after(h, reverse), lengths)  # (T, B, H)
    return Output(y, h[last], c[last]), Saved(x, h, c, gates, W_ih, W_hh, lengths, reverse)


def backward(dy, saved):
    x, h, c, gates, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n, dc_n = dy
    T, B, H = len(x), *h.shape[1:]
    _, _, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)[:, :, 0]  # (T, B)
    dx = empty(x.shape, x.dtype)  # (T, B, D)
    dh, dc = (started(d, (B, H), x.dtype) for d in (dh_n, dc_n))  # (B, H)
    da, *sums = (started(None, shape, x.dtype) for shape in ((4 * H,), W_ih.shape, W_hh.shape, (4 * H,)))
    for t in reversed(steps):
        if dy is not None:
            np.add(dh, dy[t], out=dh, where=takes_part[t, :, None])
        states = h[t + before], c[t + before], c[t + after], gates[t]
        _step_backward(takes_part[t], dh, dc, x[t], *states, W_ih, W_hh, da, dx[t], *sums)
    return dx, dh, dc, *sums, sums[-1].copy()


def cell_forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh):
    h, c, gates = (empty(shape, x.dtype) for shape in (h0.shape, h0.shape, (len(x), len(W_hh))))  # (B, H) twice, (B, 4H)
    _step(np.ones(len(x), bool), x, h0, c0, W_ih, W_hh, b_ih, b_hh, gates, h, c)
    return CellOutput(h, c), CellSaved(x, h0, c0, c, gates, W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, c0, c, gates, W_ih, W_hh = saved
    dh, dc = (started(d, h0.shape, x.dtype) for d in dy)  # (B, H)
    dx = empty(x.shape, x.dtype)  # (B, D)
    da, *sums = (started(None, shape, x.dtype) for shape in (W_hh.shape[:1], W_ih.shape, W_hh.shape, W_hh.shape[:1]))
    _step_backward(np.ones(len(x), bool), dh, dc, x, h0, c0, c, gates, W_ih, W_hh, da, dx, *sums)
    return dx, dh, dc, *sums, sums[-1].copy()
