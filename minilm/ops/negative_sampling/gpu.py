"""Negative sampling on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks, whole_warps
from minilm.ops.negative_sampling.spec import Saved, Trained

WARPS = 8  # of a block, a row each

KERNELS = Kernels(
    __file__,
    Kernel("negative_sampling_forward", grid=lambda s: -(-s.N // WARPS), block=32 * WARPS),
    Kernel("negative_sampling_reduce", grid=lambda s: 1),
    Kernel("negative_sampling_dh", grid=lambda s: blocks(s.N * s.D)),
    Kernel("negative_sampling_dW", grid=lambda s: s.N * (s.K + 1), block=lambda s: whole_warps(s.D, 256)),
    Kernel("negative_sampling_train", grid=lambda s: s.streams, block=32, shared=lambda s: 2 * s.D * s.itemsize),
)


def _long(ids):
    return ids.astype("int64", copy=False)


def _packed(h, W, targets, negatives):
    """The struct Batch."""
    sizes = {"N": len(h), "V": len(W), "D": h.shape[1], "K": negatives.shape[1]}
    return KERNELS.pack("Batch", h=h, W=W, targets=_long(targets), negatives=_long(negatives), **sizes)


def forward(h, W, targets, negatives, *, reduction="mean"):
    N, K = negatives.shape
    g, losses = cupy.empty((N, K + 1), h.dtype), cupy.empty(N, "float64")
    loss, divisor = cupy.empty((), h.dtype), N if reduction == "mean" else 1
    KERNELS.launch("negative_sampling_forward", _packed(h, W, targets, negatives), g, losses, divisor)
    KERNELS.launch("negative_sampling_reduce", losses, loss, N, divisor, dtype=h.dtype)
    return loss, Saved(h, W, targets, negatives, g)


def backward(dloss, saved):
    h, W, targets, negatives, g = saved
    args, dloss = _packed(h, W, targets, negatives), float(dloss)
    dh, dW = cupy.empty(h.shape, h.dtype), cupy.zeros(W.shape, h.dtype)
    KERNELS.launch("negative_sampling_dh", args, g, dh, dloss)
    words = cupy.concatenate([_long(targets)[:, None], _long(negatives)], axis=1)  # (N, K + 1)
    order = cupy.argsort(words.reshape(-1), kind="stable")
    KERNELS.launch("negative_sampling_dW", args, g, words, order, dW, dloss)
    return dh, dW


def train(W_in, W_out, ids, starts, task):
    left, sums = cupy.empty(max(1, len(ids)), "int64")[: len(ids)], cupy.zeros((task.streams, 2), "float64")
    tables, numbers = task[:3], task._replace(seed=task.seed - 2**64 if task.seed >= 2**63 else task.seed)[3:]  # a signed number
    shape = *W_in.shape, len(ids), len(starts) - 1
    KERNELS.launch("negative_sampling_train", W_in, W_out, ids, starts, *tables, left, sums, *shape, *numbers)
    loss, predictions = sums.sum(axis=0)  # () each
    return W_in, W_out, Trained(loss, predictions, len(ids))
