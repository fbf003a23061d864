"""The simple recurrent layer on the CPU: each thread keeps its rows of the batch for all steps, so no step waits for a thread."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops import recurrent_row, simd
from minilm.ops.contract import fold
from minilm.ops.product import product
from minilm.ops.recurrence import order, states_after, states_before
from minilm.ops.recurrent_cpu import Gradients, cotangent, outputs, run, started
from minilm.ops.recurrent_product import multiply
from minilm.ops.recurrent_row import UNITS, add, unit_numbers, unit_products
from minilm.ops.rnn.spec import CellSaved, Output, Saved
from minilm.ops.sums import copy
from minilm.ops.workspace import empty, scratch


@jit(part=True)
def _activation(h, bias, relu):
    # one row: h (H,) holds W_ih x + W_hh h' and becomes the state
    zero = h.dtype.type(0)
    if relu:
        for j in range(len(h)):
            a = h[j] + bias[j]
            h[j] = zero if a <= zero else a  # NaN is not <= 0 and stays
    else:
        for j in range(len(h)):
            h[j] = simd.tanh(h[j] + bias[j])


@jit(part=True)
def _activation_backward(dy, dh, h, relu, da):
    # one row, (H,) each
    zero, one = h.dtype.type(0), h.dtype.type(1)
    if relu:
        for j in range(len(h)):
            da[j] = zero if h[j] <= zero else dh[j] + dy[j]
    else:
        for j in range(len(h)):
            da[j] = (dh[j] + dy[j]) * (one - h[j] * h[j])


@jit
def _forward(start, stop, h_steps, bias, h, relu, panels, lengths, reverse):
    # rows [start, stop); h_steps (T, B, H), the states after the steps within h (T + 1, B, H), holds W_ih x; panels: W_hhᵀ
    T = len(h_steps)
    for step in range(T):
        t = T - 1 - step if reverse else step
        before = t + 1 if reverse else t
        multiply(start, stop, h[before], panels[0], h_steps[t], True)
        for b in range(start, stop):
            if t < lengths[b]:
                _activation(h_steps[t, b], bias, relu)
            else:
                copy(h[before, b], h_steps[t, b])


@jit
def _backward(start, stop, dy, dh, h_steps, relu, da, panels, lengths, reverse):
    # rows [start, stop); dh (B, H) is carried from the last step to the first; panels: W_hh
    T = len(h_steps)
    for step in range(T):
        t = step if reverse else T - 1 - step
        for b in range(start, stop):
            if t < lengths[b]:
                _activation_backward(dy[t, b], dh[b], h_steps[t, b], relu, da[t, b])
                dh[b] = 0
            else:
                da[t, b] = 0
        multiply(start, stop, da[t], panels[0], dh, True)


@jit
def _cell(h, bias, relu):
    for b in range(len(h)):
        _activation(h[b], bias, relu)


@jit
def step_units(start, stop, x, h0, W_ih, W_hh, b_ih, b_hh, relu, h):
    # units [16 start, 16 stop) of one row: x (D,), h0 (H,) -> h (H,); see `minilm.ops.recurrent_row`
    first, last = start * UNITS, min(stop * UNITS, len(h))
    a, by_state, bias = h[first:last], np.empty(last - first, x.dtype), np.empty(last - first, x.dtype)
    unit_products(first, last, x, W_ih, a)
    unit_products(first, last, h0, W_hh, by_state)
    unit_numbers(first, last, b_ih, bias)
    add(a, by_state)
    add(bias, b_hh[first:last])
    _activation(a, bias, relu)


@jit
def _cell_backward(dy, dh, h, relu, da):
    for b in range(len(h)):
        _activation_backward(dy[b], dh[b], h[b], relu, da[b])


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, nonlinearity="tanh"):
    first, last, *_ = order(len(x), reverse)
    h = empty((len(x) + 1, *h0.shape), x.dtype)  # (T + 1, B, H)
    h[first] = h0
    steps = states_after(h, reverse)  # (T, B, H)
    product(fold(x), W_ih, fold(steps), transposed=True)
    with scratch():
        bias = np.add(b_ih, b_hh, out=empty(b_ih.shape, x.dtype))  # (H,)
        run(_forward, [W_hh], True, (steps, bias, h, nonlinearity == "relu"), lengths, reverse)
    y = outputs(steps, lengths)  # (T, B, H)
    return Output(y, h[last]), Saved(x, h, W_ih, W_hh, lengths, reverse, nonlinearity)


def backward(dy, saved):
    x, h, W_ih, W_hh, lengths, reverse, nonlinearity = saved
    dy, dh_n = dy
    steps = states_after(h, reverse)  # (T, B, H)
    gradients = Gradients(x, W_ih, W_hh)
    dh = started(dh_n, h.shape[1:], x.dtype)  # (B, H)
    with scratch():
        dy = cotangent(dy, steps.shape, x.dtype)  # (T, B, H)
        da = empty(steps.shape, x.dtype)  # (T, B, H)
        run(_backward, [W_hh], False, (dy, dh, steps, nonlinearity == "relu", da), lengths, reverse)
        gradients.fill(da, states_before(h, reverse))
    return gradients.dx, dh, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh, *, nonlinearity="tanh"):
    h = empty(h0.shape, x.dtype)  # (B, H)
    if recurrent_row.alone(x):
        recurrent_row.run(step_units, x[0], h0[0], W_ih, W_hh, b_ih, b_hh, nonlinearity == "relu", h[0], H=len(h[0]))
        return h, CellSaved(x, h0, h, W_ih, W_hh, nonlinearity)
    product(x, W_ih, h, transposed=True)
    with scratch():
        by_state = empty(h.shape, x.dtype)  # (B, H)
        product(h0, W_hh, by_state, transposed=True)
        h += by_state
        bias = np.add(b_ih, b_hh, out=empty(b_ih.shape, x.dtype))  # (H,)
        _cell(h, bias, nonlinearity == "relu")
    return h, CellSaved(x, h0, h, W_ih, W_hh, nonlinearity)


def cell_backward(dy, saved):
    x, h0, h, W_ih, W_hh, nonlinearity = saved
    gradients = Gradients(x, W_ih, W_hh)
    dh0 = empty(h0.shape, x.dtype)  # (B, H)
    dh0.fill(0)
    with scratch():
        da = empty(h.shape, x.dtype)  # (B, H)
        _cell_backward(dy, dh0, h, nonlinearity == "relu", da)
        product(da, W_hh, dh0, transposed=False)
        gradients.fill(da, h0)
    return gradients.dx, dh0, gradients.dW_ih, gradients.dW_hh, gradients.db_ih, gradients.db_hh
