"""A model that `Layer.to` has made float64 computes as one that was made so; and back."""

import numpy as np
import pytest

from minilm import models

IDS = np.random.default_rng(0).integers(0, 11, (2, 7))
LLAMA = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
TRANSFORMER = {"vocab_size": 11, "d_model": 8, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
BERT = models.BERTConfig(**LLAMA, max_position_embeddings=8)
MAKERS = {
    "rnn": lambda **o: models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=11, hidden_size=6), **o),
    "gpt": lambda **o: models.GPT(models.GPTConfig.gpt2(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=8), **o),
    "llama": lambda **o: models.Llama(models.LlamaConfig(**LLAMA), **o),
    "gemma2": lambda **o: models.Llama(models.LlamaConfig(family="gemma2", **LLAMA), **o),
    "mixtral": lambda **o: models.Llama(models.LlamaConfig(family="mixtral", **LLAMA), **o),
    "bert": lambda **o: models.BERT(BERT, **o),
    "seq2seq": lambda **o: models.Seq2Seq(models.Seq2SeqConfig(vocab_size=11, hidden_size=6, embedding_size=4), **o),
    "transformer": lambda **o: models.Transformer(models.TransformerConfig(**TRANSFORMER), **o),
}


def result(model, name):
    if name == "bert":
        return model.forward(IDS)[0].hidden
    if name in ("seq2seq", "transformer"):
        return model.forward(IDS, IDS[:, :-1], IDS[:, 1:])[0]
    return model.logits(IDS)[0]


@pytest.mark.parametrize("name", MAKERS)
def test_there_and_back(name):
    model = MAKERS[name](seed=0)
    before = result(model, name)  # what a model keeps beside its parameters is there then
    wide = MAKERS[name](seed=1, dtype=np.float64)
    wide.parameters.load_state_dict(model.parameters.state_dict())
    after = result(model.to(np.float64), name)
    assert np.asarray(after).dtype == np.float64 and np.array_equal(after, result(wide, name))
    assert np.array_equal(result(model.to(np.float32), name), before)
