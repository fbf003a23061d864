"""How a GPT on the CPU reads one more token of each text: by the one kernel of `minilm.quantized.token_step`.

The kernel wants the addresses of all weights. They are gathered once, and again whenever a layer or a parameter is no longer the
one it was. It computes what `minilm.models.GPT` says for dense causal attention, in float32 or with quantised weights; a model of
another kind, or with layers of another kind or with hooks, goes the way of its layers.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from minilm import devices
from minilm.layers import (
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    PositionalEmbedding,
    TransformerBlock,
    changes,
)
from minilm.layers.cache import KeyValueCache
from minilm.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from minilm.models.gpt import GPT

__all__ = ["TokenReader", "reader_of"]

KINDS = (
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    PositionalEmbedding,
    QuantizedLinear,
    TransformerBlock,
)


_readers: weakref.WeakKeyDictionary[GPT, TokenReader] = weakref.WeakKeyDictionary()


def reader_of(model: GPT, cache: object) -> TokenReader | None:
    """The model's reader, made anew where the model has changed; None where it has to go the way of its layers."""
    if model.dtype != np.float32 or not isinstance(cache, KeyValueCache) or devices.implementation_for() != "cpu":
        return None
    reader = _readers.get(model)
    if reader is None or not reader.holds(model):
        reader = _readers[model] = TokenReader(model)
    return reader if reader.fits else None


class TokenReader:
    """The addresses of a model's weights, and what they were gathered from.

    Attributes
    ----------
    fits : bool
        Whether the kernel computes what this model's layers would.
    """

    def __init__(self, model: GPT):
        self._blocks = list(model.h)
        layers = [layer for _, layer in model.named_layers() if layer is not model]
        self._parts = [vars(layer) for layer in layers]
        self._then = [dict(part) for part in self._parts]
        self._parameters = [(each, each.value) for _, each in model.named_parameters()]
        self._ends = model.ln_f, model.lm_head
        self._changes = changes.number()
        self.fits = self._simple(model, layers)
        if self.fits:
            self._gather(model)

    def holds(self, model: GPT) -> bool:
        """Whether every layer and parameter is the one it was; a hook stands among a layer's attributes."""
        if self._blocks != model.h:
            return False
        now = changes.number()
        if now != self._changes:  # of this model, or of another
            if self._ends != (model.ln_f, model.lm_head) or self._parts != self._then:
                return False
            if any(each.value is not value for each, value in self._parameters):
                return False
            self._changes = now
        return True

    def _simple(self, model, layers) -> bool:
        config, linear = model.config, [layer for layer in layers if isinstance(layer, (Linear, QuantizedLinear))]
        plain = all(type(layer) in KINDS and "forward" not in vars(layer) for layer in layers)
        if not plain or not config.norm_first or config.band is not None or devices.on_gpu(model.wte.weight.value):
            return False
        return len({(layer.kind, layer.group) if isinstance(layer, QuantizedLinear) else "float32" for layer in linear}) == 1

    def _gather(self, model) -> None:
        blocks = []
        for block in model.h:
            halves = (block.ln_1, block.attn.c_attn, block.attn.c_proj), (block.ln_2, block.mlp.c_fc, block.mlp.c_proj)
            blocks.append([address for half in halves for layer in half for address in _addresses(layer)])
        from minilm.quantized.token_call import Weights  # compiles

        table = np.array(blocks, np.int64).reshape(len(blocks), 16)  # (L, 16)
        final = np.array([*_addresses(model.ln_f), *_addresses(model.lm_head)], np.int64)  # (5,)
        tables = (each.weight.value.ctypes.data for each in (model.wte, model.wpe))
        head = model.lm_head
        form = (head.kind, head.group) if isinstance(head, QuantizedLinear) else ("float32", None)
        self.weights = Weights(table, final, *tables, *form)

    def read(self, model: GPT, ids: np.ndarray, cache: KeyValueCache) -> np.ndarray:
        """Logits (B, V) after the tokens ids (B, 1), for which `cache` has room."""
        call = cache.memo.get("token_call")
        if call is None or not call.fits(self.weights):
            from minilm.quantized.token_call import TokenCall  # compiles

            call = cache.memo["token_call"] = TokenCall(self.weights, model.config, cache)
        positions = np.full(len(ids), cache.start) if cache.key_mask is None else cache.positions()[:, 0]  # (B,)
        return call(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(positions), cache)


def _addresses(layer) -> list[int]:
    """Of gamma and beta; or of weights, scales and bias, 0 for those there are not."""
    if isinstance(layer, LayerNorm):
        arrays = [layer.weight.value, layer.bias.value]
    else:
        bias = None if layer.bias is None else layer.bias.value
        if isinstance(layer, QuantizedLinear):
            arrays = [layer.packed.panels, getattr(layer.packed, "scales", None), bias]
        else:
            arrays = [layer.weight.value, None, bias]
    return [0 if array is None else array.ctypes.data for array in arrays]
