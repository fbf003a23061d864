"""Residual sum and layer normalisation on the CPU: a row stays in the cache from the sum to its normalisation.

What comes after the sum is layer normalisation's, forward and backward: see `minilm.ops.layer_norm.cpu`.
"""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops.contract import fold
from minilm.ops.layer_norm.cpu import gradients, normalise
from minilm.ops.residual_layer_norm.spec import Output, Saved
from minilm.ops.workspace import empty


@jit(fastmath=REASSOC)
def _forward(start, stop, x, residual, gamma, beta, eps, total, means, rstds, y):
    # x, residual (N, D), gamma and beta (D,) or None -> total (N, D), means (N,), rstds (N,), y (N, D)
    D = x.shape[1]
    real = x.dtype.type
    for n in range(start, stop):
        branch, around, row = x[n], residual[n], total[n]
        for d in range(D):
            row[d] = branch[d] + around[d]
        mean = real(0)
        for d in range(D):  # by itself: a loop that also stores sums in another order where arrays lie close together
            mean += row[d]
        means[n], rstds[n] = normalise(row, mean / real(D), gamma, beta, eps, y[n])


def forward(x, residual, gamma=None, beta=None, *, eps=1e-5):
    total, y = empty(x.shape, x.dtype), empty(x.shape, x.dtype)  # (..., D)
    mean, rstd = empty(x.shape[:-1], x.dtype), empty(x.shape[:-1], x.dtype)  # (...)
    inputs = (fold(x), fold(residual), gamma, beta, eps)
    outputs = (fold(total), mean.reshape(-1), rstd.reshape(-1), fold(y))
    devices.parallel(_forward, mean.size, *inputs, *outputs, grain=max(1, 2**15 // x.shape[-1]))
    return Output(total, y), Saved(total, gamma, mean, rstd, beta is not None)


def backward(dy, saved):
    dtotal, dy = dy
    if dy is None:
        dy = empty(saved.total.shape, saved.total.dtype)  # (..., D)
        dy.fill(0)
    dx, dgamma, dbeta = gradients(dy, dtotal, saved)
    return dx, dx, dgamma, dbeta
