"""Affine map in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

from minilm.ops.contract import fold
from minilm.ops.linear.spec import Saved


def forward(x, W, b=None):
    y = x @ W.T  # (..., O)
    if b is not None:
        y = y + b  # (..., O)
    return y, Saved(x, W, b is not None)


def backward(dy, saved):
    x, W, bias = saved
    dx = dy @ W  # (..., I)
    dW = None if x is None else fold(dy).T @ fold(x)  # (O, I)
    db = fold(dy).sum(axis=0) if bias else None  # (O,)
    return dx, dW, db
