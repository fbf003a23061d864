"""Embedding on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, whole_warps
from minilm.ops.embedding.spec import Saved

KERNELS = Kernels(
    __file__,
    Kernel("embedding_forward", grid=lambda s: s.N, block=lambda s: whole_warps(s.D, 256)),
    Kernel("embedding_backward_1", grid=lambda s: s.V, block=lambda s: whole_warps(s.D, 256)),
    Kernel("embedding_backward_2", grid=lambda s: s.N, block=lambda s: whole_warps(s.D, 256)),
)
VERSIONS = {"backward": 2}


def forward(ids, W, padding_idx=None):
    y = cupy.empty((*ids.shape, W.shape[1]), W.dtype)  # (..., D)
    KERNELS.launch("embedding_forward", _flat(ids), W, y, ids.size, *W.shape)
    return y, Saved(ids, W.shape, W.dtype, padding_idx)


def backward(dy, saved, *, version=2):
    V, D = saved.shape
    ids, padding_idx = _flat(saved.ids), -1 if saved.padding_idx is None else saved.padding_idx  # (N,)
    dy = fold(dy)  # (N, D)
    if version == 1:
        dW = cupy.empty(saved.shape, saved.dtype)  # (V, D)
        KERNELS.launch("embedding_backward_1", dy, ids, dW, ids.size, V, D, padding_idx)
    else:
        dW = cupy.zeros(saved.shape, saved.dtype)  # (V, D)
        order = cupy.argsort(ids, kind="stable")  # (N,)
        KERNELS.launch("embedding_backward_2", dy, ids, order, dW, ids.size, V, D, padding_idx)
    return dW


def _flat(ids):
    return ids.reshape(-1).astype("int64", copy=False)
