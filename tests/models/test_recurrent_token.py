"""A token of a small recurrent model by one kernel: the bits of its layers, and who goes the way of the layers."""

import numpy as np
import pytest

import minilm
from minilm import devices, layers, models
from minilm.models import recurrent_token

V = 21
SHAPES = {
    "one layer": {"embedding_size": 5, "hidden_size": 7},
    "three layers": {"embedding_size": 20, "hidden_size": 37, "num_layers": 3},
    "tied": {"embedding_size": 48, "hidden_size": 48, "tied": True},
}


def make(cell, dtype=np.float32, **changes):
    settings = {"vocab_size": V, **SHAPES["one layer"], **changes}
    return models.RNNLanguageModel(models.RNNLanguageModelConfig(cell=cell, **settings), seed=0, dtype=dtype)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(model, batch):
    rng = np.random.default_rng(1)
    drawn = tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in parts(model.initial_state(batch)))
    return drawn if len(drawn) == 2 else drawn[0]


def by_layers(model, ids, state):
    x, _ = model.embedding.forward(ids)
    h, state = model.recurrent.step(x, state)
    return model._logits(h, None)[0], state


def rows(state, chosen):
    picked = tuple(np.ascontiguousarray(part[:, chosen]) for part in parts(state))
    return picked if len(picked) == 2 else picked[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell, options", [("lstm", {}), ("gru", {}), ("rnn", {}), ("rnn", {"nonlinearity": "relu"})])
def test_the_bits_are_those_of_the_layers_whatever_stands_beside(cell, options, dtype, shape, monkeypatch):
    """Of every row of a batch that goes through the layers, whose products are of packed weights."""
    model = make(cell, dtype, **SHAPES[shape], **options)
    ids, state = np.random.default_rng(0).integers(0, V, 5), random_state(model, 5)
    for _ in range(3):
        logits, after = by_layers(model, ids, state)
        with monkeypatch.context() as patch:
            patch.setattr(model.recurrent, "step", None)  # no layer takes part
            for chosen in ([0], [3, 1], [4, 2, 0]):
                own, own_after = model.step(ids[chosen], rows(state, chosen))
                assert np.array_equal(own, logits[chosen])
                assert all(map(np.array_equal, parts(own_after), parts(rows(after, chosen))))
        ids, state = logits.argmax(axis=1), after


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_cell_alone_is_a_row_of_a_batch(cell):
    """With its gates, which backward reads; units are shared out among threads."""
    layer = {"lstm": layers.LSTM, "gru": layers.GRU, "rnn": layers.RNN}[cell](300, 333, seed=0)
    rng, weights = np.random.default_rng(0), layer._weights("l0")
    x, *states = (rng.standard_normal((4, width)).astype(np.float32) for width in (300, 333, 333)[: 2 + (cell == "lstm")])
    op = layer._op
    whole, whole_saved = op.cell_forward(x, *states, *weights)
    for threads in (1, 2, 3):
        devices.set_threads(threads)
        output, saved = op.cell_forward(x[1:2], *(state[1:2] for state in states), *weights)
        assert all(np.array_equal(a, b[1:2]) for a, b in zip(parts(output), parts(whole), strict=True))
        kept = {"lstm": ("c", "gates"), "gru": ("gates", "inner"), "rnn": ("h",)}[cell]
        assert all(np.array_equal(getattr(saved, name), getattr(whole_saved, name)[1:2]) for name in kept)


def test_without_a_state_it_begins_from_zeros_and_writes_none_that_came():
    model = make("lstm")
    zeros = model.initial_state(2)
    first, _ = model.step(np.array([3, 4]))
    second, _ = model.step(np.array([3, 4]), zeros)
    assert np.array_equal(first, second)
    assert not any(part.any() for part in zeros)


def test_it_reads_the_weights_that_there_are_now():
    model, ids = make("gru"), np.array([2])
    before, _ = model.step(ids)
    model.output.bias.value[...] += 1
    assert np.allclose(model.step(ids)[0], before + 1, atol=1e-6)
    model.to(np.float64)
    assert model.step(ids)[0].dtype == np.float64


def test_what_is_refused():
    model = make("lstm")
    with pytest.raises(ValueError, match=rf"ids\[0\] is {V}, wanted an id in \[0, {V}\)"):
        model.step(np.array([V]))
    with pytest.raises(ValueError, match=r"ids\[1\] is -1"):
        model.step(np.array([0, -1]))
    with pytest.raises(TypeError, match="ids must be"):
        model.step(3)
    with pytest.raises(ValueError, match="state h must have shape"):
        model.step(np.array([1]), model.initial_state(2))


def fitting(model, batch=1):
    return recurrent_token.fits(model, np.zeros(batch, np.int64))


def test_who_goes_the_way_of_the_layers():
    assert fitting(make("lstm"), recurrent_token.FEW)
    assert not fitting(make("lstm"), recurrent_token.FEW + 1)
    assert not fitting(make("lstm", layer_norm=True))
    assert not fitting(make("lstm", tied=True))  # with an affine map from H to E
    assert not fitting(make("rnn", hidden_size=1024))
    model = make("lstm")
    with minilm.hooks(model, outputs={"output": 0}):
        assert not model.step(np.array([1]))[0].any()
    with devices.implementation("oracle"):
        assert not fitting(model)

    class Other(layers.Linear):
        pass

    model.output = Other(7, V, seed=0)
    assert not fitting(model)
