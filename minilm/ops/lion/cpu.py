"""Lion on the CPU: one pass over memory."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit

GRAIN = 2**16  # elements worth a thread


@jit
def _step(start, stop, param, grad, m, first, numbers, clear):
    # param, grad, m (N,); numbers (7,), of their dtype
    lr, beta1, beta2, rest1, rest2, decay, scale = numbers
    param, grad, m = param[start:stop], grad[start:stop], m[start:stop]
    zero, one = param.dtype.type(0), param.dtype.type(1)
    if first:  # whatever it holds, NaN too
        m[:] = 0
    for n in range(len(param)):
        p, g = param[n], scale * grad[n]
        mean = beta1 * m[n] + rest1 * g
        u = one if mean > 0 else -one if mean < 0 else mean  # NaN stays
        param[n] = p - lr * (u + decay * (zero if abs(p) == math.inf else p))
        m[n] = beta2 * m[n] + rest2 * g
        if clear:
            grad[n] = zero


def step(param, grad, m, *, step, lr, beta1=0.9, beta2=0.99, weight_decay=0.0, scale=1.0, clear=False):
    flat = [array.reshape(-1) for array in (param, grad, m)]  # (N,) each
    numbers = np.array((lr, beta1, beta2, 1 - beta1, 1 - beta2, weight_decay, scale), param.dtype)
    devices.parallel(_step, param.size, *flat, step == 1, numbers, clear, grain=GRAIN)
    return param, grad, m
