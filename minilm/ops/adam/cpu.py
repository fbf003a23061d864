"""Adam on the CPU: one pass over memory."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit

GRAIN = 2**15  # elements worth a thread: 65,536 took an AMD EPYC (Zen 3) 60 µs on one thread and 48 on two


@jit
def _step(start, stop, param, grad, m, v, v_max, ends, numbers, clear):
    # param, grad, m, v (N,), v_max (N,) or None, ends (G,); numbers (G, 10), of their dtype, computed in `step`
    begin = 0
    for group in range(len(ends)):
        first, last = max(start, begin), min(stop, ends[group])
        if first < last:
            _update(first, last, param, grad, m, v, v_max, numbers[group], clear)
        begin = ends[group]


@jit(part=True)
def _update(start, stop, param, grad, m, v, v_max, numbers, clear):
    # the numbers [start, stop), which are all of one group:
    # size η / (1 - β1^t), root 1 / sqrt(1 - β2^t), rest 1 - β, coupled λ of Adam or 0, decay η λ of AdamW or 0
    size, root, beta1, beta2, rest1, rest2, eps, coupled, decay, scale = numbers
    param, grad, m, v = param[start:stop], grad[start:stop], m[start:stop], v[start:stop]
    zero = param.dtype.type(0)
    if v_max is not None:
        largest = v_max[start:stop]
    for n in range(len(param)):
        p = param[n]
        decaying = zero if abs(p) == math.inf else p
        g = scale * grad[n] + coupled * decaying
        new_m = beta1 * m[n] + rest1 * g
        new_v = beta2 * v[n] + rest2 * g * g
        m[n] = new_m
        v[n] = new_v
        if v_max is not None:
            old = largest[n]
            new_v = old if new_v <= old or old != old else new_v  # NaN stays
            largest[n] = new_v
        param[n] = p - (decay * decaying + size * new_m / (math.sqrt(new_v) * root + eps))
        if clear:
            grad[n] = zero


def step(
    param,
    grad,
    m,
    v,
    v_max=None,
    *,
    step,
    lr,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    decoupled=False,
    scale=1.0,
    clear=False,
    ends=None,
):
    ends = np.array((param.size,) if ends is None else ends)  # (G,)
    lr, weight_decay = np.array(lr), np.array(weight_decay)  # () or (G,)
    numbers = np.empty((len(ends), 10), param.dtype)  # (G, 10)
    root = 1 / math.sqrt(1 - beta2**step)
    coupled, decay = (0.0, lr * weight_decay) if decoupled else (weight_decay, 0.0)
    each = (lr / (1 - beta1**step), root, beta1, beta2, 1 - beta1, 1 - beta2, eps, coupled, decay, scale)
    for column, number in enumerate(each):
        numbers[:, column] = number
    flat = [None if array is None else array.reshape(-1) for array in (param, grad, m, v, v_max)]  # (N,) each
    devices.parallel(_step, param.size, *flat, ends, numbers, clear, grain=GRAIN)
    return param, grad, m, v, v_max
