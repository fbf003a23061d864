"""The conditional random field against all sequences of tags written out, and against itself where order does not matter."""

import itertools

import numpy as np
import pytest

from minilm import devices, gradcheck, layers
from minilm.ops import crf

B, T, K = 3, 4, 3


def arguments(dtype=np.float64, seed=0, lengths=(4, 1, 3), scale=1.0):
    rng = np.random.default_rng(seed)
    emissions = scale * rng.standard_normal((B, T, K)).astype(dtype)
    transitions, start, end = (rng.standard_normal(shape).astype(dtype) for shape in ((K, K), K, K))
    return emissions, rng.integers(0, K, (B, T)), transitions, start, end, None if lengths is None else np.array(lengths)


def every_sequence(emissions, transitions, start, end, length):
    """All K**length sequences of one row, and their scores."""
    sequences = list(itertools.product(range(K), repeat=length))
    scores = []
    for y in sequences:
        steps = sum(emissions[t, tag] for t, tag in enumerate(y))
        scores.append(start[y[0]] + steps + sum(transitions[a, b] for a, b in itertools.pairwise(y)) + end[y[-1]])
    return sequences, np.array(scores)


@pytest.mark.parametrize("implementation", devices.HOST)
@pytest.mark.parametrize("lengths", [None, (4, 1, 3), (1, 1, 1)])
def test_every_sequence_written_out(implementation, lengths):
    emissions, tags, transitions, start, end, lengths = arguments(lengths=lengths)
    dnll = np.array([0.7, -1.3, 2.0])
    wanted = [np.zeros_like(a) for a in (emissions, transitions, start, end)]
    with devices.implementation(implementation):
        nll, saved = crf.forward(emissions, tags, transitions, start, end, lengths)
        gradients = crf.backward(dnll, saved)
        best, scores = crf.decode(emissions, transitions, start, end, lengths)
    for b in range(B):
        L = T if lengths is None else lengths[b]
        sequences, s = every_sequence(emissions[b], transitions, start, end, L)
        p = np.exp(s - s.max())
        p /= p.sum()
        right = sequences.index(tuple(tags[b, :L]))
        assert nll[b] == pytest.approx(-np.log(p[right]), abs=1e-12)
        assert tuple(best[b, :L]) == sequences[s.argmax()] and scores[b] == pytest.approx(s.max())
        assert (best[b, L:] == -100).all()
        for number, y in enumerate(sequences):  # the gradient of log Z - s(tags): each sequence by its probability
            share = dnll[b] * (p[number] - (number == right))
            wanted[2][y[0]] += share
            wanted[3][y[-1]] += share
            for t, tag in enumerate(y):
                wanted[0][b, t, tag] += share
            for pair in itertools.pairwise(y):
                wanted[1][pair] += share
    for found, each in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found, each, atol=1e-12)


@pytest.mark.parametrize("implementation", devices.HOST)
def test_finite_differences_with_lengths(implementation):
    emissions, tags, transitions, start, end, lengths = arguments(seed=1, lengths=(2, 4, 1))
    with devices.implementation(implementation):
        report = gradcheck((crf.forward, crf.backward), emissions, tags, transitions, start, end, lengths=lengths)
    assert report.passed, str(report)


@pytest.mark.parametrize("implementation", devices.HOST)
def test_one_tag_and_one_step(implementation):
    rng = np.random.default_rng(2)
    with devices.implementation(implementation):
        nll, saved = crf.forward(rng.standard_normal((2, 5, 1)), np.zeros((2, 5), int), np.ones((1, 1)), np.ones(1), np.ones(1))
        assert all(np.abs(gradient).max() < 1e-12 for gradient in crf.backward(np.ones(2), saved))  # one sequence: certain
        np.testing.assert_allclose(nll, 0, atol=1e-12)
        e, start, end = rng.standard_normal((1, 1, K)), rng.standard_normal(K), rng.standard_normal(K)
        nll, _ = crf.forward(e, np.array([[1]]), rng.standard_normal((K, K)), start, end)  # a softmax
    z = e[0, 0] + start + end
    assert nll[0] == pytest.approx(np.log(np.exp(z).sum()) - z[1])


def test_long_rows_stay_exact_in_float32():
    rng = np.random.default_rng(3)
    shape = (2, 2000, 5)
    given = [rng.standard_normal(shape), rng.integers(0, 5, shape[:2]), *(rng.standard_normal(s) for s in ((5, 5), 5, 5))]
    narrow = [a.astype(np.float32) if a.dtype == np.float64 else a for a in given]
    nll, saved = crf.forward(*given)
    nll32, saved32 = crf.forward(*narrow)
    np.testing.assert_allclose(nll32, nll, rtol=2e-6)
    for wide, single in zip(crf.backward(np.ones(2), saved), crf.backward(np.ones(2, np.float32), saved32), strict=True):
        np.testing.assert_allclose(single, wide, atol=3e-6 * np.abs(wide).max())


def test_what_stands_beyond_a_row_does_not_count():
    emissions, tags, *weights, lengths = arguments()
    beyond = np.arange(T) >= lengths[:, None]
    changed, ignored = emissions.copy(), tags.copy()
    changed[beyond], ignored[beyond] = 1e6, -100
    nll, saved = crf.forward(emissions, tags, *weights, lengths)
    again, saved_again = crf.forward(changed, ignored, *weights, lengths)
    np.testing.assert_array_equal(nll, again)
    for one, other in zip(crf.backward(nll, saved), crf.backward(nll, saved_again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not crf.backward(nll, saved)[0][beyond].any()


def test_wrong_arguments():
    emissions, tags, *weights, lengths = arguments()
    missing = tags.copy()
    missing[2, 1] = -100
    with pytest.raises(ValueError, match=r"tags\[2, 1\] is -100 within its row's length"):
        crf.forward(emissions, missing, *weights, lengths)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 0"):
        crf.forward(emissions, tags, *weights, np.array([4, 0, 3]))
    with pytest.raises(ValueError, match="at least one step"):
        crf.decode(emissions[:, :0], *weights)
    with pytest.raises(ValueError, match=r"transitions must have shape \(K, K\)"):
        crf.decode(emissions, weights[0][:, :2], *weights[1:])


# --- the layer -------------------------------------------------------------------------------------------------------


def layer(seed=4, dtype=np.float64):
    found = layers.CRF(K, dtype=dtype, seed=0)
    rng = np.random.default_rng(seed)
    for value in found.parameters.values():
        value[...] = rng.standard_normal(value.shape)
    return found


def test_marginals():
    emissions, *_, lengths = arguments()
    found = layer()
    p = found.marginals(emissions, lengths)
    for b in range(B):
        sequences, s = every_sequence(emissions[b], *found._weights, lengths[b])
        weights = np.exp(s) / np.exp(s).sum()
        for t, tag in itertools.product(range(lengths[b]), range(K)):
            assert p[b, t, tag] == pytest.approx(sum(w for w, y in zip(weights, sequences, strict=True) if y[t] == tag))
        assert not p[b, lengths[b] :].any()
    assert found.marginals(emissions).sum(axis=2) == pytest.approx(np.ones((B, T)))


@pytest.mark.parametrize("implementation", devices.HOST)
def test_forbidden_sequences_are_not_chosen(implementation):
    """Tags O, B, I: no I after O, nor at the beginning. The best of the sequences that keep to it, by writing all out."""
    allowed = np.ones((K + 1, K), bool)
    allowed[0, 2] = allowed[-1, 2] = False
    emissions, *_, lengths = arguments(seed=5, scale=2.0)
    emissions[..., 2] += 3
    found = layer()
    with devices.implementation(implementation):
        tags, scores = found.decode(emissions, lengths, allowed=allowed)
    for b in range(B):
        sequences, s = every_sequence(emissions[b], *found._weights, lengths[b])
        may = [y[0] != 2 and (0, 2) not in itertools.pairwise(y) for y in sequences]
        best = int(np.where(may, s, -np.inf).argmax())
        assert tuple(tags[b, : lengths[b]]) == sequences[best] and scores[b] == pytest.approx(s[best])
    with pytest.raises(ValueError, match=r"allowed must have shape \(K \+ 1, K\)"):
        found.decode(emissions, allowed=allowed[:-1])


def test_minus_infinity_forbids_in_training_too():
    found = layer()
    found.transitions.value[0, 2] = -np.inf
    emissions, tags, *_ = arguments()
    tags[...] = 1
    nll, saved = found.forward(emissions, tags)
    found.parameters.zero_gradients()
    demissions = found.backward(np.ones(B), saved)
    assert np.isfinite(nll).all() and np.isfinite(demissions).all()
    assert found.transitions.gradient[0, 2] == 0 and np.isfinite(found.parameters.gradient_flat).all()


# --- pooling ---------------------------------------------------------------------------------------------------------


def test_pooling_sees_only_what_counts():
    rng = np.random.default_rng(6)
    x, mask = rng.standard_normal((2, 5, 4)), np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    pooled = layers.MeanPooling()(x, mask)
    np.testing.assert_allclose(pooled, [x[0, [0, 1, 3]].mean(axis=0), np.zeros(4)])
    np.testing.assert_allclose(layers.MeanPooling()(x), x.mean(axis=1))
    attention = layers.AttentionPooling(4, 3, dtype=np.float64, seed=1)
    y, saved = attention.forward(x, mask)
    u = np.tanh(x[0] @ attention.key.weight.value.T + attention.query.value) @ attention.score.value
    a = np.where(mask[0], np.exp(u), 0)
    np.testing.assert_allclose(saved[1].weights[0, 0], a / a.sum())
    np.testing.assert_allclose(y, [a @ x[0] / a.sum(), np.zeros(4)])
