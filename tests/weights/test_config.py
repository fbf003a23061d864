import json

import pytest

from minilm.weights import config_of, read_config, settings_of

GPT2 = {"model_type": "gpt2", "vocab_size": 50, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
}
GPT1 = {**GPT2, "model_type": "openai-gpt"}


def test_settings():
    assert settings_of({**GPT2, "resid_pdrop": 0, "n_ctx": 16, "something": "else"}) == {
        "family": "gpt2",
        **{name: value for name, value in GPT2.items() if name != "model_type"},
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "resid_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "activation": "gelu_tanh",
        "tie_word_embeddings": True,
        "n_inner": 32,
    }
    assert settings_of({**GPT2, "n_inner": None})["n_inner"] == 32 and settings_of({**GPT2, "n_inner": 10})["n_inner"] == 10
    found = settings_of({**BERT, "id2label": {"0": "a", "1": "b", "2": "c"}, "classifier_dropout": 0.2})
    assert (found["num_labels"], found["labels"], found["classifier_dropout"]) == (3, ["a", "b", "c"], 0.2)
    assert (found["activation"], found["layer_norm_eps"], found["pad_token_id"]) == ("gelu_erf", 1e-12, 0)
    assert settings_of({"model_type": "bert"})["hidden_size"] == 768


@pytest.mark.parametrize(
    "base, given, activation",
    [
        (GPT2, {"activation_function": "gelu"}, "gelu_erf"),
        (GPT2, {"activation_function": "gelu_pytorch_tanh"}, "gelu_tanh"),
        (GPT2, {"activation_function": "relu"}, "relu"),
        (GPT1, {}, "gelu_tanh"),
        (GPT1, {"afn": "gelu"}, "gelu_tanh"),  # there the name means the approximation
        (BERT, {"hidden_act": "gelu_new"}, "gelu_tanh"),
    ],
)
def test_activations(base, given, activation):
    assert settings_of({**base, **given})["activation"] == activation


@pytest.mark.parametrize(
    "config, message",
    [
        ({}, "model_type must be one of 'gpt2', 'openai-gpt', 'bert', .*got None"),
        ({**GPT2, "model_type": "bloom"}, "got 'bloom'"),
        ({**GPT2, "activation_function": "silu"}, "activation_function must be one of .*'gelu_new'.* got 'silu'"),
        ({**GPT1, "afn": "gelu_new"}, "afn must be one of 'gelu', 'relu', got 'gelu_new'"),
        ({**BERT, "hidden_act": ["gelu"]}, r"hidden_act must be one of .*, got \['gelu'\]"),
        ({**BERT, "position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key' is not supported"),
        ({**BERT, "is_decoder": True}, "is_decoder = True is not supported, wanted False"),
        ({**BERT, "embedding_size": 4}, "embedding_size = 4 is not supported"),
        ({**BERT, "num_attention_heads": 3}, "hidden_size = 8 must be a multiple of num_attention_heads = 3"),
        ({**BERT, "id2label": {"0": "a", "2": "b"}}, "id2label must be an object with the keys"),
        ({**BERT, "id2label": {"0": "a"}, "num_labels": 2}, "num_labels = 2, but id2label names 1"),
        ({**BERT, "classifier_dropout": 1.0}, r"classifier_dropout must be a rate in \[0, 1\), got 1.0"),
        ({**BERT, "pad_token_id": -1}, "pad_token_id must be a whole number or null, got -1"),
        ({**BERT, "layer_norm_eps": 0}, "layer_norm_eps must be positive, got 0"),
        ({**GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True is not supported"),
        ({**GPT2, "add_cross_attention": True}, "add_cross_attention = True is not supported"),
        ({**GPT2, "tie_word_embeddings": 0}, "tie_word_embeddings must be true or false, got 0"),
        ({**GPT2, "num_attention_heads": 4}, "num_attention_heads = 4 and n_head = 2 are two names of one setting"),
        ({"architectures": ["BloomForCausalLM"]}, "model_type must be one of .*, got None: write it into the file"),
        ({**GPT2, "n_layer": 0}, "n_layer must be a whole number of at least 1, got 0"),
        ({**GPT2, "n_layer": 2.0}, "n_layer must be a whole number of at least 1, got 2.0"),
        ({**GPT2, "n_embd": 10**12}, "n_embd must be a whole number"),
        ({**GPT2, "vocab_size": True}, "vocab_size must be a whole number of at least 1, got True"),
        ({**GPT2, "attn_pdrop": 1}, r"attn_pdrop must be a rate in \[0, 1\), got 1.0"),
        ({**GPT2, "attn_pdrop": "0.1"}, "attn_pdrop must be a number, got '0.1'"),
    ],
)
def test_what_is_not_supported(tmp_path, config, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
            read_config(path)


@pytest.mark.parametrize(
    "config",
    [GPT2, {**GPT2, "n_inner": 10, "activation_function": "relu"}, GPT1, BERT, {**BERT, "id2label": {"0": "a", "1": "b"}}],
)
def test_there_and_back(config):
    settings = settings_of(config)
    written = config_of(settings)
    if settings["family"] == "bert":  # which then has names for its labels, those that transformers gives them
        settings["labels"] = settings["labels"] or ["LABEL_0", "LABEL_1"]
    assert settings_of(written) == settings
    assert json.loads(json.dumps(written)) == written
    assert config_of(settings, "Other")["architectures"] == ["Other"]


def test_what_cannot_be_written():
    with pytest.raises(ValueError, match="family must be one of .*, got 'gpt3'"):
        config_of({"family": "gpt3"})
    with pytest.raises(ValueError, match="activation must be one of 'gelu_tanh', 'relu', got 'gelu_erf'"):
        config_of({"family": "openai-gpt", "activation": "gelu_erf"})
    with pytest.raises(ValueError, match="n_embd = 10 must be a multiple of n_head = 3"):
        config_of({"family": "gpt2", "n_embd": 10, "n_head": 3})


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not valid JSON"):
        read_config(tmp_path)
