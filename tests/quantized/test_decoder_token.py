"""A source that is read, and tokens of its target, by one kernel each are those of the layers, bit for bit, in each format."""

import numpy as np
import pytest

import minilm
from minilm import devices, generation, models, quantized
from minilm.models.encoder_decoder import Beams
from minilm.models.token_reader import reader_of
from minilm.models.transformer_token import TransformerReader
from minilm.ops import target
from minilm.quantized import encoder_decoder_call
from tests.token_steps import greedy_logits

V = 70
SIZES = {"vocab_size": V, "d_model": 48, "num_heads": 4, "encoder_layers": 1, "decoder_layers": 2, "hidden_dim": 80}
CONFIGS = {
    "tied": {"tied": True},
    "biased": {"tied": False, "output_bias": True, "activation": "gelu_tanh", "positions": "learned"},
    "post-norm": {"norm_first": False, "encoder_layers": 2, "shared": True, "positions": "tensor2tensor"},
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
    """Keys and values of the source for the last block, and logits (tokens, B, V) after every most probable token; halfway the
    rows change places, and one comes twice."""
    state = model.encode(SOURCE[:B], None if lengths is None else lengths[:B], tokens=tokens)
    (keys, values), logits = state.memory[-1], greedy_logits(model, state, B, tokens, 4)
    return np.concatenate([np.ravel(keys), np.ravel(values), np.ravel(logits)])


def by_layers(*arguments, run=written):
    """`written` without the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilm.models.transformer_state.reader_of", lambda model, cache, kind: None)
        return run(*arguments)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("tied", None),
        ("tied", "int8"),
        ("biased", "int8"),
        ("biased", "bf16"),
        ("tied", "int4"),
        ("post-norm", None),
        ("post-norm", "int8"),
    ],
)
def test_the_same_bits_as_by_layers(name, kind, monkeypatch):
    model = transformer(name)
    if kind is not None:
        quantized.quantize(model, kind)
    for threads, worth in (
        (1, encoder_decoder_call.WORTH),
        (2, 0),
    ):  # 0: too little work for a second thread, but it shall have one
        devices.set_threads(threads)
        monkeypatch.setattr(encoder_decoder_call, "WORTH", worth)
        for arguments in ((1, None), (3, None), (3, LENGTHS)):
            assert np.array_equal(written(model, *arguments), by_layers(model, *arguments)), arguments


def test_the_kernel_is_what_writes_and_sees_changes():
    model = transformer("tied")
    state = model.encode(SOURCE, LENGTHS, tokens=5)
    cache = state.cache.extended(1)
    assert reader_of(model, cache, TransformerReader) is not None
    other = transformer("tied")
    other.encoder_norm.eps = 1e-3
    assert reader_of(other, cache, TransformerReader) is None
    ids = np.ones(3, np.int64)
    before = model.step(ids, state)[0].copy()
    with minilm.hooks(model, outputs={"decoder.1.mlp": 0}):
        assert not np.array_equal(model.step(ids, state)[0], before)
    with minilm.implementation("oracle"):
        assert np.allclose(model.step(ids, state)[0], before, atol=1e-4)
    model.parameters["decoder.1.mlp.c_fc.weight"][...] *= 2
    assert not np.array_equal(model.step(ids, state)[0], before)
    keys = state.memory[0].key
    with minilm.hooks(model, outputs={"encoder.0.mlp": 0}):
        assert not np.array_equal(model.encode(SOURCE, LENGTHS).memory[0].key, keys)
    assert np.array_equal(model.encode(SOURCE, LENGTHS).memory[0].key, keys)
    model.encoder[0] = transformer("tied").decoder[0]  # a list of layers, whose changes nobody counts
    model.encoder[0].crossattention = model.encoder[0].ln_cross_attn = None
    assert not np.array_equal(model.encode(SOURCE, LENGTHS).memory[0].key, keys)


@pytest.mark.skipif(not target.bfloat16_units(), reason="this processor has no products in bfloat16")
def test_products_of_bfloat16_are_by_layers():
    model = transformer("tied")
    cache = model.encode(SOURCE, LENGTHS, tokens=5).cache.extended(1)
    assert reader_of(model, cache, TransformerReader) is not None
    with minilm.precision("bf16"):
        assert reader_of(model, cache, TransformerReader) is None


def test_a_target_goes_on_with_another_source():
    """The call that is kept from token to token is of one source's keys."""
    model, ids = transformer("tied"), np.ones(3, np.int64)
    one, other = (model.encode(source, LENGTHS, tokens=5) for source in (SOURCE, SOURCE[:, ::-1].copy()))
    _, one = model.step(ids, one)
    changed = one._replace(memory=other.memory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilm.models.transformer_state.reader_of", lambda model, cache, kind: None)
        expected = model.step(ids, changed)[0].copy()
    _, again = model.step(ids, model.encode(SOURCE, LENGTHS, tokens=5))
    assert np.array_equal(model.step(ids, again._replace(memory=other.memory))[0], expected)


def greedy(model, end, tokens):
    """Tokens of each target, and the logits after them."""
    state = model.encode(SOURCE, LENGTHS, tokens=tokens + 1)
    ids, state = model.greedy_steps(np.ones(3, np.int64), state, tokens, end)
    return ids, model.step(ids[-1], state)[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_several_tokens_at_once_are_those_one_by_one(name, monkeypatch):
    """To the last, and to the first that ends a target; the state then goes on."""
    model = transformer(name)
    all_ids, _ = greedy(model, -1, 8)
    assert all_ids.shape == (8, 3)
    end = int(all_ids[4, 1])
    for threads, worth in ((1, encoder_decoder_call.WORTH), (2, 0)):
        devices.set_threads(threads)
        monkeypatch.setattr(encoder_decoder_call, "WORTH", worth)
        for arguments in ((-1, 8), (end, 8)):
            ids, logits = greedy(model, *arguments)
            wanted, wanted_logits = by_layers(model, *arguments, run=greedy)
            assert np.array_equal(ids, wanted) and np.array_equal(logits, wanted_logits)
    assert len(ids) <= 5 and (ids[-1] == end).any()


def test_where_there_is_room_for_fewer_tokens():
    """In the cache, and of learned positions: what would not fit is not begun."""
    model = transformer("biased", max_positions=6)
    state = model.encode(SOURCE[:, :5], tokens=9)
    ids, state = model.greedy_steps(np.ones(3, np.int64), state, 16, -1)
    assert ids.shape == (6, 3)
    with pytest.raises(ValueError, match="x reaches position 6, there are 6"):
        model.greedy_steps(ids[-1], state, 16, -1)
    state = transformer("tied").encode(SOURCE, tokens=4)
    assert transformer("tied").greedy_steps(np.ones(3, np.int64), state, 16, -1)[0].shape == (4, 3)


def test_a_number_that_is_none_is_the_largest(monkeypatch):
    """As NumPy's argmax has it; of equal numbers the first."""
    model = transformer("biased")
    model.output.weight.value[...] = 0
    for places, number in (([3, 68], 50), ([40, 69], np.nan)):
        model.output.bias.value[places] = number
        for threads, worth in ((1, encoder_decoder_call.WORTH), (2, 0)):
            devices.set_threads(threads)
            monkeypatch.setattr(encoder_decoder_call, "WORTH", worth)
            ids, _ = model.greedy_steps(np.ones(3, np.int64), model.encode(SOURCE, tokens=4), 1, -1)
            assert ids.tolist() == [[places[0]] * 3]


def beams_of(model, end, tokens, alpha=1.0):
    """The best targets of each source: ids, log P and score."""
    options = {"begin": 1, "end": end, "tokens": tokens, "beams": 4, "length_penalty": alpha}
    found = generation.beam_targets(model, SOURCE, LENGTHS, **options)
    return [[(each.ids.tolist(), each.log_probability, each.score) for each in texts] for texts in found]


@pytest.mark.parametrize("name", CONFIGS)
def test_several_steps_of_a_beam_search_at_once_are_those_one_by_one(name, monkeypatch):
    """To the last token, and where targets end on the way, with more tokens than a call takes; and the same bits of log P."""
    model = transformer(name)
    for value in model.parameters.values():
        value *= 2  # so that beams change places
    calls = []
    run = encoder_decoder_call.DecoderCall.beams
    monkeypatch.setattr(encoder_decoder_call.DecoderCall, "beams", lambda *arguments: calls.append(run(*arguments)) or calls[-1])
    for threads, worth in ((1, encoder_decoder_call.WORTH), (2, 0)):
        devices.set_threads(threads)
        monkeypatch.setattr(encoder_decoder_call, "WORTH", worth)
        for arguments in ((69, 20), (5, 20, 0.0), (30, 12)):
            assert beams_of(model, *arguments) == by_layers(model, *arguments, run=beams_of), arguments
    steps = [len(sums) for sums, _, _ in calls]
    assert max(steps) > 3 and any((places[:-1, :, :4] // V != np.arange(4)).any() for _, places, _ in calls)


def test_a_beam_whose_numbers_are_none_is_refused():
    model = transformer("biased")
    model.output.bias.value[40] = np.nan
    with pytest.raises(ValueError, match="logits must have a finite largest number in every row, at token 0"):
        beams_of(model, 2, 5)
    state = model.encode(SOURCE, LENGTHS, tokens=5).reorder(np.repeat(np.arange(3), 2))
    wanted = Beams(np.zeros((3, 2)), 4, np.array([2]), np.full(3, -np.inf), 1.0)
    sums, _, _ = model.beam_steps(np.ones(6, np.int64), state, 4, wanted)
    assert sums.shape == (1, 3, 4) and np.isnan(sums).all()
