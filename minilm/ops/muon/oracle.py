"""Muon in plain NumPy. Every array has param's shape; new values are returned."""

from __future__ import annotations

import numpy as np

from minilm.ops.muon.spec import COEFFICIENTS, step_size


def orthogonal(G, steps, coefficients, eps):
    """Near U Vᵀ of G (O, I) = U S Vᵀ."""
    a, b, c = coefficients
    X = G / max(np.sqrt((G**2).sum()), eps)  # (O, I)
    wide = len(X) <= X.shape[1]
    for _ in range(steps):
        A = X @ X.T if wide else X.T @ X  # (O, O) or (I, I)
        B = b * A + c * A @ A  # likewise
        X = a * X + (B @ X if wide else X @ B)  # (O, I)
    return X


def step(
    param,
    grad,
    momentum_buffer,
    *,
    step,
    lr,
    momentum=0.95,
    nesterov=True,
    weight_decay=0.0,
    size="match_rms_adamw",
    steps=5,
    coefficients=COEFFICIENTS,
    eps=1e-7,
    scale=1.0,
    clear=False,
):
    g = scale * grad  # (O, I)
    before = np.zeros_like(momentum_buffer) if step == 1 else momentum_buffer  # (O, I)
    mean = momentum * before + (1 - momentum) * g  # (O, I)
    G = momentum * mean + (1 - momentum) * g if nesterov else mean  # (O, I)
    u = orthogonal(G, steps, coefficients, eps)  # (O, I)
    decay = weight_decay * np.where(np.isinf(param), 0, param)
    new = param - lr * (decay + step_size(size, *param.shape) * u)  # (O, I)
    return new.astype(param.dtype), np.zeros_like(grad) if clear else grad, mean.astype(param.dtype)
