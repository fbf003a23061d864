"""Matrix products on the GPU, by cuBLAS, in the precision that one setting names; those inside attention obey it too.

The settings are those of `minilm.ops.precision`.
"""

from __future__ import annotations

import cupy
import numpy as np

from minilm.ops.cuda import cublas
from minilm.ops.cuda.table import Kernel, Kernels, blocks
from minilm.ops.precision import PRECISIONS, chosen, precision

__all__ = ["PRECISIONS", "chosen", "matmul", "precision"]

KERNELS = Kernels(__file__, Kernel("to_bf16", grid=lambda s: blocks(s.N)))
_KINDS = {  # of the operands, of the product, and of the sums
    "float32": (cublas.R_32F, cublas.R_32F, cublas.COMPUTE_32F),
    "tf32": (cublas.R_32F, cublas.R_32F, cublas.COMPUTE_32F_FAST_TF32),
    "bf16": (cublas.R_16BF, cublas.R_32F, cublas.COMPUTE_32F),
    "float64": (cublas.R_64F, cublas.R_64F, cublas.COMPUTE_64F),
}


def matmul(a, b):
    """a (M, K) times b (K, N): (M, N). A transposed view is read where it lies."""
    (M, K), N = a.shape, b.shape[1]
    if 0 in (M, K, N):
        return cupy.zeros((M, N), a.dtype)
    (a, transposed_a), (b, transposed_b) = _rows(a), _rows(b)
    lead_a, lead_b = a.shape[1], b.shape[1]
    c = cupy.empty((M, N), a.dtype)
    setting = chosen() if a.dtype == np.float32 else "float64"
    kind, kind_c, compute = _KINDS[setting]
    if setting == "bf16":
        a, b = _to_bf16(a), _to_bf16(b)
    # cuBLAS has the first index running fastest, so it sees every matrix transposed: cT = bT aT.
    left, right = cublas.Matrix(b.data.ptr, kind, lead_b), cublas.Matrix(a.data.ptr, kind, lead_a)
    cublas.gemm_ex(transposed_b, transposed_a, N, M, K, left, right, cublas.Matrix(c.data.ptr, kind_c, N), compute)
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
