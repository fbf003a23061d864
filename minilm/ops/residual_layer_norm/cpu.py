"""Residual sum and layer normalisation on the CPU: a row stays in the cache from the sum to its normalisation."""

from __future__ import annotations

import math

from minilm import devices
from minilm.ops.contract import fold
from minilm.ops.jit import REASSOC, jit
from minilm.ops.residual_layer_norm.spec import Output, Saved
from minilm.ops.workspace import empty_from, scratch_of

CHUNK = 64  # rows a partial sum of dgamma and dbeta covers: fixed, so that the bits do not depend on the number of threads


@jit(fastmath=REASSOC)
def _forward(start, stop, x, residual, gamma, beta, eps, total, means, rstds, y):
    # x, residual (N, D), gamma and beta (D,) or None -> total (N, D), means (N,), rstds (N,), y (N, D)
    D = x.shape[1]
    real = x.dtype.type
    for n in range(start, stop):
        branch, around, row, out = x[n], residual[n], total[n], y[n]
        mean = real(0)
        for d in range(D):
            t = branch[d] + around[d]
            row[d] = t
            mean += t
        mean /= real(D)
        # as in layer_norm: the rounding error of this mean is added to it, and taken off the variance
        rest, squares = real(0), real(0)
        for d in range(D):
            difference = row[d] - mean
            rest += difference
            squares += difference * difference
        rest /= real(D)
        var = max(real(0), squares / real(D) - rest * rest) if squares == squares else squares
        mean += rest
        rstd = real(1) / math.sqrt(var + real(eps))
        means[n], rstds[n] = mean, rstd
        for d in range(D):
            u = (row[d] - mean) * rstd
            if gamma is not None:
                u *= gamma[d]
            if beta is not None:
                u += beta[d]
            out[d] = u


@jit(fastmath=REASSOC)
def _backward(start, stop, dtotal, dy, total, gamma, means, rstds, dx, partial):
    # chunks [start, stop) of all (N, D); means, rstds (N,) -> partial (chunks, 2, D): sums of dy u and of dy
    N, D = total.shape
    real = total.dtype.type
    for chunk in range(start, stop):
        by_u, plain = partial[chunk, 0], partial[chunk, 1]
        by_u[:] = 0
        plain[:] = 0
        for n in range(chunk * CHUNK, min(N, (chunk + 1) * CHUNK)):
            row, grad, around, out = total[n], dy[n], dtotal[n], dx[n]
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
                out[d] = around[d] + rstd * (out[d] - a - u * b)


def forward(x, residual, gamma=None, beta=None, *, eps=1e-5, workspace=None):
    allocate = empty_from(workspace)
    total, y = allocate(x.shape, x.dtype), allocate(x.shape, x.dtype)  # (..., D)
    mean, rstd = allocate(x.shape[:-1], x.dtype), allocate(x.shape[:-1], x.dtype)  # (...)
    inputs = (fold(x), fold(residual), gamma, beta, eps)
    outputs = (fold(total), mean.reshape(-1), rstd.reshape(-1), fold(y))
    devices.parallel(_forward, mean.size, *inputs, *outputs, grain=max(1, 2**17 // x.shape[-1]))
    return Output(total, y), Saved(total, gamma, mean, rstd, beta is not None)


def backward(dy, saved, *, workspace=None):
    total, gamma, mean, rstd, shifted = saved
    allocate = empty_from(workspace)
    N, D = mean.size, total.shape[-1]
    dx = allocate(total.shape, total.dtype)  # (..., D)
    dgamma = None if gamma is None else allocate((D,), total.dtype)  # (D,)
    dbeta = allocate((D,), total.dtype) if shifted else None  # (D,)
    with scratch_of(workspace):
        cotangents = []
        for part in dy:
            if part is None:
                part = allocate(total.shape, total.dtype)
                part.fill(0)
            cotangents.append(fold(part))  # (N, D)
        partial = allocate((-(-N // CHUNK), 2, D), total.dtype)  # (chunks, 2, D)
        arguments = (*cotangents, fold(total), gamma, mean.reshape(-1), rstd.reshape(-1), fold(dx), partial)
        devices.parallel(_backward, len(partial), *arguments, grain=max(1, 2**17 // (CHUNK * D)))
        for index, summed in enumerate((dgamma, dbeta)):
            if summed is not None:
                partial[:, index].sum(axis=0, out=summed)
    return dx, dx, dgamma, dbeta
