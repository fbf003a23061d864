"""Cross-entropy on the GPU. The loss stays there: nothing waits for it until somebody reads it."""

from __future__ import annotations

import cupy

from minilm.ops.cross_entropy.spec import Saved
from minilm.ops.cuda import Kernel, Kernels, blocks, whole_warps

ROWS = 64  # of a block of version 1, a thread each

KERNELS = Kernels(
    __file__,
    Kernel("cross_entropy_total", grid=lambda s: 1, block=lambda s: whole_warps(s.N)),
    Kernel("cross_entropy_reduce", grid=lambda s: 1, block=lambda s: whole_warps(s.N)),
    Kernel("cross_entropy_forward_1", grid=lambda s: -(-s.N // ROWS), block=ROWS),
    Kernel("cross_entropy_forward_2", grid=lambda s: s.N, block=lambda s: whole_warps(s.V)),
    Kernel("cross_entropy_backward", grid=lambda s: blocks(s.N * s.V)),
)
VERSIONS = {"forward": 2}


def forward(logits, targets, weight=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean", gradient=True, version=2):
    rows, V = targets.shape, logits.shape[-1]
    N = targets.size
    targets = targets.reshape(-1).astype("int64", copy=False)  # (N,)
    losses = cupy.empty(rows, logits.dtype)  # (...)
    dlogits = cupy.empty(logits.shape, logits.dtype) if gradient else None  # (..., V)
    total = cupy.empty(1, "float64") if reduction == "mean" else None
    arrays = {"logits": logits, "targets": targets, "weight": weight, "total": total, "losses": losses, "dlogits": dlogits}
    args = KERNELS.pack("CrossEntropy", **arrays, N=N, V=V, ignore_index=ignore_index, smoothing=label_smoothing)
    if total is not None:
        KERNELS.launch("cross_entropy_total", args)
    KERNELS.launch(f"cross_entropy_forward_{version}", args)
    saved = Saved(dlogits, reduction)
    if reduction == "none":
        return losses, saved
    loss = cupy.empty((), logits.dtype)  # ()
    KERNELS.launch("cross_entropy_reduce", args, loss)
    return loss, saved


def backward(dloss, saved):
    V = saved.dlogits.shape[-1]
    scaled = cupy.empty(saved.dlogits.shape, saved.dlogits.dtype)  # (..., V)
    KERNELS.launch("cross_entropy_backward", dloss, saved.dlogits, scaled, scaled.size // V, V, dloss.size)
    return scaled
