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

from minilm.ops.attention.spec import Output, Saved, into
from minilm.ops.cuda import Kernel, Kernels, blocks, key_arguments, products, whole_warps
from minilm.ops.dropout.spec import threshold_and_scale

TQ, TK = 16, 32  # queries and keys of a tile of version 2, where a warp has a query and each lane a key
WARPS = 4  # of a block of versions 1 and 3


def _heads(s, rows: str) -> int:
    """Heads of all batch rows: those of queries, or those of keys, whose readers a block goes through."""
    return s.B * (s.H if rows == "Tq" else s.G)


def _plain(name, rows):
    return Kernel(name, grid=lambda s: (-(-getattr(s, rows) // WARPS), _heads(s, rows)), block=32 * WARPS)


def _most_numbers(K: int, Kv: int) -> int:
    """In the shared memory of a block of dkey_dvalue of version 2, which needs most."""
    return (TQ + 2 * TK) * (K + Kv) + 2 * TQ * TK


def _tiled(name, rows, tile, numbers):
    return Kernel(
        name,
        grid=lambda s: (-(-getattr(s, rows) // tile), _heads(s, rows)),
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
    _tiled("attention_dkey_dvalue_2", "Tk", TK, _most_numbers),
    Kernel("attention_rows_of_D", grid=lambda s: -(-(s.B * s.H * s.Tq) // WARPS), block=32 * WARPS),
    Kernel("attention_weights", grid=lambda s: blocks(s.B * s.H * s.Tq * s.Tk)),
    defines={"TQ": TQ, "TK": TK},
)
CHUNK = 128  # keys of a block, a thread each
ONE_QUERY = Kernels(
    str(Path(__file__).with_name("one_query.cu")),
    Kernel("attention_one_query", grid=lambda s: (s.C, s.B * s.H), block=CHUNK, shared=lambda s: s.K * s.itemsize),
    Kernel("attention_one_query_merge", grid=lambda s: s.B * s.H, block=lambda s: whole_warps(s.Kv, 256)),
    defines={"CHUNK": CHUNK},
)
VERSIONS = {"forward": 3, "backward": 3}
TENSOR_CORES = 3  # the version that uses them, where it does not leave the work to version 2
MOST = 220 * 1024  # bytes of shared memory: wider heads are computed by version 1

WIDTHS = (16, 32, 64, 96, 128)  # of heads as version 3 is compiled: a narrower one is filled up with zeros


@functools.cache
def tensor(precision: str, width: int) -> Kernels:
    """The kernels of version 3 for operands in ``"tf32"`` or ``"bf16"`` and heads of a width of `WIDTHS`."""
    words = width // 2 if precision == "bf16" else width  # of 32 bits, of a row of a tile
    pitch = words + 4  # from row to row: they begin in different banks
    tiles = {"COLUMNS": 64, "KEYS": 32, "QUERIES": 32} if width <= 64 else {"COLUMNS": 32, "KEYS": 32, "QUERIES": 16}
    rows_of_block = 16 * WARPS  # a warp has 16, as the tensor cores' products have

    def kernel(name, rows, tile_rows):
        grid = lambda s: (-(-getattr(s, rows) // rows_of_block), _heads(s, rows))  # noqa: E731
        return Kernel(name, grid=grid, block=32 * WARPS, shared=tile_rows * pitch * 4)

    return Kernels(
        str(Path(__file__).with_name("tensor.cu")),
        kernel("attention_forward_3", "Tq", rows_of_block + 2 * tiles["COLUMNS"]),
        kernel("attention_dquery_3", "Tq", 2 * rows_of_block + 2 * tiles["KEYS"]),
        kernel("attention_dkey_dvalue_3", "Tk", 2 * rows_of_block + 2 * tiles["QUERIES"]),
        defines={"BF16": int(precision == "bf16"), "WIDTH": width, "WORDS": words, "PITCH": pitch, "WARPS": WARPS, **tiles},
    )


def _strided(x) -> dict:
    """An array as the struct Strided: its steps in numbers."""
    by_b, by_t, by_h = (step // x.itemsize for step in x.strides[:3])
    return {"first": x, "by_b": by_b, "by_t": by_t, "by_h": by_h}


def _packed(query, key, value, key_mask, causal, band, scale, softcap, dropout, rng):
    """The struct Attention, which every kernel takes."""
    (B, Tq, H, K), (_, Tk, G, Kv) = query.shape, value.shape
    threshold, factor = threshold_and_scale(dropout)
    key_words = key_arguments(rng if dropout else None)
    return KERNELS.pack(
        "Attention",
        **{name: _strided(x) for name, x in (("query", query), ("key", key), ("value", value))},
        **{"key_mask": key_mask, "B": B, "Tq": Tq, "Tk": Tk, "H": H, "G": G, "K": K, "Kv": Kv},
        **{"band": band or 0, "causal": causal, "scale": scale, "softcap": softcap or 0.0},
        dropout={"factor": factor, "threshold": threshold, "drops": dropout > 0, "key": key_words},
    )


def _kernels(version, query, value):
    """The table and the version that serve these arrays."""
    K, Kv, itemsize = query.shape[3], value.shape[3], query.itemsize
    if version == TENSOR_CORES:
        precision, wide = products.chosen(), max(K, Kv)
        if precision != "float32" and query.dtype == np.float32 and wide <= WIDTHS[-1] and has_tensor_cores():
            return tensor(precision, next(width for width in WIDTHS if wide <= width)), version
        version = 2
    return KERNELS, version if _most_numbers(K, Kv) * itemsize <= MOST else 1


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
    softcap=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
    version=3,
):
    (B, Tq, H, K), Tk, Kv = query.shape, key.shape[1], value.shape[3]
    y = cupy.empty((B, Tq, H, Kv), query.dtype)
    logsumexp = cupy.empty((B, H, Tq), query.dtype)
    args = _packed(query, key, value, key_mask, causal, band, scale, softcap, dropout, rng)
    if Tq == 1 and version > 1 and not dropout and K * query.itemsize <= MOST:
        _one_query(args, y, logsumexp, Tk)
    else:
        kernels, version = _kernels(version, query, value)
        kernels.launch(f"attention_forward_{version}", args, y, logsumexp)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng)
    if not return_weights:
        return y, saved
    weights = cupy.empty((B, H, Tq, Tk), query.dtype)
    KERNELS.launch("attention_weights", args, logsumexp, weights)
    return Output(y, weights), saved


def _one_query(args, y, logsumexp, Tk: int) -> None:
    (B, Tq, H, Kv), C = y.shape, max(1, -(-Tk // CHUNK))
    m, s, o = (cupy.empty((B, H, C, *last), y.dtype) for last in ((), (), (Kv,)))  # (B, H, C) twice, (B, H, C, Kv)
    ONE_QUERY.launch("attention_one_query", args, m, s, o, y, logsumexp, C)
    if C > 1:
        ONE_QUERY.launch("attention_one_query_merge", m, s, o, y, logsumexp, B, Tq, H, Kv, C)


def backward(dy, saved, *, out=None, version=3):
    query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng = saved
    B, Tq, H, Kv = y.shape
    dy = cupy.ascontiguousarray(dy)  # (B, Tq, H, Kv)
    D = cupy.empty(logsumexp.shape, logsumexp.dtype)  # (B, H, Tq)
    KERNELS.launch("attention_rows_of_D", dy, y, D, B, Tq, H, Kv)
    kernels, version = _kernels(version, query, value)
    dquery, dkey, dvalue = (cupy.empty(x.shape, x.dtype) for x in (query, key, value))  # as their namesakes
    forward_args = _packed(query, key, value, key_mask, causal, band, scale, softcap, dropout, rng)
    args = kernels.pack("AttentionBackward", forward=forward_args, dy=dy, logsumexp=logsumexp, D=D)
    kernels.launch(f"attention_dquery_{version}", args, dquery)
    kernels.launch(f"attention_dkey_dvalue_{version}", args, dkey, dvalue)
    return into(out, dquery, dkey, dvalue)
