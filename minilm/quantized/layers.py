"""Layers whose weights are stored in fewer bits: for inference, made of layers that were trained."""

from __future__ import annotations

import functools
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
    """A weight in fewer bits.

    Parameters
    ----------
    W : ndarray of float32, shape (O, K)
    kind : {"int8", "bf16", "int4"}
    group : int or None
        Of int8: numbers of a row that share a scale; None for all of them.

    Returns
    -------
    Packed

    Raises
    ------
    ValueError
        Of int4: a row has fewer numbers than a group, or a number is more than float16 holds.
    """
    from minilm.quantized import packing

    return packing.packed(W, kind, group)


def construction_of(layer: Layer, source: Layer, kind: str, group: int | None) -> functools.partial:
    """The `construction` of a quantised layer: it names the kind of layer that was rounded, whose weights it would else keep.

    Parameters
    ----------
    layer, source : Layer
        The quantised one, and the one that it is made of.
    kind : {"int8", "bf16", "int4"}
    group : int or None

    Returns
    -------
    functools.partial
    """
    return functools.partial(type(layer), type(source), kind, group)


def shown(weights: Mapping[str, Packed], kind: str, shared: Parameter | None = None) -> dict[str, PackedWeight]:
    """What ``print(model)`` shows of packed weights, by their names.

    Parameters
    ----------
    weights : mapping of str to Packed
    kind : {"int8", "bf16", "int4"}
    shared : Parameter, optional
        A table with the same numbers.

    Returns
    -------
    dict of str to PackedWeight
    """
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
        self.construction = construction_of(self, linear, kind, group)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.kind = checks.option("kind", kind, FORMATS)
        self.group = group
        W = linear.weight.value
        self.packed = packed(W, kind, group) if source is None else source("weight", W)
        self.bias = linear.bias
        self.shared: tuple[Parameter, ...] = ()  # in a tuple, so as to be no parameter of this layer

    def share(self, table: Parameter) -> None:
        """Round an embedding's table that was the linear layer's weight, so that both stay the same numbers.

        Parameters
        ----------
        table : Parameter, shape (O, K)
            Written over.
        """
        from minilm.quantized import packing

        table.value[...] = packing.rounded(self.packed)  # (O, K)
        self.shared = (table,)

    def weights(self) -> dict[str, Packed]:
        """The packed weights, by the names that they had as parameters."""
        return {"weight": self.packed}

    def packed_weights(self) -> dict[str, PackedWeight]:
        return shown(self.weights(), self.kind, *self.shared)

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Apply the map.

        Parameters
        ----------
        x : ndarray of float32, shape (..., in_features)
        key : Key, optional
            Of no use here: there is no dropout.

        Returns
        -------
        y : ndarray of float32, shape (..., out_features)
        saved : None
            There is no way back.

        Raises
        ------
        TypeError, ValueError
            x lies on a GPU, or has a wrong shape or dtype.
        """
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
