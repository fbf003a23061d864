"""Any model in one file: what comes back computes the same, and a file of a stranger runs nothing."""

import json

import numpy as np
import pytest
import safetensors.numpy

from minilm import layers, models
from minilm.gradcheck.cases import LAYERS as CHECKED_LAYERS
from minilm.gradcheck.cases import MODELS as CHECKED_MODELS
from minilm.random import Key

IDS = np.arange(1, 9).reshape(2, 4)
LENGTHS = np.array([4, 3])
BERT = models.BERTConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8)

MODELS = {
    "rnn_lm": lambda: models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=11, hidden_size=6), seed=3),
    "tied": lambda: models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=11, hidden_size=6, tied=True), seed=3),
    "gpt": lambda: models.GPT(models.GPTConfig.gpt2(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=11), seed=3),
    "banded": lambda: models.GPT(models.GPTConfig(n_layer=2, n_head=2, n_embd=8, n_positions=8, vocab_size=11, band=2), seed=3),
    "bert": lambda: models.BERT(BERT, seed=3),
    "no pooler": lambda: models.BERT(BERT, pooler=False, seed=3),
    "pretraining": lambda: models.BERTForPreTraining(BERT, seed=3),
    "bert classifier": lambda: models.BERTClassifier(BERT, 3, pooling="cls", seed=3),
    "questions": lambda: models.BERTForQuestionAnswering(BERT, seed=3),
    "bags": lambda: models.MeanClassifier(11, 3, embedding_size=4, buckets=32, seed=3),
    "recurrent": lambda: models.RecurrentClassifier(11, 3, embedding_size=4, hidden_size=6, seed=3),
    "tagger": lambda: models.Tagger(11, 3, embedding_size=4, hidden_size=6, cell="gru", seed=3),
    "reader": lambda: models.Reader(11, 4, 6, features=0, seed=3),
    "memory": lambda: models.MemoryNetwork(11, 4, hops=2, memory_size=5, seed=3),
    "seq2seq": lambda: models.Seq2Seq(models.Seq2SeqConfig(vocab_size=11, embedding_size=4, hidden_size=6), seed=3),
    "transformer": lambda: models.Transformer(
        models.TransformerConfig(vocab_size=11, d_model=8, num_heads=2, encoder_layers=1, decoder_layers=1), seed=3
    ),
    "word2vec": lambda: models.Word2Vec(models.Word2VecConfig(vocab_size=11, size=4), seed=3),
    "lstm": lambda: layers.LSTM(4, 6, num_layers=2, bidirectional=True, seed=3),
    "block": lambda: layers.TransformerBlock(8, 2, causal=True, initialise=layers.initialisers.normal(0.1), seed=3),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back_as_it_was(kind, dtype, tmp_path):
    model = MODELS[kind]().to(dtype)
    for value in model.parameters.values():
        value += 0.25  # no longer what a seed gives
    models.save(model, tmp_path / "model.safetensors")
    again = models.load(tmp_path / "model.safetensors")
    assert type(again) is type(model) and again.dtype == dtype and repr(again) == repr(model)
    assert getattr(again, "config", None) == getattr(model, "config", None)
    assert list(again.parameters) == list(model.parameters) and again.parameters.aliases == model.parameters.aliases
    assert np.array_equal(again.parameters.flat, model.parameters.flat)
    stored = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert set(stored) == set(model.parameters)
    models.save(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", [*CHECKED_LAYERS, *CHECKED_MODELS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_comes_back_in_its_dtype(name, dtype, tmp_path):
    """Each class in the cases of `minilm gradcheck`, also of those whose layers have no parameters that would say it."""
    for label, build in (CHECKED_LAYERS | CHECKED_MODELS)[name].items():
        layer = build()[0]
        if not isinstance(layer, layers.Layer) or type(layer).__name__ not in {*layers.__all__, *models.__all__}:
            continue
        layer.to(dtype)
        models.save(layer, tmp_path / "layer.safetensors")
        again = models.load(tmp_path / "layer.safetensors")
        assert [(path, type(part), part.dtype) for path, part in again.named_layers()] == [
            (path, type(part), np.dtype(dtype)) for path, part in layer.named_layers()
        ], label
        assert np.array_equal(again.parameters.flat, layer.parameters.flat), label


def test_it_computes_the_same_dropout_too(tmp_path):
    model = models.Tagger(11, 3, embedding_size=4, hidden_size=6, dropout=0.3, word_dropout=0.1, unk_id=1, seed=3)
    models.save(model, tmp_path / "model.safetensors")
    again = models.load(tmp_path / "model.safetensors")
    tags = IDS % 3
    assert model.forward(IDS, tags, LENGTHS, key=Key(5))[0] == again.forward(IDS, tags, LENGTHS, key=Key(5))[0]


class Own(layers.Layer):
    """A model of somebody's own."""

    def __init__(self, sizes, *, options=None, activation=None, **more):
        super().__init__(**more)
        self.options, self.activation = options, activation
        self.parts = [layers.Linear(size, size, seed=0) for size in sizes]


def test_a_class_of_ones_own(tmp_path):
    path = tmp_path / "own.safetensors"
    models.save(Own((2, 3), options={"depth": [1, None, "x"], "rate": np.float32(0.5)}), path)
    again = models.load(path, Own)
    assert len(again.parts) == 2 and again.options == {"depth": [1, None, "x"], "rate": 0.5}
    with pytest.raises(ValueError, match="holds a Own, which is no model of minilm: give its class"):
        models.load(path)
    with pytest.raises(ValueError, match="holds a Own, and kind is Tagger"):
        models.load(path, models.Tagger)
    with pytest.raises(TypeError, match="Own was made with activation=.* no file can hold"):
        models.save(Own((2,), activation=np.tanh), path)
    assert len(models.load(path, Own).parts) == 2, "what could not be saved has not harmed what was there"
    with pytest.raises(TypeError, match="model must be a Layer"):
        models.save({"a": 1}, path)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "not written by models.save"),
        ("[", "do not describe a model"),
        ("[1]", "do not describe a model"),
        ('{"class": "Tagger"}', "do not describe a model"),
        ('{"class": "os.system", "arguments": {}}', "no model of minilm"),
        ('{"class": "Config", "arguments": {}}', "no model of minilm"),
        ('{"class": "Tagger", "arguments": {"vocab_size": 11, "num_tags": 3, "wrong": 1}}', "wrong"),
        ('{"class": "Tagger", "arguments": {"vocab_size": 11, "num_tags": 99}}', "does not hold a whole Tagger"),
        ('{"class": "Tagger", "arguments": {"vocab_size": 1000000000000, "num_tags": 3}}', "vocab_size"),
        ('{"class": "Tagger", "arguments": {"vocab_size": 2000000000, "num_tags": 3}}', "far larger model"),
        ('{"class": "GPT", "arguments": {"config": {"config": {"model_type": "no"}}}}', "unknown kind of model"),
        ('{"class": "GPT", "arguments": {"config": 3}}', "does not hold a whole GPT"),
    ],
)
def test_a_file_of_a_stranger(content, message, tmp_path):
    model = models.Tagger(11, 3, embedding_size=4, hidden_size=6)
    metadata = {"format": "np"} if content is None else {"format": "np", "minilm_model": content}
    safetensors.numpy.save_file(dict(model.parameters), tmp_path / "model.safetensors", metadata)
    with pytest.raises(ValueError, match=message):
        models.load(tmp_path / "model.safetensors")


def test_what_the_file_says_of_itself(tmp_path):
    models.save(MODELS["gpt"](), tmp_path / "model.safetensors")
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        content = json.loads(file.metadata()["minilm_model"])
    assert content["class"] == "GPT" and content["arguments"]["config"]["config"]["n_embd"] == 8
