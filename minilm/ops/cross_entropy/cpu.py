"""Cross-entropy on the CPU.

Versions, naive to fast:

1. cpu_1.py: three passes over a row.
2. Here: loss and gradient of a row while it is in the cache, exponentials as vectors, rows shared among threads.
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.contract import fold
from minilm.ops.cross_entropy.spec import Saved
from minilm.ops.exponentials import exponentials
from minilm.ops.workspace import empty, scratch


@jit(fastmath=REASSOC, counted=False)
def _rows(start, stop, logits, targets, weight, ignore_index, smoothing, weight_sum, normaliser, losses, dlogits):
    # logits (N, V), targets (N,), weight (V,) or None -> losses (N,) float64, dlogits (N, V) or None
    V = logits.shape[1]
    real = logits.dtype.type
    share = smoothing / V  # of every class in the target distribution
    for n in range(start, stop):
        t = targets[n]
        if t == ignore_index:
            losses[n] = 0.0
            if dlogits is not None:
                dlogits[n, :] = 0
            continue
        row = logits[n]
        m = simd.largest(row)
        s = real(0)
        if dlogits is not None:
            out = dlogits[n]
            s = exponentials(row, m, out)
        else:
            for v in range(len(row)):
                s += simd.exp(row[v] - m)
        log_s = math.log(np.float64(s))
        own = (1.0 - smoothing) * (1.0 if weight is None else np.float64(weight[t]))
        loss = own * (log_s - (np.float64(row[t]) - np.float64(m)))
        if smoothing > 0.0:
            z = real(0)  # sum of w (logits - m)
            if weight is None:
                for v in range(len(row)):
                    z += row[v] - m
            else:
                for v in range(len(row)):
                    z += weight[v] * (row[v] - m)
            loss += share * (weight_sum * log_s - np.float64(z))
        losses[n] = loss
        if dlogits is not None:
            factor = real((own + share * weight_sum) / np.float64(s) / normaliser)
            if smoothing > 0.0:
                target_share = real(share / normaliser)
                if weight is None:
                    for v in range(len(out)):
                        out[v] = out[v] * factor - target_share
                else:
                    for v in range(len(out)):
                        out[v] = out[v] * factor - weight[v] * target_share
            else:
                for v in range(len(out)):
                    out[v] *= factor
            out[t] -= real(own / normaliser)


@jit
def _normaliser(targets, weight, ignore_index):
    """Sum of the targets' weights over the rows that are not ignored."""
    total = 0.0
    for n in range(len(targets)):
        if targets[n] != ignore_index:
            total += 1.0 if weight is None else np.float64(weight[targets[n]])
    return total


@jit
def _scale(start, stop, dloss, saved, dlogits):
    # dloss (N,) or (1,) for all rows, saved (N, V) -> dlogits (N, V)
    for n in range(start, stop):
        factor = dloss[n if len(dloss) > 1 else 0]
        row, out = saved[n], dlogits[n]
        for v in range(len(row)):
            out[v] = row[v] * factor


def forward(logits, targets, weight=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean", gradient=True):
    x, t = fold(logits), targets.reshape(-1)  # (N, V), (N,)
    N, V = x.shape
    normaliser = _normaliser(t, weight, ignore_index) if reduction == "mean" else 1.0
    weight_sum = float(V if weight is None else weight.sum(dtype=np.float64))
    dlogits = empty(logits.shape, logits.dtype) if gradient else None  # (..., V)
    out = fold(dlogits) if gradient else None  # (N, V)
    loss = empty(targets.shape, logits.dtype) if reduction == "none" else None  # (...)
    with scratch():
        losses = empty((N,), np.float64)  # (N,)
        arguments = (x, t, weight, ignore_index, label_smoothing, weight_sum, normaliser, losses, out)
        devices.parallel(_rows, N, *arguments, grain=max(1, 2**14 // V))
        if reduction == "none":
            loss.reshape(-1)[...] = losses
        else:
            total = losses.sum()  # in an order of NumPy's that depends on N alone
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # 0 / 0 where all rows are ignored
                loss = logits.dtype.type(total / normaliser if reduction == "mean" else total)
    return loss, Saved(dlogits, reduction)


def backward(dloss, saved):
    dlogits = empty(saved.dlogits.shape, saved.dlogits.dtype)  # (..., V)
    rows, out = fold(saved.dlogits), fold(dlogits)  # (N, V)
    devices.parallel(_scale, len(rows), dloss.reshape(-1), rows, out, grain=max(1, 2**16 // max(1, out.shape[1])))
    return dlogits
