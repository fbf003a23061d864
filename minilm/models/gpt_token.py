"""How a GPT on the CPU reads one more token of each text: by the one kernel of `minilm.quantized.token_step`.

Of dense causal attention with normalisation first; `minilm.models.token_reader` says what a reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm.layers import (
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    PositionalEmbedding,
    TransformerBlock,
)
from minilm.layers.cache import KeyValueCache
from minilm.models.token_reader import TokenReader, addresses
from minilm.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from minilm.models.gpt import GPT
    from minilm.quantized.token_call import TokenCall

__all__ = ["GPTReader"]


class GPTReader(TokenReader):
    """The addresses of a GPT's weights."""

    kinds = (
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
    blocks, ends = "h", ("ln_f", "lm_head")

    @staticmethod
    def plain(model: GPT) -> bool:
        """Whether attention is dense, and normalisation comes first."""
        return model.config.norm_first and model.config.band is None

    def gather(self, model: GPT) -> None:
        """Collect the addresses."""
        blocks = []
        for block in model.h:
            halves = (block.ln_1, block.attn.c_attn, block.attn.c_proj), (block.ln_2, block.mlp.c_fc, block.mlp.c_proj)
            blocks.append([address for half in halves for layer in half for address in addresses(layer)])
        from minilm.quantized.token_call import Weights  # compiles

        table = np.array(blocks, np.int64).reshape(len(blocks), 16)  # (L, 16)
        final = np.array([*addresses(model.ln_f), *addresses(model.lm_head)], np.int64)  # (5,)
        tables = (each.weight.value.ctypes.data for each in (model.wte, model.wpe))
        self.weights = Weights(table, final, *tables, *self.form(model.lm_head))

    def make(self, model: GPT, cache: KeyValueCache) -> TokenCall:
        """The call of `minilm.quantized.token_step`."""
        from minilm.quantized.token_call import gpt_call  # compiles

        return gpt_call(self.weights, model.config, cache)
