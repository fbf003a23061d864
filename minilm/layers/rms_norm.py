"""Root mean square normalisation with parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.ops import checks, rms_norm
from minilm.random import Key
from minilm.typing import Array, DType

__all__ = ["RMSNorm"]


class RMSNorm(Layer):
    """Scale the last axis to root mean square 1, then by the learned weight.

    Parameters
    ----------
    normalized_shape : int
        Size D of the last axis.
    eps : float
        Added to the mean square.
    unit_offset : bool
        Scale by 1 + weight, as Gemma does: the weight is then drawn to 0 by its decay, and the scale to 1.
    dtype : {float32, float64}

    Notes
    -----
    Parameter, as in PyTorch: ``weight`` (D,), ones at first, zeros with `unit_offset`. The formulas stand in
    `minilm.ops.rms_norm.spec`.
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-6, *, unit_offset: bool = False, dtype: DType = np.float32):
        super().__init__(dtype=dtype)
        self.normalized_shape = checks.whole("normalized_shape", normalized_shape, 1, 2**31)
        self.eps = float(eps)
        self.unit_offset = checks.flag("unit_offset", unit_offset)
        self.parameter("weight", (normalized_shape,), initialisers.constant(0 if unit_offset else 1))

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        weight = self.weight.value
        return rms_norm.forward(x, 1 + weight if self.unit_offset else weight, eps=self.eps)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., D)."""
        dx, dweight = rms_norm.backward(dy, saved)
        self.weight.accumulate(dweight)
        return dx

    def settings(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps:g}{', unit_offset=True' if self.unit_offset else ''}"
