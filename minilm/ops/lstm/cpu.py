"""Long short-term memory on the CPU.

Versions, naive to fast:

1. cpu_1.py: loops over steps, rows and gates.
2. Here: each thread keeps its rows of the batch for all steps and multiplies by recurrent weights packed once a sequence.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops import recurrent_row, simd
from minilm.ops.contract import fold
from minilm.ops.lstm.spec import CellOutput, CellSaved, Output, Saved
from minilm.ops.product import product
from minilm.ops.recurrence import order, states_after, states_before
from minilm.ops.recurrent_cpu import Gradients, cotangent, outputs, run, started
from minilm.ops.recurrent_product import multiply
from minilm.ops.recurrent_row import UNITS, add, put_unit_numbers, unit_numbers, unit_products
from minilm.ops.sums import copy
from minilm.ops.workspace import empty, scratch


@jit(part=True)
def _gates(a, bias, c0, c, h):
    # one row: a (4H,) becomes i f g o; from c0 (H,) to c, h (H,)
    H = len(c)
    a_i, a_f, a_g, a_o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
    b_i, b_f, b_g, b_o = bias[:H], bias[H : 2 * H], bias[2 * H : 3 * H], bias[3 * H :]
    for j in range(H):
        i = simd.sigmoid(a_i[j] + b_i[j])
        f = simd.sigmoid(a_f[j] + b_f[j])
        g = simd.tanh(a_g[j] + b_g[j])
        o = simd.sigmoid(a_o[j] + b_o[j])
        cell = f * c0[j] + i * g
        c[j] = cell
        h[j] = o * simd.tanh(cell)
        a_i[j], a_f[j], a_g[j], a_o[j] = i, f, g, o


@jit(part=True)
def _gates_backward(dy, dh, dc, gates, c0, c, da):
    # one row: dh, dc (H,) by the state after the step; da (4H,); dc becomes that by the cell before
    H = len(c)
    i_, f_, g_, o_ = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H :]
    da_i, da_f, da_g, da_o = da[:H], da[H : 2 * H], da[2 * H : 3 * H], da[3 * H :]
    one = dy.dtype.type(1)
    for j in range(H):
        i, f, g, o = i_[j], f_[j], g_[j], o_[j]
        tanh_c = simd.tanh(c[j])
        d = dh[j] + dy[j]
        cell = dc[j] + d * o * (one - tanh_c * tanh_c)
        da_i[j] = cell * g * i * (one - i)
        da_f[j] = cell * c0[j] * f * (one - f)
        da_g[j] = cell * i * (one - g * g)
        da_o[j] = d * tanh_c * o * (one - o)
        dc[j] = cell * f


@jit
def _forward(start, stop, gates, bias, h, c, panels, lengths, reverse):
    # rows [start, stop); gates (T, B, 4H) holds W_ih x and becomes i f g o; panels: W_hhᵀ
    T = len(gates)
    for step in range(T):
        t = T - 1 - step if reverse else step
        before, after = (t + 1, t) if reverse else (t, t + 1)
        multiply(start, stop, h[before], panels[0], gates[t], True)
        for b in range(start, stop):
            _gates(gates[t, b], bias, c[before, b], c[after, b], h[after, b])
            if t >= lengths[b]:
                copy(c[before, b], c[after, b])
                copy(h[before, b], h[after, b])


@jit
def _backward(start, stop, dy, dh, dc, c, gates, da, panels, lengths, reverse):
    # rows [start, stop); dh, dc (B, H) are carried from the last step to the first; panels: W_hh
    T = len(gates)
    for step in range(T):
        t = step if reverse else T - 1 - step
        before, after = (t + 1, t) if reverse else (t, t + 1)
        for b in range(start, stop):
            if t < lengths[b]:
                _gates_backward(dy[t, b], dh[b], dc[b], gates[t, b], c[before, b], c[after, b], da[t, b])
                dh[b] = 0
            else:
                da[t, b] = 0
        multiply(start, stop, da[t], panels[0], dh, True)


@jit
def _cell(gates, bias, c0, c, h):
    for b in range(len(h)):
        _gates(gates[b], bias, c0[b], c[b], h[b])


@jit
def step_units(start, stop, x, h0, c0, W_ih, W_hh, b_ih, b_hh, gates, c, h):
    # units [16 start, 16 stop) of one row: x (D,), h0, c0 (H,) -> gates (4H,), c, h (H,); see `minilm.ops.recurrent_row`
    first, last = start * UNITS, min(stop * UNITS, len(h))
    numbers = 4 * (last - first)
    a, by_state = np.empty(numbers, x.dtype), np.empty(numbers, x.dtype)
    bias, b = np.empty(numbers, x.dtype), np.empty(numbers, x.dtype)
    unit_products(first, last, x, W_ih, a)
    unit_products(first, last, h0, W_hh, by_state)
    unit_numbers(first, last, b_ih, bias)
    unit_numbers(first, last, b_hh, b)
    add(a, by_state)
    add(bias, b)
    _gates(a, bias, c0[first:last], c[first:last], h[first:last])
    put_unit_numbers(first, last, a, gates)


@jit
def _cell_backward(dy, dh, dc, gates, c0, c, da):
    for b in range(len(c)):
        _gates_backward(dy[b], dh[b], dc[b], gates[b], c0[b], c[b], da[b])


def forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    T, B, _ = x.shape
    first, last, *_ = order(T, reverse)
    h, c = (empty((T + 1, *h0.shape), x.dtype) for _ in range(2))  # (T + 1, B, H)
    gates = empty((T, B, len(W_hh)), x.dtype)  # (T, B, 4H)
    h[first], c[first] = h0, c0
    product(fold(x), W_ih, fold(gates), transposed=True)
    with scratch():
        bias = np.add(b_ih, b_hh, out=empty(b_ih.shape, x.dtype))  # (4H,)
        run(_forward, [W_hh], True, (gates, bias, h, c), lengths, reverse)
    y = outputs(states_after(h, reverse), lengths)  # (T, B, H)
    return Output(y, h[last], c[last]), Saved(x, h, c, gates, W_ih, W_hh, lengths, reverse)


def backward(dy, saved):
    x, h, c, gates, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n, dc_n = dy
    gradients = Gradients(x, W_ih, W_hh)
    dh, dc = (started(d, h.shape[1:], x.dtype) for d in (dh_n, dc_n))  # (B, H)
    with scratch():
        dy = cotangent(dy, (len(x), *dh.shape), x.dtype)  # (T, B, H)
        da = empty(gates.shape, x.dtype)  # (T, B, 4H)
        run(_backward, [W_hh], False, (dy, dh, dc, c, gates, da), lengths, reverse)
        gradients.fill(da, states_before(h, reverse))
    return gradients.dx, dh, dc, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh


def cell_forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh):
    h, c = empty(h0.shape, x.dtype), empty(h0.shape, x.dtype)  # (B, H)
    gates = empty((len(x), len(W_hh)), x.dtype)  # (B, 4H)
    if recurrent_row.alone(x):
        recurrent_row.run(step_units, x[0], h0[0], c0[0], W_ih, W_hh, b_ih, b_hh, gates[0], c[0], h[0], H=len(h[0]))
        return CellOutput(h, c), CellSaved(x, h0, c0, c, gates, W_ih, W_hh)
    product(x, W_ih, gates, transposed=True)
    with scratch():
        by_state = empty(gates.shape, x.dtype)  # (B, 4H)
        product(h0, W_hh, by_state, transposed=True)
        gates += by_state
        bias = np.add(b_ih, b_hh, out=empty(b_ih.shape, x.dtype))  # (4H,)
        _cell(gates, bias, c0, c, h)
    return CellOutput(h, c), CellSaved(x, h0, c0, c, gates, W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, c0, c, gates, W_ih, W_hh = saved
    gradients = Gradients(x, W_ih, W_hh)
    dh, dc = (started(d, h0.shape, x.dtype) for d in dy)  # (B, H)
    with scratch():
        zeros = cotangent(None, h0.shape, x.dtype)  # (B, H)
        da = empty(gates.shape, x.dtype)  # (B, 4H)
        _cell_backward(zeros, dh, dc, gates, c0, c, da)
        product(da, W_hh, dh, transposed=False)
        gradients.fill(da, h0)
    return gradients.dx, dh, dc, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh
