"""Muon on the GPU: products by cuBLAS, and passes over memory around them."""

from __future__ import annotations

import cupy

from minilm.ops.cuda import Kernel, Kernels, blocks, on_device
from minilm.ops.cuda.products import matmul
from minilm.ops.muon.spec import COEFFICIENTS, step_size

ELEMENTWISE = ("muon_direction", "muon_scaled", "muon_combine", "muon_apply")
KERNELS = Kernels(
    __file__,
    *(Kernel(name, grid=lambda s: blocks(s.N)) for name in ELEMENTWISE),
    Kernel("muon_norm", grid=lambda s: 1, block=1024),
)


def orthogonal(G, steps, coefficients, eps):
    """Near U Vᵀ of G (O, I) = U S Vᵀ; written over G, or a new array."""
    a, b, c = coefficients
    inverse, wide = cupy.empty(1, G.dtype), len(G) <= G.shape[1]  # (1,)
    KERNELS.launch("muon_norm", G, inverse, G.size, eps)
    KERNELS.launch("muon_scaled", G, inverse, G.size)
    for _ in range(steps):
        A = matmul(G, G.T) if wide else matmul(G.T, G)  # (O, O) or (I, I)
        KERNELS.launch("muon_combine", A, matmul(A, A), A.size, b, c)
        change = matmul(A, G) if wide else matmul(G, A)  # (O, I)
        KERNELS.launch("muon_combine", G, change, G.size, a, 1.0)
    return G


def step(
    param,
    grad,
    momentum_buffer,
    *,
    step,
    lr,
    momentum=0.95,
    nesterov=True,
    weight_decay=0.0,
    size="match_rms_adamw",
    steps=5,
    coefficients=COEFFICIENTS,
    eps=1e-7,
    scale=1.0,
    clear=False,
):
    scale, lr, step = on_device(scale, param.dtype), on_device(lr, param.dtype), on_device(step, "int64")
    G = cupy.empty(param.shape, param.dtype)  # (O, I)
    KERNELS.launch("muon_direction", grad, momentum_buffer, G, scale, step, param.size, momentum, 1 - momentum, nesterov)
    u = orthogonal(G, steps, coefficients, eps)  # (O, I)
    KERNELS.launch("muon_apply", param, grad, u, scale, lr, param.size, step_size(size, *param.shape), weight_decay, clear)
    return param, grad, momentum_buffer
