"""How a Transformer on the CPU reads a few sources and writes targets: by the kernels of `minilm.quantized.encoder_pass` and
`decoder_step`.

`minilm.models.token_reader` says what a reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm.layers import LayerNorm, SinusoidalPositions
from minilm.layers.attention import Memory
from minilm.models.gpt_token import GPTReader
from minilm.models.token_reader import TokenReader, addresses

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache
    from minilm.models.encoder_decoder import Beams
    from minilm.models.transformer import Transformer
    from minilm.models.transformer_state import TransformerState
    from minilm.quantized.encoder_decoder_call import DecoderCall

__all__ = ["FEW", "TransformerReader"]

FEW = 64  # tokens of all sources, up to which the calls of Python between the layers take long enough to do without


class TransformerReader(TokenReader):
    """The addresses of the weights of encoder and decoder."""

    kinds = (*GPTReader.kinds, SinusoidalPositions)
    blocks, ends = "decoder", ("encoder_norm", "decoder_norm", "output")

    def __init__(self, model: Transformer):
        self._encoder = list(model.encoder)
        super().__init__(model)

    def holds(self, model: Transformer) -> bool:
        """Whether every layer and parameter is the one it was."""
        return self._encoder == model.encoder and super().holds(model)

    @staticmethod
    def plain(model: Transformer) -> bool:
        """Whether the kernels have the activation, and one ε serves all normalisations."""
        norms = {layer.eps for _, layer in model.named_layers() if isinstance(layer, LayerNorm)}
        return model.config.activation in ("gelu_tanh", "gelu_erf", "relu") and len(norms) == 1

    def gather(self, model: Transformer) -> None:
        """Collect the addresses."""
        from minilm.quantized.encoder_decoder_call import Weights  # compiles

        post = not model.config.norm_first
        encoder, encoder_norm = _with_norms([_own(block) for block in model.encoder], (0, 8), model.encoder_norm, post)
        cross = [
            [0, 0, *_of(block.ln_cross_attn, block.crossattention.query, block.crossattention.c_proj), 0, 0]
            for block in model.decoder
        ]  # the zeros are the cache's and the source's
        decoder = [_own(block) + other for block, other in zip(model.decoder, cross, strict=True)]
        decoder, decoder_norm = _with_norms(decoder, (0, 18, 8), model.decoder_norm, post)
        final = np.array([*decoder_norm, *addresses(model.output)], np.int64)  # (5,)
        pairs = ((block.crossattention.key, block.crossattention.value) for block in model.decoder)
        memories = np.array([addresses(layer) for pair in pairs for layer in pair], np.int64)  # (2 L', 3)
        tables = tuple(each.weight.value.ctypes.data for each in (model.source_embedding, model.target_embedding))
        self.weights = Weights(encoder, encoder_norm, memories, decoder, final, tables, *self.form(model.output))

    def read(self, model: Transformer, source: np.ndarray, mask: np.ndarray | None) -> tuple[Memory, ...]:
        """Keys and values of sources (B, S) for each layer of the decoder; mask (B, S)."""
        from minilm.quantized.encoder_decoder_call import read  # compiles

        (B, S), D, H = source.shape, model.config.d_model, model.config.num_heads
        places, _ = model.source_positions.forward(np.zeros((1, S, D), np.float32))  # (1, S, D)
        parts = read(self.weights, model, source, places[0], mask)  # (L', 2, B, S, D)
        return tuple(Memory(*(part.reshape(B, S, H, D // H) for part in pair)) for pair in parts)

    def write(self, model: Transformer, ids: np.ndarray, state: TransformerState, cache: KeyValueCache) -> np.ndarray:
        """Logits (N, V) after the tokens ids (N,), for which `cache` has room."""
        return self._call(model, state, cache).logits(ids, self._places(model, cache, 1), cache)

    def write_greedily(
        self, model: Transformer, ids: np.ndarray, state: TransformerState, cache: KeyValueCache, tokens: int, end: int
    ) -> np.ndarray:
        """The most probable tokens (n, N) after ids (N,), at most `tokens`, the last of them that with which a target ends.

        `cache` ends with the first.
        """
        return self._call(model, state, cache).greedy(ids, self._places(model, cache, tokens), cache, end)

    def write_beams(
        self, model: Transformer, ids: np.ndarray, state: TransformerState, cache: KeyValueCache, tokens: int, beams: Beams
    ) -> tuple[np.ndarray, np.ndarray, KeyValueCache]:
        """What `DecoderCall.beams` gives, of at most `tokens`; `cache` ends with the first, and is written over."""
        return self._call(model, state, cache).beams(ids, self._places(model, cache, tokens), cache, beams)

    def _call(self, model, state, cache) -> DecoderCall:
        from minilm.quantized.encoder_decoder_call import DecoderCall  # compiles

        call = cache.memo.get("token_call")
        if call is None or not call.fits(self.weights, state):
            call = cache.memo["token_call"] = DecoderCall(self.weights, model, state, cache)
        return call

    @staticmethod
    def _places(model, cache, tokens: int) -> np.ndarray:
        """Vectors (n, D) of the positions from the last of `cache` on."""
        nothing = np.zeros((1, tokens, model.config.d_model), np.float32)
        return model.target_positions.forward(nothing, offset=cache.length - 1)[0][0]


def _of(*layers) -> list[int]:
    return [address for layer in layers for address in addresses(layer)]


def _own(block) -> list[int]:
    """The first 16 columns: what a block of the encoder has."""
    return _of(block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc, block.mlp.c_proj)


def _with_norms(blocks, places, last, post: bool) -> tuple[np.ndarray, np.ndarray]:
    """The table of blocks, and the norm behind them, (2,). Post-norm: each norm one half later, none at the first place; `places`
    are the columns of the norms of a block, in the order of its halves."""
    table = np.array(blocks, np.int64)  # (L, columns)
    if not post:
        return table, np.array(addresses(last), np.int64)
    columns = np.array(places)[:, None] + [0, 1]  # (halves, 2)
    norms = table[:, columns].reshape(-1, 2)  # (L halves, 2)
    table[:, columns] = np.concatenate([np.zeros((1, 2), np.int64), norms[:-1]]).reshape(len(table), -1, 2)
    return table, norms[-1]
