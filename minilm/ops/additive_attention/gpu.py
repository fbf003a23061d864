"""Additive attention on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.additive_attention.spec import Saved
from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, blocks, whole_warps
from minilm.ops.cuda.columns import column_sums

KERNELS = Kernels(
    __file__,
    Kernel("additive_attention_forward", grid=lambda s: s.B * s.Tq, block=lambda s: whole_warps(max(s.Tk, s.D), 256)),
    Kernel("additive_attention_dS", grid=lambda s: -(-(s.B * s.Tq * s.Tk) // 8), block=256),
    Kernel("additive_attention_dquery", grid=lambda s: blocks(s.B * s.Tq * s.A, 256)),
    Kernel("additive_attention_dkey", grid=lambda s: blocks(s.B * s.Tk * s.A, 256)),
    Kernel("additive_attention_dvalue", grid=lambda s: blocks(s.B * s.Tk * s.D, 256)),
)


def forward(query, key, v, value, *, key_mask=None):
    (B, Tq, A), (_, Tk, D) = query.shape, value.shape
    weights = cupy.empty((B, Tq, Tk), query.dtype)
    y = cupy.empty((B, Tq, D), query.dtype)
    KERNELS.launch("additive_attention_forward", query, key, v, value, key_mask, weights, y, B, Tq, Tk, A, D)
    return y, Saved(query, key, v, value, weights, y, key_mask)


def backward(dy, saved):
    query, key, v, value, weights, y, key_mask = saved
    (B, Tq, A), (_, Tk, D) = query.shape, value.shape
    dS, dquery, dkey, dvalue, dv_part = (cupy.empty(a.shape, a.dtype) for a in (weights, query, key, value, query))
    KERNELS.launch("additive_attention_dS", dy, y, value, weights, key_mask, dS, B, Tq, Tk, D)
    KERNELS.launch("additive_attention_dquery", query, key, v, dS, key_mask, dquery, dv_part, B, Tq, Tk, A)
    KERNELS.launch("additive_attention_dkey", query, key, v, dS, key_mask, dkey, B, Tq, Tk, A)
    KERNELS.launch("additive_attention_dvalue", dy, weights, dvalue, B, Tq, Tk, D)
    return dquery, dkey, column_sums(fold(dv_part)), dvalue
