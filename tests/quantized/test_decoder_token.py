"""A token of a Transformer's target by one kernel is a token by its layers, bit for bit, in each format."""

import numpy as np
import pytest

import minilm
from minilm import devices, models, quantized
from minilm.models.token_reader import reader_of
from minilm.models.transformer_token import TransformerReader
from minilm.quantized import token_call

V = 70
SIZES = {"vocab_size": V, "d_model": 48, "num_heads": 4, "encoder_layers": 1, "decoder_layers": 2, "hidden_dim": 80}
CONFIGS = {
    "tied": {"tied": True},
    "biased": {"tied": False, "output_bias": True, "activation": "gelu_tanh", "positions": "learned"},
}
rng = np.random.default_rng(0)
SOURCE, LENGTHS = rng.integers(3, V, (3, 7)), np.array([7, 4, 2])  # (B, S), (B,)


def transformer(name, **changes):
    model = models.Transformer(models.TransformerConfig(**{**SIZES, "norm_first": True, **CONFIGS[name], **changes}), seed=0)
    for value in model.parameters.values():
        if value.ndim == 1:  # normalisations and biases, which begin as ones and zeros
            value += 0.2 * np.random.default_rng(1).standard_normal(value.shape).astype(np.float32)
    return model


def written(model, B, lengths, tokens=9):
    """Logits (tokens, B, V) after every most probable token; halfway the rows change places, and one comes twice."""
    state, ids, every = (
        model.encode(SOURCE[:B], None if lengths is None else lengths[:B], tokens=tokens),
        np.ones(B, np.int64),
        [],
    )
    for n in range(tokens):
        logits, state = model.step(ids, state)
        every.append(logits.copy())
        ids = logits.argmax(axis=-1)
        if n == 4:
            rows = np.arange(B)[::-1].copy()
            rows[0] = 0
            ids, state = ids[rows], state.reorder(rows)
    return np.stack(every)


def by_layers(*arguments):
    """`written` without the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilm.models.transformer.reader_of", lambda model, cache, kind: None)
        return written(*arguments)


@pytest.mark.parametrize(
    "name, kind", [("tied", None), ("tied", "int8"), ("biased", "int8"), ("biased", "bf16"), ("tied", "int4")]
)
def test_the_same_bits_as_by_layers(name, kind, monkeypatch):
    model = transformer(name)
    if kind is not None:
        quantized.quantize(model, kind)
    for threads, worth in ((1, token_call.WORTH), (2, 0)):  # 0: too little work for a second thread, but it shall have one
        devices.set_threads(threads)
        monkeypatch.setattr(token_call, "WORTH", worth)
        for arguments in ((1, None), (3, None), (3, LENGTHS)):
            assert np.array_equal(written(model, *arguments), by_layers(model, *arguments)), arguments


def test_the_kernel_is_what_writes_and_sees_changes():
    model = transformer("tied")
    state = model.encode(SOURCE, LENGTHS, tokens=5)
    cache = state.cache.extended(1)
    assert reader_of(model, cache, TransformerReader) is not None
    assert reader_of(transformer("tied", norm_first=False), cache, TransformerReader) is None
    ids = np.ones(3, np.int64)
    before = model.step(ids, state)[0].copy()
    with minilm.hooks(model, outputs={"decoder.1.mlp": 0}):
        assert not np.array_equal(model.step(ids, state)[0], before)
    with minilm.implementation("oracle"):
        assert np.allclose(model.step(ids, state)[0], before, atol=1e-4)
    model.parameters["decoder.1.mlp.c_fc.weight"][...] *= 2
    assert not np.array_equal(model.step(ids, state)[0], before)


def test_two_sources_do_not_mix():
    """A state of another source has other keys, though its cache has the same shape."""
    model, ids = transformer("tied"), np.ones(3, np.int64)
    states = [model.encode(source, tokens=5) for source in (SOURCE, SOURCE[:, ::-1].copy())]
    together = [model.step(ids, state)[0].copy() for state in states]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilm.models.transformer.reader_of", lambda model, cache, kind: None)
        alone = [model.step(ids, model.encode(s, tokens=5))[0].copy() for s in (SOURCE, SOURCE[:, ::-1].copy())]
    assert all(map(np.array_equal, together, alone))
