"""Gated recurrent unit on the CPU: each thread keeps its rows of the batch for all steps, so no step waits for a thread."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops import recurrent_row, simd
from minilm.ops.contract import fold
from minilm.ops.gru.spec import CellSaved, Output, Saved
from minilm.ops.product import product
from minilm.ops.recurrence import order, states_after, states_before
from minilm.ops.recurrent_cpu import Gradients, cotangent, outputs, run, started
from minilm.ops.recurrent_product import multiply
from minilm.ops.recurrent_row import UNITS, add, put_unit_numbers, unit_numbers, unit_products
from minilm.ops.sums import copy
from minilm.ops.workspace import empty, scratch


@jit(part=True)
def _gates(a, u, bias, h0, h):
    # one row: a (3H,), the products of r, z and those of n by x, becomes r z n; u (H,) by h0 gets its bias; h (H,)
    H = len(h)
    a_r, a_z, a_n = a[:H], a[H : 2 * H], a[2 * H :]
    b_r, b_z, b_n, b_u = bias[:H], bias[H : 2 * H], bias[2 * H : 3 * H], bias[3 * H :]
    for j in range(H):
        r = simd.sigmoid(a_r[j] + b_r[j])
        z = simd.sigmoid(a_z[j] + b_z[j])
        inner = u[j] + b_u[j]
        n = simd.tanh(a_n[j] + b_n[j] + r * inner)
        h[j] = n + z * (h0[j] - n)
        a_r[j], a_z[j], a_n[j], u[j] = r, z, n, inner


@jit(part=True)
def _gates_backward(dy, dh, gates, u, h0, da, du):
    # one row: dh (H,) by the state after the step becomes the part by the state before that goes past W_hh
    H = len(h0)
    r_, z_, n_ = gates[:H], gates[H : 2 * H], gates[2 * H :]
    da_r, da_z, da_n = da[:H], da[H : 2 * H], da[2 * H :]
    one = dy.dtype.type(1)
    for j in range(H):
        r, z, n = r_[j], z_[j], n_[j]
        d = dh[j] + dy[j]
        d_n = d * (one - z) * (one - n * n)
        da_r[j] = d_n * u[j] * r * (one - r)
        da_z[j] = d * (h0[j] - n) * z * (one - z)
        da_n[j] = d_n
        du[j] = d_n * r
        dh[j] = d * z


@jit
def _forward(start, stop, gates, inner, bias, h, panels, lengths, reverse):
    # rows [start, stop); gates (T, B, 3H) holds W_ih x and becomes r z n; panels: those of r and z, those of n
    T, _, H = inner.shape
    for step in range(T):
        t = T - 1 - step if reverse else step
        before, after = (t + 1, t) if reverse else (t, t + 1)
        multiply(start, stop, h[before], panels[0], gates[t][:, : 2 * H], True)
        multiply(start, stop, h[before], panels[1], inner[t], False)
        for b in range(start, stop):
            _gates(gates[t, b], inner[t, b], bias, h[before, b], h[after, b])
            if t >= lengths[b]:
                copy(h[before, b], h[after, b])


@jit
def _backward(start, stop, dy, dh, h, gates, inner, da, du, panels, lengths, reverse):
    # rows [start, stop); dh (B, H) is carried from the last step to the first; panels: those of r and z, those of n
    T, _, H = inner.shape
    for step in range(T):
        t = step if reverse else T - 1 - step
        before = t + 1 if reverse else t
        for b in range(start, stop):
            if t < lengths[b]:
                _gates_backward(dy[t, b], dh[b], gates[t, b], inner[t, b], h[before, b], da[t, b], du[t, b])
            else:
                da[t, b] = 0
                du[t, b] = 0
        multiply(start, stop, da[t][:, : 2 * H], panels[0], dh, True)
        multiply(start, stop, du[t], panels[1], dh, True)


@jit
def _cell(gates, inner, bias, h0, h):
    for b in range(len(h)):
        _gates(gates[b], inner[b], bias, h0[b], h[b])


@jit
def step_units(start, stop, x, h0, W_ih, W_hh, b_ih, b_hh, gates, inner, h):
    # units [16 start, 16 stop) of one row: x (D,), h0 (H,) -> gates (3H,), inner, h (H,); see `minilm.ops.recurrent_row`
    first, last = start * UNITS, min(stop * UNITS, len(h))
    units = last - first
    a, by_state = np.empty(3 * units, x.dtype), np.empty(3 * units, x.dtype)
    bias, b = np.empty(4 * units, x.dtype), np.empty(3 * units, x.dtype)
    unit_products(first, last, x, W_ih, a)
    unit_products(first, last, h0, W_hh, by_state)
    unit_numbers(first, last, b_ih, bias[: 3 * units])
    unit_numbers(first, last, b_hh, b)
    add(a[: 2 * units], by_state)
    add(bias[: 2 * units], b)
    u = by_state[2 * units :]
    for j in range(units):
        bias[3 * units + j] = b[2 * units + j]
    _gates(a, u, bias, h0[first:last], h[first:last])
    put_unit_numbers(first, last, a, gates)
    put_unit_numbers(first, last, u, inner)


@jit
def _cell_backward(zeros, dh, gates, inner, h0, da, du):
    for b in range(len(h0)):
        _gates_backward(zeros[b], dh[b], gates[b], inner[b], h0[b], da[b], du[b])


def _parts(W_hh):
    """The rows of r and z, whose products are added to those by x, and the rows of n, whose product is not."""
    H = W_hh.shape[1]
    return [W_hh[: 2 * H], W_hh[2 * H :]]


def _biases(b_ih, b_hh, out):
    """Of r, z, n and u, (4H,): the first two occur only as a sum."""
    H = len(b_ih) // 3
    np.add(b_ih[: 2 * H], b_hh[: 2 * H], out=out[: 2 * H])
    out[2 * H : 3 * H], out[3 * H :] = b_ih[2 * H :], b_hh[2 * H :]
    return out


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    T, B, _ = x.shape
    first, last, *_ = order(T, reverse)
    h = empty((T + 1, *h0.shape), x.dtype)  # (T + 1, B, H)
    gates = empty((T, B, len(W_hh)), x.dtype)  # (T, B, 3H)
    inner = empty((T, *h0.shape), x.dtype)  # (T, B, H)
    h[first] = h0
    product(fold(x), W_ih, fold(gates), transposed=True)
    with scratch():
        bias = _biases(b_ih, b_hh, empty((4 * W_hh.shape[1],), x.dtype))  # (4H,)
        run(_forward, _parts(W_hh), True, (gates, inner, bias, h), lengths, reverse)
    y = outputs(states_after(h, reverse), lengths)  # (T, B, H)
    return Output(y, h[last]), Saved(x, h, gates, inner, W_ih, W_hh, lengths, reverse)


def backward(dy, saved):
    x, h, gates, inner, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n = dy
    gradients = Gradients(x, W_ih, W_hh)
    dh = started(dh_n, h.shape[1:], x.dtype)  # (B, H)
    with scratch():
        dy = cotangent(dy, inner.shape, x.dtype)  # (T, B, H)
        da, du = empty(gates.shape, x.dtype), empty(inner.shape, x.dtype)  # (T, B, 3H), (T, B, H)
        run(_backward, _parts(W_hh), False, (dy, dh, h, gates, inner, da, du), lengths, reverse)
        gradients.fill(da, states_before(h, reverse), du)
    return gradients.dx, dh, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh):
    B, H = h0.shape
    h, inner = empty((B, H), x.dtype), empty((B, H), x.dtype)  # (B, H) each
    gates = empty((B, 3 * H), x.dtype)  # (B, 3H)
    if recurrent_row.alone(x):
        recurrent_row.run(step_units, x[0], h0[0], W_ih, W_hh, b_ih, b_hh, gates[0], inner[0], h[0], H=H)
        return h, CellSaved(x, h0, gates, inner, W_ih, W_hh)
    product(x, W_ih, gates, transposed=True)
    with scratch():
        by_state = empty(gates.shape, x.dtype)  # (B, 3H)
        product(h0, W_hh, by_state, transposed=True)
        gates[:, : 2 * H] += by_state[:, : 2 * H]
        inner[...] = by_state[:, 2 * H :]
        _cell(gates, inner, _biases(b_ih, b_hh, empty((4 * H,), x.dtype)), h0, h)
    return h, CellSaved(x, h0, gates, inner, W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, gates, inner, W_ih, W_hh = saved
    gradients = Gradients(x, W_ih, W_hh)
    dh0 = started(dy, h0.shape, x.dtype)  # (B, H)
    with scratch():
        zeros = cotangent(None, h0.shape, x.dtype)  # (B, H)
        da, du = empty(gates.shape, x.dtype), empty(inner.shape, x.dtype)  # (B, 3H), (B, H)
        _cell_backward(zeros, dh0, gates, inner, h0, da, du)
        for d, W in zip((da[:, : 2 * h0.shape[1]], du), _parts(W_hh), strict=True):
            by_gates = empty(h0.shape, x.dtype)  # (B, H)
            product(d, W, by_gates, transposed=False)
            dh0 += by_gates
        gradients.fill(da, h0, du)
    return gradients.dx, dh0, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh
