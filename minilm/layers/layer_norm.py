"""Layer normalisation with parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.ops import checks, layer_norm
from minilm.random import Key
from minilm.typing import Array, DType


class LayerNorm(Layer):
    """Shift and scale the last axis to mean 0 and variance 1, then by the learned weight and bias.

    Parameters
    ----------
    normalized_shape : int
        Size of the last axis.
    eps : float
        Added to the variance.
    dtype : {float32, float64}

    Notes
    -----
    Parameters, as in PyTorch: ``weight`` (D,), ones at first, and ``bias`` (D,), zeros. The formulas stand in
    `minilm.ops.layer_norm.spec`.
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-5, *, dtype: DType = np.float32):
        super().__init__(dtype=dtype)
        self.normalized_shape = checks.whole("normalized_shape", normalized_shape, 1, 2**31)
        self.eps = float(eps)
        self.parameter("weight", (normalized_shape,), initialisers.constant(1))
        self.parameter("bias", (normalized_shape,), initialisers.constant(0))

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        return layer_norm.forward(x, self.weight.value, self.bias.value, eps=self.eps)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., D)."""
        dx, dgamma, dbeta = layer_norm.backward(dy, saved)
        self.weight.accumulate(dgamma)
        self.bias.accumulate(dbeta)
        return dx

    def settings(self) -> str:
        return f"{self.normalized_shape}{'' if self.eps == 1e-5 else f', eps={self.eps:g}'}"
