"""Models with quantised weights: close to what they were, refused where they cannot serve; a token by one kernel is the same."""

import copy
import gc
import itertools
import pickle
import weakref

import numpy as np
import pytest

import minilm
from minilm import devices, layers, models, quantized
from minilm.layers import summary
from minilm.models.gpt_token import GPTReader
from minilm.models.token_reader import reader_of
from minilm.quantized import token_call

V = 67
SIZES = {"n_layer": 2, "n_head": 3, "n_embd": 48, "n_positions": 24, "vocab_size": V}


def gpt(**changes):
    return models.GPT(models.GPTConfig.gpt2(**{**SIZES, **changes}), seed=0)


def language_model(cell, **changes):
    return models.RNNLanguageModel(
        models.RNNLanguageModelConfig(V, cell=cell, embedding_size=40, hidden_size=48, **changes), seed=1
    )


MODELS = {
    "gpt": gpt,
    "lstm": lambda: language_model("lstm", num_layers=2),
    "gru": lambda: language_model("gru"),
    "rnn": lambda: language_model("rnn"),
}
IDS = np.random.default_rng(0).integers(0, V, (3, 12))  # (B, T)


def written(model, ids, tokens=30):
    """Logits (B, tokens, V) after prompts (B, T) and after every most probable token."""
    logits, state = model.logits(ids, model.initial_state(len(ids)), last=True)
    every = [logits.copy()]
    for _ in range(tokens - 1):
        logits, state = model.step(logits.argmax(axis=-1), state)
        every.append(logits.copy())
    return np.stack(every, axis=1)


@pytest.mark.parametrize("kind, most", [("int8", 0.03), ("bf16", 0.01), ("int4", 0.3)])
@pytest.mark.parametrize("name", MODELS)
def test_logits_stay_close(name, kind, most):
    model = MODELS[name]()
    exact, _ = model.logits(IDS)
    loss = float(np.asarray(model.loss(IDS[:, :-1], IDS[:, 1:])[0] if name != "gpt" else model.loss(IDS[:, :-1], IDS[:, 1:])))
    assert quantized.quantize(model, kind) is model
    close, _ = model.logits(IDS)
    assert 0 < np.abs(close - exact).max() <= most * np.abs(exact).max()
    after = float(np.asarray(model.loss(IDS[:, :-1], IDS[:, 1:])[0] if name != "gpt" else model.loss(IDS[:, :-1], IDS[:, 1:])))
    assert abs(after - loss) < 0.01


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_what_print_shows_counts_quantized_weights(name, tied):
    """As many numbers as before, those of a shared table once; and the bytes of both that are there."""
    model = gpt(tie_word_embeddings=tied) if name == "gpt" else language_model("lstm", tied=tied)
    count = model.parameters.count
    quantized.quantize(model, "bf16")
    packed = {name: weight for _, layer in model.named_layers() for name, weight in layer.packed_weights().items()}
    assert packed and all(weight.kind == "bf16" and weight.nbytes for weight in packed.values())
    assert f"{count:,} parameters" in summary.in_a_line(model)
    *rows, total = model.summary().splitlines()
    assert total.startswith(f"{count:,} parameters, ") and total.endswith(" of float32 and bf16")
    assert sum("bf16 of " in row for row in rows) == tied
    numbers = [row.removesuffix(" in bf16").split()[-1].replace(",", "") for row in rows]
    assert sum(int(number) for number in numbers if number.isdigit()) == count
    head = model.lm_head if name == "gpt" else model.output
    assert f"{V * head.in_features + (name == 'lstm') * V:,} parameters" in summary.in_a_line(head)


@pytest.mark.parametrize(
    "cell, options", [("LSTM", {}), ("GRU", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {"bias": False})]
)
def test_recurrent_layers_both_ways_with_lengths(cell, options):
    """In bf16 with weights that bfloat16 holds, a layer is the plain one."""
    layer = getattr(layers, cell)(12, 20, 2, bidirectional=True, seed=0, **options)
    for parameter in layer.parameters.values():
        parameter.view(np.uint32)[...] &= 0xFFFF0000
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((3, 7, 12)).astype(np.float32), np.array([7, 2, 5])
    plain, rounded = layer(x, lengths=lengths), quantized.QuantizedRecurrent(layer, "bf16")(x, lengths=lengths)
    for one, other in zip(plain, rounded, strict=True):
        assert np.allclose(one, other, atol=2e-6)


OTHER = {"n_embd": 10, "n_head": 1, "n_inner": 7, "activation_function": "relu", "tie_word_embeddings": False}


@pytest.mark.parametrize("changes, kind", [*itertools.product([{}, OTHER], [None, "bf16", "int8"]), ({}, "int4")])
def test_a_token_by_one_kernel_is_a_token_by_layers(changes, kind, monkeypatch):
    """The same bits, for any number of texts and threads, and past the end of the context."""
    model = gpt(**changes)
    if kind is not None:
        quantized.quantize(model, kind)
    quick = []
    for threads, worth in ((1, token_call.WORTH), (2, 0)):  # 0: too little work for a second thread, but it shall have one
        devices.set_threads(threads)
        monkeypatch.setattr(token_call, "WORTH", worth)
        quick.append([written(model, IDS[:B]) for B in (1, 3)])
    with monkeypatch.context() as patch:
        patch.setattr("minilm.models.gpt.reader_of", lambda model, cache, kind: None)
        plain = [written(model, IDS[:B]) for B in (1, 3)]
    for some in quick:
        assert all(np.array_equal(one, other) for one, other in zip(some, plain, strict=True))
    assert np.array_equal(plain[0][0], plain[1][0])


def test_prompts_of_different_lengths():
    model = quantized.quantize(gpt(), "int8")
    ids, mask = IDS.copy(), np.ones(IDS.shape, bool)
    mask[1, :5] = False
    logits, state = model.logits(ids, None, last=True, key_mask=mask)
    alone, own = model.logits(ids[1:2, 5:], None, last=True)
    for _ in range(4):
        new = logits.argmax(axis=-1)
        logits, state = model.step(new, state)
        alone, own = model.step(new[1:2], own)
    assert np.allclose(logits[1], alone[0], atol=1e-4)


def test_the_kernel_sees_every_change_of_the_model():
    """A layer replaced, weights moved or trained, a hook: what is read is the model as it stands."""
    model = gpt()
    weight = model.parameters["h.1.mlp.c_fc.weight"]
    _, state = model.logits(IDS, None, last=True)
    token = IDS[:, 0]
    before = model.step(token, state)[0].copy()
    weight *= 2  # reading tokens has moved nothing
    trained = model.step(token, state)[0].copy()
    assert not np.array_equal(before, trained)
    with minilm.hooks(model, outputs={"h.1.mlp": 0}):
        ablated = model.step(token, state)[0].copy()
    assert not np.array_equal(ablated, trained)
    assert np.array_equal(model.step(token, state)[0], trained)
    other = copy.deepcopy(model)
    other.parameters["wte.weight"][...] += 1
    assert np.array_equal(model.step(token, state)[0], trained)
    old = model.parameters["ln_f.weight"]
    model.to("float64").to("float32")  # into other arrays
    old[...] = np.nan
    assert np.array_equal(model.step(token, state)[0], trained)
    old = model.parameters["ln_f.weight"]
    assert model.parameters.flat.base is not old.base  # into others once more
    old[...] = np.nan
    assert np.array_equal(model.step(token, state)[0], trained)
    model.h[1] = copy.deepcopy(model.h[0])
    replaced = model.step(token, state)[0]
    assert not np.array_equal(replaced, trained)
    with minilm.implementation("oracle"):
        assert np.allclose(model.step(token, state)[0], replaced, atol=1e-5)


def test_attributes_that_are_arrays_may_change():
    model, other = quantized.quantize(gpt()), quantized.quantize(gpt())
    _, state = model.logits(IDS, None, last=True)
    token = IDS[:, 0]
    before = model.step(token, state)[0]
    for note in np.zeros(3), np.ones(3):
        model.h[0].note = note
        assert np.array_equal(model.step(token, state)[0], before)
    model.h[0].mlp.c_fc.packed = other.h[1].mlp.c_fc.packed
    assert reader_of(model, state.cache, GPTReader) is not None
    assert not np.array_equal(model.step(token, state)[0], before)


def test_no_other_kind_of_model_takes_the_kernel():
    cache = gpt().initial_state(1).cache
    assert reader_of(gpt(), cache, GPTReader) is not None
    for changes in ({"norm_first": False}, {"band": 4}):
        assert reader_of(gpt(**changes), cache, GPTReader) is None
    assert reader_of(gpt().to("float64"), cache, GPTReader) is None
    mixed = gpt()
    mixed.lm_head = quantized.QuantizedLinear(mixed.lm_head)
    assert reader_of(mixed, cache, GPTReader) is None


def _memory(array):
    """The array that owns the memory of a view, as a weak reference."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return weakref.ref(array)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_the_weights_before_rounding_leave_the_memory(name, trained):
    model = MODELS[name]()
    if trained:
        model.parameters.zero_gradients()  # as a step does: all parameters are views of one array then
    before = {parameter: _memory(array) for parameter, array in model.parameters.items()}
    quantized.quantize(model)
    gc.collect()
    assert before.keys() - model.parameters.keys()
    assert not [parameter for parameter in before.keys() - model.parameters.keys() if before[parameter]() is not None]


@pytest.mark.parametrize("kind", quantized.FORMATS)
@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_pickled(name, kind):
    model = quantized.quantize(MODELS[name](), kind)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).logits(IDS)[0], model.logits(IDS)[0])


def test_what_is_refused():
    with pytest.raises(ValueError, match="kind must be one of 'int8', 'bf16', 'int4', got 'int2'"):
        quantized.quantize(gpt(), "int2")
    with pytest.raises(ValueError, match="the groups of int4 have 32 numbers, got group=128"):
        quantized.quantize(gpt(), "int4", group=128)
    with pytest.raises(ValueError, match=r"int4 wants rows of at least 32 numbers, got a weight of shape \(36, 12\)"):
        quantized.quantize(gpt(n_embd=12), "int4")
    huge = gpt()
    huge.parameters["h.0.mlp.c_fc.weight"][0, 0] = 1e6
    with pytest.raises(ValueError, match="weights that float16 can hold, up to 65504, got 1e"):
        quantized.quantize(huge, "int4")
    with pytest.raises(ValueError, match="group must be a multiple of 4, got 6"):
        quantized.quantize(gpt(), group=6)
    with pytest.raises(TypeError, match="float64"):
        quantized.quantize(gpt().to("float64"))
    with pytest.raises(ValueError, match="Embedding has no affine map"):
        quantized.quantize(layers.Embedding(3, 4))
    model = quantized.quantize(gpt())
    with pytest.raises(ValueError, match="quantized already"):
        quantized.quantize(model)
    _, saved = model.forward(IDS[:, :-1], IDS[:, 1:])
    with pytest.raises(ValueError, match="for inference: they have no gradient"):
        model.backward(saved)


def test_bert_encodes_and_a_translation_is_written():
    config = models.BERTConfig.base(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=32, intermediate_size=64, vocab_size=V
    )
    bert = models.BERT(config, seed=0)
    exact = bert(IDS)[0]
    close = quantized.quantize(bert)(IDS)[0]
    assert 0 < np.abs(close - exact).max() < 0.05 * np.abs(exact).max()
    transformer = models.TransformerConfig(vocab_size=20, d_model=16, num_heads=2, encoder_layers=1, decoder_layers=1)
    recurrent = models.Seq2SeqConfig(vocab_size=20, hidden_size=16, attention="bahdanau")
    source, lengths = np.array([[3, 4, 5, 6], [7, 8, 0, 0]]), np.array([4, 2])  # (B, S), (B,)
    inputs, targets = np.array([[1, 9, 9], [1, 9, 0]]), np.array([[9, 9, 2], [9, 2, -100]])  # (B, T) each
    for model in (models.Transformer(transformer, seed=0), models.Seq2Seq(recurrent, seed=0)):
        exact, _ = model.forward(source, inputs, targets, lengths)
        close, _ = quantized.quantize(model).forward(source, inputs, targets, lengths)
        assert 0 < abs(float(close) - float(exact)) < 0.02
