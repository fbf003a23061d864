"""RMSprop on the CPU: one pass over memory."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit

GRAIN = 2**16  # elements worth a thread


@jit
def _step(start, stop, param, grad, v, mean, buffer, first, numbers, clear):
    # param, grad, v (N,), mean and buffer (N,) or None; numbers (7,), of their dtype
    lr, alpha, rest, eps, momentum, decay, scale = numbers
    param, grad, v = param[start:stop], grad[start:stop], v[start:stop]
    zero = param.dtype.type(0)
    if mean is not None:
        means = mean[start:stop]
    if buffer is not None:
        sums = buffer[start:stop]
    if first:  # whatever they hold, NaN too
        v[:] = 0
        if mean is not None:
            means[:] = 0
        if buffer is not None:
            sums[:] = 0
    for n in range(len(param)):
        p = param[n]
        g = scale * grad[n] + decay * (zero if abs(p) == math.inf else p)
        variance = alpha * v[n] + rest * g * g
        v[n] = variance
        if mean is not None:
            centre = alpha * means[n] + rest * g
            means[n] = centre
            variance -= centre * centre
            variance = zero if variance < zero else variance
        direction = g / (math.sqrt(variance) + eps)
        if buffer is not None:
            direction += momentum * sums[n]
            sums[n] = direction
        param[n] = p - lr * direction
        if clear:
            grad[n] = zero


def step(
    param,
    grad,
    v,
    mean=None,
    momentum_buffer=None,
    *,
    step,
    lr,
    alpha=0.99,
    eps=1e-8,
    momentum=0.0,
    weight_decay=0.0,
    scale=1.0,
    clear=False,
):
    flat = [None if array is None else array.reshape(-1) for array in (param, grad, v, mean, momentum_buffer)]  # (N,) each
    numbers = np.array((lr, alpha, 1 - alpha, eps, momentum, weight_decay, scale), param.dtype)
    devices.parallel(_step, param.size, *flat, step == 1, numbers, clear, grain=GRAIN)
    return param, grad, v, mean, momentum_buffer
