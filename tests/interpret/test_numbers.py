"""The numbers of every explanation, against what they are by definition."""

import math

import numpy as np
import pytest

from minilm import interpret
from minilm.interpret.probes import probe_of
from tests.interpret.fakes import ALL, CAUSAL, ids_of, made

# --- surprisal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_surprisal_sums_to_the_models_loss(kind, dtype):
    model, tokenizer = made(kind, dtype)
    ids = ids_of(kind, tokenizer)
    found = interpret.surprisal(model, ids, top=4)
    loss = model.loss(ids[None, :-1], ids[None, 1:])
    loss = loss[0] if isinstance(loss, tuple) else loss
    assert math.isnan(found.bits[0]) and found.rank[0] == 0
    np.testing.assert_allclose(found.total * math.log(2) / (len(ids) - 1), loss, rtol=1e-10 if dtype == np.float64 else 2e-5)
    np.testing.assert_allclose(found.perplexity, math.exp(loss), rtol=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_what_was_expected(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    T, found = len(ids), interpret.surprisal(model, ids, top=4)
    logits = model.logits(ids[None])[0][0] if kind == "lstm" else model.lm_head(model._hidden(ids[None])[0])[0]
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))  # (T, V)
    assert found.places.tolist() == list(range(1, T + 1))
    np.testing.assert_array_equal(found.top_ids, np.argsort(-p, axis=1)[:, :4])
    np.testing.assert_allclose(found.top_probabilities, -np.sort(-p, axis=1)[:, :4], rtol=1e-9)
    np.testing.assert_allclose(found.entropy, -(p * np.log2(p)).sum(axis=1), rtol=1e-9)
    ranks = [1 + int((p[t - 1] > p[t - 1, ids[t]]).sum()) for t in range(1, T)]
    assert found.rank[1:].tolist() == ranks


def test_a_masked_model_is_asked_with_a_mask_in_the_place():
    model, tokenizer = made("bert")
    ids = ids_of("bert", tokenizer)
    found = interpret.surprisal(model, ids, tokenizer=tokenizer)
    assert found.places.tolist() == list(range(1, len(ids) - 1)) and np.isnan(found.bits[[0, -1]]).all()
    for t in found.places:
        masked, targets = ids.copy(), np.full(len(ids), -100)
        masked[t], targets[t] = tokenizer.mask_token_id, ids[t]
        loss, _ = model.forward(masked[None], targets[None])
        np.testing.assert_allclose(found.bits[t] * math.log(2), loss, rtol=1e-9)


# --- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt", "post-norm", "bert"])
def test_attention_rows_sum_to_one_and_are_those_of_the_forward_pass(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    T, weights = len(ids), interpret.attention_weights(model, ids, tokenizer)
    blocks = model.bert.encoder.layer if kind == "bert" else model.h
    assert weights.shape == (len(blocks), 2, T, T)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-12)
    assert kind == "bert" or not np.triu(weights, 1).any()
    saved = model.bert.forward(ids[None])[1].layers if kind == "bert" else model._hidden(ids[None])[1].h
    for number, mine in enumerate(saved):
        kept = mine.halves.attn[1].attention
        S = kept.scale * np.einsum("tha,sha->hts", kept.query[0], kept.key[0])
        P = np.exp(S - kept.logsumexp[0][..., None])
        np.testing.assert_allclose(weights[number], P if kind == "bert" else np.tril(P), rtol=1e-9, atol=1e-12)


def test_rollout_of_two_layers_by_hand():
    first = np.array([[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.1, 0.9]]])  # (H, T, T), mean [[1, 0], [0.3, 0.7]]
    second = np.array([[[1.0, 0.0], [0.8, 0.2]]] * 2)
    found = interpret.rollout(np.stack([first, second]))
    np.testing.assert_allclose(found, [[1, 0], [0.4 + 0.6 * 0.15, 0.6 * 0.85]], rtol=1e-12)
    np.testing.assert_allclose(interpret.rollout(np.stack([first, second]), residual=1), np.eye(2))
    np.testing.assert_allclose(interpret.rollout(first[None], residual=0), [[1, 0], [0.3, 0.7]])
    assert interpret.rollout(np.stack([first, second]), layers=True).shape == (2, 2, 2)


@pytest.mark.parametrize("kind", ["gpt", "bert"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rollout_rows_sum_to_one(kind, dtype):
    model, tokenizer = made(kind, dtype)
    weights = interpret.attention_weights(model, ids_of(kind, tokenizer), tokenizer)
    for residual in (0.0, 0.5, 0.9):
        found = interpret.rollout(weights, residual=residual, layers=True)
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-12)
        assert found.min() >= 0


# --- attribution -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["log_probability", "logit"])
@pytest.mark.parametrize("kind", ALL)
def test_integrated_gradients_are_complete(kind, output):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    found = interpret.integrated_gradients(model, ids, steps=200, output=output, tokenizer=tokenizer)
    assert np.abs(found.errors).max() <= 1e-6 and np.abs(found.values).max() > 1e-2
    np.testing.assert_allclose(found.values.sum(axis=1), found.outputs - found.baselines, atol=1e-6)
    if output == "log_probability":
        said = interpret.surprisal(model, ids, tokenizer=tokenizer)
        inside = found.places < len(ids)
        np.testing.assert_allclose(-found.outputs[inside] / math.log(2), said.bits[found.places[inside]], rtol=1e-9)


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_other_baselines_and_steps_found_by_doubling(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    E = probe_of(model).table.shape[1]
    few = interpret.integrated_gradients(model, ids, steps=2)
    assert np.abs(few.errors).max() > 1e-4, "two nodes are too few: the check can fail"
    for baseline in ("mean", np.full(E, 0.3), np.random.default_rng(1).normal(size=(len(ids), E))):
        found = interpret.integrated_gradients(model, ids, [3, 9], baseline=baseline, tolerance=1e-6)
        assert np.abs(found.errors).max() <= 1e-5 and found.places.tolist() == [3, 9]
    same = interpret.integrated_gradients(model, ids, baseline=probe_of(model).embed(ids), steps=3)
    assert not same.values.any() and not same.errors.any()


@pytest.mark.parametrize("kind", ALL)
def test_gradient_x_input_is_the_slope_along_each_tokens_vector(kind):
    """a[j] = d/ds F(x with x[j] times s) at s = 1, by central differences."""
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    probe = probe_of(model, tokenizer)
    found, queries, h = interpret.gradient_x_input(model, ids, tokenizer=tokenizer), probe.queries(ids), 1e-5

    def F(n, scale):
        x = probe.embed(queries.rows[queries.row[n]][None]) * scale[None, :, None]
        logits = probe.head(np.ascontiguousarray(probe.body(x)[0][:, queries.read[n]]))[0]
        return (logits - np.logaddexp.reduce(logits))[found.targets[n]]

    for n in (0, len(queries.places) // 2, len(queries.places) - 1):
        for j in range(len(ids)):
            step = np.zeros(len(ids))
            step[j] = h
            np.testing.assert_allclose(found.values[n, j], (F(n, 1 + step) - F(n, 1 - step)) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ALL)
def test_no_token_after_a_prediction_counts_and_gradients_stay(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    model.parameters.gradient_flat[...] = 7
    found = interpret.gradient_x_input(model, ids, tokenizer=tokenizer)
    assert (model.parameters.gradient_flat == 7).all()
    for place, row in zip(found.places, found.values, strict=True):
        assert np.abs(row[:place]).min() > 0
        assert (kind == "bert") == bool(row[place:].any())


def test_a_leap_on_the_way_is_found():
    """A GRU that leaps from one attractor to another within a small part of the path, between any few nodes."""
    model, tokenizer = made("gru")
    for name, value in model.parameters.items():
        value *= 3 if "recurrent.weight" in name else 1
    ids = np.tile(ids_of("gru", tokenizer), 2)
    plain = interpret.integrated_gradients(model, ids, [len(ids)], steps=64)
    found = interpret.integrated_gradients(model, ids, [len(ids)], tolerance=1e-4)
    assert abs(plain.errors[0]) > 1e-2, "without halving it is missed: the test can fail"
    assert abs(found.errors[0]) <= 1e-4 * abs(found.outputs[0] - found.baselines[0])


def test_another_target():
    model, tokenizer = made("lstm")
    ids = ids_of("lstm", tokenizer)
    one = interpret.integrated_gradients(model, ids, [4, 4], targets=[ids[4], 0], steps=64)
    assert one.outputs[0] != one.outputs[1]
    two = interpret.integrated_gradients(model, ids, [4], steps=64)
    np.testing.assert_allclose(one.values[0], two.values[0], rtol=1e-9, atol=1e-12)


# --- traces, lens, neighbours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "stacked"])
def test_traces_are_those_of_single_steps(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    found = interpret.traces(model, ids)
    names = {
        "rnn": ["state h"],
        "gru": ["reset gate r", "update gate z", "candidate n", "state h"],
    }.get(kind, ["input gate i", "forget gate f", "candidate g", "output gate o", "cell c", "state h"])
    assert list(found.values) == names and set(found.shut) == {name for name in names if "gate" in name}
    L, H = model.config.num_layers, model.config.hidden_size
    state, values = None, found.values
    for t in range(len(ids)):
        _, state = model.step(ids[t : t + 1], state)
        h = state[0] if isinstance(state, tuple) else state
        np.testing.assert_allclose(values["state h"][:, t], h[:, 0], rtol=1e-9, atol=1e-12)
        if isinstance(state, tuple):
            np.testing.assert_allclose(values["cell c"][:, t], state[1][:, 0], rtol=1e-9, atol=1e-12)
    assert all(value.shape == (L, len(ids), H) for value in values.values())
    if "cell c" in values:  # h = o tanh(c), c = f c' + i g
        c = values["cell c"]
        np.testing.assert_allclose(values["state h"], values["output gate o"] * np.tanh(c), rtol=1e-9, atol=1e-12)
        inner = values["forget gate f"][:, 1:] * c[:, :-1] + (values["input gate i"] * values["candidate g"])[:, 1:]
        np.testing.assert_allclose(c[:, 1:], inner, rtol=1e-9, atol=1e-12)
    if kind == "gru":
        h, z, n = (values[name] for name in ("state h", "update gate z", "candidate n"))
        np.testing.assert_allclose(h[:, 1:], ((1 - z) * n)[:, 1:] + z[:, 1:] * h[:, :-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["gpt", "post-norm", "bert"])
def test_the_lens_ends_with_the_models_own_predictions(kind):
    model, tokenizer = made(kind)
    ids = ids_of(kind, tokenizer)
    lens = interpret.logit_lens(model, ids, top=3, tokenizer=tokenizer)
    if kind == "bert":
        logits = model.logits(ids[None])[0][0]
    else:
        logits = model.lm_head(model._hidden(ids[None])[0])[0]
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))  # (T, V)
    np.testing.assert_array_equal(lens.top_ids[-1], np.argsort(-p, axis=1)[:, :3])
    np.testing.assert_allclose(lens.top_probabilities[-1], -np.sort(-p, axis=1)[:, :3], rtol=1e-9)
    np.testing.assert_allclose(lens.final_probability[-1], p.max(axis=1), rtol=1e-9)
    assert np.abs(lens.divergence[-1]).max() < 1e-12 and lens.divergence[0].min() > 1e-3
    layers = 2 if kind == "bert" else 3
    assert lens.layers == ["embedding", *(f"layer {n}" for n in range(1, layers + 1))]


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_nearest_by_brute_force(kind):
    model, tokenizer = made(kind)
    table = probe_of(model).table
    table[3] = 0
    found, cosines = interpret.nearest(model, [5, 3], count=4)
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)
    wanted = sorted(((float(unit[5] @ unit[j]), j) for j in range(len(table)) if j != 5), reverse=True)[:4]
    assert found[0].tolist() == [j for _, j in wanted] and 3 not in found[1]
    np.testing.assert_allclose(cosines[0], [c for c, _ in wanted], rtol=1e-9)
    assert (cosines[1] == 0).all()
    assert interpret.nearest(model, [0], count=10**6)[0].shape == (1, len(table) - 1)


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda m, t, i: interpret.surprisal(m, i[:0]), ValueError, "no token"),
        (lambda m, t, i: interpret.surprisal(m, [10**6]), ValueError, "ids"),
        (lambda m, t, i: interpret.surprisal(m, np.zeros(41, int)), ValueError, "41 tokens, more than 40, the model's context"),
        (lambda m, t, i: interpret.surprisal(m, i, top=0), ValueError, "top"),
        (lambda m, t, i: interpret.surprisal("model", i), TypeError, "RNNLanguageModel"),
        (lambda m, t, i: interpret.traces(m, i), ValueError, "no gates"),
        (lambda m, t, i: interpret.attention_weights(made("lstm")[0], i), ValueError, "no attention"),
        (lambda m, t, i: interpret.logit_lens(made("gru")[0], i), ValueError, "for Transformers"),
        (lambda m, t, i: interpret.surprisal(made("rnn")[0], np.zeros(2000, int)), ValueError, "1,024, what a page can show"),
        (lambda m, t, i: interpret.surprisal(made("bert")[0], i), ValueError, "mask token"),
        (lambda m, t, i: interpret.gradient_x_input(m, i, [0]), ValueError, "places .* 1 to"),
        (lambda m, t, i: interpret.gradient_x_input(m, i, output="loss"), ValueError, "output"),
        (lambda m, t, i: interpret.gradient_x_input(m, i, [1], targets=[1, 2]), ValueError, "targets"),
        (lambda m, t, i: interpret.integrated_gradients(m, i, steps=0), ValueError, "steps"),
        (lambda m, t, i: interpret.integrated_gradients(m, i, baseline="pad"), ValueError, "baseline"),
        (lambda m, t, i: interpret.integrated_gradients(m, i, baseline=np.zeros(3)), ValueError, "baseline"),
        (lambda m, t, i: interpret.rollout(np.ones((1, 1, 2, 2))), ValueError, "sum to 1"),
        (lambda m, t, i: interpret.rollout(np.ones((1, 1, 2, 3))), ValueError, "T, T"),
        (lambda m, t, i: interpret.nearest(m, [-1]), ValueError, "ids"),
        (lambda m, t, i: interpret.explain(m, t, ""), ValueError, "no token"),
        (lambda m, t, i: interpret.explain(m, t, 3), TypeError, "text"),
        (lambda m, t, i: interpret.explain(m, t, "The", attribute="some"), ValueError, "attribute"),
    ],
)
def test_mistakes(call, kind, says):
    model, tokenizer = made("gpt")
    with pytest.raises(kind, match=says):
        call(model, tokenizer, ids_of("gpt", tokenizer))
