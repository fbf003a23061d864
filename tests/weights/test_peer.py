"""Folders that transformers made are read, and ours are read by transformers, number for number."""

import os

import numpy as np
import pytest

from minilm.weights import BERT, GPT2, KEYMAPS, OPENAI_GPT, WeightFolder, config_of, load_weights, read_config, save_weights

from .helpers import D, L, T, V, bert_shapes, gpt2_shapes, gpt_shapes, model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

GPT_CONFIG = {"vocab_size": V, "n_positions": T, "n_embd": D, "n_layer": L, "n_head": 2}
BERT_CONFIG = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": L,
    "num_attention_heads": 2,
    "intermediate_size": 4 * D,
    "max_position_embeddings": T,
}
HEAD = {"lm_head.weight": "wte.weight"}
FAMILIES = {
    "GPT2LMHeadModel": (GPT2, gpt2_shapes(), HEAD),
    "GPT2Model": (GPT2, gpt2_shapes(), {}),
    "OpenAIGPTLMHeadModel": (OPENAI_GPT, gpt_shapes(), HEAD),
    "BertModel": (BERT, bert_shapes("none"), {}),
    "BertForPreTraining": (BERT, bert_shapes(), {"cls.predictions.decoder.weight": "embeddings.word_embeddings.weight"}),
    "BertForQuestionAnswering": (BERT, bert_shapes("question"), {}),
    "BertForTokenClassification": (BERT, bert_shapes("tokens"), {}),
}


def random_peer(name, seed):
    """Random everywhere: layer normalisations and biases as transformers makes them would hide a swap."""
    labels = {"num_labels": 5} if name == "BertForTokenClassification" else {}
    config_class = getattr(
        transformers, "BertConfig" if name.startswith("Bert") else name[: -len("LMHeadModel")] + "Config", None
    )
    config_class = config_class or transformers.GPT2Config
    config = config_class(**(BERT_CONFIG if name.startswith("Bert") else GPT_CONFIG), **labels)
    peer = getattr(transformers, name)(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(generator=generator)
    return peer


def compare(ours, peer, keymap):
    theirs = {keymap.canonical(name): array.detach().numpy() for name, array in peer.named_parameters()}
    for name, array in ours.parameters.items():
        wanted = theirs.pop(name)
        np.testing.assert_array_equal(array, wanted.T if keymap.is_transposed(name) else wanted)
    assert not theirs


@pytest.mark.parametrize("shard", ["50GB", "2KB"])
@pytest.mark.parametrize("name", FAMILIES)
def test_reading_theirs(tmp_path, name, shard):
    keymap, shapes, ties = FAMILIES[name]
    peer, ours = random_peer(name, 1), model(shapes, 2, ties=ties)
    peer.save_pretrained(tmp_path, max_shard_size=shard)
    assert os.path.exists(tmp_path / "model.safetensors.index.json") == (shard == "2KB")
    done = load_weights(ours, tmp_path, keymap)
    compare(ours, peer, keymap)
    assert not done.missing
    settings = read_config(tmp_path)
    assert settings["family"] == keymap.family and KEYMAPS[settings["family"]] is keymap
    assert settings["vocab_size"] == V and settings.get("n_embd", settings.get("hidden_size")) == D


@pytest.mark.parametrize("shard_bytes", [10**9, 2000])
@pytest.mark.parametrize("name", FAMILIES)
def test_theirs_reads_ours(tmp_path, name, shard_bytes):
    keymap, shapes, ties = FAMILIES[name]
    peer, ours = random_peer(name, 1), model(shapes, 2, ties=ties)
    peer.save_pretrained(tmp_path / "theirs")
    settings = read_config(tmp_path / "theirs")
    save_weights(ours, tmp_path / "ours", keymap, config_of(settings, name), shard_bytes=shard_bytes)
    with WeightFolder(tmp_path / "ours") as a, WeightFolder(tmp_path / "theirs") as b:
        wanted = {key: b[key].shape for key in b}
        if name == "GPT2Model":  # our GPT always has its head, which is the table of embeddings
            wanted = {keymap.prefix + key: shape for key, shape in wanted.items()}
        assert {key: a[key].shape for key in a} == wanted
    again, info = getattr(transformers, name).from_pretrained(str(tmp_path / "ours"), output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    compare(ours, again, keymap)
    for field in ("hidden_act", "activation_function", "afn", "layer_norm_eps", "num_labels", "n_inner"):
        if field != "n_inner":  # which we write as the number that None stands for
            assert getattr(again.config, field, None) == getattr(peer.config, field, None)
    assert transformers.AutoConfig.from_pretrained(str(tmp_path / "ours")).model_type == keymap.family


def test_half_precision(tmp_path):
    ours = model(gpt2_shapes(), 2, ties=HEAD)
    for dtype in (torch.float16, torch.bfloat16):
        peer = random_peer("GPT2LMHeadModel", 1).to(dtype)
        peer.save_pretrained(tmp_path / str(dtype))
        load_weights(ours, tmp_path / str(dtype), GPT2)
        compare(ours, peer.float(), GPT2)


def test_trained_encoder():
    """all-MiniLM-L6-v2: every key finds its place, and its numbers."""
    folder = os.environ.get("MINILM_TEST_MINILM_L6")
    if not folder:
        pytest.skip("MINILM_TEST_MINILM_L6 names no folder with the encoder all-MiniLM-L6-v2")
    settings = read_config(folder)
    assert (settings["hidden_size"], settings["num_hidden_layers"], settings["activation"]) == (384, 6, "gelu_erf")
    peer = transformers.BertModel.from_pretrained(folder)
    ours = model({BERT.canonical(name): tuple(array.shape) for name, array in peer.named_parameters()})
    done = load_weights(ours, folder, BERT)
    assert done.unused == ("embeddings.position_ids",) or not done.unused
    compare(ours, peer, BERT)
