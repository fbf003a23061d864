"""How a language model on the CPU reads one more token of each text by one kernel: what a reader of a family is.

The kernel wants the addresses of all weights. They are gathered once, and again whenever a layer or a parameter is no longer the
one it was. It computes what the model's layers say, in float32 or with quantised weights; a model that its family's kernel is not
made for, or with layers of another kind or with hooks, goes the way of its layers.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from minilm import devices
from minilm.layers import LayerNorm, Linear, changes
from minilm.layers.cache import KeyValueCache
from minilm.layers.hooks import HOOKED
from minilm.layers.rms_norm import RMSNorm
from minilm.ops import precision
from minilm.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from minilm.models.causal_model import CausalModel
    from minilm.quantized.token_call import TokenCall, Weights

__all__ = ["TokenReader", "addresses", "reader_of"]

_readers: weakref.WeakKeyDictionary[CausalModel, TokenReader] = weakref.WeakKeyDictionary()


def reader_of(model, cache: object, kind: type[TokenReader]) -> TokenReader | None:
    """The model's reader of a class, made anew where the model has changed; None where it has to go the way of its layers."""
    if model.dtype != np.float32 or not isinstance(cache, KeyValueCache) or devices.implementation_for() != "cpu":
        return None
    reader = _readers.get(model)
    if reader is None or not reader.holds(model):
        reader = _readers[model] = kind(model)
    if not reader.fits or (reader.weights.form == "float32" and precision.bfloat16(model.dtype)):
        return None
    return reader


class TokenReader:
    """The addresses of a model's weights, and what they were gathered from.

    A family has its `kinds` of layers, the names of its list of `blocks` and of the `ends` after it, and `plain` and `gather`.

    Attributes
    ----------
    fits : bool
        Whether the kernel computes what this model's layers would.
    """

    kinds: tuple[type, ...]
    blocks: str
    ends: tuple[str, ...]
    weights: Weights

    def __init__(self, model):
        self._blocks = list(getattr(model, self.blocks))
        layers = [layer for _, layer in model.named_layers() if layer is not model]
        self._parts = [vars(layer) for layer in layers]
        self._attributes = [dict(part) for part in self._parts]
        self._parameters = [(each, each.value) for _, each in model.named_parameters()]
        self._ends = [getattr(model, name) for name in self.ends]
        self._changes = changes.number()
        self.fits = self._simple(model, layers)
        if self.fits:
            self.gather(model)

    def holds(self, model) -> bool:
        """Whether every layer and parameter is the one it was; a hook stands among a layer's attributes."""
        if self._blocks != getattr(model, self.blocks):
            return False
        now = changes.number()
        if now != self._changes:  # of this model, or of another
            if self._ends != [getattr(model, name) for name in self.ends]:
                return False
            if not all(map(_unchanged, self._parts, self._attributes)):
                return False
            if any(each.value is not value for each, value in self._parameters):
                return False
            self._changes = now
        return True

    def _simple(self, model, layers) -> bool:
        linear = [layer for layer in layers if isinstance(layer, (Linear, QuantizedLinear))]
        simple = all(type(layer) in self.kinds and HOOKED.isdisjoint(vars(layer)) for layer in layers)
        if not simple or not self.plain(model) or devices.on_gpu(model._tokens_table):
            return False
        return len({self.form(layer) for layer in linear}) == 1

    @staticmethod
    def plain(model) -> bool:
        """Whether the kernel has what this model wants."""
        raise NotImplementedError

    def gather(self, model) -> None:
        """Fill in `weights`."""
        raise NotImplementedError

    @staticmethod
    def form(layer) -> tuple[str, int | None]:
        """How an affine map's weights are stored, and the group of int8."""
        return (layer.kind, layer.group) if isinstance(layer, QuantizedLinear) else ("float32", None)

    def make(self, model, cache: KeyValueCache) -> TokenCall:
        """The call of the family's kernel, for a cache and those that are `extended` from it."""
        raise NotImplementedError

    def read_token(self, model, ids: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Logits (B, V) after the tokens ids (B, 1), for which `cache` has room."""
        memo = cache.memo
        call = memo.get("token_call")
        if call is None or not call.fits(self.weights):
            call = memo["token_call"] = self.make(model, cache)
        return call(ids, cache, *self.tables(model, cache))

    def tables(self, model, cache: KeyValueCache) -> tuple[np.ndarray, ...]:
        """What the family's kernel reads beside weights and ids."""
        return ()


def _unchanged(attributes: dict, before: dict) -> bool:
    """Whether a layer's attributes are the same objects as before; arrays among them cannot be asked whether they are equal."""
    return attributes.keys() == before.keys() and all(attributes[name] is value for name, value in before.items())


def addresses(layer) -> list[int]:
    """Addresses of gamma and beta, or gamma alone, or weights, scales and bias; 0 for what there is not."""
    if isinstance(layer, RMSNorm) or layer is None:
        arrays = [None if layer is None else layer.weight.value]
    elif isinstance(layer, LayerNorm):
        arrays = [layer.weight.value, layer.bias.value]
    else:
        bias = None if layer.bias is None else layer.bias.value
        if isinstance(layer, QuantizedLinear):
            arrays = [layer.packed.panels, getattr(layer.packed, "scales", None), bias]
        else:
            arrays = [layer.weight.value, None, bias]
    return [0 if array is None else array.ctypes.data for array in arrays]
