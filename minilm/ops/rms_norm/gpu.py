"""Root mean square normalisation on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels
from minilm.ops.cuda.columns import column_sums
from minilm.ops.rms_norm.spec import Saved

ROWS = 64  # of a block of version 1, a thread each
WARPS = 8  # of a block of the others, a row each

KERNELS = Kernels(
    __file__,
    Kernel("rms_norm_forward_1", grid=lambda s: -(-s.N // ROWS), block=ROWS),
    Kernel("rms_norm_forward_2", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS),
    Kernel("rms_norm_backward", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS),
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
