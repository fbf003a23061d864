"""RMSprop in plain NumPy. Every array has param's shape; new values are returned."""

from __future__ import annotations

import numpy as np


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
    if step == 1:
        v, mean, momentum_buffer = (None if x is None else np.zeros_like(x) for x in (v, mean, momentum_buffer))
    g = scale * grad + weight_decay * np.where(np.isinf(param), 0, param)
    v = alpha * v + (1 - alpha) * g**2
    variance = v
    if mean is not None:
        mean = alpha * mean + (1 - alpha) * g
        variance = np.maximum(v - mean**2, 0)  # below zero by rounding alone
    direction = g / (np.sqrt(variance) + eps)
    if momentum_buffer is not None:
        momentum_buffer = momentum * momentum_buffer + direction
        direction = momentum_buffer
    return param - lr * direction, np.zeros_like(grad) if clear else grad, v, mean, momentum_buffer
