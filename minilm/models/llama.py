"""Llama and its relatives: a transformer with rotary positions, gated networks and shared heads of keys and values.

::

    x      = embed_tokens[ids]                     (B, T, D)      times sqrt(D): Gemma
    x      = layers_i(x)                           (B, T, D)      for each block: causal attention, gated network
    y      = norm(x)                               (B, T, D)
    logits = y W_headᵀ                             (B, T, V)      c tanh(logits / c): Gemma 2
    loss   = mean over all b, t of -log softmax(logits)[targets]

Backward as in `minilm.models.gpt`, without a table of positions: these are rotations of queries and keys inside attention
(`minilm.layers.rotary`).

What Mistral, Mixtral, Qwen2, Qwen3, Gemma and Gemma 2 have otherwise is a word each in `LlamaConfig`. Names and layout of the
parameters are Hugging Face's, without the "model." before them; of Mixtral's experts they are a Llama's network's.

References: H. Touvron et al., LLaMA: open and efficient foundation language models, arXiv:2302.13971; A. Dubey et al., The
Llama 3 herd of models, arXiv:2407.21783; and those of `LlamaConfig`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilm.layers import Embedding, Layer, Linear, blocks, initialisers
from minilm.layers.base import generator_of
from minilm.layers.gated_feed_forward import GatedFeedForward
from minilm.layers.grouped_attention import GroupedQueryAttention
from minilm.layers.llama_block import LlamaBlock
from minilm.layers.mixture_of_experts import MixtureOfExperts
from minilm.layers.rms_norm import RMSNorm
from minilm.layers.rotary import RotaryPositions
from minilm.models.causal_model import CacheShape, CausalModel, left_padding, mask_and_positions
from minilm.models.gguf import llama_of_gguf
from minilm.models.llama_config import LLAMA_FAMILIES, LlamaConfig
from minilm.models.llama_token import LlamaReader
from minilm.models.pretrained import Pretrained
from minilm.models.token_reader import reader_of
from minilm.ops import activations, cross_entropy
from minilm.ops.workspace import empty, scratch
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, PathLike, Scalar, Seed

__all__ = ["Llama", "Saved"]

CLASSES = {family: family.capitalize() for family in LLAMA_FAMILIES}  # in the names of transformers' classes


class Hidden(NamedTuple):
    """What the parts saved before lm_head."""

    embed_tokens: Any
    layers: list  # of each block
    norm: Any


class Saved(NamedTuple):
    """What backward needs."""

    hidden: Hidden
    output: Any  # what the head saved
    loss: Any  # what cross_entropy saved


class Head:
    """From hidden states to logits: y W_headᵀ, and with a softcap c tanh(y W_headᵀ / c)."""

    def __init__(self, lm_head: Linear, softcap: float | None):
        self.lm_head, self.softcap = lm_head, softcap

    def forward(self, x: Array) -> tuple[Array, Any]:
        """Returns logits (..., V) for x (..., D), and what `backward` needs."""
        logits, saved = self.lm_head.forward(x)  # (..., V)
        if self.softcap is None:
            return logits, (saved, None)
        c, capped = logits.dtype.type(self.softcap), empty(logits.shape, logits.dtype, like=logits)  # (..., V)
        logits /= c  # lm_head's own, which nothing saved
        y, saved_tanh = activations.tanh.forward(logits)  # (..., V)
        return np.multiply(y, c, out=capped), (saved, saved_tanh)

    def backward(self, dlogits: Array, saved: Any) -> Array:
        """Returns dx (..., D)."""
        saved, saved_tanh = saved
        if saved_tanh is not None:
            dlogits = activations.tanh.backward(dlogits, saved_tanh)  # c before tanh and 1 / c in it cancel
        return self.lm_head.backward(dlogits, saved)

    def __call__(self, x: Array) -> Array:
        return self.forward(x)[0]


class Llama(Pretrained, CausalModel, Layer):
    """Predicts the next token from all before it, in a context of ``max_position_embeddings``.

    Training is here; ``loss``, and ``logits`` and ``step`` for generation, are `minilm.models.causal_model.CausalModel`'s;
    files of weights are read and written by `minilm.models.pretrained.Pretrained`.

    Parameters
    ----------
    config : LlamaConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models, optimizers
    >>> sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    >>> config = models.LlamaConfig(vocab_size=65, num_key_value_heads=2, max_position_embeddings=64, **sizes)
    >>> model = models.Llama(config, seed=0)
    >>> adam = optimizers.AdamW(model.parameters, lr=1e-3, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    >>> ids = np.arange(128).reshape(2, 64) % 65  # (B, T)
    >>> loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
    >>> model.backward(saved)
    >>> norm = adam.step()
    """

    hugging_face: ClassVar = {family: f"{CLASSES[family]}ForCausalLM" for family in LLAMA_FAMILIES}
    carries_state = False  # between the batches of training
    objective = "next"
    context_setting = "max_position_embeddings"

    def __init__(self, config: LlamaConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        start = initialisers.normal(config.initializer_range)
        options = {"dtype": dtype, "seed": generator, "initialise": start}
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, **options)
        self.layers = [_block(config, layer, options) for layer in range(config.num_hidden_layers)]
        self.norm = _norm(config, dtype)()
        table = self.embed_tokens.weight if config.tie_word_embeddings else None
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False, weight=table, **options)
        scaling = {"base": config.rope_theta, "scaling": config.rope_scaling}
        self.rotary = RotaryPositions(config.width, **scaling, dtype=dtype)

    @classmethod
    def from_gguf(cls, path: PathLike, *, dtype: DType = np.float32, quantize: str | None = None, **changes: Any) -> Llama:
        """The model in a GGUF file of architecture "llama", "qwen2" or "qwen3".

        Parameters
        ----------
        path : str or os.PathLike
        dtype : {float32, float64}
        quantize : {"int8", "bf16", "int4"}, optional
            The format in which affine maps have their weights, see `minilm.quantized`, with groups of 32. Blocks that have it in
            the file (Q4_0 and Q4_1 are int4, Q8_0 is int8) stay as they are, others are rounded. Without it all are floats.
        **changes
            Settings of the configuration that are to differ, such as ``max_position_embeddings=1024``.

        Raises
        ------
        FileNotFoundError
        ValueError
            The file is damaged, of another architecture, quantised in a way that is not read, or does not fit itself.
        """
        return llama_of_gguf(cls, path, dtype=dtype, quantize=quantize, **changes)

    @property
    def context(self) -> int:
        """Most tokens the model sees at once."""
        return self.config.max_position_embeddings

    @property
    def cache_shape(self) -> CacheShape:
        """The sizes of the keys and values that generation keeps."""
        return CacheShape(self.config.num_hidden_layers, self.config.groups, self.config.width)

    @property
    def embedding_scale(self) -> Any:
        """What the tokens' vectors are multiplied by: sqrt(D) of a Gemma, else 1."""
        return self.dtype.type(math.sqrt(self.config.hidden_size) if self.config.traits.gemma else 1)

    @property
    def head(self) -> Head:
        """What follows the last normalisation."""
        return Head(self.lm_head, self.config.final_logit_softcapping)

    # --- training ----------------------------------------------------------------------------------------------------

    def forward(self, ids: Ids, targets: Ids, *, key_mask: Array | None = None, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean cross-entropy of the targets, in nats a token; arguments and results are those of `GPT.forward`."""
        ids, targets = self._checked(ids, targets)
        x, hidden = self._hidden(ids, padding=left_padding(key_mask, ids), key=key)  # (B, T, D)
        logits, output = self.head.forward(x)  # (B, T, V)
        loss, saved = cross_entropy.forward(logits, targets)
        return loss, Saved(hidden, output, saved)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        tokens, layers, norm = saved.hidden
        dx = empty((*tokens.ids.shape, self.config.hidden_size), self.dtype, like=tokens.ids)  # (B, T, D)
        with scratch():  # dlogits, the largest array of a step, makes room for the blocks' gradients
            dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, T, V)
            dx[...] = self.norm.backward(self.head.backward(dlogits, saved.output), norm)
        dx = blocks.backward(self.layers, dx, layers)
        dx *= self.embedding_scale
        self.embed_tokens.backward(dx, tokens)

    # --- pieces ------------------------------------------------------------------------------------------------------

    def _hidden(self, ids, *, padding=None, cache=None, key=None, gradient: bool = True):
        """What the head reads, (B, T, D), and what each part saved; the arguments are those of `GPT`'s."""
        mask, positions, offset = mask_and_positions(ids, padding, cache)
        x, tokens = self.embed_tokens.forward(ids)  # (B, T, D)
        x *= self.embedding_scale
        rotation = self.rotary.rotation(x, self._reach(ids, cache), positions, offset)
        options = {"cache": cache, "key": at(key, "layers"), "gradient": gradient, "key_mask": mask}
        x, saved = blocks.forward(self.layers, x, rotation, **options)
        x, norm = self.norm.forward(x)
        return x, Hidden(tokens, saved, norm)

    def _reach(self, ids, cache) -> int:
        """No token is at a position behind the one before this."""
        if cache is None:
            return ids.shape[1]
        return self.context if cache.length is None else cache.length  # None: of a fixed cache, whose place the device knows

    @property
    def _tokens_table(self):
        return self.embed_tokens.weight.value

    def _logits(self, x):
        return self.head(x)

    def _token_reader(self, cache):
        return reader_of(self, cache, LlamaReader)

    def settings(self) -> str:
        config = self.config
        sizes = f"{config.num_hidden_layers} layers, hidden_size={config.hidden_size}, vocab_size={config.vocab_size}"
        return f"{config.family!r}, {sizes}"


def _norm(config: LlamaConfig, dtype):
    """Makes one of the model's normalisations."""
    return functools.partial(RMSNorm, config.hidden_size, config.rms_norm_eps, unit_offset=config.traits.gemma, dtype=dtype)


def _block(config: LlamaConfig, layer: int, options: dict) -> LlamaBlock:
    attention = GroupedQueryAttention(
        config.hidden_size,
        config.num_attention_heads,
        config.groups,
        head_dim=config.width,
        bias=config.traits.qkv_bias or config.attention_bias,
        output_bias=config.attention_bias,
        qk_norm_eps=config.rms_norm_eps if config.traits.qk_norm else None,
        window=config.window_of(layer),
        scale=config.scale,
        softcap=config.attn_logit_softcapping,
        dropout=config.attention_dropout,
        **options,
    )
    sizes = config.hidden_size, config.intermediate_size
    if config.traits.mixed:
        mlp = MixtureOfExperts(*sizes, config.experts, config.num_experts_per_tok, config.activation, **options)
    else:
        mlp = GatedFeedForward(*sizes, config.activation, bias=config.mlp_bias, **options)
    dtype = options["dtype"]
    return LlamaBlock(
        attention, mlp, _norm(config, dtype), sandwich=config.traits.sandwich, recompute=config.recompute, dtype=dtype
    )
