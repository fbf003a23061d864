"""Affine map with parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.layers.parameter import Parameter
from minilm.ops import checks, linear
from minilm.ops.workspace import release_after
from minilm.random import Key
from minilm.typing import Array, DType, Seed


class Linear(Layer):
    """y = x Wᵀ + b over the last axis.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether there is a b.
    weight : Parameter, optional
        Another layer's, to share; drawn anew without it.
    initialise : callable, optional
        What the weight starts from, see `minilm.layers.initialisers`; the bias is then zero at first.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters, as in PyTorch: ``weight`` (out_features, in_features), ``bias`` (out_features,), both uniform in
    ±1/√in_features unless `initialise` says otherwise. Formulas: `minilm.ops.linear.spec`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weight: Parameter | None = None,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.in_features = checks.whole("in_features", in_features, 1, 2**31)
        self.out_features = checks.whole("out_features", out_features, 1, 2**31)
        if weight is None:
            self.parameter("weight", (out_features, in_features), initialise or initialisers.kaiming_uniform(in_features))
        elif weight.shape != (out_features, in_features):
            raise ValueError(f"weight must have shape {(out_features, in_features)}, got {weight.shape}")
        else:
            self.weight = weight
        self.bias = None
        if bias:
            start = initialisers.constant(0) if initialise else initialisers.kaiming_uniform(in_features)
            self.parameter("bias", (out_features,), start)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., out_features) for x (..., in_features), and what `backward` needs."""
        return linear.forward(x, self.weight.value, None if self.bias is None else self.bias.value)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (..., in_features)."""
        saved = saved if self.weight.trainable else saved._replace(x=None)
        dx, dW, db = linear.backward(dy, saved)
        self.weight.accumulate(dW)
        if self.bias is not None:
            self.bias.accumulate(db)
        release_after(dx)
        return dx

    def settings(self) -> str:
        return f"{self.in_features}, {self.out_features}{'' if self.bias is not None else ', bias=False'}"
