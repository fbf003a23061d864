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

The gradient by m is the sum over the decoder's layers of what each gives back.

References: A. Vaswani et al., Attention is all you need, NIPS 2017; R. Xiong et al., On layer normalization in the transformer
architecture, ICML 2020 (pre-norm and its last normalisation); O. Press, L. Wolf, Using the output embedding to improve language
models, EACL 2017 (one table for source, target and output).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    PositionalEmbedding,
    SinusoidalPositions,
    TransformerBlock,
    initialisers,
)
from minilm.layers.base import generator_of
from minilm.layers.cache import KeyValueCache
from minilm.layers.residual import added
from minilm.models.encoder_decoder import EncoderDecoder, mask_of
from minilm.models.seq2seq_config import TransformerConfig
from minilm.ops import checks, cross_entropy
from minilm.ops.workspace import empty, scratch
from minilm.random import at

__all__ = ["Transformer", "TransformerState"]


class Saved(NamedTuple):
    """What backward needs."""

    source: tuple  # what embedding, positions and dropout of the source saved
    encoder: list  # what each layer saved
    encoder_norm: Any
    target: tuple
    decoder: list
    decoder_norm: Any
    output: Any
    loss: Any  # what cross_entropy saved


class TransformerState(NamedTuple):
    """What has been read and written, for generation."""

    cache: KeyValueCache
    memory: tuple  # the `Memory` of each layer of the decoder, (N, S, H, K) arrays
    mask: np.ndarray | None  # (N, S) True for tokens of the source
    sentence: np.ndarray  # (N,) which source a row belongs to, on the host

    def reorder(self, rows) -> TransformerState:
        """The state of some of the rows, by their numbers (N,) on the host; one may come several times, as in a beam search."""
        cache, sentence = self.cache.reorder(rows), self.sentence[rows]
        if np.array_equal(sentence, self.sentence):  # beams of one sentence share its memory
            return TransformerState(cache, self.memory, self.mask, sentence)
        rows = devices.to_device(rows) if devices.on_gpu(self.memory[0].key) else rows
        memory = tuple(type(part)(*(array[rows] for array in part)) for part in self.memory)
        return TransformerState(cache, memory, None if self.mask is None else self.mask[rows], sentence)


class Transformer(EncoderDecoder):
    """Writes a target for a source.

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

    def __init__(self, config: TransformerConfig, *, seed=0, dtype=np.float32):
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
            tables = [SinusoidalPositions(D, dtype=dtype)] * 2
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
        self.output = Linear(D, config.outputs, bias=False, weight=weight, initialise=start, **options)

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(self, source, inputs, targets, lengths=None, *, key=None):
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        targets = self._targets(targets, inputs)
        mask = mask_of(lengths, source.shape[1])
        x, embedded = self._embedded("source", source, 0, at(key, "source"))  # (B, S, D)
        encoder, decoder, norms = [], [], [None, None]
        for number, block in enumerate(self.encoder):
            x, saved = block.forward(x, key_mask=mask, key=at(key, f"encoder.{number}"))
            encoder.append(saved)
        if self.encoder_norm is not None:
            x, norms[0] = self.encoder_norm.forward(x)
        y, written = self._embedded("target", inputs, 0, at(key, "target"))  # (B, T, D)
        for number, block in enumerate(self.decoder):
            y, saved = block.forward(y, x, memory_mask=mask, key=at(key, f"decoder.{number}"))
            decoder.append(saved)
        if self.decoder_norm is not None:
            y, norms[1] = self.decoder_norm.forward(y)
        logits, output = self.output.forward(y)  # (B, T, V)
        smoothing = self.config.label_smoothing
        loss, saved = cross_entropy.forward(logits, targets, label_smoothing=smoothing)
        return loss, Saved(embedded, encoder, norms[0], written, decoder, norms[1], output, saved)

    forward.__doc__ = EncoderDecoder.forward.__doc__

    def backward(self, saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        D = self.config.d_model
        dy = empty((*saved.target[0].ids.shape, D), self.dtype, like=self.output.weight.value)  # (B, T, D)
        dx = empty((*saved.source[0].ids.shape, D), self.dtype, like=self.output.weight.value)  # (B, S, D)
        with scratch():
            dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
            dh = self.output.backward(dlogits, saved.output)  # (B, T, D)
            dy[...] = dh if self.decoder_norm is None else self.decoder_norm.backward(dh, saved.decoder_norm)
        dx.fill(0)
        for block, mine in zip(self.decoder[::-1], saved.decoder[::-1], strict=True):
            with scratch():
                dh, dmemory = block.backward(dy, mine)  # (B, T, D), (B, S, D)
                dy[...] = dh
                added(dx, dmemory, dx)
        self._embedded_backward("target", dy, saved.target)
        if self.encoder_norm is not None:
            with scratch():
                dx[...] = self.encoder_norm.backward(dx, saved.encoder_norm)
        for block, mine in zip(self.encoder[::-1], saved.encoder[::-1], strict=True):
            with scratch():
                dx[...] = block.backward(dx, mine)
        self._embedded_backward("source", dx, saved.source)

    # --- evaluation and generation -----------------------------------------------------------------------------------

    def logits(self, source, inputs, lengths=None):
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        mask = mask_of(lengths, source.shape[1])
        memory = self._memory(source, mask)  # (B, S, D)
        y = empty((*inputs.shape, self.config.d_model), self.dtype, like=inputs)  # (B, T, D)
        with scratch():
            y[...] = self._embedded("target", inputs, 0, None)[0]
        for block in self.decoder:
            with scratch():
                y[...] = block.forward(y, memory, memory_mask=mask)[0]
        return self._read_out(y)  # (B, T, V)

    logits.__doc__ = EncoderDecoder.logits.__doc__

    def encode(self, source, lengths=None, *, tokens: int = 256) -> TransformerState:
        """Read the source, from the host or the model's device: the state before the first of up to `tokens` of the target."""
        source, lengths = devices.to(self.device, self._source(source, lengths))
        mask = mask_of(lengths, source.shape[1])
        with devices.ids_are_checked():
            memory = self._memory(source, mask)  # (B, S, D)
        B, H = len(source), self.config.num_heads
        cache = KeyValueCache(len(self.decoder), B, tokens, H, self.config.d_model // H, self.dtype, like=memory)
        remembered = tuple(block.crossattention.remember(memory) for block in self.decoder)
        return TransformerState(cache, remembered, mask, np.arange(B))

    def step(self, ids, state: TransformerState):
        """Logits after one more token of each target.

        Parameters
        ----------
        ids : ndarray of integers, shape (N,)
            The first of each is the one that begins a target.
        state : TransformerState
            From `encode`, or from the step before.

        Returns
        -------
        logits : ndarray, shape (N, V)
        state : TransformerState
            The one that was given still holds.
        """
        ids = checks.ids("ids", ids, self.config.outputs, (len(state.sentence),), "(N,)")
        cache = state.cache.extended(1)
        y, _ = self._embedded("target", ids[:, None], state.cache.length, None)  # (N, 1, D)
        for layer, block in enumerate(self.decoder):
            y, _ = block.forward(y, state.memory[layer], memory_mask=state.mask, cache=cache[layer])
        return self._read_out(y[:, 0]), state._replace(cache=cache)

    def attention(self, source, inputs, lengths=None, *, layer: int = -1):
        """What each position of the target takes of each of the source.

        Returns
        -------
        ndarray, shape (B, H, T, S)
            The weights of one layer of the decoder, the last without `layer`; the mean over H is what plots show.
        """
        source, lengths = self._source(source, lengths)
        inputs = self._inputs(inputs, len(source))
        mask = mask_of(lengths, source.shape[1])
        memory = self._memory(source, mask)  # (B, S, D)
        y, _ = self._embedded("target", inputs, 0, None)  # (B, T, D)
        chosen = self.decoder[layer]
        for block in self.decoder:
            if block is not chosen:
                y, _ = block.forward(y, memory, memory_mask=mask)
                continue
            h = chosen.ln_1(y) if chosen.norm_first else y  # (B, T, D)
            y = y + chosen.attn(h)
            y = chosen.ln_cross_attn(y) if chosen.norm_first else chosen.ln_1(y)
            return chosen.crossattention(y, memory, key_mask=mask, return_weights=True).weights

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _embedded(self, side: str, ids, offset: int, key):
        """√D times the embedding, and positions: (B, T, D), and what each part saved."""
        x, embedded = getattr(self, f"{side}_embedding").forward(ids)
        x *= x.dtype.type(math.sqrt(self.config.d_model))  # the embedding saved its ids, not x
        x, placed = getattr(self, f"{side}_positions").forward(x, offset=offset)
        x, dropped = self.dropout.forward(x, key=key)
        return x, (embedded, placed, dropped)

    def _embedded_backward(self, side: str, dx, saved) -> None:
        embedded, placed, dropped = saved
        with scratch():
            dx = self.dropout.backward(dx, dropped)
            dx = getattr(self, f"{side}_positions").backward(dx, placed)
            scaled = empty(dx.shape, dx.dtype, like=dx)  # (B, T, D)
            np.multiply(dx, dx.dtype.type(math.sqrt(self.config.d_model)), out=scaled)
            getattr(self, f"{side}_embedding").backward(scaled, embedded)

    def _memory(self, source, mask):
        """What the decoder reads of the source, (B, S, D)."""
        x = empty((*source.shape, self.config.d_model), self.dtype, like=source)  # (B, S, D)
        with scratch():
            x[...] = self._embedded("source", source, 0, None)[0]
        for block in self.encoder:
            with scratch():
                x[...] = block.forward(x, key_mask=mask)[0]
        return x if self.encoder_norm is None else self.encoder_norm.forward(x)[0]

    def _read_out(self, y):
        y = checks.kernel_ready(y)
        if self.decoder_norm is not None:
            y, _ = self.decoder_norm.forward(y)
        return self.output.forward(y)[0]  # (..., V)

    def settings(self):
        c = self.config
        return f"d_model={c.d_model}, layers={c.encoder_layers}+{c.decoder_layers}, vocab_size={c.vocab_size}, {c.outputs}"
