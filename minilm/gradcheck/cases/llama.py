"""Cases of `minilm gradcheck`: the layers of Llama's family, and the model."""

from __future__ import annotations

import numpy as np

from minilm.gradcheck.cases.building import F64, KEY, mask_of, randomised, table
from minilm.layers import GatedFeedForward, GroupedQueryAttention, Layer, LlamaBlock, MixtureOfExperts, RMSNorm
from minilm.layers.rotary import RotaryPositions
from minilm.models import Llama, LlamaConfig

__all__ = ["LAYERS", "MODELS"]


def _norm(unit_offset):
    rng = np.random.default_rng(41)
    return randomised(RMSNorm(5, unit_offset=unit_offset, dtype=F64), rng), (rng.standard_normal((2, 3, 5)),), {}


def _feed_forward(**options):
    rng = np.random.default_rng(42)
    return randomised(GatedFeedForward(4, 5, dtype=F64, **options), rng), (rng.standard_normal((2, 3, 4)),), {}


def _mixture(**options):
    rng = np.random.default_rng(47)
    return randomised(MixtureOfExperts(4, 5, 4, dtype=F64, **options), rng), (rng.standard_normal((2, 5, 4)),), {}


def _attention(*, B=2, T=5, D=6, heads=4, groups=2, width=4, mask=None, key=None, **options):
    rng = np.random.default_rng(43)
    layer = randomised(GroupedQueryAttention(D, heads, groups, head_dim=width, dtype=F64, **options), rng)
    return _AtPositions(layer, width), (rng.standard_normal((B, T, D)),), {"key_mask": mask_of(mask), "key": key}


class _AtPositions(Layer):
    """A layer of tokens at positions 0, 1, ...: the rotation by these is nothing to differentiate by."""

    def __init__(self, layer: Layer, width: int):
        super().__init__(dtype=F64)
        self.layer, self.positions = layer, RotaryPositions(width, base=50.0, dtype=F64)

    def forward(self, x, **options):
        return self.layer.forward(x, self.positions.rotation(x, len(x[0])), **options)

    def backward(self, dy, saved):
        return self.layer.backward(dy, saved)


def _block(*, key=None, dropout=0.0, **options):
    rng, x = np.random.default_rng(44), np.random.default_rng(45).standard_normal((2, 3, 4))
    attention = GroupedQueryAttention(4, 2, 1, dropout=dropout, dtype=F64)
    block = LlamaBlock(attention, GatedFeedForward(4, 5, dtype=F64), lambda: RMSNorm(4, dtype=F64), dtype=F64, **options)
    return _AtPositions(randomised(block, rng), 2), (x,), {"key": key}


def _llama(*, B=2, T=4, V=5, mask=None, key=None, ignored=False, **settings):
    rng = np.random.default_rng(46)
    sizes = {"hidden_size": 4, "intermediate_size": 5, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(**{"vocab_size": V, "max_position_embeddings": T + 1, **sizes, **settings})
    ids, targets = rng.integers(0, V, (2, B, T))  # (B, T) each
    if ignored:
        targets[0, 1] = targets[-1, -1] = -100
    return randomised(Llama(config, dtype=F64), rng), (ids, targets), {"key_mask": mask_of(mask), "key": key}


LAYERS = {
    "RMSNorm": table(_norm, {"plain": {"unit_offset": False}, "1 + weight": {"unit_offset": True}}),
    "GatedFeedForward": table(_feed_forward, {"silu": {}, "gelu_tanh, biased": {"activation": "gelu_tanh", "bias": True}}),
    "MixtureOfExperts": table(
        _mixture,
        {
            "two of four": {},
            "one": {"experts_per_token": 1},
            "gelu_tanh, all": {"experts_per_token": 4, "activation": "gelu_tanh"},
        },
    ),
    "GroupedQueryAttention": table(
        _attention,
        {
            "plain": {},
            "biased, normalised heads": {"bias": True, "output_bias": True, "qk_norm_eps": 1e-6},
            "window, softcap": {"window": 3, "softcap": 1.5, "scale": 0.6},
            "masked": {"mask": ("00111", "11110")},
            "one head of keys, dropout": {"groups": 1, "dropout": 0.3, "key": KEY},
        },
    ),
    "LlamaBlock": table(
        _block, {"plain": {}, "sandwich": {"sandwich": True}, "recompute": {"recompute": True, "dropout": 0.3, "key": KEY}}
    ),
}
BIASED = {"attention_bias": True, "mlp_bias": True}
GEMMA = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True}
CAPS = {"query_pre_attn_scalar": 3.0, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0}
MODELS = {
    "Llama": table(
        _llama,
        {
            "padding, ignored targets": {"mask": ("0011", "0111"), "ignored": True},
            "biased, tied, dropout": {**BIASED, "tie_word_embeddings": True, "attention_dropout": 0.3, "key": KEY},
            "mistral, recompute": {"family": "mistral", "sliding_window": 2, "recompute": True},
            "mixtral": {"family": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2},
            "qwen3": {"family": "qwen3", "head_dim": 4},
            "gemma2": {"family": "gemma2", **GEMMA, **CAPS, "sliding_window": 2, "window_layers": "even"},
        },
    ),
}
