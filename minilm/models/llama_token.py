"""How a Llama on the CPU reads one more token of each text: by the one kernel of `minilm.quantized.llama_step`.

Of all families but Gemma 2, whose sums are normalised once more, and Mixtral.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm.layers.cache import KeyValueCache
from minilm.layers.embedding import Embedding
from minilm.layers.gated_feed_forward import GatedFeedForward
from minilm.layers.grouped_attention import GroupedQueryAttention
from minilm.layers.linear import Linear
from minilm.layers.llama_block import LlamaBlock
from minilm.layers.rms_norm import RMSNorm
from minilm.models.token_reader import TokenReader, addresses
from minilm.quantized.layers import QuantizedLinear

if TYPE_CHECKING:
    from minilm.models.llama import Llama
    from minilm.quantized.token_call import TokenCall

__all__ = ["LlamaReader"]


class LlamaReader(TokenReader):
    """The addresses of a Llama's weights; see `TokenReader`."""

    kinds = (Embedding, GatedFeedForward, GroupedQueryAttention, Linear, LlamaBlock, QuantizedLinear, RMSNorm)
    blocks, ends = "layers", ("norm", "lm_head")

    @staticmethod
    def plain(model: Llama) -> bool:
        """Whether the kernel has what this family wants."""
        return not (model.config.traits.sandwich or model.config.traits.mixed)

    def gather(self, model: Llama) -> None:
        """Collect the addresses."""
        from minilm.quantized.token_call import Weights  # compiles

        blocks = []
        for block in model.layers:
            attn, mlp = block.self_attn, block.mlp
            maps = attn.q_proj, attn.k_proj, attn.v_proj, attn.o_proj
            layers = block.input_layernorm, *maps, attn.q_norm, attn.k_norm, block.post_attention_layernorm
            layers += mlp.gate_proj, mlp.up_proj, mlp.down_proj
            blocks.append([*(address for layer in layers for address in addresses(layer)), attn.window or 0])
        table = np.array(blocks, np.int64)  # (L, 26)
        final = np.array([*addresses(model.norm), *addresses(model.lm_head)], np.int64)  # (4,)
        self.weights = Weights(table, final, model.embed_tokens.weight.value.ctypes.data, 0, *self.form(model.lm_head))

    def make(self, model: Llama, cache: KeyValueCache) -> TokenCall:
        """The call of `minilm.quantized.llama_step`."""
        from minilm.quantized.token_call import llama_call  # compiles

        return llama_call(self.weights, model.config, cache)

    def tables(self, model: Llama, cache: KeyValueCache) -> tuple[np.ndarray, ...]:
        """cos and sin of the positions so far, (Tk, K/2) each."""
        cos, sin, _ = model.rotary.rotation(cache.memo["token_call"].keys, cache.length)
        return cos, sin
