"""Dropout on the GPU: one thread an element."""

from __future__ import annotations

import math

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks, key_arguments
from minilm.ops.dropout.spec import Saved, threshold_and_scale

KERNELS = Kernels(__file__, Kernel("dropout", grid=lambda s: blocks(s.N)))


def _scaled(x, saved):
    axis = saved.shared_axis
    shared = 1 if axis is None else saved.shape[axis]
    behind = math.prod(saved.shape) if axis is None else math.prod(saved.shape[axis + 1 :])
    threshold, scale = threshold_and_scale(saved.p)
    y = cupy.empty(x.shape, x.dtype)  # (...)
    KERNELS.launch("dropout", x, y, x.size, shared, max(1, behind), scale, threshold, key_arguments(saved.key))
    return y


def forward(x, p, key, *, shared_axis=None):
    saved = Saved(p, key, x.shape, x.dtype, shared_axis)
    return _scaled(x, saved), saved


def backward(dy, saved):
    return _scaled(dy, saved)
