"""The cases of `minilm gradcheck` for what labels texts and words; as `minilm.checking.modules`, which has the others."""

from __future__ import annotations

import functools

import numpy as np

from minilm.layers import CRF, AttentionPooling, MeanPooling
from minilm.models import BERTClassifier, BERTConfig, MeanClassifier, RecurrentClassifier, Tagger
from minilm.models.tagger import Spelling
from minilm.random import Key

__all__ = ["LAYERS", "MODELS"]

F64 = np.float64
KEY = Key(seed=3, step=2)


def _moved(thing, rng):
    """`thing` with all parameters drawn anew, of either sign and none near zero."""
    for value in thing.parameters.values():
        value[...] = rng.uniform(0.2, 0.8, value.shape) * rng.choice([-1.0, 1.0], value.shape)
    return thing


def _mask(rows):
    """Rows of "1" and "0" as an array of bool."""
    return None if rows is None else np.array([[c == "1" for c in row] for row in rows])


def _crf(*, B=2, T=4, K=3, lengths=None):
    rng = np.random.default_rng(21)
    layer = _moved(CRF(K, dtype=F64), rng)
    given = {} if lengths is None else {"lengths": np.array(lengths)}
    return layer, (rng.standard_normal((B, T, K)), rng.integers(0, K, (B, T))), given


def _pooling(kind, *, B=2, T=3, D=4, mask=None, **options):
    rng = np.random.default_rng(22)
    layer = kind() if kind is MeanPooling else _moved(kind(D, dtype=F64, **options), rng)
    return layer, (rng.standard_normal((B, T, D)),), {"mask": _mask(mask)}


def _cases(build, cases, **more):
    return {label: functools.partial(build, **{**more, **options}) for label, options in cases.items()}


_POOLS = {"whole": {}, "padded": {"mask": ("110", "111")}, "nothing counts": {"mask": ("101", "000")}}

LAYERS = {
    "CRF": _cases(
        _crf,
        {
            "whole": {},
            "lengths": {"lengths": (3, 1)},
            "one step": {"T": 1},
            "one tag": {"K": 1},
            "larger": {"B": 5, "T": 9, "K": 7, "lengths": (9, 1, 4, 8, 2)},
        },
    ),
    "MeanPooling": _cases(_pooling, _POOLS, kind=MeanPooling),
    "AttentionPooling": _cases(_pooling, {**_POOLS, "narrow": {"attention_size": 2, "D": 5}}, kind=AttentionPooling),
}

# --- models ----------------------------------------------------------------------------------------------------------


def _texts(rng, B=3, T=4, V=6, lengths=(4, 1, 3)):
    given = {} if lengths is None else {"lengths": np.array(lengths)}
    return (rng.integers(0, V, (B, T)), rng.integers(0, 3, B)), given


def _mean(*, lengths=(4, 1, 3), key=None, **options):
    rng = np.random.default_rng(23)
    model = _moved(MeanClassifier(6, 3, embedding_size=3, buckets=4, dtype=F64, **options), rng)
    inputs, given = _texts(rng, lengths=lengths)
    return model, inputs, {**given, "key": key}


def _recurrent(*, lengths=(4, 1, 3), key=None, **options):
    rng = np.random.default_rng(24)
    model = _moved(RecurrentClassifier(6, 3, embedding_size=3, hidden_size=2, dtype=F64, **options), rng)
    inputs, given = _texts(rng, lengths=lengths)
    return model, inputs, {**given, "key": key}


def _bert(*, key=None, **options):
    rng = np.random.default_rng(25)
    sizes = {"vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 5}
    config = BERTConfig(**sizes, max_position_embeddings=5, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    model = _moved(BERTClassifier(config, 3, dtype=F64, **options), rng)
    # id 0 is padding, whose vector gets no gradient by declaration, not by differentiation
    return model, (rng.integers(1, 7, (3, 4)), rng.integers(0, 3, 3)), {"lengths": np.array([4, 1, 3]), "key": key}


def _tagger(*, B=3, T=4, lengths=(4, 1, 3), key=None, characters=None, **options):
    rng = np.random.default_rng(26)
    sizes = {"embedding_size": 3, "hidden_size": 2, "character_size": 2, "characters": characters}
    model = _moved(Tagger(6, 3, dtype=F64, **{**sizes, **options}), rng)
    given = {"key": key}
    if lengths is not None:
        given["lengths"] = np.array(lengths)
    if characters:
        given["spelling"] = Spelling(rng.integers(0, characters, (5, 3)), np.array([3, 1, 2, 3, 1]), rng.integers(0, 5, (B, T)))
    return model, (rng.integers(0, 6, (B, T)), rng.integers(0, 3, (B, T))), given


_DROPPED = {"dropout": 0.3, "word_dropout": 0.3, "key": KEY}

MODELS = {
    "MeanClassifier": _cases(
        _mean,
        {
            "words": {"ngrams": 1, "lengths": None},
            "pairs": {},
            "triples, hidden layer": {"ngrams": 3, "hidden_size": 2, "label_smoothing": 0.1},
            "dropout": {**_DROPPED, "hidden_size": 2},
        },
    ),
    "RecurrentClassifier": _cases(
        _recurrent,
        {
            "lstm": {},
            "gru": {"cell": "gru", "lengths": None},
            "mean": {"pooling": "mean"},
            "two layers, narrow": {"num_layers": 2, "attention_size": 3, "label_smoothing": 0.1},
            "dropout": {**_DROPPED, "num_layers": 2, "cell": "gru"},
        },
    ),
    "BERTClassifier": _cases(
        _bert, {"mean": {}, "cls": {"pooling": "cls"}, "dropout": {"dropout": 0.3, "label_smoothing": 0.1, "key": KEY}}
    ),
    "Tagger": _cases(
        _tagger,
        {
            "words": {},
            "whole rows": {"lengths": None, "cell": "gru"},
            "characters": {"characters": 4},
            "two layers": {"num_layers": 2, "characters": 4, "cell": "gru"},
            "dropout": {**_DROPPED, "characters": 4, "num_layers": 2},
        },
    ),
}
