"""Softmax and log-softmax on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, whole_warps
from minilm.ops.softmax.spec import Saved


def _block(s):
    return whole_warps(s.V, 512)


ROWS = 64  # of a block of version 1, a thread each

KERNELS = Kernels(
    __file__,
    Kernel("softmax_forward_1", grid=lambda s: -(-s.N // ROWS), block=ROWS),
    Kernel("softmax_forward_2", grid=lambda s: s.N, block=_block),
    Kernel("softmax_forward_3", grid=lambda s: s.N, block=_block),
    Kernel("softmax_backward", grid=lambda s: s.N, block=_block),
)
VERSIONS = {"forward": 3, "log_forward": 3}


def _forward(x, version, logarithm):
    y = cupy.empty(x.shape, x.dtype)  # (..., V)
    V = x.shape[-1]
    KERNELS.launch(f"softmax_forward_{version}", x, y, x.size // V, V, logarithm)
    return y, Saved(y)


def _backward(dy, saved, logarithm):
    dx = cupy.empty(dy.shape, dy.dtype)  # (..., V)
    V = dy.shape[-1]
    KERNELS.launch("softmax_backward", dy, saved.y, dx, dy.size // V, V, logarithm)
    return dx


def forward(x, *, version=3):
    return _forward(x, version, False)


def backward(dy, saved):
    return _backward(dy, saved, False)


def log_forward(x, *, version=3):
    return _forward(x, version, True)


def log_backward(dy, saved):
    return _backward(dy, saved, True)
