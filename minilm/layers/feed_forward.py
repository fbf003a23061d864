"""The position-wise network of a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.layers.linear import Linear
from minilm.ops import activations, checks
from minilm.random import Key
from minilm.typing import Array, DType, Seed

ACTIVATIONS = ("gelu_tanh", "gelu_erf", "relu")


class FeedForward(Layer):
    """y = f(x W₁ᵀ + b₁) W₂ᵀ + b₂, for every position by itself.

    Parameters
    ----------
    embed_dim : int
        D.
    hidden_dim : int, optional
        F, 4 D without it.
    activation : {"gelu_tanh", "gelu_erf", "relu"}
        f.
    initialise, residual_initialise : callable, optional
        What W₁ and W₂ start from, biases then at zero; see `minilm.layers.Linear`.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters, by GPT-2's names: ``c_fc.weight`` (F, D), ``c_fc.bias`` (F,), ``c_proj.weight`` (D, F), ``c_proj.bias`` (D,).

    References
    ----------
    A. Vaswani et al., Attention is all you need, NIPS 2017, section 3.3; D. Hendrycks, K. Gimpel, Gaussian error linear
    units, arXiv:1606.08415.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int | None = None,
        activation: str = "gelu_tanh",
        *,
        initialise: Initialiser | None = None,
        residual_initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.activation = checks.option("activation", activation, ACTIVATIONS)
        hidden_dim = 4 * embed_dim if hidden_dim is None else hidden_dim
        options = {"dtype": dtype, "seed": self._generator}
        self.c_fc = Linear(embed_dim, hidden_dim, initialise=initialise, **options)
        self.c_proj = Linear(hidden_dim, embed_dim, initialise=residual_initialise or initialise, **options)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        a, saved_in = self.c_fc.forward(x)  # (..., F)
        h, saved_f = getattr(activations, self.activation).forward(a)  # (..., F)
        y, saved_out = self.c_proj.forward(h)  # (..., D)
        return y, (saved_in, saved_f, saved_out)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., D)."""
        saved_in, saved_f, saved_out = saved
        dh = self.c_proj.backward(dy, saved_out)  # (..., F)
        da = getattr(activations, self.activation).backward(dh, saved_f)  # (..., F)
        return self.c_fc.backward(da, saved_in)

    def settings(self) -> str:
        return f"{self.c_fc.in_features}, {self.c_fc.out_features}, {self.activation!r}"
