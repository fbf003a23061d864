"""Cases of `minilm gradcheck`: layers and models of transformers."""

from __future__ import annotations

import numpy as np

from minilm.gradcheck.cases.building import F64, KEY, mask_of, randomised, table
from minilm.layers import FeedForward, MultiHeadAttention, PositionalEmbedding, SinusoidalPositions, TransformerBlock
from minilm.models import (
    GPT,
    BERTConfig,
    BERTForPreTraining,
    BERTForQuestionAnswering,
    BERTForSequenceClassification,
    BERTForTokenClassification,
    GPTConfig,
)

__all__ = ["LAYERS", "MODELS"]


# --- layers ----------------------------------------------------------------------------------------------------------


def _attention(*, B=2, T=3, S=None, D=4, heads=2, mask=None, key=None, **options):
    rng = np.random.default_rng(11)
    layer = randomised(MultiHeadAttention(D, heads, dtype=F64, **options), rng)
    inputs = [rng.standard_normal((B, T, D))]
    if S is not None:
        inputs.append(0.5 * rng.standard_normal((B, S, layer.key.in_features)))
    return layer, tuple(inputs), {"key_mask": mask_of(mask), "key": key}


def _block(*, B=2, T=3, S=None, D=4, heads=2, mask=None, memory_mask=None, key=None, **options):
    rng = np.random.default_rng(12)
    layer = randomised(TransformerBlock(D, heads, hidden_dim=5, cross_attention=S is not None, dtype=F64, **options), rng)
    inputs = [rng.standard_normal((B, T, D))] + ([] if S is None else [rng.standard_normal((B, S, D))])
    return layer, tuple(inputs), {"key_mask": mask_of(mask), "memory_mask": mask_of(memory_mask), "key": key}


def _feed_forward(activation):
    rng = np.random.default_rng(13)
    layer = randomised(FeedForward(4, 5, activation, dtype=F64), rng)
    if activation == "relu":
        while np.abs((x := rng.standard_normal((2, 3, 4))) @ layer.c_fc.weight.value.T + layer.c_fc.bias.value).min() < 0.03:
            pass
    else:
        x = rng.standard_normal((2, 3, 4))
    return layer, (x,), {}


def _positions(kind, *, positions=None, offset=0):
    rng = np.random.default_rng(14)
    x = rng.standard_normal((2, 3, 4))
    if kind is SinusoidalPositions:
        return SinusoidalPositions(4, dtype=F64), (x,), {"offset": offset}
    more = {"offset": offset} if positions is None else {"positions": np.array(positions)}
    return randomised(PositionalEmbedding(7, 4, dtype=F64), rng), (x,), more


_HIDDEN = ("011", "000")  # the second text has nothing to attend to

LAYERS = {
    "FeedForward": table(_feed_forward, {name: {"activation": name} for name in ("gelu_tanh", "gelu_erf", "relu")}),
    "PositionalEmbedding": table(
        _positions,
        {"from 0": {}, "from 2": {"offset": 2}, "given": {"positions": [[0, 0, 1], [5, 6, 0]]}},
        kind=PositionalEmbedding,
    ),
    "SinusoidalPositions": table(_positions, {"from 3": {"offset": 3}}, kind=SinusoidalPositions),
    "MultiHeadAttention": table(
        _attention,
        {
            "fused": {},
            "causal": {"causal": True},
            "band": {"causal": True, "band": 2, "T": 5},
            "masked": {"mask": _HIDDEN},
            "causal, masked": {"mask": ("001", "110"), "causal": True},
            "three projections": {"fused": False},
            "three projections, masked": {"fused": False, "mask": _HIDDEN},
            "memory": {"fused": False, "S": 4, "memory_dim": 3},
            "memory, masked": {"fused": False, "S": 4, "mask": ("0110", "0000")},
            "dropout": {"dropout": 0.4, "key": KEY},
            "larger": {"B": 3, "T": 9, "D": 15, "heads": 5, "causal": True, "dropout": 0.2, "key": KEY},
        },
    ),
    "TransformerBlock": table(
        _block,
        {
            "pre-norm": {"causal": True},
            "post-norm": {"norm_first": False, "fused": False, "activation": "gelu_erf"},
            "masked": {"mask": _HIDDEN},
            "memory, pre-norm": {"S": 2, "causal": True, "memory_mask": ("01", "11")},
            "memory, post-norm": {"S": 2, "norm_first": False},
            "dropout": {"dropout": 0.3, "attention_dropout": 0.3, "key": KEY},
            "recompute": {"recompute": True, "dropout": 0.3, "attention_dropout": 0.3, "key": KEY, "mask": ("011", "111")},
            "recompute, memory, post-norm": {"recompute": True, "S": 2, "norm_first": False, "dropout": 0.3, "key": KEY},
        },
    ),
}

# --- models ----------------------------------------------------------------------------------------------------------


def _gpt(*, B=2, T=4, V=5, mask=None, key=None, ignored=False, **settings):
    rng = np.random.default_rng(15)
    sizes = {"vocab_size": V, "n_positions": T + 1, "n_embd": 4, "n_layer": 2, "n_head": 2, "n_inner": 5}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if key is None else {}
    model = randomised(GPT(GPTConfig(**{**sizes, **drops, **settings}), dtype=F64), rng)
    ids, targets = rng.integers(0, V, (2, B, T))  # (B, T) each
    if ignored:
        targets[0, 1] = targets[-1, -1] = -100
    return model, (ids, targets), {"key_mask": mask_of(mask), "key": key}


def _bert_settings(key, T):
    settings = {"vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 5}
    rate = 0.0 if key is None else 0.3
    return {
        **settings,
        "max_position_embeddings": T + 1,
        "hidden_dropout_prob": rate,
        "attention_probs_dropout_prob": rate,
        "num_labels": 3,
    }


def _bert(kind, *, B=2, T=4, key=None, follows=True, mask=("1111", "1110"), **settings):
    rng = np.random.default_rng(16)
    model = randomised(kind(BERTConfig(**{**_bert_settings(key, T), **settings}), dtype=F64), rng)
    # id 0 is padding, whose vector gets no gradient by declaration, not by differentiation: of a masked word's head it does
    ids = rng.integers(1, 7, (B, T))  # (B, T)
    types = np.array([[0, 0, 1, 1], [0, 1, 1, 0]])  # (B, T)
    more = {"token_type_ids": types, "key_mask": mask_of(mask), "key": key}
    if kind is BERTForPreTraining:
        targets = np.array([[-100, 3, -100, 0], [6, -100, -100, -100]])  # (B, T)
        return model, (ids, targets), {**more, "next_sentence": np.array([1, 0]) if follows else None}
    labels = {
        BERTForSequenceClassification: np.array([2, 0]),
        BERTForTokenClassification: np.array([[0, 1, 2, -100], [1, -100, 0, -100]]),
        BERTForQuestionAnswering: np.array([[1, 2], [0, 3]]),
    }[kind]
    return model, (ids, labels), more


_BERTS = {"plain": {}, "dropout": {"key": KEY}, "recompute, dropout": {"key": KEY, "recompute": True}}

MODELS = {
    "GPT": table(
        _gpt,
        {
            "pre-norm": {},
            "post-norm": {"norm_first": False, "activation_function": "gelu"},
            "banded": {"band": 2},
            "padding, ignored targets": {"mask": ("0111", "0011"), "ignored": True},
            "dropout": {"key": KEY, "ignored": True},
            "recompute, dropout": {"key": KEY, "recompute": True},
            "larger": {"B": 3, "T": 9, "V": 31, "n_embd": 15, "n_head": 3, "n_layer": 3, "band": 4, "key": KEY},
        },
    ),
    "BERTForPreTraining": table(
        _bert, {**_BERTS, "masked words alone": {"follows": False}, "no padding": {"mask": None}}, kind=BERTForPreTraining
    ),
    "BERTForSequenceClassification": table(_bert, _BERTS, kind=BERTForSequenceClassification),
    "BERTForTokenClassification": table(_bert, _BERTS, kind=BERTForTokenClassification),
    "BERTForQuestionAnswering": table(_bert, _BERTS, kind=BERTForQuestionAnswering),
}
