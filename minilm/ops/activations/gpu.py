"""Activations on the GPU: one thread an element."""

from __future__ import annotations

import cupy

from minilm.ops.activations.spec import SavedInput, SavedOutput
from minilm.ops.cuda import Kernel, Kernels, blocks

NAMES = ("sigmoid", "tanh", "relu", "silu", "gelu_erf", "gelu_tanh")
KERNELS = Kernels(
    __file__,
    *(Kernel(f"{name}_{way}", grid=lambda s: blocks(s.N)) for name in NAMES for way in ("forward", "backward")),
)


def _pair(name, saves):
    def forward(x):
        y = cupy.empty(x.shape, x.dtype)  # (...)
        KERNELS.launch(f"{name}_forward", x, y, x.size)
        return y, saves(y if saves is SavedOutput else x)

    def backward(dy, saved):
        dx = cupy.empty(dy.shape, dy.dtype)  # (...)
        KERNELS.launch(f"{name}_backward", dy, saved[0], dx, dy.size)
        return dx

    return forward, backward


sigmoid_forward, sigmoid_backward = _pair("sigmoid", SavedOutput)
tanh_forward, tanh_backward = _pair("tanh", SavedOutput)
relu_forward, relu_backward = _pair("relu", SavedOutput)
silu_forward, silu_backward = _pair("silu", SavedInput)
gelu_erf_forward, gelu_erf_backward = _pair("gelu_erf", SavedInput)
gelu_tanh_forward, gelu_tanh_backward = _pair("gelu_tanh", SavedInput)
