"""Lion in plain NumPy. Every array has param's shape; new values are returned."""

from __future__ import annotations

import numpy as np


def step(param, grad, m, *, step, lr, beta1=0.9, beta2=0.99, weight_decay=0.0, scale=1.0, clear=False):
    g = scale * grad
    m = np.zeros_like(m) if step == 1 else m
    u = np.sign(beta1 * m + (1 - beta1) * g)
    decay = weight_decay * np.where(np.isinf(param), 0, param)
    return param - lr * (u + decay), np.zeros_like(grad) if clear else grad, beta2 * m + (1 - beta2) * g
