"""Adam on the GPU."""

from __future__ import annotations

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device

KERNELS = Kernels(__file__, Kernel("adam_step", grid=lambda s: blocks(s.N, 256)))


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
    workspace=None,
):
    numbers = (lr, beta1, beta2, 1 - beta1, 1 - beta2, 1 - beta1**step, 1 - beta2**step, eps, weight_decay, decoupled, clear)
    KERNELS.launch("adam_step", param, grad, m, v, v_max, on_device(scale, param.dtype), param.size, *numbers)
    return param, grad, m, v, v_max
