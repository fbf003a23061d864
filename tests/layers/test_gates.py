"""Gates of recurrent layers by name: what hooks keep and replace, against the ops' oracle and finite differences."""

import numpy as np
import pytest

import minilm
from minilm import layers
from minilm.layers.gates import GATES

KINDS = {"lstm": layers.LSTM, "gru": layers.GRU, "rnn": layers.RNN}


class Model(layers.Layer):
    """A stack of two layers in both directions, and a loss by fixed weights of y and of the last states."""

    def __init__(self, kind, lengths=None):
        super().__init__(dtype=np.float64)
        self.recurrent = KINDS[kind](3, 4, 2, batch_first=False, bidirectional=True, dtype=np.float64, seed=0)
        self.lengths = lengths

    def forward(self, x):
        out, saved = self.recurrent.forward(x, lengths=self.lengths)
        return sum((np.cos(np.arange(part.size)).reshape(part.shape) * part).sum() for part in out), (out, saved)

    def backward(self, saved):
        out, saved = saved
        return self.recurrent.backward(tuple(np.cos(np.arange(part.size)).reshape(part.shape) for part in out), saved)[0]


def drawn(kind, ragged=False):
    lengths = np.array([5, 3]) if ragged else None
    return Model(kind, lengths), np.random.default_rng(1).standard_normal((5, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_reading_changes_no_bit(kind):
    model, x = drawn(kind, ragged=True)
    loss, saved = model.forward(x)
    dx = model.backward(saved)
    gradients = model.parameters.gradient_flat.copy()
    model.parameters.gradient_flat[...] = 0
    with minilm.hooks(model, "recurrent.l*") as seen:
        again, saved = model.forward(x)
        assert again == loss and np.array_equal(model.backward(saved), dx)
    assert np.array_equal(model.parameters.gradient_flat, gradients) and "_op_of" not in vars(model.recurrent)
    assert set(seen) == {f"recurrent.{run}.{g}" for run in ("l0", "l0_reverse", "l1", "l1_reverse") for g in GATES[kind]}
    assert all(value.shape == (5, 2, 4) for value in seen.values())
    with minilm.hooks(model) as plain:  # gates have names of their own: * is the layers
        model.forward(x)
    assert list(plain) == ["recurrent"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_replaced_by_itself_is_the_run_as_it_was(kind):
    model, x = drawn(kind, ragged=True)
    with minilm.hooks(model, "*.h") as seen:
        loss, saved = model.forward(x)
        dx = model.backward(saved)
    identity = dict.fromkeys((f"recurrent.l0.{gate}" for gate in GATES[kind]), lambda value, t: value)
    with minilm.hooks(model, [], outputs=identity):
        assert model.forward(x)[0] == pytest.approx(loss, abs=1e-12)
    other = {"recurrent.l1_reverse.h": np.zeros((5, 2, 4))}
    other["recurrent.l1_reverse.h"] = seen["recurrent.l1_reverse.h"]
    with minilm.hooks(model, [], outputs=other):
        again, saved = model.forward(x)
        np.testing.assert_raises(AssertionError, np.testing.assert_allclose, model.backward(saved), dx)  # nothing goes past it
    assert again == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_by_gates_are_those_of_finite_differences(kind):
    model, x = drawn(kind, ragged=True)
    with minilm.hooks(model, "recurrent.l*") as seen:
        model.backward(model.forward(x)[1])
    step = 1e-6
    for name in seen:
        for t, row, unit in ((0, 0, 1), (2, 1, 3), (4, 0, 2)):
            losses = []
            for sign in (1, -1):

                def moved(value, now, t=t, row=row, unit=unit, sign=sign):
                    if now == t:
                        value[row, unit] += sign * step
                    return value

                with minilm.hooks(model, [], outputs={name: moved}):
                    losses.append(model.forward(x)[0])
            expected = (losses[0] - losses[1]) / (2 * step)
            assert seen.gradients[name][t, row, unit] == pytest.approx(expected, abs=1e-7), (name, t)
    assert not seen.gradients["recurrent.l0.h"][4, 1].any()  # beyond the row's end


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_past_constant_gates_are_those_of_finite_differences(kind):
    model, x = drawn(kind)
    gate = {"lstm": "f", "gru": "z", "rnn": "h"}[kind]
    replaced = {f"recurrent.l0.{gate}": np.linspace(0.1, 0.9, 4)}
    with minilm.hooks(model, [], outputs=replaced):
        dx = model.backward(model.forward(x)[1])
        for place in ((0, 0, 0), (3, 1, 2)):
            losses = []
            for sign in (1, -1):
                moved = x.copy()
                moved[place] += sign * 1e-6
                losses.append(model.forward(moved)[0])
            assert dx[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)


def test_what_a_forget_gate_is_for():
    """With f = 1 and i = 0 the cell keeps what it began with; with f = 0 nothing from before is left."""
    layer, x = layers.LSTM(3, 4, batch_first=False, dtype=np.float64, seed=0), np.random.default_rng(0).standard_normal((5, 2, 3))
    c0 = np.random.default_rng(2).standard_normal((1, 2, 4))

    class Holder(layers.Layer):
        def __init__(self):
            super().__init__(dtype=np.float64)
            self.lstm = layer

    holder = Holder()
    with minilm.hooks(holder, "lstm.l0.c", outputs={"lstm.l0.f": 1, "lstm.l0.i": 0}) as seen:
        layer.forward(x, (np.zeros_like(c0), c0))
    assert np.array_equal(seen["lstm.l0.c"], np.repeat(c0, 5, axis=0))
    with minilm.hooks(holder, ["lstm.l0.i", "lstm.l0.g", "lstm.l0.c"], outputs={"lstm.l0.f": 0}) as seen:
        layer.forward(x, (np.zeros_like(c0), c0))
    assert np.array_equal(seen["lstm.l0.c"], seen["lstm.l0.i"] * seen["lstm.l0.g"])


def test_hooks_around_hooks():
    model, x = drawn("lstm")
    with minilm.hooks(model, "*.f", outputs={"recurrent.l0.f": 0.5}) as around:
        loss = model.forward(x)[0]
        with minilm.hooks(model, "recurrent.l0.c", outputs={"recurrent.l0.i": 0}) as inside:
            model.forward(x)
        assert (around["recurrent.l0.f"] == 0.5).all() and not inside["recurrent.l0.c"].any()
        assert model.forward(x)[0] == loss


def test_a_block_that_reads_inside_of_one_that_replaces(recwarn):
    """It replaces nothing: what ran in it goes back for as long as the replacement stands, and no warning says it was in vain."""
    model, x = drawn("lstm")
    with minilm.hooks(model, outputs={"recurrent.l0.f": 0.5}):
        with minilm.hooks(model, "recurrent.l0.c"):
            _, saved = model.forward(x)
            with minilm.hooks(model, "recurrent.l0.i"):  # in which nothing runs
                pass
        model.backward(saved)
    assert not recwarn.list


def test_mistakes_with_gates():
    model, x = drawn("gru")
    with pytest.raises(ValueError, match="did you mean 'recurrent.l0.z'"), minilm.hooks(model, "recurrent.l0.zz"):
        pass
    with pytest.raises(ValueError, match=r"\(T, B, H\) = \(5, 2, 4\)"), minilm.hooks(model, outputs={"*.l0.z": np.zeros(3)}):
        model.forward(x)
    with pytest.raises(ValueError, match="step 0 has shape"), minilm.hooks(model, outputs={"*.l0.z": lambda value, t: value[0]}):
        model.forward(x)
    with pytest.raises(ValueError, match="derivative is not known"), minilm.hooks(model, outputs={"*.l0.z": lambda v, t: v}):
        model.backward(model.forward(x)[1])
    with pytest.raises(ValueError, match="no layer of the model is named"), minilm.hooks(model, inputs={"recurrent.l0.z": 0}):
        pass
