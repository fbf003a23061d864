"""Negative sampling on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks, whole_warps
from minilm.ops.negative_sampling.spec import Saved, Trained

ROWS = 8  # to a block, a warp each

KERNELS = Kernels(
    __file__,
    Kernel("negative_sampling_forward", grid=lambda s: -(-s.N // ROWS), block=32 * ROWS),
    Kernel("negative_sampling_reduce", grid=lambda s: 1, block=256),
    Kernel("negative_sampling_dh", grid=lambda s: blocks(s.N * s.D, 256)),
    Kernel("negative_sampling_dW", grid=lambda s: s.N * (s.K + 1), block=lambda s: whole_warps(s.D, 256)),
    Kernel("negative_sampling_train", grid=lambda s: s.streams, block=32, shared=lambda s: 2 * s.D * s.itemsize),
)


def _long(ids):
    return ids.astype("int64", copy=False)


def forward(h, W, targets, negatives, *, reduction="mean"):
    (N, D), K = h.shape, negatives.shape[1]
    g, losses = cupy.empty((N, K + 1), h.dtype), cupy.empty(N, "float64")
    loss, divisor = cupy.empty((), h.dtype), N if reduction == "mean" else 1
    KERNELS.launch("negative_sampling_forward", h, W, _long(targets), _long(negatives), g, losses, N, len(W), D, K, divisor)
    KERNELS.launch("negative_sampling_reduce", losses, loss, N, divisor, dtype=h.dtype)
    return loss, Saved(h, W, targets, negatives, g)


def backward(dloss, saved):
    h, W, targets, negatives, g = saved
    (N, D), (V, K) = h.shape, (len(W), negatives.shape[1])
    targets, negatives = _long(targets), _long(negatives)
    dh, dW = cupy.empty(h.shape, h.dtype), cupy.zeros(W.shape, h.dtype)
    KERNELS.launch("negative_sampling_dh", g, W, targets, negatives, dh, N, V, D, K, float(dloss))
    words = cupy.concatenate([targets[:, None], negatives], axis=1)  # (N, K + 1)
    order = cupy.argsort(words.reshape(-1), kind="stable")
    KERNELS.launch("negative_sampling_dW", g, h, words, order, dW, N, V, D, K, float(dloss))
    return dh, dW


def train(W_in, W_out, ids, starts, task):
    left, sums = cupy.empty(max(1, len(ids)), "int64")[: len(ids)], cupy.zeros((task.streams, 2), "float64")
    tables, numbers = task[:3], task._replace(seed=task.seed - 2**64 if task.seed >= 2**63 else task.seed)[3:]  # a signed number
    shape = *W_in.shape, len(ids), len(starts) - 1
    KERNELS.launch("negative_sampling_train", W_in, W_out, ids, starts, *tables, left, sums, *shape, *numbers)
    loss, predictions = sums.sum(axis=0)  # () each
    return W_in, W_out, Trained(loss, predictions, len(ids))
