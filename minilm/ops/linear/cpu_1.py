"""Affine map on the CPU, version 1: the formula's three loops, a number of the result at a time.

A sum waits for its last addition before it begins the next, and every number of W is read from memory N times, so this reaches a
hundredth of what the processor can do. Version 2 keeps many sums at once in registers.
"""

from __future__ import annotations

from minilm.compiled.jit import jit
from minilm.ops.contract import fold
from minilm.ops.linear.spec import Saved
from minilm.ops.workspace import empty


@jit
def _forward(x, W, b, y):
    # x (N, I), W (O, I), b (O,) or None -> y (N, O)
    for n in range(x.shape[0]):
        for o in range(W.shape[0]):
            total = x.dtype.type(0) if b is None else b[o]
            for i in range(x.shape[1]):
                total += x[n, i] * W[o, i]
            y[n, o] = total


@jit
def _backward(dy, x, W, dx, dW, db):
    # dy (N, O), x (N, I) or None, W (O, I) -> dx (N, I), dW (O, I) or None, db (O,) or None
    dx[:] = 0
    if x is not None:
        dW[:] = 0
    if db is not None:
        db[:] = 0
    for n in range(dy.shape[0]):
        for o in range(W.shape[0]):
            d = dy[n, o]
            for i in range(W.shape[1]):
                dx[n, i] += d * W[o, i]
                if x is not None:
                    dW[o, i] += d * x[n, i]
            if db is not None:
                db[o] += d


def forward(x, W, b=None):
    y = empty((*x.shape[:-1], len(W)), x.dtype)  # (..., O)
    _forward(fold(x), W, b, fold(y))
    return y, Saved(x, W, b is not None)


def backward(dy, saved):
    x, W, bias = saved
    dx = empty((*dy.shape[:-1], W.shape[1]), W.dtype)  # (..., I)
    dW = None if x is None else empty(W.shape, W.dtype)  # (O, I)
    db = empty((len(W),), W.dtype) if bias else None  # (O,)
    _backward(fold(dy), None if x is None else fold(x), W, fold(dx), dW, db)
    return dx, dW, db
