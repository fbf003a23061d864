"""The global norm on the GPU, and the factor from it: both stay there, so that clipping waits for nothing."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels

PARTS = 1024

KERNELS = Kernels(
    __file__,
    Kernel("clip_squares", grid=lambda s: s.P),
    Kernel("clip_norm", grid=lambda s: 1),
    Kernel("clip_scale", grid=lambda s: 1, block=1),
)


def norm(grad):
    parts = max(1, min(-(-grad.size // 1024), PARTS))
    part, total = cupy.empty(parts, "float64"), cupy.empty((), grad.dtype)
    KERNELS.launch("clip_squares", grad, part, grad.size, parts)
    KERNELS.launch("clip_norm", part, total, parts)
    return total


def scale(norm, max_norm):
    factor = cupy.empty((), norm.dtype)
    KERNELS.launch("clip_scale", norm, factor, max_norm)
    return factor
