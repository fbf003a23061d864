"""Layer normalisation on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels
from minilm.ops.cuda.columns import column_sums
from minilm.ops.layer_norm.spec import Saved

ROWS = 64  # of a block of version 1, a thread each
WARPS = 8  # of a block of the others, a row each

KERNELS = Kernels(
    __file__,
    Kernel("layer_norm_forward_1", grid=lambda s: -(-s.N // ROWS), block=ROWS),
    Kernel("layer_norm_forward_2", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS),
    Kernel("layer_norm_backward", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS),
)
VERSIONS = {"forward": 2}


def forward(x, gamma=None, beta=None, *, eps=1e-5, version=2):
    rows, D = x.shape[:-1], x.shape[-1]
    y, mean, rstd = (cupy.empty(shape, x.dtype) for shape in (x.shape, rows, rows))  # (..., D), (...), (...)
    KERNELS.launch(f"layer_norm_forward_{version}", x, gamma, beta, y, mean, rstd, mean.size, D, eps)
    return y, Saved(x, gamma, mean, rstd, beta is not None)


def backward(dy, saved):
    x, gamma, mean, rstd, shifted = saved
    dx = cupy.empty(x.shape, x.dtype)  # (..., D)
    dy_u = None if gamma is None else cupy.empty(x.shape, x.dtype)  # (..., D)
    KERNELS.launch("layer_norm_backward", dy, x, gamma, mean, rstd, dx, dy_u, mean.size, x.shape[-1])
    dgamma = None if gamma is None else column_sums(fold(dy_u))  # (D,)
    return dx, dgamma, column_sums(fold(dy)) if shifted else None
