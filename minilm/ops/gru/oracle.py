"""Gated recurrent unit in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.gru.spec import CellSaved, Output, Saved
from minilm.ops.recurrence import active, or_zeros, order, states_after, states_before


def sigmoid(a):
    e = np.exp(-np.abs(a))  # never overflows
    return np.where(a < 0, e, 1) / (1 + e)


def step(a_x, a_h, h0):
    """From a_x = W_ih x + b_ih and a_h = W_hh h + b_hh, (B, 3H) each, and the state before (B, H)."""
    (r_x, z_x, n_x), (r_h, z_h, u) = np.split(a_x, 3, axis=1), np.split(a_h, 3, axis=1)  # (B, H) each
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = np.tanh(n_x + r * u)  # (B, H)
    h = (1 - z) * n + z * h0  # (B, H)
    return h, np.concatenate([r, z, n], axis=1), u


def step_backward(dh, h0, gates, u):
    """(da, dg, the part of dh0 that does not go through W_hh) of `step`."""
    r, z, n = np.split(gates, 3, axis=1)  # (B, H) each
    dz, dn = dh * (h0 - n), dh * (1 - z)  # (B, H) each
    da_n = dn * (1 - n**2)  # (B, H)
    du, dr = da_n * r, da_n * u  # (B, H) each
    da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)  # (B, H) each
    da = np.concatenate([da_r, da_z, da_n], axis=1)  # (B, 3H) on the side of the input
    dg = np.concatenate([da_r, da_z, du], axis=1)  # (B, 3H) on the side of the state
    return da, dg, dh * z


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False):
    T, B, _ = x.shape
    first, last, before, after, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    h = np.empty((T + 1, *h0.shape), x.dtype)  # (T + 1, B, H)
    gates = np.empty((T, B, len(W_hh)), x.dtype)  # (T, B, 3H)
    inner = np.empty((T, *h0.shape), x.dtype)  # (T, B, H)
    h[first] = h0
    a_x = x @ W_ih.T + b_ih  # (T, B, 3H)
    for t in steps:
        a_h = h[t + before] @ W_hh.T + b_hh  # (B, 3H)
        h_t, gates[t], inner[t] = step(a_x[t], a_h, h[t + before])
        h[t + after] = np.where(takes_part[t], h_t, h[t + before])  # (B, H)
    y = np.where(takes_part, states_after(h, reverse), 0).astype(x.dtype)  # (T, B, H)
    return Output(y, h[last].copy()), Saved(x, h, gates, inner, W_ih, W_hh, lengths, reverse)


def backward(dy, saved):
    x, h, gates, inner, W_ih, W_hh, lengths, reverse = saved
    dy, dh = or_zeros(dy, (states_after(h, reverse), h[0]))  # (T, B, H), (B, H)
    T, B, _ = x.shape
    _, _, before, _, steps = order(T, reverse)
    takes_part = active(T, B, lengths)  # (T, B, 1)
    da, dg = np.zeros_like(gates), np.zeros_like(gates)  # (T, B, 3H) each
    for t in reversed(steps):
        dh_t = dh + dy[t]  # (B, H)
        da_t, dg_t, past = step_backward(dh_t, h[t + before], gates[t], inner[t])
        da[t] = np.where(takes_part[t], da_t, 0)  # (B, 3H)
        dg[t] = np.where(takes_part[t], dg_t, 0)  # (B, 3H)
        dh = np.where(takes_part[t], past + dg[t] @ W_hh, dh)  # (B, H)
    dx = da @ W_ih  # (T, B, D)
    dW_ih = fold(da).T @ fold(x)  # (3H, D)
    dW_hh = fold(dg).T @ fold(states_before(h, reverse))  # (3H, H)
    return dx, dh, dW_ih, dW_hh, fold(da).sum(axis=0), fold(dg).sum(axis=0)


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh):
    a_x, a_h = x @ W_ih.T + b_ih, h0 @ W_hh.T + b_hh  # (B, 3H) each
    h, gates, inner = step(a_x, a_h, h0)
    return h, CellSaved(x, h0, gates, inner, W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, gates, inner, W_ih, W_hh = saved
    da, dg, past = step_backward(dy, h0, gates, inner)  # (B, 3H), (B, 3H), (B, H)
    return da @ W_ih, past + dg @ W_hh, da.T @ x, dg.T @ h0, da.sum(axis=0), dg.sum(axis=0)
