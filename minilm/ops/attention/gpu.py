"""Attention on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.attention.spec import Output, Saved
from minilm.ops.cuda import Kernel, Kernels, blocks, key_words
from minilm.ops.dropout.spec import threshold_and_scale

TQ, TK = 16, 32  # queries and keys of a tile, as in gpu.cu
WARPS = 4  # of a block of rung 1, a query or a key each


def _plain(name, rows):
    return Kernel(name, grid=lambda s: (-(-getattr(s, rows) // WARPS), s.B * s.H), block=32 * WARPS)


def _tiled(name, rows, tile, numbers):
    return Kernel(
        name,
        grid=lambda s: (-(-getattr(s, rows) // tile), s.B * s.H),
        block=128,
        shared=lambda s: numbers(s.K, s.Kv) * s.itemsize,
    )


KERNELS = Kernels(
    __file__,
    _plain("attention_forward_1", "Tq"),
    _plain("attention_dquery_1", "Tq"),
    _plain("attention_dkey_dvalue_1", "Tk"),
    _tiled("attention_forward_2", "Tq", TQ, lambda K, Kv: (TQ + TK) * (K + Kv) + TQ * TK + 3 * TQ),
    _tiled("attention_dquery_2", "Tq", TQ, lambda K, Kv: (TQ + TK) * (K + Kv) + 2 * TQ * TK + TQ * K),
    _tiled("attention_dkey_dvalue_2", "Tk", TK, lambda K, Kv: (TQ + 2 * TK) * (K + Kv) + 2 * TQ * TK),
    Kernel("attention_rows_of_D", grid=lambda s: -(-(s.B * s.H * s.Tq) // WARPS), block=32 * WARPS),
    Kernel("attention_weights", grid=lambda s: blocks(s.B * s.H * s.Tq * s.Tk, 256)),
)
RUNGS = {"forward": 2, "backward": 2}
MOST = 220 * 1024  # bytes of shared memory: wider heads take the way of rung 1


def _steps(x):
    """Strides of the first three axes in numbers."""
    return tuple(step // x.itemsize for step in x.strides[:3])


def _shape(query, key, value):
    B, Tq, H, K = query.shape
    return B, Tq, key.shape[1], H, K, value.shape[3]


def _numbers(query, key, value, causal, band, scale, dropout, rng):
    threshold, factor = threshold_and_scale(dropout)
    words = key_words(rng) if dropout else (None, 0, 0, 0, 0, 0)
    steps = (*_steps(query), *_steps(key), *_steps(value))
    return *_shape(query, key, value), *steps, band or 0, causal, scale, factor, threshold, dropout > 0, *words


def _rung(wanted, K, Kv, itemsize):
    return wanted if ((TQ + 2 * TK) * (K + Kv) + 2 * TQ * TK) * itemsize <= MOST else 1


def forward(
    query,
    key,
    value,
    *,
    causal=False,
    band=None,
    key_mask=None,
    scale=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
    workspace=None,
    rung=2,
):
    B, Tq, Tk, H, K, Kv = _shape(query, key, value)
    y = cupy.empty((B, Tq, H, Kv), query.dtype)
    logsumexp = cupy.empty((B, H, Tq), query.dtype)
    rung = _rung(rung, K, Kv, query.itemsize)
    numbers = _numbers(query, key, value, causal, band, scale, dropout, rng)
    KERNELS.launch(f"attention_forward_{rung}", query, key, value, key_mask, y, logsumexp, *numbers)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng)
    if not return_weights:
        return y, saved
    weights = cupy.empty((B, H, Tq, Tk), query.dtype)
    steps = (*_steps(query), *_steps(key))
    KERNELS.launch(
        "attention_weights", query, key, key_mask, logsumexp, weights, B, Tq, Tk, H, K, *steps, band or 0, causal, scale
    )
    return Output(y, weights), saved


def backward(dy, saved, *, workspace=None, rung=2):
    query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng = saved
    B, Tq, Tk, H, K, Kv = _shape(query, key, value)
    dy = cupy.ascontiguousarray(dy)  # (B, Tq, H, Kv)
    D = cupy.empty(logsumexp.shape, logsumexp.dtype)  # (B, H, Tq)
    KERNELS.launch("attention_rows_of_D", dy, y, D, B, Tq, H, Kv)
    rung = _rung(rung, K, Kv, query.itemsize)
    dquery, dkey, dvalue = (cupy.empty(x.shape, x.dtype) for x in (query, key, value))  # as their namesakes
    arrays = (query, key, value, key_mask, dy, logsumexp, D)
    numbers = _numbers(query, key, value, causal, band, scale, dropout, rng)
    KERNELS.launch(f"attention_dquery_{rung}", *arrays, dquery, *numbers)
    KERNELS.launch(f"attention_dkey_dvalue_{rung}", *arrays, dkey, dvalue, *numbers)
    return dquery, dkey, dvalue
