"""Adam on the GPU."""

from __future__ import annotations

import math

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device

KERNELS = Kernels(__file__, Kernel("adam_step", grid=lambda s: blocks(s.N)))


def step(
    param,
    grad,
    m,
    v,
    v_max=None,
    *,
    step,
    lr,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    decoupled=False,
    scale=1.0,
    clear=False,
    ends=None,
):
    whole = param, grad, m, v, v_max
    groups = [(whole, lr, weight_decay)]
    if ends is not None:
        parts = [[None if a is None else a[begin:end] for a in whole] for begin, end in zip((0, *ends[:-1]), ends, strict=True)]
        groups = zip(parts, lr, weight_decay, strict=True)
    scale, step = on_device(scale, param.dtype), on_device(step, "int64")
    betas = beta1, beta2, 1 - beta1, 1 - beta2, _log(beta1), _log(beta2)
    for arrays, rate, decay in groups:
        now = scale, on_device(rate, param.dtype), step
        KERNELS.launch("adam_step", *arrays, *now, arrays[0].size, *betas, eps, decay, decoupled, clear)
    return whole


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf
