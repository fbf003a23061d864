"""RMSprop on the GPU."""

from __future__ import annotations

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device

KERNELS = Kernels(__file__, Kernel("rmsprop_step", grid=lambda s: blocks(s.N)))


def step(
    param,
    grad,
    v,
    mean=None,
    momentum_buffer=None,
    *,
    step,
    lr,
    alpha=0.99,
    eps=1e-8,
    momentum=0.0,
    weight_decay=0.0,
    scale=1.0,
    clear=False,
):
    now = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    numbers = param.size, alpha, 1 - alpha, eps, momentum, weight_decay, clear
    KERNELS.launch("rmsprop_step", param, grad, v, mean, momentum_buffer, *now, *numbers)
    return param, grad, v, mean, momentum_buffer
