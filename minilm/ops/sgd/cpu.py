"""Stochastic gradient descent on the CPU: one pass over memory."""

from __future__ import annotations

import math

from minilm import devices
from minilm.compiled.jit import jit

GRAIN = 2**15  # elements worth a thread: some 4 µs


@jit(part=True)
def _decaying(p):
    # what of a parameter decays: of an infinite one nothing
    return type(p)(0) if abs(p) == math.inf else p


@jit
def _step(start, stop, param, grad, buffer, first, lr, momentum, kept, nesterov, weight_decay, scale, clear):
    # param, grad (N,), buffer (N,) or None: the numbers are of their dtype
    param, grad = param[start:stop], grad[start:stop]
    if buffer is None:
        for n in range(len(param)):
            param[n] -= lr * (scale * grad[n] + weight_decay * _decaying(param[n]))
    else:
        buffer = buffer[start:stop]
        if first:  # whatever the buffer holds, NaN too
            buffer[:] = 0
            kept = param.dtype.type(1)
        look = momentum if nesterov else param.dtype.type(0)  # how far ahead along the buffer
        own = param.dtype.type(1)
        for n in range(len(param)):
            g = scale * grad[n] + weight_decay * _decaying(param[n])
            b = momentum * buffer[n] + kept * g
            buffer[n] = b
            param[n] -= lr * (own * g + look * b) if nesterov else lr * b
    if clear:
        grad[:] = 0


def step(
    param,
    grad,
    momentum_buffer=None,
    *,
    step,
    lr,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    scale=1.0,
    clear=False,
):
    real = param.dtype.type
    flat = [None if array is None else array.reshape(-1) for array in (param, grad, momentum_buffer)]  # (N,) each
    numbers = (step == 1, real(lr), real(momentum), real(1 - dampening), nesterov, real(weight_decay), real(scale), clear)
    devices.parallel(_step, param.size, *flat, *numbers, grain=GRAIN)
    return param, grad, momentum_buffer
