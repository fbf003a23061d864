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
):
    now = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    betas = beta1, beta2, 1 - beta1, 1 - beta2, _log(beta1), _log(beta2)
    KERNELS.launch("adam_step", param, grad, m, v, v_max, *now, param.size, *betas, eps, weight_decay, decoupled, clear)
    return param, grad, m, v, v_max


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf
