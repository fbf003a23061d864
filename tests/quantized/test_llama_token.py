"""A token of a Llama by one kernel is a token by its layers, bit for bit, in each family and format."""

import numpy as np
import pytest

import minilm
from minilm import devices, models, quantized
from minilm.models.llama_token import LlamaReader
from minilm.models.token_reader import reader_of
from minilm.quantized import token_call

V = 67
SIZES = {"vocab_size": V, "hidden_size": 48, "intermediate_size": 70, "num_hidden_layers": 2, "num_attention_heads": 6}
FAMILIES = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"family": "mistral", "sliding_window": 5, "window_layers": "even"},
    "qwen2": {"family": "qwen2", "num_key_value_heads": 3},
    "qwen3": {"family": "qwen3", "head_dim": 10, "num_key_value_heads": 1},
    "gemma": {"family": "gemma", "head_dim": 12, "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True},
}
IDS = np.random.default_rng(0).integers(0, V, (3, 12))  # (B, T)


def llama(name="llama", **changes):
    model = models.Llama(models.LlamaConfig(**{**SIZES, "max_position_embeddings": 24, **FAMILIES[name], **changes}), seed=0)
    rng = np.random.default_rng(1)
    for value in model.parameters.values():
        if value.ndim == 1:  # normalisations and biases, which begin as ones and zeros
            value[...] += 0.3 * rng.standard_normal(value.shape).astype(np.float32)
    return model


def written(model, ids, tokens=18, key_mask=None):
    """Logits (B, tokens, V) after prompts (B, T) and after every most probable token."""
    logits, state = model.logits(ids, None, last=True, key_mask=key_mask)
    every = [logits.copy()]
    for _ in range(tokens - 1):
        logits, state = model.step(logits.argmax(axis=-1), state)
        every.append(logits.copy())
    return np.stack(every, axis=1)


def by_layers(model, *arguments, **options):
    """`written` without the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilm.models.llama.reader_of", lambda model, cache, kind: None)
        return written(model, *arguments, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_bits_as_by_layers(name, monkeypatch):
    """For any number of texts and threads, and past the end of the context."""
    kinds = {"llama": (None, "int8", "bf16", "int4"), "biased": (None, "int8", "bf16")}
    for kind in kinds.get(name, (None, "int8")):
        model = llama(name)
        if kind is not None:
            quantized.quantize(model, kind, **({"group": 32} if kind == "int8" else {}))
        plain = [by_layers(model, IDS[:B]) for B in (1, 3)]
        for threads, worth in ((1, token_call.WORTH), (2, 0)):  # 0: too little work for a second thread, but it shall have one
            devices.set_threads(threads)
            monkeypatch.setattr(token_call, "WORTH", worth)
            assert all(np.array_equal(written(model, IDS[:B]), expected) for B, expected in zip((1, 3), plain, strict=True)), kind


def test_the_kernel_is_what_reads():
    model = llama()
    cache = model.initial_state(1).cache
    assert reader_of(model, cache, LlamaReader) is model._token_reader(cache) is not None
    for family in ("gemma2", "mixtral"):
        assert models.Llama(models.LlamaConfig(family=family, **SIZES), seed=0)._token_reader(cache) is None
    with minilm.implementation("oracle"):
        assert model._token_reader(cache) is None
        plain = written(model, IDS)
    assert np.allclose(written(model, IDS), plain, atol=1e-4)


def test_prompts_of_different_lengths():
    model, mask = llama(), np.ones(IDS.shape, bool)
    mask[1, :5] = False
    expected = by_layers(model, IDS, tokens=8, key_mask=mask)
    assert np.array_equal(written(model, IDS, tokens=8, key_mask=mask), expected)


def test_the_kernel_sees_a_change_of_the_model():
    model = llama()
    _, state = model.logits(IDS, None, last=True)
    token = IDS[:, 0]
    before = model.step(token, state)[0].copy()
    model.parameters["layers.1.mlp.up_proj.weight"][...] *= 2
    trained = model.step(token, state)[0].copy()
    assert not np.array_equal(before, trained)
    with minilm.hooks(model, outputs={"layers.1.mlp": 0}):
        assert not np.array_equal(model.step(token, state)[0], trained)
    assert np.array_equal(model.step(token, state)[0], trained)
