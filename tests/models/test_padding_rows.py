"""The vector of padding, or of unknown words, is learned by no model that has one: it starts at zero, and gets no gradient."""

import numpy as np
import pytest

from minilm import models, optimizers
from minilm.layers import Embedding

SIZES = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 5, "num_labels": 3}
B, T = 3, 5


def bert(kind, labels, pad=0):
    def make(rng):
        config = models.BERTConfig(7, max_position_embeddings=8, pad_token_id=pad, **SIZES)
        model = kind(config, seed=0) if kind is not models.BERTClassifier else kind(config, 3, seed=0)
        table = "bert.embeddings.word_embeddings.weight"
        return model, table, pad, (rng.integers(0, 7, (B, T)), labels(rng)), {}

    return make


def reader(rng):
    model = models.Reader(9, 3, 2, features=0, seed=0)
    passage, question = rng.integers(1, 9, (B, T)), rng.integers(1, 9, (B, 3))
    passage[0, 3:] = question[1, 2:] = 0
    return model, "embedding.weight", 0, (passage, question, np.zeros((B, 2), np.int64)), {}


def words(make, inputs, **settings):
    def made(rng):
        model = make(7, 3, embedding_size=3, unk_id=2, seed=0, **settings)
        return model, "embedding.weight", 2, inputs(rng), {}

    return made


def texts(rng):
    return rng.integers(0, 7, (B, T)), rng.integers(0, 3, B)


def sentences(rng):
    return rng.integers(0, 7, (B, T)), rng.integers(0, 3, (B, T))


CASES = {
    "mean of words": words(models.MeanClassifier, texts),
    "recurrent classifier": words(models.RecurrentClassifier, texts, hidden_size=2),
    "tagger": words(models.Tagger, sentences, hidden_size=2),
    "sequence classification": bert(models.BERTForSequenceClassification, lambda rng: rng.integers(0, 3, B)),
    "token classification": bert(models.BERTForTokenClassification, lambda rng: rng.integers(0, 3, (B, T))),
    "question answering": bert(models.BERTForQuestionAnswering, lambda rng: np.sort(rng.integers(0, T, (B, 2)))),
    "padding is id 3": bert(models.BERTForSequenceClassification, lambda rng: rng.integers(0, 3, B), pad=3),
    "classifier": bert(models.BERTClassifier, lambda rng: rng.integers(0, 3, B)),
    "reader": reader,
}


@pytest.mark.parametrize("name", CASES)
def test_the_padding_row_is_not_learned(name):
    model, table, pad, inputs, options = CASES[name](np.random.default_rng(0))
    assert (inputs[0] == pad).any()
    _, saved = model.forward(*inputs, **options)
    model.backward(saved)
    gradient = model.parameters.gradients[table]  # (V, D)
    assert not gradient[pad].any() and np.count_nonzero(gradient.any(axis=1)) > 2
    before = model.parameters[table].copy()
    optimizers.AdamW(model.parameters, 0.1, weight_decay=0.5).step()
    assert not before[pad].any() and not model.parameters[table][pad].any()


def test_of_all_layers_with_padding_these_are_they():
    """A table with a padding id in a model that stands in no case above would be tested by nobody."""
    rng = np.random.default_rng(0)
    for name, make in CASES.items():
        model, table, pad, _, _ = make(rng)
        padded = [path for path, layer in model.named_layers() if isinstance(layer, Embedding) and layer.padding_idx is not None]
        assert padded == [table.removesuffix(".weight")], name
