"""Products of two arrays of which neither is a weight: of matrices, or of a batch of them. By weights: `minilm.layers.Linear`."""

from __future__ import annotations

import math

from minilm import devices
from minilm.ops import checks
from minilm.ops.workspace import empty
from minilm.typing import Array

__all__ = ["multiplied"]


def multiplied(a: Array, b: Array, *, transposed: bool = False) -> Array:
    """a (..., M, K) by b (..., K, N), or with `transposed` by bᵀ, b (..., N, K): a new array (..., M, N).

    Leading axes are the same in both. The oracle's are NumPy's products, those of a GPU CuPy's.
    """
    if devices.implementation_for(a) in ("oracle", "gpu"):
        return a @ (b.swapaxes(-1, -2) if transposed else b)
    out = empty((*a.shape[:-1], b.shape[-2 if transposed else -1]), a.dtype)  # (..., M, N)
    batch = math.prod(a.shape[:-2])
    three_axes = (checks.kernel_ready(each).reshape(batch, *each.shape[-2:]) for each in (a, b, out))
    devices.load("minilm.ops", "batched").batched_product(*three_axes, transposed=transposed)
    return out
