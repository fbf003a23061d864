"""Cases of `minilm gradcheck`: layers and models that label texts and words."""

from __future__ import annotations

import numpy as np

from minilm.gradcheck.cases.building import F64, KEY, mask_of, randomised, table
from minilm.layers import CRF, AttentionPooling, DotPooling, MeanPooling
from minilm.models import BERTClassifier, BERTConfig, IntentTagger, MeanClassifier, RecurrentClassifier, Tagger
from minilm.models.tagger import Spelling

__all__ = ["LAYERS", "MODELS"]


def _crf(*, B=2, T=4, K=3, lengths=None):
    rng = np.random.default_rng(21)
    layer = randomised(CRF(K, dtype=F64), rng)
    more = {} if lengths is None else {"lengths": np.array(lengths)}
    return layer, (rng.standard_normal((B, T, K)), rng.integers(0, K, (B, T))), more


def _pooling(kind, *, B=2, T=3, D=4, mask=None, **options):
    rng = np.random.default_rng(22)
    layer = kind() if kind is MeanPooling else randomised(kind(D, dtype=F64, **options), rng)
    return layer, (rng.standard_normal((B, T, D)),), {"mask": mask_of(mask)}


_POOLS = {"whole": {}, "padded": {"mask": ("110", "111")}, "nothing counts": {"mask": ("101", "000")}}

LAYERS = {
    "CRF": table(
        _crf,
        {
            "whole": {},
            "lengths": {"lengths": (3, 1)},
            "one step": {"T": 1},
            "one tag": {"K": 1},
            "larger": {"B": 5, "T": 9, "K": 7, "lengths": (9, 1, 4, 8, 2)},
        },
    ),
    "MeanPooling": table(_pooling, _POOLS, kind=MeanPooling),
    "AttentionPooling": table(_pooling, {**_POOLS, "narrow": {"attention_size": 2, "D": 5}}, kind=AttentionPooling),
    "DotPooling": table(_pooling, _POOLS, kind=DotPooling),
}

# --- models ----------------------------------------------------------------------------------------------------------


def _texts(rng, B=3, T=4, V=6, lengths=(4, 1, 3)):
    more = {} if lengths is None else {"lengths": np.array(lengths)}
    return (rng.integers(0, V, (B, T)), rng.integers(0, 3, B)), more


def _mean(*, lengths=(4, 1, 3), key=None, **options):
    rng = np.random.default_rng(23)
    model = randomised(MeanClassifier(6, 3, embedding_size=3, buckets=4, dtype=F64, **options), rng)
    inputs, more = _texts(rng, lengths=lengths)
    return model, inputs, {**more, "key": key}


def _recurrent(*, lengths=(4, 1, 3), key=None, **options):
    rng = np.random.default_rng(24)
    model = randomised(RecurrentClassifier(6, 3, embedding_size=3, hidden_size=2, dtype=F64, **options), rng)
    inputs, more = _texts(rng, lengths=lengths)
    return model, inputs, {**more, "key": key}


def _bert(*, key=None, **options):
    rng = np.random.default_rng(25)
    sizes = {"vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 5}
    config = BERTConfig(**sizes, max_position_embeddings=5, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    model = randomised(BERTClassifier(config, 3, dtype=F64, **options), rng)
    # id 0 is padding, whose vector gets no gradient by declaration, not by differentiation
    return model, (rng.integers(1, 7, (3, 4)), rng.integers(0, 3, 3)), {"lengths": np.array([4, 1, 3]), "key": key}


def _tagger(*, B=3, T=4, lengths=(4, 1, 3), key=None, characters=None, classes=None, **options):
    rng = np.random.default_rng(26)
    sizes = {"embedding_size": 3, "hidden_size": 2, "character_size": 2, "characters": characters}
    kind = (Tagger, 6, 3) if classes is None else (IntentTagger, 6, 3, classes)
    model = randomised(kind[0](*kind[1:], dtype=F64, **{**sizes, **options}), rng)
    more = {"key": key}
    if lengths is not None:
        more["lengths"] = np.array(lengths)
    if characters:
        more["spelling"] = Spelling(rng.integers(0, characters, (5, 3)), np.array([3, 1, 2, 3, 1]), rng.integers(0, 5, (B, T)))
    inputs = (rng.integers(0, 6, (B, T)), rng.integers(0, 3, (B, T)))
    if options.get("marks"):
        more["marks"] = rng.integers(0, options["marks"], (B, T))
    return model, inputs if classes is None else (*inputs, rng.integers(0, classes, B)), more


_DROPPED = {"dropout": 0.3, "word_dropout": 0.3, "key": KEY}

MODELS = {
    "MeanClassifier": table(
        _mean,
        {
            "words": {"ngrams": 1, "lengths": None},
            "pairs": {},
            "triples, hidden layer": {"ngrams": 3, "hidden_size": 2, "label_smoothing": 0.1},
            "dropout": {**_DROPPED, "hidden_size": 2},
        },
    ),
    "RecurrentClassifier": table(
        _recurrent,
        {
            "lstm": {},
            "gru": {"cell": "gru", "lengths": None},
            "mean": {"pooling": "mean"},
            "two layers, narrow": {"num_layers": 2, "attention_size": 3, "label_smoothing": 0.1},
            "dropout": {**_DROPPED, "num_layers": 2, "cell": "gru"},
        },
    ),
    "BERTClassifier": table(
        _bert, {"mean": {}, "cls": {"pooling": "cls"}, "dropout": {"dropout": 0.3, "label_smoothing": 0.1, "key": KEY}}
    ),
    "Tagger": table(
        _tagger,
        {
            "words": {},
            "whole rows": {"lengths": None, "cell": "gru"},
            "characters": {"characters": 4},
            "two layers": {"num_layers": 2, "characters": 4, "cell": "gru"},
            "dropout": {**_DROPPED, "characters": 4, "num_layers": 2, "marks": 2, "mark_size": 2},
        },
    ),
    "IntentTagger": table(
        _tagger,
        {
            "words": {},
            "whole rows": {"lengths": None, "cell": "gru"},
            "dropout": _DROPPED,
        },
        classes=3,
    ),
}
