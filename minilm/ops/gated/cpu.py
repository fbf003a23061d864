"""Gated activations on the CPU: one pass each. Kernels see flat arrays, a, b, y, dy, da and db of (N,)."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import simd
from minilm.ops.gated.spec import Saved
from minilm.ops.workspace import empty

GRAIN = 2**15  # elements worth a thread
LINEAR = 2 * math.sqrt(2 / math.pi)  # (1 + tanh u) / 2 = σ(2u), and 2u = LINEAR a + CUBIC a³
CUBIC = LINEAR * 0.044715


@jit
def _swiglu(start, stop, a, b, y):
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    for n in range(len(a)):
        y[n] = a[n] * simd.sigmoid(a[n]) * b[n]


@jit
def _dswiglu(start, stop, dy, a, b, da, db):
    dy, a, b, da, db = dy[start:stop], a[start:stop], b[start:stop], da[start:stop], db[start:stop]
    one = a.dtype.type(1)
    for n in range(len(a)):
        s = simd.sigmoid(a[n])
        da[n] = dy[n] * b[n] * (s + a[n] * s * (one - s))
        db[n] = dy[n] * (a[n] * s)


@jit
def _geglu(start, stop, a, b, y):
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    linear, cubic = a.dtype.type(LINEAR), a.dtype.type(CUBIC)
    for n in range(len(a)):
        y[n] = a[n] * simd.sigmoid(a[n] * (linear + cubic * a[n] * a[n])) * b[n]


@jit
def _dgeglu(start, stop, dy, a, b, da, db):
    dy, a, b, da, db = dy[start:stop], a[start:stop], b[start:stop], da[start:stop], db[start:stop]
    linear, cubic = a.dtype.type(LINEAR), a.dtype.type(CUBIC)
    one, three = a.dtype.type(1), a.dtype.type(3)
    for n in range(len(a)):
        square = a[n] * a[n]
        s = simd.sigmoid(a[n] * (linear + cubic * square))
        da[n] = dy[n] * b[n] * (s + a[n] * s * (one - s) * (linear + three * cubic * square))
        db[n] = dy[n] * (a[n] * s)


def _forward(kernel, a, b):
    y = empty(a.shape, a.dtype)  # (...)
    devices.parallel(kernel, a.size, a.reshape(-1), b.reshape(-1), y.reshape(-1), grain=GRAIN)
    return y, Saved(a, b)


def _backward(kernel, dy, saved):
    a, b = saved
    da, db = empty(a.shape, a.dtype), empty(a.shape, a.dtype)  # (...) each
    devices.parallel(kernel, a.size, *(x.reshape(-1) for x in (dy, a, b, da, db)), grain=GRAIN)
    return da, db


def swiglu_forward(a, b):
    return _forward(_swiglu, a, b)


def swiglu_backward(dy, saved):
    return _backward(_dswiglu, dy, saved)


def geglu_forward(a, b):
    return _forward(_geglu, a, b)


def geglu_backward(dy, saved):
    return _backward(_dgeglu, dy, saved)
