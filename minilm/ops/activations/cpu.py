"""Activations on the CPU: one pass each. Kernels see flat arrays, x, y, dy and dx of (N,)."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import simd
from minilm.ops.activations.spec import SavedInput, SavedOutput
from minilm.ops.workspace import empty

GRAIN = 2**15  # elements worth a thread
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
PDF_AT_0 = 1 / math.sqrt(2 * math.pi)


def _apply(kernel, *inputs):
    """One array of the inputs' shape, written by the kernel from all of them."""
    out = empty(inputs[0].shape, inputs[0].dtype)  # (...)
    devices.parallel(kernel, out.size, *(a.reshape(-1) for a in inputs), out.reshape(-1), grain=GRAIN)
    return out


@jit
def _sigmoid(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for n in range(len(x)):
        y[n] = simd.sigmoid(x[n])


@jit
def _dsigmoid(start, stop, y, dy, dx):
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    one = y.dtype.type(1)
    for n in range(len(y)):
        dx[n] = dy[n] * y[n] * (one - y[n])


@jit
def _tanh(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for n in range(len(x)):
        y[n] = simd.tanh(x[n])


@jit
def _dtanh(start, stop, y, dy, dx):
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    one = y.dtype.type(1)
    for n in range(len(y)):
        dx[n] = dy[n] * (one - y[n] * y[n])


@jit
def relu(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    zero = x.dtype.type(0)
    for n in range(len(x)):
        y[n] = zero if x[n] <= zero else x[n]  # NaN is not <= 0 and stays


@jit
def _drelu(start, stop, y, dy, dx):
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    zero = y.dtype.type(0)
    for n in range(len(y)):
        dx[n] = zero if y[n] <= zero else dy[n]


@jit
def _silu(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for n in range(len(x)):
        y[n] = x[n] * simd.sigmoid(x[n])


@jit
def _dsilu(start, stop, x, dy, dx):
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    one = x.dtype.type(1)
    for n in range(len(x)):
        s = simd.sigmoid(x[n])
        dx[n] = dy[n] * (s + x[n] * s * (one - s))


@jit
def gelu_erf(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for n in range(len(x)):
        y[n] = x[n] * simd.normal_cdf(x[n])


@jit
def _dgelu_erf(start, stop, x, dy, dx):
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    half, scale = x.dtype.type(0.5), x.dtype.type(PDF_AT_0)
    for n in range(len(x)):
        pdf = scale * simd.exp(-half * x[n] * x[n])
        dx[n] = dy[n] * (simd.normal_cdf(x[n]) + x[n] * pdf)


# (1 + tanh u) / 2 = σ(2u): one exponential, and no cancellation where tanh u is near -1


@jit
def gelu_tanh(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    a, b = x.dtype.type(2 * SQRT_2_OVER_PI), x.dtype.type(2 * SQRT_2_OVER_PI * CUBIC)
    for n in range(len(x)):
        y[n] = x[n] * simd.sigmoid(x[n] * (a + b * x[n] * x[n]))


@jit
def _dgelu_tanh(start, stop, x, dy, dx):
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    a, b = x.dtype.type(2 * SQRT_2_OVER_PI), x.dtype.type(2 * SQRT_2_OVER_PI * CUBIC)
    one, three = x.dtype.type(1), x.dtype.type(3)
    for n in range(len(x)):
        square = x[n] * x[n]
        s = simd.sigmoid(x[n] * (a + b * square))
        dx[n] = dy[n] * (s + x[n] * s * (one - s) * (a + three * b * square))


def sigmoid_forward(x):
    y = _apply(_sigmoid, x)
    return y, SavedOutput(y)


def sigmoid_backward(dy, saved):
    return _apply(_dsigmoid, saved.y, dy)


def tanh_forward(x):
    y = _apply(_tanh, x)
    return y, SavedOutput(y)


def tanh_backward(dy, saved):
    return _apply(_dtanh, saved.y, dy)


def relu_forward(x):
    y = _apply(relu, x)
    return y, SavedOutput(y)


def relu_backward(dy, saved):
    return _apply(_drelu, saved.y, dy)


def silu_forward(x):
    return _apply(_silu, x), SavedInput(x)


def silu_backward(dy, saved):
    return _apply(_dsilu, saved.x, dy)


def gelu_erf_forward(x):
    return _apply(gelu_erf, x), SavedInput(x)


def gelu_erf_backward(dy, saved):
    return _apply(_dgelu_erf, saved.x, dy)


def gelu_tanh_forward(x):
    return _apply(gelu_tanh, x), SavedInput(x)


def gelu_tanh_backward(dy, saved):
    return _apply(_dgelu_tanh, saved.x, dy)
