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
    if ends is not None:
        update = globals()["step"]  # this function, whose name is one of its arguments
        rule = {"step": step, "beta1": beta1, "beta2": beta2, "eps": eps, "decoupled": decoupled, "scale": scale, "clear": clear}
        for begin, end, rate, decay in zip((0, *ends[:-1]), ends, lr, weight_decay, strict=True):
            part = (None if array is None else array[begin:end] for array in (param, grad, m, v, v_max))
            update(*part, lr=rate, weight_decay=decay, **rule)
        return param, grad, m, v, v_max
    now = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    betas = beta1, beta2, 1 - beta1, 1 - beta2, _log(beta1), _log(beta2)
    KERNELS.launch("adam_step", param, grad, m, v, v_max, *now, param.size, *betas, eps, weight_decay, decoupled, clear)
    return param, grad, m, v, v_max


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf
