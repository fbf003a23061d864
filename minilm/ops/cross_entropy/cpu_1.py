"""Cross-entropy on the CPU, version 1: three passes over a row, for its maximum, for the sum of exponentials, and for the rest.

The C library's exponential function is called twice a number. Version 2 computes it once, as vectors, on several threads.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.contract import fold
from minilm.ops.cross_entropy.spec import Saved
from minilm.ops.workspace import empty


@jit
def _rows(logits, targets, weight, ignore_index, smoothing, S, losses, dlogits):
    # logits (N, V), targets (N,), weight (V,) -> losses (N,), dlogits (N, V) or None; S divides the gradient
    N, V = logits.shape
    Q_smooth = smoothing / V * weight.sum()
    for n in range(N):
        t = targets[n]
        losses[n] = 0
        if t == ignore_index:
            if dlogits is not None:
                dlogits[n] = 0
            continue
        m = logits[n, 0]
        for v in range(V):
            if logits[n, v] > m:
                m = logits[n, v]
        total = 0.0
        for v in range(V):
            total += math.exp(logits[n, v] - m)
        log_total = math.log(total)
        Q = (1 - smoothing) * weight[t] + Q_smooth
        for v in range(V):
            log_p = logits[n, v] - m - log_total
            q = smoothing / V * weight[v]
            if v == t:
                q += (1 - smoothing) * weight[t]
            if v == t or smoothing > 0:  # else 0 times -inf would stand here
                losses[n] -= q * log_p
            if dlogits is not None:
                dlogits[n, v] = (Q * math.exp(log_p) - q) / S


@jit
def _scale(dloss, saved, dlogits):
    # dloss (N,) or (1,) for all rows, saved (N, V) -> dlogits (N, V)
    for n in range(saved.shape[0]):
        for v in range(saved.shape[1]):
            dlogits[n, v] = dloss[n if len(dloss) > 1 else 0] * saved[n, v]


def forward(logits, targets, weight=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean", gradient=True):
    V = logits.shape[-1]
    dlogits = empty(logits.shape, logits.dtype) if gradient else None  # (..., V)
    losses = empty(targets.shape, np.float64)  # (...)
    w = np.ones(V) if weight is None else weight.astype(np.float64)  # (V,)
    S = w[targets[targets != ignore_index]].sum() if reduction == "mean" else 1.0
    out = fold(dlogits) if gradient else None  # (N, V)
    _rows(fold(logits), targets.reshape(-1), w, ignore_index, label_smoothing, S, losses.reshape(-1), out)
    if reduction == "none":
        return losses.astype(logits.dtype), Saved(dlogits, reduction)
    with np.errstate(invalid="ignore"):  # 0 / 0 where all rows are ignored
        return logits.dtype.type(losses.sum() / S), Saved(dlogits, reduction)


def backward(dloss, saved):
    dlogits = empty(saved.dlogits.shape, saved.dlogits.dtype)  # (..., V)
    _scale(dloss.reshape(-1), fold(saved.dlogits), fold(dlogits))
    return dlogits
