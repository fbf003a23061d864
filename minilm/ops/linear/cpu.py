"""Affine map on the CPU.

Versions, naive to fast:

1. cpu_1.py: the formula's three loops.
2. Here: products by the register tile of `minilm.ops.tile`, and the passes around them.
"""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.contract import fold
from minilm.ops.linear.spec import Saved
from minilm.ops.product import product, transposed_product
from minilm.ops.workspace import empty, scratch

CHUNK = 256  # rows a partial sum of db covers: fixed, so that the bits do not depend on the number of threads


@jit
def _column_sums(start, stop, dy, partial):
    # dy (N, O) -> partial (chunks, O)
    N, O = dy.shape
    for chunk in range(start, stop):
        for o in range(O):
            partial[chunk, o] = 0
        for n in range(chunk * CHUNK, min(N, (chunk + 1) * CHUNK)):
            for o in range(O):
                partial[chunk, o] += dy[n, o]


def column_sums(dy, out=None):
    """Sum of dy (N, O) over its rows, (O,): chunks of rows in parallel, then the chunks in order."""
    N, O = dy.shape
    total = empty((O,), dy.dtype) if out is None else out  # (O,)
    with scratch():
        partial = empty((max(1, -(-N // CHUNK)), O), dy.dtype)  # (chunks, O)
        devices.parallel(_column_sums, len(partial), dy, partial, grain=max(1, 2**16 // (CHUNK * max(O, 1))))
        partial.sum(axis=0, out=total)
    return total


def forward(x, W, b=None):
    y = empty((*x.shape[:-1], W.shape[0]), x.dtype)  # (..., O)
    product(fold(x), W, fold(y), transposed=True, bias=b)
    return y, Saved(x, W, b is not None)


def backward(dy, saved):
    x, W, bias = saved
    dx = empty((*dy.shape[:-1], W.shape[1]), W.dtype)  # (..., I)
    product(fold(dy), W, fold(dx), transposed=False)
    dW = None if x is None else empty(W.shape, W.dtype)  # (O, I)
    if x is not None:
        transposed_product(fold(dy), fold(x), dW)
    return dx, dW, column_sums(fold(dy)) if bias else None
