"""Weights to PyTorch and from it, in memory."""

import copy

import numpy as np
import pytest

from minilm import cli, layers, models
from minilm.weights import tensor_writer

torch = pytest.importorskip("torch")


def test_there_and_back():
    theirs, ours = torch.nn.LSTM(3, 4, batch_first=True), layers.LSTM(3, 4, seed=0)
    theirs.load_state_dict(models.to_torch(ours))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)  # (B, T, D)
    np.testing.assert_allclose(ours.forward(x)[0][0], theirs(torch.from_numpy(x))[0].detach(), atol=1e-6)
    assert models.to_torch(ours)["weight_ih_l0"].data_ptr() != ours.parameters["weight_ih_l0"].ctypes.data  # a copy
    linear = torch.nn.Linear(3, 4)
    for source in (linear, linear.state_dict(), copy.deepcopy(linear).to(torch.bfloat16)):
        mine = models.from_torch(layers.Linear(3, 4, seed=1), source)
        np.testing.assert_allclose(mine.weight.value, linear.weight.detach(), rtol=0 if source is linear else 2**-8)


def test_what_does_not_fit():
    layer = layers.Linear(3, 4, seed=1)
    before = layer.weight.value.copy()
    with pytest.raises(ValueError, match=r"weight has shape \(2, 3\), wanted \(4, 3\)"):
        models.from_torch(layer, torch.nn.Linear(3, 2))
    assert (layer.weight.value == before).all()
    with pytest.raises(TypeError, match="source must be a module of PyTorch or its state dict, got list"):
        models.from_torch(layer, [1])
    with pytest.raises(ValueError, match="PyTorch's device meta, which holds no numbers"):
        models.from_torch(layer, torch.nn.Linear(3, 4, device="meta"))
    with pytest.raises(TypeError, match="model must be a Layer, got int"):
        models.to_torch(3)


MIXTRAL = {
    "num_local_experts": 3,
    "num_key_value_heads": 3,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
}
PEERS = {
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 40, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16}),
    "GPT2Model": ("GPT2Config", {"vocab_size": 40, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16}),
    "LlamaForCausalLM": (
        "LlamaConfig",
        {"vocab_size": 40, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3},
    ),
    "MixtralForCausalLM": (
        "MixtralConfig",
        {
            "vocab_size": 40,
            "hidden_size": 12,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            **MIXTRAL,
        },
    ),
    "BertModel": (
        "BertConfig",
        {"vocab_size": 40, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3},
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_transformers_classes_there_and_back(name):
    """Conv1D's orientation is turned: GPT2Model has our names, so that names alone would not say so."""
    transformers = pytest.importorskip("transformers")
    kind, sizes = PEERS[name]
    peer = getattr(transformers, name)(getattr(transformers, kind)(**sizes)).eval()
    if kind == "GPT2Config":
        model = models.GPT(models.GPTConfig.gpt2(**sizes), seed=1)
    elif kind in ("LlamaConfig", "MixtralConfig"):
        model = models.Llama(models.LlamaConfig(family=kind[:-6].lower(), **sizes), seed=1)
    else:
        model = models.BERT(models.BERTConfig(**sizes), seed=1)
    ids = np.random.default_rng(0).integers(0, 40, (2, 7))
    for source in (peer, peer.state_dict()):
        assert models.from_torch(model, source) is model
        with torch.no_grad():
            theirs = peer(torch.from_numpy(ids))
        if name == "BertModel":
            ours, theirs = model.forward(ids)[0].hidden, theirs.last_hidden_state
        elif name == "GPT2Model":
            ours, theirs = model.logits(ids)[0], theirs.last_hidden_state @ peer.wte.weight.detach().T
        else:
            ours, theirs = model.logits(ids)[0], theirs.logits
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5)
        model.parameters.flat[...] = 0
    models.from_torch(model, peer)
    other = getattr(transformers, name)(getattr(transformers, kind)(**sizes)).eval()
    state = models.to_torch(model, names="huggingface")
    state = {key.removeprefix("transformer.").removeprefix("bert.") if name.endswith("Model") and "LM" not in name else key: value
             for key, value in state.items()}  # fmt: skip
    done = other.load_state_dict(state, strict=False)
    other.tie_weights()
    assert not done.unexpected_keys and set(done.missing_keys) <= {"lm_head.weight"}
    for key, value in peer.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    own = models.to_torch(model)
    again = models.from_torch(type(model)(model.config, seed=5), own)
    assert np.array_equal(again.parameters.flat, model.parameters.flat)


def test_a_state_dict_of_transformers_that_does_not_fit():
    transformers = pytest.importorskip("transformers")
    _, sizes = PEERS["GPT2LMHeadModel"]
    model = models.GPT(models.GPTConfig.gpt2(**sizes), seed=1)
    peer = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**sizes, "n_layer": 3}))
    with pytest.raises(ValueError, match=r"the state dict does not fit the model: unexpected transformer.h.2"):
        models.from_torch(model, peer)
    untied = models.GPT(models.GPTConfig.gpt2(**sizes, tie_word_embeddings=False), seed=1)
    state = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).state_dict()
    with pytest.raises(ValueError, match=r"missing lm_head.weight"):
        models.from_torch(untied, {name: value for name, value in state.items() if name != "lm_head.weight"})
    with pytest.raises(ValueError, match="transformers has no class for a RNNLanguageModel"):
        models.to_torch(models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=5)), names="huggingface")


def test_a_mixtral_s_experts_in_a_file(tmp_path):
    """A state dict of transformers 5, where a layer's experts are two arrays, as a file of PyTorch's and as safetensors."""
    transformers = pytest.importorskip("transformers", minversion="5")
    peer = transformers.MixtralForCausalLM(transformers.MixtralConfig(**PEERS["MixtralForCausalLM"][1])).eval()
    peer.config.save_pretrained(tmp_path / "a")
    torch.save(peer.state_dict(), tmp_path / "a" / "pytorch_model.bin")
    assert cli.main(["convert", str(tmp_path / "a"), str(tmp_path / "folder")]) == 0
    model = models.Llama.from_pretrained(tmp_path / "folder")
    ids = np.random.default_rng(0).integers(0, 40, (2, 7))
    with torch.no_grad():
        np.testing.assert_allclose(model.logits(ids)[0], peer(torch.from_numpy(ids)).logits.numpy(), atol=1e-5)
    assert cli.main(["convert", str(tmp_path / "folder"), str(tmp_path / "b.pt")]) == 0
    other = transformers.MixtralForCausalLM(peer.config)
    other.load_state_dict(torch.load(tmp_path / "b.pt"))  # strictly
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in peer.state_dict().items())
    (tmp_path / "c").mkdir()
    peer.config.save_pretrained(tmp_path / "c")
    with open(tmp_path / "c" / "model.safetensors", "wb") as file:
        tensor_writer.write(file, {name: value.numpy() for name, value in peer.state_dict().items()}, {"format": "pt"})
    assert np.array_equal(models.Llama.from_pretrained(tmp_path / "c").parameters.flat, model.parameters.flat)
