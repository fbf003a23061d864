"""Root mean square normalisation on the CPU: a row stays in the cache between the passes over it."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops.contract import fold
from minilm.ops.rms_norm.spec import Saved
from minilm.ops.workspace import empty, scratch

CHUNK = 64  # rows a partial sum of dgamma covers: fixed, so that the bits do not depend on the number of threads
WORTH = 2**15  # numbers worth a thread


@jit(fastmath=REASSOC, part=True)
def normalise(row, gamma, eps, out):
    # out (D,) = a row (D,) normalised, times gamma (D,) where that is not None; returns the inverse of its root mean square
    D, real = len(row), row.dtype.type
    squares = real(0)
    for d in range(D):
        squares += row[d] * row[d]
    r = real(1) / math.sqrt(squares / real(D) + real(eps))
    for d in range(D):
        out[d] = row[d] * r if gamma is None else row[d] * r * gamma[d]
    return r


@jit(fastmath=REASSOC)
def _forward(start, stop, x, gamma, eps, rrms, y):
    # x (N, D), gamma (D,) or None -> rrms (N,), y (N, D)
    for n in range(start, stop):
        rrms[n] = normalise(x[n], gamma, eps, y[n])


@jit(fastmath=REASSOC)
def _backward(start, stop, dy, x, gamma, rrms, dx, partial):
    # chunks [start, stop) of dy, x, dx (N, D), rrms (N,) -> partial (chunks, D): sums of dy u
    N, D = x.shape
    real = x.dtype.type
    for chunk in range(start, stop):
        total = partial[chunk]
        total[:] = 0
        for n in range(chunk * CHUNK, min(N, (chunk + 1) * CHUNK)):
            row, grad, out, r = x[n], dy[n], dx[n], rrms[n]
            sum_gu = real(0)
            for d in range(D):
                u = row[d] * r
                g = grad[d] if gamma is None else grad[d] * gamma[d]
                sum_gu += g * u
                out[d] = g
                total[d] += grad[d] * u
            mean_gu = sum_gu / real(D)
            for d in range(D):
                out[d] = r * (out[d] - row[d] * r * mean_gu)


def forward(x, gamma=None, *, eps=1e-6):
    y = empty(x.shape, x.dtype)  # (..., D)
    rrms = empty(x.shape[:-1], x.dtype)  # (...)
    arguments = (fold(x), gamma, eps, rrms.reshape(-1), fold(y))
    devices.parallel(_forward, rrms.size, *arguments, grain=max(1, WORTH // x.shape[-1]))
    return y, Saved(x, gamma, rrms)


def backward(dy, saved):
    x, gamma, rrms = saved
    N, D = rrms.size, x.shape[-1]
    dx = empty(x.shape, x.dtype)  # (..., D)
    dgamma = None if gamma is None else empty((D,), x.dtype)  # (D,)
    with scratch():
        partial = empty((-(-N // CHUNK), D), x.dtype)  # (chunks, D)
        arguments = (fold(dy), fold(x), gamma, rrms.reshape(-1), fold(dx), partial)
        devices.parallel(_backward, len(partial), *arguments, grain=max(1, WORTH // (CHUNK * D)))
        if dgamma is not None:
            partial.sum(axis=0, out=dgamma)
    return dx, dgamma
