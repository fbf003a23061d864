"""Rotary positions on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks
from minilm.ops.rotary.spec import Saved

KERNELS = Kernels(__file__, Kernel("rotary", grid=lambda s: blocks(s.N * s.H * s.K)))


def _rotated(x, cos, sin, positions, interleaved, sign):
    (B, T, H, K), (P, half) = x.shape, cos.shape
    y = cupy.empty(x.shape, x.dtype)  # (B, T, H, K)
    positions = None if positions is None else positions.astype(cupy.int64, copy=False)
    KERNELS.launch("rotary", x, cos, sin, positions, y, B * T, T, H, K, P, half, int(interleaved), sign)
    return y


def forward(x, cos, sin, positions=None, *, interleaved=False):
    return _rotated(x, cos, sin, positions, interleaved, 1.0), Saved(cos, sin, positions, interleaved, x.shape)


def backward(dy, saved):
    return _rotated(dy, saved.cos, saved.sin, saved.positions, saved.interleaved, -1.0)
