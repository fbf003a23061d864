"""Gated activations on the GPU: one thread an element."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks
from minilm.ops.gated.spec import Saved

NAMES = ("swiglu", "geglu")
KERNELS = Kernels(
    __file__,
    *(Kernel(f"{name}_{way}", grid=lambda s: blocks(s.N)) for name in NAMES for way in ("forward", "backward")),
)


def _pair(name):
    def forward(a, b):
        y = cupy.empty(a.shape, a.dtype)  # (...)
        KERNELS.launch(f"{name}_forward", a, b, y, a.size)
        return y, Saved(a, b)

    def backward(dy, saved):
        a, b = saved
        da, db = cupy.empty(a.shape, a.dtype), cupy.empty(a.shape, a.dtype)  # (...) each
        KERNELS.launch(f"{name}_backward", dy, a, b, da, db, a.size)
        return da, db

    return forward, backward


swiglu_forward, swiglu_backward = _pair("swiglu")
geglu_forward, geglu_backward = _pair("geglu")
