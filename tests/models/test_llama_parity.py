"""Llama and its relatives against transformers on random weights: folders both ways, logits, every gradient, greedy texts."""

import json

import numpy as np
import pytest

from minilm import generation, models

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "attention_dropout": 0.0,
}
SCALED = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALED |= {"original_max_position_embeddings": 32}
FAMILIES = {
    "Llama, scaled, biased": ("Llama", {"rope_scaling": SCALED, "attention_bias": True}),
    "Llama, tied": ("Llama", {"tie_word_embeddings": True, "rope_theta": 500.0, "mlp_bias": True}),
    "Mistral": ("Mistral", {"sliding_window": 7, "head_dim": 8}),
    "Mixtral": ("Mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2, "experts_implementation": "eager"}),
    "Qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "Qwen3": ("Qwen3", {"head_dim": 8}),
    "Gemma": ("Gemma", {"head_dim": 8, "num_key_value_heads": 1}),
    "Gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 2.0}),
}


def theirs_of(case, seed=0, **sizes):
    """A transformers model with random parameters."""
    kind, settings = FAMILIES[case]
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings, **sizes}, attn_implementation="eager")
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
            if "norm" in name and kind not in ("Gemma", "Gemma2"):
                parameter += 1
    return model


@pytest.fixture(params=FAMILIES)
def pair(request, tmp_path):
    """Ours, read from the folder that theirs was saved in; and theirs."""
    theirs = theirs_of(request.param)
    theirs.save_pretrained(tmp_path)
    return models.Llama.from_pretrained(tmp_path), theirs


def test_logits_and_gradients(pair):
    ours, theirs = pair
    ids = np.random.default_rng(1).integers(0, 101, (3, 41))
    targets = ids[:, 1:].copy()
    targets[1, 30:] = -100
    logits, _ = ours.logits(ids[:, :-1])
    wanted = theirs(torch.tensor(ids[:, :-1])).logits
    assert np.abs(logits - wanted.detach().numpy()).max() <= 1e-4
    loss, saved = ours.forward(ids[:, :-1], targets)
    ours.backward(saved)
    theirs_loss = torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.tensor(targets).flatten())
    theirs_loss.backward()
    assert loss == pytest.approx(theirs_loss.item(), rel=1e-5)
    assert ours.loss(ids[:, :-1], targets) == pytest.approx(loss, rel=1e-6)
    gradients = gradients_of(theirs)
    assert set(gradients) == set(ours.parameters)
    assert ours.parameters.count == ours.config.parameter_count
    for name, expected in gradients.items():
        assert np.abs(ours.parameters.gradients[name] - expected).max() <= 1e-3 * np.abs(expected).max(), name


def gradients_of(theirs):
    """Name -> gradient; of a mixture, whose experts transformers 5 keeps in one array, each expert's maps by themselves."""
    gradients = {name.removeprefix("model."): parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    for name in [name for name in gradients if "experts." in name]:
        for e, gradient in enumerate(gradients.pop(name)):
            stem = name.replace("experts.", f"experts.{e}.")
            if name.endswith("gate_up_proj"):
                gate, up = np.split(gradient, 2)
                gradients[stem.replace("gate_up_proj", "gate_proj.weight")] = gate
                gradients[stem.replace("gate_up_proj", "up_proj.weight")] = up
            else:
                gradients[f"{stem}.weight"] = gradient
    return gradients


def test_a_folder_of_ours_is_read_by_transformers(pair, tmp_path):
    ours, theirs = pair
    models.Llama(ours.config, seed=1).save_pretrained(tmp_path / "ours")
    ours.published = None  # what is written is what the configuration says, and not what the folder said
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    assert type(again) is type(theirs)
    ids = torch.arange(40)[None] * 7 % 101
    assert (again(ids).logits - theirs(ids).logits).abs().max() <= 1e-5
    assert models.Llama.from_pretrained(tmp_path / "ours").config == ours.config


def test_padding_at_the_left(pair):
    ours, theirs = pair
    rng = np.random.default_rng(2)
    ids, mask = rng.integers(0, 101, (3, 12)), np.ones((3, 12), bool)
    mask[0, :5] = mask[2, :11] = False
    logits, _ = ours.logits(ids, key_mask=mask)
    options = {"position_ids": torch.tensor(np.maximum(mask.cumsum(1) - 1, 0))}
    wanted = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask.astype(int)), **options).logits.detach().numpy()
    assert np.abs(logits - wanted)[mask].max() <= 1e-4


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_greedy_generation_is_identical(pair, count):
    ours, theirs = pair
    ids = np.random.default_rng(3).integers(0, 101, (2, 7))
    drawn = np.stack(list(generation.stream_ids(ours, ids, count, greedy=True)), axis=1)
    options = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    wanted = theirs.generate(torch.tensor(ids), attention_mask=torch.ones(2, 7, dtype=torch.long), **options)
    assert np.array_equal(drawn, wanted[:, 7:].numpy())


def test_configurations_of_2023_are_read(tmp_path):
    """rope_theta and rope_scaling as fields of their own, and no number of heads of keys and values."""
    content = {"model_type": "llama", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    content |= {"num_attention_heads": 2, "rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    models.Llama(models.LlamaConfig(**{k: v for k, v in content.items() if k != "model_type"})).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = models.Llama.from_pretrained(tmp_path).config
    assert (config.groups, config.rope_theta, config.rope_scaling["factor"]) == (2, 77.0, 2.0)


LINEAR = {"rope_type": "linear", "factor": 3.0}


@pytest.mark.parametrize("change", [{"rope_theta": 77.0}, {"rope_scaling": LINEAR}, {"rope_scaling": None}], ids=str)
@pytest.mark.parametrize("of_2023", [False, True])
def test_a_changed_rotation_is_saved(tmp_path, change, of_2023):
    """A table of transformers 5, rope_parameters, holds both settings; the changed one must not go under in what it says."""
    theirs_of("Llama, scaled, biased").save_pretrained(tmp_path / "theirs")
    if of_2023:
        content = json.loads((tmp_path / "theirs" / "config.json").read_text())
        content["rope_scaling"] = content.pop("rope_parameters")
        content["rope_theta"] = content["rope_scaling"].pop("rope_theta")
        (tmp_path / "theirs" / "config.json").write_text(json.dumps(content))
    ours = models.Llama.from_pretrained(tmp_path / "theirs", **change)
    ours.save_pretrained(tmp_path / "ours")
    assert models.Llama.from_pretrained(tmp_path / "ours").config == ours.config
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    ids = np.arange(40)[None] * 7 % 101
    assert np.abs(again(torch.tensor(ids)).logits.detach().numpy() - ours.logits(ids)[0]).max() <= 1e-4


@pytest.mark.parametrize("table", ["rope_scaling", "rope_parameters"])
def test_a_table_of_the_rotation_says_the_same_under_both_names(tmp_path, table):
    theirs = theirs_of("Llama, tied")
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps({**content, table: {**LINEAR, "rope_theta": 33.0}}))
    config = models.Llama.from_pretrained(tmp_path).config
    assert (config.rope_theta, config.rope_scaling) == (33.0, LINEAR)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"rope_theta": 5.0}, "rope_theta is 5.0 by rope_theta, and 500.0 by rope_parameters"),
        ({"rope_theta": 500.0, "rope_scaling": {"type": "default", "rope_theta": 4.0}}, "and 4.0 by rope_scaling"),
        ({"rope_parameters": 7}, "rope_parameters must be a table, got int 7"),
        ({"rope_scaling": LINEAR}, "rope_scaling is {'rope_type': 'linear', 'factor': 3.0} by rope_scaling, and None by rope_p"),
        ({"rope_scaling": {"type": "default", "rope_theta": 4.0}}, "rope_theta is 4.0 by rope_scaling, and 500.0 by rope_param"),
        ({"rope_scaling": {"full_attention": LINEAR}}, "rope_scaling must be one table for all layers"),
    ],
)
def test_two_rotations_are_refused(tmp_path, fields, message):
    """transformers takes one of them, and another in another version: nobody should guess."""
    theirs_of("Llama, tied").save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, **fields}))
    with pytest.raises((ValueError, TypeError), match=message):
        models.Llama.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="rope_theta is no part of a scaling"):
        models.LlamaConfig(rope_scaling={**LINEAR, "rope_theta": 4.0})
    with pytest.raises(ValueError, match=r"partial_rotary_factor = 0.5 is not supported"):
        models.LlamaConfig(rope_scaling={**LINEAR, "partial_rotary_factor": 0.5})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pretraining_tp": 2}, "pretraining_tp = 2 is not supported, wanted 1"),
        ({"hidden_act": "relu"}, "hidden_act must be one of 'silu', 'gelu_pytorch_tanh', got 'relu'"),
        ({"num_key_value_heads": 4}, "num_attention_heads must be a multiple of num_key_value_heads, got 6 and 4"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type must be one of 'linear', 'llama3', got 'yarn'"),
        ({"model_type": "qwen2", "layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types"),
        ({"model_type": "mistral", "mlp_bias": True}, "mlp_bias = True is not supported in family 'mistral'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 is not supported"),
        ({"model_type": "mixtral", "router_jitter_noise": 0.1}, "router_jitter_noise = 0.1 is not supported"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, "num_experts_per_tok must be at most num_local_experts = 8, got 9"),
    ],
)
def test_what_no_model_here_can_do_is_refused(tmp_path, change, message):
    models.Llama(models.LlamaConfig(**SIZES)).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        models.Llama.from_pretrained(tmp_path)


SMALL = {name: value for name, value in SIZES.items() if name not in ("max_position_embeddings", "attention_dropout")}
PUBLISHED = {
    "llama2": {},
    "llama3": {"num_experts_per_tok": 2},
    "smollm2": {},
    "mistral": {},
    "mixtral": {"num_local_experts": 3},
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
    "gemma2": {},
    "gemma2 without a window": {"sliding_window": None, "window_layers": "all"},
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_configurations_made_here_are_read_by_transformers(case, tmp_path):
    """What `LlamaConfig` names, in the types that transformers wants."""
    config = getattr(models.LlamaConfig, case.partition(" ")[0])(**SMALL, **PUBLISHED[case])
    ours = models.Llama(config, seed=0)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    ids = np.arange(30)[None] * 7 % 101
    with torch.no_grad():
        assert np.abs(theirs(torch.tensor(ids)).logits.numpy() - ours.logits(ids)[0]).max() <= 1e-5
