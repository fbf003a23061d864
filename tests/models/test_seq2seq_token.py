"""Tokens of a small recurrent encoder-decoder by one kernel: the bits of its layers, and who goes the way of the layers."""

import numpy as np
import pytest

import minilm
from minilm import devices, models
from minilm.models import seq2seq_token
from minilm.ops import target
from tests.token_steps import greedy_logits

V, B = 23, 3
KINDS = {
    "no attention": {"attention": None},
    "peeky": {"attention": None, "peeky": True, "num_layers": 2},
    "bahdanau": {"attention": "bahdanau", "bidirectional": True},
    "luong": {"attention": "luong", "tied": True, "embedding_size": 9},
    "input feeding": {"attention": "dot", "input_feeding": True, "num_layers": 2, "peeky": True},
    "attending first": {"attention": "bahdanau", "attend_first": True, "combine": False, "peeky": True},
    "attending first, general": {"attention": "luong", "attend_first": True},
}
rng = np.random.default_rng(0)
SOURCE, LENGTHS = rng.integers(3, V, (B, 6)), np.array([6, 4, 1])  # (B, S), (B,)


def make(kind, cell="lstm", dtype=np.float32, **changes):
    sizes = {"vocab_size": V, "hidden_size": 38, "embedding_size": 21, "cell": cell}
    return models.Seq2Seq(models.Seq2SeqConfig(**{**sizes, **KINDS[kind], **changes}), seed=0, dtype=dtype)


def written(model, B, lengths, tokens=7):
    """Logits (tokens, B, V) after every most probable token; halfway the rows change places, and one comes twice."""
    return greedy_logits(model, model.encode(SOURCE[:B], lengths), B, tokens, 3)


def greedy(model, end=-1, tokens=8):
    """Tokens of each target, and the logits after them."""
    ids, state = model.greedy_steps(np.ones(B, np.int64), model.encode(SOURCE, LENGTHS), tokens, end)
    return ids, model.step(ids[-1], state)[0]


def by_layers(run, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seq2seq_token, "fits", lambda model, ids: False)
        return run(*arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_those_of_the_layers(kind, cell, dtype):
    model = make(kind, cell, dtype)
    assert seq2seq_token.fits(model, np.zeros(1, np.int64))
    for arguments in ((1, None), (B, None), (B, LENGTHS)):
        assert np.array_equal(written(model, *arguments), by_layers(written, model, *arguments)), arguments


@pytest.mark.parametrize("kind", KINDS)
def test_several_tokens_at_once_are_those_one_by_one(kind):
    model = make(kind)
    every, _ = greedy(model)
    assert every.shape == (8, B)
    for end in (-1, int(every[4, 1])):
        for own, wanted in zip(greedy(model, end), by_layers(greedy, model, end), strict=True):
            assert np.array_equal(own, wanted)


def test_the_state_that_came_still_holds():
    model = make("input feeding")
    _, state = model.step(np.ones(B, np.int64), model.encode(SOURCE))
    before = [part.copy() for part in (*state.decoder.recurrent, state.decoder.fed)]
    model.step(np.ones(B, np.int64), state)
    model.greedy_steps(np.ones(B, np.int64), state, 4, -1)
    assert all(map(np.array_equal, before, (*state.decoder.recurrent, state.decoder.fed)))


def test_it_reads_the_weights_that_there_are_now():
    model, ids = make("bahdanau"), np.ones(B, np.int64)
    state = model.encode(SOURCE)
    before, _ = model.step(ids, state)
    model.output.bias.value[...] += 1
    assert np.allclose(model.step(ids, state)[0], before + 1, atol=1e-6)
    model.output.weight.value = np.zeros_like(model.output.weight.value)
    assert np.array_equal(model.step(ids, state)[0], np.broadcast_to(model.output.bias.value, (B, V)))


def test_who_goes_the_way_of_the_layers():
    ids = np.ones(B, np.int64)
    fits = seq2seq_token.fits
    model = make("bahdanau")
    assert fits(model, ids) and not fits(model, np.ones(seq2seq_token.FEW + 1, np.int64))
    assert not fits(make("bahdanau", hidden_size=600), ids)
    with devices.implementation("oracle"):
        assert not fits(model, ids)
    state = model.encode(SOURCE)
    before, _ = model.step(ids, state)
    for name in ("output", "decoder.combine", "decoder.recurrent", "decoder.recurrent.l0.f"):
        with minilm.hooks(model, name):
            assert not fits(model, ids)
    assert fits(model, ids)
    with minilm.hooks(model, outputs={"decoder.combine": 0}):
        assert not np.array_equal(model.step(ids, state)[0], before)


@pytest.mark.skipif(not target.bfloat16_units(), reason="this processor has no products in bfloat16")
def test_products_of_bfloat16_are_by_layers():
    fits, ids = seq2seq_token.fits, np.ones(B, np.int64)
    with minilm.precision("bf16"):
        assert not fits(make("bahdanau"), ids) and fits(make("bahdanau", dtype=np.float64), ids)


def test_what_is_refused():
    model = make("luong")
    state = model.encode(SOURCE)
    for call in (model.step, lambda ids, state: model.greedy_steps(ids, state, 4, -1)):
        with pytest.raises(ValueError, match=rf"ids\[1\] is {V}, wanted an id in \[0, {V}\)"):
            call(np.array([0, V, 0]), state)
        with pytest.raises(ValueError, match="ids must have shape"):
            call(np.array([0]), state)


@pytest.mark.parametrize("tokens", [0, -1, 2.0])
def test_no_tokens_are_refused_by_kernel_and_layers(tokens):
    """Rather than a state that has read what nobody wrote."""
    sizes = {"vocab_size": V, "d_model": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    for model in (make("luong"), models.Transformer(models.TransformerConfig(**sizes), seed=0)):
        state = model.encode(SOURCE, tokens=3)
        for name in ("cpu", "oracle"):
            with devices.implementation(name), pytest.raises((ValueError, TypeError), match="tokens must"):
                model.greedy_steps(np.ones(B, np.int64), state, tokens, -1)
