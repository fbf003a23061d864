"""Sampling on the GPU: one block a text, and the ids stay there."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, key_arguments, whole_warps
from minilm.ops.sampling.spec import BINS, Drawn

KERNELS = Kernels(
    __file__, Kernel("sampling_draw", grid=lambda s: s.B, block=lambda s: whole_warps(s.V, 512)), defines={"BINS": BINS}
)


def forward(logits, key, temperature=1.0, top_k=None, top_p=None):
    B, V = logits.shape
    ids, probability = cupy.empty(B, "int64"), cupy.empty(B, logits.dtype)  # (B,) each
    limits = V if top_k is None else min(top_k, V), 1.0 if top_p is None else top_p
    KERNELS.launch("sampling_draw", logits, ids, probability, B, V, temperature, *limits, key_arguments(key))
    return Drawn(ids, probability)
