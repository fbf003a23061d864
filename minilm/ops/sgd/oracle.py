"""Stochastic gradient descent in plain NumPy. Every array has param's shape; new values are returned."""

from __future__ import annotations

import numpy as np


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
    g = scale * grad + weight_decay * np.where(np.isinf(param), 0, param)
    b = None
    direction = g
    if momentum > 0:
        b = g if step == 1 else momentum * momentum_buffer + (1 - dampening) * g
        direction = g + momentum * b if nesterov else b
    return param - lr * direction, np.zeros_like(grad) if clear else grad, b
