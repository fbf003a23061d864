"""Additive attention in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.additive_attention.spec import Saved


def tanh_of_sums(query, key):
    """t."""
    return np.tanh(query[:, :, None] + key[:, None])  # (B, Tq, Tk, A)


def zero_hidden(x, key_mask):
    """Keys or values with zeros where the mask hides them: a weight of 0 times what is there would be NaN if that is."""
    return x if key_mask is None else np.where(key_mask[:, :, None], x, 0)  # (B, Tk, A or D)


def forward(query, key, v, value, *, key_mask=None):
    S = tanh_of_sums(query, zero_hidden(key, key_mask)) @ v  # (B, Tq, Tk)
    if key_mask is not None:
        S = np.where(key_mask[:, None], S, -np.inf).astype(S.dtype)  # (B, Tq, Tk)
    m = S.max(axis=-1, keepdims=True, initial=-np.inf)  # (B, Tq, 1)
    e = np.exp(S - np.where(m == -np.inf, 0, m).astype(S.dtype))  # (B, Tq, Tk)
    l = e.sum(axis=-1, keepdims=True)  # (B, Tq, 1)
    weights = e / np.where(l == 0, 1, l)  # (B, Tq, Tk)
    y = weights @ zero_hidden(value, key_mask)  # (B, Tq, D)
    return y, Saved(query, key, v, value, weights, y, key_mask)


def backward(dy, saved):
    query, key, v, value, weights, y, key_mask = saved
    key, value = zero_hidden(key, key_mask), zero_hidden(value, key_mask)  # (B, Tk, A), (B, Tk, D)
    t = tanh_of_sums(query, key)  # (B, Tq, Tk, A)
    dweights = dy @ value.swapaxes(1, 2)  # (B, Tq, Tk)
    D = (dy * y).sum(axis=-1, keepdims=True)  # (B, Tq, 1)
    dS = weights * (dweights - D)  # (B, Tq, Tk)
    du = dS[..., None] * v * (1 - t**2)  # (B, Tq, Tk, A)
    dquery = du.sum(axis=2)  # (B, Tq, A)
    dkey = du.sum(axis=1)  # (B, Tk, A)
    dv = (dS[..., None] * t).sum(axis=(0, 1, 2))  # (A,)
    dvalue = weights.swapaxes(1, 2) @ dy  # (B, Tk, D)
    return dquery, dkey, dv, dvalue
