"""Softmax and log-softmax in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.softmax.spec import Saved


def forward(x):
    m = x.max(axis=-1, keepdims=True)  # (..., 1)
    e = np.exp(x - m)  # (..., V)
    y = e / e.sum(axis=-1, keepdims=True)  # (..., V)
    return y, Saved(y)


def backward(dy, saved):
    (y,) = saved
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))  # (..., V)


def log_forward(x):
    m = x.max(axis=-1, keepdims=True)  # (..., 1)
    s = np.exp(x - m).sum(axis=-1, keepdims=True)  # (..., 1)
    y = x - m - np.log(s)  # (..., V)
    return y, Saved(y)


def log_backward(dy, saved):
    (y,) = saved
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)  # (..., V)
