"""Philox on the GPU."""

from __future__ import annotations

import math

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks, key_arguments

KERNELS = Kernels(
    __file__,
    Kernel("philox_fill", grid=lambda s: blocks((s.N + 3) // 4)),
    Kernel("philox_uniform", grid=lambda s: blocks(s.N)),
)


def bits(key, shape):
    drawn = cupy.empty(shape, "uint32")  # (...)
    KERNELS.launch("philox_fill", drawn, math.prod(shape), key_arguments(key), dtype="float32")
    return drawn


def uniform(key, shape, dtype):
    u = cupy.empty(shape, dtype)  # (...)
    KERNELS.launch("philox_uniform", u, u.size, key_arguments(key))
    return u
