"""The affine map on the GPU: cuBLAS and a bias."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, blocks
from minilm.ops.cuda.columns import column_sums
from minilm.ops.cuda.products import matmul
from minilm.ops.linear.spec import Saved

TILE = 16  # a block of versions 1 and 2 has so many rows and so many columns of y

KERNELS = Kernels(
    __file__,
    Kernel("add_bias", grid=lambda s: blocks(s.N * s.O)),
    *(
        Kernel(f"linear_forward_{version}", grid=lambda s: (-(-s.O // TILE), -(-s.N // TILE)), block=(TILE, TILE))
        for version in (1, 2)
    ),
    defines={"TILE": TILE},
)
VERSIONS = {"forward": 3}


def forward(x, W, b=None, *, version=3):
    rows, (O, I) = fold(x), W.shape  # (N, I)
    if version == 3:
        y = matmul(rows, W.T)  # (N, O)
    else:
        y = cupy.empty((len(rows), O), x.dtype)
        KERNELS.launch(f"linear_forward_{version}", rows, W, y, len(rows), I, O)
    if b is not None:
        KERNELS.launch("add_bias", y, b, len(rows), O)
    return y.reshape(*x.shape[:-1], O), Saved(x, W, b is not None)


def backward(dy, saved):
    x, W, bias = saved
    rows = fold(dy)  # (N, O)
    dx = matmul(rows, W).reshape(*dy.shape[:-1], W.shape[1])
    dW = None if x is None else matmul(rows.T, fold(x))  # (O, I)
    return dx, dW, column_sums(rows) if bias else None
