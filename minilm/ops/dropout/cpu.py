"""Dropout on the CPU: the random bits of a chunk are drawn into the cache and used there."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.dropout.spec import Saved, threshold_and_scale
from minilm.ops.philox.cpu import CHUNK, fill
from minilm.ops.philox.spec import words
from minilm.ops.workspace import empty, scratch


@jit
def _dropout(start, stop, x, key, threshold, scale, y):
    # chunks [start, stop) of x (N,), or of ones where there is no x -> y (N,)
    drawn = np.empty((4, CHUNK // 4), np.uint32)  # (4, B)
    factors = np.empty((CHUNK // 4, 4), y.dtype)  # (B, 4), in the order of y
    zero = y.dtype.type(0)
    for chunk in range(start, stop):
        fill(chunk * (CHUNK // 4), key, drawn)
        for b in range(CHUNK // 4):
            for w in range(4):
                factors[b, w] = scale if drawn[w, b] >= threshold else zero
        k = factors.reshape(CHUNK)
        out = y[chunk * CHUNK : (chunk + 1) * CHUNK]
        if x is None:
            for i in range(len(out)):
                out[i] = k[i]
        else:
            part = x[chunk * CHUNK : (chunk + 1) * CHUNK]
            for i in range(len(out)):
                out[i] = part[i] * k[i]


@jit
def _multiply(start, stop, x, k, y):
    # rows [start, stop) of x (N * S, I) by k (N, I) -> y (N * S, I)
    shared = len(x) // len(k)  # S
    for row in range(start, stop):
        values, factors, out = x[row], k[row // shared], y[row]
        for i in range(len(out)):
            out[i] = values[i] * factors[i]


def _draw(x, saved, y):
    """x (N,) or None times the factors -> y (N,)."""
    threshold, scale = threshold_and_scale(saved.p)
    arguments = (x, words(saved.key), np.uint32(threshold), y.dtype.type(scale), y)
    devices.parallel(_dropout, -(-y.size // CHUNK), *arguments, grain=16)


def _apply(x, saved):
    """x (...) times the factors: forward and backward alike."""
    y = empty(x.shape, x.dtype)  # (...)
    axis = saved.shared_axis
    if axis is None:
        _draw(x.reshape(-1), saved, y.reshape(-1))
        return y
    N, S, I = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    with scratch():
        k = empty((N, I), x.dtype)  # (N, I) one factor for all along the shared axis
        _draw(None, saved, k.reshape(-1))
        if y.size:
            rows = (N * S, I)
            devices.parallel(_multiply, N * S, x.reshape(rows), k, y.reshape(rows), grain=max(1, 2**16 // I))
    return y


def forward(x, p, key, *, shared_axis=None):
    saved = Saved(p, key, x.shape, x.dtype, shared_axis)
    return _apply(x, saved), saved


def backward(dy, saved):
    return _apply(dy, saved)
