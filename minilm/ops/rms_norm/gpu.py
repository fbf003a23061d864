"""Root mean square normalisation on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels
from minilm.ops.cuda.columns import column_sums
from minilm.ops.rms_norm.spec import Saved

ROWS = 8  # to a block, a warp each

KERNELS = Kernels(
    __file__,
    Kernel("rms_norm_forward_1", grid=lambda s: -(-s.N // 64), block=64),
    Kernel("rms_norm_forward_2", grid=lambda s: -(-s.N // ROWS), block=32 * ROWS),
    Kernel("rms_norm_backward", grid=lambda s: -(-s.N // ROWS), block=32 * ROWS),
)
VERSIONS = {"forward": 2}


def forward(x, gamma=None, *, eps=1e-6, version=2):
    rows, D = x.shape[:-1], x.shape[-1]
    y, rrms = cupy.empty(x.shape, x.dtype), cupy.empty(rows, x.dtype)  # (..., D), (...)
    KERNELS.launch(f"rms_norm_forward_{version}", x, gamma, y, rrms, rrms.size, D, eps)
    return y, Saved(x, gamma, rrms)


def backward(dy, saved):
    x, gamma, rrms = saved
    dx = cupy.empty(x.shape, x.dtype)  # (..., D)
    dy_u = None if gamma is None else cupy.empty(x.shape, x.dtype)  # (..., D)
    KERNELS.launch("rms_norm_backward", dy, x, gamma, rrms, dx, dy_u, rrms.size, x.shape[-1])
    return dx, None if gamma is None else column_sums(fold(dy_u))  # (D,)
