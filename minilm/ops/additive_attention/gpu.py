"""Additive attention on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.additive_attention.spec import Saved
from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, blocks, whole_warps
from minilm.ops.cuda.columns import column_sums

WARPS = 8  # of a block of dS, a weight each

KERNELS = Kernels(
    __file__,
    Kernel("additive_attention_forward", grid=lambda s: s.B * s.Tq, block=lambda s: whole_warps(max(s.Tk, s.D), 256)),
    Kernel("additive_attention_dS", grid=lambda s: -(-(s.B * s.Tq * s.Tk) // WARPS), block=32 * WARPS),
    Kernel("additive_attention_dquery", grid=lambda s: blocks(s.B * s.Tq * s.A)),
    Kernel("additive_attention_dkey", grid=lambda s: blocks(s.B * s.Tk * s.A)),
    Kernel("additive_attention_dvalue", grid=lambda s: blocks(s.B * s.Tk * s.D)),
)


def _packed(query, key, v, value, key_mask):
    """The struct that every kernel takes."""
    (B, Tq, A), (_, Tk, D) = query.shape, value.shape
    sizes = {"B": B, "Tq": Tq, "Tk": Tk, "A": A, "D": D}
    return KERNELS.pack("AdditiveAttention", query=query, key=key, v=v, value=value, key_mask=key_mask, **sizes)


def forward(query, key, v, value, *, key_mask=None):
    (B, Tq, _), (_, Tk, D) = query.shape, value.shape
    weights = cupy.empty((B, Tq, Tk), query.dtype)
    y = cupy.empty((B, Tq, D), query.dtype)
    KERNELS.launch("additive_attention_forward", _packed(query, key, v, value, key_mask), weights, y)
    return y, Saved(query, key, v, value, weights, y, key_mask)


def backward(dy, saved):
    query, key, v, value, weights, y, key_mask = saved
    args = _packed(query, key, v, value, key_mask)
    dS, dquery, dkey, dvalue, dv_part = (cupy.empty(a.shape, a.dtype) for a in (weights, query, key, value, query))
    KERNELS.launch("additive_attention_dS", args, dy, y, weights, dS)
    KERNELS.launch("additive_attention_dquery", args, dS, dquery, dv_part)
    KERNELS.launch("additive_attention_dkey", args, dS, dkey)
    KERNELS.launch("additive_attention_dvalue", args, dy, weights, dvalue)
    return dquery, dkey, column_sums(fold(dv_part)), dvalue
