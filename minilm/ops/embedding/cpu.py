"""Embedding on the CPU: a gather, and a scatter that adds."""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.embedding.spec import Saved
from minilm.ops.workspace import empty


@jit
def _gather(start, stop, ids, W, y):
    # ids (N,), W (V, D) -> y (N, D)
    for n in range(start, stop):
        row = W[ids[n]]
        for d in range(y.shape[1]):
            y[n, d] = row[d]


@jit
def _zero(start, stop, dW):
    # rows [start, stop) of dW (V, D)
    dW[start:stop] = 0


@jit
def _scatter_add(start, stop, ids, dy, padding_idx, dW):
    # ids (N,), dy (N, D) -> added to columns [start, stop) of dW (V, D)
    for n in range(len(ids)):
        if ids[n] != padding_idx:
            total = dW[ids[n], start:stop]
            term = dy[n, start:stop]
            for d in range(len(total)):
                total[d] += term[d]


def forward(ids, W, padding_idx=None):
    D = W.shape[1]
    y = empty((*ids.shape, D), W.dtype)  # (..., D)
    devices.parallel(_gather, ids.size, ids.reshape(-1), W, y.reshape(ids.size, D), grain=max(1, 2**16 // max(1, D)))
    return y, Saved(ids, W.shape, W.dtype, padding_idx)


def backward(dy, saved):
    ids, (V, D), dtype, padding_idx = saved
    skipped = -1 if padding_idx is None else padding_idx
    dW = empty((V, D), dtype)  # (V, D)
    devices.parallel(_zero, V, dW, grain=max(1, 2**17 // max(1, D)))
    # Here threads share the columns, not the rows: ids are anything but evenly spread, and every column is summed in the
    # same order whatever the cut.
    arguments = (ids.reshape(-1), dy.reshape(ids.size, D), skipped, dW)
    devices.parallel(_scatter_add, D, *arguments, grain=max(16, 2**17 // max(1, ids.size)))
    return dW
