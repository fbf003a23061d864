"""How a Transformer on the CPU writes one more token of each target: by the one kernel of `minilm.quantized.decoder_step`.

Of those with normalisation first; `minilm.models.token_reader` says what a reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm.layers import SinusoidalPositions
from minilm.models.gpt_token import GPTReader
from minilm.models.token_reader import TokenReader, addresses

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache
    from minilm.models.transformer import Transformer, TransformerState

__all__ = ["TransformerReader"]


class TransformerReader(TokenReader):
    """The addresses of a decoder's weights."""

    kinds = (*GPTReader.kinds, SinusoidalPositions)
    blocks, ends = "decoder", ("decoder_norm", "output")

    @staticmethod
    def plain(model: Transformer) -> bool:
        """Whether normalisation comes first, and the kernel has the activation."""
        return model.config.norm_first and model.config.activation in ("gelu_tanh", "gelu_erf", "relu")

    def gather(self, model: Transformer) -> None:
        """Collect the addresses."""
        from minilm.quantized.token_call import Weights  # compiles

        blocks = []
        for block in model.decoder:
            own = block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc, block.mlp.c_proj
            cross = block.ln_cross_attn, block.crossattention.query, block.crossattention.c_proj
            blocks.append([*self._of(own), 0, 0, *self._of(cross), 0, 0])  # the zeros are the cache's and the source's
        table = np.array(blocks, np.int64).reshape(len(blocks), 28)  # (L, 28)
        final = np.array(self._of((model.decoder_norm, model.output)), np.int64)  # (5,)
        tokens = model.target_embedding.weight.value.ctypes.data
        self.weights = Weights(table, final, tokens, 0, *self.form(model.output))

    @staticmethod
    def _of(layers) -> list[int]:
        return [address for layer in layers for address in addresses(layer)]

    def write(self, model: Transformer, ids: np.ndarray, state: TransformerState, cache: KeyValueCache) -> np.ndarray:
        """Logits (N, V) after the tokens ids (N,), for which `cache` has room."""
        from minilm.quantized.token_call import decoder_call  # compiles

        memo = cache.memo.get("token_call")
        if memo is None or memo[1] is not state.memory or memo[2] is not state.mask or not memo[0].fits(self.weights):
            call = decoder_call(self.weights, model, state, cache)
            memo = cache.memo["token_call"] = call, state.memory, state.mask  # which keeps the source's arrays
        D = model.config.d_model
        place, _ = model.target_positions.forward(np.zeros((1, 1, D), np.float32), offset=state.cache.length)  # (1, 1, D)
        return memo[0](np.ascontiguousarray(ids, np.int64), np.ascontiguousarray(place.reshape(D)), cache)
