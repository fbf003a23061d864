"""Layer normalisation in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.layer_norm.spec import Saved


def forward(x, gamma=None, beta=None, *, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)  # (..., 1)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)  # (..., 1)
    rstd = 1 / np.sqrt(var + eps)  # (..., 1)
    y = (x - mean) * rstd  # (..., D)
    if gamma is not None:
        y = y * gamma  # (..., D)
    if beta is not None:
        y = y + beta  # (..., D)
    rows = x.shape[:-1]
    return y, Saved(x, gamma, mean.reshape(rows), rstd.reshape(rows), beta is not None)


def backward(dy, saved):
    x, gamma, mean, rstd, shifted = saved
    mean, rstd = mean[..., None], rstd[..., None]  # (..., 1) each
    u = (x - mean) * rstd  # (..., D)
    g = dy if gamma is None else dy * gamma  # (..., D)
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - u * (g * u).mean(axis=-1, keepdims=True))  # (..., D)
    dgamma = None if gamma is None else fold(dy * u).sum(axis=0)  # (D,)
    dbeta = fold(dy).sum(axis=0) if shifted else None  # (D,)
    return dx, dgamma, dbeta
