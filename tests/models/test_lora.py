"""LoRA: the layer against the dense map it stands for, its files as PEFT names them, a model that learns by them alone."""

import json

import numpy as np
import pytest

from minilm import models, optimizers
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear
from minilm.models import lora
from minilm.weights import TensorFile

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
    with pytest.raises(ValueError, match="targets must name layers of the model, such as down_proj, gate_proj"):
        lora.add(llama(), targets="c_attn")
    with pytest.raises(ValueError, match="has no adapters"):
        lora.save(llama(), tmp_path)
    model = llama()
    lora.add(model)
    lora.save(model, tmp_path)
    with pytest.raises(ValueError, match="does not fit the model"):
        lora.load(models.Llama(models.LlamaConfig(**{**SIZES, "num_hidden_layers": 1}, max_position_embeddings=16)), tmp_path)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**content, "use_dora": True}))
    with pytest.raises(ValueError, match="use_dora = True is not supported"):
        lora.load(llama(), tmp_path)
