"""Softmax and log-softmax on the CPU: a row stays in the cache between the passes over it."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.contract import fold
from minilm.ops.exponentials import exponentials
from minilm.ops.softmax.spec import Saved
from minilm.ops.workspace import empty


def _by_rows(kernel, *inputs):
    """One array of the inputs' shape (..., V), written by the kernel row by row."""
    out = empty(inputs[0].shape, inputs[0].dtype)  # (..., V)
    rows = [fold(a) for a in (*inputs, out)]  # (N, V) each
    devices.parallel(kernel, len(rows[0]), *rows, grain=max(1, 2**14 // out.shape[-1]))
    return out


@jit(fastmath=REASSOC, counted=False)
def _softmax(start, stop, x, y):
    # x (N, V) -> y (N, V)
    for n in range(start, stop):
        row, out = x[n], y[n]
        m = simd.largest(row)
        s = exponentials(row, m, out)
        r = row.dtype.type(1) / s
        for v in range(len(row)):
            out[v] *= r


@jit(fastmath=REASSOC, counted=False)
def _dsoftmax(start, stop, y, dy, dx):
    # y, dy (N, V) -> dx (N, V)
    for n in range(start, stop):
        row, grad, out = y[n], dy[n], dx[n]
        inner = row.dtype.type(0)
        for v in range(len(row)):
            inner += grad[v] * row[v]
        for v in range(len(row)):
            out[v] = row[v] * (grad[v] - inner)


@jit(fastmath=REASSOC, part=True, counted=False)
def log_softmax_row(row, out):
    # row (V,) -> out (V,)
    m = simd.largest(row)
    s = row.dtype.type(0)
    for v in range(len(row)):
        s += simd.exp(row[v] - m)
    log_s = row.dtype.type(math.log(s))
    for v in range(len(row)):
        shifted = row[v] - m
        out[v] = shifted - log_s


@jit(fastmath=REASSOC, counted=False)
def _log_softmax(start, stop, x, y):
    # x (N, V) -> y (N, V)
    for n in range(start, stop):
        log_softmax_row(x[n], y[n])


@jit(fastmath=REASSOC, counted=False)
def _dlog_softmax(start, stop, y, dy, dx):
    # y, dy (N, V) -> dx (N, V)
    for n in range(start, stop):
        row, grad, out = y[n], dy[n], dx[n]
        total = row.dtype.type(0)
        for v in range(len(row)):
            total += grad[v]
        for v in range(len(row)):
            out[v] = grad[v] - simd.exp(row[v]) * total


def forward(x):
    y = _by_rows(_softmax, x)
    return y, Saved(y)


def backward(dy, saved):
    return _by_rows(_dsoftmax, saved.y, dy)


def log_forward(x):
    y = _by_rows(_log_softmax, x)
    return y, Saved(y)


def log_backward(dy, saved):
    return _by_rows(_dlog_softmax, saved.y, dy)
