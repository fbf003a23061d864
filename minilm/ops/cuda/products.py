"""Matrix products on the GPU, by cuBLAS, in the precision that one setting names.

==========  ================  ============  ===========================================================
setting     operands          sums          what it is
==========  ================  ============  ===========================================================
float32     float32           float32       as on the CPU; the default
tf32        10 bits           float32       tensor cores round the operands as they read them
bf16        7 bits            float32       operands are rounded to bfloat16 before: half the traffic
==========  ================  ============  ===========================================================

The bits are those of the significand; weights stay in float32, and the loss needs no scaling, since bfloat16 has float32's
exponents.
Products of float64 are float64 under every setting.
"""

from __future__ import annotations

import contextlib
import contextvars

import cupy
import numpy as np

from minilm.ops.cuda import PRECISIONS
from minilm.ops.cuda.table import Kernel, Kernels, blocks

__all__ = ["PRECISIONS", "chosen", "matmul", "precision"]

R_32F, R_16BF = 0, 14  # cudaDataType
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77  # cublasComputeType_t
DEFAULT_ALGORITHM = -1

KERNELS = Kernels(__file__, Kernel("to_bf16", grid=lambda s: blocks(s.N, 256)))
_precision: contextvars.ContextVar[str] = contextvars.ContextVar("minilm_precision", default="float32")
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)  # cuBLAS reads its factors from the host


@contextlib.contextmanager
def precision(name: str):
    """Choose how float32 products are computed inside a ``with`` block: ``"float32"``, ``"tf32"`` or ``"bf16"``."""
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    token = _precision.set(name)
    try:
        yield
    finally:
        _precision.reset(token)


def chosen() -> str:
    """The setting that holds here: what `precision` was last given, ``"float32"`` outside."""
    return _precision.get()


def matmul(a, b):
    """a (M, K) times b (K, N): (M, N). A transposed view is read where it lies."""
    chosen = _precision.get()
    (M, K), N = a.shape, b.shape[1]
    if chosen == "float32" or a.dtype != np.float32 or 0 in (M, K, N):
        return cupy.matmul(a, b)
    (a, turned_a), (b, turned_b) = _rows(a), _rows(b)
    kind, compute = R_32F, COMPUTE_32F_FAST_TF32
    lead_a, lead_b = a.shape[1], b.shape[1]
    if chosen == "bf16":
        a, b, kind, compute = _to_bf16(a), _to_bf16(b), R_16BF, COMPUTE_32F
    c = cupy.empty((M, N), np.float32)
    # cuBLAS has the first index running fastest, so it sees every matrix turned: cT = bT aT.
    cupy.cuda.cublas.gemmEx(
        cupy.cuda.device.get_cublas_handle(),
        int(turned_b),
        int(turned_a),
        N,
        M,
        K,
        _ONE.ctypes.data,
        b.data.ptr,
        kind,
        lead_b,
        a.data.ptr,
        kind,
        lead_a,
        _ZERO.ctypes.data,
        c.data.ptr,
        R_32F,
        N,
        compute,
        DEFAULT_ALGORITHM,
    )
    return c


def _rows(x):
    """x or its transpose, whichever has its rows one behind the other, and whether it is the transpose."""
    if x.flags.c_contiguous:
        return x, False
    if x.T.flags.c_contiguous:
        return x.T, True
    return cupy.ascontiguousarray(x), False


def _to_bf16(x):
    rounded = cupy.empty(x.shape, np.uint16)
    KERNELS.launch("to_bf16", x, rounded, x.size)
    return rounded
