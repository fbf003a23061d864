"""Residual sum and layer normalisation in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import fold
from minilm.ops.recurrence import or_zeros
from minilm.ops.residual_layer_norm.spec import Output, Saved


def forward(x, residual, gamma=None, beta=None, *, eps=1e-5):
    total = x + residual  # (..., D)
    mean = total.mean(axis=-1, keepdims=True)  # (..., 1)
    var = ((total - mean) ** 2).mean(axis=-1, keepdims=True)  # (..., 1)
    rstd = 1 / np.sqrt(var + eps)  # (..., 1)
    y = (total - mean) * rstd  # (..., D)
    if gamma is not None:
        y = y * gamma  # (..., D)
    if beta is not None:
        y = y + beta  # (..., D)
    rows = x.shape[:-1]
    return Output(total, y), Saved(total, gamma, mean.reshape(rows), rstd.reshape(rows), beta is not None)


def backward(dy, saved):
    total, gamma, mean, rstd, shifted = saved
    dtotal, dy = or_zeros(dy, (total, total))  # (..., D) each
    mean, rstd = mean[..., None], rstd[..., None]  # (..., 1) each
    u = (total - mean) * rstd  # (..., D)
    g = dy if gamma is None else dy * gamma  # (..., D)
    dx = dtotal + rstd * (g - g.mean(axis=-1, keepdims=True) - u * (g * u).mean(axis=-1, keepdims=True))  # (..., D)
    dgamma = None if gamma is None else fold(dy * u).sum(axis=0)  # (D,)
    dbeta = fold(dy).sum(axis=0) if shifted else None  # (D,)
    return dx, dx, dgamma, dbeta
