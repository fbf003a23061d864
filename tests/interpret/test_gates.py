"""What gates and units of recurrent models cause, against recomputing the recurrence by hand."""

import numpy as np
import pytest

from minilm import hooks, interpret
from minilm.interpret.probes import probe_of
from minilm.ops.gru.oracle import sigmoid
from tests.interpret.fakes import ids_of, made

KINDS = ("lstm", "gru", "rnn", "stacked")
GATES = {"lstm": "ifgoch", "gru": "rznh", "rnn": "h", "stacked": "ifgoch"}


def by_hand(model, ids, answer, change=lambda gate, t, value: value):
    """log p(answer) after ids, of a model with one layer, the recurrence written out; and each gate's values (T, H)."""
    weights, kept = dict(model.parameters.items()), {}
    W_ih, W_hh, b_ih, b_hh = (weights[f"recurrent.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = c = np.zeros(W_hh.shape[1])

    def step(gate, t, value):
        value = change(gate, t, value.copy())
        kept.setdefault(gate, []).append(value)
        return value

    for t, x in enumerate(model.embedding.weight.value[ids]):
        a, u = W_ih @ x + b_ih, W_hh @ h + b_hh
        if model.config.cell == "lstm":
            i, f, g, o = np.split(a + u, 4)
            i, f = step("i", t, sigmoid(i)), step("f", t, sigmoid(f))
            g, o = step("g", t, np.tanh(g)), step("o", t, sigmoid(o))
            c = step("c", t, f * c + i * g)
            h = step("h", t, o * np.tanh(c))
        elif model.config.cell == "gru":
            (ar, az, an), (ur, uz, un) = np.split(a, 3), np.split(u, 3)
            r, z = step("r", t, sigmoid(ar + ur)), step("z", t, sigmoid(az + uz))
            n = step("n", t, np.tanh(an + r * un))
            h = step("h", t, (1 - z) * n + z * h)
        else:
            h = step("h", t, np.tanh(a + u))
    logits = probe_of(model).head(h[None])[0]
    return logits[answer] - np.logaddexp.reduce(logits), {gate: np.array(values) for gate, values in kept.items()}


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("value", ["zero", "mean"])
def test_ablation_of_a_gate_and_of_a_unit(kind, value):
    model, tokenizer = made(kind)
    ids, answer = ids_of(kind, tokenizer), 5
    plain, kept = by_hand(model, ids, answer)
    for gate in GATES[kind]:
        stand_in = kept[gate].mean(axis=0) if value == "mean" else np.zeros(6)

        def whole(name, t, now, gate=gate, stand_in=stand_in):
            return stand_in if name == gate else now

        def unit(name, t, now, gate=gate, stand_in=stand_in):
            if name == gate:
                now[3] = stand_in[3]
            return now

        result = interpret.ablate(model, ids, component=gate, value=value, answer=answer)
        assert result.names == [f"recurrent.l0.{gate}"] and result.effects.shape == (1, 1)
        assert result.output == pytest.approx(plain)
        assert result.effects[0, 0] == pytest.approx(plain - by_hand(model, ids, answer, whole)[0], abs=1e-10)
        result = interpret.ablate(model, ids, component=f"{gate}.units", value=value, answer=answer)
        assert result.effects.shape == (1, 6)
        assert result.effects[0, 3] == pytest.approx(plain - by_hand(model, ids, answer, unit)[0], abs=1e-10)


def pair(kind, changed=3):
    model, tokenizer = made(kind)
    clean = ids_of(kind, tokenizer)
    corrupted = clean.copy()
    corrupted[changed] = clean[4]
    return model, clean, corrupted


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_patching_a_gate_at_a_step(kind):
    model, clean, corrupted = pair(kind)
    _, kept = by_hand(model, clean, 5)
    for gate in GATES[kind]:
        options = {"component": f"{gate}.units", "answer": 5, "foil": 6}
        result = interpret.patch(model, clean, corrupted, **options)
        assert result.values.shape == (1, len(clean), 6)

        def put(name, t, now, gate=gate):
            if name == gate and t == 4:
                now[2] = kept[gate][4, 2]
            return now

        F = by_hand(model, corrupted, 5, put)[0] - by_hand(model, corrupted, 6, put)[0]
        expected = (F - result.corrupted) / (result.clean - result.corrupted)
        assert result.values[0, 4, 2] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_patching_is_the_derivative(kind):
    """For two texts that hardly differ the first order is all there is."""
    changed = 15
    model, clean, corrupted = pair(kind, changed)
    table = probe_of(model).table
    table[clean[changed]] = table[corrupted[changed]] + 1e-4 * table[clean[changed]]
    for gate in GATES[kind]:
        options = {"component": f"{gate}.units", "answer": 5, "foil": 6}
        first = interpret.attribution_patching(model, clean, corrupted, **options)
        exact = interpret.patch(model, clean, corrupted, **options)
        shape = (2, len(clean), 7) if kind == "stacked" else (1, len(clean), 6)
        assert first.values.shape == exact.values.shape == shape
        np.testing.assert_allclose(first.values, exact.values, atol=3e-3 * np.abs(exact.values).max())


def test_the_past_is_in_the_cell():
    """With the whole state of the clean run at a step, all after it is the clean run."""
    model, clean, corrupted = pair("lstm")
    with hooks(model, "*.l0.*") as seen:
        probe_of(model).body(probe_of(model).embed(clean[None]))

    def state(gate):
        return lambda value, t: seen[f"recurrent.l0.{gate}"][t] if t == 6 else value

    with hooks(model, [], outputs={f"recurrent.l0.{gate}": state(gate) for gate in "ch"}), hooks(model, "*.l0.*") as after:
        probe_of(model).body(probe_of(model).embed(corrupted[None]))
    np.testing.assert_allclose(after["recurrent.l0.h"][6:], seen["recurrent.l0.h"][6:], atol=1e-12)
    assert np.abs(after["recurrent.l0.h"][3:6] - seen["recurrent.l0.h"][3:6]).max() > 1e-3
    values = interpret.patch(model, clean, corrupted, answer=5, foil=6).values  # (1, T), of the cell
    assert np.abs(values[0, :3]).max() < 1e-9 < 0.5 < values[0, 3]


def test_components_of_a_recurrent_model_are_named():
    model, clean, corrupted = pair("gru")
    with pytest.raises(ValueError, match=r"component must be .*'r'.*'h.units'"):
        interpret.ablate(model, clean, component="c")
    assert interpret.ablate(model, clean).effects.shape == (1, 6)  # units of h
