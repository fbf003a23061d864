"""No two places of one training step drop by the same random numbers, in any model or layer that has dropout.

Backward draws each mask again from the key that forward had, so the gradient checks see nothing of two places that share a key:
the model is another one, and differentiated rightly. Here the keys themselves are recorded as the ops receive them.
"""

import numpy as np
import pytest

from minilm import models
from minilm.gradcheck.cases import LAYERS, MODELS
from minilm.gradcheck.cases.building import KEY
from minilm.layers import Layer
from minilm.layers.dropout import drops
from minilm.ops import attention, dropout
from minilm.sequential import GRU, LSTM, Bidirectional, Dense, Dropout, Embedding, Sequential, SpatialDropout1D


@pytest.fixture
def drawn(monkeypatch):
    """The key of each mask that is drawn, in the order of the draws."""
    keys = []
    drop, attend = dropout.forward, attention.forward

    def dropped(x, p, key, **options):
        keys.extend([key] * (0 < p < 1))
        return drop(x, p, key, **options)

    def attended(*arrays, **options):
        if options.get("dropout", 0) > 0:
            keys.append(options["rng"])
        return attend(*arrays, **options)

    monkeypatch.setattr(dropout, "forward", dropped)
    monkeypatch.setattr(attention, "forward", attended)
    return keys


CASES = {**LAYERS, **MODELS}
WITHOUT = {"Linear", "Embedding", "LayerNorm", "FeedForward", "PositionalEmbedding", "SinusoidalPositions", "CRF"}
WITHOUT |= {
    "MeanPooling",
    "DotPooling",
    "WindowLanguageModel",
    "AttentionPooling",
    "BahdanauAttention",
    "LuongAttention",
    "Word2Vec",
    "RMSNorm",
    "GatedFeedForward",
    "MixtureOfExperts",
}


@pytest.mark.parametrize("name", CASES)
def test_no_two_places_share_a_key(name, drawn):
    """In any case of `minilm gradcheck`, among which one has dropout unless the layer has none."""
    most = 0
    for label, build in CASES[name].items():
        thing, inputs, options = build()
        drawn.clear()
        thing.forward(*inputs, **options)
        assert len(set(drawn)) == len(drawn), f"{label}: several masks of the places {[key.place for key in drawn]}"
        assert not isinstance(thing, Layer) or drops(thing) or not drawn, f"{label}: {len(drawn)} masks without a rate"
        most = max(most, len(drawn))
    assert (most == 0) == (name in WITHOUT), f"{most} masks"


# --- how many ---------------------------------------------------------------------------------------------------------

L = 3  # layers: what is drawn for each of them differs from what is drawn once
BLOCK = 3  # the weights of attention, what attention adds, what the feed-forward network adds


def rnn_lm():
    sizes = {"embedding_size": 4, "hidden_size": 4, "num_layers": L, "tied": True}
    config = models.RNNLanguageModelConfig(5, dropout=0.5, weight_dropout=0.5, **sizes)
    return models.RNNLanguageModel(config, seed=0), 2, 1 + (L - 1) + L + 1  # input, between layers, weights, output


def gpt():
    return models.GPT(models.GPTConfig(vocab_size=5, n_positions=4, n_embd=4, n_layer=L, n_head=2), seed=0), 2, 1 + L * BLOCK


def bert(kind, head=0):
    sizes = {"hidden_size": 4, "num_hidden_layers": L, "num_attention_heads": 2, "intermediate_size": 5}
    return kind(models.BERTConfig(5, max_position_embeddings=8, num_labels=5, **sizes), seed=0), 2, 1 + L * BLOCK + head


def transformer():
    sizes = {"d_model": 4, "num_heads": 2, "encoder_layers": 2, "decoder_layers": L, "hidden_dim": 5}
    config = models.TransformerConfig(5, dropout=0.5, attention_dropout=0.5, **sizes)
    return models.Transformer(config, seed=0), 3, 1 + 2 * BLOCK + 1 + L * (BLOCK + 2)  # a decoder's block has one attention more


def seq2seq(steps=1, **settings):
    config = models.Seq2SeqConfig(5, embedding_size=4, hidden_size=4, num_layers=L, dropout=0.5, **settings)
    return models.Seq2Seq(config, seed=0), 3, 1 + (L - 1) + 1 + steps * (L - 1) + 1  # both embeddings, both stacks, output


MASKS = {
    "RNNLanguageModel": rnn_lm,
    "GPT": gpt,
    "BERTForPreTraining": lambda: bert(models.BERTForPreTraining),
    "BERTForQuestionAnswering": lambda: bert(models.BERTForQuestionAnswering),
    "BERTForTokenClassification": lambda: bert(models.BERTForTokenClassification, head=1),
    "Transformer": transformer,
    "Seq2Seq": seq2seq,
    "Seq2Seq, a step after another": lambda: seq2seq(T, attention="dot", input_feeding=True),
}
B, T = 2, 4


@pytest.mark.parametrize("make", MASKS.values(), ids=MASKS)
def test_every_place_draws(make, drawn):
    """As many masks as the model's page names places: none is forgotten, and none shares another's."""
    model, arrays, masks = make()
    ids = [np.random.default_rng(0).integers(1, 5, (B, T)) for _ in range(arrays)]
    if isinstance(model, models.BERTForQuestionAnswering):
        ids[1] = ids[1][:, :2] - 1  # where the answers begin and end
    model.forward(*ids, key=KEY)
    assert len(drawn) == len(set(drawn)) == masks


def test_sequential_draws_at_every_layer(drawn):
    layers = [
        Embedding(7, 4), SpatialDropout1D(0.5), Dropout(0.5), Bidirectional(LSTM(4, return_sequences=True, dropout=0.5)),
        GRU(4, dropout=0.5, recurrent_dropout=0.5), Dropout(0.5), Dense(3, "softmax"),
    ]  # fmt: skip
    model = Sequential(layers, seed=0)
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    model.build((None, T))
    model.forward(np.ones((B, T), np.int64), np.zeros(B, np.int64), key=KEY)
    assert len(drawn) == len(set(drawn)) == 2 + 2 + 2 + 1
    drawn.clear()
    model.fit(np.ones((6, T), np.int64), np.zeros(6, np.int64), batch_size=B, epochs=2, verbose=0)
    assert len(drawn) == len(set(drawn)) == 2 * 3 * 7  # no step drops like another
