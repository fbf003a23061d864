"""Stochastic gradient descent on the GPU."""

from __future__ import annotations

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device

KERNELS = Kernels(__file__, Kernel("sgd_step", grid=lambda s: blocks(s.N)))


def step(
    param,
    grad,
    momentum_buffer=None,
    *,
    step,
    lr,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    scale=1.0,
    clear=False,
):
    now = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    numbers = momentum, 1 - dampening, weight_decay, nesterov, clear
    KERNELS.launch("sgd_step", param, grad, momentum_buffer, *now, param.size, *numbers)
    return param, grad, momentum_buffer
