"""BERT: a transformer that reads a text from both sides.

::

    x      = word[ids] + position[0 ... T-1] + segment[token_type_ids]      (B, T, D)
    x      = dropout(norm(x))
    y      = layer_i(x)                            (B, T, D)      post-norm blocks, every position sees every other
    pooled = tanh(y[:, 0] W_pᵀ + b_p)              (B, D)         a vector for the whole text, at its first token [CLS]

Backward, from a task's gradients dy (B, T, D) and dpooled (B, D), of which one may be None::

    dy[:, 0] += (dpooled (1 - pooled²)) W_p        dW_p = (dpooled (1 - pooled²))ᵀ y[:, 0]
    dx        = the layers, the last one first, then dropout and norm        (B, T, D)
    dword[ids] += dx       dposition[t] += dx[:, t]       dsegment[token_type_ids] += dx

Names of parameters are Hugging Face's but for those inside of a block, which are renamed one to one::

    encoder.layer.0.attn.query, key, value          encoder.layer.0.attention.self.query, key, value
    encoder.layer.0.attn.c_proj                     encoder.layer.0.attention.output.dense
    encoder.layer.0.ln_1                            encoder.layer.0.attention.output.LayerNorm
    encoder.layer.0.mlp.c_fc                        encoder.layer.0.intermediate.dense
    encoder.layer.0.mlp.c_proj                      encoder.layer.0.output.dense
    encoder.layer.0.ln_2                            encoder.layer.0.output.LayerNorm

Reference: J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, BERT: pre-training of deep bidirectional transformers for language
understanding, NAACL 2019.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import (
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    PositionalEmbedding,
    TransformerBlock,
    blocks,
    initialisers,
)
from minilm.layers.base import generator_of
from minilm.layers.residual import added
from minilm.layers.sequences import contiguous
from minilm.models.bert_config import BERTConfig
from minilm.models.pretrained import Pretrained
from minilm.ops import activations, checks
from minilm.ops.workspace import empty, scratch
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["BERT", "Embeddings", "Output"]


class Output(NamedTuple):
    """What the encoder gives."""

    hidden: np.ndarray  # (B, T, D)
    pooled: np.ndarray | None  # (B, D), where there is a pooler


class Embeddings(Layer):
    """The sum of a token's, a position's and a segment's vector, normalised."""

    def __init__(self, config: BERTConfig, **options: Any):
        super().__init__(**options)
        D, start = config.hidden_size, initialisers.normal(config.initializer_range)
        self.vocab_size, self.longest = config.vocab_size, config.max_position_embeddings
        self.word_embeddings = Embedding(config.vocab_size, D, config.pad_token_id, initialise=start, **options)
        self.position_embeddings = PositionalEmbedding(config.max_position_embeddings, D, initialise=start, **options)
        self.token_type_embeddings = Embedding(config.type_vocab_size, D, initialise=start, **options)
        self.LayerNorm = LayerNorm(D, config.layer_norm_eps, dtype=self.dtype)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Ids, token_type_ids: Ids | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns x (B, T, D) for ids and token_type_ids (B, T), the second zeros if not given, and what `backward` needs."""
        ids = checks.ids("ids", ids, self.vocab_size, (None, None), "(B, T)")
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one token, got shape {ids.shape}")
        if ids.shape[1] > self.longest:
            raise ValueError(f"ids has {ids.shape[1]} tokens a row, more than max_position_embeddings = {self.longest}")
        if token_type_ids is None:
            types = devices.array_module(ids).zeros(ids.shape, np.int64)  # (B, T)
        else:
            kinds = self.token_type_embeddings.num_embeddings
            types = checks.ids("token_type_ids", token_type_ids, kinds, ids.shape, "(B, T)")
        x, words = self.word_embeddings.forward(ids)  # (B, T, D)
        x, positions = self.position_embeddings.forward(x)
        segment, segments = self.token_type_embeddings.forward(types)  # (B, T, D)
        x, norm = self.LayerNorm.forward(added(x, segment, out=segment))
        x, dropped = self.dropout.forward(x, key=key)
        return x, (words, positions, segments, norm, dropped)

    def backward(self, dx: Array, saved: Any) -> None:
        """Returns nothing: ids have no gradient."""
        words, positions, segments, norm, dropped = saved
        dx = self.dropout.backward(dx, dropped)
        dx = self.LayerNorm.backward(dx, norm)  # (B, T, D)
        self.token_type_embeddings.backward(dx, segments)
        self.position_embeddings.backward(dx, positions)
        self.word_embeddings.backward(dx, words)


class Encoder(Layer):
    """The blocks, one after another."""

    def __init__(self, config: BERTConfig, **options):
        super().__init__(**options)
        self.layer = [
            TransformerBlock(
                config.hidden_size,
                config.num_attention_heads,
                hidden_dim=config.intermediate_size,
                activation=config.activation,
                norm_first=False,
                fused=False,
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_probs_dropout_prob,
                eps=config.layer_norm_eps,
                recompute=config.recompute,
                initialise=initialisers.normal(config.initializer_range),
                **options,
            )
            for _ in range(config.num_hidden_layers)
        ]

    def forward(self, x, *, key_mask=None, key=None):
        """Returns y (B, T, D), and what each block saved."""
        return blocks.forward(self.layer, x, key_mask=key_mask, key=at(key, "layer"))

    def backward(self, dy, saved):
        """Returns dx (B, T, D)."""
        dx = empty(dy.shape, dy.dtype, like=dy)  # (B, T, D), which the blocks write over
        dx[...] = dy
        return blocks.backward(self.layer, dx, saved)


class Pooler(Layer):
    """tanh of an affine map of the first token's vector."""

    def __init__(self, config: BERTConfig, **options):
        super().__init__(**options)
        D = config.hidden_size
        self.dense = Linear(D, D, initialise=initialisers.normal(config.initializer_range), **options)

    def forward(self, y, *, key=None):
        """Returns pooled (B, D) for y (B, T, D), and what `backward` needs."""
        a, dense = self.dense.forward(contiguous(y[:, 0]))  # (B, D)
        pooled, curve = activations.tanh.forward(a)
        return pooled, (dense, curve)

    def backward(self, dpooled, saved):
        """Returns the gradient by y[:, 0], (B, D)."""
        da = activations.tanh.backward(dpooled, saved[1])
        return self.dense.backward(da, saved[0])


class Saved(NamedTuple):
    """What backward needs."""

    embedded: tuple  # what the embeddings saved
    layers: list  # what each block saved
    pooled: Any  # what the pooler saved, or None
    shape: tuple[int, int, int]  # (B, T, D)


class BERT(Pretrained, Layer):
    """The encoder: a vector for each token of a text, and one for all of it.

    Parameters
    ----------
    config : BERTConfig
    pooler : bool
        Whether there is one.
    seed : int, Generator or None
    dtype : {float32, float64}
    """

    hugging_face: ClassVar = {"bert": "BertModel"}
    may_lack = ("pooler.",)
    may_exceed = ("cls.", "classifier.", "qa_outputs.")

    def __init__(self, config: BERTConfig, *, pooler: bool = True, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        options = {"dtype": dtype, "seed": generator}
        self.embeddings = Embeddings(config, **options)
        self.encoder = Encoder(config, **options)
        self.pooler = Pooler(config, **options) if pooler else None

    def forward(
        self, ids: Ids, token_type_ids: Ids | None = None, key_mask: Array | None = None, *, key: Key | None = None
    ) -> tuple[Output, Saved]:
        """Read texts.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V); T at most max_position_embeddings.
        token_type_ids : ndarray of integers, shape (B, T), optional
            The segment of each token; 0 without it.
        key_mask : ndarray of bool, shape (B, T), optional
            False for padding, which no position sees.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        output : Output
            hidden (B, T, D), and pooled (B, D) or None.
        saved : Saved
        """
        x, embedded = self.embeddings.forward(ids, token_type_ids, key=at(key, "embeddings"))  # (B, T, D)
        y, layers = self.encoder.forward(x, key_mask=key_mask, key=at(key, "encoder"))
        pooled = pooler = None
        if self.pooler is not None:
            pooled, pooler = self.pooler.forward(y)  # (B, D)
        return Output(y, pooled), Saved(embedded, layers, pooler, y.shape)

    def backward(self, dy: Array, saved: Saved) -> None:
        """Add the gradients with respect to all parameters to their buffer.

        Parameters
        ----------
        dy : ndarray, shape (B, T, D), or tuple (dhidden, dpooled)
            Gradients with respect to the outputs; None means zero.
        saved : Saved
        """
        dhidden, dpooled = dy if isinstance(dy, tuple) else (dy, None)
        total = empty(saved.shape, self.dtype, like=dpooled if dhidden is None else dhidden)  # (B, T, D)
        total[...] = 0 if dhidden is None else dhidden
        if dpooled is not None:
            total[:, 0] += self.pooler.backward(dpooled, saved.pooled)
        dx = self.encoder.backward(total, saved.layers)
        with scratch():
            self.embeddings.backward(dx, saved.embedded)

    def settings(self) -> str:
        config = self.config
        return f"num_hidden_layers={config.num_hidden_layers}, hidden_size={config.hidden_size}, vocab_size={config.vocab_size}"
