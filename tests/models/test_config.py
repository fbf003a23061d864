"""Configurations and config.json."""

import contextlib
import dataclasses
import json

import pytest

from minilm import models
from minilm.layers import LayerNorm
from minilm.models import RNNLanguageModelConfig


def test_round_trip():
    config = RNNLanguageModelConfig(vocab_size=65, cell="gru", dropout=0.2, tied=True)
    settings = json.loads(json.dumps(config.to_dict()))
    assert settings["model_type"] == "rnn_lm" and models.config_of(settings) == config
    model = models.from_config(settings, seed=1)
    assert isinstance(model, models.RNNLanguageModel) and model.config == config
    assert config.replace(hidden_size=8).hidden_size == 8 and config.hidden_size == 256


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"vocab_size": 65, "hiden_size": 8}, "did you mean 'hidden_size'"),
        ({"vocab_size": 65, "zzz": 8}, "unknown key 'zzz'.*there are vocab_size"),
        ({"cell": "gru"}, "lacks vocab_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 65, "cell": "transformer"}, "cell must be one of"),
        ({"vocab_size": 65, "dropout": 1.0}, "dropout"),
        ({"vocab_size": 65, "cell": "gru", "forget_bias": 1.0}, "forget_bias is for"),
        ({"vocab_size": 65, "model_type": "gpt"}, "model_type"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        RNNLanguageModelConfig.from_dict(settings)


@pytest.mark.parametrize(
    "model, normalisations",
    [
        (lambda: models.GPT(models.GPTConfig(vocab_size=5, n_embd=4, n_layer=2, n_head=2, layer_norm_epsilon=0.25)), 5),
        (lambda: models.BERTForPreTraining(models.BERTConfig(5, 4, 2, 2, layer_norm_eps=0.25)), 6),
        (lambda: models.BERTForSequenceClassification(models.BERTConfig(5, 4, 2, 2, layer_norm_eps=0.25)), 5),
    ],
)
def test_every_normalisation_has_the_configuration_s_eps(model, normalisations):
    found = [layer.eps for _, layer in model().named_layers() if isinstance(layer, LayerNorm)]
    assert found == [0.25] * normalisations


CONFIGS = [models.GPTConfig, models.BERTConfig, RNNLanguageModelConfig, models.TransformerConfig, models.Seq2SeqConfig]
CONFIGS += [models.Word2VecConfig]


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_is_checked(kind):
    """A value that no setting may have is refused by its name, and None where that is not the default."""
    config = kind(vocab_size=8)
    for field in dataclasses.fields(kind):
        with pytest.raises((ValueError, TypeError), match=field.name):
            config.replace(**{field.name: {"wrong"}})
        may_be_none = field.default is None or field.name in ("pad_token_id", "attention")
        with contextlib.nullcontext() if may_be_none else pytest.raises((ValueError, TypeError), match=field.name):
            config.replace(**{field.name: None})


def test_layers_without_a_limit():
    assert models.TransformerConfig(8, encoder_layers=70, decoder_layers=70).encoder_layers == 70
    assert models.Seq2SeqConfig(8, num_layers=70).num_layers == RNNLanguageModelConfig(8, num_layers=70).num_layers == 70


def test_names_that_hugging_face_has():
    for kind, name in ((models.GPTConfig, "GPT2Config"), (models.BERTConfig, "BertConfig")):
        theirs = getattr(pytest.importorskip("transformers"), name)().to_dict()
        assert set(kind.hugging_face_names()) - {"num_labels"} <= set(theirs), name


def test_wrong_types():
    with pytest.raises(TypeError, match="hidden_size"):
        RNNLanguageModelConfig(vocab_size=65, hidden_size="256")
    with pytest.raises(TypeError, match="tied"):
        RNNLanguageModelConfig(vocab_size=65, tied=1)
    with pytest.raises(ValueError, match="model_type"):
        models.config_of({"model_type": "unheard"})
