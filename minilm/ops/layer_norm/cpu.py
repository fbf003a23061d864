"""Layer normalisation on the CPU: a row stays in the cache between the passes over it."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops.contract import fold
from minilm.ops.layer_norm.spec import Saved
from minilm.ops.workspace import empty, scratch

CHUNK = 64  # rows a partial sum of dgamma and dbeta covers: fixed, so that the bits do not depend on the number of threads


@jit(fastmath=REASSOC, part=True)
def normalise(row, mean, gamma, beta, eps, out):
    """One row (D,) whose numbers have this mean, as plainly summed, into out (D,); gives back mean and rstd."""
    # The rounding error of this mean shows in the mean of the differences, which are small numbers: it is added to the
    # mean, and taken off the variance.
    D, real = len(row), row.dtype.type
    rest, squares = real(0), real(0)
    for d in range(D):
        difference = row[d] - mean
        rest += difference
        squares += difference * difference
    rest /= real(D)
    var = max(real(0), squares / real(D) - rest * rest) if squares == squares else squares
    mean += rest
    rstd = real(1) / math.sqrt(var + real(eps))
    for d in range(D):
        u = (row[d] - mean) * rstd
        if gamma is not None:
            u *= gamma[d]
        if beta is not None:
            u += beta[d]
        out[d] = u
    return mean, rstd


@jit(fastmath=REASSOC)
def normalise_rows(start, stop, x, gamma, beta, eps, means, rstds, y):
    # x (N, D), gamma and beta (D,) or None -> means (N,), rstds (N,), y (N, D)
    D = x.shape[1]
    real = x.dtype.type
    for n in range(start, stop):
        row = x[n]
        mean = real(0)
        for d in range(D):
            mean += row[d]
        means[n], rstds[n] = normalise(row, mean / real(D), gamma, beta, eps, y[n])


@jit(fastmath=REASSOC)
def _backward(start, stop, dy, around, x, gamma, means, rstds, dx, partial):
    # chunks [start, stop) of dy, x, dx (N, D), means, rstds (N,) -> partial (chunks, 2, D): sums of dy u and of dy
    # around (N, D) or None: what goes past the normalisation, and is added to dx
    N, D = x.shape
    real = x.dtype.type
    for chunk in range(start, stop):
        by_u, plain = partial[chunk, 0], partial[chunk, 1]
        by_u[:] = 0
        plain[:] = 0
        for n in range(chunk * CHUNK, min(N, (chunk + 1) * CHUNK)):
            row, grad, out = x[n], dy[n], dx[n]
            mean, rstd = means[n], rstds[n]
            sum_g, sum_gu = real(0), real(0)
            for d in range(D):
                u = (row[d] - mean) * rstd
                g = grad[d] if gamma is None else grad[d] * gamma[d]
                sum_g += g
                sum_gu += g * u
                out[d] = g
                by_u[d] += grad[d] * u
                plain[d] += grad[d]
            a, b = sum_g / real(D), sum_gu / real(D)
            for d in range(D):
                u = (row[d] - mean) * rstd
                g = rstd * (out[d] - a - u * b)
                out[d] = g if around is None else around[n, d] + g


def forward(x, gamma=None, beta=None, *, eps=1e-5):
    y = empty(x.shape, x.dtype)  # (..., D)
    mean = empty(x.shape[:-1], x.dtype)  # (...)
    rstd = empty(x.shape[:-1], x.dtype)  # (...)
    arguments = (fold(x), gamma, beta, eps, mean.reshape(-1), rstd.reshape(-1), fold(y))
    devices.parallel(normalise_rows, mean.size, *arguments, grain=max(1, 2**15 // x.shape[-1]))
    return y, Saved(x, gamma, mean, rstd, beta is not None)


def gradients(dy, around, saved):
    """dx (..., D) with `around` (..., D) added where that is given, dgamma and dbeta (D,)."""
    x, gamma, mean, rstd, shifted = saved
    N, D = mean.size, x.shape[-1]
    dx = empty(x.shape, x.dtype)  # (..., D)
    dgamma = None if gamma is None else empty((D,), x.dtype)  # (D,)
    dbeta = empty((D,), x.dtype) if shifted else None  # (D,)
    with scratch():
        partial = empty((-(-N // CHUNK), 2, D), x.dtype)  # (chunks, 2, D)
        past = None if around is None else fold(around)
        arguments = (fold(dy), past, fold(x), gamma, mean.reshape(-1), rstd.reshape(-1), fold(dx), partial)
        devices.parallel(_backward, len(partial), *arguments, grain=max(1, 2**15 // (CHUNK * D)))
        for index, total in enumerate((dgamma, dbeta)):
            if total is not None:
                partial[:, index].sum(axis=0, out=total)
    return dx, dgamma, dbeta


def backward(dy, saved):
    return gradients(dy, None, saved)
