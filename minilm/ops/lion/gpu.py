"""Lion on the GPU."""

from __future__ import annotations

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device

KERNELS = Kernels(__file__, Kernel("lion_step", grid=lambda s: blocks(s.N)))


def step(param, grad, m, *, step, lr, beta1=0.9, beta2=0.99, weight_decay=0.0, scale=1.0, clear=False):
    now = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    KERNELS.launch("lion_step", param, grad, m, *now, param.size, beta1, beta2, 1 - beta1, 1 - beta2, weight_decay, clear)
    return param, grad, m
