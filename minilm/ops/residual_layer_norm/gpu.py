"""Residual sum and layer normalisation on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels
from minilm.ops.cuda.columns import column_sums
from minilm.ops.residual_layer_norm.spec import Output, Saved

WARPS = 8  # of a block, a row each

KERNELS = Kernels(
    __file__,
    *(Kernel(f"residual_layer_norm_{way}", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS) for way in ("forward", "backward")),
)


def forward(x, residual, gamma=None, beta=None, *, eps=1e-5):
    rows, D = x.shape[:-1], x.shape[-1]
    total, y = cupy.empty(x.shape, x.dtype), cupy.empty(x.shape, x.dtype)  # (..., D) each
    mean, rstd = cupy.empty(rows, x.dtype), cupy.empty(rows, x.dtype)  # (...) each
    KERNELS.launch("residual_layer_norm_forward", x, residual, gamma, beta, total, y, mean, rstd, mean.size, D, eps)
    return Output(total, y), Saved(total, gamma, mean, rstd, beta is not None)


def backward(dy, saved):
    total, gamma, mean, rstd, shifted = saved
    dtotal, dy = dy
    if dy is None:
        dy = cupy.zeros(total.shape, total.dtype)
    dx = cupy.empty(total.shape, total.dtype)  # (..., D)
    dy_u = None if gamma is None else cupy.empty(total.shape, total.dtype)  # (..., D)
    KERNELS.launch("residual_layer_norm_backward", dtotal, dy, total, gamma, mean, rstd, dx, dy_u, mean.size, total.shape[-1])
    dgamma = None if gamma is None else column_sums(fold(dy_u))  # (D,)
    return dx, dx, dgamma, column_sums(fold(dy)) if shifted else None
