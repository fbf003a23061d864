"""The position-wise network with a gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.layers.linear import Linear
from minilm.layers.residual import added
from minilm.ops import checks, geglu, swiglu
from minilm.random import Key
from minilm.typing import Array, DType, Seed

__all__ = ["GatedFeedForward"]

GATES = {"silu": swiglu, "gelu_tanh": geglu}  # activation of the gate -> the op that multiplies by it


class GatedFeedForward(Layer):
    """y = (f(x W_gateᵀ) * (x W_upᵀ)) W_downᵀ, for every position by itself.

    Parameters
    ----------
    embed_dim, hidden_dim : int
        D and F.
    activation : {"silu", "gelu_tanh"}
        f: SwiGLU or GeGLU.
    bias : bool
        Whether the three maps have biases.
    initialise : callable, optional
        What the weights start from, biases then at zero; see `minilm.layers.Linear`.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Sub-layers by Hugging Face's names: ``gate_proj`` and ``up_proj`` (F, D), ``down_proj`` (D, F).

    References
    ----------
    N. Shazeer, GLU variants improve transformer, arXiv:2002.05202.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        activation: str = "silu",
        *,
        bias: bool = False,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.activation = checks.option("activation", activation, tuple(GATES))
        options = {"bias": bias, "initialise": initialise, "dtype": dtype, "seed": self._generator}
        self.gate_proj = Linear(embed_dim, hidden_dim, **options)
        self.up_proj = Linear(embed_dim, hidden_dim, **options)
        self.down_proj = Linear(hidden_dim, embed_dim, **options)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        gate, saved_gate = self.gate_proj.forward(x)  # (..., F)
        up, saved_up = self.up_proj.forward(x)  # (..., F)
        h, saved_product = GATES[self.activation].forward(gate, up)  # (..., F)
        y, saved_down = self.down_proj.forward(h)  # (..., D)
        return y, (saved_gate, saved_up, saved_product, saved_down)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., D)."""
        saved_gate, saved_up, saved_product, saved_down = saved
        dh = self.down_proj.backward(dy, saved_down)  # (..., F)
        dgate, dup = GATES[self.activation].backward(dh, saved_product)  # (..., F) each
        dx = self.gate_proj.backward(dgate, saved_gate)  # (..., D)
        return added(dx, self.up_proj.backward(dup, saved_up), out=dx)

    def settings(self) -> str:
        return f"{self.gate_proj.in_features}, {self.gate_proj.out_features}, {self.activation!r}"
