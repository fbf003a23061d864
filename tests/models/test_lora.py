"""LoRA: the layer against the dense map it stands for, its files as PEFT names them, a model that learns by them alone."""

import json

import numpy as np
import pytest

from minilm import models, optimizers, quantized
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear
from minilm.models import lora
from minilm.models.gguf_writer import write_gguf
from minilm.models.onnx import write_onnx
from minilm.weights import TensorFile, tensor_writer
from minilm.weights.peft import adapter_config

SIZES = {"vocab_size": 17, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def layer(rank=3, alpha=5.0):
    rng = np.random.default_rng(0)
    result = LoRALinear(Linear(7, 5, dtype=np.float64, seed=1), rank, alpha, seed=2)
    result.lora_B.value[...] = rng.standard_normal((5, rank))
    return result, rng.standard_normal((2, 4, 7)), rng.standard_normal((2, 4, 5))


def llama(**changes):
    return models.Llama(models.LlamaConfig(**SIZES, num_key_value_heads=2, max_position_embeddings=16, **changes), seed=0)


def test_the_layer_is_a_dense_map_of_low_rank():
    adapted, x, dy = layer()
    A, B, W, s = adapted.lora_A.value, adapted.lora_B.value, adapted.weight.value, 5.0 / 3
    dense = W + s * B @ A
    y, saved = adapted.forward(x)
    np.testing.assert_allclose(y, x @ dense.T + adapted.bias.value, rtol=1e-12)
    dx = adapted.backward(dy, saved)
    dW = np.einsum("bto,bti->oi", dy, x)  # of the dense map
    np.testing.assert_allclose(dx, dy @ dense, rtol=1e-12)
    np.testing.assert_allclose(adapted.lora_A.gradient, s * B.T @ dW, rtol=1e-12)
    np.testing.assert_allclose(adapted.lora_B.gradient, s * dW @ A.T, rtol=1e-12)
    assert not adapted.weight.gradient.any() and not adapted.bias.gradient.any()


def test_merged_and_unmerged():
    adapted, x, dy = layer()
    before, y = adapted.weight.value.copy(), adapted(x)
    adapted.merge()
    adapted.merge()  # once is enough
    merged, saved = adapted.forward(x)
    np.testing.assert_allclose(merged, y, rtol=1e-12)
    with pytest.raises(ValueError, match="unmerge it first"):
        adapted.backward(dy, saved)
    adapted.unmerge()
    assert adapted.weight.value.tobytes() == before.tobytes()


def test_adapters_alone_learn_and_travel_by_their_file(tmp_path):
    model, plain = llama(), llama()
    names = lora.add(model, rank=2, targets=("q_proj", "v_proj", "down_proj"))
    assert len(names) == 6 and names[0] == "layers.0.self_attn.q_proj"
    ids = np.random.default_rng(1).integers(0, 17, (4, 13))
    assert np.array_equal(model.logits(ids)[0], plain.logits(ids)[0])  # B is zero
    adam = optimizers.AdamW(model.parameters, lr=1e-2, trainable=lora.is_adapter, clip_norm=1.0)
    losses = []
    for _ in range(30):
        loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
        model.backward(saved)
        adam.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.1
    assert all(np.array_equal(model.parameters[name], value) for name, value in plain.parameters.items())
    lora.save(model, tmp_path, base="some/model")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["target_modules"]) == (2, ["down_proj", "q_proj", "v_proj"])
    with TensorFile(tmp_path / "adapter_model.safetensors") as file:
        assert file["base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"].shape == (8, 2)
    other = llama()
    assert lora.load(other, tmp_path) == names
    np.testing.assert_array_equal(other.logits(ids)[0], model.logits(ids)[0])
    lora.merge(other)
    np.testing.assert_allclose(other.logits(ids)[0], model.logits(ids)[0], atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="targets must name Linear layers of the model, which has down_proj, gate_proj"):
        lora.add(llama(), targets="c_attn")
    with pytest.raises(ValueError, match="has no adapters"):
        lora.save(llama(), tmp_path)
    model = llama()
    lora.add(model)
    with pytest.raises(ValueError, match="got q_proj, a LoRALinear, v_proj, a LoRALinear"):
        lora.add(model)
    model = llama()
    lora.add(model)
    lora.save(model, tmp_path)
    for refused in (lora.add, lambda model: lora.load(model, tmp_path)):
        with pytest.raises(ValueError, match="weights of this Llama are quantized: adapters go into float weights"):
            refused(quantized.quantize(llama()))
    with pytest.raises(ValueError, match="does not fit the model"):
        lora.load(models.Llama(models.LlamaConfig(**{**SIZES, "num_hidden_layers": 1}, max_position_embeddings=16)), tmp_path)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**content, "use_dora": True}))
    refused = {
        "use_dora = True is not supported": {"use_dora": True},
        "bias = 'all' is not supported": {"bias": "all"},
        "trainable_token_indices = .* is not supported": {"trainable_token_indices": [0]},
        "pissa_niter_4' changes the model's own weights": {"init_lora_weights": "pissa_niter_4"},
        "must be a list of names or a pattern, got None": {"target_modules": None},
        r"q_proj' is no regular expression": {"target_modules": "(q_proj"},
        r"rank_pattern\['q'\] must": {"rank_pattern": {"q": 0}},
        "layers_to_transform must be whole numbers": {"layers_to_transform": ["1"]},
    }
    for message, change in refused.items():
        (tmp_path / "adapter_config.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=f"adapter_config.json: .*{message}"):
            lora.load(llama(), tmp_path)


def adapted(model, **options):
    """With adapters that change something."""
    lora.add(model, **{"rank": 2, "targets": ("q_proj",), **options})
    for name, value in model.parameters.items():
        if lora.is_adapter(name):
            value[...] = 0.3 * np.random.default_rng(len(name)).normal(size=value.shape)
    return model


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path):
    lora.save(adapted(llama(), rank=3), tmp_path)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    for change in (
        {"r": 2},
        {"r": 0},
        {"lora_alpha": "x"},
        {"target_modules": ["v_proj"]},
        {"target_modules": ["q_proj", "v_proj"]},
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**content, **change}))
        model = llama()
        with pytest.raises(ValueError):
            lora.load(model, tmp_path)
        assert list(model.parameters) == list(llama().parameters), change


def test_ranks_and_alphas_of_several_kinds_go_into_one_file(tmp_path):
    ids = np.arange(12)[None]
    model = adapted(llama(), targets=("q_proj",), rank=2, rslora=True)
    adapted(model, targets=("layers.0.mlp.down_proj", "layers.1.self_attn.v_proj"), rank=4, alpha=3, rslora=True)
    lora.save(model, tmp_path)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    down, v = "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.v_proj"
    assert (content["r"], content["lora_alpha"], content["use_rslora"]) == (2, 16, True)
    assert content["rank_pattern"] == {down: 4, v: 4} and content["alpha_pattern"] == {down: 3, v: 3}
    again = llama()
    lora.load(again, tmp_path)
    assert np.array_equal(again.logits(ids)[0], model.logits(ids)[0])
    layers = dict(lora.adapters(again))
    assert layers["layers.1.self_attn.v_proj"].scale == np.float32(3 / 4**0.5)  # alpha / √rank


SELECTED = {
    "a pattern": ({"target_modules": r".*\.(q|v)_proj"}, ["0.q", "0.v", "1.q", "1.v"]),
    "some layers": ({"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]}, ["1.q", "1.v"]),
    "one layer": ({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers"}, ["0.q"]),
    "a whole name": (
        {"target_modules": ["q_proj", "model.layers.0.self_attn.v_proj"], "layers_to_transform": [1]},
        ["0.v", "1.q"],
    ),
    "less some": (
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
        ["0.v", "1.q", "1.v"],
    ),
    "less a pattern": ({"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*layers\.1\..*"}, ["0.q", "0.v"]),
}


@pytest.mark.parametrize("case", SELECTED)
def test_the_layers_that_a_file_selects(case, tmp_path):
    change, wanted = SELECTED[case]
    names = [f"layers.{each.replace('.', '.self_attn.')}_proj" for each in wanted]
    model = llama()
    for name in names:  # the second layer's have another rank and alpha
        adapted(model, targets=(name,), rank=2 + ("layers.1" in name), alpha=4.0 + ("layers.1" in name))
    lora.save(model, tmp_path)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    patterns = {"r": 2, "lora_alpha": 4, "rank_pattern": {r"layers\.1\..*": 3}, "alpha_pattern": {"^model.layers.1.*": 5}}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**content, **patterns, **change}))
    again = llama()
    assert lora.load(again, tmp_path) == names
    ids = np.arange(12)[None]
    assert np.array_equal(again.logits(ids)[0], model.logits(ids)[0])


def put_beside(folder, key, array):
    """Add an array to the adapters of a folder, or put it in the place of the one that has its key."""
    path = folder / "adapter_model.safetensors"
    with TensorFile(path) as file:
        arrays = {name: file.read(name) for name in file}
    with open(path, "wb") as file:
        tensor_writer.write(file, {**arrays, f"base_model.model.{key}": array}, {})


def test_a_file_that_rounds_has_the_model_s_own_weight(tmp_path):
    model = adapted(llama(), targets=("lm_head",))
    lora.save(model, tmp_path)
    put_beside(tmp_path, "lm_head.base_layer.weight", model.parameters["lm_head.weight"].astype(np.float16))
    assert lora.load(llama(), tmp_path) == ["lm_head"]


def test_a_pattern_of_layers_may_have_a_group_of_its_own():
    settings = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "(layers|h)"}
    config = adapter_config({"peft_type": "LORA", **settings})
    assert [config.chooses(f"model.layers.{layer}.self_attn.q_proj") for layer in range(3)] == [False, True, False]


def test_an_output_layer_s_own_weight_may_stand_beside_its_adapter(tmp_path):
    """As PEFT writes it, of a layer with the vocabulary's size."""
    model = adapted(llama(), targets=("lm_head",))
    lora.save(model, tmp_path)
    weight = model.parameters["lm_head.weight"]
    put_beside(tmp_path, "lm_head.base_layer.weight", weight)
    assert lora.load(llama(), tmp_path) == ["lm_head"]
    put_beside(tmp_path, "lm_head.base_layer.weight", weight + np.float32(1))
    with pytest.raises(ValueError, match="base_layer.weight is not the model's own"):
        lora.load(llama(), tmp_path)


def test_merged_and_unloaded_it_is_a_plain_model(tmp_path):
    ids = np.arange(12)[None]
    model = adapted(llama(), targets=("q_proj", "down_proj", "lm_head"))
    wanted = model.logits(ids)[0]
    lora.merge_and_unload(model)
    np.testing.assert_allclose(model.logits(ids)[0], wanted, rtol=1e-4, atol=1e-4)
    assert list(model.parameters) == list(llama().parameters)
    model.save_pretrained(tmp_path / "folder")
    assert np.array_equal(models.Llama.from_pretrained(tmp_path / "folder").logits(ids)[0], model.logits(ids)[0])


FORMS = {
    "folder": lambda model, path: model.save_pretrained(path),
    "file": models.save,
    "state dict": lambda model, path: models.to_torch(model, names="huggingface"),
    "gguf": lambda model, path: write_gguf(model, path),
    "quantized": lambda model, path: quantized.quantize(model),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_without_adapters_refuse_them(form, tmp_path):
    if form == "state dict":
        pytest.importorskip("torch")
    with pytest.raises(ValueError, match="has adapters of LoRA: models.lora.merge_and_unload"):
        FORMS[form](adapted(llama()), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_an_onnx_graph_has_no_adapters(tmp_path):
    pytest.importorskip("onnx")
    config = models.BERTConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(ValueError, match="has adapters of LoRA"):
        write_onnx(adapted(models.BERT(config), targets=("query",)), tmp_path / "m.onnx")


def test_what_no_file_says_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which has .*q_proj.*, got typo"):
        lora.add(llama(), targets=("q_proj", "typo"))
    with pytest.raises(ValueError, match="with rslora or without, got both"):
        lora.save(adapted(adapted(llama()), rslora=True, targets=("v_proj",)), tmp_path / "a")
    config = models.RNNLanguageModelConfig(vocab_size=9, hidden_size=8)
    with pytest.raises(ValueError, match="got a RNNLanguageModel"):
        lora.save(adapted(models.RNNLanguageModel(config), targets=("output",)), tmp_path / "a")
    with pytest.raises(ValueError, match="lm_head shares its weight"):
        lora.merge(adapted(llama(tie_word_embeddings=True), targets=("lm_head",)))
    assert not (tmp_path / "a").exists()


def test_an_adapter_in_a_list():
    class Stack(Layer):
        def __init__(self):
            super().__init__()
            self.maps = [Linear(3, 3, seed=0), Linear(3, 3, seed=1)]

        def forward(self, x, *, key=None):
            return self.maps[1](self.maps[0](x)), None

    model, x = Stack(), np.ones((2, 3), np.float32)
    plain = model(x)
    assert lora.add(model, targets=("maps.1",)) == ["maps.1"]
    assert [name for name in model.parameters if lora.is_adapter(name)] == ["maps.1.lora_A", "maps.1.lora_B"]
    model.maps[1].lora_B.value[...] = 1
    assert np.abs(model(x) - plain).max() > 0.01


GPT = {"vocab_size": 17, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16}
BERT = {"vocab_size": 17, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
PEERS = {
    "Llama": (lambda: llama(), "LlamaForCausalLM", ("q_proj", "lm_head")),
    "one layer": (lambda: llama(), "LlamaForCausalLM", ("layers.1.self_attn.q_proj",)),
    "GPT-2": (lambda: models.GPT(models.GPTConfig.gpt2(**GPT)), "GPT2LMHeadModel", ("attn.c_proj", "c_fc")),
    "GPT-1": (lambda: models.GPT(models.GPTConfig.gpt1(**GPT)), "OpenAIGPTLMHeadModel", ("c_proj",)),
    "BERT": (lambda: models.BERT(models.BERTConfig(**BERT)), "BertModel", ("query", "attn.c_proj")),
    "labels": (
        lambda: models.BERTForSequenceClassification(models.BERTConfig(**BERT)),
        "BertForSequenceClassification",
        ("c_fc", "classifier"),
    ),
}


@pytest.mark.parametrize("case", PEERS)
def test_peft_finds_the_same_layers(case, tmp_path):
    """By PEFT's rule: a module is meant whose name is a target, or ends with one; Conv1D is (in, out) and says so."""
    transformers = pytest.importorskip("transformers")
    make, peer, targets = PEERS[case]
    model = make()
    model.save_pretrained(tmp_path / "base")
    modules = dict(getattr(transformers, peer).from_pretrained(tmp_path / "base").named_modules())
    adapted(model, targets=targets)
    lora.save(model, tmp_path / "adapter")
    content = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    meant = {name for name in modules if any(name == t or name.endswith(f".{t}") for t in content["target_modules"])}
    with TensorFile(tmp_path / "adapter" / "adapter_model.safetensors") as file:
        keys = {key.removeprefix("base_model.model.").rpartition(".lora_")[0] for key in file}
    assert meant == keys and len(keys) == len(dict(lora.adapters(model)))
    assert content["fan_in_fan_out"] == any(type(modules[name]).__name__ == "Conv1D" for name in keys)
    again = make()
    assert set(lora.load(again, tmp_path / "adapter")) == {name for name, _ in lora.adapters(model)}
    for name, value in model.parameters.items():
        if lora.is_adapter(name):
            assert np.array_equal(again.parameters[name], value)
