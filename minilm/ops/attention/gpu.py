"""Attention on the GPU.

Version 3, in tensor.cu, computes its products on tensor cores. They round their operands, so it is used only where the setting of
`minilm.ops.cuda.products.precision`, which a run's ``precision`` is, allows that: for ``"tf32"`` and ``"bf16"``. It takes float32
arrays with heads of at most 128 numbers, on devices of compute capability 8.0 and later. Version 2 computes everything else,
or by version 1 where heads are too wide for a device's shared memory. Weights that the caller wants returned are computed from
unrounded scores.

A single query, as of every token of generation, has kernels of its own, in one_query.cu, instead of every version but the first.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cupy
import numpy as np

from minilm.ops.attention.spec import Output, Saved
from minilm.ops.cuda import Kernel, Kernels, blocks, key_words, products, whole_warps
from minilm.ops.dropout.spec import threshold_and_scale

TQ, TK = 16, 32  # queries and keys of a tile, as in gpu.cu
WARPS = 4  # of a block of version 1, a query or a key each


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
CHUNK = 128  # keys of a block, as in one_query.cu
ONE_QUERY = Kernels(
    str(Path(__file__).with_name("one_query.cu")),
    Kernel("attention_one_query", grid=lambda s: (s.C, s.B * s.H), block=CHUNK, shared=lambda s: s.K * s.itemsize),
    Kernel("attention_one_query_merge", grid=lambda s: s.B * s.H, block=lambda s: whole_warps(s.Kv, 256)),
)
VERSIONS = {"forward": 3, "backward": 3}
TENSOR_CORES = 3  # the version that takes them, where it is not version 2 in disguise
MOST = 220 * 1024  # bytes of shared memory: wider heads take the way of version 1

ROWS = 64  # of a block of version 3, as in tensor.h
WIDTHS = (16, 32, 64, 96, 128)  # of heads as version 3 is compiled: a narrower one is filled up with zeros


@functools.cache
def tensor(precision: str, width: int) -> Kernels:
    """The kernels of version 3 for operands in ``"tf32"`` or ``"bf16"`` and heads of a width of `WIDTHS`."""
    pitch = 4 * ((width // 2 if precision == "bf16" else width) + 4)  # bytes from row to row of a tile
    forward, dquery, dkey_dvalue = (64, 32, 32) if width <= 64 else (32, 32, 16)  # rows of a tile, as in tensor.h

    def kernel(name, rows, tile_rows):
        grid = lambda s: (-(-getattr(s, rows) // ROWS), s.B * s.H)  # noqa: E731
        return Kernel(name, grid=grid, block=2 * ROWS, shared=tile_rows * pitch)

    return Kernels(
        str(Path(__file__).with_name("tensor.cu")),
        kernel("attention_forward_3", "Tq", ROWS + 2 * forward),
        kernel("attention_dquery_3", "Tq", 2 * ROWS + 2 * dquery),
        kernel("attention_dkey_dvalue_3", "Tk", 2 * ROWS + 2 * dkey_dvalue),
        defines={"BF16": int(precision == "bf16"), "WIDTH": width},
    )


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


def _kernels(wanted, query, value):
    """The table and the version that serve these arrays."""
    K, Kv, itemsize = query.shape[3], value.shape[3], query.itemsize
    if wanted == TENSOR_CORES:
        precision, wide = products.chosen(), max(K, Kv)
        if precision != "float32" and query.dtype == np.float32 and wide <= WIDTHS[-1] and has_tensor_cores():
            return tensor(precision, next(width for width in WIDTHS if wide <= width)), wanted
        wanted = 2
    return KERNELS, wanted if ((TQ + 2 * TK) * (K + Kv) + 2 * TQ * TK) * itemsize <= MOST else 1


def has_tensor_cores() -> bool:
    """Whether the current device has those of mma.h."""
    return int(cupy.cuda.Device().compute_capability) >= 80


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
    version=3,
):
    B, Tq, Tk, H, K, Kv = _shape(query, key, value)
    y = cupy.empty((B, Tq, H, Kv), query.dtype)
    logsumexp = cupy.empty((B, H, Tq), query.dtype)
    if Tq == 1 and version > 1 and not dropout and K * query.itemsize <= MOST:
        _one_query(query, key, value, key_mask, y, logsumexp, band or 0, causal, scale)
    else:
        kernels, version = _kernels(version, query, value)
        numbers = _numbers(query, key, value, causal, band, scale, dropout, rng)
        kernels.launch(f"attention_forward_{version}", query, key, value, key_mask, y, logsumexp, *numbers)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng)
    if not return_weights:
        return y, saved
    weights = cupy.empty((B, H, Tq, Tk), query.dtype)
    steps = (*_steps(query), *_steps(key))
    KERNELS.launch(
        "attention_weights", query, key, key_mask, logsumexp, weights, B, Tq, Tk, H, K, *steps, band or 0, causal, scale
    )
    return Output(y, weights), saved


def _one_query(query, key, value, key_mask, y, logsumexp, *numbers):
    B, Tq, Tk, H, K, Kv = shape = _shape(query, key, value)
    C = max(1, -(-Tk // CHUNK))
    m, s, o = (cupy.empty((B, H, C, *last), query.dtype) for last in ((), (), (Kv,)))  # (B, H, C) twice, (B, H, C, Kv)
    steps = (*_steps(query), *_steps(key), *_steps(value))
    arrays = query, key, value, key_mask, m, s, o, y, logsumexp
    ONE_QUERY.launch("attention_one_query", *arrays, *shape, C, *steps, *numbers)
    if C > 1:
        ONE_QUERY.launch("attention_one_query_merge", m, s, o, y, logsumexp, B, Tq, H, Kv, C)


def backward(dy, saved, *, version=3):
    query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng = saved
    B, Tq, Tk, H, K, Kv = _shape(query, key, value)
    dy = cupy.ascontiguousarray(dy)  # (B, Tq, H, Kv)
    D = cupy.empty(logsumexp.shape, logsumexp.dtype)  # (B, H, Tq)
    KERNELS.launch("attention_rows_of_D", dy, y, D, B, Tq, H, Kv)
    kernels, version = _kernels(version, query, value)
    dquery, dkey, dvalue = (cupy.empty(x.shape, x.dtype) for x in (query, key, value))  # as their namesakes
    arrays = (query, key, value, key_mask, dy, logsumexp, D)
    numbers = _numbers(query, key, value, causal, band, scale, dropout, rng)
    kernels.launch(f"attention_dquery_{version}", *arrays, dquery, *numbers)
    kernels.launch(f"attention_dkey_dvalue_{version}", *arrays, dkey, dvalue, *numbers)
    return dquery, dkey, dvalue
