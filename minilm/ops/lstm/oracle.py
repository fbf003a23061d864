"""Long short-term memory in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.lstm.spec import CellOutput, CellSaved, Output, Saved
from minilm.ops.recurrence import active, or_zeros, order, states_after, states_before


def sigmoid(a):
    e = np.exp(-np.abs(a))  # never overflows
    return np.where(a < 0, e, 1) / (1 + e)


def step(a, c0):
    """From a = W_ih x + W_hh h + biases (B, 4H) and the cell before (B, H)."""
    i, f, g, o = np.split(a, 4, axis=1)  # (B, H) each
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c0 + i * g  # (B, H)
    h = o * np.tanh(c)  # (B, H)
    return h, c, np.concatenate([i, f, g, o], axis=1)


def step_backward(dh, dc, c0, c, gates):
    """(da, dc0) of `step`."""
    i, f, g, o = np.split(gates, 4, axis=1)  # (B, H) each
    tanh_c = np.tanh(c)  # (B, H)
    do = dh * tanh_c  # (B, H)
    dc = dc + dh * o * (1 - tanh_c**2)  # (B, H)
    di, df, dg = dc * g, dc * c0, dc * i  # (B, H) each
    da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)], axis=1)  # (B, 4H)
    return da, dc * f


def forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    T, B, _ = x.shape
    first, last, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    h, c = (np.empty((T + 1, *h0.shape), x.dtype) for _ in range(2))  # (T + 1, B, H)
    gates = np.empty((T, B, len(W_hh)), x.dtype)  # (T, B, 4H)
    h[first], c[first] = h0, c0
    a_x = x @ W_ih.T + b_ih + b_hh  # (T, B, 4H)
    for t in steps:
        a = a_x[t] + h[t + before] @ W_hh.T  # (B, 4H)
        h_t, c_t, gates[t] = step(a, c[t + before])
        h[t + after] = np.where(takes_part[t], h_t, h[t + before])  # (B, H)
        c[t + after] = np.where(takes_part[t], c_t, c[t + before])  # (B, H)
    y = np.where(takes_part, states_after(h, reverse), 0).astype(x.dtype)  # (T, B, H)
    return Output(y, h[last].copy(), c[last].copy()), Saved(x, h, c, gates, W_ih, W_hh, lengths, reverse)


def backward(dy, saved):
    x, h, c, gates, W_ih, W_hh, lengths, reverse = saved
    dy, dh, dc = or_zeros(dy, (states_after(h, reverse), h[0], c[0]))  # (T, B, H), (B, H), (B, H)
    T, B, _ = x.shape
    _, _, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    da = np.zeros_like(gates)  # (T, B, 4H)
    for t in reversed(steps):
        dh_t = dh + dy[t]  # (B, H)
        da_t, dc_before = step_backward(dh_t, dc, c[t + before], c[t + after], gates[t])
        da[t] = np.where(takes_part[t], da_t, 0)  # (B, 4H)
        dh = np.where(takes_part[t], da[t] @ W_hh, dh)  # (B, H)
        dc = np.where(takes_part[t], dc_before, dc)  # (B, H)
    dx = da @ W_ih  # (T, B, D)
    dW_ih = fold(da).T @ fold(x)  # (4H, D)
    dW_hh = fold(da).T @ fold(states_before(h, reverse))  # (4H, H)
    db = fold(da).sum(axis=0)  # (4H,)
    return dx, dh, dc, dW_ih, dW_hh, db, db.copy()


def cell_forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh):
    a = x @ W_ih.T + b_ih + h0 @ W_hh.T + b_hh  # (B, 4H)
    h, c, gates = step(a, c0)
    return CellOutput(h, c), CellSaved(x, h0, c0, c, gates, W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, c0, c, gates, W_ih, W_hh = saved
    dh, dc = or_zeros(dy, (h0, c0))  # (B, H) each
    da, dc0 = step_backward(dh, dc, c0, c, gates)  # (B, 4H), (B, H)
    db = da.sum(axis=0)  # (4H,)
    return da @ W_ih, da @ W_hh, dc0, da.T @ x, da.T @ h0, db, db.copy()
