"""Cases of `minilm gradcheck`: models that map one sequence to another, and their attention layers."""

from __future__ import annotations

import numpy as np

from minilm.gradcheck.cases.building import F64, KEY, mask_of, randomised, table
from minilm.layers import BahdanauAttention, LuongAttention
from minilm.models import PointerGenerator, Seq2Seq, Seq2SeqConfig, Transformer, TransformerConfig

__all__ = ["LAYERS", "MODELS"]


def _alignment(kind, *arguments, B=2, T=3, S=4, mask=None):
    rng = np.random.default_rng(21)
    layer = randomised(kind(*arguments, dtype=F64), rng)
    inputs = rng.standard_normal((B, T, layer.query_dim)), rng.standard_normal((B, S, layer.memory_dim))
    return layer, inputs, {"key_mask": mask_of(mask)}


def _model(kind, configuration, sizes, *, B=2, S=3, T=4, V=7, lengths=(3, 2), key=None, ignored=True, **settings):
    rng = np.random.default_rng(22)
    config = configuration(vocab_size=V, **{**sizes, **settings})
    model = randomised(kind(config, dtype=F64), rng)
    source, (inputs, targets) = rng.integers(0, V, (B, S)), rng.integers(0, config.outputs, (2, B, T))
    if ignored:
        targets[0, 1] = targets[-1, -1] = -100
    return model, (source, inputs, targets), {"lengths": None if lengths is None else np.array(lengths), "key": key}


_MASKED = {"masked": {"mask": ("0110", "0000")}}  # the second row has nothing to attend to

LAYERS = {
    "BahdanauAttention": {
        **table(_alignment, {"plain": {}, **_MASKED}, BahdanauAttention, 3, 2, 4),
        **table(_alignment, {"larger": {"B": 3, "T": 7, "S": 9}}, BahdanauAttention, 5, 8),
    },
    "LuongAttention": {
        **table(_alignment, {"general": {}, **_MASKED}, LuongAttention, 3, 2),
        **table(_alignment, {"dot": {}, "dot, masked": _MASKED["masked"]}, LuongAttention, 3, 3, "dot"),
        **table(_alignment, {"larger": {"B": 3, "T": 7, "S": 9}}, LuongAttention, 5, 8),
    },
}

_SEQ2SEQ = {
    "no attention": {"attention": None},
    "reverse": {"attention": None, "reverse": True},
    "peeky": {"attention": None, "peeky": True, "lengths": None},
    "bahdanau": {"attention": "bahdanau"},
    "luong": {"attention": "luong"},
    "dot": {"attention": "dot"},
    "bidirectional": {"attention": "bahdanau", "bidirectional": True},
    "input feeding": {"attention": "luong", "input_feeding": True},
    "input feeding, bahdanau, peeky": {"attention": "bahdanau", "input_feeding": True, "peeky": True},
    "attention first": {"attention": "bahdanau", "attend_first": True, "num_layers": 2},
    "attention first, peeky": {"attention": "dot", "attend_first": True, "peeky": True, "tied": True},
    "two layers": {"num_layers": 2, "bidirectional": True, "peeky": True},
    "side by side, peeky": {"attention": "luong", "combine": False, "peeky": True},
    "side by side, attention first": {"attention": "dot", "combine": False, "attend_first": True},
    "tied": {"tied": True, "embedding_size": 4, "target_vocab_size": 6},
    "tied, projected, shared": {"tied": True, "shared": True},
    "label smoothing": {"label_smoothing": 0.2},
    "dropout": {"dropout": 0.3, "key": KEY, "num_layers": 2},
    "all of it": {
        "attention": "bahdanau", "bidirectional": True, "reverse": True, "peeky": True, "input_feeding": True, "num_layers": 2,
        "tied": True, "shared": True, "dropout": 0.3, "label_smoothing": 0.1, "key": KEY,
    },
    "larger": {
        "B": 3, "S": 9, "T": 7, "V": 23, "lengths": (9, 1, 5), "hidden_size": 18, "embedding_size": 5, "reverse": True,
        "bidirectional": True, "peeky": True, "dropout": 0.2, "key": KEY,
    },
}  # fmt: skip

_TRANSFORMER = {
    "post-norm": {},
    "pre-norm": {"norm_first": True},
    "learned positions, not tied": {"positions": "learned", "tied": False, "max_positions": 5, "label_smoothing": 0.0},
    "positions of tensor2tensor, output bias": {"positions": "tensor2tensor", "output_bias": True, "norm_first": True},
    "two vocabularies": {"target_vocab_size": 6, "lengths": None, "ignored": False},
    "shared": {"shared": True},
    "dropout": {"dropout": 0.3, "attention_dropout": 0.3, "key": KEY},
    "larger": {
        "B": 3, "S": 9, "T": 7, "V": 23, "lengths": (9, 1, 5), "d_model": 12, "num_heads": 3, "norm_first": True, "shared": True,
        "dropout": 0.2, "key": KEY,
    },
}  # fmt: skip
_SIZES = {
    "d_model": 4, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2, "hidden_dim": 5, "activation": "gelu_erf",
    "dropout": 0.0,
}  # fmt: skip

MODELS = {
    "Seq2Seq": {
        **table(_model, {"no cell": {"carry_cell": False}}, Seq2Seq, Seq2SeqConfig, {"embedding_size": 3, "hidden_size": 4}),
        **{
            f"{cell}, {label}": build
            for cell in ("lstm", "gru")
            for label, build in table(
                _model, _SEQ2SEQ, Seq2Seq, Seq2SeqConfig, {"embedding_size": 3, "hidden_size": 4, "cell": cell}
            ).items()
        },
    },
    "PointerGenerator": table(
        _model,
        {
            "bahdanau": {"tied": True},
            "luong, bidirectional": {"attention": "luong", "bidirectional": True, "lengths": None, "cell": "gru"},
            "input feeding": {"input_feeding": True, "peeky": True},
            "dropout": {"dropout": 0.3, "key": KEY, "V": 4, "tied": True},
            "following": {"follow": True, "V": 2, "S": 6, "T": 5, "lengths": (6, 4)},
        },
        PointerGenerator,
        Seq2SeqConfig,
        {"embedding_size": 3, "hidden_size": 4, "attention": "bahdanau", "shared": True},
    ),
    "Transformer": table(_model, _TRANSFORMER, Transformer, TransformerConfig, _SIZES),
}
