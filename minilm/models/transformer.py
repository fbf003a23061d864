"""The transformer of the first paper: an encoder of the source, and a decoder that writes the target.

::

    x       = √D source_embedding[source] + positions         (B, S, D)      dropout
    x       = encoder_i(x)                                    (B, S, D)      attention to all of the source
    m       = encoder_norm(x)                                 (B, S, D)      norm_first only
    y       = √D target_embedding[inputs] + positions         (B, T, D)      dropout
    y       = decoder_i(y, m)                                 (B, T, D)      causal attention, then attention to m
    y       = decoder_norm(y)                                 (B, T, D)      norm_first only
    logits  = y W_outᵀ                                        (B, T, V)      W_out = target_embedding.weight where tied
    loss    = mean over all b, t of the smoothed -log softmax(logits)[targets]

Backward goes from the last line to the first. Every block of the decoder attends to the same m, so dm is the sum of what the
blocks give. It is complete when the decoder's first block is done, and goes on into the encoder::

    dy, dm  = decoder_i backward of dy, i = last ... first    (B, T, D), (B, S, D)    dm adds up
    dx      = encoder_i backward of dm, i = last ... first    (B, S, D)
    dsource_embedding[source] += √D dx                        dtarget_embedding[inputs] += √D dy

References: A. Vaswani et al., Attention is all you need, NIPS 2017; R. Xiong et al., On layer normalization in the transformer
architecture, ICML 2020 (pre-norm and its last normalisation); O. Press, L. Wolf, Using the output embedding to improve language
models, EACL 2017 (one table for source, target and output).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minilm.layers import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    PositionalEmbedding,
    SinusoidalPositions,
    TransformerBlock,
    blocks,
    initialisers,
)
from minilm.layers.base import generator_of
from minilm.models.encoder_decoder import mask_of
from minilm.models.seq2seq_config import TransformerConfig
from minilm.models.transformer_state import TransformerState, WritingTransformer
from minilm.ops import cross_entropy
from minilm.ops.workspace import empty, scratch
from minilm.random import at
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["Transformer", "TransformerState"]


class Saved(NamedTuple):
    """What backward needs."""

    encoded: tuple  # what the source's embedding, the encoder's blocks and its norm saved
    decoded: tuple  # those of the target and the decoder
    output: Any
    loss: Any = None  # what cross_entropy saved


class Transformer(WritingTransformer):
    """Writes a target for a source.

    ``forward``, ``loss`` and ``logits`` are `minilm.models.encoder_decoder.EncoderDecoder`'s, which checks the arguments and
    computes the cross-entropy; ``encode`` and ``step``, for generation, are in `minilm.models.transformer_state`.

    Parameters
    ----------
    config : TransformerConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> config = models.TransformerConfig(vocab_size=20, d_model=16, num_heads=2, encoder_layers=1, decoder_layers=1)
    >>> model = models.Transformer(config, seed=0)
    >>> source = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])  # (B, S)
    >>> inputs, targets = np.array([[1, 9, 9], [1, 9, 0]]), np.array([[9, 9, 2], [9, 2, -100]])  # (B, T) each
    >>> loss, saved = model.forward(source, inputs, targets, np.array([4, 2]))
    >>> model.backward(saved)
    """

    def __init__(self, config: TransformerConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        D, options = config.d_model, {"dtype": dtype, "seed": generator}
        start = initialisers.normal(D**-0.5)  # of unit size after the factor √D, and logits of unit size where tied
        self.source_embedding = Embedding(config.vocab_size, D, initialise=start, **options)
        self.target_embedding = self.source_embedding
        if not config.shared:
            self.target_embedding = Embedding(config.outputs, D, initialise=start, **options)
        if config.positions == "learned":
            tables = [PositionalEmbedding(config.max_positions, D, initialise=start, **options) for _ in range(2)]
        else:
            tables = [SinusoidalPositions(D, config.positions, dtype=dtype)] * 2
        self.source_positions, self.target_positions = tables
        self.dropout = Dropout(config.dropout)
        block = {
            "hidden_dim": config.hidden_dim,
            "activation": config.activation,
            "norm_first": config.norm_first,
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
            "initialise": initialisers.xavier_uniform(),
            **options,
        }
        self.encoder = [TransformerBlock(D, config.num_heads, **block) for _ in range(config.encoder_layers)]
        self.decoder = [
            TransformerBlock(D, config.num_heads, causal=True, cross_attention=True, **block)
            for _ in range(config.decoder_layers)
        ]
        self.encoder_norm = LayerNorm(D, dtype=dtype) if config.norm_first else None
        self.decoder_norm = LayerNorm(D, dtype=dtype) if config.norm_first else None
        weight = self.target_embedding.weight if config.tied else None
        self.output = Linear(D, config.outputs, config.output_bias, weight=weight, initialise=start, **options)

    # --- training ----------------------------------------------------------------------------------------------------

    def _logits(self, source, lengths, inputs, key, gradient):
        """Logits (B, T, V), and what the parts saved: what `EncoderDecoder.forward` takes the cross-entropy of."""
        mask = mask_of(lengths, source.shape[1])
        m, encoded = self._encode(source, mask, key, gradient)  # (B, S, D)
        y, decoded = self._decode(inputs, m, mask, key, gradient)  # (B, T, D)
        logits, output = self.output.forward(y)  # (B, T, V)
        return logits, Saved(encoded, decoded, output)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dy, dm = (self._like_embedded(embedded) for embedded, *_ in (saved.decoded, saved.encoded))  # (B, T, D), (B, S, D)
        dm.fill(0)
        with scratch():  # dlogits, the largest array of a step, makes room for the blocks' gradients
            dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
            dy[...] = self.output.backward(dlogits, saved.output)
        self._decode_backward(dy, dm, saved.decoded)
        self._encode_backward(dm, saved.encoded)

    # --- generation --------------------------------------------------------------------------------------------------

    def attention(self, source: Ids, inputs: Ids, lengths: Ids | None = None, *, layer: int = -1) -> Array:
        """The weight of each position of the source for each of the target.

        Parameters
        ----------
        source, inputs, lengths
            See `forward`.
        layer : int
            Which block of the decoder, from 0 on; -1 is the last.

        Returns
        -------
        ndarray, shape (B, H, T, S)
            Plots show the mean over the heads H.
        """
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        mask = mask_of(lengths, source.shape[1])
        memory, _ = self._encode(source, mask)  # (B, S, D)
        y, _ = self._embedded("target", inputs)  # (B, T, D)
        *before, block = self.decoder[: range(len(self.decoder))[layer] + 1]
        for each in before:
            y, _ = each.forward(y, memory, memory_mask=mask)
        y = y + block.attn(block.ln_1(y) if block.norm_first else y)  # (B, T, D)
        y = block.ln_cross_attn(y) if block.norm_first else block.ln_1(y)
        return block.crossattention(y, memory, key_mask=mask, return_weights=True).weights

    @property
    def _tokens_table(self):
        return self.target_embedding.weight.value

    # --- halves ------------------------------------------------------------------------------------------------------

    def _encode(self, source, mask, key=None, gradient=False):
        """What the decoder reads of the source, (B, S, D), and what the parts saved."""
        x, embedded = self._embedded("source", source, key)  # (B, S, D)
        x, saved = blocks.forward(self.encoder, x, key_mask=mask, key=at(key, "encoder"), gradient=gradient)
        m, norm = _normalised(self.encoder_norm, x)
        return m, (embedded, saved, norm)

    def _encode_backward(self, dm, saved) -> None:
        """dm (B, S, D) is written over."""
        embedded, saved_blocks, norm = saved
        _normalised_backward(self.encoder_norm, dm, norm)
        blocks.backward(self.encoder, dm, saved_blocks)
        self._embedded_backward("source", dm, embedded)

    def _decode(self, inputs, memory, mask, key=None, gradient=False):
        """What the output layer reads of the target, (B, T, D), and what the parts saved."""
        y, embedded = self._embedded("target", inputs, key)  # (B, T, D)
        y, saved = blocks.forward(self.decoder, y, memory, memory_mask=mask, key=at(key, "decoder"), gradient=gradient)
        y, norm = _normalised(self.decoder_norm, y)
        return y, (embedded, saved, norm)

    def _decode_backward(self, dy, dm, saved) -> None:
        """dy (B, T, D) is written over, the gradient by the memory added to dm (B, S, D)."""
        embedded, saved_blocks, norm = saved
        _normalised_backward(self.decoder_norm, dy, norm)
        blocks.backward(self.decoder, dy, saved_blocks, dm)
        self._embedded_backward("target", dy, embedded)

    def _embedded(self, side: str, ids, key=None, offset: int = 0):
        """√D times the embedding, and positions: (B, T, D), and what each part saved."""
        x, embedded = getattr(self, f"{side}_embedding").forward(ids)
        x *= x.dtype.type(math.sqrt(self.config.d_model))  # the embedding saved its ids, not x
        x, placed = getattr(self, f"{side}_positions").forward(x, offset=offset)
        x, dropped = self.dropout.forward(x, key=at(key, side))
        return x, (embedded, placed, dropped)

    def _embedded_backward(self, side: str, dx, saved) -> None:
        embedded, placed, dropped = saved
        with scratch():
            dx = self.dropout.backward(dx, dropped)
            dx = getattr(self, f"{side}_positions").backward(dx, placed)
            scaled = empty(dx.shape, dx.dtype, like=dx)  # (B, T, D)
            np.multiply(dx, dx.dtype.type(math.sqrt(self.config.d_model)), out=scaled)
            getattr(self, f"{side}_embedding").backward(scaled, embedded)

    def _like_embedded(self, saved):
        """An array for the gradient by what `_embedded` gave, (B, T, D)."""
        return empty((*saved[0].ids.shape, self.config.d_model), self.dtype, like=self.output.weight.value)

    def settings(self) -> str:
        c = self.config
        return f"d_model={c.d_model}, layers={c.encoder_layers}+{c.decoder_layers}, vocab_size={c.vocab_size}, {c.outputs}"


def _normalised(norm, x):
    return (x, None) if norm is None else norm.forward(x)


def _normalised_backward(norm, dx, saved) -> None:
    """dx is written over."""
    if norm is not None:
        with scratch():
            dx[...] = norm.backward(dx, saved)
