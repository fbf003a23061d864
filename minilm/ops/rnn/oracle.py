"""The simple recurrent layer in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.recurrence import active, or_zeros, order, states_after, states_before
from minilm.ops.rnn.spec import CellSaved, Output, Saved


def activation(a, nonlinearity):
    return np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)


def activation_backward(dh, h, nonlinearity):
    """The derivative is a function of the activation's value h."""
    return dh * (1 - h**2) if nonlinearity == "tanh" else np.where(h <= 0, 0, dh)


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, nonlinearity="tanh"):
    T, B, _ = x.shape
    first, last, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    h = np.empty((T + 1, *h0.shape), x.dtype)  # (T + 1, B, H)
    h[first] = h0
    a_x = x @ W_ih.T + b_ih + b_hh  # (T, B, H)
    for t in steps:
        h_t = activation(a_x[t] + h[t + before] @ W_hh.T, nonlinearity)  # (B, H)
        h[t + after] = np.where(takes_part[t], h_t, h[t + before])  # (B, H)
    y = np.where(takes_part, states_after(h, reverse), 0).astype(x.dtype)  # (T, B, H)
    return Output(y, h[last].copy()), Saved(x, h, W_ih, W_hh, lengths, reverse, nonlinearity)


def backward(dy, saved):
    x, h, W_ih, W_hh, lengths, reverse, nonlinearity = saved
    dy, dh = or_zeros(dy, (states_after(h, reverse), h[0]))  # (T, B, H), (B, H)
    T, B, _ = x.shape
    _, _, _, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    da = np.zeros_like(h[1:])  # (T, B, H)
    for t in reversed(steps):
        dh_t = dh + dy[t]  # (B, H)
        da[t] = np.where(takes_part[t], activation_backward(dh_t, h[t + after], nonlinearity), 0)  # (B, H)
        dh = np.where(takes_part[t], da[t] @ W_hh, dh)  # (B, H)
    dx = da @ W_ih  # (T, B, D)
    dW_ih = fold(da).T @ fold(x)  # (H, D)
    dW_hh = fold(da).T @ fold(states_before(h, reverse))  # (H, H)
    db = fold(da).sum(axis=0)  # (H,)
    return dx, dh, dW_ih, dW_hh, db, db.copy()


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh, *, nonlinearity="tanh"):
    h = activation(x @ W_ih.T + b_ih + h0 @ W_hh.T + b_hh, nonlinearity)  # (B, H)
    return h, CellSaved(x, h0, h, W_ih, W_hh, nonlinearity)


def cell_backward(dy, saved):
    x, h0, h, W_ih, W_hh, nonlinearity = saved
    da = activation_backward(dy, h, nonlinearity)  # (B, H)
    db = da.sum(axis=0)  # (H,)
    return da @ W_ih, da @ W_hh, da.T @ x, da.T @ h0, db, db.copy()
