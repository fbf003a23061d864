"""GPT: a transformer that predicts the next token.

::

    x      = wte[ids] + wpe[positions]             (B, T, D)      dropout
    x      = h_i(x)                                (B, T, D)      for each block: causal attention, position-wise network
    y      = ln_f(x)                               (B, T, D)      norm_first only
    logits = y wteᵀ                                (B, T, V)      the output shares the tokens' table, or has its own (untied)
    loss   = mean over all b, t of -log softmax(logits)[targets]

Backward, the same lines from the last to the first; each layer adds its parameters' gradients to their buffer::

    dlogits = (softmax(logits) - [targets]) / (B T)               (B, T, V)
    dy      = dlogits wte           dwte += dlogitsᵀ y            (B, T, D)
    dx      = ln_f, then each block, the last one first           (B, T, D)
    dwte[ids] += dx                 dwpe[positions] += dx         summed where an id or a position comes several times

so that a table which is also the output's weight gets two gradients.

Names of parameters are Hugging Face's, without the "transformer." before them. Weights have this package's orientation (out, in)
throughout, where Hugging Face's Conv1D has (in, out): ``h.*.attn.c_attn.weight``, ``h.*.attn.c_proj.weight``,
``h.*.mlp.c_fc.weight`` and ``h.*.mlp.c_proj.weight`` are transposed when they are read. GPT-1's ``tokens_embed`` and
``positions_embed`` are ``wte`` and ``wpe`` here.

References: A. Radford et al., Improving language understanding by generative pre-training, 2018; A. Radford et al., Language
models are unsupervised multitask learners, 2019; T. Brown et al., Language models are few-shot learners, NeurIPS 2020.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

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
from minilm.models.causal_model import CacheShape, CausalModel, left_padding, mask_and_positions
from minilm.models.gpt_config import GPTConfig
from minilm.models.gpt_token import GPTReader
from minilm.models.pretrained import Pretrained
from minilm.models.token_reader import reader_of
from minilm.ops import cross_entropy
from minilm.ops.workspace import empty, scratch
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["GPT", "Saved"]


class Hidden(NamedTuple):
    """What each part before lm_head saved, by its name in `GPT`."""

    wte: Any
    wpe: Any
    dropout: Any
    h: list  # of each block
    ln_f: Any


class Saved(NamedTuple):
    """What backward needs."""

    hidden: Hidden
    output: Any  # what lm_head saved
    loss: Any  # what cross_entropy saved


class GPT(Pretrained, CausalModel, Layer):
    """Predicts the next token from all before it, in a context of ``n_positions``.

    Training is here; ``loss``, and ``logits`` and ``step`` for generation, are `minilm.models.causal_model.CausalModel`'s;
    files of weights are read and written by `minilm.models.pretrained.Pretrained`.

    Parameters
    ----------
    config : GPTConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models, optimizers
    >>> config = models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=32, n_positions=64, vocab_size=65)
    >>> model = models.GPT(config, seed=0)
    >>> adam = optimizers.AdamW(model.parameters, lr=1e-3, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    >>> ids = np.arange(128).reshape(2, 64) % 65  # (B, T)
    >>> loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
    >>> model.backward(saved)
    >>> norm = adam.step()
    """

    hugging_face: ClassVar = {"gpt2": "GPT2LMHeadModel", "openai-gpt": "OpenAIGPTLMHeadModel"}
    carries_state = False  # between the batches of training
    objective = "next"
    context_setting = "n_positions"

    def __init__(self, config: GPTConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        D, deviation = config.n_embd, config.initializer_range
        start = initialisers.normal(deviation)
        residual = initialisers.normal(deviation / math.sqrt(2 * config.n_layer)) if config.scaled_residual else start
        options = {"dtype": dtype, "seed": generator}
        self.wte = Embedding(config.vocab_size, D, initialise=start, **options)
        self.wpe = PositionalEmbedding(config.n_positions, D, initialise=start, **options)
        self.dropout = Dropout(config.embd_pdrop)
        self.h = [
            TransformerBlock(
                D,
                config.n_head,
                hidden_dim=config.n_inner,
                activation=config.activation,
                norm_first=config.norm_first,
                causal=True,
                band=config.band_of(layer),
                dropout=config.resid_pdrop,
                attention_dropout=config.attn_pdrop,
                eps=config.layer_norm_epsilon,
                recompute=config.recompute,
                initialise=start,
                residual_initialise=residual,
                **options,
            )
            for layer in range(config.n_layer)
        ]
        self.ln_f = LayerNorm(D, config.layer_norm_epsilon, dtype=dtype) if config.norm_first else None
        table = self.wte.weight if config.tie_word_embeddings else None
        self.lm_head = Linear(D, config.vocab_size, bias=False, weight=table, initialise=start, **options)

    @property
    def context(self) -> int:
        """The largest number of tokens that the model reads at once."""
        return self.config.n_positions

    @property
    def cache_shape(self) -> CacheShape:
        """The sizes of the keys and values that generation keeps."""
        config = self.config
        return CacheShape(config.n_layer, config.n_head, config.n_embd // config.n_head)

    @property
    def _tokens_table(self):
        return self.wte.weight.value

    def _token_reader(self, cache):
        return reader_of(self, cache, GPTReader)

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(self, ids: Ids, targets: Ids, *, key_mask: Array | None = None, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean cross-entropy of the targets, in nats a token.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V); T at most n_positions.
        targets : ndarray of integers, shape (B, T)
            The token after each of `ids`, or -100 where it does not count. Texts of different lengths are filled up at their ends
            with any ids, whose targets are -100; then no mask is needed, since no position sees a later one.
        key_mask : ndarray of bool, shape (B, T), optional
            False for padding at the beginnings of rows; positions are then counted from the first token that is none.
        key : Key, optional
            For dropout: ``Key(seed, step)``, another in every step. Without it there is no dropout.

        Returns
        -------
        loss : scalar
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, an id is out of range, or T is more than the context.
        """
        ids, targets = self._checked(ids, targets)
        x, hidden = self._hidden(ids, padding=left_padding(key_mask, ids), key=key)  # (B, T, D)
        logits, output = self.lm_head.forward(x)  # (B, T, V)
        loss, saved = cross_entropy.forward(logits, targets)
        return loss, Saved(hidden, output, saved)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer.

        Parameters
        ----------
        saved : Saved
            From `forward`.
        dloss : float
            Gradient of what is minimised by the loss.
        """
        wte, wpe, dropped, h, norm = saved.hidden
        dx = empty((*wte.ids.shape, self.config.n_embd), self.dtype, like=wte.ids)  # (B, T, D)
        with scratch():  # dlogits, the largest array of a step, makes room for the blocks' gradients
            dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
            dy = self.lm_head.backward(dlogits, saved.output)  # (B, T, D)
            dx[...] = dy if self.ln_f is None else self.ln_f.backward(dy, norm)
        dx = blocks.backward(self.h, dx, h)
        with scratch():
            dx = self.dropout.backward(dx, dropped)
            dx = self.wpe.backward(dx, wpe)
            self.wte.backward(dx, wte)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _hidden(self, ids, *, padding=None, cache=None, key=None, gradient: bool = True):
        """What lm_head reads, (B, T, D), and what each part saved: in training, evaluation and generation.

        `padding` (B,) is the number of padding tokens at the beginning of each row; `cache` holds the keys and values of earlier
        tokens; without `gradient` nothing is kept for backward.
        """
        mask, positions, offset = mask_and_positions(ids, padding, cache)
        x, wte = self.wte.forward(ids)  # (B, T, D)
        x, wpe = self.wpe.forward(x, positions, offset=offset)
        x, dropped = self.dropout.forward(x, key=at(key, "dropout"))
        x, h = blocks.forward(self.h, x, key_mask=mask, cache=cache, key=at(key, "h"), gradient=gradient)
        x, norm = (x, None) if self.ln_f is None else self.ln_f.forward(x)
        return x, Hidden(wte, wpe, dropped, h, norm)

    def settings(self) -> str:
        config = self.config
        return f"n_layer={config.n_layer}, n_head={config.n_head}, n_embd={config.n_embd}, vocab_size={config.vocab_size}"
