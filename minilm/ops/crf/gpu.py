"""The conditional random field on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.crf.spec import Saved
from minilm.ops.cuda import Kernel, Kernels, whole_warps
from minilm.ops.cuda.columns import column_sums


def _threads(s) -> int:
    return whole_warps(s.K, 256)


KERNELS = Kernels(
    __file__,
    Kernel("crf_forward", grid=lambda s: s.B, block=_threads),
    Kernel("crf_backward", grid=lambda s: s.B, block=_threads),
    Kernel("crf_decode", grid=lambda s: s.B, block=_threads),
)


def forward(emissions, tags, transitions, start, end, lengths=None, *, workspace=None):
    B, T, K = emissions.shape
    tags = tags.astype("int64", copy=False)  # (B, T)
    alpha, nll = cupy.empty(emissions.shape, emissions.dtype), cupy.empty(B, emissions.dtype)  # (B, T, K), (B,)
    KERNELS.launch("crf_forward", emissions, tags, transitions, start, end, lengths, alpha, nll, B, T, K)
    return nll, Saved(tags, transitions, end, lengths, alpha)


def backward(dnll, saved, *, workspace=None):
    tags, transitions, end, lengths, alpha = saved
    tags = tags.astype("int64", copy=False)  # (B, T)
    B, T, K = alpha.shape
    shapes = (alpha.shape, (B, K, K), (B, K), (B, K), (B, 2, K))
    demissions, parts, firsts, lasts, columns = (cupy.empty(shape, alpha.dtype) for shape in shapes)
    written = (demissions, parts, firsts, lasts, columns)
    KERNELS.launch("crf_backward", dnll, tags, transitions, end, lengths, alpha, *written, B, T, K)
    dtransitions = column_sums(parts.reshape(B, K * K)).reshape(K, K)
    return demissions, dtransitions, column_sums(firsts), column_sums(lasts)


def decode(emissions, transitions, start, end, lengths=None, *, workspace=None):
    B, T, K = emissions.shape
    best, scores = cupy.empty((B, 2, K), emissions.dtype), cupy.empty(B, emissions.dtype)  # (B, 2, K), (B,)
    back, tags = cupy.empty((B, T, K), "int64"), cupy.empty((B, T), "int64")  # (B, T, K), (B, T)
    KERNELS.launch("crf_decode", emissions, transitions, start, end, lengths, best, back, tags, scores, B, T, K)
    return tags, scores
