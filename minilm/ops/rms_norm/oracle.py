"""Root mean square normalisation in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.rms_norm.spec import Saved


def forward(x, gamma=None, *, eps=1e-6):
    ms = (x**2).mean(axis=-1, keepdims=True)  # (..., 1)
    rrms = 1 / np.sqrt(ms + eps)  # (..., 1)
    u = x * rrms  # (..., D)
    y = u if gamma is None else u * gamma  # (..., D)
    return y, Saved(x, gamma, rrms.reshape(x.shape[:-1]))


def backward(dy, saved):
    x, gamma, rrms = saved
    rrms = rrms[..., None]  # (..., 1)
    u = x * rrms  # (..., D)
    g = dy if gamma is None else dy * gamma  # (..., D)
    dx = rrms * (g - u * (g * u).mean(axis=-1, keepdims=True))  # (..., D)
    dgamma = None if gamma is None else fold(dy * u).sum(axis=0)  # (D,)
    return dx, dgamma
