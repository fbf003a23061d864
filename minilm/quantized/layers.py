"""Layers whose weights are stored in fewer bits: for inference, made of layers that were trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.layers.parameter import Parameter
from minilm.layers.summary import PackedWeight
from minilm.ops import checks
from minilm.ops.contract import fold
from minilm.ops.workspace import empty
from minilm.quantized.spec import FORMATS
from minilm.random import Key
from minilm.typing import Array

if TYPE_CHECKING:  # which brings Numba
    from minilm.quantized.packing import Packed

Source: TypeAlias = "Callable[[str, np.ndarray], Packed]"  # a layer's packed weight, for its name there and the weight itself


def packed(W: np.ndarray, kind: str, group: int | None) -> Packed:
    """W (O, K) in a format of `FORMATS`."""
    from minilm.quantized import packing

    return packing.packed(W, kind, group)


def shown(weights: Mapping[str, Packed], kind: str, shared: Parameter | None = None) -> dict[str, PackedWeight]:
    """What ``print(model)`` shows of packed weights, by their names."""
    nbytes = {name: sum(part.nbytes for part in weight if isinstance(part, np.ndarray)) for name, weight in weights.items()}
    return {name: PackedWeight(weight.shape, nbytes[name], kind, shared) for name, weight in weights.items()}


class QuantizedLinear(Layer):
    """y ≈ x Wᵀ + b over the last axis, of a `minilm.layers.Linear`.

    Parameters
    ----------
    linear : Linear
        On the host, in float32.
    kind : {"int8", "bf16", "int4"}
    group : int or None
        Of int8: numbers that share a scale, a multiple of 4; None for a whole row.
    source : callable, optional
        Where packed weights come from, if they are not to be made of the layer's.

    Notes
    -----
    Parameter: ``bias``, the linear layer's own. Formulas: `minilm.quantized.spec`.
    """

    def __init__(self, linear: Linear, kind: str = "int8", group: int | None = 64, source: Source | None = None):
        super().__init__(dtype=np.float32)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.kind = checks.option("kind", kind, FORMATS)
        self.group = group
        W = linear.weight.value
        self.packed = packed(W, kind, group) if source is None else source("weight", W)
        self.bias = linear.bias
        self.shared: tuple[Parameter, ...] = ()  # in a tuple, so as to be no parameter of this layer

    def share(self, table: Parameter) -> None:
        """Round an embedding's table that is the same parameter, so that it stays the same numbers."""
        from minilm.quantized import packing

        table.value[...] = packing.rounded(self.packed)  # (O, K)
        self.shared = (table,)

    def weights(self) -> dict[str, Packed]:
        """The packed weights, by the names that they had as parameters."""
        return {"weight": self.packed}

    def packed_weights(self) -> dict[str, PackedWeight]:
        return shown(self.weights(), self.kind, *self.shared)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., out_features) for x (..., in_features), and None: there is no way back."""
        from minilm.quantized import cpu

        if devices.on_gpu(x):
            raise TypeError(f"{self.kind} weights multiply on the CPU, got an array on the device")
        x = checks.floating("x", x, (..., self.in_features), self.dtype, "(..., in_features)")
        y = empty((*x.shape[:-1], self.out_features), np.float32)  # (..., O)
        cpu.product(fold(x), self.packed, fold(y), cpu.NO_BIAS if self.bias is None else self.bias.value)
        return y, None

    def backward(self, dy: Array, saved: Any) -> NoReturn:
        """Raises ValueError: rounded weights have no gradient."""
        raise ValueError(f"{self.kind} weights are for inference: they have no gradient")

    def settings(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.kind!r}{'' if self.bias is not None else ', bias=False'}"
