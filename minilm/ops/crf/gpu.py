"""The conditional random field on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.crf.spec import Saved
from minilm.ops.cuda import Kernel, Kernels, whole_warps
from minilm.ops.cuda.columns import column_sums

KERNELS = Kernels(
    __file__,
    *(
        Kernel(
            f"crf_{name}",
            grid=lambda s: s.B,
            block=lambda s: whole_warps(s.K),
            shared=lambda s: 2 * s.K * s.itemsize,
        )
        for name in ("forward", "backward", "decode")
    ),
)


def _long(integers):
    return None if integers is None else integers.astype("int64", copy=False)


def _packed(transitions, start, end, lengths, shape):
    """The struct that every kernel takes; `shape` is (B, T, K)."""
    sizes = dict(zip("BTK", shape, strict=True))
    return KERNELS.pack("Crf", transitions=transitions, start=start, end=end, lengths=_long(lengths), **sizes)


def forward(emissions, tags, transitions, start, end, lengths=None):
    B, T, K = emissions.shape
    alpha, nll = cupy.empty((B, T, K), emissions.dtype), cupy.empty(B, emissions.dtype)
    args = _packed(transitions, start, end, lengths, alpha.shape)
    KERNELS.launch("crf_forward", args, emissions, _long(tags), alpha, nll)
    return nll, Saved(tags, transitions, end, lengths, alpha)


def backward(dnll, saved):
    tags, transitions, end, lengths, alpha = saved
    B, T, K = alpha.shape
    demissions = cupy.empty((B, T, K), alpha.dtype)
    dtransitions, dend = cupy.empty((B, K, K), alpha.dtype), cupy.empty((B, K), alpha.dtype)
    args = _packed(transitions, None, end, lengths, alpha.shape)
    KERNELS.launch("crf_backward", args, dnll, _long(tags), alpha, demissions, dtransitions, dend)
    dstart = column_sums(cupy.ascontiguousarray(demissions[:, 0]))  # (K,)
    return demissions, column_sums(dtransitions.reshape(B, K * K)).reshape(K, K), dstart, column_sums(dend)


def decode(emissions, transitions, start, end, lengths=None):
    B, T, K = emissions.shape
    back, tags = cupy.empty((B, T, K), "int64"), cupy.empty((B, T), "int64")
    scores = cupy.empty(B, emissions.dtype)
    KERNELS.launch("crf_decode", _packed(transitions, start, end, lengths, back.shape), emissions, back, tags, scores)
    return tags, scores
