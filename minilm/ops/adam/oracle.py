"""Adam in plain NumPy, a line of code a line of definition. Every array has param's shape; the new ones are returned."""

from __future__ import annotations

import numpy as np


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
    if ends is not None:
        lr, weight_decay = (np.repeat(each, np.diff(ends, prepend=0)).astype(param.dtype) for each in (lr, weight_decay))  # (N,)
    g = scale * grad
    decay = weight_decay * np.where(np.isinf(param), 0, param)
    if decoupled:
        param = param - lr * decay
    else:
        g = g + decay
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    if v_max is not None:
        v_max = np.maximum(v_max, v)
    m_hat = m / (1 - beta1**step)
    v_hat = (v if v_max is None else v_max) / (1 - beta2**step)
    param = param - lr * m_hat / (np.sqrt(v_hat) + eps)
    return param, np.zeros_like(grad) if clear else grad, m, v, v_max
